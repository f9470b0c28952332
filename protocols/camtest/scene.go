package camtest

import (
	"image"
	"math"
	"time"
)

// Scene names what a camera looks at.
type Scene string

// The scenes. All change over time, and each seed gives its own variant.
const (
	StreetDay   Scene = "street-day"
	StreetNight Scene = "street-night"
	Shelf       Scene = "shelf"
	Gate        Scene = "gate"
	Field       Scene = "field"
	Parking     Scene = "parking"
	Dock        Scene = "dock"
	Aisle       Scene = "aisle"
	Harbour     Scene = "harbour"
	Skyline     Scene = "skyline"
)

// Scenes returns all scenes.
func Scenes() []Scene {
	return []Scene{StreetDay, StreetNight, Shelf, Gate, Field, Parking, Dock, Aisle, Harbour, Skyline}
}

// drawing is how a scene is made: the back once in a while, the front each time.
type drawing struct {
	hold  time.Duration // how long a back is good; 0 for ever
	back  func(c *canvas, seed uint64, s float64)
	front func(c *canvas, seed uint64, s float64)
}

var drawings = map[Scene]drawing{
	StreetDay:   {20 * time.Second, streetBack(false), streetFront(false)},
	StreetNight: {0, streetBack(true), streetFront(true)},
	Shelf:       {0, shelfBack, shelfFront},
	Gate:        {20 * time.Second, gateBack, gateFront},
	Field:       {10 * time.Second, fieldBack, fieldFront},
	Parking:     {0, parkingBack, parkingFront},
	Dock:        {0, dockBack, dockFront},
	Aisle:       {0, aisleBack, aisleFront},
	Harbour:     {20 * time.Second, harbourBack, harbourFront},
	Skyline:     {20 * time.Second, skylineBack, skylineFront},
}

// view draws one camera's scene. It keeps what does not move, because that is
// nearly all of a picture and of its cost.
type view struct {
	drawing drawing
	seed    uint64
	c       *canvas
	back    *image.RGBA
	backOf  int64
}

func newView(s Scene, seed uint64, width, height int) (*view, bool) {
	d, ok := drawings[s]
	if !ok {
		return nil, false
	}
	return &view{drawing: d, seed: seed, c: newCanvas(width, height), backOf: -1}, true
}

// draw returns the scene at t; the image is the view's own until the next draw.
func (v *view) draw(t time.Time) *canvas {
	of := int64(0)
	if v.drawing.hold > 0 {
		of = t.UnixNano() / int64(v.drawing.hold)
	}
	s := math.Mod(float64(t.UnixMilli())/1000, 86400)
	if v.back == nil || of != v.backOf {
		v.c.rect(0, 0, unitsWide, v.c.tall()+1, rgb(0))
		v.drawing.back(v.c, v.seed, s)
		if v.back == nil {
			v.back = image.NewRGBA(v.c.img.Rect)
		}
		copy(v.back.Pix, v.c.img.Pix)
		v.backOf = of
	} else {
		copy(v.c.img.Pix, v.back.Pix)
	}
	v.drawing.front(v.c, v.seed, s)
	return v.c
}

// clouds drift across the sky from y to y+h.
func clouds(c *canvas, d *dice, s, y, h float64, n int, white float64) {
	for range n {
		size := d.float(14, 30)
		at := math.Mod(d.float(0, 900)+s*d.float(1.2, 2.4), 900) - 130
		top := d.float(y, y+h)
		body := rgb(0xffffff)
		for pass, white := range []float64{0.55 * white, 0.75 * white} { // shadow below, light above
			p := &path{}
			low := top + size*(0.62-0.1*float64(pass))
			p.move(at-size*0.6, low)
			for i := range 5 {
				x := at + float64(i)*size*0.85
				r := size * (0.5 + 0.4*math.Sin(float64(i)*0.8+0.4)) * (1 - 0.12*float64(pass))
				p.cube(x-r*0.9, low-r*1.7, x+r*0.9, low-r*1.7, x+r, low-r*0.25)
			}
			p.cube(at+size*4.6, low, at+size*4.4, low+1, at+size*4, low)
			col := body
			if pass == 0 {
				col = rgb(0xc9d3dd)
			}
			c.fill(p, alpha(col, white))
		}
	}
}

// tree stands with its foot at x, y.
func tree(c *canvas, d *dice, x, y, size float64, leaf uint32) {
	c.rect(x-size*0.05, y-size*0.45, size*0.1, size*0.45, rgb(0x5b4636))
	for range 9 {
		r := size * d.float(0.16, 0.26)
		c.oval(x+d.float(-0.26, 0.26)*size, y-size*d.float(0.45, 0.95), r, r*0.9, shade(rgb(leaf), d.float(-0.28, 0.18)))
	}
}

