package h264

import (
	"encoding/binary"
	"math/bits"
)

// padding is how many zero bytes stand behind an RBSP, so that a reader may
// load eight bytes wherever it is.
const padding = 16

// bitReader reads an RBSP bit by bit. Beyond the end it reads zeros, and
// overrun says so: who parses asks once for many reads.
type bitReader struct {
	data []byte // with padding behind
	pos  int    // in bits
	end  int    // of the payload, in bits: where rbsp_stop_one_bit stands
}

// reset begins to read an RBSP of n bytes that has its padding in data.
func (r *bitReader) reset(data []byte, n int) {
	r.data, r.pos, r.end = data, 0, 0
	for n > 0 && data[n-1] == 0 {
		n--
	}
	if n > 0 {
		r.end = 8*n - 1 - bits.TrailingZeros8(data[n-1])
	}
}

// more is more_rbsp_data() of 7.2.
func (r *bitReader) more() bool { return r.pos < r.end }

func (r *bitReader) overrun() bool { return r.pos > r.end }

// peek returns the next 32 bits.
func (r *bitReader) peek() uint32 {
	i := r.pos >> 3
	if uint(i) > uint(len(r.data)-8) {
		return 0
	}
	return uint32(binary.BigEndian.Uint64(r.data[i:]) << (r.pos & 7) >> 32)
}

func (r *bitReader) skip(n int) { r.pos += n }

// u reads n bits, at most 32.
func (r *bitReader) u(n int) uint32 {
	if n == 0 {
		return 0
	}
	v := r.peek() >> (32 - n)
	r.pos += n
	return v
}

func (r *bitReader) flag() bool { return r.u(1) == 1 }

// ue reads ue(v) of 9.1. What does not fit 31 bits comes out as the largest
// number, which no syntax element allows.
func (r *bitReader) ue() uint32 {
	v := r.peek()
	z := bits.LeadingZeros32(v)
	if z < 16 {
		r.pos += 2*z + 1
		return v>>(31-2*z) - 1
	}
	r.pos += min(z, 31)
	if z > 30 {
		r.pos += 32
		return 1<<31 - 1
	}
	return r.u(z+1) - 1
}

// se reads se(v) of 9.1.1.
func (r *bitReader) se() int {
	k := int(r.ue())
	if k&1 == 1 {
		return (k + 1) / 2
	}
	return -k / 2
}
