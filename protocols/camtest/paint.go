package camtest

import (
	"image"
	"image/color"
	"image/draw"
	"math"

	"golang.org/x/image/vector"
)

// canvas draws in units of a 640x360 picture on an image of any size, with
// smooth edges.
type canvas struct {
	img  *image.RGBA
	k    float64 // pixels per unit
	ras  vector.Rasterizer
	grey bool // all colours lose their hue: a camera's night mode
}

const unitsWide, unitsHigh = 640, 360

func newCanvas(width, height int) *canvas {
	return &canvas{img: image.NewRGBA(image.Rect(0, 0, width, height)), k: float64(width) / unitsWide}
}

// tall is the height of the picture in units: 360 for 16:9.
func (c *canvas) tall() float64 { return float64(c.img.Rect.Dy()) / c.k }

func rgb(hex uint32) color.RGBA {
	return color.RGBA{uint8(hex >> 16), uint8(hex >> 8), uint8(hex), 255}
}

// alpha returns c with opacity a, premultiplied as color.RGBA wants it.
func alpha(c color.RGBA, a float64) color.RGBA {
	a = min(max(a, 0), 1)
	m := func(v uint8) uint8 { return uint8(float64(v)*a + 0.5) }
	return color.RGBA{m(c.R), m(c.G), m(c.B), uint8(255*a + 0.5)}
}

// mix returns the colour that lies f of the way from a to b.
func mix(a, b color.RGBA, f float64) color.RGBA {
	f = min(max(f, 0), 1)
	m := func(x, y uint8) uint8 { return uint8(float64(x) + (float64(y)-float64(x))*f + 0.5) }
	return color.RGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), m(a.A, b.A)}
}

func shade(c color.RGBA, f float64) color.RGBA {
	if f < 0 {
		return mix(c, color.RGBA{0, 0, 0, 255}, -f)
	}
	return mix(c, color.RGBA{255, 255, 255, 255}, f)
}

// path is a polygon or a curve in units.
type path struct {
	ops []float64 // kind, then its coordinates
}

const (
	opMove, opLine, opCube = 0, 1, 2
)

func (p *path) move(x, y float64) *path { p.ops = append(p.ops, opMove, x, y); return p }
func (p *path) line(x, y float64) *path { p.ops = append(p.ops, opLine, x, y); return p }
func (p *path) cube(a, b, c, d, e, f float64) *path {
	p.ops = append(p.ops, opCube, a, b, c, d, e, f)
	return p
}

// fill paints the inside of p.
func (c *canvas) fill(p *path, col color.RGBA) {
	minX, minY, maxX, maxY := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	size := func(op float64) int {
		if op == opCube {
			return 6
		}
		return 2
	}
	for i := 0; i < len(p.ops); {
		n := size(p.ops[i])
		for j := i + 1; j <= i+n; j += 2 {
			x, y := p.ops[j]*c.k, p.ops[j+1]*c.k
			minX, minY, maxX, maxY = min(minX, x), min(minY, y), max(maxX, x), max(maxY, y)
		}
		i += n + 1
	}
	whole := image.Rect(int(math.Floor(minX)), int(math.Floor(minY)), int(math.Ceil(maxX)), int(math.Ceil(maxY)))
	r := whole.Intersect(c.img.Rect)
	if r.Empty() {
		return
	}
	c.ras.Reset(r.Dx(), r.Dy())
	c.ras.DrawOp = draw.Over
	px := func(i int) (float32, float32) {
		return float32(p.ops[i]*c.k - float64(r.Min.X)), float32(p.ops[i+1]*c.k - float64(r.Min.Y))
	}
	for i := 0; i < len(p.ops); {
		x, y := px(i + 1)
		switch p.ops[i] {
		case opMove:
			c.ras.ClosePath()
			c.ras.MoveTo(x, y)
		case opLine:
			c.ras.LineTo(x, y)
		case opCube:
			x2, y2 := px(i + 3)
			x3, y3 := px(i + 5)
			c.ras.CubeTo(x, y, x2, y2, x3, y3)
		}
		i += size(p.ops[i]) + 1
	}
	c.ras.ClosePath()
	c.ras.Draw(c.img, r, image.NewUniform(c.tone(col)), image.Point{})
}

func (c *canvas) tone(col color.RGBA) color.RGBA {
	if !c.grey {
		return col
	}
	y := uint8((299*int(col.R) + 587*int(col.G) + 114*int(col.B)) / 1000)
	return color.RGBA{y, y, y, col.A}
}

// poly fills the polygon through the points x, y, x, y, …
func (c *canvas) poly(col color.RGBA, xy ...float64) {
	p := &path{}
	p.move(xy[0], xy[1])
	for i := 2; i+1 < len(xy); i += 2 {
		p.line(xy[i], xy[i+1])
	}
	c.fill(p, col)
}

func (c *canvas) rect(x, y, w, h float64, col color.RGBA) {
	r := image.Rect(int(math.Round(x*c.k)), int(math.Round(y*c.k)), int(math.Round((x+w)*c.k)), int(math.Round((y+h)*c.k)))
	op := draw.Over
	if col.A == 255 {
		op = draw.Src
	}
	draw.Draw(c.img, r, image.NewUniform(c.tone(col)), image.Point{}, op)
}

