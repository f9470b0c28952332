// Package quality scores one luma plane in one pass: is it dark, washed out,
// blurred, empty?
package quality

import (
	"math"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// The ends of the range: coded video is 16..235 and JPEG 0..255; a sample at
// either end of both is dark or bright beyond use.
const (
	darkMost    = 16
	brightLeast = 240
)

// Measure scores p. Sharpness is the variance of the Laplacian with the kernel
// 0 1 0 / 1 -4 1 / 0 1 0 over the inner samples.
func Measure(p codec.Plane) (q fleet.Quality) {
	// Four histograms: neighbouring samples are often equal, and one counter
	// would wait for itself.
	var hist [4][256]uint32
	var lap, lap2 int64
	for y := range p.Height {
		row := p.Row(y)
		n := len(row) &^ 3
		for x := 0; x < n; x += 4 {
			hist[0][row[x]]++
			hist[1][row[x+1]]++
			hist[2][row[x+2]]++
			hist[3][row[x+3]]++
		}
		for _, v := range row[n:] {
			hist[0][v]++
		}
		if y > 0 && y < p.Height-1 {
			s, s2 := laplacian(p.Row(y-1), row, p.Row(y+1))
			lap += s
			lap2 += s2
		}
	}
	n := float64(p.Width * p.Height)
	var sum, sum2, dark, bright, entropy float64
	for v := range 256 {
		c := float64(hist[0][v] + hist[1][v] + hist[2][v] + hist[3][v])
		if c == 0 {
			continue
		}
		sum += c * float64(v)
		sum2 += c * float64(v*v)
		if v <= darkMost {
			dark += c
		}
		if v >= brightLeast {
			bright += c
		}
		entropy -= c / n * math.Log2(c/n)
	}
	mean := sum / n
	q.Mean = float32(mean)
	q.Contrast = float32(math.Sqrt(max(0, sum2/n-mean*mean)))
	q.Dark, q.Bright = float32(dark/n), float32(bright/n)
	q.Entropy = float32(entropy)
	if inner := float64((p.Width - 2) * (p.Height - 2)); inner > 0 {
		m := float64(lap) / inner
		q.Sharpness = float32(max(0, float64(lap2)/inner-m*m))
	}
	return q
}

func laplacian(up, mid, down []byte) (sum, sum2 int64) {
	n := len(mid)
	if n < 3 {
		return 0, 0
	}
	up, down = up[:n], down[:n]
	var s, s2 int64
	left, at := int32(mid[0]), int32(mid[1])
	for x := 1; x < n-1; x++ {
		right := int32(mid[x+1])
		l := int32(up[x]) + int32(down[x]) + left + right - 4*at
		s += int64(l)
		s2 += int64(l * l)
		left, at = at, right
	}
	return s, s2
}
