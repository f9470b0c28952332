package h264

import "github.com/shutterfleet/shutterfleet/capture/codec/cabac"

// The registers are local in the functions below: three of four decisions of a
// picture are made here, and a call for each costs as much as the decision.

// block is residual_block_cabac(), 7.3.5.3.3: it puts the dequantised
// coefficients where scan says and returns how many there are.
func (c *cabacReader) block(cat int, scan []uint8, q, dst []int32) int {
	var at [64]uint8
	n := c.significant(cat, scan, &at)
	most := 4 // ctxIdxInc of the levels behind the first bin; one less for chroma DC
	if cat == catChromaDC {
		most = 3
	}
	states := (*[10]cabac.Context)(c.state[ctxLevel[cat]:])
	offset, rng, ahead := c.Offset, c.Range, c.Ahead
	ones, more := 1, 0 // ctxIdxInc, both
	for k := n - 1; k >= 0; k-- {
		s := &states[ones&7]
		d, o, r, taken := cabac.Decide(*s, offset, rng)
		*s = d.Next()
		offset, rng, ahead = o, r, ahead-taken
		v := int32(1)
		if !d.One() {
			if ones > 0 && ones < 4 {
				ones++
			}
		} else {
			ones = 0
			s := &states[5+min(most, more)]
			more++
			for v = 2; v < 15; v++ {
				if ahead < cabac.RefillAt {
					offset, ahead = c.Load(offset, ahead)
				}
				d, o, r, taken := cabac.Decide(*s, offset, rng)
				*s = d.Next()
				offset, rng, ahead = o, r, ahead-taken
				if !d.One() {
					break
				}
			}
			if v == 15 {
				if ahead < cabac.RefillAt {
					offset, ahead = c.Load(offset, ahead)
				}
				c.Offset, c.Range, c.Ahead = offset, rng, ahead
				v += c.expGolomb()
				offset, rng, ahead = c.Offset, c.Range, c.Ahead
			}
		}
		// The sign: DecodeBypass.
		offset <<= 1
		ahead--
		minus := int64(rng-offset-1) >> 63
		offset -= rng & uint64(minus)
		if ahead < cabac.RefillAt {
			offset, ahead = c.Load(offset, ahead)
		}
		p := at[k&63]
		dst[p] = ((v^int32(minus)-int32(minus))*q[p] + 32) >> 6
	}
	c.Offset, c.Range, c.Ahead = offset, rng, ahead
	return n
}

// significant reads the map of a block's coefficients: where in dst they go,
// the lowest frequency first, and how many there are.
func (c *cabacReader) significant(cat int, scan []uint8, at *[64]uint8) (n int) {
	sig, last := ctxSig[cat], ctxLast[cat]
	sigInc, lastInc := &plain, &plain
	if cat == catLuma8 {
		sigInc, lastInc = &sig8, &last8
	}
	offset, rng, ahead := c.Offset, c.Range, c.Ahead
	end := len(scan) - 1
	for k, p := range scan[:end] {
		s := &c.state[(sig+int(sigInc[k&63]))&511]
		d, o, r, taken := cabac.Decide(*s, offset, rng)
		*s = d.Next()
		offset, rng, ahead = o, r, ahead-taken
		if d.One() {
			at[n&63] = p
			n++
			s := &c.state[(last+int(lastInc[k&63]))&511]
			d, o, r, taken := cabac.Decide(*s, offset, rng)
			*s = d.Next()
			offset, rng, ahead = o, r, ahead-taken
			if d.One() {
				end = -1
				break
			}
		}
		if ahead < cabac.RefillAt {
			offset, ahead = c.Load(offset, ahead)
		}
	}
	if ahead < cabac.RefillAt {
		offset, ahead = c.Load(offset, ahead)
	}
	c.Offset, c.Range, c.Ahead = offset, rng, ahead
	if end >= 0 { // nothing said it was the last: then the very last one is there
		at[n&63] = scan[end]
		n++
	}
	return n
}

// expGolomb reads the suffix of coeff_abs_level_minus1, from 14 on, 9.3.2.3.
func (c *cabacReader) expGolomb() int32 {
	k := 0
	for c.Bypass() == 1 {
		if k++; k > 24 { // no level needs more; the stream is damaged, and its end will tell
			return 0
		}
	}
	v := int32(1)
	for range k {
		v = v<<1 | int32(c.Bypass())
	}
	return v - 1
}
