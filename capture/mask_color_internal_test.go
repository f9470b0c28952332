package capture

import (
	"math/rand/v2"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// drawMask draws a rectangle or a triangle.
func drawMask(rng *rand.Rand) *fleet.Mask {
	x, y := 0.7*rng.Float64(), 0.7*rng.Float64()
	w, h := 0.02+0.28*rng.Float64(), 0.02+0.28*rng.Float64()
	if rng.IntN(2) == 0 {
		return &fleet.Mask{Rectangles: []fleet.Rectangle{{X: x, Y: y, Width: w, Height: h}}}
	}
	return &fleet.Mask{Polygons: [][]fleet.Point{{{X: x, Y: y}, {X: x + w, Y: y + h/3}, {X: x + w/2, Y: y + h}}}}
}

// hiddenOf says which samples of a picture of the size a mask hides.
func hiddenOf(m *fleet.Mask, width, height int) []bool {
	hidden := make([]bool, width*height)
	cover(m, width, height, func(y int, spans []span) {
		for _, s := range spans {
			for x := s.a; x < s.b; x++ {
				hidden[y*width+x] = true
			}
		}
	})
	return hidden
}

// TestHiddenSamplesHaveNoColor: where luma is hidden, so is the color, also of
// pictures whose sides do not divide by what a sample of color covers.
func TestHiddenSamplesHaveNoColor(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 20))
	for range 400 {
		w, h := 17+rng.IntN(600), 17+rng.IntN(400)
		sx, sy := 1<<rng.IntN(4), 1<<rng.IntN(4)
		var pic codec.Picture
		pic.Y.Resize(w, h, w)
		for _, p := range []*codec.Plane{&pic.Cb, &pic.Cr} {
			p.Resize((w+sx-1)/sx, (h+sy-1)/sy, (w+sx-1)/sx)
			for i := range p.Pix {
				p.Pix[i] = 200
			}
		}
		m := drawMask(rng)
		hide(m, &pic)
		for i, hidden := range hiddenOf(m, w, h) {
			x, y := i%w, i/w
			if hidden && (pic.Cb.Row(y / sy)[x/sx] != 128 || pic.Cr.Row(y / sy)[x/sx] != 128) {
				t.Fatalf("%dx%d, colors of %dx%d samples, %+v: sample (%d, %d) is hidden and its color is not", w, h, sx, sy, *m, x, y)
			}
		}
	}
}
