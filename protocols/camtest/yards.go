package camtest

import (
	"image/color"
	"math"
)

// parkingBack draws a car park from above at an angle: rows of bays.
func parkingBack(c *canvas, seed uint64, _ float64) {
	d := newDice(seed)
	c.fade(0, 0, unitsWide, 360, rgb(0x6d7074), rgb(0x55585c))
	c.fade(0, 0, unitsWide, 54, rgb(0x7f9a66), rgb(0x6c8756))
	c.rect(0, 52, unitsWide, 5, rgb(0xa8a59c))
	c.grain(0, 0, unitsWide, 360, 6, seed)
	for x := 12.0; x < 640; x += d.float(46, 70) {
		tree(c, d, x, 54, d.float(44, 60), pick(d, uint32(0x4f7c43), 0x5f8a4c))
	}
	for row := range 3 {
		y, h := bayRow(row)
		for i := range 10 {
			x := bayX(row, i)
			c.poly(alpha(rgb(0xf0eee4), 0.85), x, y, x+2, y, x+2-8, y+h, x-8, y+h)
		}
		c.rect(bayX(row, 0), y-1, bayX(row, 9)-bayX(row, 0)+2, 2, alpha(rgb(0xf0eee4), 0.85))
	}
	for _, x := range []float64{120, 430} {
		c.poly(alpha(rgb(0xf0eee4), 0.7), x, 250, x+34, 250, x+34, 246, x+48, 253, x+34, 260, x+34, 256, x, 256)
	}
	c.rect(600, 96, 4, 150, rgb(0x3b4045))
	c.round(574, 92, 34, 7, 3, rgb(0x4a5056))
}

func bayRow(row int) (y, h float64) {
	return []float64{74, 158, 276}[row], []float64{52, 62, 80}[row]
}
func bayX(row, i int) float64 {
	pitch := []float64{56, 60, 68}[row]
	return 340 - pitch*4.5 + float64(i)*pitch
}

// parkingFront fills bays; cars come and go.
func parkingFront(c *canvas, seed uint64, s float64) {
	for row := range 3 {
		y, h := bayRow(row)
		for i := range 9 {
			d := newDice(seed + uint64(row*131+i*17))
			stay, shift := d.float(60, 240), d.float(0, 500)
			turn := uint64((s + shift) / stay)
			d = newDice(seed + uint64(row*131+i*17) + turn*7907)
			if !d.chance(0.66) {
				continue
			}
			into := math.Mod(s+shift, stay)
			slide := (1 - smooth(into/4)) * h * 0.9
			w := (bayX(row, i+1) - bayX(row, i)) * 0.66
			topCar(c, bayX(row, i)+w*0.28-4, y+5+slide, w, h*0.86, rgb(carColours[d.n(len(carColours))]))
		}
	}
	passes(seed+71, 1, s, 820, 300, 42, func(d *dice, at float64) {
		car(c, at-100, 262, 74, 1, carColours[d.n(len(carColours))], d.n(3), false)
	})
	passes(seed+73, 2, s, 700, 260, 10, func(d *dice, at float64) {
		person(c, 670-at, 150, 28, s*6, coats[d.n(len(coats))], 0x2a2c31)
	})
}

func topCar(c *canvas, x, y, w, h float64, col color.RGBA) {
	c.round(x+3, y+4, w, h, w*0.28, alpha(rgb(0), 0.32))
	c.round(x, y, w, h, w*0.28, col)
	c.round(x+w*0.12, y+h*0.24, w*0.76, h*0.2, 3, rgb(0x2b3843))
	c.round(x+w*0.14, y+h*0.42, w*0.72, h*0.3, 3, shade(col, 0.14))
	c.round(x+w*0.14, y+h*0.74, w*0.72, h*0.12, 3, rgb(0x2b3843))
	c.rect(x+w*0.1, y+h*0.02, w*0.18, h*0.03, rgb(0xfaf6e0))
	c.rect(x+w*0.72, y+h*0.02, w*0.18, h*0.03, rgb(0xfaf6e0))
}

