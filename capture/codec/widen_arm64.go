package codec

func widenVector(dst *int16, src *byte, n int) { widenNEON(dst, src, n) }

// widenNEON does n samples, n a multiple of 32 and not 0.
//
//go:noescape
func widenNEON(dst *int16, src *byte, n int)
