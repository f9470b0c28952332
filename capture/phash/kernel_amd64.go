package phash

import "github.com/shutterfleet/shutterfleet/capture/codec"

func pairsVector(dst *int16, src *byte, n int) { pairsAVX2(dst, src, n) }

func dotsVector(l codec.Level, out *[small][lanes]int32, rows *int16, stride int, from *[small]int32, weights *int16, n int) {
	if l == codec.AVX512 {
		dotsAVX512(out, rows, stride, from, weights, n)
	} else {
		dotsAVX2(out, rows, stride, from, weights, n)
	}
}

// pairsAVX2 adds up the pairs of n samples, n a multiple of 64 and not 0.
//
//go:noescape
func pairsAVX2(dst *int16, src *byte, n int)

// dotsAVX512 writes, for each output o and each of four rows that lie stride
// units apart, the sum over n units from from[o] on of weight times unit.
// Output o has its weights at o*n. n is a multiple of 32 and not 0.
//
//go:noescape
func dotsAVX512(out *[small][lanes]int32, rows *int16, stride int, from *[small]int32, weights *int16, n int)

// dotsAVX2 is dotsAVX512 for older processors.
//
//go:noescape
func dotsAVX2(out *[small][lanes]int32, rows *int16, stride int, from *[small]int32, weights *int16, n int)
