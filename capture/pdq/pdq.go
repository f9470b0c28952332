// Package pdq computes PDQ, the 256-bit perceptual hash whose reference
// implementation belongs to ThreatExchange, bit for bit from one luma plane.
//
//	plane ──two box passes, seen only at 64x64 points──► grid ──┬─ gradients ──► quality 0..100
//	                                                            └─ 16x16 DCT ──median──► 256 bits
//
// The reference filters the whole plane twice and then keeps 4096 samples of
// it. Both filters are linear and separable, so here only those samples are
// computed, in integers where the filter's weights are integers. What remains
// is evaluated in float64: nearer to the exact value than the reference's
// float32, and equal to it wherever no two coefficients tie at the median.
package pdq

import (
	"math"
	"slices"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Version names the rule that the hashes of this package follow. Hashes of
// different versions must not be compared.
const Version = "pdq-256/1"

// smallest is the side below which the reference gives the empty hash.
const smallest = 5

// A Hasher holds the memory that hashing takes, so that a stream of frames of
// one size allocates nothing. The zero Hasher is ready. It serves one caller at
// a time.
type Hasher struct {
	rows, cols filter
	columns    codec.Columns // of one output row
	exact      []float64     // the same where weights are no integers
	coef       [hashSize * hashSize]float64
	part       [hashSize * codec.GridSize]float64
	sorted     [hashSize * hashSize]float64
}

// Sum returns the hash of a plane with its quality, 0..100. A plane with a side
// below 5 samples has the empty hash and quality 0. Hashes with a quality below
// 50 say little: nearly flat pictures match each other by chance.
func (h *Hasher) Sum(p codec.Plane) (fleet.PDQ, uint8) {
	var g codec.Grid
	if !h.Reduce(p, &g) {
		return fleet.PDQ{}, 0
	}
	return h.SumGrid(&g), Quality(&g)
}

// SumGrid returns the hash of a picture that was reduced before.
func (h *Hasher) SumGrid(g *codec.Grid) fleet.PDQ {
	h.transform(g)
	return h.bits(&h.coef)
}

// Sum hashes one plane with a Hasher of its own.
func Sum(p codec.Plane) (fleet.PDQ, uint8) {
	var h Hasher
	return h.Sum(p)
}

// Quality says how much structure a reduced picture has, 0..100: the gradients
// between neighbors, each cut to whole percents, summed and divided by 90.
func Quality(g *codec.Grid) uint8 {
	const n = codec.GridSize
	sum := 0
	for i := range n - 1 {
		for j := range n {
			sum += gradient(g.Pix[i*n+j], g.Pix[(i+1)*n+j])
		}
	}
	for i := range n {
		row := g.Pix[i*n : i*n+n]
		for j := range n - 1 {
			sum += gradient(row[j], row[j+1])
		}
	}
	return uint8(min(100, sum/90))
}

func gradient(u, v float32) int {
	d := int(float32(u-v) * 100 / 255) // cut towards zero, as the reference does
	if d < 0 {
		return -d
	}
	return d
}

const hashSize = 16

// basis is rows 1 to 16 of the 64-point DCT-II.
var basis = func() (d [hashSize][codec.GridSize]float64) {
	for i := range d {
		for j := range d[i] {
			d[i][j] = math.Sqrt(2.0/codec.GridSize) * math.Cos(math.Pi/2/codec.GridSize*float64(i+1)*float64(2*j+1))
		}
	}
	return d
}()

// transform computes the 16x16 coefficients B = D G Dᵀ.
func (h *Hasher) transform(g *codec.Grid) {
	const n = codec.GridSize
	for i := range hashSize {
		acc := h.part[i*n : i*n+n]
		clear(acc)
		for k := range n {
			d := basis[i][k]
			for j, v := range g.Pix[k*n : k*n+n] {
				acc[j] += float64(d * float64(v))
			}
		}
	}
	for i := range hashSize {
		row := (*[n]float64)(h.part[i*n:])
		for j := range hashSize {
			d := &basis[j]
			var a, b float64
			for k := 0; k < n; k += 2 {
				a += float64(row[k] * d[k])
				b += float64(row[k+1] * d[k+1])
			}
			h.coef[i*hashSize+j] = a + b
		}
	}
}

// bits sets a bit for each coefficient above the median, which is the 128th
// smallest of the 256. Bit k of the hash's number is coefficient k.
func (h *Hasher) bits(c *[hashSize * hashSize]float64) (p fleet.PDQ) {
	h.sorted = *c
	slices.Sort(h.sorted[:])
	median := h.sorted[len(c)/2-1]
	for k, v := range c {
		if v > median {
			p[len(p)-1-k/8] |= 1 << (k % 8)
		}
	}
	return p
}
