// Package rbsp reads raw byte sequence payloads, which H.264 and H.265 have in
// their NAL units: parameter sets, slice headers, and what is coded without
// arithmetic.
//
//	payload of a NAL unit ──Unescape──► RBSP ──Reader──► u(n), ue(v), se(v)
//
// It is written from ITU-T Rec. H.264, 7.4.1 and 9.1, and H.265, 7.4.2 and 9.2, which
// say the same.
package rbsp

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Padding is how many zero bytes stand behind an RBSP, so that who reads it may
// load eight bytes wherever there is a bit of it.
const Padding = 16

// Unescape appends the RBSP of a NAL unit's payload, which is what follows its
// header, to dst: without the emulation prevention bytes and without the zeros
// behind rbsp_trailing_bits(), and with its Padding. It appends no more than the
// payload and the Padding are long.
func Unescape(dst, payload []byte) []byte {
	from := len(dst)
	for {
		i := bytes.Index(payload, []byte{0, 0, 3})
		if i < 0 {
			break
		}
		dst = append(dst, payload[:i+2]...)
		payload = payload[i+3:]
	}
	dst = append(dst, payload...)
	n := len(dst)
	for n > from && dst[n-1] == 0 {
		n--
	}
	return append(dst[:n], make([]byte, Padding)...)
}

// Largest is what UE returns for what it does not read: more than any syntax
// element may be that a picture depends on, and an int on every processor.
const Largest = 1<<31 - 1

// A Reader reads an RBSP bit by bit. Beyond the end it reads zeros, and Overrun
// says so: who parses asks once for many reads. The zero Reader has read an empty
// RBSP.
type Reader struct {
	Data []byte // the RBSP, with its Padding
	Pos  int    // of the next bit; never negative
	End  int    // of the payload, in bits: where rbsp_stop_one_bit stands
}

// Open begins with the RBSP of a NAL unit's payload, in the memory of the one
// before.
func (r *Reader) Open(payload []byte) {
	r.Data = Unescape(r.Data[:0], payload)
	r.Pos, r.End = 0, 0
	if n := r.Len(); n > 0 {
		r.End = 8*n - 1 - bits.TrailingZeros8(r.Data[n-1])
	}
}

// Len is the length of the RBSP in bytes, without its Padding.
func (r *Reader) Len() int { return max(len(r.Data)-Padding, 0) }

// More is more_rbsp_data(), 7.2.
func (r *Reader) More() bool { return r.Pos < r.End }

// Overrun says that more was read than there is.
func (r *Reader) Overrun() bool { return r.Pos > r.End }

// Peek returns the next 32 bits.
func (r *Reader) Peek() uint32 {
	i := r.Pos >> 3
	if i+8 > len(r.Data) {
		return 0
	}
	return uint32(binary.BigEndian.Uint64(r.Data[i:]) << (r.Pos & 7) >> 32)
}

// Skip passes over n bits.
func (r *Reader) Skip(n int) { r.Pos += n }

// Align passes over what is left of a byte, and returns which one is next.
func (r *Reader) Align() int {
	r.Pos = (r.Pos + 7) &^ 7
	return r.Pos >> 3
}

// U reads u(n), at most 32 bits.
func (r *Reader) U(n int) uint32 {
	if n == 0 {
		return 0
	}
	v := r.Peek() >> (32 - n)
	r.Pos += n
	return v
}

// Flag reads u(1).
func (r *Reader) Flag() bool { return r.U(1) == 1 }

// UE reads ue(v), 9.1, 9.2. What is no code, or does not fit 31 bits, comes out as
// Largest.
func (r *Reader) UE() uint32 {
	v := r.Peek()
	z := bits.LeadingZeros32(v)
	if z < 16 {
		r.Pos += 2*z + 1
		return v>>(31-2*z) - 1
	}
	r.Pos += min(z, 31)
	if z > 30 {
		r.Pos += 32
		return Largest
	}
	return r.U(z+1) - 1
}

// SE reads se(v), 9.1.1, 9.2.2.
func (r *Reader) SE() int {
	k := int(r.UE())
	if k&1 == 1 {
		return k>>1 + 1
	}
	return -(k >> 1)
}
