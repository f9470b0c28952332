package quality_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// TestAgainstPlain computes each score by its definition.
func TestAgainstPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(3, 40).Draw(t, "w"), rapid.IntRange(3, 30).Draw(t, "h")
		p := codec.Plane{Pix: rapid.SliceOfN(rapid.Byte(), w*h, w*h).Draw(t, "pix"), Width: w, Height: h, Stride: w}
		q := quality.Measure(p)
		var sum, dark, bright float64
		counts := map[byte]float64{}
		for _, v := range p.Pix {
			sum += float64(v)
			counts[v]++
			if v <= 16 {
				dark++
			}
			if v >= 240 {
				bright++
			}
		}
		n := float64(w * h)
		mean, variance, entropy := sum/n, 0.0, 0.0
		for _, v := range p.Pix {
			variance += (float64(v) - mean) * (float64(v) - mean) / n
		}
		for _, c := range counts {
			entropy -= c / n * math.Log2(c/n)
		}
		var laps []float64
		at := func(x, y int) float64 { return float64(p.Row(y)[x]) }
		for y := 1; y < h-1; y++ {
			for x := 1; x < w-1; x++ {
				laps = append(laps, at(x-1, y)+at(x+1, y)+at(x, y-1)+at(x, y+1)-4*at(x, y))
			}
		}
		lm, lv := 0.0, 0.0
		for _, l := range laps {
			lm += l / float64(len(laps))
		}
		for _, l := range laps {
			lv += (l - lm) * (l - lm) / float64(len(laps))
		}
		for name, pair := range map[string][2]float64{
			"mean": {float64(q.Mean), mean}, "contrast": {float64(q.Contrast), math.Sqrt(variance)}, "dark": {float64(q.Dark), dark / n},
			"bright": {float64(q.Bright), bright / n}, "entropy": {float64(q.Entropy), entropy}, "sharpness": {float64(q.Sharpness), lv},
		} {
			if math.Abs(pair[0]-pair[1]) > 1e-4*(1+math.Abs(pair[1])) {
				t.Fatalf("%s = %v, want %v", name, pair[0], pair[1])
			}
		}
	})
}
