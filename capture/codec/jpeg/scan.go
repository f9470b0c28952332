package jpeg

import (
	"context"
	"image/color"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// zigzag is the row-by-row place of each coefficient in coding order.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

func ycc(r, g, b byte) (y, cb, cr byte) { return color.RGBToYCbCr(r, g, b) }

// spectrum is what a scan of a progressive picture brings: coefficients from
// to until, from bit high (0: for the first time) down to bit low.
type spectrum struct {
	from, until int
	high, low   uint
}

// scan reads one scan whose data begins at pos and returns where to go on.
func (d *Decoder) scan(ctx context.Context, b []byte, pos int, pic *codec.Picture) (int, error) {
	if !d.frame {
		return 0, codec.Corrupt("the JPEG has a scan before its frame header")
	}
	if len(b) < 1 || len(b) < 1+2*int(b[0])+3 {
		return 0, codec.Corrupt("the JPEG's scan header is too short")
	}
	n := int(b[0])
	if n < 1 || n > len(d.used) {
		return 0, codec.Corrupt("a scan of the JPEG has %d components", n)
	}
	var comps [3]*component
	wanted := false
	for i := range n {
		c := d.component(int(b[1+2*i]))
		if c == nil {
			return 0, codec.Corrupt("a scan of the JPEG names an unknown component")
		}
		for _, other := range comps[:i] {
			if other == c {
				return 0, codec.Corrupt("a scan of the JPEG names a component twice")
			}
		}
		comps[i] = c
		sel := b[2+2*i]
		if sel>>4 > 3 || sel&15 > 3 {
			return 0, codec.Corrupt("a scan of the JPEG names an unknown Huffman table")
		}
		c.dcTable, c.acTab = d.tables[0][sel>>4], d.tables[1][sel&15]
		wanted = wanted || c.wanted
	}
	tail := b[1+2*n:]
	s := spectrum{from: int(tail[0]), until: int(tail[1]), high: uint(tail[2] >> 4), low: uint(tail[2] & 15)}
	if !d.progressive {
		s = spectrum{until: 63}
	} else if s.from > s.until || s.until > 63 || s.from == 0 && s.until != 0 || s.from > 0 && n != 1 ||
		s.low > 13 || s.high != 0 && s.high != s.low+1 {
		return 0, codec.Corrupt("a scan of the JPEG has an impossible range of coefficients")
	}
	if !wanted || s.from > 0 && comps[0].side == 1 && (comps[0] != &d.used[0] || d.opts.Detail == nil) {
		return pos, nil // nothing in it that anybody asked for
	}
	for _, c := range comps[:n] {
		if err := d.ready(c, s, pos, pic); err != nil {
			return 0, err
		}
		if !d.progressive && (!c.wanted || c.side < 8) {
			c.acTab.fillSkips()
		}
	}
	d.r.start(pos)
	if err := d.walk(ctx, comps[:n], s); err != nil {
		return 0, err
	}
	return d.r.pos, nil
}

func (d *Decoder) component(id int) *component {
	for i := range d.used {
		if d.used[i].id == id {
			return &d.used[i]
		}
	}
	return nil
}

// ready checks that a component can be scanned and takes its memory, the first
// time that a scan brings it.
func (d *Decoder) ready(c *component, s spectrum, pos int, pic *codec.Picture) error {
	if s.from == 0 && s.high == 0 && c.dcTable == nil || s.until > 0 && c.acTab == nil {
		return codec.Corrupt("a scan of the JPEG uses a Huffman table that is not there")
	}
	if !c.wanted {
		return nil
	}
	if c.latched {
		if s.from == 0 && s.high == 0 {
			return codec.Corrupt("the JPEG brings a component twice")
		}
		if !c.seen {
			return codec.Corrupt("the JPEG's scans are out of order")
		}
		return nil
	}
	if s.from > 0 || s.high > 0 {
		return codec.Corrupt("the JPEG's scans are out of order")
	}
	// The shortest block is one bit for its lowest coefficient, and another
	// for the end of block. Data that is shorter cannot be this picture.
	least := c.blocksX * c.blocksY
	if !d.progressive {
		least *= 2
	}
	if (len(d.r.data)-pos)*8 < least {
		return codec.Corrupt("the JPEG is cut off: %d bytes cannot hold %dx%d pixels", len(d.r.data)-pos, d.width, d.height)
	}
	if !d.hasQ[c.tq] {
		return codec.Corrupt("the JPEG lacks quantiser table %d", c.tq)
	}
	for k, q := range d.quant[c.tq] {
		c.quant[k] = int32(q)
	}
	if d.progressive {
		c.per = 64
		if c.side == 1 && (c != &d.used[0] || d.opts.Detail == nil) {
			c.per = 1
		}
		n := c.paddedX * c.paddedY * c.per
		if cap(c.coefs) < n {
			c.coefs = make([]int16, n)
		} else {
			c.coefs = c.coefs[:n]
			clear(c.coefs)
		}
	}
	switch c {
	case &d.used[0]:
		c.plane = &pic.Y
	case &d.used[1]:
		c.plane = &pic.Cb
	default:
		c.plane = &pic.Cr
	}
	w, h := d.size(c)
	c.plane.Resize(divUp(w*c.side, 8), c.paddedY*c.side, c.paddedX*c.side)
	c.plane.Height = divUp(h*c.side, 8)
	c.latched = true
	return nil
}

func (d *Decoder) block(c *component, bx, by int, s spectrum) error {
	if d.progressive {
		return d.refine(c, bx, by, s)
	}
	detail := d.opts.Detail != nil && c == &d.used[0]
	if !c.wanted || c.side == 1 && !detail {
		if !d.skip(c) {
			return errBroken
		}
		if c.wanted {
			c.plane.Pix[by*c.plane.Stride+bx] = level(c.dc * c.quant[0])
		}
		return nil
	}
	var b block
	limit := needed[c.side]
	if detail {
		limit = 63
	}
	last, ok := d.baseline(c, &b, limit)
	if !ok {
		return errBroken
	}
	if detail && bx < c.blocksX && by < c.blocksY { // else it only fills up an MCU
		d.detail.add(&b, last)
	}
	put(&b, last, c.side, c.plane.Pix[by*c.side*c.plane.Stride+bx*c.side:], c.plane.Stride)
	return nil
}

// needed is the last coefficient in coding order that a block of so many samples
// a side is made of.
var needed = [9]int{1: 0, 2: 4, 4: 24, 8: 63}

// put transforms a block into samples. Nothing beyond coefficient last is set.
func put(b *block, last, side int, dst []byte, stride int) {
	switch {
	case last == 0:
		flat(b[0], side, dst, stride)
	case side == 8 && last <= lowLast:
		fullLow(b, dst, stride)
	case side == 8:
		full(b, dst, stride)
	case side == 4:
		half(b, dst, stride)
	case side == 2:
		quarter(b, dst, stride)
	default:
		dst[0] = level(b[0])
	}
}

// lowest decodes a block's difference of its lowest coefficient.
func (d *Decoder) lowest(c *component) bool {
	r := &d.r
	if r.n < 32 {
		r.fill()
	}
	e := c.dcTable.pairs[r.acc>>(64-lutBits)]
	if v := int32(e) >> 16; v != 0 && e>>8&15 == 0 {
		r.acc <<= e & 63
		r.n -= uint(e & 63)
		c.dc += v
		return true
	}
	size := uint(r.symbol(c.dcTable))
	if size > 15 {
		return false
	}
	c.dc += r.extend(size)
	return true
}

// baseline decodes one block up to coefficient limit, dequantises it, and passes
// over the rest. It returns the last coefficient that is set.
func (d *Decoder) baseline(c *component, b *block, limit int) (last int, ok bool) {
	if !d.lowest(c) {
		return 0, false
	}
	b[0] = c.dc * c.quant[0]

	r := &d.r
	t := c.acTab
	acc, n := r.acc, r.n
	k := 1
	for ; k <= limit; k++ {
		if n < 32 {
			r.acc, r.n = acc, n
			r.fill()
			acc, n = r.acc, r.n
		}
		e := t.pairs[acc>>(64-lutBits)]
		if v := int32(e) >> 16; v != 0 {
			acc <<= e & 63
			n -= uint(e & 63)
			k += int(e >> 8 & 15)
			if k > 63 {
				return 0, false
			}
			b[zigzag[k]&63] = v * c.quant[k]
			last = k
			continue
		}
		sym, length := byte(e>>8), uint(e&63)
		if e == 0 {
			if sym, length, ok = t.long(acc); !ok {
				return 0, false
			}
		}
		acc <<= length
		n -= length
		bits := uint(sym & 15)
		if bits == 0 {
			if sym != 0xF0 {
				k = 64 // the end of the block
				break
			}
			k += 15
			continue
		}
		k += int(sym >> 4)
		if k > 63 {
			return 0, false
		}
		v := int32(acc >> (64 - bits))
		if v < 1<<(bits-1) {
			v += -1<<bits + 1
		}
		acc <<= bits
		n -= bits
		b[zigzag[k]&63] = v * c.quant[k]
		last = k
	}
	r.acc, r.n = acc, n
	if k < 64 && !r.pass(t, k) {
		return 0, false
	}
	return last, true
}

// skip goes over one block and keeps its lowest coefficient alone.
func (d *Decoder) skip(c *component) bool {
	if !d.lowest(c) {
		return false
	}
	return d.r.pass(c.acTab, 1)
}
