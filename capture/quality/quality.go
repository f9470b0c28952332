// Package quality scores one frame by its luma plane alone: is it dark, flat,
// blown out, out of focus.
//
//	rows, three at a time ──► histogram ──► mean, contrast, dark, bright, entropy
//	                      └─► Laplacian ──► sharpness
package quality

import (
	"encoding/binary"
	"math"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Below and above these a sample counts as dark or bright: the ends of the
// studio range, so that full-range and studio-range pictures agree on what is
// lost.
const (
	darkest   = 16
	brightest = 240
)

// Score computes all scores in one pass over the plane. A plane that does not
// hold the samples it claims scores zero throughout. Sharpness is the variance
// of the Laplacian [0 1 0; 1 -4 1; 0 1 0] over all samples with four neighbours,
// and 0 for a plane that has none.
func Score(p codec.Plane) fleet.Quality {
	if !p.Valid() {
		return fleet.Quality{}
	}
	// Four histograms, because neighbours are often equal and a counter that
	// was just written is slow to read.
	var hist [4][256]uint32
	var sum, squares int64
	for y := range p.Height {
		row := p.Row(y)
		count(&hist, row)
		if y > 0 && y < p.Height-1 && p.Width > 2 {
			s, q := laplacian(p.Row(y-1), row, p.Row(y+1))
			sum += s
			squares += q
		}
	}
	var h [256]uint64
	for v := range h {
		for k := range hist {
			h[v] += uint64(hist[k][v])
		}
	}
	q := fromHistogram(&h, p.Width*p.Height)
	if n := float64(p.Width-2) * float64(p.Height-2); p.Width > 2 && p.Height > 2 {
		mean := float64(sum) / n
		q.Sharpness = float32(max(0, float64(squares)/n-mean*mean))
	}
	return q
}

func count(hist *[4][256]uint32, row []byte) {
	h0, h1, h2, h3 := &hist[0], &hist[1], &hist[2], &hist[3]
	for ; len(row) >= 8; row = row[8:] {
		v := binary.LittleEndian.Uint64(row)
		h0[byte(v)]++
		h1[byte(v>>8)]++
		h2[byte(v>>16)]++
		h3[byte(v>>24)]++
		h0[byte(v>>32)]++
		h1[byte(v>>40)]++
		h2[byte(v>>48)]++
		h3[byte(v>>56)]++
	}
	for _, v := range row {
		h0[v]++
	}
}

// bias makes every Laplacian, which lies within four times 255 of zero, a
// number that a 16-bit lane holds.
const (
	bias      = 4 * 255
	biases    = bias * 0x0001000100010001
	evenBytes = 0x00ff00ff00ff00ff
)

// laplacian returns the sum and the sum of squares over the inner samples of
// one row. Eight samples go at a time, four to a word.
func laplacian(above, row, below []byte) (sum, squares int64) {
	left, here, right := row[:len(row)-2], row[1:len(row)-1], row[2:]
	above, below = above[1:len(above)-1], below[1:len(below)-1]
	var total, square uint64
	n := int64(0)
	for len(left) >= 8 && len(here) >= 8 && len(right) >= 8 && len(above) >= 8 && len(below) >= 8 {
		l, c, r := binary.LittleEndian.Uint64(left), binary.LittleEndian.Uint64(here), binary.LittleEndian.Uint64(right)
		a, b := binary.LittleEndian.Uint64(above), binary.LittleEndian.Uint64(below)
		even := l&evenBytes + r&evenBytes + a&evenBytes + b&evenBytes + biases - c&evenBytes<<2
		odd := l>>8&evenBytes + r>>8&evenBytes + a>>8&evenBytes + b>>8&evenBytes + biases - c>>8&evenBytes<<2
		both := even + odd // at most 4080 a lane
		total += both&0xffff + both>>16&0xffff + both>>32&0xffff + both>>48
		square += (even&0xffff)*(even&0xffff) + (even>>16&0xffff)*(even>>16&0xffff) +
			(even>>32&0xffff)*(even>>32&0xffff) + (even>>48)*(even>>48) +
			(odd&0xffff)*(odd&0xffff) + (odd>>16&0xffff)*(odd>>16&0xffff) +
			(odd>>32&0xffff)*(odd>>32&0xffff) + (odd>>48)*(odd>>48)
		left, here, right, above, below = left[8:], here[8:], right[8:], above[8:], below[8:]
		n += 8
	}
	sum = int64(total) - bias*n
	squares = int64(square) - 2*bias*int64(total) + bias*bias*n
	for i, c := range here {
		v := int64(left[i]) + int64(right[i]) + int64(above[i]) + int64(below[i]) - 4*int64(c)
		sum += v
		squares += v * v
	}
	return sum, squares
}

func fromHistogram(h *[256]uint64, samples int) fleet.Quality {
	n := float64(samples)
	var sum, squares, dark, bright uint64
	var entropy float64
	for v, c := range h {
		if c == 0 {
			continue
		}
		sum += uint64(v) * c
		squares += uint64(v) * uint64(v) * c
		if v <= darkest {
			dark += c
		}
		if v >= brightest {
			bright += c
		}
		share := float64(c) / n
		entropy -= share * math.Log2(share)
	}
	mean := float64(sum) / n
	return fleet.Quality{
		Mean:     float32(mean),
		Contrast: float32(math.Sqrt(max(0, float64(squares)/n-mean*mean))),
		Dark:     float32(float64(dark) / n),
		Bright:   float32(float64(bright) / n),
		Entropy:  float32(max(0, entropy)),
	}
}
