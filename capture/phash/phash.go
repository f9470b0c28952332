// Package phash computes the 64-bit DCT hash of Python's imagehash from one
// luma plane.
//
//	plane ──Lanczos, as Pillow has it──► 32x32 bytes ──8x8 lowest DCT coefficients, DC kept──► median ──► 64 bits, row by row
//
// The hash exists to meet hashes that others have computed, so it takes the
// same way to the same 1024 bytes. The grid that PDQ takes cannot stand in for
// them: its filter leaves other frequencies folded over into the lowest, and on
// noise and fine patterns those are what the hash reads (up to 20 bits apart).
// Nor can any plane without Pillow's two roundings to bytes: pictures with
// little in them have more rounding than signal (up to 6 bits).
package phash

import (
	"math"
	"slices"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/portable"
)

// Version names the rule that the hashes of this package follow. Hashes of
// different versions must not be compared. Version 1 was computed from the grid
// of PDQ.
const Version = "phash-64/2"

const (
	side     = 8 // of the block of coefficients
	smallest = 5 // the side below which PDQ has no hash; so has this, for one rule
)

// A Hasher holds the memory that hashing takes, so that a stream of frames of
// one size allocates nothing. The zero Hasher is ready. It serves one caller at
// a time.
type Hasher struct {
	shrink shrinker
}

// Sum returns the hash of a plane, first bit highest. A plane with a side below
// 5 samples, and one that does not hold the samples it claims, has the hash 0,
// which of pictures a black one alone has: of all others the mean is above the
// median, and its bit comes first.
func (h *Hasher) Sum(p codec.Plane) fleet.PHash {
	if !p.Valid() || p.Width < smallest || p.Height < smallest {
		return 0
	}
	return hash(h.shrink.shrink(p))
}

// Sum hashes one plane with a Hasher of its own.
func Sum(p codec.Plane) fleet.PHash {
	var h Hasher
	return h.Sum(p)
}

// cosines are the first rows of the 32-point DCT-II.
var cosines = func() (c [side][small]float64) {
	for i := range c {
		for k := range c[i] {
			c[i][k] = portable.Cos(math.Pi / small * float64(i) * (float64(k) + 0.5))
		}
	}
	return c
}()

// hash compares the coefficients with their median, which is the mean of the two
// in the middle.
func hash(pix *[small][small]uint8) fleet.PHash {
	coef := lowest(pix)
	sorted := coef
	slices.Sort(sorted[:])
	median := (sorted[31] + sorted[32]) / 2
	var h fleet.PHash
	for _, v := range coef {
		h <<= 1
		if v > median {
			h |= 1
		}
	}
	return h
}

// lowest returns the lowest coefficients of the small picture's DCT-II, not
// normalised, row by row.
func lowest(pix *[small][small]uint8) (coef [side * side]float64) {
	var part [side][small]float64
	for y := range pix {
		for i := range side {
			c := cosines[i][y]
			for x, v := range pix[y] {
				part[i][x] += float64(c * float64(v))
			}
		}
	}
	for i := range side {
		for j := range side {
			var s float64
			for x, c := range cosines[j] {
				s += float64(c * part[i][x])
			}
			coef[i*side+j] = s
		}
	}
	return coef
}
