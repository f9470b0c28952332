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
	_ = p.Pix[(y+len(weights)-1)*p.Stride+n-1]
	if k.level == codec.AVX512 {
		columnsAVX512(&sums[0], &p.Pix[y*p.Stride], p.Stride, &weights[0], len(weights), n)
	} else {
		columnsAVX2(&sums[0], &p.Pix[y*p.Stride], p.Stride, &weights[0], len(weights), n)
	}
	return n
}

// exact adds a row to sums and returns up to which column.
func (k kernel) exact(sums []float64, row []byte, weight float64) int {
	n := len(row) / 8 * 8
	if k.level <= codec.PlainGo || n == 0 {
		return 0
	}
	_ = sums[n-1]
	if k.level == codec.AVX512 {
		exactAVX512(&sums[0], &row[0], weight, n)
	} else {
		exactAVX2(&sums[0], &row[0], weight, n)
	}
	return n
}

// across computes the points of f that are whole. sums has room behind it for
// the tent's end.
func (k kernel) across(out *[codec.GridSize]uint32, sums []uint32, f *filter) bool {
	if k.level <= codec.PlainGo || f.first == f.last {
		return false
	}
	sums = sums[:f.size+len(f.tent)]
	if k.level == codec.AVX512 {
		acrossAVX512(&out[f.first], &sums[0], &f.from[f.first], f.last-f.first, &f.tent[0], len(f.tent))
	} else {
		acrossAVX2(&out[f.first], &sums[0], &f.from[f.first], f.last-f.first, &f.tent[0], len(f.tent))
	}
	return true
}

// multiply is the function of that name.
func (k kernel) multiply(out, minus, plus []float64, n int) bool {
	if k.level <= codec.PlainGo {
		return false
	}
	_, _, _ = out[hashSize*n-1], minus[half*n-1], plus[half*n-1]
	if k.level == codec.AVX512 {
		multiplyAVX512(&out[0], &minus[0], &plus[0], &basis, n)
	} else {
		multiplyAVX2(&out[0], &minus[0], &plus[0], &basis, n)
	}
	return true
}

// gradients is the sum that Quality takes.
func (k kernel) gradients(g *codec.Grid) (int, bool) {
	switch k.level {
	case codec.AVX512:
		return gradientsAVX512(g), true
	case codec.AVX2:
		return gradientsAVX2(g), true
	}
	return 0, false
}

// columnsAVX512 adds the weighted sum of k rows, stride bytes apart, to n sums.
// n is a multiple of 32 and not 0, k is not 0.
//
//go:noescape
func columnsAVX512(sums *uint32, pix *byte, stride int, weights *uint32, k, n int)

//go:noescape
func columnsAVX2(sums *uint32, pix *byte, stride int, weights *uint32, k, n int)

// exactAVX512 adds weight times n samples to n sums, product and sum rounded
// apart. n is a multiple of 8 and not 0.
//
//go:noescape
func exactAVX512(sums *float64, row *byte, weight float64, n int)

//go:noescape
func exactAVX2(sums *float64, row *byte, weight float64, n int)

// acrossAVX512 writes, for each of the points, the sum over n columns from
// from[i] on of tent times sum. n is a multiple of 16 and not 0.
//
//go:noescape
func acrossAVX512(out, sums *uint32, from *int32, points int, tent *uint32, n int)

//go:noescape
func acrossAVX2(out, sums *uint32, from *int32, points int, tent *uint32, n int)

// multiplyAVX512 does the work of multiply. n is a multiple of 16 and not 0.
//
//go:noescape
func multiplyAVX512(out, minus, plus *float64, basis *[hashSize][half]float64, n int)

//go:noescape
func multiplyAVX2(out, minus, plus *float64, basis *[hashSize][half]float64, n int)

// gradientsAVX512 reads one float behind grid.Pix, which is grid.X, and drops it.
//
//go:noescape
func gradientsAVX512(grid *codec.Grid) int

//go:noescape
func gradientsAVX2(grid *codec.Grid) int
