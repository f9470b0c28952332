package pdq

import (
	"math"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// filter is the reference's two box passes along one axis, seen at the 64
// points that are kept: the weights of each point, and where they begin.
type filter struct {
	size   int
	points [codec.GridSize]tap
	memory []float64

	centres [codec.GridSize]float32 // of the points, as a share of the axis

	// The points from first until last are whole. They share one tent of
	// integers, followed by zeros up to a multiple of 16.
	first, last int
	tent        []uint32
	from        [codec.GridSize]int32
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
	f.first, f.last = 0, 0
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
		f.from[i] = int32(from)
		if whole {
			if f.first == f.last {
				f.first = i
			}
			f.last = i + 1
		}
		var sum, moment float64
		for k, v := range w {
			sum += v
			moment += float64(v * (float64(from+k) + 0.5))
		}
		f.centres[i] = float32(moment / sum / float64(size))
	}
	f.memory, f.size = mem, size
	f.prepareTent(win)
}

// prepareTent writes the weights 1, 2, ... win, ... 2, 1.
func (f *filter) prepareTent(win int) {
	const step = 16
	n := (2*win - 1 + step - 1) / step * step
	if cap(f.tent) < n {
		f.tent = make([]uint32, n)
	}
	f.tent = f.tent[:n]
	for i := range f.tent {
		f.tent[i] = uint32(max(0, min(i+1, 2*win-1-i)))
	}
}

// narrow is what weights may sum up to so that 255 times as much fits 16 bits.
const narrow = 65535 / 255

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
	h.prepare(p.Width, p.Height)
	g.X, g.Y = h.cols.centres, h.rows.centres
	for i := range h.rows.points {
		t := &h.rows.points[i]
		out := (*[codec.GridSize]float32)(g.Pix[i*codec.GridSize:])
		if t.whole && window(p.Height) <= narrow {
			h.across(h.down(p, t), t.norm, out)
			continue
		}
		clear(h.exact)
		for k, w := range t.weights {
			row := p.Row(t.from + k)
			for x := h.kernel.exact(h.exact, row, w); x < len(row); x++ {
				h.exact[x] += float64(w * float64(row[x]))
			}
		}
		across(&h.cols, 0, codec.GridSize, h.exact, t.norm, out)
	}
	return true
}

// down adds up the rows of a whole point, column by column. The sums have room
// behind them for the tent's end.
func (h *Hasher) down(p codec.Plane, t *tap) []uint32 {
	if h.level <= codec.PlainGo {
		h.columns.Level = h.level
		h.columns.Reset(p.Width)
		for k, w := range t.weights {
			h.columns.Add(p.Row(t.from+k), uint32(w))
		}
		return h.columns.Sums()
	}
	clear(h.sums)
	for from := 0; from < len(t.weights); {
		h.pairs = h.pairs[:0]
		total := uint32(0)
		for _, w := range t.weights[from:] {
			if total += uint32(w); total > narrow && len(h.pairs) > 0 {
				break
			}
			h.pairs = append(h.pairs, uint32(w)*0x10001)
		}
		done := h.kernel.columns(h.sums, p, t.from+from, h.pairs)
		for k, w := range h.pairs {
			row := p.Row(t.from + from + k)
			for x := done; x < len(row); x++ {
				h.sums[x] += w & 0xffff * uint32(row[x])
			}
		}
		from += len(h.pairs)
	}
	return h.sums
}

// across applies the filter along column sums of whole weights.
func (h *Hasher) across(sums []uint32, norm float64, out *[codec.GridSize]float32) {
	f := &h.cols
	var whole [codec.GridSize]uint32
	peak := norm * float64(window(f.size)*window(f.size)) * 255
	if peak > math.MaxUint32 || !h.kernel.across(&whole, sums, f) {
		across(f, 0, codec.GridSize, sums, norm, out)
		return
	}
	across(f, 0, f.first, sums, norm, out)
	across(f, f.last, codec.GridSize, sums, norm, out)
	for j := f.first; j < f.last; j++ {
		out[j] = float32(float64(whole[j]) / (norm * f.points[j].norm))
	}
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
	h.prepare(width, height)
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
		across(&h.cols, 0, codec.GridSize, h.exact, t.norm, (*[codec.GridSize]float32)(g.Pix[i*codec.GridSize:]))
	}
	return true
}

// prepare gets ready for planes of the size.
func (h *Hasher) prepare(width, height int) {
	if h.level == 0 {
		h.level = codec.BestLevel()
	}
	h.kernel = newKernel(h.level)
	h.rows.prepare(height)
	h.cols.prepare(width)
	if cap(h.exact) < width {
		h.exact = make([]float64, width)
	}
	h.exact = h.exact[:width]
	room := width + len(h.cols.tent)
	if h.level > codec.PlainGo && cap(h.sums) < room {
		h.sums = make([]uint32, room)
	}
	if h.level > codec.PlainGo {
		h.sums = h.sums[:room]
	}
	if n := 2 * window(height); cap(h.pairs) < n {
		h.pairs = make([]uint32, 0, n)
	}
}

// across applies the filter along a row of column sums, for the points from
// first until last. The sums are integers below 2^53 wherever no window was cut,
// so the order of addition is free.
func across[T uint32 | float64](f *filter, first, last int, sums []T, norm float64, out *[codec.GridSize]float32) {
	for j := first; j < last; j++ {
		t := &f.points[j]
		var s float64
		for k, v := range sums[t.from : t.from+len(t.weights)] {
			s += float64(t.weights[k] * float64(v))
		}
		out[j] = float32(s / (norm * t.norm))
	}
}
