// Package phash computes the 64-bit DCT hash by the rule of Python's imagehash:
// the lowest 8x8 frequencies, a bit for each above their median.
//
//	64x64 grid ──8x8 lowest DCT coefficients, DC kept──► median ──► 64 bits, row by row
//
// imagehash itself shrinks the picture to 32x32 with a Lanczos filter and rounds
// to bytes. Here the grid that PDQ needs anyway takes its place, so hashes are
// near those of imagehash and not always equal: equal or two bits away on
// ordinary pictures, further on noise and fine patterns, where the two filters
// alias differently. Compare hashes of this package with each other.
package phash

import (
	"math"
	"slices"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Version names the rule that the hashes of this package follow.
const Version = "phash-64/1"

const side = 8

// A Hasher keeps the tables of the last grid's geometry. The zero Hasher is
// ready. It serves one caller at a time.
type Hasher struct {
	across, down table
}

// table is the basis of one axis: cosines at the samples' true centres, each
// weighted by the stretch of the picture that the sample stands for.
type table struct {
	centres [codec.GridSize]float32
	basis   [side][codec.GridSize]float64
	ready   bool
}

func (t *table) prepare(centres *[codec.GridSize]float32) {
	if t.ready && t.centres == *centres {
		return
	}
	t.centres, t.ready = *centres, true
	for k, c := range centres {
		from, until := 0.0, 1.0
		if k > 0 {
			from = float64(centres[k-1]+c) / 2
		}
		if k < codec.GridSize-1 {
			until = float64(c+centres[k+1]) / 2
		}
		for i := range side {
			t.basis[i][k] = (until - from) * math.Cos(math.Pi*float64(i)*float64(c))
		}
	}
}

// Sum returns the hash of a reduced picture, first bit highest.
func (h *Hasher) Sum(g *codec.Grid) fleet.PHash {
	h.across.prepare(&g.X)
	h.down.prepare(&g.Y)
	var part [codec.GridSize][side]float64
	for y := range part {
		row := g.Pix[y*codec.GridSize : (y+1)*codec.GridSize]
		for j := range side {
			b := &h.across.basis[j]
			var s float64
			for x, v := range row {
				s += float64(b[x] * float64(v))
			}
			part[y][j] = s
		}
	}
	var coef [side * side]float64
	for i := range side {
		b := &h.down.basis[i]
		for j := range side {
			var s float64
			for y := range part {
				s += float64(b[y] * part[y][j])
			}
			coef[i*side+j] = s
		}
	}
	sorted := coef
	slices.Sort(sorted[:])
	median := (sorted[31] + sorted[32]) / 2
	var hash fleet.PHash
	for _, v := range coef {
		hash <<= 1
		if v > median {
			hash |= 1
		}
	}
	return hash
}

// Sum hashes one grid with a Hasher of its own.
func Sum(g *codec.Grid) fleet.PHash {
	var h Hasher
	return h.Sum(g)
}
