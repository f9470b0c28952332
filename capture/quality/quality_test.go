package quality_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// model computes the scores by their definitions, in as many passes as it likes.
func model(p codec.Plane) quality.Scores {
	at := func(x, y int) float64 { return float64(p.Pix[y*p.Stride+x]) }
	n := float64(p.Width * p.Height)
	var sum, dark, bright float64
	for y := range p.Height {
		for x := range p.Width {
			v := at(x, y)
			sum += v
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
	counts, rows := [256]float64{}, 0.0
	for y := 0; y < p.Height; y += max(1, p.Height/256) {
		rows++
		for x := range p.Width {
			counts[p.Pix[y*p.Stride+x]]++
		}
	}
	for _, c := range counts {
		if c > 0 {
			entropy -= c / rows / float64(p.Width) * math.Log2(c/rows/float64(p.Width))
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
	res := quality.Scores{Quality: fleet.Quality{
		Mean: float32(mean), Contrast: float32(math.Sqrt(spread / n)), Sharpness: float32(sharp),
		Dark: float32(dark / n), Bright: float32(bright / n), Entropy: float32(entropy),
	}}
	if len(lap) > 0 {
		modelEdges(p, at, &res)
	}
	return res
}

// convolve applies a 3x3 kernel.
func convolve(at func(x, y int) float64, x, y int, k [9]float64) (s float64) {
	for i, w := range k {
		s += w * at(x+i%3-1, y+i/3-1)
	}
	return s
}

func modelEdges(p codec.Plane, at func(x, y int) float64, res *quality.Scores) {
	var n, tenengrad, noise float64
	var edges, samples [quality.Blocks * quality.Blocks]float64
	var bands [quality.Blocks]struct{ n, tenengrad, noise float64 }
	for y := 1; y < p.Height-1; y++ {
		for x := 1; x < p.Width-1; x++ {
			gx := convolve(at, x, y, [9]float64{-1, 0, 1, -2, 0, 2, -1, 0, 1})
			gy := convolve(at, x, y, [9]float64{-1, -2, -1, 0, 0, 0, 1, 2, 1})
			n++
			tenengrad += gx*gx + gy*gy
			fine := math.Abs(convolve(at, x, y, [9]float64{1, -2, 1, -2, 4, -2, 1, -2, 1}))
			noise += fine
			band := &bands[y*quality.Blocks/p.Height]
			band.n, band.tenengrad, band.noise = band.n+1, band.tenengrad+gx*gx+gy*gy, band.noise+fine
			b := y*quality.Blocks/p.Height*quality.Blocks + x*quality.Blocks/p.Width
			samples[b]++
			if math.Abs(gx)+math.Abs(gy) > 96 {
				edges[b]++
			}
		}
	}
	res.Tenengrad = float32(tenengrad / n)
	res.Noise = float32(math.Sqrt(math.Pi/2) * noise / (6 * n))
	for i, b := range bands {
		if b.n > 0 {
			res.Bands[i] = quality.Band{Tenengrad: float32(b.tenengrad / b.n), Noise: float32(math.Sqrt(math.Pi/2) * b.noise / (6 * b.n))}
		}
	}
	for b := range edges {
		if samples[b] > 0 {
			res.Edges[b] = float32(edges[b] / samples[b])
		}
	}
}

func near(a, b float32) bool {
	return math.Abs(float64(a-b)) <= 1e-4*math.Max(1, math.Abs(float64(b)))
}

func same(a, b quality.Scores) bool {
	for i := range a.Bands {
		if !near(a.Bands[i].Tenengrad, b.Bands[i].Tenengrad) || !near(a.Bands[i].Noise, b.Bands[i].Noise) {
			return false
		}
	}
	for i := range a.Edges {
		if !near(a.Edges[i], b.Edges[i]) {
			return false
		}
	}
	return near(a.Mean, b.Mean) && near(a.Contrast, b.Contrast) && near(a.Sharpness, b.Sharpness) &&
		near(a.Dark, b.Dark) && near(a.Bright, b.Bright) && near(a.Entropy, b.Entropy) &&
		near(a.Tenengrad, b.Tenengrad) && near(a.Noise, b.Noise)
}

func TestScoreAgainstModel(t *testing.T) {
	for _, name := range codectest.Names() {
		for _, size := range [][2]int{{64, 48}, {321, 179}, {129, 601}} {
			p := codectest.Plane(name, size[0], size[1], size[0]+5)
			if got, want := quality.Score(p), model(p); !same(got, want) {
				t.Errorf("%s %v: %+v, want %+v", name, size, got, want)
			}
		}
	}
}

func TestScoreProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 90).Draw(t, "w"), rapid.IntRange(1, 12).Draw(t, "h")
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
		if got := quality.Score(p); got != (quality.Scores{}) {
			t.Errorf("Score(%+v) = %+v", p, got)
		}
	}
}

func ExampleScore() {
	q := quality.Score(codectest.Plane("night", 640, 360, 640))
	fmt.Printf("mean %.0f, %.0f %% dark\n", q.Mean, 100*q.Dark)
	// Output: mean 21, 22 % dark
}

func TestScoreAllocatesNothing(t *testing.T) {
	p := codectest.Plane("clouds", 640, 360, 640)
	var m quality.Meter
	m.Score(p)
	if n := testing.AllocsPerRun(10, func() { m.Score(p) }); n != 0 {
		t.Errorf("%v allocations a frame, want none", n)
	}
}

// TestNoiseIsMeasured: Immerkær's estimate finds the noise that was put in.
func TestNoiseIsMeasured(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, sigma := range []float64{2, 5, 12} {
		p := codectest.Plane("clouds", 640, 360, 640)
		for i, v := range p.Pix {
			p.Pix[i] = byte(math.Max(0, math.Min(255, float64(v)/2+60+sigma*rng.NormFloat64()+0.5)))
		}
		if got := float64(quality.Score(p).Noise); got < 0.85*sigma || got > 1.15*sigma {
			t.Errorf("noise of %v is measured as %.2f", sigma, got)
		}
	}
}
