package quality

import (
	"encoding/binary"
	"math/bits"
)

// Four samples lie in a word, 16 bits each: those with even columns, or those
// with odd ones. Numbers that may be negative have a bias.
const (
	ones    = 0x0001000100010001
	samples = 0x00ff * ones
	words   = 0x0000ffff0000ffff

	gradientBias = 1024 // Sobel's and the Laplacian reach from -1020 to 1020
	fineBias     = 2048 // the noise from -2040 to 2040
)

// column returns what four columns of three rows say: the three as 1 2 1,
// 0..1020, and the lower less the upper, and 256.
func column(above, row, below uint64) (smooth, down uint64) {
	return above + below + 2*row, below + 256*ones - above
}

// lanes is stencil for the inner samples 1 to n, n a multiple of 8, and returns
// n. In flat each block of 8 has two words: of its samples 1, 3, 5 and 7, and of
// 2, 4, 6 and 8.
func (s *sums) lanes(above, row, below []byte, flat []uint64) int {
	inner := len(row) - 2
	if bits.UintSize < 64 || inner < 8 {
		return 0
	}
	n := inner / 8 * 8
	var laplacian, laplacians, tenengrad, gradients, noise uint64
	flat = flat[:n/4]
	for len(above) >= 10 && len(below) >= 10 && len(row) >= 10 && len(flat) >= 2 {
		u, v, w := binary.LittleEndian.Uint64(above), binary.LittleEndian.Uint64(row), binary.LittleEndian.Uint64(below)
		q, p := v&samples, v>>8&samples // columns 0 2 4 6 and 1 3 5 7
		qSmooth, qDown := column(u&samples, q, w&samples)
		pSmooth, pDown := column(u>>8&samples, p, w>>8&samples)
		u, v, w = binary.LittleEndian.Uint64(above[2:]), binary.LittleEndian.Uint64(row[2:]), binary.LittleEndian.Uint64(below[2:])
		e, o := v&samples, v>>8&samples // columns 2 4 6 8 and 3 5 7 9
		eSmooth, eDown := column(u&samples, e, w&samples)
		oSmooth, oDown := column(u>>8&samples, o, w>>8&samples)

		gx1, gy1 := eSmooth+gradientBias*ones-qSmooth, qDown+2*pDown+eDown
		gx2, gy2 := oSmooth+gradientBias*ones-pSmooth, pDown+2*eDown+oDown
		flat[0] += (small(gx1+gy1) & small(gx1+2*gradientBias*ones-gy1)) >> 15 & ones
		flat[1] += (small(gx2+gy2) & small(gx2+2*gradientBias*ones-gy2)) >> 15 & ones
		tenengrad += (squares(gx1) + squares(gy1) + squares(gx2) + squares(gy2)) >> 32
		gradients += (gx1 + gy1 + gx2 + gy2) * ones >> 48

		// The four next to a sample, less four times the sample; and the corners,
		// which are the smooth columns without what is beside, less twice the four
		// and four times the sample.
		beside := q + e
		next := pSmooth - 2*p + beside
		l1 := next + gradientBias*ones - 4*p
		fine := magnitude(qSmooth + eSmooth + (fineBias+gradientBias)*ones - 2*beside - next - l1)
		beside = p + o
		next = eSmooth - 2*e + beside
		l2 := next + gradientBias*ones - 4*e
		fine += magnitude(pSmooth + oSmooth + (fineBias+gradientBias)*ones - 2*beside - next - l2)
		laplacian += (squares(l1) + squares(l2)) >> 32
		laplacians += (l1 + l2) * ones >> 48
		noise += fine * ones >> 48
		above, row, below, flat = above[8:], row[8:], below[8:], flat[2:]
	}
	// l² is (l+b)² - 2b (l+b) + b².
	const bias, square = 2 * gradientBias, gradientBias * gradientBias
	s.laplacian += laplacian - bias*laplacians + uint64(n)*square
	s.tenengrad += tenengrad - bias*gradients + 2*uint64(n)*square
	s.noise += noise
	return n
}

// small has the uppermost bit of each lane set where a sum or a difference of
// two gradients, with the bias of both, is no edge. Both are small where the
// magnitudes of the two together are.
func small(v uint64) uint64 {
	const bias = 2 * gradientBias
	return ((0x8000+bias+edgeStep)*ones - v) & (v + (0x8000-bias+edgeStep)*ones)
}

// magnitude takes the bias off the noise, and the sign.
func magnitude(v uint64) uint64 {
	negative := ^v >> 11 & ones
	return (v ^ (negative<<12 - negative)) - fineBias*ones + negative
}

// squares has the sum of the lanes' squares in its upper half: lanes stay below
// 2^11, so the two products below it stay there, also those of four numbers.
func squares(v uint64) uint64 {
	a, b := v&words, v>>16&words
	return a*bits.RotateLeft64(a, 32) + b*bits.RotateLeft64(b, 32)
}

// spill moves the counts of lanes to plain and empties them.
func spill(plain []uint16, flat []uint64) {
	for i, v := range flat {
		for k := range 4 {
			plain[1+i/2*8+i%2+2*k] += uint16(v >> (16 * k))
		}
	}
	clear(flat)
}
