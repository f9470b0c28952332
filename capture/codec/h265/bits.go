package h265

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// padding is how many zero bytes stand behind an RBSP, so that eight bytes may
// be loaded wherever a reader is.
const padding = 16

// unescape appends the RBSP of a NAL unit to dst: without the emulation
// prevention bytes of 7.4.2 and without the zeros that follow it, and with
// padding behind.
func unescape(dst, unit []byte) []byte {
	for {
		i := bytes.Index(unit, []byte{0, 0, 3})
		if i < 0 {
			break
		}
		dst = append(dst, unit[:i+2]...)
		unit = unit[i+3:]
	}
	dst = bytes.TrimRight(append(dst, unit...), "\x00")
	var zeros [padding]byte
	return append(dst, zeros[:]...)
}

// bitReader reads an RBSP bit by bit: zeros beyond its end, which ok asks for
// once behind many reads.
type bitReader struct {
	data []byte // with padding behind
	pos  int    // in bits
	end  int    // where rbsp_stop_one_bit stands, in bits
}

func newBitReader(rbsp []byte) bitReader {
	r := bitReader{data: rbsp}
	if n := len(rbsp) - padding; n > 0 {
		r.end = 8*n - 1 - bits.TrailingZeros8(rbsp[n-1])
	}
	return r
}

// ok says that nothing was read beyond the end.
func (r *bitReader) ok() bool { return r.pos <= r.end }

// u reads n bits, at most 32.
func (r *bitReader) u(n int) int {
	v := uint64(0)
	if i := r.pos >> 3; i <= len(r.data)-8 {
		v = binary.BigEndian.Uint64(r.data[i:]) << (r.pos & 7)
	}
	r.pos += n
	return int(v >> 32 >> (32 - n))
}

func (r *bitReader) flag() bool { return r.u(1) == 1 }

func (r *bitReader) skip(n int) { r.pos += n }

// tooLarge is more than any syntax element of meaning here may be, and so little
// that sums of some of it fit an int of 32 bits.
const tooLarge = 1<<28 - 1

// ue reads ue(v) of 9.2. What is larger comes out as tooLarge.
func (r *bitReader) ue() int {
	zeros := 0
	for !r.flag() {
		if zeros++; zeros > 31 {
			return tooLarge
		}
	}
	if zeros >= 28 {
		r.skip(zeros)
		return tooLarge
	}
	return 1<<zeros - 1 + r.u(zeros)
}

// se reads se(v) of 9.2.2.
func (r *bitReader) se() int {
	k := r.ue()
	if k&1 == 1 {
		return (k + 1) / 2
	}
	return -k / 2
}
