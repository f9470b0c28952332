package camtest

import (
	"image/color"
	"math"
)

// shelfBack draws a shop's shelves, empty but for labels.
func shelfBack(c *canvas, seed uint64, _ float64) {
	c.fade(0, 0, unitsWide, 360, rgb(0xe4e2dc), rgb(0xbdbab2))
	c.rect(0, 0, unitsWide, 26, rgb(0x3c4a44))
	for x := 30.0; x < 640; x += 200 {
		c.round(x, 6, 130, 12, 4, rgb(0xf3f1e6))
	}
	for row := range 4 {
		y := shelfFloor(row)
		c.fade(0, y-72, unitsWide, 72, rgb(0xa9a69d), rgb(0xcac7be))
		c.rect(0, y, unitsWide, 9, rgb(0xe9e7e0))
		c.rect(0, y+8, unitsWide, 2, rgb(0x8d8a82))
		d := newDice(seed + uint64(row)*101)
		for x := 12.0; x < 630; x += 52 {
			c.rect(x, y+1, 26, 6.5, rgb(pick(d, uint32(0xfff6c8), 0xffffff, 0xfff6c8, 0xf6c04d)))
			c.rect(x+3, y+3, 12, 1, rgb(0x55534d))
			c.rect(x+3, y+5, 8, 1, rgb(0x8a877f))
		}
	}
	c.rect(0, 26, 7, 334, rgb(0x77746c))
	c.rect(633, 26, 7, 334, rgb(0x77746c))
	c.rect(318, 26, 5, 334, rgb(0x8a877f))
	c.grain(0, 0, unitsWide, 360, 3, seed)
}

func shelfFloor(row int) float64 { return 102 + 80*float64(row) }

// shelfFront sets out the goods. Each place empties item by item and is
// filled up again, out of step with the others.
func shelfFront(c *canvas, seed uint64, s float64) {
	for row := range 4 {
		d := newDice(seed + uint64(row)*977)
		for x := 14.0; x < 600; {
			kind, w, h := d.n(4), d.float(15, 24), d.float(38, 62)
			col := rgb(pick(d, uint32(0xc0392b), 0x2d6a9f, 0x3f8f5a, 0xe0a526, 0x7b4a8c, 0xd9d4c5, 0x1f7a7a, 0xb5562b))
			places := 2 + d.n(4)
			pace, shift := d.float(25, 80), d.float(0, 400)
			if x < 323 && x+float64(places)*(w+2) > 316 {
				x = 326
			}
			gone := math.Mod(s+shift, pace*float64(places+1)) / (pace * float64(places+1))
			left := places - int(gone*gone*float64(places+1)) // slowly at first
			for i := range places {
				gx := x + float64(i)*(w+2)
				if i < left && gx+w < 632 {
					goods(c, kind, gx, shelfFloor(row), w, h, col)
				}
			}
			x += float64(places)*(w+2) + d.float(1, 6)
		}
	}
	passes(seed+3, 1, s, 900, 700, 55, func(d *dice, at float64) { // a customer, close to the camera
		x := at - 130
		coat := rgb(coats[d.n(len(coats))])
		c.round(x-48, 190, 96, 220, 40, coat)
		c.round(x-64, 220, 30, 150, 14, shade(coat, -0.2))
		c.oval(x, 160, 28, 33, rgb(0xd2a680))
		c.oval(x-2, 146, 30, 24, rgb(0x3b2c22))
	})
}

