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
		switch {
		case !d.progressive:
			d.plan(c)
		case s.from == 0 && s.high == 0:
			c.dcTable.fillDiffs()
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
		d.collect(c)
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

// needed is the last coefficient in coding order that a block of so many samples
// a side is made of.
var needed = [9]int{1: 0, 2: 4, 4: 24, 8: 63}

// put transforms a block into samples. Nothing beyond coefficient last is set.
func put(l codec.Level, b *block, last, side int, dst []byte, stride int) {
	switch {
	case last == 0:
		flat(b[0], side, dst, stride)
	case side == 8 && fullVector(l, b, dst, stride):
	case side == 8 && last <= lowLast:
		fullLow(b, dst, stride)
	case side == 8:
		full(b, dst, stride)
	case side == 4:
		half(b, dst, stride)
	case side == 2:
		quarter(b[0], b[1], b[8], b[9], dst, stride)
	default:
		dst[0] = level(b[0])
	}
}
