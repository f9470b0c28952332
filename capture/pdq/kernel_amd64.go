package pdq

import "github.com/shutterfleet/shutterfleet/capture/codec"

// heaviest is the largest weight of a row that columnsVector takes.
const heaviest = 65535

func columnsVector(l codec.Level, sums *uint32, pix *byte, stride int, weights *uint32, k, n int) {
	if l == codec.AVX512 {
		columnsAVX512(sums, pix, stride, weights, k, n)
	} else {
		columnsAVX2(sums, pix, stride, weights, k, n)
	}
}

func exactVector(l codec.Level, sums *float64, row *byte, weight float64, n int) {
	if l == codec.AVX512 {
		exactAVX512(sums, row, weight, n)
	} else {
		exactAVX2(sums, row, weight, n)
	}
}

func acrossVector(l codec.Level, out, sums *uint32, from *int32, points int, tent *uint32, n int) {
	if l == codec.AVX512 {
		acrossAVX512(out, sums, from, points, tent, n)
	} else {
		acrossAVX2(out, sums, from, points, tent, n)
	}
}

func multiplyVector(l codec.Level, out, minus, plus *float64, basis *[hashSize][half]float64, n int) {
	if l == codec.AVX512 {
		multiplyAVX512(out, minus, plus, basis, n)
	} else {
		multiplyAVX2(out, minus, plus, basis, n)
	}
}

func gradientsVector(l codec.Level, g *codec.Grid) int {
	if l == codec.AVX512 {
		return gradientsAVX512(g)
	}
	return gradientsAVX2(g)
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