func goods(c *canvas, kind int, x, y, w, h float64, col color.RGBA) {
	switch kind {
	case 0: // bottle
		c.round(x+1, y-h*0.62, w-2, h*0.62, 4, col)
		c.round(x+w*0.34, y-h, w*0.32, h*0.5, 2, col)
		c.rect(x+w*0.34, y-h, w*0.32, 4, shade(col, 0.6))
		c.rect(x+2, y-h*0.45, w-4, h*0.22, shade(col, 0.75))
	case 1: // box
		c.fade(x, y-h, w, h, shade(col, 0.08), shade(col, -0.12))
		c.rect(x+w-2, y-h, 2, h, shade(col, -0.3))
		c.rect(x+3, y-h*0.8, w-8, h*0.3, shade(col, 0.65))
		c.rect(x+3, y-h*0.35, w-10, 2.5, shade(col, 0.5))
	case 2: // tin
		c.rect(x, y-h*0.6, w, h*0.6, rgb(0xb9bcbf))
		c.fade(x, y-h*0.54, w, h*0.46, shade(col, 0.1), shade(col, -0.1))
		c.oval(x+w/2, y-h*0.6, w/2, 2.5, rgb(0xdadcde))
		c.oval(x+w/2, y-h*0.3, w*0.28, w*0.28, shade(col, 0.7))
	default: // carton with a gable
		c.rect(x, y-h*0.75, w, h*0.75, shade(col, 0.55))
		c.poly(shade(col, 0.35), x, y-h*0.75, x+w*0.2, y-h, x+w*0.8, y-h, x+w, y-h*0.75)
		c.rect(x, y-h*0.4, w, h*0.2, col)
	}
}

// gateBack draws a works entrance: hall, fence, drive, and the gate's posts.
func gateBack(c *canvas, seed uint64, s float64) {
	d := newDice(seed)
	c.fade(0, 0, unitsWide, 190, rgb(0x86b0d8), rgb(0xe6e6dc))
	clouds(c, newDice(seed+5), s, 10, 60, 4, 0.9)
	for x := -20.0; x < 640; x += d.float(18, 36) {
		tree(c, d, x, 190, d.float(40, 70), pick(d, uint32(0x57804a), 0x668f52, 0x4a6f47))
	}
	wall := rgb(pick(d, uint32(0xb9c2c7), 0xc7bda8, 0xa9b7ae))
	c.fade(330, 96, 330, 100, wall, shade(wall, -0.12))
	for x := 330.0; x < 640; x += 8 {
		c.rect(x, 96, 1, 100, alpha(rgb(0), 0.08))
	}
	c.rect(326, 90, 320, 8, shade(wall, -0.4))
	for x := 350.0; x < 620; x += 74 {
		c.rect(x, 128, 46, 18, rgb(0x5d7482))
		c.rect(x+22, 128, 2, 18, wall)
	}
	c.fade(0, 186, unitsWide, 174, rgb(0x8b9a6b), rgb(0x77875a))
	c.poly(rgb(0x7d7f80), 236, 190, 404, 190, 590, 360, 50, 360)
	c.grain(0, 186, unitsWide, 174, 6, seed)
	c.line(320, 192, 320, 360, 2, alpha(rgb(0xe9e6d8), 0.5))
	for _, side := range [][2]float64{{-10, 200}, {440, 650}} { // the fence
		for x := side[0]; x < side[1]; x += 7 {
			c.rect(x, 196, 1.2, 62, rgb(0x5c666a))
		}
		c.rect(side[0], 198, side[1]-side[0], 2.5, rgb(0x4b5458))
		c.rect(side[0], 250, side[1]-side[0], 2.5, rgb(0x4b5458))
	}
	c.fade(34, 176, 84, 92, rgb(0xe2ddcf), rgb(0xc3bdae)) // the porter's lodge
	c.rect(28, 168, 96, 10, rgb(0x4d5559))
	c.fade(46, 192, 60, 30, rgb(0x8fb0c0), rgb(0x5f8094))
	c.rect(75, 192, 2, 30, rgb(0xe2ddcf))
	for _, x := range []float64{186, 436} {
		c.fade(x, 176, 18, 96, rgb(0x8a5f4c), rgb(0x6d4a3c))
		c.rect(x-2, 170, 22, 7, rgb(0x55504b))
	}
}

