package pdq

import (
	"fmt"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// vector is what a drawn picture of the size must have.
type vector struct {
	width, height int
	faint         uint // by so many bits
	hash          string
	quality       uint8
}

func (v vector) picture() codec.Plane {
	if v.faint == 0 {
		return codec.Golden(v.width, v.height)
	}
	return codec.FaintGolden(v.width, v.height, v.faint)
}

// golden are hash and quality of a drawn picture at sizes that take every way
// through the code: odd widths, windows of one row and beyond 16. Quality ends at
// 100, so there are faint ones, too.
var golden = []vector{
	{64, 64, 0, "3e18bc9a0365e1cfb49ac496c18f1a30a1e50a30f41ab49b0b65f1cff49af5cf", 100},
	{161, 95, 0, "84da4e304b65a1cf24baa1cf84dabe755b255e30a4da1e315b25a1cfa4daa1cf", 100},
	{1030, 67, 0, "14d0b4da6b25e18fb4dab4daa18f7e702b251e7094da90db4b25c18f94dac1cf", 100},
	{40, 2100, 0, "f41a22300365d5cff41addcf4c1a22310be52a30f49a26710be5d5cff49ad5cf", 100},
	{64, 64, 2, "3618b49a0365e1cfb49a8496c18f3e30a9e50a30f41ab49b0b65f1cff49af5cf", 47},
	{161, 95, 1, "84da5e304b65a1cfa4ba81cf84dabe715b255e30a4da1e315b25a1cfa4daa1cf", 87},
	{1030, 67, 1, "14d0b4da6b25e18fb4dab4daa18f7e702b251e7094da90db4b25c18f94dac1cf", 70},
	{40, 2100, 1, "f41a22300365d5cfd41addcf4c1a22310be52a30f49a2e710be5d5cff49ad5cf", 70},
}

// Check hashes drawn pictures and compares with the hashes they have. It takes
// a millisecond or two. An error means that this build, on this processor,
// computes something else: what it reports must not be stored.
func Check() error { return check(new(Hasher), golden) }

func check(h *Hasher, golden []vector) error {
	for _, g := range golden {
		hash, quality := h.Sum(g.picture())
		if hash.String() != g.hash || quality != g.quality {
			return fmt.Errorf("pdq: the golden picture of %dx%d has %s with quality %d and not %s with %d: this build computes wrong hashes on this processor (%v); report it with the processor's model",
				g.width, g.height, hash, quality, g.hash, g.quality, h.level)
		}
	}
	return nil
}
