package phash

import "github.com/shutterfleet/shutterfleet/capture/codec"

func pairsVector(dst *int16, src *byte, n int) { pairsNEON(dst, src, n) }

func dotsVector(_ codec.Level, out *[small][lanes]int32, rows *int16, stride int, from *[small]int32, weights *int16, n int) {
	dotsNEON(out, rows, stride, from, weights, n)
}

// pairsNEON adds up the pairs of n samples, n a multiple of 64 and not 0.
//
//go:noescape
func pairsNEON(dst *int16, src *byte, n int)

// dotsNEON writes, for each output o and each of four rows that lie stride
// units apart, the sum over n units from from[o] on of weight times unit.
// Output o has its weights at o*n. n is a multiple of 16 and not 0.
//
//go:noescape
func dotsNEON(out *[small][lanes]int32, rows *int16, stride int, from *[small]int32, weights *int16, n int)
