package pdq

import "github.com/shutterfleet/shutterfleet/capture/codec"

// heaviest is the largest weight of a row that columnsVector takes: a byte.
// Planes of 32,640 rows and more have heavier ones.
const heaviest = 255

func columnsVector(_ codec.Level, sums *uint32, pix *byte, stride int, weights *uint32, k, n int) {
	columnsNEON(sums, pix, stride, weights, k, n)
}

func exactVector(_ codec.Level, sums *float64, row *byte, weight float64, n int) {
	exactNEON(sums, row, weight, n)
}

func acrossVector(_ codec.Level, out, sums *uint32, from *int32, points int, tent *uint32, n int) {
	acrossNEON(out, sums, from, points, tent, n)
}

func multiplyVector(_ codec.Level, out, minus, plus *float64, basis *[hashSize][half]float64, n int) {
	multiplyNEON(out, minus, plus, basis, n)
}

func gradientsVector(_ codec.Level, g *codec.Grid) int {
	return gradientsNEON(g)
}

// columnsNEON adds the weighted sum of k rows, stride bytes apart, to n sums.
// n is a multiple of 32 and not 0, k is not 0, and weights are at most heaviest.
//
//go:noescape
func columnsNEON(sums *uint32, pix *byte, stride int, weights *uint32, k, n int)

// exactNEON adds weight times n samples to n sums, product and sum rounded
// apart. n is a multiple of 8 and not 0.
//
//go:noescape
func exactNEON(sums *float64, row *byte, weight float64, n int)

// acrossNEON writes, for each of the points, the sum over n columns from
// from[i] on of tent times sum. n is a multiple of 16 and not 0.
//
//go:noescape
func acrossNEON(out, sums *uint32, from *int32, points int, tent *uint32, n int)

// multiplyNEON does the work of multiply. n is a multiple of 8 and not 0.
//
//go:noescape
func multiplyNEON(out, minus, plus *float64, basis *[hashSize][half]float64, n int)

// gradientsNEON reads one float behind grid.Pix, which is grid.X, and drops it.
//
//go:noescape
func gradientsNEON(grid *codec.Grid) int
