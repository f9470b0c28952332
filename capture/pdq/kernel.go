//go:build amd64 || arm64

package pdq

import "github.com/shutterfleet/shutterfleet/capture/codec"

// kernel is the vector path. Its methods do as much as their loops can and say
// how much that was; the rest is for their callers, in plain Go. Sums are the
// same to the bit: they are of integers, or of floats in the same order.
type kernel struct{ level codec.Level }

func newKernel(l codec.Level) kernel { return kernel{l} }

// columns adds the rows from y on, each weighted, to sums, and returns up to
// which column. A weight stands in both halves of its word; all weights together
// are at most narrow.
func (k kernel) columns(sums []uint32, p codec.Plane, y int, weights []uint32) int {
	n := p.Width / 32 * 32
	if k.level <= codec.PlainGo || n == 0 {
		return 0
	}
	for _, w := range weights {
		if w&0xffff > heaviest {
			return 0
		}
	}
	_, _ = p.Pix[(y+len(weights)-1)*p.Stride+n-1], sums[n-1]
	columnsVector(k.level, &sums[0], &p.Pix[y*p.Stride], p.Stride, &weights[0], len(weights), n)
	return n
}

// exact adds a row to sums and returns up to which column.
func (k kernel) exact(sums []float64, row []byte, weight float64) int {
	n := len(row) / 8 * 8
	if k.level <= codec.PlainGo || n == 0 {
		return 0
	}
	_ = sums[n-1]
	exactVector(k.level, &sums[0], &row[0], weight, n)
	return n
}

// across computes the points of f that are whole. sums has room behind it for
// the tent's end.
func (k kernel) across(out *[codec.GridSize]uint32, sums []uint32, f *filter) bool {
	if k.level <= codec.PlainGo || f.first == f.last {
		return false
	}
	sums = sums[:f.size+len(f.tent)]
	acrossVector(k.level, &out[f.first], &sums[0], &f.from[f.first], f.last-f.first, &f.tent[0], len(f.tent))
	return true
}

// multiply is the function of that name.
func (k kernel) multiply(out, minus, plus []float64, n int) bool {
	if k.level <= codec.PlainGo {
		return false
	}
	_, _, _ = out[hashSize*n-1], minus[half*n-1], plus[half*n-1]
	multiplyVector(k.level, &out[0], &minus[0], &plus[0], &basis, n)
	return true
}

// gradients is the sum that Quality takes.
func (k kernel) gradients(g *codec.Grid) (int, bool) {
	if k.level <= codec.PlainGo {
		return 0, false
	}
	return gradientsVector(k.level, g), true
}
