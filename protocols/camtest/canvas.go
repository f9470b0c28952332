package camtest

import (
	"image"
	"image/color"
	"math"
)

// canvas draws simple shapes.
type canvas struct{ *image.RGBA }

func newCanvas(w, h int) canvas { return canvas{image.NewRGBA(image.Rect(0, 0, w, h))} }

func rgb(v uint32) color.RGBA { return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255} }

func mix(a, b color.RGBA, t float64) color.RGBA {
	m := func(x, y uint8) uint8 { return uint8(float64(x) + (float64(y)-float64(x))*t) }
	return color.RGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), 255}
}

func (c canvas) set(x, y int, v color.RGBA) {
	if image.Pt(x, y).In(c.Rect) {
		i := c.PixOffset(x, y)
		c.Pix[i], c.Pix[i+1], c.Pix[i+2], c.Pix[i+3] = v.R, v.G, v.B, 255
	}
}

func (c canvas) rect(x0, y0, x1, y1 int, v color.RGBA) {
	r := image.Rect(x0, y0, x1, y1).Intersect(c.Rect)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		i := c.PixOffset(r.Min.X, y)
		for range r.Dx() {
			c.Pix[i], c.Pix[i+1], c.Pix[i+2], c.Pix[i+3] = v.R, v.G, v.B, 255
			i += 4
		}
	}
}

// fade fills rows y0..y1 from one colour to another.
func (c canvas) fade(y0, y1 int, a, b color.RGBA) {
	for y := y0; y < y1; y++ {
		c.rect(0, y, c.Rect.Dx(), y+1, mix(a, b, float64(y-y0)/float64(y1-y0)))
	}
}

func (c canvas) disc(cx, cy, r int, v color.RGBA) {
	for y := -r; y <= r; y++ {
		w := int(math.Sqrt(float64(r*r - y*y)))
		c.rect(cx-w, cy+y, cx+w+1, cy+y+1, v)
	}
}

// glow lightens a disc towards v, less at its rim.
func (c canvas) glow(cx, cy, r int, v color.RGBA, most float64) {
	for y := max(cy-r, 0); y < min(cy+r, c.Rect.Dy()); y++ {
		for x := max(cx-r, 0); x < min(cx+r, c.Rect.Dx()); x++ {
			d := math.Hypot(float64(x-cx), float64(y-cy)) / float64(r)
			if d < 1 {
				i := c.PixOffset(x, y)
				c.set(x, y, mix(color.RGBA{c.Pix[i], c.Pix[i+1], c.Pix[i+2], 255}, v, most*(1-d)*(1-d)))
			}
		}
	}
}

// quad fills a trapezium between two rows.
func (c canvas) quad(y0, xl0, xr0, y1, xl1, xr1 int, v color.RGBA) {
	for y := y0; y < y1; y++ {
		t := float64(y-y0) / float64(max(y1-y0, 1))
		c.rect(xl0+int(t*float64(xl1-xl0)), y, xr0+int(t*float64(xr1-xr0)), y+1, v)
	}
}

// grain puts texture over an area, the same at each call.
func (c canvas) grain(x0, y0, x1, y1, most int, seed uint32) {
	for y := max(y0, 0); y < min(y1, c.Rect.Dy()); y++ {
		for x := max(x0, 0); x < min(x1, c.Rect.Dx()); x++ {
			d := int(hash(uint32(x), uint32(y), seed)%uint32(2*most+1)) - most
			i := c.PixOffset(x, y)
			for k := range 3 {
				c.Pix[i+k] = uint8(min(max(int(c.Pix[i+k])+d, 0), 255))
			}
		}
	}
}

func hash(x, y, seed uint32) uint32 {
	v := x*0x9e3779b1 ^ y*0x85ebca77 ^ seed*0xc2b2ae3d
	v = (v ^ v>>15) * 0x2c1b3c6d
	v = (v ^ v>>12) * 0x297a2d39
	return v ^ v>>15
}

// glyphs is a 5x7 font: each row is five bits, the highest at the left.
var glyphs = map[rune][7]uint8{
	'0': {14, 17, 19, 21, 25, 17, 14}, '1': {4, 12, 4, 4, 4, 4, 14}, '2': {14, 17, 1, 2, 4, 8, 31}, '3': {31, 2, 4, 2, 1, 17, 14},
	'4': {2, 6, 10, 18, 31, 2, 2}, '5': {31, 16, 30, 1, 1, 17, 14}, '6': {6, 8, 16, 30, 17, 17, 14}, '7': {31, 1, 2, 4, 8, 8, 8},
	'8': {14, 17, 17, 14, 17, 17, 14}, '9': {14, 17, 17, 15, 1, 2, 12}, ':': {0, 12, 12, 0, 12, 12, 0}, '-': {0, 0, 0, 31, 0, 0, 0}, '.': {0, 0, 0, 0, 0, 12, 12},
	'A': {14, 17, 17, 31, 17, 17, 17}, 'B': {30, 17, 17, 30, 17, 17, 30}, 'C': {14, 17, 16, 16, 16, 17, 14}, 'D': {30, 17, 17, 17, 17, 17, 30},
	'E': {31, 16, 16, 30, 16, 16, 31}, 'F': {31, 16, 16, 30, 16, 16, 16}, 'G': {14, 17, 16, 23, 17, 17, 15}, 'H': {17, 17, 17, 31, 17, 17, 17},
	'I': {14, 4, 4, 4, 4, 4, 14}, 'J': {7, 2, 2, 2, 2, 18, 12}, 'K': {17, 18, 20, 24, 20, 18, 17}, 'L': {16, 16, 16, 16, 16, 16, 31},
	'M': {17, 27, 21, 21, 17, 17, 17}, 'N': {17, 17, 25, 21, 19, 17, 17}, 'O': {14, 17, 17, 17, 17, 17, 14}, 'P': {30, 17, 17, 30, 16, 16, 16},
	'Q': {14, 17, 17, 17, 21, 18, 13}, 'R': {30, 17, 17, 30, 20, 18, 17}, 'S': {15, 16, 16, 14, 1, 1, 30}, 'T': {31, 4, 4, 4, 4, 4, 4},
	'U': {17, 17, 17, 17, 17, 17, 14}, 'V': {17, 17, 17, 17, 17, 10, 4}, 'W': {17, 17, 17, 21, 21, 21, 10}, 'X': {17, 17, 10, 4, 10, 17, 17},
	'Y': {17, 17, 17, 10, 4, 4, 4}, 'Z': {31, 1, 2, 4, 8, 16, 31},
}

// text writes upper-case text, size pixels a dot, with a dark edge.
func (c canvas) text(x, y, size int, s string, v color.RGBA) {
	for pass, col := range []color.RGBA{rgb(0x101010), v} {
		at := x + 1 - pass
		for _, r := range s {
			for row, b := range glyphs[r] {
				for bit := range 5 {
					if b&(16>>bit) != 0 {
						px, py := at+bit*size, y+row*size+1-pass
						c.rect(px, py, px+size, py+size, col)
					}
				}
			}
			at += 6 * size
		}
	}
}
