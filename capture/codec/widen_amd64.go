package codec

func widenVector(dst *int16, src *byte, n int) { widenAVX2(dst, src, n) }

// widenAVX2 does n samples, n a multiple of 32 and not 0.
//
//go:noescape
func widenAVX2(dst *int16, src *byte, n int)
