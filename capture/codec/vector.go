package codec

// Level is which instructions the inner loops over a plane use. All levels give
// the same numbers, bit for bit; tests run each beside plain Go.
type Level uint8

// The levels. The zero Level is that nothing was chosen yet.
const (
	PlainGo Level = iota + 1
	AVX2          // amd64 with AVX2
	AVX512        // amd64 with AVX-512 F, BW, DQ and VL
	NEON          // every arm64
)

// BestLevel returns the last of Levels.
func BestLevel() Level {
	l := PlainGo
	for _, better := range vectors() {
		l = better
	}
	return l
}

// Levels returns the levels that this processor, and the system on it, can run,
// plain Go first and the best last.
func Levels() []Level { return append([]Level{PlainGo}, vectors()...) }

// String returns the level's name, as benchmarks print it.
func (l Level) String() string {
	switch l {
	case PlainGo:
		return "go"
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	case NEON:
		return "neon"
	}
	return "none"
}
