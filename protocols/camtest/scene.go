package camtest

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"strings"
	"sync"
	"time"
)

// The size of all pictures.
const (
	Width  = 640
	Height = 360
)

// Scene names what a camera looks at.
type Scene string

// The scenes.
const (
	StreetDay   Scene = "street by day"
	StreetNight Scene = "street by night"
	Shelf       Scene = "shelf"
	Gate        Scene = "gate"
	Field       Scene = "field"
	Dock        Scene = "loading dock"
	Parking     Scene = "parking"
)

// painter draws one camera's pictures. What does not move is drawn once.
type painter struct {
	scene  Scene
	seed   uint32
	name   string
	mu     sync.Mutex
	still  canvas
	frozen []byte
}

func newPainter(s Scene, name string, seed uint32) *painter {
	p := &painter{scene: s, seed: seed, name: strings.ToUpper(name), still: newCanvas(Width, Height)}
	backdrop[s](p.still, seed)
	return p
}

var backdrop = map[Scene]func(canvas, uint32){
	StreetDay: func(c canvas, s uint32) { street(c, s, 0) }, StreetNight: func(c canvas, s uint32) { street(c, s, 1) },
	Shelf: shelf, Gate: gate, Field: field, Dock: dock, Parking: parking,
}

func street(c canvas, seed uint32, night float64) {
	dark := rgb(0x0b1020)
	c.fade(0, 190, mix(rgb(0x7fb2dd), dark, night*0.97), mix(rgb(0xd9e7ee), rgb(0x1b2440), night*0.95))
	x := -20
	for i := uint32(0); x < Width; i++ {
		w, h := 70+int(hash(i, 1, seed)%60), 70+int(hash(i, 2, seed)%80)
		wall := mix(rgb([]uint32{0xb5654a, 0xc9a27e, 0x8f9aa3, 0xd6c9ae, 0x9c7a5b}[hash(i, 3, seed)%5]), dark, night*0.78)
		c.rect(x, 200-h, x+w, 215, wall)
		c.rect(x, 200-h, x+w, 206-h, mix(wall, rgb(0x302a28), 0.6))
		for wy := 214 - h; wy < 180; wy += 24 {
			for wx := x + 9; wx < x+w-12; wx += 20 {
				glass := mix(rgb(0x5c7d92), rgb(0x10182a), night)
				if night > 0 && hash(uint32(wx), uint32(wy), seed)%3 == 0 {
					glass = rgb(0xf0c674)
				}
				c.rect(wx, wy, wx+10, wy+14, glass)
			}
		}
		x += w + int(hash(i, 4, seed)%8)
	}
	c.rect(0, 215, Width, 240, mix(rgb(0xa8a39a), dark, night*0.7))
	c.fade(240, Height, mix(rgb(0x55585c), dark, night*0.6), mix(rgb(0x3d4043), dark, night*0.7))
	for i := range 9 {
		c.quad(294, 20+i*78, 58+i*78, 300, 16+i*78, 58+i*78, mix(rgb(0xe8e4d8), dark, night*0.5))
	}
	for i := range 4 {
		px := 70 + i*165
		c.rect(px, 120, px+4, 232, rgb(0x2b2f33))
		c.rect(px-12, 116, px+16, 122, rgb(0x2b2f33))
		if night > 0 {
			c.glow(px+2, 124, 90, rgb(0xffdf9e), 0.75)
			c.glow(px+2, 250, 110, rgb(0xffdf9e), 0.35)
		}
	}
	c.grain(0, 0, Width, Height, 5, seed)
}

func (c canvas) car(x, y int, paint uint32, night bool, left bool) {
	col := rgb(paint)
	if night {
		col = mix(col, rgb(0x0b1020), 0.55)
	}
	c.rect(x, y+14, x+84, y+34, col)
	c.quad(y, x+24, x+60, y+15, x+14, x+70, col)
	c.quad(y+3, x+27, x+57, y+14, x+19, x+65, rgb(0x2c3a46))
	c.disc(x+18, y+34, 8, rgb(0x17181a))
	c.disc(x+66, y+34, 8, rgb(0x17181a))
	if night {
		front, rear := x+84, x
		if left {
			front, rear = x, x+84
		}
		c.glow(front, y+22, 46, rgb(0xfff6d8), 0.9)
		c.glow(rear, y+22, 20, rgb(0xff3020), 0.9)
	}
}

var paints = []uint32{0xb23a3a, 0x2f5d8a, 0xdadada, 0x2a2c2e, 0x3c7a57, 0xc79a2d}

// traffic moves with the clock.
func traffic(c canvas, seed uint32, t float64, night bool) {
	for lane := range 2 {
		for i := range 3 {
			speed := 55.0 + float64(hash(uint32(i), uint32(lane), seed)%45)
			off := float64(hash(uint32(i), uint32(lane)+7, seed) % 1400)
			x := math.Mod(t*speed+off, Width+400) - 200
			if lane == 0 {
				x = Width - x
			}
			c.car(int(x), 236+lane*66, paints[hash(uint32(i), uint32(lane)+3, seed)%6], night, lane == 0)
		}
	}
}

