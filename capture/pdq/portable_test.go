package pdq

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// TestSameBitsEverywhere: tables and coefficients, and not just the hashes that
// are cut from them, have the bits that they had on amd64.
func TestSameBitsEverywhere(t *testing.T) {
	tables, coefs := sha256.New(), sha256.New()
	_ = binary.Write(tables, binary.LittleEndian, &basis)
	var f filter
	for size := 5; size < 5000; size += 13 {
		f.prepare(size)
		_ = binary.Write(tables, binary.LittleEndian, &f.centres)
		for _, p := range f.points {
			_ = binary.Write(tables, binary.LittleEndian, p.weights)
		}
	}
	h := Hasher{level: codec.PlainGo}
	for _, name := range codectest.Names() {
		h.Sum(codectest.Plane(name, 333, 222, 340))
		_ = binary.Write(coefs, binary.LittleEndian, &h.coef)
	}
	if got := fmt.Sprintf("%x %x", tables.Sum(nil)[:8], coefs.Sum(nil)[:8]); got != "c8e8ba5bc878c117 759c927c86c8ed92" {
		t.Errorf("the digests of tables and coefficients are %s: this build computes other bits", got)
	}
}
