package camtest

import "math"

// streetBack draws sky, houses, trees, pavements and road.
func streetBack(night bool) func(*canvas, uint64, float64) {
	return func(c *canvas, seed uint64, s float64) {
		d := newDice(seed)
		if night {
			c.fade(0, 0, unitsWide, 180, rgb(0x070b18), rgb(0x232a3f))
			for range 60 {
				c.oval(d.float(0, 640), d.float(0, 110), 0.6, 0.6, alpha(rgb(0xffffff), d.float(0.2, 0.8)))
			}
			c.oval(540, 48, 13, 13, rgb(0xe8e6d4))
			c.oval(535, 45, 12, 12, rgb(0x0e1322))
		} else {
			c.fade(0, 0, unitsWide, 180, rgb(0x6fa3d6), rgb(0xdce9ef))
			clouds(c, newDice(seed+5), s, 14, 60, 5, 1)
		}
		dim := func(hex uint32) uint32 {
			if !night {
				return hex
			}
			q := mix(rgb(hex), rgb(0x0b1020), 0.72)
			return uint32(q.R)<<16 | uint32(q.G)<<8 | uint32(q.B)
		}
		for x := -10.0; x < 640; { // the roofs behind
			w, h := d.float(30, 60), d.float(30, 70)
			c.rect(x, 170-h, w, h+30, rgb(dim(pick(d, uint32(0x9aa6b2), 0xa7a9a8, 0x8f9aa8))))
			x += w
		}
		i := 0
		for x := -18.0; x < 640; i++ {
			w, h := d.float(78, 128), d.float(88, 150)
			house(c, d, x, 232, w, h, dim, night, seed+uint64(i))
			x += w + 2
		}
		c.fade(0, 232, unitsWide, 22, rgb(dim(0xb8b2a7)), rgb(dim(0xa39d93)))
		for x := 0.0; x < 640; x += 16 {
			c.line(x, 232, x-12, 254, 0.5, alpha(rgb(0), 0.18))
		}
		c.rect(0, 253, unitsWide, 4, rgb(dim(0x8b8780)))
		c.fade(0, 257, unitsWide, 84, rgb(dim(0x5b5e63)), rgb(dim(0x45484d)))
		c.grain(0, 232, unitsWide, 128, 5, seed)
		for x := 10.0; x < 640; x += 58 {
			c.poly(alpha(rgb(dim(0xe9e6d8)), 0.9), x, 296, x+30, 296, x+28, 299.5, x-3, 299.5)
		}
		c.fade(0, 341, unitsWide, 19, rgb(dim(0xa9a398)), rgb(dim(0x958f85)))
		c.rect(0, 338, unitsWide, 3, rgb(dim(0x85817a)))
		for x := d.float(30, 70); x < 640; x += d.float(130, 190) {
			tree(c, d, x, 246, d.float(70, 92), dim(pick(d, uint32(0x5b8a43), 0x6d9a4a, 0x4c7a45)))
		}
		for x := 90.0; x < 640; x += 210 {
			lampPost(c, x, night)
		}
	}
}

func lampPost(c *canvas, x float64, night bool) {
	c.rect(x-1.5, 128, 3, 124, rgb(0x2c3136))
	c.rect(x-3, 246, 6, 7, rgb(0x2c3136))
	c.line(x, 129, x+22, 122, 2.4, rgb(0x2c3136))
	c.round(x+16, 120, 16, 4.5, 2, rgb(0x3a4046))
	if night {
		c.poly(alpha(rgb(0xffdf9a), 0.1), x+17, 124, x+31, 124, x+84, 258, x-38, 258)
		c.glow(x+24, 124, 46, rgb(0xffd68a), 0.75)
		c.glow(x+24, 256, 70, rgb(0xffd68a), 0.24)
	} else {
		c.rect(x+18, 124, 12, 1.2, rgb(0xe9e7dc))
	}
}

