//go:build long

package portable_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// exact are the lines of capture/quality in which a product may be joined with a
// sum: of whole numbers below 2^53, or of a power of two, it is not rounded, and
// the same either way.
var exact = []string{
	"aa += u * u", "bb += v * v", "ab += u * v", // of bytes
	"return math.Sqrt(max(0, float64(aa)/cells-float64(mean*mean)))", // by the number of cells
	"va, vb := aa*n-a*a, bb*n-b*b", "return (ab*n - a*b) / math.Sqrt(va*vb)",
	"window[i] = 0.5 - 0.5*portable.Cos(2*math.Pi*(float64(i)+0.5)/side)",
	"s[i] = complex((float64(v)-sum/cells)*window[i%side]*window[i/side], 0)",
}

// TestLongNothingIsFused: where hashes, scores and moments are computed, the
// compiler for arm64 finds no product that it may join with a sum, but for those
// that are exact.
func TestLongNothingIsFused(t *testing.T) {
	const module = "github.com/shutterfleet/shutterfleet/"
	compile := func(pkg string) string {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-gcflags=-S", module+pkg)
		cmd.Env = append(os.Environ(), "GOARCH=arm64", "CGO_ENABLED=0", "GOFLAGS=") // paths as they are on disk
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	fused := regexp.MustCompile(`\(([^()]+\.go):(\d+)\)\s+(FN?M(?:ADD|SUB)[SD])\b`)
	found := map[string]bool{}
	for _, pkg := range []string{"fleet", "fleet/portable", "fleet/calendar", "capture", "capture/codec", "capture/codec/jpeg", "capture/codec/h264", "capture/pdq", "capture/phash", "capture/quality"} {
		for _, m := range fused.FindAllStringSubmatch(compile(pkg), -1) {
			line := sourceLine(t, m[1], m[2])
			if pkg == "capture/quality" && slices.Contains(exact, line) {
				found[line] = true
				continue
			}
			t.Errorf("%s:%s: %s in %q: write float64(a*b) + c", m[1], m[2], m[3], line)
		}
	}
	for _, line := range exact {
		if !found[line] {
			t.Errorf("%q is not found: take it off the list, or does this test not read any more what the compiler prints?", line)
		}
	}
}

// sourceLine reads a line of a file, without the space around it.
func sourceLine(t *testing.T, file, number string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(number)
	lines := strings.Split(string(text), "\n")
	if err != nil || n < 1 || n > len(lines) {
		t.Fatalf("%s has no line %s", file, number)
	}
	return strings.TrimSpace(lines[n-1])
}
