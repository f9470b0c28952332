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

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/portable"
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
	level      codec.Level // the processor's best unless it is set
	kernel     kernel
	rows, cols filter
	columns    codec.Columns // of one output row, in plain Go
	sums       []uint32      // the same for the kernel
	pairs      []uint32      // weights of rows, one in each half
	exact      []float64     // columns where weights are no integers
	coef       [hashSize * hashSize]float64
	part       [hashSize * codec.GridSize]float64
	minus      [half * codec.GridSize]float64
	plus       [half * codec.GridSize]float64
	order      [hashSize * hashSize]float64
}

// Sum returns the hash of a plane with its quality, 0..100. A plane with a side
// below 5 samples has the empty hash and quality 0. Hashes with a quality below
// 50 say little: nearly flat pictures match each other by chance.
func (h *Hasher) Sum(p codec.Plane) (fleet.PDQ, uint8) {
	var g codec.Grid
	if !h.Reduce(p, &g) {
		return fleet.PDQ{}, 0
	}
	return h.SumGrid(&g), h.Quality(&g)
}

// SumGrid returns the hash of a picture that was reduced before.
func (h *Hasher) SumGrid(g *codec.Grid) fleet.PDQ {
	h.transform(g)
	return h.bits(&h.coef)
}

// Quality is the function of that name, by the fastest way.
func (h *Hasher) Quality(g *codec.Grid) uint8 {
	if sum, ok := h.kernel.gradients(g); ok {
		return uint8(min(100, sum/90))
	}
	return Quality(g)
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

const (
	hashSize = 16
	half     = codec.GridSize / 2
)

// basis is rows 1 to 16 of the 64-point DCT-II, their first halves: the second
// half of an even row mirrors the first, that of an odd one with the other sign.
var basis = func() (d [hashSize][half]float64) {
	for i := range d {
		for j := range d[i] {
			d[i][j] = math.Sqrt(2.0/codec.GridSize) * portable.Cos(math.Pi/2/codec.GridSize*float64(i+1)*float64(2*j+1))
		}
	}
	return d
}()

// transform computes the 16x16 coefficients B = D G Dᵀ. Rows that are multiplied
// by the same number, or by its negative, are added up first.
func (h *Hasher) transform(g *codec.Grid) {
	const n = codec.GridSize
	if h.level == 0 {
		h.level = codec.BestLevel()
		h.kernel = newKernel(h.level)
	}
	for k := range half {
		a, b := g.Pix[k*n:(k+1)*n], g.Pix[(n-1-k)*n:(n-k)*n]
		minus, plus := h.minus[k*n:(k+1)*n], h.plus[k*n:(k+1)*n]
		for j, u := range a {
			u, v := float64(u), float64(b[j])
			minus[j], plus[j] = u-v, u+v
		}
	}
	h.multiply(h.part[:], h.minus[:], h.plus[:], n)
	for i := range hashSize {
		row := (*[n]float64)(h.part[i*n:])
		for k := range half {
			u, v := row[k], row[n-1-k]
			h.minus[k*hashSize+i], h.plus[k*hashSize+i] = u-v, u+v
		}
	}
	turned := h.part[:hashSize*hashSize]
	h.multiply(turned, h.minus[:], h.plus[:], hashSize)
	for i := range hashSize {
		for j := range hashSize {
			h.coef[i*hashSize+j] = turned[j*hashSize+i]
		}
	}
}

// multiply writes the product of the basis and a matrix of 64 rows and n columns
// that has been folded: row i of the 16 is the sum over k of basis[i][k] times
// row k of minus where the frequency i+1 is odd, of plus where it is even.
func (h *Hasher) multiply(out, minus, plus []float64, n int) {
	if h.kernel.multiply(out, minus, plus, n) {
		return
	}
	for i := range hashSize {
		in := minus
		if i%2 == 1 {
			in = plus
		}
		acc := out[i*n : (i+1)*n]
		clear(acc)
		for k, d := range basis[i] {
			for j, v := range in[k*n : (k+1)*n] {
				acc[j] += float64(d * v)
			}
		}
	}
}

// bits sets a bit for each coefficient above the median, which is the 128th
// smallest of the 256. Bit k of the hash's number is coefficient k.
func (h *Hasher) bits(c *[hashSize * hashSize]float64) (p fleet.PDQ) {
	h.order = *c
	median := smallestBut(&h.order, len(c)/2-1)
	for k, v := range c {
		if v > median {
			p[len(p)-1-k/8] |= 1 << (k % 8)
		}
	}
	return p
}

// smallestBut returns what would stand at index n if v were sorted, by Hoare's
// selection: it leaves v in another order.
func smallestBut(v *[hashSize * hashSize]float64, n int) float64 {
	lo, hi := 0, len(v)-1
	for lo < hi {
		pivot := v[(lo+hi)/2]
		i, j := lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for pivot < v[j] {
				j--
			}
			if i <= j {
				v[i], v[j] = v[j], v[i]
				i++
				j--
			}
		}
		switch {
		case n <= j:
			hi = j
		case n >= i:
			lo = i
		default:
			return v[n]
		}
	}
	return v[n]
}