func (c *canvas) round(x, y, w, h, r float64, col color.RGBA) {
	r = min(r, w/2, h/2)
	q := r * 0.4477 // 1 minus the handle of a quarter circle
	p := (&path{}).move(x+r, y).line(x+w-r, y).cube(x+w-q, y, x+w, y+q, x+w, y+r).
		line(x+w, y+h-r).cube(x+w, y+h-q, x+w-q, y+h, x+w-r, y+h).
		line(x+r, y+h).cube(x+q, y+h, x, y+h-q, x, y+h-r).
		line(x, y+r).cube(x, y+q, x+q, y, x+r, y)
	c.fill(p, col)
}

func (c *canvas) oval(x, y, rx, ry float64, col color.RGBA) {
	const h = 0.5523
	p := (&path{}).move(x+rx, y).cube(x+rx, y+h*ry, x+h*rx, y+ry, x, y+ry).cube(x-h*rx, y+ry, x-rx, y+h*ry, x-rx, y).
		cube(x-rx, y-h*ry, x-h*rx, y-ry, x, y-ry).cube(x+h*rx, y-ry, x+rx, y-h*ry, x+rx, y)
	c.fill(p, col)
}

func (c *canvas) line(x1, y1, x2, y2, w float64, col color.RGBA) {
	dx, dy := x2-x1, y2-y1
	l := math.Hypot(dx, dy)
	if l == 0 {
		return
	}
	nx, ny := -dy/l*w/2, dx/l*w/2
	c.poly(col, x1+nx, y1+ny, x2+nx, y2+ny, x2-nx, y2-ny, x1-nx, y1-ny)
}

// fade fills a rectangle with a vertical gradient.
func (c *canvas) fade(x, y, w, h float64, top, bottom color.RGBA) {
	y0, y1 := int(math.Round(y*c.k)), int(math.Round((y+h)*c.k))
	for py := y0; py < y1; py++ {
		col := c.tone(mix(top, bottom, (float64(py-y0)+0.5)/float64(y1-y0)))
		r := image.Rect(int(math.Round(x*c.k)), py, int(math.Round((x+w)*c.k)), py+1)
		draw.Draw(c.img, r, image.NewUniform(col), image.Point{}, draw.Over)
	}
}

// glow adds light around a point, falling off to nothing at radius r.
func (c *canvas) glow(x, y, r float64, col color.RGBA, strength float64) {
	col = c.tone(col)
	x, y, r = x*c.k, y*c.k, r*c.k
	b := image.Rect(int(x-r), int(y-r), int(x+r)+1, int(y+r)+1).Intersect(c.img.Rect)
	for py := b.Min.Y; py < b.Max.Y; py++ {
		for px := b.Min.X; px < b.Max.X; px++ {
			dx, dy := float64(px)-x, float64(py)-y
			d := (dx*dx + dy*dy) / (r * r)
			if d >= 1 {
				continue
			}
			f := (1 - d) * (1 - d) * strength
			o := c.img.PixOffset(px, py)
			p := c.img.Pix[o : o+3 : o+3]
			p[0] = add(p[0], float64(col.R)*f)
			p[1] = add(p[1], float64(col.G)*f)
			p[2] = add(p[2], float64(col.B)*f)
		}
	}
}

func add(v uint8, f float64) uint8 { return uint8(min(float64(v)+f, 255)) }

// grain gives a rectangle the unevenness of a real surface.
func (c *canvas) grain(x, y, w, h float64, amount int, seed uint64) {
	b := image.Rect(int(x*c.k), int(y*c.k), int((x+w)*c.k), int((y+h)*c.k)).Intersect(c.img.Rect)
	state := seed*2 + 1
	for py := b.Min.Y; py < b.Max.Y; py++ {
		o := c.img.PixOffset(b.Min.X, py)
		for px := b.Min.X; px < b.Max.X; px, o = px+1, o+4 {
			state ^= state << 13
			state ^= state >> 7
			state ^= state << 17
			n := int(state%uint64(2*amount+1)) - amount
			for i := range 3 {
				c.img.Pix[o+i] = uint8(min(max(int(c.img.Pix[o+i])+n, 0), 255))
			}
		}
	}
}

// dice gives repeatable choices for a scene: the same seed, the same street.
type dice struct{ state uint64 }

func newDice(seed uint64) *dice { return &dice{state: seed ^ 0x9e3779b97f4a7c15} }

func (d *dice) next() uint64 { // splitmix64
	d.state += 0x9e3779b97f4a7c15
	z := d.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d *dice) float(low, high float64) float64 {
	return low + (high-low)*float64(d.next()>>11)/(1<<53)
}
func (d *dice) n(n int) int           { return int(d.next() % uint64(n)) }
func (d *dice) chance(p float64) bool { return d.float(0, 1) < p }
func pick[T any](d *dice, of ...T) T  { return of[d.n(len(of))] }
