package jpeg

import (
	"context"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// refine reads what one scan says about one block, T.81 G.1.
func (d *Decoder) refine(c *component, bx, by int, s spectrum) error {
	var coefs []int16
	if c.wanted {
		i := (by*c.paddedX + bx) * c.per
		coefs = c.coefs[i : i+c.per]
	}
	ok := true
	switch {
	case s.from == 0 && s.high == 0:
		size := uint(d.r.symbol(c.dcTable))
		if size > 15 {
			return errBroken
		}
		c.dc += d.r.extend(size)
		if coefs != nil {
			coefs[0] = int16(c.dc << s.low)
		}
	case s.from == 0:
		if d.r.bit() && coefs != nil {
			coefs[0] |= 1 << s.low
		}
	case s.high == 0:
		ok = d.firstAC(c, (*[64]int16)(coefs), s)
	default:
		ok = d.moreAC(c, (*[64]int16)(coefs), s)
	}
	if !ok {
		return errBroken
	}
	return nil
}

// firstAC reads the high bits of a band of coefficients.
func (d *Decoder) firstAC(c *component, b *[64]int16, s spectrum) bool {
	if d.eobRun > 0 {
		d.eobRun--
		return true
	}
	for k := s.from; k <= s.until; k++ {
		sym := d.r.symbol(c.acTab)
		run, size := int(sym>>4), uint(sym&15)
		if size == 0 {
			if run == 15 {
				k += 15
				continue
			}
			d.eobRun = 1<<run - 1
			if run > 0 {
				d.eobRun += int(d.r.bits(uint(run)))
			}
			return true
		}
		if k += run; k > s.until {
			return false
		}
		b[k] = int16(d.r.extend(size) << s.low)
	}
	return true
}

// moreAC reads one bit more of a band: a correction for each coefficient that
// is set already, and new ones of that size between them, T.81 G.1.2.3.
func (d *Decoder) moreAC(c *component, b *[64]int16, s spectrum) bool {
	k := s.from
	if d.eobRun == 0 {
		for ; k <= s.until; k++ {
			sym := d.r.symbol(c.acTab)
			run, size := int(sym>>4), sym&15
			var fresh int16
			switch {
			case size == 1:
				if fresh = 1 << s.low; !d.r.bit() {
					fresh = -fresh
				}
			case size != 0:
				return false
			case run != 15:
				d.eobRun = 1 << run
				if run > 0 {
					d.eobRun += int(d.r.bits(uint(run)))
				}
			}
			if d.eobRun > 0 {
				break
			}
			for ; k <= s.until; k++ {
				if b[k] == 0 {
					if run == 0 {
						break
					}
					run--
					continue
				}
				d.correct(&b[k], s.low)
			}
			if fresh != 0 {
				if k > s.until {
					return false
				}
				b[k] = fresh
			}
		}
	}
	if d.eobRun > 0 {
		for ; k <= s.until; k++ {
			if b[k] != 0 {
				d.correct(&b[k], s.low)
			}
		}
		d.eobRun--
	}
	return true
}

func (d *Decoder) correct(v *int16, low uint) {
	if !d.r.bit() {
		return
	}
	if *v >= 0 {
		*v += 1 << low
	} else {
		*v -= 1 << low
	}
}

// transform turns a component's collected coefficients into its plane.
func (d *Decoder) transform(ctx context.Context, c *component) error {
	for by := range c.blocksY {
		if err := ctx.Err(); err != nil {
			return fleet.Errorf(fleet.CauseTimeout, "decode JPEG: %w", context.Cause(ctx))
		}
		for bx := range c.blocksX {
			i := (by*c.paddedX + bx) * c.per
			dst := c.plane.Pix[by*c.side*c.plane.Stride+bx*c.side:]
			var b block
			last := 0
			for k, v := range c.coefs[i : i+c.per] {
				if v != 0 {
					b[zigzag[k]] = int32(v) * c.quant[k]
					last = k
				}
			}
			if d.opts.Detail != nil && c == &d.used[0] {
				d.detail.add(&b, last)
			}
			put(&b, last, c.side, dst, c.plane.Stride)
		}
	}
	return nil
}
