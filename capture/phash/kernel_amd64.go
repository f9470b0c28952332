package phash

import "github.com/shutterfleet/shutterfleet/capture/codec"

// kernel reduces four rows at a time. It weights samples and not cells: that
// each has the weight of its cell gives the same sums, to the bit.
type kernel struct {
	level   codec.Level
	size    int // of the axis that is prepared
	taps    int // in samples, a multiple of step
	from    [small]int32
	weights []int16
	stride  int     // of rows, in samples
	rows    []int16 // four, each with zeros behind
}

// step is how many samples the loops take at a time.
const step = 32

func (k *kernel) prepare(a *axis) {
	if k.level == 0 {
		k.level = codec.BestLevel()
	}
	if k.size == a.size || k.level == codec.PlainGo {
		return
	}
	k.size = a.size
	k.taps = (a.taps*a.bin + step - 1) / step * step
	k.weights = make([]int16, small*k.taps)
	for o := range small {
		k.from[o] = a.from[o] * int32(a.bin)
		for i := range a.taps * a.bin {
			k.weights[o*k.taps+i] = int16(a.weights[o*a.taps+i/a.bin])
		}
	}
	k.stride = a.size + k.taps + a.bin
	k.rows = make([]int16, lanes*k.stride)
}

// fits says whether the kernel can take over with so many rows left.
func (k *kernel) fits(rows int) bool { return k.level > codec.PlainGo && rows >= lanes }

// reduce writes the sums of the rows from y on, and returns how many these are.
func (k *kernel) reduce(sums *[small][lanes]int32, p codec.Plane, y int) int {
	for i := range lanes {
		codec.Widen(k.rows[i*k.stride:], p.Row(y+i), k.level)
	}
	if k.level == codec.AVX512 {
		dotsAVX512(sums, &k.rows[0], k.stride, &k.from, &k.weights[0], k.taps)
	} else {
		dotsAVX2(sums, &k.rows[0], k.stride, &k.from, &k.weights[0], k.taps)
	}
	return lanes
}

// dotsAVX512 writes, for each output o and each of four rows that lie stride
// samples apart, the sum over n samples from from[o] on of weight times sample.
// Output o has its weights at o*n. n is a multiple of 32 and not 0.
//
//go:noescape
func dotsAVX512(out *[small][lanes]int32, rows *int16, stride int, from *[small]int32, weights *int16, n int)

// dotsAVX2 is dotsAVX512 for older processors.
//
//go:noescape
func dotsAVX2(out *[small][lanes]int32, rows *int16, stride int, from *[small]int32, weights *int16, n int)
