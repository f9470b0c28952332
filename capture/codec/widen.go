//go:build amd64 || arm64

package codec

// Widen writes the samples of src to dst as 16-bit numbers. dst is at least as
// long.
func Widen(dst []int16, src []byte, l Level) {
	dst = dst[:len(src)]
	full := 0
	if l > PlainGo && len(src) >= 32 {
		full = len(src) / 32 * 32
		widenVector(&dst[0], &src[0], full)
	}
	for x := full; x < len(src); x++ {
		dst[x] = int16(src[x])
	}
}