// gateFront lets a lorry through once a minute: lights, gate, lorry, gate.
func gateFront(c *canvas, seed uint64, s float64) {
	const cycle = 48
	t := math.Mod(s+float64(seed%cycle), cycle)
	open := smooth((t-4)/6) - smooth((t-30)/6)
	lorry := (t - 12) / 16
	if lorry > 0 && lorry < 0.5 {
		approach(c, seed+uint64(s/cycle), lorry)
	}
	w := 232.0 // sliding leaf
	x := 204 + open*w*0.93
	c.rect(x, 192, w, 3.5, rgb(0x35576b))
	c.rect(x, 262, w, 5, rgb(0x35576b))
	for i := 0.0; i <= w; i += 9 {
		c.rect(x+i, 192, 2.2, 72, rgb(0x3f667d))
	}
	c.line(x+4, 262, x+w-4, 195, 2.5, rgb(0x35576b))
	c.rect(436, 176, 18, 96, rgb(0x79523f)) // the post hides the end
	c.rect(434, 170, 22, 7, rgb(0x55504b))
	if lorry >= 0.5 && lorry < 1.2 {
		approach(c, seed+uint64(s/cycle), lorry)
	}
	lamp, dark := rgb(0xe04030), rgb(0x1f5a30)
	if open > 0.95 {
		lamp, dark = rgb(0x551a16), rgb(0x40e070)
	}
	c.round(190, 150, 10, 20, 3, rgb(0x22262a))
	c.oval(195, 155, 3.4, 3.4, lamp)
	c.oval(195, 165, 3.4, 3.4, dark)
	if open > 0.02 && open < 0.98 && math.Mod(s, 1) < 0.5 {
		c.glow(445, 165, 26, rgb(0xffa830), 1)
	}
	c.oval(445, 166, 4, 4, rgb(0xd98820))
	if t > 36 {
		person(c, 120+(t-36)*9, 300, 58, s*6, 0xd98f20, 0x2d3a52)
	}
}

// approach draws a lorry from the front, nearer with f from 0 to 1.2.
func approach(c *canvas, seed uint64, f float64) {
	d := newDice(seed)
	col := rgb(pick(d, uint32(0xc24a35), 0x2f66a0, 0xe4e1d8, 0x3d7a58, 0xd9a62e))
	k := 0.34 + f*f*0.9
	y := 214 + f*150
	x := 320 + f*18
	c.oval(x, y, 60*k, 8*k, alpha(rgb(0), 0.35))
	c.fade(x-52*k, y-138*k, 104*k, 120*k, shade(rgb(0xe9e9e6), 0), rgb(0xc9c9c4))
	c.round(x-46*k, y-96*k, 92*k, 86*k, 8*k, col)
	c.fade(x-40*k, y-88*k, 80*k, 34*k, rgb(0x9fb8c4), rgb(0x4b6473))
	c.rect(x-40*k, y-40*k, 80*k, 16*k, shade(col, -0.45))
	for i := range 4 {
		c.rect(x-38*k, y-38*k+float64(i)*3.6*k, 76*k, 1.4*k, shade(col, 0.2))
	}
	c.rect(x-48*k, y-20*k, 96*k, 12*k, rgb(0x2c2f33))
	c.rect(x-17*k, y-17*k, 34*k, 7*k, rgb(0xf0eede))
	for _, side := range []float64{-1, 1} {
		c.oval(x+side*38*k, y-14*k, 5*k, 4*k, rgb(0xfff7d8))
		c.rect(x+side*38*k-9*k, y-9*k, 18*k, 11*k, rgb(0x15171a))
		c.rect(x+side*54*k-4*k, y-84*k, 8*k, 24*k, rgb(0x25282c))
	}
}

// smooth goes from 0 to 1 with f, easing in and out.
func smooth(f float64) float64 {
	f = min(max(f, 0), 1)
	return f * f * (3 - 2*f)
}

