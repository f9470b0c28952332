package jpeg

import "encoding/binary"

// reader hands out the bits of entropy-coded segments. The next bit is the
// highest of acc, and n of its bits are good. Where the segment ends, zeros
// follow for as long as they are asked for: pad counts them, and who took bits
// checks overrun once per block instead of at every bit.
type reader struct {
	data []byte
	pos  int
	acc  uint64
	n    uint
	pad  uint
}

// start begins a segment at pos.
func (r *reader) start(pos int) { r.pos, r.acc, r.n, r.pad = pos, 0, 0, 0 }

// overrun says whether more bits were taken than the segment had.
func (r *reader) overrun() bool { return r.n < r.pad }

// fill makes at least 32 bits good; it is worth calling when fewer are.
func (r *reader) fill() {
	if len(r.data)-r.pos >= 8 {
		if x := binary.BigEndian.Uint64(r.data[r.pos:]); !hasFF(x) {
			// The bits below the whole bytes taken are ORed in again, equal,
			// with the next fill.
			r.acc |= x >> (r.n & 63)
			r.pos += int((63 - r.n) >> 3)
			r.n |= 56
			return
		}
	}
	r.fillBytes()
}

// hasFF says whether one of the eight bytes is 0xFF: then there may be a
// stuffed zero or a marker behind it.
func hasFF(x uint64) bool {
	return (^x-0x0101010101010101)&x&0x8080808080808080 != 0
}

func (r *reader) fillBytes() {
	for r.n <= 56 {
		var c byte
		switch {
		case r.pos >= len(r.data):
			r.pad += 8
		case r.data[r.pos] != 0xFF:
			c = r.data[r.pos]
			r.pos++
		case r.pos+1 < len(r.data) && r.data[r.pos+1] == 0:
			c = 0xFF
			r.pos += 2
		default: // a marker: the segment ends here
			r.pad += 8
		}
		r.acc |= uint64(c) << (56 - r.n)
		r.n += 8
	}
}

// bits takes k bits, 0 to 16.
func (r *reader) bits(k uint) int32 {
	if r.n < 32 {
		r.fill()
	}
	v := int32(r.acc >> 1 >> (63 - k))
	r.acc <<= k
	r.n -= k
	return v
}

func (r *reader) bit() bool { return r.bits(1) != 0 }

// extend takes k bits and reads them as JPEG codes signed numbers: the upper
// half of the range as it is, the lower half as negative.
func (r *reader) extend(k uint) int32 {
	if k == 0 {
		return 0
	}
	v := r.bits(k)
	if v < 1<<(k-1) {
		v += -1<<k + 1
	}
	return v
}

// symbol takes one Huffman code. An unknown code takes all bits there are, so
// that it shows as an overrun.
func (r *reader) symbol(t *table) byte {
	if r.n < 32 {
		r.fill()
	}
	if e := t.codes[r.acc>>(64-lutBits)]; e != 0 {
		r.acc <<= e >> 8
		r.n -= uint(e >> 8)
		return byte(e)
	}
	s, k, ok := t.long(r.acc)
	if !ok {
		r.pad = r.n + 1<<20
		return 0
	}
	r.acc <<= k
	r.n -= k
	return s
}

// pass goes over the coefficients of a block from k on, whose table has its
// skips filled in.
func (r *reader) pass(t *table, k int) bool {
	acc, n := r.acc, r.n
	for k < 64 {
		if n < 32 {
			r.acc, r.n = acc, n
			r.fill()
			acc, n = r.acc, r.n
		}
		// A look-up that goes beyond the block holds codes of the next one.
		e := t.skips[acc>>(64-skipBits)]
		if moved := int(e >> skipShift & 127); moved != 0 && k+moved <= 64 {
			acc <<= e & skipTaken
			n -= uint(e & skipTaken)
			k += moved
			if e&skipEnd != 0 {
				break
			}
			continue
		}
		sym, length, ok := t.next(acc)
		if !ok {
			return false
		}
		bits := uint(sym & 15)
		acc <<= length + bits
		n -= length + bits
		if bits == 0 && sym != 0xF0 {
			break
		}
		k += int(sym>>4) + 1
	}
	r.acc, r.n = acc, n
	return true
}
