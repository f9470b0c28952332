// Package codectest draws test pictures by formula, so that tests hold the
// numbers that a picture should give and no picture.
//
//	Gen("clouds", 512, 512) ──► the same bytes on every machine
package codectest

import (
	"math"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// Names returns the formulas that Gen knows.
func Names() []string {
	return []string{"flat", "ramp", "rampnoise", "noise", "blocks", "clouds", "night", "checker", "sines", "zone", "lamps", "letterbox", "glyphs"}
}

// Plane returns the picture with rows of stride bytes, filled up with 0xA5:
// a reader that looks past the width or the last row gets other numbers.
func Plane(name string, w, h, stride int) codec.Plane {
	pix := Gen(name, w, h)
	p := codec.Plane{Pix: make([]byte, stride*h+stride), Width: w, Height: h, Stride: stride}
	for i := range p.Pix {
		p.Pix[i] = 0xA5
	}
	for y := range h {
		copy(p.Row(y), pix[y*w:(y+1)*w])
	}
	return p
}

// Filled returns a plane of bytes that follow from pix and are not alike from row
// to row. Behind its last sample there is none.
func Filled(w, h, stride int, pix []byte) codec.Plane {
	p := codec.Plane{Pix: make([]byte, (h-1)*stride+w), Width: w, Height: h, Stride: stride}
	for i := range p.Pix {
		p.Pix[i] = pix[i%len(pix)] + byte(i*i>>7)
	}
	return p
}

// Gen returns w*h gray bytes, row by row. All arithmetic is in integers but the
// sine table, none of whose entries is near a rounding tie.
func Gen(name string, w, h int) []byte {
	var sine [1024]int
	for k := range sine {
		sine[k] = int(math.Floor(8192*math.Sin(2*math.Pi*float64(k)/1024) + 0.5))
	}
	wave := func(t int) int { return sine[t&1023] }
	p, s := make([]byte, w*h), uint32(1)
	for i := range p {
		s = s*1664525 + 1013904223 // the noise: the top byte of an LCG
		x, y, n, v := i%w, i/w, int(s>>24), 0
		switch name {
		case "flat":
			v = 128
		case "ramp":
			v = 255 * x / (w - 1)
		case "rampnoise":
			v = (256*x/w+128*y/h)/2 + n/4 - 32
		case "noise":
			v = n
		case "blocks":
			v = node(x/37, y/29, 1)
		case "clouds":
			v = (4*smooth(x, y, 96, 2) + 2*smooth(x, y, 48, 3) + smooth(x, y, 24, 4)) / 7
		case "night":
			v = 8 + smooth(x, y, 80, 5)/10 + n/64
		case "checker":
			v = 64 + 96*((x/53+y/41)&1) + smooth(x, y, 120, 6)/4 + n/8
		case "sines":
			v = 40*wave(1024*(3*x+2*y)/w) + 30*wave(1024*(5*x-7*y)/w+100)
			v = 128 + (v+24*wave(1024*11*y/h+300)+20*wave(1024*(9*x+4*y)/w+700))/8192
		case "zone":
			dx, dy := x-w/3, y-h/4
			v = 128 + 120*wave((dx*dx+dy*dy)/w)/8192
		case "lamps":
			if dx, dy := x%64-32, y%64-32; node(x/64, y/64, 7) > 200 {
				v = max(0, 240-(dx*dx+dy*dy)/3)
			}
			v += 10 + n/32
		case "letterbox":
			if v = 16; y >= h/8 && y < h-h/8 {
				v = smooth(x, y, 70, 8)
			}
		case "glyphs":
			if v = 230; y/9%2 == 0 && node(x/6, y/9, 9) > 90 && node(x/2, y/3, 10) > 128 {
				v = 20
			}
		}
		p[i] = byte(max(0, min(255, v)))
	}
	return p
}

// node is an integer mix of a grid point, 0..255.
func node(x, y, seed int) int {
	v := uint32(x) + 7919*uint32(y) + 1000003*uint32(seed)
	v = (v ^ v>>16) * 0x7feb352d
	v = (v ^ v>>15) * 0x846ca68b
	return int((v ^ v>>16) >> 24)
}

// smooth is bilinear between nodes on a grid of step pixels.
func smooth(x, y, step, seed int) int {
	X, Y, u, v := x/step, y/step, x%step, y%step
	a := node(X, Y, seed)*(step-u) + node(X+1, Y, seed)*u
	b := node(X, Y+1, seed)*(step-u) + node(X+1, Y+1, seed)*u
	return (a*(step-v) + b*v) / (step * step)
}
