package jpeg

// depth is how far the blocks of a component are decoded.
type depth uint8

const (
	walkOver  depth = iota // not at all: only to where the next one begins
	lowest                 // to one sample
	corner                 // to 2x2 samples
	blockwise              // to 4x4, to 8x8, or for their detail
)

// plan says how far a component of a baseline picture is decoded, and makes the
// look-ups for it.
func (d *Decoder) plan(c *component) {
	c.dcTable.fillDiffs()
	detail := d.opts.Detail != nil && c == &d.used[0]
	switch {
	case !c.wanted:
		c.depth = walkOver
	case detail || c.side > 2:
		c.depth = blockwise
	case c.side == 2:
		c.depth = corner
		c.acTab.fillStarts()
	default:
		c.depth = lowest
	}
	if !detail && c.side < 8 || !c.wanted {
		c.acTab.fillSkips()
	}
}

// baselineMCU decodes one MCU of a baseline picture.
func (d *Decoder) baselineMCU(comps []*component, mx, my int) error {
	w := d.r.window
	for _, c := range comps {
		h, v := c.h, c.v
		if len(comps) == 1 {
			h, v = 1, 1
		}
		for by := my * v; by < my*v+v; by++ {
			for bx := mx * h; bx < mx*h+h; bx++ {
				var ok bool
				switch w = d.r.fill(w); c.depth {
				case walkOver:
					w, ok = d.skip(c, w)
				case lowest:
					w, ok = d.skip(c, w)
					c.plane.Pix[by*c.plane.Stride+bx] = level(c.dc * c.quant[0])
				case corner:
					w, ok = d.corner(c, w, c.plane.Pix[2*(by*c.plane.Stride+bx):], c.plane.Stride)
				default:
					w, ok = d.blockwise(c, w, bx, by)
				}
				if !ok {
					return errBroken
				}
			}
		}
	}
	d.r.window = w
	return nil
}

func (d *Decoder) blockwise(c *component, w window, bx, by int) (window, bool) {
	detail := d.opts.Detail != nil && c == &d.used[0]
	limit := needed[c.side]
	if detail {
		limit = 63
	}
	var b block
	w, last, ok := d.baseline(c, w, &b, limit)
	if !ok {
		return w, false
	}
	if detail && bx < c.blocksX && by < c.blocksY { // else it only fills up an MCU
		d.detail.add(&b, last)
	}
	put(d.level, &b, last, c.side, c.plane.Pix[by*c.side*c.plane.Stride+bx*c.side:], c.plane.Stride)
	return w, true
}

// first decodes a block's difference of its lowest coefficient, from a full window.
func (d *Decoder) first(c *component, w window) (window, bool) {
	if e := c.dcTable.diffs[w.acc>>(64-lutBits)]; e != 0 {
		c.dc += int32(e) >> 16
		return w.take(uint(e & 63)), true
	}
	return d.longFirst(c, w)
}

func (d *Decoder) longFirst(c *component, w window) (window, bool) {
	sym, length, ok := c.dcTable.next(w.acc)
	size := uint(sym)
	if !ok || size > 15 {
		return w, false
	}
	w = w.take(length)
	if size > 0 {
		c.dc += signed(w.acc, size)
		w = w.take(size)
	}
	return d.r.fill(w), true
}

// skip goes over one block and keeps its lowest coefficient alone.
func (d *Decoder) skip(c *component, w window) (window, bool) {
	w, ok := d.first(c, w)
	if !ok {
		return w, false
	}
	return d.pass(c.acTab, w, 1)
}

