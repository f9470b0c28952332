// Package cabactest codes bins for tests of what decodes them: the encoder that
// the standards describe beside their engine.
package cabactest

import "github.com/shutterfleet/shutterfleet/capture/codec/cabac"

// An Encoder is the arithmetic encoder of H.264, 9.3.4, and H.265, 9.3.5, which
// the standards give for information.
type Encoder struct {
	put         func(bit int)
	low, rng    uint32
	outstanding int
	first       bool
}

// NewEncoder returns an encoder that gives its bits to put and has begun.
func NewEncoder(put func(bit int)) *Encoder {
	e := &Encoder{put: put}
	e.Begin()
	return e
}

// Begin initialises the encoder: at the beginning, and behind what follows a true
// Terminate.
func (e *Encoder) Begin() { e.low, e.rng, e.outstanding, e.first = 0, 510, 0, true }

// Bin codes a bin with its context, which it moves on. How the range is divided
// and what the context becomes is asked of the decoder, with the least offset of
// each outcome.
func (e *Encoder) Bin(c *cabac.Context, bin int) {
	d, _, rng, n := cabac.Decide(*c, 0, uint64(e.rng)<<cabac.UnitBit)
	more := uint32(rng >> cabac.UnitBit >> n)
	if d.Bin() == bin {
		e.rng = more
	} else {
		d, _, _, _ = cabac.Decide(*c, uint64(more)<<cabac.UnitBit, uint64(e.rng)<<cabac.UnitBit)
		e.low += more
		e.rng -= more
	}
	*c = d.Next()
	e.renorm()
}

// Bypass codes a bin that is as probable as not.
func (e *Encoder) Bypass(bin int) {
	e.low <<= 1
	if bin == 1 {
		e.low += e.rng
	}
	switch {
	case e.low >= 1024:
		e.bit(1)
		e.low -= 1024
	case e.low < 512:
		e.bit(0)
	default:
		e.low -= 512
		e.outstanding++
	}
}

// Terminate codes a terminating bin. Behind a true one all is written; the last
// bit is a one: that which ends an RBSP, or the first of what aligns it.
func (e *Encoder) Terminate(end bool) {
	e.rng -= 2
	if !end {
		e.renorm()
		return
	}
	e.low += e.rng
	e.rng = 2
	e.renorm()
	e.bit(int(e.low >> 9 & 1))
	e.put(int(e.low >> 8 & 1))
	e.put(1)
}

func (e *Encoder) renorm() {
	for ; e.rng < 256; e.rng <<= 1 {
		switch {
		case e.low < 256:
			e.bit(0)
		case e.low >= 512:
			e.low -= 512
			e.bit(1)
		default:
			e.low -= 256
			e.outstanding++
		}
		e.low <<= 1
	}
}

// bit is PutBit: the bit, and behind it the outstanding ones.
func (e *Encoder) bit(b int) {
	if e.first {
		e.first = false
	} else {
		e.put(b)
	}
	for ; e.outstanding > 0; e.outstanding-- {
		e.put(1 - b)
	}
}
