package quality_test

import (
	"math"
	"math/rand/v2"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

const (
	sceneWidth, sceneHeight = 320, 180
	margin                  = 64 // what a camera that is turned gets to see
)

// scene is one camera's view: houses, windows, wires and light from one side.
type scene struct {
	pix []float64 // with the margin around
	rng *rand.Rand
}

const canvasWidth, canvasHeight = sceneWidth + 2*margin, sceneHeight + 2*margin

func newScene(seed uint64) *scene {
	rng := rand.New(rand.NewPCG(seed, 77))
	s := &scene{pix: make([]float64, canvasWidth*canvasHeight), rng: rng}
	tilt, base := rng.Float64()*0.2-0.1, 80+60*rng.Float64()
	for i := range s.pix {
		x, y := i%canvasWidth, i/canvasWidth
		s.pix[i] = base + tilt*float64(x) - 0.15*float64(y) + 6*math.Sin(float64(x)/17)*math.Cos(float64(y)/11)
	}
	rect := func(x, y, w, h int, level float64) {
		for v := max(0, y); v < min(canvasHeight, y+h); v++ {
			for u := max(0, x); u < min(canvasWidth, x+w); u++ {
				s.pix[v*canvasWidth+u] = level + 4*math.Sin(float64(u*v)/53)
			}
		}
	}
	for range 45 + rng.IntN(25) {
		x, y, w, h := rng.IntN(canvasWidth), rng.IntN(canvasHeight), 12+rng.IntN(70), 12+rng.IntN(60)
		level := 25 + 200*rng.Float64()
		rect(x, y, w, h, level)
		for wy := y + 4; wy+5 < y+h; wy += 9 { // windows
			for wx := x + 4; wx+4 < x+w; wx += 8 {
				rect(wx, wy, 4, 5, level+50-100*rng.Float64())
			}
		}
	}
	return s
}

// view is how the camera stands and what the light does.
type view struct {
	dx, dy    int     // turned by so many pixels
	gain      float64 // of the light
	haze      float64 // 0..1: how much of it is fog
	hazeLevel float64
	noise     float64
	blur      int // radius of a box, three times over
	paint     func(x, y int, v float64) float64
}

func (s *scene) draw(o view) codec.Plane {
	if o.gain == 0 {
		o.gain = 1
	}
	img := make([]float64, sceneWidth*sceneHeight)
	for i := range img {
		x, y := i%sceneWidth, i/sceneWidth
		v := s.pix[(y+margin+o.dy)*canvasWidth+x+margin+o.dx] * o.gain
		v = v*(1-o.haze) + o.hazeLevel*o.haze
		if o.paint != nil {
			v = o.paint(x, y, v)
		}
		img[i] = v
	}
	for range 3 {
		if o.blur > 0 {
			smear(img, o.blur)
		}
	}
	p := codec.Plane{Pix: make([]byte, len(img)), Width: sceneWidth, Height: sceneHeight, Stride: sceneWidth}
	for i, v := range img {
		p.Pix[i] = byte(max(0, min(255, v+o.noise*s.rng.NormFloat64()+0.5)))
	}
	return p
}

func smear(img []float64, r int) {
	line := func(start, step, n int) {
		in := make([]float64, n)
		for i := range in {
			in[i] = img[start+i*step]
		}
		for i := range in {
			var sum, c float64
			for k := max(0, i-r); k <= min(n-1, i+r); k++ {
				sum += in[k]
				c++
			}
			img[start+i*step] = sum / c
		}
	}
	for y := range sceneHeight {
		line(y*sceneWidth, 1, sceneWidth)
	}
	for x := range sceneWidth {
		line(x, sceneWidth, sceneHeight)
	}
}
