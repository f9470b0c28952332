package pdq

import "github.com/shutterfleet/shutterfleet/capture/codec"

// filter is the reference's two box passes along one axis, seen at the 64
// points that are kept: the weights of each point, and where they begin.
type filter struct {
	size   int
	points [codec.GridSize]tap
	memory []float64

	centres [codec.GridSize]float32 // of the points, as a share of the axis
}

// unfiltered are the centres of a picture that is 64 samples wide already.
var unfiltered = func() (c [codec.GridSize]float32) {
	for i := range c {
		c[i] = (float32(i) + 0.5) / codec.GridSize
	}
	return c
}()

// tap is one output point: the sum over its weights of weight times input,
// divided by norm.
type tap struct {
	from    int
	weights []float64 // integers when whole
	whole   bool      // far from the edges: no window was cut
	norm    float64
}

// window is the width of the box, by the reference's rule.
func window(size int) int { return (size + 2*codec.GridSize - 1) / (2 * codec.GridSize) }

// span returns the input samples that the box averages for output o.
func span(o, size, win int) (from, until int) {
	half := (win + 2) / 2
	return max(0, o+half-win), min(size, o+half)
}

// prepare fills f for an axis of the size; the second time with the same size
// costs nothing.
func (f *filter) prepare(size int) {
	if f.size == size {
		return
	}
	win := window(size)
	if need := codec.GridSize * (2*win + 2); cap(f.memory) < need {
		f.memory = make([]float64, 0, need)
	}
	mem := f.memory[:0]
	for i := range f.points {
		// The reference's sampling rule, in its own arithmetic.
		at := int((float64(i) + 0.5) * float64(size) / codec.GridSize)
		second, secondEnd := span(at, size, win)
		from, _ := span(second, size, win)
		_, until := span(secondEnd-1, size, win)
		start := len(mem)
		mem = mem[:start+until-from]
		w := mem[start:]
		clear(w)
		whole := secondEnd-second == win
		for k := second; whole && k < secondEnd; k++ {
			a, b := span(k, size, win)
			whole = b-a == win
		}
		t := tap{from: from, weights: w, whole: whole, norm: 1}
		if whole {
			t.norm = float64(win) * float64(win)
		}
		for k := second; k < secondEnd; k++ {
			a, b := span(k, size, win)
			share := 1.0
			if !whole {
				share = 1 / (float64(b-a) * float64(secondEnd-second))
			}
			for x := a; x < b; x++ {
				w[x-from] += share
			}
		}
		f.points[i] = t
		var sum, moment float64
		for k, v := range w {
			sum += v
			moment += v * (float64(from+k) + 0.5)
		}
		f.centres[i] = float32(moment / sum / float64(size))
	}
	f.memory, f.size = mem, size
}

// Reduce fills g with the picture at 64x64 points, filtered as PDQ does. It
// returns false, and leaves g alone, for a plane that is too small to hash or
// that does not hold the samples it claims.
func (h *Hasher) Reduce(p codec.Plane, g *codec.Grid) bool {
	if !p.Valid() || p.Width < smallest || p.Height < smallest {
		return false
	}
	if p.Width == codec.GridSize && p.Height == codec.GridSize {
		for y := range codec.GridSize {
			for x, v := range p.Row(y) {
				g.Pix[y*codec.GridSize+x] = float32(v)
			}
		}
		g.X, g.Y = unfiltered, unfiltered
		return true
	}
	h.rows.prepare(p.Height)
	h.cols.prepare(p.Width)
	h.grow(p.Width)
	g.X, g.Y = h.cols.centres, h.rows.centres
	for i := range h.rows.points {
		t := &h.rows.points[i]
		out := (*[codec.GridSize]float32)(g.Pix[i*codec.GridSize:])
		if t.whole {
			h.columns.Reset(p.Width)
			for k, w := range t.weights {
				h.columns.Add(p.Row(t.from+k), uint32(w))
			}
			across(&h.cols, h.columns.Sums(), t.norm, out)
			continue
		}
		clear(h.exact)
		for k, w := range t.weights {
			for x, v := range p.Row(t.from + k) {
				h.exact[x] += float64(w * float64(v))
			}
		}
		across(&h.cols, h.exact, t.norm, out)
	}
	return true
}

// ReduceExact is Reduce for luma that was not rounded, width samples a row.
func (h *Hasher) ReduceExact(luma []float32, width, height int, g *codec.Grid) bool {
	if width < smallest || height < smallest || len(luma) < width*height {
		return false
	}
	if width == codec.GridSize && height == codec.GridSize {
		copy(g.Pix[:], luma)
		g.X, g.Y = unfiltered, unfiltered
		return true
	}
	h.rows.prepare(height)
	h.cols.prepare(width)
	h.grow(width)
	g.X, g.Y = h.cols.centres, h.rows.centres
	for i := range h.rows.points {
		t := &h.rows.points[i]
		clear(h.exact)
		for k, w := range t.weights {
			y := t.from + k
			for x, v := range luma[y*width : (y+1)*width] {
				h.exact[x] += float64(w * float64(v))
			}
		}
		across(&h.cols, h.exact, t.norm, (*[codec.GridSize]float32)(g.Pix[i*codec.GridSize:]))
	}
	return true
}

// grow gives h.exact a float for each column.
func (h *Hasher) grow(width int) {
	if cap(h.exact) < width {
		h.exact = make([]float64, width)
	}
	h.exact = h.exact[:width]
}

// across applies the filter along a row of column sums. The sums are integers
// below 2^53 wherever no window was cut, so the order of addition is free.
func across[T uint32 | float64](f *filter, sums []T, norm float64, out *[codec.GridSize]float32) {
	for j := range f.points {
		t := &f.points[j]
		var s float64
		for k, v := range sums[t.from : t.from+len(t.weights)] {
			s += float64(t.weights[k] * float64(v))
		}
		out[j] = float32(s / (norm * t.norm))
	}
}