// fieldBack draws hills, crops and clouds with their shadows.
func fieldBack(c *canvas, seed uint64, s float64) {
	d := newDice(seed)
	c.fade(0, 0, unitsWide, 200, rgb(0x5f9bd8), rgb(0xe3eef2))
	c.glow(500, 50, 84, rgb(0xfff3c8), 0.45)
	clouds(c, newDice(seed+5), s, 16, 80, 7, 1)
	for layer, col := range []uint32{0x8aa7a8, 0x7d9c7c, 0x6f9160} {
		p := (&path{}).move(0, 240)
		for x := 0.0; x <= 650; x += 10 {
			f := float64(layer)
			p.line(x, 168+f*14-16*math.Sin(x/(120-f*22)+f*1.7+float64(seed%7))-6*math.Sin(x/41+f))
		}
		c.fill(p.line(650, 260).line(0, 260), rgb(col))
	}
	crops := []uint32{0xc9b458, 0x8fa84e, 0xb7a04c, 0x7c9a48, 0xd6c36a, 0x98ad58}
	for i := range 9 { // strips towards the horizon
		a, b := -520+float64(i)*180, -520+float64(i+1)*180
		top := func(v float64) float64 { return 320 + (v-320)*0.16 }
		c.poly(rgb(crops[(i+int(seed%6))%6]), top(a), 204, top(b), 204, b, 362, a, 362)
		for j := 1; j < 8; j++ {
			v := a + (b-a)*float64(j)/8
			c.line(top(v), 204, v, 362, 0.9, alpha(rgb(0x3a4420), 0.22))
		}
	}
	c.grain(0, 204, unitsWide, 156, 7, seed)
	for x := d.float(0, 40); x < 640; x += d.float(40, 130) {
		tree(c, d, x, 208, d.float(18, 34), 0x4f7440)
	}
	sd := newDice(seed + 5)
	for range 4 { // shadows of clouds
		x := math.Mod(sd.float(0, 1100)+s*5, 1100) - 230
		c.oval(x, sd.float(230, 340), sd.float(90, 150), sd.float(8, 18), alpha(rgb(0x18220c), 0.2))
	}
}

// fieldFront drives a tractor up and down and keeps an irrigator turning.
func fieldFront(c *canvas, seed uint64, s float64) {
	t := math.Mod(s*11+float64(seed%500), 1400)
	x, dir := t-30, 1.0
	if t > 700 {
		x, dir = 1370-t, -1
	}
	y := 276.0
	m := func(u float64) float64 { return x + dir*u }
	c.oval(x, y+1, 34, 4, alpha(rgb(0), 0.3))
	for i := range 6 { // dust
		c.oval(m(-40-float64(i)*11), y-4-float64(i)*1.8, 8+float64(i)*2.6, 4+float64(i), alpha(rgb(0xb8a578), 0.3-0.045*float64(i)))
	}
	c.poly(rgb(0x2f7a3c), m(-14), y-10, m(-14), y-24, m(30), y-22, m(32), y-10)
	c.poly(rgb(0x22592c), m(-16), y-24, m(-12), y-44, m(8), y-44, m(11), y-24)
	c.poly(rgb(0xa9c8d4), m(-12), y-26, m(-9), y-41, m(6), y-41, m(8), y-26)
	c.line(m(22), y-22, m(22), y-38, 2.2, rgb(0x2a2a2a))
	c.oval(m(-12), y-12, 13, 13, rgb(0x1b1c1e))
	c.oval(m(-12), y-12, 6, 6, rgb(0xd9b52e))
	c.oval(m(25), y-7, 8, 8, rgb(0x1b1c1e))
	c.oval(m(25), y-7, 3.5, 3.5, rgb(0xd9b52e))
	c.rect(min(m(-44), m(-28)), y-8, 16, 6, rgb(0x9a3a2c))
	a := s * 0.7
	for i := range 7 { // water
		f := float64(i) / 7
		c.oval(130+math.Cos(a)*70*f, 318-42*f*(1.4-f)+10*f*f, 1.5+4*f, 1+2.4*f, alpha(rgb(0xeaf4fa), 0.65-0.5*f))
	}
	c.rect(128.5, 316, 3, 22, rgb(0x4a5054))
	passes(seed+9, 3, s, 760, 500, 32, func(d *dice, at float64) { // birds
		y, f := d.float(40, 130)+6*math.Sin(at/30), math.Sin(s*7+d.float(0, 6))*3
		c.line(at-60, y, at-54, y-f, 1, rgb(0x2b3036))
		c.line(at-54, y-f, at-48, y, 1, rgb(0x2b3036))
	})
}