// car is seen from the side, its left end at x and its wheels on y. Dir is 1
// when it drives to the right.
func car(c *canvas, x, y, size, dir float64, body uint32, kind int, lights bool) {
	p := func(u float64) float64 { // mirror
		if dir < 0 {
			return x + (1-u)*size
		}
		return x + u*size
	}
	h := size * 0.3
	paint := rgb(body)
	c.oval(x+size/2, y+size*0.005, size*0.5, size*0.035, alpha(rgb(0), 0.35))
	glass := rgb(0x2c3a46)
	top := 0.92 * h
	switch kind % 3 {
	case 0: // saloon
		c.poly(paint, p(0.02), y-h*0.2, p(0.04), y-h*0.55, p(0.22), y-h*0.62, p(0.34), y-top, p(0.62), y-top, p(0.76), y-h*0.62, p(0.96), y-h*0.5, p(0.99), y-h*0.2)
		c.poly(glass, p(0.26), y-h*0.62, p(0.36), y-top*0.94, p(0.47), y-top*0.94, p(0.47), y-h*0.62)
		c.poly(glass, p(0.5), y-h*0.62, p(0.5), y-top*0.94, p(0.6), y-top*0.94, p(0.71), y-h*0.62)
	case 1: // van
		top = 1.35 * h
		c.poly(paint, p(0.01), y-h*0.2, p(0.01), y-top, p(0.72), y-top, p(0.86), y-h*0.75, p(0.98), y-h*0.62, p(0.99), y-h*0.2)
		c.poly(glass, p(0.68), y-h*0.75, p(0.68), y-top*0.92, p(0.72), y-top*0.92, p(0.82), y-h*0.75)
		c.poly(shade(paint, -0.12), p(0.06), y-h*0.7, p(0.06), y-h*0.78, p(0.6), y-h*0.78, p(0.6), y-h*0.7)
	default: // hatchback
		c.poly(paint, p(0.03), y-h*0.2, p(0.03), y-h*0.7, p(0.12), y-top, p(0.58), y-top, p(0.74), y-h*0.62, p(0.95), y-h*0.5, p(0.98), y-h*0.2)
		c.poly(glass, p(0.1), y-h*0.62, p(0.15), y-top*0.93, p(0.34), y-top*0.93, p(0.34), y-h*0.62)
		c.poly(glass, p(0.37), y-h*0.62, p(0.37), y-top*0.93, p(0.56), y-top*0.93, p(0.69), y-h*0.62)
	}
	c.poly(shade(paint, -0.35), p(0.02), y-h*0.28, p(0.02), y-h*0.16, p(0.985), y-h*0.16, p(0.985), y-h*0.28)
	for _, u := range []float64{0.2, 0.79} {
		r := size * 0.075
		c.oval(p(u), y-r*0.9, r, r, rgb(0x17181a))
		c.oval(p(u), y-r*0.9, r*0.5, r*0.5, rgb(0x9aa0a6))
	}
	lamp, rear := rgb(0xf2efe2), rgb(0xa32020)
	c.oval(p(0.96), y-h*0.42, size*0.018, h*0.07, lamp)
	c.oval(p(0.035), y-h*0.45, size*0.014, h*0.08, rear)
	if lights {
		c.poly(alpha(rgb(0xfff0c0), 0.16), p(0.98), y-h*0.5, p(1.75), y-h*0.15, p(1.75), y+h*0.35, p(0.98), y-h*0.3)
		c.glow(p(0.97), y-h*0.42, size*0.24, rgb(0xfff2cc), 1)
		c.glow(p(0.03), y-h*0.45, size*0.14, rgb(0xff3020), 0.9)
	}
}

// person walks, seen from the side, with the feet at x, y.
func person(c *canvas, x, y, size, step float64, coat, legs uint32) {
	swing := math.Sin(step) * size * 0.14
	c.oval(x, y, size*0.2, size*0.03, alpha(rgb(0), 0.3))
	c.line(x, y-size*0.46, x+swing, y, size*0.09, rgb(legs))
	c.line(x, y-size*0.46, x-swing, y, size*0.09, shade(rgb(legs), -0.2))
	c.round(x-size*0.11, y-size*0.83, size*0.22, size*0.42, size*0.08, rgb(coat))
	c.line(x, y-size*0.76, x-swing*0.9, y-size*0.45, size*0.07, shade(rgb(coat), -0.2))
	c.oval(x, y-size*0.92, size*0.075, size*0.085, rgb(0xd9b08c))
	c.oval(x, y-size*0.96, size*0.078, size*0.055, rgb(0x3a2d25))
}

// passes calls draw for each thing on its way along a line: n of them, each
// with its own pace, as far as it is between 0 and length.
func passes(seed uint64, n int, s, length, gap, pace float64, draw func(d *dice, at float64)) {
	for i := range n {
		d := newDice(seed + uint64(i)*7919)
		v := pace * d.float(0.8, 1.25)
		round := length + gap
		at := s*v + d.float(0, round)
		turn := math.Floor(at / round)
		d = newDice(seed + uint64(i)*7919 + uint64(turn)*104729) // another one each time
		if at = math.Mod(at, round); at <= length {
			draw(d, at)
		}
	}
}

var carColours = []uint32{0x8c2f2b, 0x2f4f73, 0xd9d9d4, 0x30343a, 0x6f7b80, 0xb98b2e, 0x3f6150, 0xececec, 0x14213a}
var coats = []uint32{0x8a3b3b, 0x33506b, 0xc08a3e, 0x4a5a3c, 0x59426b, 0x303338, 0xb7a58a}