// house fills x..x+w up from its foot. Its windows lie on a grid that
// streetFront repeats to switch lights.
func house(c *canvas, d *dice, x, foot, w, h float64, dim func(uint32) uint32, night bool, seed uint64) {
	wall := rgb(dim(pick(d, uint32(0xc9b79c), 0xb9785c, 0xd8cdb8, 0x9fb0a8, 0xc49a6c, 0xa8a29a, 0xcfc2a0)))
	roof := rgb(dim(pick(d, uint32(0x7d4a3c), 0x5c6069, 0x8a5743, 0x4f555c)))
	top := foot - h
	c.fade(x, top, w, h, shade(wall, 0.06), shade(wall, -0.1))
	if d.chance(0.6) {
		c.poly(roof, x-4, top, x+w*0.12, top-24, x+w*0.88, top-24, x+w+4, top)
		c.rect(x+w*0.7, top-38, 9, 22, shade(wall, -0.3))
	} else {
		c.rect(x-2, top-5, w+4, 6, shade(wall, -0.35))
	}
	c.rect(x+w-1.5, top, 1.5, h, alpha(rgb(0), 0.2))
	shop := d.chance(0.55)
	cols := int(w / 26)
	pitch := w / float64(cols)
	for row, y := 0, top+12; y < foot-52; row, y = row+1, y+30 {
		for col := range cols {
			wx := x + (float64(col)+0.5)*pitch - 7
			c.rect(wx-1.5, y-1.5, 17, 23, shade(wall, 0.25))
			pane := rgb(dim(0x5f7889))
			if night && newDice(seed*31+uint64(row*17+col)).chance(0.4) {
				pane = rgb(pick(newDice(seed+uint64(row+col)), uint32(0xf3cf83), 0xe9b765, 0xf0dcb0))
			}
			c.fade(wx, y, 14, 20, shade(pane, 0.15), shade(pane, -0.15))
			c.rect(wx+6.4, y, 1.2, 20, shade(wall, 0.2))
			c.rect(wx-2, y+20.5, 18, 2, shade(wall, -0.2))
		}
	}
	if shop {
		c.rect(x+6, foot-42, w-12, 42, shade(wall, -0.35))
		glass := rgb(dim(0x86a0ac))
		if night {
			glass = rgb(0xd8b878)
		}
		c.fade(x+10, foot-34, w-38, 28, glass, shade(glass, -0.3))
		c.rect(x+w-24, foot-36, 14, 36, shade(wall, -0.55))
		awning := rgb(dim(pick(d, uint32(0xa33b32), 0x2f6a55, 0x36558a, 0xb0862c)))
		n := int((w - 12) / 9)
		for i := range n {
			ax := x + 6 + float64(i)*(w-12)/float64(n)
			col := awning
			if i%2 == 1 {
				col = rgb(dim(0xeee8da))
			}
			aw := (w-12)/float64(n) + 0.4
			c.poly(col, ax, foot-44, ax+aw, foot-44, ax+aw, foot-35, ax, foot-35)
		}
		return
	}
	door := rgb(dim(pick(d, uint32(0x4a3a2c), 0x2e4a3c, 0x5a2e2e, 0x2d3c52)))
	c.rect(x+w*0.42-1.5, foot-39, 20, 39, shade(wall, 0.25))
	c.rect(x+w*0.42, foot-37, 17, 37, door)
	c.oval(x+w*0.42+13.5, foot-18, 1, 1, rgb(0xc9b06a))
	for _, wx := range []float64{x + 8, x + w - 26} {
		c.rect(wx-1.5, foot-38.5, 21, 23, shade(wall, 0.25))
		c.fade(wx, foot-37, 18, 20, rgb(dim(0x6f8898)), rgb(dim(0x4d6272)))
	}
}

// streetFront draws traffic in both lanes and people on both pavements.
func streetFront(night bool) func(*canvas, uint64, float64) {
	return func(c *canvas, seed uint64, s float64) {
		paint := func(d *dice) uint32 {
			q := carColours[d.n(len(carColours))]
			if night {
				m := mix(rgb(q), rgb(0x0b1020), 0.6)
				q = uint32(m.R)<<16 | uint32(m.G)<<8 | uint32(m.B)
			}
			return q
		}
		coat := func(d *dice) uint32 {
			m := rgb(coats[d.n(len(coats))])
			if night {
				m = mix(m, rgb(0x0b1020), 0.55)
			}
			return uint32(m.R)<<16 | uint32(m.G)<<8 | uint32(m.B)
		}
		passes(seed+11, 3, s, 720, 240, 9, func(d *dice, at float64) {
			person(c, at-40, 250, 34, s*6+float64(d.n(6)), coat(d), 0x2a2c31)
		})
		passes(seed+23, 2, s, 860, 420, 78, func(d *dice, at float64) {
			car(c, 720-at, 286, d.float(86, 104), -1, paint(d), d.n(3), night)
		})
		passes(seed+37, 2, s, 900, 520, 92, func(d *dice, at float64) {
			car(c, at-160, 331, d.float(112, 134), 1, paint(d), d.n(3), night)
		})
		passes(seed+51, 2, s, 740, 300, 12, func(d *dice, at float64) {
			person(c, 690-at, 357, 46, s*6.4+float64(d.n(6)), coat(d), 0x24262b)
		})
		if night && math.Mod(s+float64(seed%97), 40) < 22 { // someone is up late
			c.fade(math.Mod(float64(seed%640), 560)+20, 140, 13, 19, rgb(0xf6d48c), rgb(0xd9a957))
		}
	}
}
