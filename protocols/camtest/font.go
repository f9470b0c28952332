package camtest

import "image/color"

// glyphOrder and glyphs are the bitmap font of the overlay, 5x7 dots; lower
// case is written in capitals.
const glyphOrder = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-:./ "

// Each glyph is seven rows of five bits, the leftmost dot highest.
var glyphs = [len(glyphOrder)][7]uint8{
	{0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110}, // 0
	{0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110},
	{0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111},
	{0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110},
	{0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010},
	{0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110},
	{0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110},
	{0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000},
	{0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110},
	{0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100},
	{0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001}, // A
	{0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110},
	{0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110},
	{0b11100, 0b10010, 0b10001, 0b10001, 0b10001, 0b10010, 0b11100},
	{0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111},
	{0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b10000},
	{0b01110, 0b10001, 0b10000, 0b10111, 0b10001, 0b10001, 0b01111},
	{0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001},
	{0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110},
	{0b00111, 0b00010, 0b00010, 0b00010, 0b00010, 0b10010, 0b01100},
	{0b10001, 0b10010, 0b10100, 0b11000, 0b10100, 0b10010, 0b10001},
	{0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111},
	{0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001},
	{0b10001, 0b11001, 0b10101, 0b10011, 0b10001, 0b10001, 0b10001},
	{0b01110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110},
	{0b11110, 0b10001, 0b10001, 0b11110, 0b10000, 0b10000, 0b10000},
	{0b01110, 0b10001, 0b10001, 0b10001, 0b10101, 0b10010, 0b01101},
	{0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001},
	{0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110},
	{0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100},
	{0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01110},
	{0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b01010, 0b00100},
	{0b10001, 0b10001, 0b10001, 0b10101, 0b10101, 0b11011, 0b10001},
	{0b10001, 0b10001, 0b01010, 0b00100, 0b01010, 0b10001, 0b10001},
	{0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100},
	{0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b10000, 0b11111},
	{0, 0, 0, 0b01110, 0, 0, 0},                                     // -
	{0, 0b00100, 0, 0, 0, 0b00100, 0},                               // :
	{0, 0, 0, 0, 0, 0b01100, 0b01100},                               // .
	{0b00001, 0b00010, 0b00010, 0b00100, 0b01000, 0b01000, 0b10000}, // /
	{},
}

// text writes s in capitals with dots of size units; what the font lacks is
// left blank. It returns the width.
func (c *canvas) text(x, y, size float64, col color.RGBA, s string) float64 {
	at := x
	for _, r := range s {
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		for i, g := range glyphOrder {
			if g != r {
				continue
			}
			for row, bits := range glyphs[i] {
				for dot := range 5 {
					if bits&(1<<(4-dot)) != 0 {
						c.rect(at+float64(dot)*size, y+float64(row)*size, size, size, col)
					}
				}
			}
		}
		at += 6 * size
	}
	return at - x
}

// overlay writes a camera's name and clock in the corners, white on a shadow.
func (c *canvas) overlay(name, clock string) {
	const size = 1.5
	low := c.tall() - 7*size - 6
	write := func(x, y float64, s string) {
		w := float64(len(s)) * 6 * size
		c.round(x-5, y-4, w+8, 7*size+8, 3, alpha(rgb(0), 0.45))
		c.text(x, y, size, rgb(0xf4f4f0), s)
	}
	write(10, 8, clock)
	write(10, low, name)
}
