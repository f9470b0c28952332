// Package cabac is the arithmetic decoding engine of context-adaptive binary
// arithmetic coding, which H.264 and H.265 share.
//
//	bytes ──Start──► Engine ──┬─ Bin, by a Context ──┐
//	                          ├─ Bypass              ├──► bins, of which a codec makes syntax elements
//	                          └─ Terminate ──────────┘
//
// It is written from ITU-T Rec. H.264 (08/2021), 9.3, and H.265, 9.3. A pair of
// clauses in a comment is that of H.264 and that of H.265; names are those of
// H.264. Which contexts there are, what they begin with and which one a bin has is
// for each codec to know.
package cabac

import (
	"encoding/binary"
	"math/bits"
)

// A Context is a context variable: pStateIdx<<1 | valMPS, below 128.
type Context uint8

// Init returns what a context variable begins with in a slice of the quantiser
// qp, SliceQPY, by its m and n: 9.3.1.1, 9.3.2.2.
func Init(m, n, qp int) Context {
	pre := min(max(m*min(max(qp, 0), 51)>>4+n, 1), 126)
	if pre <= 63 {
		return Context(63-pre) << 1
	}
	return Context(pre-64)<<1 | 1
}

// An Engine decodes bins from bytes. Its three registers are open to loops that
// have to hold them in the processor's: they copy them, decide with [Decide],
// keep [RefillAt] by Load, and put them back. The zero Engine decodes nothing
// sensible before Start.
type Engine struct {
	// Offset has codIOffset at its top, with Ahead bits of the data behind it
	// that were loaded ahead; Range has codIRange there, above zeros.
	Offset, Range uint64
	Ahead         uint

	data []byte
	pos  int // of the next byte to load
}

const (
	// UnitBit is where the lowest bit of codIOffset and codIRange is: their
	// nine bits leave the sign free, for what is less to show there.
	UnitBit = 54
	// RefillAt is how many bits must be loaded ahead: no decision takes more
	// than 7, and a few may come before the next look.
	RefillAt = 20
)

// Start begins with the byte at pos of data, 9.3.1.2, 9.3.2.5. Four bytes are
// loaded at once, or zeros where there are fewer, so that the last three count
// only with padding behind them. What comes of a first codIOffset of 510 or 511,
// which no data may have, is nonsense.
func (e *Engine) Start(data []byte, pos int) {
	e.data, e.pos = data, pos
	e.Range, e.Offset, e.Ahead = 510<<UnitBit, 0, 0
	e.refill()
	e.Offset <<= 9
	e.Ahead -= 9
}

func (e *Engine) refill() { e.Offset, e.Ahead = e.Load(e.Offset, e.Ahead) }

// Load puts 32 more bits of the data, and zeros behind its end, behind the ahead
// ones in offset. There is room where ahead is below RefillAt.
func (e *Engine) Load(offset uint64, ahead uint) (uint64, uint) {
	v := uint32(0)
	if e.pos+4 <= len(e.data) {
		v = binary.BigEndian.Uint32(e.data[e.pos:])
	}
	e.pos += 4
	return offset | uint64(v)<<((UnitBit-32-ahead)&63), ahead + 32
}

// A Decision is what became of a bin: where in next its context is, which has
// the bin as its lowest bit.
type Decision uint8

// Bin is the bin's value.
func (d Decision) Bin() int { return int(d & 1) }

// One says that the bin is 1. A branch on it is an instruction less than one on Bin.
func (d Decision) One() bool { return d&1 == 1 }

// Next is what the bin's context is from now on.
func (d Decision) Next() Context { return next[d] }

// Decide is DecodeDecision, 9.3.3.2.1, 9.3.4.3.2, on registers that are Offset
// and Range of an engine: it returns them as they become, and how many bits are
// fewer Ahead. Both outcomes are computed and one is chosen by a mask, because
// which one it is cannot be predicted.
func Decide(c Context, offset, rng uint64) (d Decision, o, r uint64, taken uint) {
	lps := uint64(rangeLPS[rng>>(UnitBit-1)&0x180|uint64(c&127)]) << UnitBit
	rng -= lps
	mask := uint64(int64(rng-offset-1) >> 63) // all ones for the less probable symbol
	offset -= rng & mask
	rng += (lps - rng) & mask
	n := uint(bits.LeadingZeros64(rng)-1) & 63
	return Decision(c) ^ Decision(mask), offset << n, rng << n, n
}

// Bin decodes a bin with its context, which it moves on.
func (e *Engine) Bin(c *Context) int {
	d, offset, rng, n := Decide(*c, e.Offset, e.Range)
	*c = d.Next()
	e.Offset, e.Range = offset, rng
	if e.Ahead -= n; e.Ahead < RefillAt {
		e.refill()
	}
	return d.Bin()
}

// Bypass is DecodeBypass, 9.3.3.2.3, 9.3.4.3.4: a bin as probable as not.
func (e *Engine) Bypass() int {
	offset := e.Offset << 1
	mask := uint64(int64(e.Range-offset-1) >> 63)
	e.Offset = offset - e.Range&mask
	if e.Ahead--; e.Ahead < RefillAt {
		e.refill()
	}
	return int(mask & 1)
}

// Bypasses decodes n of them, the highest bit first.
func (e *Engine) Bypasses(n int) int {
	v := 0
	for range n {
		v = v<<1 | e.Bypass()
	}
	return v
}

// Terminate is DecodeTerminate, 9.3.3.2.4, 9.3.4.3.5. Once it is true, the
// last of the bits that were Taken is the last one that the encoder's flush wrote,
// 9.3.4.5, 9.3.5.6: the one that ends the RBSP, or the last before samples of PCM
// or, in H.265, before another substream; and nothing more can be decoded before
// Start.
func (e *Engine) Terminate() bool {
	e.Range -= 2 << UnitBit
	if e.Offset >= e.Range {
		return true
	}
	if e.Range < 256<<UnitBit {
		e.Range <<= 1
		e.Offset <<= 1
		if e.Ahead--; e.Ahead < RefillAt {
			e.refill()
		}
	}
	return false
}

// Taken is how many bits of the data, from its beginning, are or were in
// codIOffset. It may be more than there are: who follows damaged data asks.
func (e *Engine) Taken() int { return 8*e.pos - int(e.Ahead) }

// NextByte is where the bytes begin that follow a true Terminate.
func (e *Engine) NextByte() int { return (e.Taken() + 7) >> 3 }
