package phash

import (
	"fmt"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// vector is what a drawn picture of the size must have.
type vector struct {
	width, height int
	hash          fleet.PHash
}

// golden are the hashes of a drawn picture at sizes that take every way through
// the code: cells of one and of two samples, rows left over by the vector loops.
var golden = []vector{
	{161, 95, 0xac79acf95272ac06},
	{1030, 67, 0xac79acf9526cac06},
}

// Check hashes drawn pictures and compares with the hashes they have. It takes
// a millisecond. An error means that this build, on this processor, computes
// something else: what it reports must not be stored.
func Check() error { return check(new(Hasher), golden) }

func check(h *Hasher, golden []vector) error {
	for _, g := range golden {
		if got := h.Sum(codec.Golden(g.width, g.height)); got != g.hash {
			return fmt.Errorf("phash: the golden picture of %dx%d has %s and not %s: this build computes wrong hashes on this processor (%v); report it with the processor's model", g.width, g.height, got, g.hash, codec.BestLevel())
		}
	}
	return nil
}