// dockBack draws a warehouse wall with three loading doors.
func dockBack(c *canvas, seed uint64, _ float64) {
	d := newDice(seed)
	wall := rgb(pick(d, uint32(0xb5bfc4), 0xc2b9a6, 0xaab4a4))
	c.fade(0, 0, unitsWide, 262, shade(wall, 0.1), shade(wall, -0.14))
	for x := 0.0; x < 640; x += 10 {
		c.rect(x, 0, 1.4, 262, alpha(rgb(0), 0.07))
	}
	c.rect(0, 0, unitsWide, 22, rgb(0x3f5566))
	for i := range 3 {
		x := dockX(i)
		c.rect(x-10, 66, 150, 196, rgb(0x2f3438))
		c.rect(x, 76, 130, 166, rgb(0x1c1f22))
		c.fade(x, 150, 130, 92, rgb(0x26292c), rgb(0x4a4640)) // light inside
		c.round(x+46, 34, 38, 26, 3, rgb(0xe6b832))
		c.text(x+58, 38, 2.6, rgb(0x24282c), string(rune('1'+i)))
		for _, side := range []float64{-10, 132} {
			c.rect(x+side, 214, 8, 48, rgb(0x15171a))
			for y := 214.0; y < 262; y += 12 {
				c.rect(x+side, y, 8, 6, rgb(0xe0b32c))
			}
		}
	}
	c.fade(0, 262, unitsWide, 98, rgb(0x83827e), rgb(0x6c6b68))
	c.rect(0, 240, unitsWide, 22, alpha(rgb(0x5c5a56), 0.85))
	c.grain(0, 240, unitsWide, 120, 6, seed)
	for _, x := range []float64{18, 218, 420, 622} {
		c.line(x, 262, 320+(x-320)*1.5, 360, 4, alpha(rgb(0xe6c13a), 0.75))
	}
}

func dockX(i int) float64 { return 45 + 205*float64(i) }

// dockFront opens and shuts doors, parks lorries and drives a fork-lift.
func dockFront(c *canvas, seed uint64, s float64) {
	for i := range 3 {
		d := newDice(seed + uint64(i)*331)
		period := d.float(70, 130)
		t := math.Mod(s+d.float(0, 200), period) / period
		open := smooth((t-0.1)/0.08) - smooth((t-0.85)/0.08)
		x := dockX(i)
		if open > 0.3 {
			for j := range 3 { // pallets inside
				c.rect(x+14+float64(j)*36, 196, 30, 40, rgb(pick(d, uint32(0xa98658), 0x9a7a50, 0xb8945f)))
				c.rect(x+14+float64(j)*36, 214, 30, 1.5, alpha(rgb(0), 0.35))
				c.rect(x+14+float64(j)*36, 236, 30, 5, rgb(0x6d5436))
			}
		}
		h := 166 * (1 - open*0.94)
		c.fade(x, 76, 130, h, rgb(0xd5d8d9), rgb(0xb4b9bc))
		for y := 88.0; y < 76+h; y += 14 {
			c.rect(x, y, 130, 1.4, alpha(rgb(0), 0.16))
		}
		lamp := rgb(0xd23a2a)
		if open > 0.9 {
			lamp = rgb(0x3ad268)
		}
		c.oval(x+142, 110, 4.5, 4.5, lamp)
		if i == 1 && t > 0.24 && t < 0.8 { // a lorry backs in
			back := smooth((t-0.24)/0.08) - smooth((t-0.72)/0.08)
			y := 400 - 150*back
			c.fade(x-8, y-90, 146, 200, rgb(0xeceae4), rgb(0xc9c7c1))
			c.rect(x-8, y-90, 146, 9, rgb(0x7a2f2a))
			c.rect(x-8, y+96, 146, 12, rgb(0x7a2f2a))
		}
	}
	t := math.Mod(s*26+float64(seed%600), 1500)
	x, dir := t-50, 1.0
	if t > 750 {
		x, dir = 1450-t, -1
	}
	forklift(c, x, 330, dir, int(t/750)%2 == 0)
}

func forklift(c *canvas, x, y, dir float64, loaded bool) {
	m := func(u float64) float64 { return x + dir*u }
	c.oval(x, y, 44, 5, alpha(rgb(0), 0.35))
	c.poly(rgb(0xe0a422), m(-30), y-10, m(-32), y-34, m(-12), y-38, m(18), y-30, m(20), y-8)
	c.line(m(-26), y-36, m(-20), y-74, 3, rgb(0x2a2d31))
	c.line(m(14), y-30, m(10), y-74, 3, rgb(0x2a2d31))
	c.line(m(-22), y-74, m(12), y-74, 4, rgb(0x2a2d31))
	c.round(x-8+dir*-6, y-62, 15, 28, 5, rgb(0xd9662a))
	c.oval(m(-6), y-66, 6, 7, rgb(0xd2a680))
	c.line(m(25), y-4, m(25), y-86, 4, rgb(0x33373b))
	c.line(m(25), y-10, m(58), y-10, 3, rgb(0x33373b))
	if loaded {
		c.rect(min(m(28), m(60)), y-48, 32, 34, rgb(0xa98658))
		c.rect(min(m(28), m(60)), y-14, 32, 4, rgb(0x6d5436))
	}
	for _, u := range []float64{-20, 12} {
		c.oval(m(u), y-9, 9, 9, rgb(0x1b1d20))
		c.oval(m(u), y-9, 4, 4, rgb(0x8d9296))
	}
}

