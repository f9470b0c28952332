package codec

// Level is which instructions the inner loops over a plane use. All levels give
// the same numbers, bit for bit; tests run each beside plain Go.
type Level uint8

// The levels. The zero Level is that nothing was chosen yet.
const (
	PlainGo Level = iota + 1
	AVX2          // amd64 with AVX2
	AVX512        // amd64 with AVX-512 F, BW, DQ and VL
)

// String returns the level's name, as benchmarks print it.
func (l Level) String() string {
	switch l {
	case PlainGo:
		return "go"
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	}
	return "none"
}
