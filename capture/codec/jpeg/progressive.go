package jpeg

import (
	"context"
	"math/bits"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Scans of a progressive picture go over all blocks again and again, and what
// refines a coefficient is coded only where it is set already. So there is a word
// for each block that tells which are: it is read in place of 64 coefficients, and
// those that the scale does not take are never kept at all.

// collect takes the memory for what the scans of a component bring.
func (d *Decoder) collect(c *component) {
	c.per = needed[c.side] + 1
	if d.opts.Detail != nil && c == &d.used[0] {
		c.per = 64
	}
	blocks := c.paddedX * c.paddedY
	c.coefs = cleared(c.coefs, blocks*c.per)
	if c.per > 1 {
		c.set = cleared(c.set, blocks)
	}
}

// cleared returns n zeros, in the memory of s where that is large enough.
func cleared[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// levelsMCU reads what a scan of lowest coefficients says about one MCU, T.81 G.1.2.1.
func (d *Decoder) levelsMCU(comps []*component, mx, my int, s spectrum) error {
	w := d.r.window
	for _, c := range comps {
		h, v := c.h, c.v
		if len(comps) == 1 {
			h, v = 1, 1
		}
		for by := my * v; by < my*v+v; by++ {
			for bx := mx * h; bx < mx*h+h; bx++ {
				w = d.r.fill(w)
				i := (by*c.paddedX + bx) * c.per
				if s.high > 0 {
					if c.wanted {
						c.coefs[i] |= int16(w.acc>>63) << s.low
					}
					w = w.take(1)
					continue
				}
				var ok bool
				if w, ok = d.first(c, w); !ok {
					return errBroken
				}
				if c.wanted {
					c.coefs[i] = int16(c.dc << s.low)
				}
			}
		}
	}
	d.r.window = w
	return nil
}

// band reads what a scan of other coefficients says about one block.
func (d *Decoder) band(c *component, bx, by int, s spectrum) error {
	i := by*c.paddedX + bx
	if d.eobRun > 0 && c.set[i]>>s.from == 0 {
		d.eobRun-- // nothing comes, and nothing is there to be corrected
		return nil
	}
	coefs := c.coefs[i*c.per : i*c.per+c.per]
	var ok bool
	if s.high == 0 {
		d.r.window, ok = d.firstAC(c, d.r.window, coefs, &c.set[i], s)
	} else {
		d.r.window, ok = d.moreAC(c, d.r.window, coefs, &c.set[i], s)
	}
	if !ok {
		return errBroken
	}
	return nil
}

// firstAC reads the high bits of a band of coefficients, of a block in which there
// are any. It keeps those that coefs has room for.
func (d *Decoder) firstAC(c *component, w window, coefs []int16, set *uint64, s spectrum) (window, bool) {
	t := c.acTab
	for k := s.from; k <= s.until; k++ {
		if w.n < 32 {
			w = d.r.fill(w)
		}
		e := t.pairs[w.acc>>(64-lutBits)]
		v := int32(e) >> 16
		if v != 0 {
			w = w.take(uint(e & 63))
			k += int(e >> 8 & 15)
		} else {
			sym, length, ok := t.next(w.acc)
			if !ok {
				return w, false
			}
			w = w.take(length)
			run, size := uint(sym>>4), uint(sym&15)
			if size == 0 && run < 15 {
				w = d.endOfBand(w, run)
				d.eobRun--
				return w, true
			}
			k += int(run)
			if size == 0 {
				continue
			}
			v = signed(w.acc, size)
			w = w.take(size)
		}
		if k > s.until {
			return w, false
		}
		if k < len(coefs) {
			coefs[k] = int16(v << s.low)
		}
		*set |= 1 << k
	}
	return w, true
}

// endOfBand reads for how many blocks, this one the first, the band ends here. The
// window has its bits.
func (d *Decoder) endOfBand(w window, run uint) window {
	d.eobRun = 1<<run + int(w.acc>>1>>(63-run))
	return w.take(run)
}

// moreAC reads one bit more of a band: a correction for each coefficient that
// is set already, and new ones of that size between them, T.81 G.1.2.3.
func (d *Decoder) moreAC(c *component, w window, coefs []int16, set *uint64, s spectrum) (window, bool) {
	before := *set & (1<<s.until<<1 - 1) // those that may be corrected
	k := s.from
	for d.eobRun == 0 && k <= s.until {
		if w.n < 32 {
			w = d.r.fill(w)
		}
		sym, length, ok := c.acTab.next(w.acc)
		if !ok || sym&15 > 1 {
			return w, false
		}
		w = w.take(length)
		run, fresh := uint(sym>>4), int16(0)
		if sym&15 == 1 {
			fresh = int16(2*int32(w.acc>>63)-1) << s.low
			w = w.take(1)
		} else if run < 15 {
			w = d.endOfBand(w, run)
			break
		}
		// Of the coefficients that are not set, run are passed over.
		free := ^*set >> k << k
		for range run {
			free &= free - 1
		}
		at := min(bits.TrailingZeros64(free), s.until+1)
		w = d.correct(w, coefs, before>>k<<k&(1<<at-1), s.low)
		if fresh != 0 {
			if at > s.until {
				return w, false
			}
			if at < len(coefs) {
				coefs[at] = fresh
			}
			*set |= 1 << at
		}
		k = at + 1
	}
	if d.eobRun > 0 {
		w = d.correct(w, coefs, before>>k<<k, s.low)
		d.eobRun--
	}
	return w, true
}

// correct reads a bit for each of the coefficients in which, and makes those
// larger by one of its size whose bit is set.
func (d *Decoder) correct(w window, coefs []int16, which uint64, low uint) window {
	for ; which != 0; which &= which - 1 {
		k := bits.TrailingZeros64(which)
		if k >= len(coefs) {
			break
		}
		if w.n == 0 {
			w = d.r.fill(w)
		}
		sign := coefs[k] >> 15
		coefs[k] += int16(w.acc>>63)<<low ^ sign - sign
		w = w.take(1)
	}
	for n := uint(bits.OnesCount64(which)); n > 0; {
		if w.n == 0 {
			w = d.r.fill(w)
		}
		step := min(n, w.n)
		w, n = w.take(step), n-step
	}
	return w
}

// transform turns a component's collected coefficients into its plane.
func (d *Decoder) transform(ctx context.Context, c *component) error {
	detail := d.opts.Detail != nil && c == &d.used[0]
	for by := range c.blocksY {
		if err := ctx.Err(); err != nil {
			return fleet.Errorf(fleet.CauseTimeout, "decode JPEG: %w", context.Cause(ctx))
		}
		row := c.plane.Pix[by*c.side*c.plane.Stride:]
		for bx := range c.blocksX {
			i := by*c.paddedX + bx
			v := c.coefs[i*c.per : i*c.per+c.per]
			b0 := int32(v[0]) * c.quant[0]
			if c.per == 1 {
				row[bx] = level(b0)
				continue
			}
			if c.per == needed[2]+1 {
				quarter(b0, int32(v[1])*c.quant[1], int32(v[2])*c.quant[2], int32(v[4])*c.quant[4], row[2*bx:], c.plane.Stride)
				continue
			}
			b, last := block{b0}, 0
			for set := c.set[i]; set != 0; set &= set - 1 {
				k := bits.TrailingZeros64(set)
				if k >= len(v) {
					break
				}
				b[zigzag[k&63]&63] = int32(v[k]) * c.quant[k&63]
				last = k
			}
			if detail {
				d.detail.add(&b, last)
			}
			put(d.level, &b, last, c.side, row[bx*c.side:], c.plane.Stride)
		}
	}
	return nil
}