// aisleBack draws high racks on both sides in perspective.
func aisleBack(c *canvas, seed uint64, _ float64) {
	c.fade(0, 0, unitsWide, 150, rgb(0x4c5358), rgb(0x8b9296))
	c.poly(rgb(0x9b9a94), 290, 190, 350, 190, 560, 362, 80, 362)
	c.poly(rgb(0x83827c), 0, 300, 290, 190, 80, 362, 0, 362)
	c.poly(rgb(0x83827c), 640, 300, 350, 190, 560, 362, 640, 362)
	c.fade(225, 112, 190, 80, rgb(0x8d9498), rgb(0x70777b))
	c.rect(290, 120, 60, 70, rgb(0xa9afb2))
	c.rect(306, 150, 28, 40, rgb(0x6b7276))
	for i := range 5 { // lamps
		f := 1 / (1 + float64(i)*0.7)
		c.round(320-70*f, 110-100*f, 140*f, 8*f, 3*f, rgb(0xf6f4e8))
		c.glow(320, 114-100*f, 120*f, rgb(0xfdf6dc), 0.18)
	}
	for _, side := range []float64{-1, 1} {
		for i := range 9 {
			near, far := 1/(0.82+float64(i)*0.42), 1/(0.82+float64(i+1)*0.42)
			d := newDice(seed + uint64(i)*41 + uint64(side+2))
			edge := func(f, up float64) (float64, float64) { return 320 + side*(30+255*f), 190 + f*(100-up) }
			for level := range 5 {
				lo, hi := float64(level)*64, float64(level+1)*64
				x1, y1 := edge(near, lo)
				x2, y2 := edge(far, lo)
				x3, y3 := edge(far, hi-10)
				x4, y4 := edge(near, hi-10)
				box := rgb(pick(d, uint32(0xb08d5c), 0xa17f50, 0xc09c68, 0x8f6f46, 0x7d8a93, 0x5c6f7d))
				c.poly(shade(rgb(0x2c3033), 0), x1, y1, x2, y2, x3, y3, x4, y4)
				if d.chance(0.82) {
					cut := 1 - d.float(0.1, 0.4)
					x3, y3 = edge(far, lo+54*cut)
					x4, y4 = edge(near, lo+54*cut)
					c.poly(shade(box, -0.35+0.3*near), x1, y1, x2, y2, x3, y3, x4, y4)
					c.line((x1+x2)/2, (y1+y2)/2, (x3+x4)/2, (y3+y4)/2, 1.2*near, alpha(rgb(0), 0.4))
				}
				c.line(x1, y1, x2, y2, 5*near, rgb(0xd0642a))
			}
			x1, y1 := edge(near, 0)
			x2, y2 := edge(near, 330)
			c.line(x1, y1, x2, y2, 6*near, rgb(0x2f5f94))
		}
	}
	c.line(250, 362, 308, 190, 2, alpha(rgb(0xe6c13a), 0.8))
	c.line(390, 362, 332, 190, 2, alpha(rgb(0xe6c13a), 0.8))
	c.grain(0, 0, unitsWide, 360, 4, seed)
}

// aisleFront brings a picker with a trolley along the aisle, near and far.
func aisleFront(c *canvas, seed uint64, s float64) {
	for i := range 2 {
		d := newDice(seed + uint64(i)*53)
		t := math.Mod(s/d.float(26, 40)+d.float(0, 2), 2)
		depth := 1 - math.Abs(t-1) // 0 far, 1 near
		f := 0.25 + 0.75*depth*depth
		x := 320 + (float64(i)*2-1)*(20+70*f)
		y := 190 + 150*f
		person(c, x, y, 130*f, s*5, pick(d, uint32(0xe0b020), 0xd9662a), 0x2d3a52)
		c.round(x+26*f, y-50*f, 52*f, 34*f, 4*f, rgb(0x6f7c86))
		c.rect(x+32*f, y-78*f, 38*f, 28*f, rgb(0xb08d5c))
		c.oval(x+34*f, y-6*f, 6*f, 6*f, rgb(0x1b1d20))
		c.oval(x+70*f, y-6*f, 6*f, 6*f, rgb(0x1b1d20))
	}
	if math.Mod(s, 9) < 1.2 { // a failing tube
		c.round(299, 66, 42, 3, 1, alpha(rgb(0x40464a), 0.7))
	}
}

