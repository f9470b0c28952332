package codec_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/arch/arm64/arm64asm"
)

// TestNEONWords: each instruction that is written as a word, because Go's
// assembler does not know it, decodes to the mnemonic above it, whatever its
// registers are.
func TestNEONWords(t *testing.T) {
	headers, err := filepath.Glob("../*/neon_arm64.h")
	if err != nil || len(headers) == 0 {
		t.Fatalf("no headers: %v", err)
	}
	macro := regexp.MustCompile(`(?m)^// (.+)\n#define (\w+)\(([a-z, ]+)\) WORD \$\((0x[0-9a-f]{8})((?: \| [mnd](?:<<\d+)?)+)\)$`)
	for _, header := range headers {
		text, err := os.ReadFile(header)
		if err != nil {
			t.Fatal(err)
		}
		found := macro.FindAllStringSubmatch(string(text), -1)
		if defined := strings.Count(string(text), "#define"); len(found) == 0 || len(found) != defined {
			t.Errorf("%s: %d of %d macros are read", header, len(found), defined)
		}
		for _, m := range found {
			mnemonic, name := m[1], m[2]
			if strings.Count(m[5], "|") != strings.Count(m[3], ",")+1 {
				t.Errorf("%s: %s(%s) uses other registers than it has", header, name, m[3])
			}
			for _, registers := range []map[string]uint32{{"m": 0, "n": 0, "d": 0}, {"m": 1, "n": 2, "d": 3}, {"m": 31, "n": 16, "d": 8}, {"m": 10, "n": 21, "d": 31}} {
				base, err := strconv.ParseUint(m[4], 0, 32)
				if err != nil {
					t.Fatal(err)
				}
				word := uint32(base)
				for part := range strings.SplitSeq(m[5][3:], " | ") {
					register, shift, _ := strings.Cut(part, "<<")
					by, _ := strconv.Atoi(shift) // none is 0
					if word&(31<<by) != 0 {
						t.Errorf("%s: %s has bits where register %s is", header, name, register)
					}
					word |= registers[register] << by
				}
				want := mnemonic
				for register, number := range registers {
					want = strings.ReplaceAll(want, "V"+register+".", "v"+strconv.Itoa(int(number))+".")
				}
				inst, err := arm64asm.Decode(binary.LittleEndian.AppendUint32(nil, word))
				if got := arm64asm.GNUSyntax(inst); err != nil || got != want {
					t.Errorf("%s: %s is %#08x, which is %q, %v, want %q", header, name, word, got, err, want)
				}
			}
		}
	}
}
