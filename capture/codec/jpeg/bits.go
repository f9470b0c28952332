package jpeg

import "encoding/binary"

// window is the next bits of a segment: the very next is the highest of acc, and n
// of its bits are good, at most 63. Walks hold it in registers from one code to
// the next; it is the reader's own in between.
type window struct {
	acc uint64
	n   uint
}

// take drops the next k bits, below 64.
func (w window) take(k uint) window { return window{w.acc << (k & 63), w.n - k} }

// reader hands out the bits of entropy-coded segments. Where the segment ends,
// zeros follow for as long as they are asked for: pad counts them, and who took
// bits checks overrun once per MCU instead of at every bit.
type reader struct {
	window
	data []byte
	pos  int
	pad  uint
}

// start begins a segment at pos.
func (r *reader) start(pos int) { r.pos, r.window, r.pad = pos, window{}, 0 }

// overrun says whether more bits were taken than the segment had.
func (r *reader) overrun() bool { return r.n < r.pad }

// fill makes at least 56 bits good.
func (r *reader) fill(w window) window {
	if pos := r.pos; len(r.data)-pos >= 8 {
		if x := binary.BigEndian.Uint64(r.data[pos:]); !hasFF(x) {
			// The bits below the whole bytes taken are ORed in again, equal,
			// with the next fill.
			r.pos = pos + int((63-w.n)>>3)
			return window{w.acc | x>>(w.n&63), w.n | 56}
		}
	}
	return r.fillBytes(w)
}

// hasFF says whether one of the eight bytes is 0xFF: then there may be a
// stuffed zero or a marker behind it.
func hasFF(x uint64) bool {
	return (^x-0x0101010101010101)&x&0x8080808080808080 != 0
}

func (r *reader) fillBytes(w window) window {
	for w.n < 56 {
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
		w.acc |= uint64(c) << (56 - w.n)
		w.n += 8
	}
	return w
}
