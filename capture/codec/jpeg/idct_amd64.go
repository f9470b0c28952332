package jpeg

import "github.com/shutterfleet/shutterfleet/capture/codec"

// fullVector is full by vectors, where the level has them; else it returns false.
func fullVector(l codec.Level, b *block, dst []byte, stride int) bool {
	if l < codec.AVX2 || l > codec.AVX512 {
		return false
	}
	_ = dst[7*stride+7]
	fullAVX2(b, &dst[0], stride)
	return true
}

// fullAVX2 writes 8 rows of 8 samples that lie stride apart. All its sums wrap as
// those of full do.
//
//go:noescape
func fullAVX2(b *block, dst *byte, stride int)
