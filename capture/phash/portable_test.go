package phash

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"
)

// TestSameBitsEverywhere: the tables have the bits that they had on amd64.
func TestSameBitsEverywhere(t *testing.T) {
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, &cosines)
	for size := 5; size < 5000; size += 61 {
		var across, down axis
		across.prepare(size, enoughCells, 15)
		down.prepare(size, size, precision+1)
		_ = binary.Write(h, binary.LittleEndian, across.weights)
		_ = binary.Write(h, binary.LittleEndian, down.weights)
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != "5a88b5b30ffec829" {
		t.Errorf("the digest of the tables is %s: this build computes other bits", got)
	}
}
