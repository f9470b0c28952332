package camtest

import "image"

// effects spoil pictures the way broken cameras do.
type effects struct {
	copy  *image.RGBA
	small []uint16 // sums of cells, then their averages, three per cell
}

func newEffects() *effects {
	return &effects{}
}

func (e *effects) apply(c *canvas, f Fault, noise uint64) {
	switch f {
	case Blurred:
		e.blur(c, 14)
	case Moved:
		e.move(c)
	case OverExposed:
		for i, v := range c.img.Pix {
			if i%4 != 3 {
				c.img.Pix[i] = uint8(min(int(v)*5/2+70, 255))
			}
		}
	case Covered: // cloth before the lens, light at one edge
		c.fade(0, 0, unitsWide, c.tall(), rgb(0x2a2320), rgb(0x17130f))
		for i := range 9 {
			x := -40 + float64(i)*86
			c.poly(alpha(rgb(0x3b322c), 0.45), x, 0, x+34, 0, x+62, c.tall(), x+12, c.tall())
		}
		c.poly(alpha(rgb(0xb9b2a2), 0.5), 604, 0, 640, 0, 640, c.tall(), 622, c.tall())
		c.grain(0, 0, unitsWide, c.tall(), 3, noise)
	case Black:
		c.rect(0, 0, unitsWide, c.tall()+1, rgb(0x020202))
		c.grain(0, 0, unitsWide, c.tall(), 2, noise)
	}
}

// sensor adds the noise that no real picture is without: two frames are never
// the same bytes, unless the camera is frozen. One pixel in about five is
// enough for that and cheap.
func sensor(img *image.RGBA, seed uint64) {
	state := seed*2 + 1
	for o := 0; o+4 <= len(img.Pix); {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		img.Pix[o+1] = uint8(min(max(int(img.Pix[o+1])+int(state>>40%5)-2, 0), 255))
		o += 4 * int(2+state>>50%7)
	}
}

// blur averages cells of n pixels and draws the result enlarged, smoothly.
func (e *effects) blur(c *canvas, n int) {
	img := c.img
	w, h := img.Rect.Dx(), img.Rect.Dy()
	cw, ch := (w+n-1)/n+1, (h+n-1)/n+1
	if len(e.small) != cw*ch*3 {
		e.small = make([]uint16, cw*ch*3)
	}
	for cy := range ch {
		for cx := range cw {
			// A cell reaches a little beyond its own place: softer than tiles.
			x0, x1 := clamp(cx*n-n, w), clamp(cx*n+n, w)
			y0, y1 := clamp(cy*n-n, h), clamp(cy*n+n, h)
			x0, y0 = min(x0, x1-1), min(y0, y1-1)
			var sum [3]int
			for y := y0; y < y1; y++ {
				o := img.PixOffset(x0, y)
				for x := x0; x < x1; x, o = x+1, o+4 {
					sum[0] += int(img.Pix[o])
					sum[1] += int(img.Pix[o+1])
					sum[2] += int(img.Pix[o+2])
				}
			}
			area := (x1 - x0) * (y1 - y0)
			for i := range 3 {
				e.small[(cy*cw+cx)*3+i] = uint16(sum[i] / area)
			}
		}
	}
	for y := range h {
		cy, fy := y/n, y%n
		for x := range w {
			cx, fx := x/n, x%n
			a := (cy*cw + cx) * 3
			b := a + cw*3
			o := img.PixOffset(x, y)
			for i := range 3 {
				top := int(e.small[a+i])*(n-fx) + int(e.small[a+3+i])*fx
				low := int(e.small[b+i])*(n-fx) + int(e.small[b+3+i])*fx
				img.Pix[o+i] = uint8((top*(n-fy) + low*fy) / (n * n))
			}
		}
	}
}

func clamp(v, n int) int { return min(max(v, 0), n) }

// move turns the camera aside, nearer and a little askew: what it shows is
// another part of the scene.
func (e *effects) move(c *canvas) {
	img := c.img
	if e.copy == nil || e.copy.Rect != img.Rect {
		e.copy = image.NewRGBA(img.Rect)
	}
	copy(e.copy.Pix, img.Pix)
	w, h := img.Rect.Dx(), img.Rect.Dy()
	const one = 1 << 12
	// 0.55 times as wide, turned by 7 degrees, its corner at 42 %, 38 %.
	const cos, sin = 2236, 275
	for y := range h {
		for x := range w {
			sx := clamp((x*cos+y*sin)/one+w*42/100, w-1)
			sy := clamp((y*cos-x*sin)/one+h*38/100, h-1)
			o, p := img.PixOffset(x, y), e.copy.PixOffset(sx, sy)
			copy(img.Pix[o:o+3], e.copy.Pix[p:p+3])
		}
	}
}