func shelf(c canvas, seed uint32) {
	c.fade(0, Height, rgb(0xe9e6df), rgb(0xcfcac0))
	for row := range 4 {
		y := 22 + row*86
		c.rect(0, y+68, Width, y+78, rgb(0x8b8478))
		c.rect(0, y+78, Width, y+82, rgb(0xf4d35e))
	}
	c.grain(0, 0, Width, Height, 4, seed)
}

// goods stand on the shelf; some are taken, and filled up again every minute.
func goods(c canvas, seed uint32, t float64) {
	minute := uint32(t) / 60
	second := uint32(t) % 60
	for row := range uint32(4) {
		x := 10
		for i := uint32(0); x < Width-30; i++ {
			w := 24 + int(hash(i, row, seed)%20)
			h := 38 + int(hash(i, row+9, seed)%26)
			col := rgb([]uint32{0xd1495b, 0xedae49, 0x00798c, 0x30638e, 0x66a182, 0x8d6a9f}[hash(i/2, row, seed+1)%6])
			base := 90 + int(row)*86
			if hash(i, row, seed+minute)%100 > second { // not taken yet
				c.rect(x, base-h, x+w, base, col)
				c.rect(x+3, base-h+8, x+w-3, base-h+20, rgb(0xf7f4ec))
				c.rect(x+5, base-h+12, x+w-7, base-h+15, rgb(0x444444))
			}
			x += w + 6
		}
	}
}

func gate(c canvas, seed uint32) {
	c.fade(0, 150, rgb(0x9cc3dd), rgb(0xe6eef0))
	c.fade(150, Height, rgb(0x8d9488), rgb(0x6f7268))
	c.quad(170, 220, 420, Height, 60, 580, rgb(0x5e6163))
	for x := 0; x < Width; x += 26 {
		if x < 190 || x > 440 {
			c.rect(x, 100, x+4, 190, rgb(0x4b5358))
		}
	}
	c.rect(0, 112, 200, 118, rgb(0x4b5358))
	c.rect(440, 112, Width, 118, rgb(0x4b5358))
	c.rect(196, 84, 214, 210, rgb(0x9a5c40))
	c.rect(428, 84, 446, 210, rgb(0x9a5c40))
	c.rect(462, 150, 520, 214, rgb(0xd8d2c4))
	c.rect(470, 160, 512, 186, rgb(0x3f5a6b))
	c.grain(0, 0, Width, Height, 6, seed)
}

// passage opens the gate for a lorry every 20 seconds.
func passage(c canvas, seed uint32, t float64) {
	ph := math.Mod(t+float64(seed%20), 20)
	open := math.Max(0, math.Min(1, math.Min((ph-4)/2, (16-ph)/2)))
	if ph > 6 && ph < 15 {
		s := (ph - 6) / 9
		w := int(70 + 150*s)
		x, y := 320-w/2, int(150+120*s)
		c.rect(x, y-w/2, x+w, y+w/4, rgb(0xd9d4c7))
		c.rect(x+w/8, y-w/2-w/6, x+w-w/8, y-w/2, rgb(0x2f5d8a))
		c.disc(x+w/5, y+w/4, w/10, rgb(0x17181a))
		c.disc(x+w-w/5, y+w/4, w/10, rgb(0x17181a))
	}
	for side := -1; side <= 1; side += 2 {
		edge := 321 + side*int(106*open)
		for i := range 7 {
			x := edge + side*i*15
			if x > 212 && x < 430 {
				c.rect(x-3, 96, x+3, 204, rgb(0x2f3b40))
			}
		}
		c.rect(min(edge, 321+side*106), 104, max(edge, 321+side*106), 112, rgb(0x2f3b40))
		c.rect(min(edge, 321+side*106), 186, max(edge, 321+side*106), 194, rgb(0x2f3b40))
	}
}

func field(c canvas, seed uint32) {
	c.fade(0, 150, rgb(0x86b9e0), rgb(0xe9efe6))
	for x := range Width {
		h := 128 + int(14*math.Sin(float64(x)/90+float64(seed%7))+8*math.Sin(float64(x)/37))
		c.rect(x, h, x+1, 160, rgb(0x6d8f75))
	}
	c.fade(152, Height, rgb(0x9cb35a), rgb(0x5f7d33))
	for i := -9; i <= 9; i++ {
		c.quad(156, 320+i*18, 324+i*18, Height, 320+i*120, 344+i*120, rgb(0x7a5d38))
	}
	c.grain(0, 150, Width, Height, 12, seed)
}

