package jpeg

import (
	"encoding/binary"
	"math/bits"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// An Encoder codes planes as baseline JPEG with the tables of T.81, Annex K: the
// way back for small pictures, straight from luma and chroma.
//
//	planes ──8x8──► transform ──quantise──► which are not zero ──Huffman──► bytes
//
// It holds tables alone: one picture is coded like any other. The zero Encoder is
// ready. It serves one caller at a time.
type Encoder struct {
	quality int // what the quantisers were made for
	quant   [2]quantiser
	codes   [4]codeTable // DC 0, DC 1, AC 0, AC 1, as in standardTables
	w       bitWriter
}

// quantiser divides coefficients of luma or chroma.
type quantiser struct {
	steps [64]byte // in coding order, as the segment has them
	// Of each coefficient, row by row: multiplying by scale and dropping 32 bits
	// divides by 8 times the step, as forward leaves 8 times the coefficient.
	scale, half [64]uint32
	bit         [64]uint64 // of its place in coding order
}

// codeTable holds, for each symbol, its Huffman code and the code's length.
type codeTable [256]struct {
	code   uint32
	length uint32
}

// The quantiser tables of T.81, Annex K.1, in coding order: luma and chroma.
var standardSteps = [2][64]byte{
	{
		16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40,
		26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
		56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87,
		95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
	},
	{
		17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
		99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
	},
}

// Encode appends pic to dst as a JPEG of the quality, 1 to 100 on libjpeg's scale.
// Chroma planes, if there are any, have half the width and height of luma, rounded
// up. Planes that are none, or of another size, are an internal error.
func (e *Encoder) Encode(dst []byte, pic *codec.Picture, quality int) ([]byte, error) {
	y := pic.Y
	half := func(p codec.Plane) bool { return p.Width == (y.Width+1)/2 && p.Height == (y.Height+1)/2 }
	color := pic.HasChroma()
	if !y.Valid() || y.Width > 65535 || y.Height > 65535 || color && !(half(pic.Cb) && half(pic.Cr)) || quality < 1 || quality > 100 {
		return dst, fleet.Errorf(fleet.CauseInternal, "jpeg: a picture of %dx%d, chroma of %dx%d, and quality %d cannot be coded",
			y.Width, y.Height, pic.Cb.Width, pic.Cb.Height, quality)
	}
	e.prepare(quality)
	e.w = bitWriter{out: e.headers(dst, y.Width, y.Height, color)}
	if color {
		e.color(pic)
	} else {
		e.gray(y)
	}
	e.w.finish()
	out := append(e.w.out, 0xFF, mEOI)
	e.w.out = nil
	return out, nil
}

// prepare makes the tables, once for each quality.
func (e *Encoder) prepare(quality int) {
	if e.quality == quality {
		return
	}
	e.quality = quality
	percent := 200 - 2*quality // libjpeg's jpeg_quality_scaling
	if quality < 50 {
		percent = 5000 / quality
	}
	for i := range e.quant {
		q := &e.quant[i]
		for k, v := range standardSteps[i] {
			step := min(max((int(v)*percent+50)/100, 1), 255)
			q.steps[k] = byte(step)
			at := zigzag[k]
			// Coefficients are below 2^15: so the quotient is exact.
			q.scale[at], q.half[at] = uint32(1<<32/uint64(8*step)+1), uint32(4*step)
			q.bit[at] = 1 << k
		}
	}
	for i, source := range standardTables {
		code, at := uint32(0), 16
		for length := uint32(1); length <= 16; length++ {
			for range source[length-1] {
				c := &e.codes[i][source[at]]
				c.code, c.length = code, length
				code++
				at++
			}
			code <<= 1
		}
	}
}

// headers appends all that stands before the coded data.
func (e *Encoder) headers(b []byte, width, height int, color bool) []byte {
	parts := 1
	if color {
		parts = 2
	}
	segment := func(marker byte, n int) { b = append(b, 0xFF, marker, byte((n+2)>>8), byte(n+2)) }
	b = append(b, 0xFF, mSOI)
	segment(mDQT, parts*65)
	for i := range parts {
		b = append(append(b, byte(i)), e.quant[i].steps[:]...)
	}
	segment(mSOF0, 6+3*(2*parts-1))
	b = append(b, 8, byte(height>>8), byte(height), byte(width>>8), byte(width), byte(2*parts-1))
	if color {
		b = append(b, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1)
	} else {
		b = append(b, 1, 0x11, 0)
	}
	size := 0
	for i, source := range standardTables {
		if i&1 < parts {
			size += 1 + len(source)
		}
	}
	segment(mDHT, size)
	for i := range parts {
		b = append(append(b, byte(i)), standardTables[i]...)
		b = append(append(b, byte(0x10|i)), standardTables[2+i]...)
	}
	segment(mSOS, 4+2*(2*parts-1))
	if color {
		return append(b, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0)
	}
	return append(b, 1, 1, 0x00, 0, 63, 0)
}

func (e *Encoder) gray(y codec.Plane) {
	dc := int32(0)
	for by := 0; by < y.Height; by += 8 {
		for bx := 0; bx < y.Width; bx += 8 {
			dc = e.block(y, bx, by, 0, dc)
		}
	}
}

func (e *Encoder) color(pic *codec.Picture) {
	var dc, cb, cr int32
	for by := 0; by < pic.Y.Height; by += 16 {
		for bx := 0; bx < pic.Y.Width; bx += 16 {
			dc = e.block(pic.Y, bx, by, 0, dc)
			dc = e.block(pic.Y, bx+8, by, 0, dc)
			dc = e.block(pic.Y, bx, by+8, 0, dc)
			dc = e.block(pic.Y, bx+8, by+8, 0, dc)
			cb = e.block(pic.Cb, bx/2, by/2, 1, cb)
			cr = e.block(pic.Cr, bx/2, by/2, 1, cr)
		}
	}
}

// block codes the block of a plane whose first sample is at x, y; which says by
// what tables. It returns the block's lowest coefficient, for the next difference.
func (e *Encoder) block(p codec.Plane, x, y, which int, before int32) (dc int32) {
	var b block
	load(p, x, y, &b)
	forward(&b)

	q := &e.quant[which]
	set := uint64(0) // a bit for each that is not zero, in coding order
	for i, v := range &b {
		sign := v >> 31
		n := int32(uint64(uint32((v^sign)-sign)+q.half[i]) * uint64(q.scale[i]) >> 32)
		b[i] = (n ^ sign) - sign
		set |= q.bit[i] & uint64(int64(-n)>>63)
	}

	w := &e.w
	dcs, acs := &e.codes[which], &e.codes[2+which]
	dc = b[0]
	size, extra := number(dc - before)
	c := dcs[size&255]
	w.put(c.code<<size|extra, uint(c.length+size))
	at := 0
	for set &^= 1; set != 0; set &= set - 1 {
		k := bits.TrailingZeros64(set)
		run := uint32(k - at - 1)
		at = k
		for ; run > 15; run -= 16 {
			w.put(acs[0xF0].code, uint(acs[0xF0].length))
		}
		size, extra := number(b[zigzag[k&63]&63])
		c := acs[(run<<4|size)&255]
		w.put(c.code<<size|extra, uint(c.length+size))
	}
	if at < 63 {
		w.put(acs[0].code, uint(acs[0].length))
	}
	return dc
}

// number is how JPEG codes a signed number behind its size: the lower half of the
// range means negative ones, T.81 F.1.2.1.
func number(v int32) (size, extra uint32) {
	sign := v >> 31
	size = uint32(bits.Len32(uint32((v ^ sign) - sign)))
	return size, uint32(v+sign) & (1<<size - 1)
}

// load reads 8x8 samples around zero. Beyond the picture its last row and
// column go on: what changes least takes the fewest bits.
func load(p codec.Plane, x, y int, b *block) {
	if x+8 <= p.Width && y+8 <= p.Height {
		for i := range 8 {
			row := binary.LittleEndian.Uint64(p.Pix[(y+i)*p.Stride+x:])
			r := (*[8]int32)(b[i*8:])
			r[0], r[1] = int32(row&255)-128, int32(row>>8&255)-128
			r[2], r[3] = int32(row>>16&255)-128, int32(row>>24&255)-128
			r[4], r[5] = int32(row>>32&255)-128, int32(row>>40&255)-128
			r[6], r[7] = int32(row>>48&255)-128, int32(row>>56)-128
		}
		return
	}
	for i := range b {
		row := p.Row(min(y+i/8, p.Height-1))
		b[i] = int32(row[min(x+i%8, p.Width-1)]) - 128
	}
}

// bitWriter puts bits together, highest first, and stuffs a zero behind each
// 0xFF, T.81 F.1.2.3.
type bitWriter struct {
	out []byte
	acc uint64
	n   uint // bits in acc, below 32
}

// put writes the n lowest bits of v, which has no others, n up to 32.
func (w *bitWriter) put(v uint32, n uint) {
	w.acc = w.acc<<(n&63) | uint64(v)
	if w.n += n; w.n >= 32 {
		w.spill()
	}
}

func (w *bitWriter) spill() {
	w.n -= 32
	v := uint32(w.acc >> (w.n & 63))
	w.out = binary.BigEndian.AppendUint32(w.out, v)
	if hasFF(uint64(v)) {
		w.out = w.out[:len(w.out)-4]
		for shift := 24; shift >= 0; shift -= 8 {
			w.stuff(byte(v >> shift))
		}
	}
}

func (w *bitWriter) stuff(c byte) {
	if w.out = append(w.out, c); c == 0xFF {
		w.out = append(w.out, 0)
	}
}

// finish fills the last byte with ones.
func (w *bitWriter) finish() {
	w.put(0x7F, 7)
	for ; w.n >= 8; w.n -= 8 {
		w.stuff(byte(w.acc >> (w.n - 8)))
	}
}