// pass goes over the coefficients of a block from k on, below 64, whose table has
// its skips filled in.
func (d *Decoder) pass(t *table, w window, k int) (window, bool) {
	for k < 64 {
		if w.n < 32 {
			w = d.r.fill(w)
		}
		e := t.skips[w.acc>>(64-skipBits)]
		next := k + int(e>>skipShift)
		if next < 64 {
			k, w = next, w.take(uint(e&skipTaken))
			continue
		}
		if next&(skipEnd>>skipShift-1) <= 64 {
			return w.take(uint(e & skipTaken)), true
		}
		// It knows none, or goes beyond the block, to codes of the next one.
		sym, length, ok := t.next(w.acc)
		if !ok {
			return w, false
		}
		size := uint(sym & 15)
		w = w.take(length + size)
		if size == 0 && sym != 0xF0 {
			break
		}
		k += int(sym>>4) + 1
	}
	return w, true
}

// corner decodes one block to 2x2 samples, which take three of its coefficients.
func (d *Decoder) corner(c *component, w window, dst []byte, stride int) (window, bool) {
	w, ok := d.first(c, w)
	if !ok {
		return w, false
	}
	e := c.acTab.starts[w.acc>>(64-startBits)]
	w = w.take(uint(e & skipTaken))
	b1, b8, b9 := int32(int16(e>>startB1)), int32(int16(e>>startB8)), int32(int16(e>>startB9))
	b1, b8, b9 = b1*c.quant[1], b8*c.quant[2], b9*c.quant[4]
	if k := 1 + int(uint16(e)>>skipShift); k < 64 {
		if k <= needed[2] {
			var b block
			if w, k, _, ok = d.coefficients(c, w, &b, k, needed[2]); !ok {
				return w, false
			}
			b1, b8, b9 = b1+b[1], b8+b[8], b9+b[9]
		}
		if w, ok = d.pass(c.acTab, w, k); !ok {
			return w, false
		}
	}
	quarter(c.dc*c.quant[0], b1, b8, b9, dst, stride)
	return w, true
}

// baseline decodes one block up to coefficient limit, dequantises it, and passes
// over the rest. It returns the last coefficient that is set.
func (d *Decoder) baseline(c *component, w window, b *block, limit int) (_ window, last int, ok bool) {
	if w, ok = d.first(c, w); !ok {
		return w, 0, false
	}
	b[0] = c.dc * c.quant[0]
	k := 1
	if w, k, last, ok = d.coefficients(c, w, b, k, limit); !ok {
		return w, 0, false
	}
	if k < 64 {
		w, ok = d.pass(c.acTab, w, k)
	}
	return w, last, ok
}

// coefficients decodes those of a block from k until one is beyond limit. It
// returns where to go on, which is 64 behind the block's end.
func (d *Decoder) coefficients(c *component, w window, b *block, k, limit int) (_ window, next, last int, ok bool) {
	t := c.acTab
	for ; k <= limit; k++ {
		if w.n < 32 {
			w = d.r.fill(w)
		}
		e := t.pairs[w.acc>>(64-lutBits)]
		if v := int32(e) >> 16; v != 0 {
			w = w.take(uint(e & 63))
			k += int(e >> 8 & 15)
			if k > 63 {
				return w, 0, 0, false
			}
			b[zigzag[k]&63] = v * c.quant[k]
			last = k
			continue
		}
		sym, length := byte(e>>8), uint(e&63)
		if e == 0 {
			if sym, length, ok = t.long(w.acc); !ok {
				return w, 0, 0, false
			}
		}
		w = w.take(length)
		size := uint(sym & 15)
		if size == 0 {
			if sym != 0xF0 {
				return w, 64, last, true
			}
			k += 15
			continue
		}
		k += int(sym >> 4)
		if k > 63 {
			return w, 0, 0, false
		}
		b[zigzag[k]&63] = signed(w.acc, size) * c.quant[k]
		w = w.take(size)
		last = k
	}
	return w, k, last, true
}

// signed reads the highest size bits of acc, 1 to 16 of them, as JPEG codes signed
// numbers: the upper half of the range as it is, the lower half as negative.
func signed(acc uint64, size uint) int32 {
	v := int32(acc >> (64 - size))
	if v < 1<<(size-1) {
		v += -1<<size + 1
	}
	return v
}
