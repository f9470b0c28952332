// Package phash computes the 64-bit DCT hash by the rule of Python's imagehash:
// the low 8x8 coefficients, DC kept, against their median; row by row, highest
// bit first.
//
// It starts from the 64x64 plane that PDQ has made already, where imagehash
// resizes to 32x32: coefficients near the median may fall on its other side. Of
// the formula pictures in testdata, which are rich in noise and fine texture,
// seven in ten are within 2 bits of imagehash.
package phash

import (
	"math"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	side = 64
	low  = 8
)

// basis holds rows 0..7 of the 64-point DCT-II, all with the same factor: as
// scipy's dct without a norm.
var basis = func() (d [low][side]float32) {
	for i := range low {
		for j := range side {
			d[i][j] = float32(math.Cos(math.Pi / (2 * side) * float64(i) * float64(2*j+1)))
		}
	}
	return d
}()

// Sum hashes a picture reduced to 64x64, given row by row.
func Sum(plane *[side * side]float32) fleet.PHash {
	var half [low][side]float32
	for i := range low {
		row := &half[i]
		for k := range side {
			w := basis[i][k]
			for j, v := range plane[k*side : k*side+side] {
				row[j] += w * v
			}
		}
	}
	var coefs [low * low]float32
	for i := range low {
		for j := range low {
			var s float32
			for k, v := range &half[i] {
				s += v * basis[j][k]
			}
			coefs[i*low+j] = s
		}
	}
	sorted := coefs
	slices.Sort(sorted[:])
	median := (sorted[31] + sorted[32]) / 2 // numpy's, of an even number
	var h uint64
	for _, v := range coefs {
		h <<= 1
		if v > median {
			h |= 1
		}
	}
	return fleet.PHash(h)
}
