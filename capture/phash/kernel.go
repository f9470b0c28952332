//go:build amd64 || arm64

package phash

import "github.com/shutterfleet/shutterfleet/capture/codec"

// kernel reduces four rows at a time. It weights samples, or pairs of them, and
// not cells: that each has the weight of its cell gives the same sums, to the bit.
type kernel struct {
	level   codec.Level
	size    int // of the axis that is prepared
	unit    int // 1 or 2: samples or pairs
	taps    int // in units, a multiple of step
	from    [small]int32
	weights []int16
	stride  int     // of rows, in units
	rows    []int16 // four, each with zeros behind
}

// step is how many units the loops take at a time.
const step = 32

func (k *kernel) prepare(a *axis) {
	if k.level == 0 {
		k.level = codec.BestLevel()
	}
	if k.size == a.size || k.level == codec.PlainGo {
		return
	}
	k.size, k.unit = a.size, min(2, a.bin)
	ratio := a.bin / k.unit
	k.taps = (a.taps*ratio + step - 1) / step * step
	k.weights = make([]int16, small*k.taps)
	for o := range small {
		k.from[o] = a.from[o] * int32(ratio)
		for i := range a.taps * ratio {
			k.weights[o*k.taps+i] = int16(a.weights[o*a.taps+i/ratio])
		}
	}
	k.stride = a.size/k.unit + k.taps + a.bin
	k.rows = make([]int16, lanes*k.stride)
}

// fits says whether the kernel can take over with so many rows left.
func (k *kernel) fits(rows int) bool { return k.level > codec.PlainGo && rows >= lanes }

// reduce writes the sums of the rows from y on, and returns how many these are.
func (k *kernel) reduce(sums *[small][lanes]int32, p codec.Plane, y int) int {
	for i := range lanes {
		if dst, src := k.rows[i*k.stride:], p.Row(y+i); k.unit == 1 {
			codec.Widen(dst, src, k.level)
		} else {
			pairs(dst, src)
		}
	}
	dotsVector(k.level, sums, &k.rows[0], k.stride, &k.from, &k.weights[0], k.taps)
	return lanes
}

// pairs writes the sums of neighbors; the last sample of an odd row stands alone.
func pairs(dst []int16, src []byte) {
	dst = dst[:(len(src)+1)/2]
	full := len(src) / 64 * 64
	if full > 0 {
		pairsVector(&dst[0], &src[0], full)
	}
	for x := full; x < len(src); x += 2 {
		dst[x/2] = int16(src[x])
		if x+1 < len(src) {
			dst[x/2] += int16(src[x+1])
		}
	}
}
