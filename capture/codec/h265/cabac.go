package h265

import (
	"encoding/binary"
	"math/bits"
)

// cabac is the arithmetic decoding engine of 9.3.4.3. Its registers are at the top
// of 64 bits: ivlOffset, with bits of the data behind it that were loaded ahead,
// and ivlCurrRange above zeros.
type cabac struct {
	data   []byte // with padding behind
	pos    int    // of the next byte to load
	offset uint64
	rng    uint64
	ahead  uint // bits in offset below ivlOffset
	state  contexts
}

const (
	// unitBit is where the lowest bit of both registers is: their nine bits
	// leave the sign free.
	unitBit = 54
	// refillAt is how many bits must be loaded ahead: no decision takes more
	// than 7.
	refillAt = 8
)

// contexts are pStateIdx<<1 | valMps of all context variables.
type contexts [contextCount]uint8

// start is 9.3.2.5, from byte pos on.
func (c *cabac) start(data []byte, pos int) {
	c.data, c.pos = data, pos
	c.rng, c.offset, c.ahead = 510<<unitBit, 0, 0
	c.refill()
	c.offset <<= 9
	c.ahead -= 9
}

// refill loads 32 bits; behind the end, zeros.
func (c *cabac) refill() {
	v := uint32(0)
	if uint(c.pos) <= uint(len(c.data)-4) {
		v = binary.BigEndian.Uint32(c.data[c.pos:])
	}
	c.pos += 4
	c.offset |= uint64(v) << ((unitBit - 32 - c.ahead) & 63)
	c.ahead += 32
}

// taken is how many bits of the data are or were in ivlOffset.
func (c *cabac) taken() int { return 8*c.pos - int(c.ahead) }

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

// bin is DecodeDecision, 9.3.4.3.2. Both outcomes are computed and one is chosen
// by a mask, because which one it is cannot be predicted.
func (c *cabac) bin(ctx int) int {
	s := &c.state[ctx]
	lps := uint64(rangeLPS[*s>>1&63][c.rng>>(unitBit+6)&3]) << unitBit
	rng, offset := c.rng-lps, c.offset
	mask := uint64(int64(rng-offset-1) >> 63) // all ones for the less probable symbol
	offset -= rng & mask
	rng += (lps - rng) & mask
	n := uint(bits.LeadingZeros64(rng)-1) & 63
	next := nextState[*s^uint8(mask)]
	v := int(*s^uint8(mask)) & 1
	*s = next
	c.rng, c.offset = rng<<n, offset<<n
	if c.ahead -= n; c.ahead < refillAt {
		c.refill()
	}
	return v
}

// bypass is DecodeBypass, 9.3.4.3.4.
func (c *cabac) bypass() int {
	offset := c.offset << 1
	mask := uint64(int64(c.rng-offset-1) >> 63)
	c.offset = offset - c.rng&mask
	if c.ahead--; c.ahead < refillAt {
		c.refill()
	}
	return int(mask & 1)
}

// bypasses reads n of them, the highest bit first.
func (c *cabac) bypasses(n int) int {
	v := 0
	for range n {
		v = v<<1 | c.bypass()
	}
	return v
}

// terminate is DecodeTerminate, 9.3.4.3.5. If it is true, the last bit in ivlOffset
// is the last one that the encoder's flush wrote, 9.3.5.6: the one that ends the
// RBSP, or that begins the alignment before the next substream.
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

// aligned says whether behind a true terminate there is what the standard has
// there, at the end and before another substream: a one, and zeros to the end of
// the byte.
func (c *cabac) aligned() bool {
	last := c.taken() - 1
	at := last >> 3
	return at < len(c.data)-padding && c.data[at]<<(last&7) == 0x80
}

// next begins with the substream behind a true terminate.
func (c *cabac) next() bool {
	if !c.aligned() {
		return false
	}
	c.start(c.data, (c.taken()-1)>>3+1)
	return true
}
