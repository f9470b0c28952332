// Package pdq computes PDQ-256, the perceptual hash of facebook/ThreatExchange,
// with its quality, bit for bit as the reference does on luma planes.
//
//	luma ──two box filters each way, sampled──► 64x64 ──DCT──► 16x16 ──median──► 256 bits
//
// The reference filters the whole picture and keeps 64x64 samples of it. The
// filter is linear and separable, so only those samples are computed here: each
// pixel is read about once.
package pdq

import (
	"math"
	"sync"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	side = 64 // of the plane that is hashed
	bits = 16 // of the hash, each way

	// minSide is below what the reference hashes.
	minSide = 5
)

// Buffer64 is a picture reduced to 64x64, row by row, in the range 0..255.
type Buffer64 [side * side]float32

// Reduce reduces a luma plane of at least 5x5 to 64x64 as PDQ does.
func Reduce(p codec.Plane, out *Buffer64) {
	if p.Width == side && p.Height == side {
		for y := range side {
			for x, v := range p.Row(y) {
				out[y*side+x] = float32(v)
			}
		}
		return
	}
	cols, rows := kernels(p.Width), kernels(p.Height)
	acc := accumulators.Get().(*accumulator)
	defer accumulators.Put(acc)
	acc.grow(p.Width)
	for i := range rows {
		line := acc.vertical(p, &rows[i])
		for j := range cols {
			k := &cols[j]
			sum := 0.0
			for n, w := range k.weights {
				sum += w * line[k.from+n]
			}
			out[i*side+j] = float32(sum)
		}
	}
}

// ReduceExact is Reduce for luma that was computed from colours and not rounded:
// w*h values, row by row.
func ReduceExact(luma []float32, w, h int, out *Buffer64) {
	if w == side && h == side {
		copy(out[:], luma)
		return
	}
	cols, rows := kernels(w), kernels(h)
	line := make([]float64, w)
	for i := range rows {
		clear(line)
		for n, wt := range rows[i].weights {
			at := (rows[i].from + n) * w
			for x, v := range luma[at : at+w] {
				line[x] += wt * float64(v)
			}
		}
		for j := range cols {
			sum := 0.0
			for n, wt := range cols[j].weights {
				sum += wt * line[cols[j].from+n]
			}
			out[i*side+j] = float32(sum)
		}
	}
}

// kernel is what one sample takes of the input: weights from index `from` on.
type kernel struct {
	from    int
	weights []float64
	counts  []uint32 // weights times scale, when these are whole numbers
	scale   float64
}

// kernels returns the 64 kernels along a side of n pixels: the impulse response
// of two box filters of width (n+127)/128, cut and normalised at the edges as
// the reference does, at the places int((i+0.5)*n/64).
func kernels(n int) (ks [side]kernel) {
	w := (n + 127) / 128
	window := func(o int) (lo, hi int) { // [lo, hi)
		lo = o + (w+2)/2 - w
		return max(lo, 0), min(lo+w, n)
	}
	for i := range ks {
		at := int((float64(i) + 0.5) * float64(n) / side)
		lo, hi := window(at)
		from, _ := window(lo)
		_, to := window(hi - 1)
		k := kernel{from: from, weights: make([]float64, to-from), scale: 1 / float64(w*w)}
		whole := hi-lo == w
		counts := make([]uint32, to-from)
		for o := lo; o < hi; o++ {
			a, b := window(o)
			whole = whole && b-a == w
			for x := a; x < b; x++ {
				k.weights[x-from] += 1 / float64(hi-lo) / float64(b-a)
				counts[x-from]++
			}
		}
		if whole {
			k.counts = counts
		}
		ks[i] = k
	}
	return ks
}

// accumulator holds one reduced line.
type accumulator struct {
	ints   []uint32
	floats []float64
}

var accumulators = sync.Pool{New: func() any { return new(accumulator) }}

func (a *accumulator) grow(n int) {
	if cap(a.ints) < n {
		a.ints, a.floats = make([]uint32, n), make([]float64, n)
	}
	a.ints, a.floats = a.ints[:n], a.floats[:n]
}

// vertical returns the weighted sum of the kernel's rows: in whole numbers
// where the kernel has them, which is all but the edges.
func (a *accumulator) vertical(p codec.Plane, k *kernel) []float64 {
	if k.counts == nil {
		clear(a.floats)
		for n, w := range k.weights {
			for x, v := range p.Row(k.from + n) {
				a.floats[x] += w * float64(v)
			}
		}
		return a.floats
	}
	clear(a.ints)
	for n, w := range k.counts {
		row := p.Row(k.from + n)
		sums := a.ints[:len(row)]
		for x, v := range row {
			sums[x] += w * uint32(v)
		}
	}
	for x, v := range a.ints {
		a.floats[x] = float64(v) * k.scale
	}
	return a.floats
}

// Sum hashes a luma plane. A plane less than 5 pixels wide or high has the zero
// hash and quality 0.
func Sum(p codec.Plane) (hash fleet.PDQ, quality uint8) {
	if p.Width < minSide || p.Height < minSide {
		return hash, 0
	}
	b := buffers.Get().(*Buffer64)
	defer buffers.Put(b)
	Reduce(p, b)
	return b.Hash(), b.Quality()
}

var buffers = sync.Pool{New: func() any { return new(Buffer64) }}

// Quality is 0 for a plane without gradients, and 100 for a detailed one. Below
// 50 the hash says little.
func (b *Buffer64) Quality() uint8 {
	sum := 0
	add := func(u, v float32) {
		d := int((u - v) * 100 / 255) // truncated, as the reference does
		if d < 0 {
			d = -d
		}
		sum += d
	}
	for y := range side {
		for x := range side {
			if y < side-1 {
				add(b[y*side+x], b[(y+1)*side+x])
			}
			if x < side-1 {
				add(b[y*side+x], b[y*side+x+1])
			}
		}
	}
	return uint8(min(100, sum/90))
}

// basis holds rows 1..16 of the 64-point DCT-II.
var basis = func() (d [bits][side]float32) {
	scale := math.Sqrt(2.0 / side)
	for i := range bits {
		for j := range side {
			d[i][j] = float32(scale * math.Cos(math.Pi/(2*side)*float64(i+1)*float64(2*j+1)))
		}
	}
	return d
}()

// Hash returns the 256 bits of the plane.
func (b *Buffer64) Hash() (hash fleet.PDQ) {
	var half [bits][side]float32
	for i := range bits {
		row := &half[i]
		for k := range side {
			w := basis[i][k]
			src := b[k*side : k*side+side]
			for j, v := range src {
				row[j] += w * v
			}
		}
	}
	var coefs, sorted [bits * bits]float32
	for i := range bits {
		for j := range bits {
			var s float32
			for k, v := range &half[i] {
				s += v * basis[j][k]
			}
			coefs[i*bits+j] = s
		}
	}
	sorted = coefs
	median := nth(sorted[:], len(sorted)/2-1)
	for k, v := range coefs {
		if v > median {
			// Bit k is bit k%16 of word k/16; the text begins with word 15.
			hash[31-k/8] |= 1 << (k % 8)
		}
	}
	return hash
}

// nth returns the n-th smallest value (quickselect); it reorders v.
func nth(v []float32, n int) float32 {
	lo, hi := 0, len(v)-1
	for lo < hi {
		pivot := v[(lo+hi)/2]
		i, j := lo, hi
		for i <= j {
			for v[i] < pivot {
				i++
			}
			for v[j] > pivot {
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
	return v[lo]
}
