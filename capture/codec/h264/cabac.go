package h264

import (
	"encoding/binary"
	"math/bits"
)

// cabac is the arithmetic decoding engine of 9.3.3.2. Its registers are at the
// top of 64 bits: codIOffset, with bits of the stream behind it that were loaded
// ahead, and codIRange above zeros.
type cabac struct {
	data   []byte // with padding behind
	pos    int    // of the next byte to load
	offset uint64
	rng    uint64
	ahead  uint // bits in offset below codIOffset
	state  [512]uint8
}

const (
	// unitBit is where the lowest bit of codIOffset and codIRange is: their
	// nine bits leave the sign free.
	unitBit = 54
	// refillAt is how many bits must be loaded ahead: no decision takes more
	// than 7, and a few may come before the next look.
	refillAt = 20
)

// start is 9.3.1.2, from byte pos on.
func (c *cabac) start(data []byte, pos int) {
	c.data, c.pos = data, pos
	c.rng, c.offset, c.ahead = 510<<unitBit, 0, 0
	c.refill()
	c.offset <<= 9
	c.ahead -= 9
}

// refill loads 32 bits; behind the end, zeros.
func (c *cabac) refill() { c.offset, c.ahead = c.load(c.offset, c.ahead) }

// load is refill for registers that are elsewhere.
func (c *cabac) load(offset uint64, ahead uint) (uint64, uint) {
	v := uint32(0)
	if uint(c.pos) <= uint(len(c.data)-4) {
		v = binary.BigEndian.Uint32(c.data[c.pos:])
	}
	c.pos += 4
	return offset | uint64(v)<<((unitBit-32-ahead)&63), ahead + 32
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

// decide is DecodeDecision, 9.3.3.2.1, on the registers: for a state, which is
// pStateIdx<<1 | valMPS, it returns where in nextState the next one is, whose
// lowest bit is the decision, and how many bits of the stream it took. Both paths
// are computed and one is chosen by a mask, because which one it is cannot be
// predicted.
func decide(s uint8, offset, rng uint64) (i uint8, o, r uint64, taken uint) {
	lps := uint64(rangeLPS[rng>>(unitBit-1)&0x180|uint64(s&127)]) << unitBit
	rng -= lps
	mask := uint64(int64(rng-offset-1) >> 63) // all ones for the less probable symbol
	offset -= rng & mask
	rng += (lps - rng) & mask
	n := uint(bits.LeadingZeros64(rng)-1) & 63
	return s ^ uint8(mask), offset << n, rng << n, n
}

// bin decodes a decision with a context.
func (c *cabac) bin(ctx int) int {
	s := &c.state[ctx&511]
	i, offset, rng, n := decide(*s, c.offset, c.rng)
	*s = nextState[i]
	c.offset, c.rng = offset, rng
	if c.ahead -= n; c.ahead < refillAt {
		c.refill()
	}
	return int(i & 1)
}

// bypass is DecodeBypass, 9.3.3.2.3.
func (c *cabac) bypass() int {
	c.offset <<= 1
	mask := uint64(int64(c.rng-c.offset-1) >> 63)
	c.offset -= c.rng & mask
	if c.ahead--; c.ahead < refillAt {
		c.refill()
	}
	return int(mask & 1)
}

// terminate is DecodeTerminate, 9.3.3.2.2.3.
func (c *cabac) terminate() bool {
	c.rng -= 2 << unitBit
	if c.offset >= c.rng {
		return true
	}
	if c.rng < 256<<unitBit {
		c.rng <<= 1
		c.offset <<= 1
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
