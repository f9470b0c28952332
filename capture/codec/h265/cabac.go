package h265

import "math/bits"

// cabac is the arithmetic decoding engine of 9.3.4.3, of which codIOffset and
// codIRange are held as the standard has them, scaled by the bits loaded ahead.
type cabac struct {
	r      *bitReader
	rng    uint32
	offset uint32
	state  contexts
}

// contexts are pStateIdx<<1 | valMps of all context variables.
type contexts [contextCount]uint8

// start is 9.3.2.5, from the reader's place on, which is at a byte's begin.
func (c *cabac) start() { c.rng, c.offset = 510, uint32(c.r.u(9)) }

// init is 9.3.2.2 for initType 0, that of I slices.
func (s *contexts) init(qp int) {
	qp = min(max(qp, 0), 51)
	for i, v := range initValues {
		m, n := int(v>>4)*5-45, int(v&15)<<3-16
		pre := min(max(m*qp>>4+n, 1), 126)
		if pre <= 63 {
			s[i] = uint8(63-pre) << 1
		} else {
			s[i] = uint8(pre-64)<<1 | 1
		}
	}
}

// bin is DecodeDecision, 9.3.4.3.2.
func (c *cabac) bin(ctx int) int {
	s := &c.state[ctx]
	state, v := *s>>1, int(*s&1)
	lps := uint32(rangeLPS[state&63][c.rng>>6&3])
	c.rng -= lps
	if c.offset < c.rng {
		if state < 62 {
			*s += 2
		}
		if c.rng < 256 {
			c.rng <<= 1
			c.offset = c.offset<<1 | uint32(c.r.u(1))
		}
		return v
	}
	c.offset -= c.rng
	if state == 0 {
		*s = uint8(1 - v)
	} else {
		*s = nextLPS[state&63]<<1 | uint8(v)
	}
	n := bits.LeadingZeros32(lps) - 23
	c.rng = lps << n
	c.offset = c.offset<<n | uint32(c.r.u(n))
	return 1 - v
}

// bypass is DecodeBypass, 9.3.4.3.4.
func (c *cabac) bypass() int {
	c.offset = c.offset<<1 | uint32(c.r.u(1))
	if c.offset >= c.rng {
		c.offset -= c.rng
		return 1
	}
	return 0
}

// bypasses reads n of them, the highest bit first.
func (c *cabac) bypasses(n int) int {
	v := 0
	for range n {
		v = v<<1 | c.bypass()
	}
	return v
}

// terminate is DecodeTerminate, 9.3.4.3.5. If it is true, the bit that the reader
// took last is the last one that the encoder's flush wrote, 9.3.5.6: the one that
// ends the RBSP, or that begins the alignment before the next substream.
func (c *cabac) terminate() bool {
	c.rng -= 2
	if c.offset >= c.rng {
		return true
	}
	if c.rng < 256 {
		c.rng <<= 1
		c.offset = c.offset<<1 | uint32(c.r.u(1))
	}
	return false
}

// align goes behind the alignment that follows a true terminate; false if that is
// not what the standard has there, a one and zeros.
func (c *cabac) align() bool {
	r := c.r
	r.pos--
	one := r.flag()
	rest := -r.pos & 7
	return r.u(rest) == 0 && one
}
