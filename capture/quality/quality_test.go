package quality_test

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// model computes the scores by their definitions, in as many passes as it likes.
func model(p codec.Plane) fleet.Quality {
	at := func(x, y int) float64 { return float64(p.Pix[y*p.Stride+x]) }
	n := float64(p.Width * p.Height)
	var sum, dark, bright float64
	var counts [256]float64
	for y := range p.Height {
		for x := range p.Width {
			v := at(x, y)
			sum += v
			counts[int(v)]++
			if v <= 16 {
				dark++
			}
			if v >= 240 {
				bright++
			}
		}
	}
	mean, spread := sum/n, 0.0
	var lap []float64
	for y := range p.Height {
		for x := range p.Width {
			spread += (at(x, y) - mean) * (at(x, y) - mean)
			if x > 0 && y > 0 && x < p.Width-1 && y < p.Height-1 {
				lap = append(lap, at(x-1, y)+at(x+1, y)+at(x, y-1)+at(x, y+1)-4*at(x, y))
			}
		}
	}
	entropy := 0.0
	for _, c := range counts {
		if c > 0 {
			entropy -= c / n * math.Log2(c/n)
		}
	}
	sharp := 0.0
	if len(lap) > 0 {
		m := 0.0
		for _, v := range lap {
			m += v / float64(len(lap))
		}
		for _, v := range lap {
			sharp += (v - m) * (v - m) / float64(len(lap))
		}
	}
	return fleet.Quality{
		Mean: float32(mean), Contrast: float32(math.Sqrt(spread / n)), Sharpness: float32(sharp),
		Dark: float32(dark / n), Bright: float32(bright / n), Entropy: float32(entropy),
	}
}

func near(a, b float32) bool {
	return math.Abs(float64(a-b)) <= 1e-4*math.Max(1, math.Abs(float64(b)))
}

func same(a, b fleet.Quality) bool {
	return near(a.Mean, b.Mean) && near(a.Contrast, b.Contrast) && near(a.Sharpness, b.Sharpness) &&
		near(a.Dark, b.Dark) && near(a.Bright, b.Bright) && near(a.Entropy, b.Entropy)
}

func TestScoreAgainstModel(t *testing.T) {
	for _, name := range codectest.Names() {
		for _, size := range [][2]int{{64, 48}, {321, 179}} {
			p := codectest.Plane(name, size[0], size[1], size[0]+5)
			if got, want := quality.Score(p), model(p); !same(got, want) {
				t.Errorf("%s %v: %+v, want %+v", name, size, got, want)
			}
		}
	}
}

func TestScoreProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 40).Draw(t, "w"), rapid.IntRange(1, 12).Draw(t, "h")
		stride := w + rapid.IntRange(0, 9).Draw(t, "slack")
		p := codec.Plane{Pix: rapid.SliceOfN(rapid.Byte(), stride*h, stride*h).Draw(t, "pix"), Width: w, Height: h, Stride: stride}
		if got, want := quality.Score(p), model(p); !same(got, want) {
			t.Fatalf("%+v, want %+v", got, want)
		}
	})
}

func TestScoreOrdersBlur(t *testing.T) {
	sharp := codectest.Plane("checker", 640, 360, 640)
	blurred := codectest.Plane("checker", 640, 360, 640)
	for y := range 360 {
		in, out := sharp.Row(y), blurred.Row(y)
		for x := 2; x < 638; x++ {
			out[x] = byte((int(in[x-2]) + int(in[x-1]) + int(in[x]) + int(in[x+1]) + int(in[x+2])) / 5)
		}
	}
	if a, b := quality.Score(sharp).Sharpness, quality.Score(blurred).Sharpness; b > a*0.6 {
		t.Errorf("sharpness %.1f, blurred %.1f", a, b)
	}
}

func TestScoreOfBrokenPlanes(t *testing.T) {
	for _, p := range []codec.Plane{{}, {Pix: make([]byte, 3), Width: 2, Height: 2, Stride: 2}, {Pix: make([]byte, 9), Width: 3, Height: 3, Stride: 1}} {
		if got := quality.Score(p); got != (fleet.Quality{}) {
			t.Errorf("Score(%+v) = %+v", p, got)
		}
	}
}

func ExampleScore() {
	q := quality.Score(codectest.Plane("night", 640, 360, 640))
	fmt.Printf("mean %.0f, %.0f %% dark\n", q.Mean, 100*q.Dark)
	// Output: mean 21, 22 % dark
}

func BenchmarkScore(b *testing.B) {
	p := codectest.Plane("clouds", 1920, 1080, 1920)
	b.ReportAllocs()
	for b.Loop() {
		quality.Score(p)
	}
}
