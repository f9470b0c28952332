package h264

import (
	"encoding/binary"
	"math/bits"
)

// cabac is the arithmetic decoding engine of 9.3.3.2. codIOffset is the top of
// value, with bits of the stream behind it that were loaded ahead.
type cabac struct {
	data  []byte // with padding behind
	pos   int    // of the next byte to load
	value uint64 // 9 bits and those ahead, at most 56
	rng   uint64 // codIRange
	ahead uint   // bits in value below codIOffset
	state [512]uint8
}

// refillAt is how many bits must be loaded ahead: no decision takes more than
// 7, and a few may come before the next look.
const refillAt = 16

// start is 9.3.1.2, from byte pos on.
func (c *cabac) start(data []byte, pos int) {
	c.data, c.pos = data, pos
	c.rng, c.value, c.ahead = 510, 0, 0
	c.refill()
	c.ahead -= 9
}

// refill loads 32 bits; behind the end, zeros.
func (c *cabac) refill() {
	v := uint32(0)
	if uint(c.pos) <= uint(len(c.data)-4) {
		v = binary.BigEndian.Uint32(c.data[c.pos:])
	}
	c.pos += 4
	c.value = c.value<<32 | uint64(v)
	c.ahead += 32
}

// overrun says whether more was decoded than there is.
func (c *cabac) overrun() bool { return c.pos-int(c.ahead>>3) > len(c.data)-padding+2 }

// initContexts is 9.3.1.1 for I slices.
func (c *cabac) initContexts(qp int) {
	for i, mn := range contexts {
		pre := min(max(int(mn.m)*qp>>4+int(mn.n), 1), 126)
		if pre <= 63 {
			c.state[i] = uint8(63-pre) << 1
		} else {
			c.state[i] = uint8(pre-64)<<1 | 1
		}
	}
}

// bin is DecodeDecision, 9.3.3.2.1. A state is pStateIdx<<1 | valMPS. Both paths
// are computed and one is chosen by a mask: which it is cannot be predicted.
func (c *cabac) bin(ctx int) int {
	s := c.state[ctx&511]
	lps := uint64(rangeLPS[(c.rng&0xC0)<<1|uint64(s)&127])
	r := c.rng - lps
	scaled := r << (c.ahead & 63)
	mask := uint64(int64(scaled-c.value-1) >> 63) // all ones for the less probable symbol
	c.value -= scaled & mask
	r += (lps - r) & mask
	i := s ^ uint8(mask)
	c.state[ctx&511] = nextState[i]
	n := uint(bits.LeadingZeros64(r)) - 55
	c.rng = r << (n & 63)
	if c.ahead -= n; c.ahead < refillAt {
		c.refill()
	}
	return int(i & 1)
}

// bypass is DecodeBypass, 9.3.3.2.3.
func (c *cabac) bypass() int {
	c.ahead--
	scaled := c.rng << (c.ahead & 63)
	mask := uint64(int64(scaled-c.value-1) >> 63)
	c.value -= scaled & mask
	if c.ahead < refillAt {
		c.refill()
	}
	return int(mask & 1)
}

// terminate is DecodeTerminate, 9.3.3.2.2.3.
func (c *cabac) terminate() bool {
	c.rng -= 2
	if c.value >= c.rng<<(c.ahead&63) {
		return true
	}
	if c.rng < 256 {
		c.rng <<= 1
		if c.ahead--; c.ahead < refillAt {
			c.refill()
		}
	}
	return false
}

// byteAfter is where the bytes begin that follow a terminating bin. The last of
// the bits in codIOffset is the last that the encoder's flush wrote, 9.3.4.5.
func (c *cabac) byteAfter() int {
	return (8*c.pos - int(c.ahead) + 7) / 8
}