// harbourBack draws sea, quay, cranes and a breakwater.
func harbourBack(c *canvas, seed uint64, s float64) {
	d := newDice(seed)
	c.fade(0, 0, unitsWide, 150, rgb(0x7aa6c8), rgb(0xf0dfc4))
	clouds(c, newDice(seed+5), s, 12, 60, 5, 0.8)
	p := (&path{}).move(0, 152)
	for x := 0.0; x <= 650; x += 12 {
		p.line(x, 136-9*math.Sin(x/80+float64(seed%5))-4*math.Sin(x/27))
	}
	c.fill(p.line(650, 152), rgb(0x8399a8))
	c.fade(0, 150, unitsWide, 150, rgb(0x6f9db3), rgb(0x2f5f7d))
	c.grain(0, 150, unitsWide, 150, 4, seed)
	for i := range 3 {
		x := 380 + float64(i)*92
		col := rgb(pick(d, uint32(0xc2452f), 0x2f5f94, 0xd99a2b))
		for _, leg := range []float64{0, 34} {
			c.line(x+leg, 286, x+leg*0.8+4, 120, 3.5, col)
		}
		c.line(x, 190, x+36, 190, 3, col)
		c.line(x-70, 118, x+58, 118, 4, col)
		c.line(x+18, 92, x-66, 117, 1.6, shade(col, -0.3))
		c.line(x+18, 92, x+54, 117, 1.6, shade(col, -0.3))
		c.line(x+18, 120, x+18, 92, 3, col)
	}
	c.fade(0, 286, unitsWide, 74, rgb(0xa39f96), rgb(0x85817a))
	c.rect(0, 284, unitsWide, 5, rgb(0xc9c5ba))
	c.grain(0, 286, unitsWide, 74, 5, seed)
	for row := range 2 {
		for x := 330.0; x < 630; x += 47 {
			if d.chance(0.78) {
				col := rgb(pick(d, uint32(0xa23b2e), 0x2e5e8c, 0x3c7a58, 0xc98b2a, 0x77808a))
				y := 316 - float64(row)*26
				c.fade(x, y, 45, 25, col, shade(col, -0.15))
				for u := 4.0; u < 44; u += 5 {
					c.rect(x+u, y+2, 1, 21, alpha(rgb(0), 0.2))
				}
			}
		}
	}
	for x := 30.0; x < 320; x += 70 {
		c.round(x, 292, 12, 10, 4, rgb(0x2d3134))
	}
}

// harbourFront moves ships, a crane's load, and the light on the water.
func harbourFront(c *canvas, seed uint64, s float64) {
	d := newDice(seed + 77)
	for range 40 {
		x, y := d.float(0, 640), d.float(156, 280)
		if f := math.Sin(s*1.3 + d.float(0, 6)); f > 0.2 {
			c.rect(x, y, 4+(y-150)*0.1, 1, alpha(rgb(0xffffff), 0.3*f))
		}
	}
	passes(seed+13, 2, s, 900, 300, 7, func(d *dice, at float64) {
		x, y := 760-at, d.float(166, 186)
		col := rgb(pick(d, uint32(0x7a2f2a), 0x263c57, 0x33413a))
		c.poly(col, x, y-8, x+120, y-8, x+112, y+8, x+12, y+8)
		c.rect(x+92, y-30, 18, 22, rgb(0xf0ede4))
		c.rect(x+97, y-40, 7, 10, rgb(0xd99a2b))
		for i := range 5 {
			c.rect(x+10+float64(i)*15, y-16-float64(d.n(2))*7, 14, 9+float64(d.n(2))*7, rgb(pick(d, uint32(0xa23b2e), 0x2e5e8c, 0x3c7a58, 0xc98b2a)))
		}
		c.rect(x-4, y+8, 130, 1.5, alpha(rgb(0xffffff), 0.4))
	})
	passes(seed+29, 1, s, 760, 200, 26, func(_ *dice, at float64) { // a launch
		x, y := at-60, 252+1.6*math.Sin(s*2.2)
		c.poly(rgb(0xf0ede4), x, y-8, x+58, y-10, x+48, y+5, x+6, y+5)
		c.round(x+16, y-20, 20, 13, 3, rgb(0x3b6f94))
		for i := range 5 {
			c.oval(x-8-float64(i)*13, y+4, 9, 1.6, alpha(rgb(0xffffff), 0.5-0.09*float64(i)))
		}
	})
	load := 150 + 60*math.Sin(s/9)
	x := 430 + 34*math.Sin(s/14)
	c.line(x, 120, x, load, 1, rgb(0x26292c))
	c.fade(x-22, load, 44, 22, rgb(0x3c7a58), rgb(0x2f5f45))
}

