// Package quality scores one frame by its luma plane alone: is it dark, flat,
// blown out, out of focus.
//
//	rows, three at a time ──► histogram ──► mean, contrast, dark, bright, entropy
//	                      └─► Laplacian ──► sharpness
package quality

import (
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
// of the Laplacian [0 1 0; 1 -4 1; 0 1 0] over all samples with four neighbors,
// and 0 for a plane that has none.
func Score(p codec.Plane) fleet.Quality {
	if !p.Valid() {
		return fleet.Quality{}
	}
	// Four histograms, because neighbors are often equal and a counter that
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
	for len(row) >= 4 {
		h0[row[0]]++
		h1[row[1]]++
		h2[row[2]]++
		h3[row[3]]++
		row = row[4:]
	}
	for _, v := range row {
		h0[v]++
	}
}

// laplacian returns the sum and the sum of squares over the inner samples of
// one row. Sample by sample is the faster way: four to a word were tried and cost
// a fifth more, because each square has to leave its lane anyway. A row has at most 65535 samples of at most 1020: both fit easily.
func laplacian(above, row, below []byte) (sum, squares int64) {
	n := len(row)
	above, below = above[:n], below[:n]
	left, here := int32(row[0]), int32(row[1])
	for x := 2; x < n; x++ {
		right := int32(row[x])
		v := left + right + int32(above[x-1]) + int32(below[x-1]) - 4*here
		sum += int64(v)
		squares += int64(v * v)
		left, here = here, right
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