func weather(c canvas, seed uint32, t float64) {
	for i := range uint32(5) {
		x := int(math.Mod(t*float64(4+hash(i, 1, seed)%6)+float64(hash(i, 2, seed)%900), Width+240)) - 120
		y := 24 + int(hash(i, 3, seed)%70)
		for k := range 4 {
			c.glow(x+k*26, y+(k%2)*8, 40, rgb(0xffffff), 0.85)
		}
	}
	tx := int(math.Mod(t*14+float64(seed%500), Width+200)) - 100
	c.rect(tx, 196, tx+34, 218, rgb(0xc0392b))
	c.rect(tx+18, 180, tx+34, 198, rgb(0x34495e))
	c.disc(tx+8, 220, 8, rgb(0x17181a))
	c.disc(tx+28, 218, 11, rgb(0x17181a))
}

func dock(c canvas, seed uint32) {
	c.fade(0, 210, rgb(0xb9bfc4), rgb(0xa4abb0))
	for i := range 3 {
		x := 50 + i*200
		c.rect(x-10, 50, x+150, 214, rgb(0x444c52))
		c.rect(x, 60, x+140, 210, rgb(0xd5d9db))
		for y := 66; y < 208; y += 18 {
			c.rect(x, y, x+140, y+2, rgb(0x9aa3a8))
		}
		c.text(x+58, 22, 3, fmt.Sprint(i+1), rgb(0xf4d35e))
	}
	c.fade(214, Height, rgb(0x7c7f80), rgb(0x5f6263))
	for i := range 22 {
		c.quad(222, i*30, i*30+15, 232, i*30-10, i*30+5, rgb(0xf4d35e))
	}
	c.grain(0, 0, Width, Height, 5, seed)
}

func loading(c canvas, seed uint32, t float64) {
	x := int(320 + 270*math.Sin(t/5+float64(seed%9)))
	c.rect(x, 250, x+60, 300, rgb(0xe08e2b))
	c.rect(x+12, 214, x+16, 252, rgb(0x2b2f33))
	c.rect(x+48, 214, x+52, 252, rgb(0x2b2f33))
	c.rect(x+10, 212, x+54, 218, rgb(0x2b2f33))
	c.disc(x+12, 302, 11, rgb(0x17181a))
	c.disc(x+50, 302, 11, rgb(0x17181a))
	load := 1 + int(t/10+float64(seed%3))%3
	for i := range load {
		c.rect(x+66, 284-i*26, x+106, 306-i*26, rgb(0xa9743f))
		c.rect(x+66, 294-i*26, x+106, 297-i*26, rgb(0xd9b382))
	}
}

func parking(c canvas, seed uint32) {
	c.fade(0, 60, rgb(0x6f8f6a), rgb(0x86a07c))
	c.fade(60, Height, rgb(0x6a6d70), rgb(0x525558))
	for row := range 2 {
		for i := range 7 {
			x := 30 + i*96
			c.rect(x, 74+row*150, x+3, 164+row*150, rgb(0xe8e4d8))
		}
	}
	c.grain(0, 0, Width, Height, 6, seed)
}

func parked(c canvas, seed uint32, t float64) {
	quarter := uint32(t / 20)
	for row := range uint32(2) {
		for i := range uint32(6) {
			if hash(i, row, seed+quarter/(1+i%3))%10 < 6 {
				c.car(38+int(i)*96, 96+int(row)*150, paints[hash(i, row, seed)%6], false, false)
			}
		}
	}
}

// draw paints the scene at a moment, with the faults that a lens can have.
func (p *painter) draw(at time.Time, faults faultSet) canvas {
	c := newCanvas(Width, Height)
	copy(c.Pix, p.still.Pix)
	t := float64(at.UnixMilli()%86_400_000) / 1000
	switch p.scene {
	case StreetDay, StreetNight:
		traffic(c, p.seed, t, p.scene == StreetNight)
	case Shelf:
		goods(c, p.seed, t)
	case Gate:
		passage(c, p.seed, t)
	case Field:
		weather(c, p.seed, t)
	case Dock:
		loading(c, p.seed, t)
	case Parking:
		parked(c, p.seed, t)
	}
	c = faults.spoil(c)
	c.text(12, 10, 2, p.name, rgb(0xffffff))
	c.text(Width-12-12*19, Height-24, 2, at.UTC().Format("2006-01-02 15:04:05"), rgb(0xffffff))
	return c
}

// jpeg encodes the picture of a moment.
func (p *painter) jpeg(at time.Time, faults faultSet) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if faults[Frozen] && p.frozen != nil {
		return p.frozen
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p.draw(at, faults).RGBA, &jpeg.Options{Quality: 82}); err != nil {
		panic(err) // a bytes.Buffer does not fail, and the picture has a size
	}
	p.frozen = b.Bytes()
	return p.frozen
}

// Draw returns the picture that a camera of this scene takes at a moment.
func Draw(s Scene, name string, seed uint32, at time.Time) image.Image {
	return newPainter(s, name, seed).draw(at, nil).RGBA
}