// skylineBack draws a town at dusk over the roofs.
func skylineBack(c *canvas, seed uint64, s float64) {
	d := newDice(seed)
	c.fade(0, 0, unitsWide, 250, rgb(0x2b3a67), rgb(0xf2a56b))
	c.glow(180, 224, 170, rgb(0xffc27a), 0.55)
	clouds(c, newDice(seed+5), s, 30, 110, 6, 0.35)
	for layer := range 3 {
		col := mix(rgb(0x8a6f80), rgb(0x1c2233), float64(layer)/2)
		for x := -12.0; x < 640; {
			w, h := d.float(26, 60), d.float(40, 105)+float64(2-layer)*26
			top := 296 + float64(layer)*18 - h
			c.rect(x, top, w, 360-top, col)
			if d.chance(0.35) {
				c.rect(x+w*0.45, top-18, 1.6, 18, col)
			}
			for y := top + 7; layer > 0 && y < 340; y += 9 {
				for wx := x + 4; wx < x+w-5; wx += 8 {
					if d.chance(0.3) {
						c.rect(wx, y, 3.6, 4.6, alpha(rgb(pick(d, uint32(0xffd98a), 0xffc56a, 0xdfe8f0)), 0.85))
					}
				}
			}
			x += w + d.float(0, 5)
		}
	}
	c.poly(rgb(0x3a3d44), 0, 322, 640, 312, 640, 362, 0, 362)
	c.grain(0, 310, unitsWide, 50, 5, seed)
	c.fade(470, 264, 60, 54, rgb(0x6d747c), rgb(0x4b5158))
	c.fade(70, 284, 90, 38, rgb(0x5f666e), rgb(0x444a51))
	c.line(300, 318, 300, 226, 3, rgb(0x2a2d33))
	c.line(284, 246, 316, 246, 2, rgb(0x2a2d33))
}

// skylineFront blinks, spins and flies.
func skylineFront(c *canvas, seed uint64, s float64) {
	for i := range 5 { // a fan
		a := s*4 + float64(i)*2*math.Pi/5
		c.line(500, 290, 500+math.Cos(a)*18, 290+math.Sin(a)*18, 6, rgb(0x2a2e34))
	}
	c.oval(500, 290, 4, 4, rgb(0x9aa0a6))
	if math.Mod(s, 2) < 1 {
		c.glow(300, 226, 20, rgb(0xff3a2a), 1)
	}
	passes(seed+5, 1, s, 760, 500, 16, func(d *dice, at float64) {
		y := d.float(36, 90)
		c.rect(at-60, y, 14, 1.6, rgb(0xdfe3ea))
		c.poly(rgb(0xdfe3ea), at-60, y, at-63, y-4, at-58, y)
		if math.Mod(s, 1.4) < 0.25 {
			c.glow(at-50, y, 9, rgb(0xffffff), 1)
		}
		c.line(at-62, y+0.8, at-190, y+2, 1.2, alpha(rgb(0xffe9d4), 0.35))
	})
	passes(seed+15, 4, s, 720, 200, 38, func(d *dice, at float64) { // birds
		y, f := d.float(90, 210)+9*math.Sin(at/40), math.Sin(s*8+d.float(0, 6))*3.4
		c.line(690-at, y, 696-at, y-f, 1.3, rgb(0x171a22))
		c.line(696-at, y-f, 702-at, y, 1.3, rgb(0x171a22))
	})
	d := newDice(seed + uint64(s/7)) // windows go on and off
	for range 8 {
		c.rect(math.Floor(d.float(10, 630)), math.Floor(d.float(250, 315)), 3.6, 4.6, rgb(0xffd98a))
	}
}
