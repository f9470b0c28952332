package jpeg

import (
	"bytes"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// lutBits is how many bits one look-up decodes. Ten hold nearly all codes
// together with their coefficient, and a table stays small enough for the
// first-level cache beside the three others.
const lutBits = 10

// skipBits is how many bits one look-up passes over. Twelve hold two codes and
// more with their coefficients, in 8 kB a table.
const skipBits = 12

// What an entry of table.skips holds.
const (
	skipTaken = 1<<4 - 1         // bits taken: 1 to 12
	skipShift = 4                // from here on 7 bits: by how much the coefficient moves on
	skipEnd   = 1 << 15          // the last of the codes ends the block
	skipNone  = 127 << skipShift // not even one code fits
)

// startBits is how many bits table.starts decodes at once.
const startBits = 10

// Where an entry of table.starts holds the coefficients of the lowest 2x2, above
// what table.skips has: row by row 1, 8 and 9; in coding order 1, 2 and 4.
const (
	startB1 = 16
	startB8 = 32
	startB9 = 48
)

// table decodes one Huffman code.
type table struct {
	source []byte // of the DHT segment: counts and symbols; the same again builds nothing

	codes [1 << lutBits]uint16 // length<<8 | symbol, 0 for longer codes
	// pairs decode a code together with the bits of its coefficient:
	// value<<16 | run<<8 | bits taken, where all fit and value is not 0;
	// else symbol<<8 | length; 0 for longer codes.
	pairs [1 << lutBits]uint32

	// skips pass over as many codes at once as fit together with their
	// coefficients; an end of block counts as a coefficient.
	skips  [1 << skipBits]uint16
	skipOK bool // they are filled in: only AC tables need them

	// starts are skips at the beginning of a block that hold the values of its
	// lowest coefficients. 0 where not even one code fits.
	starts  [1 << startBits]uint64
	startOK bool

	// diffs decode a code of a DC table together with its difference:
	// value<<16 | bits taken; 0 where they do not fit.
	diffs  [1 << lutBits]uint32
	diffOK bool

	first [18]int32 // per length: the smallest code,
	until [18]int32 // one more than the largest,
	at    [18]int32 // and where its symbol is
	syms  [256]byte
}

// build fills t from the body of a DHT segment: 16 counts, then the symbols.
func (t *table) build(counts []byte, symbols []byte) error {
	if len(t.source) == 16+len(symbols) && bytes.Equal(t.source[:16], counts) && bytes.Equal(t.source[16:], symbols) {
		return nil
	}
	t.source = append(append(t.source[:0], counts...), symbols...)
	clear(t.codes[:])
	clear(t.pairs[:])
	t.skipOK, t.startOK, t.diffOK = false, false, false
	copy(t.syms[:], symbols)
	code, at := int32(0), int32(0)
	for length := uint(1); length <= 16; length++ {
		n := int32(counts[length-1])
		t.first[length], t.until[length], t.at[length] = code, code+n, at
		if code+n > 1<<length {
			t.source = t.source[:0]
			return codec.Corrupt("a JPEG Huffman table has more codes of %d bits than there are", length)
		}
		for range n {
			if length <= lutBits {
				t.spread(uint32(code), length, t.syms[at])
			}
			code++
			at++
		}
		code <<= 1
	}
	return nil
}

// spread writes one code to all look-ups that begin with it.
func (t *table) spread(code uint32, length uint, sym byte) {
	free := lutBits - length
	size := uint(sym & 15)
	for low := range uint32(1) << free {
		i := code<<free | low
		t.codes[i] = uint16(length)<<8 | uint16(sym)
		t.pairs[i] = uint32(sym)<<8 | uint32(length)
		if size > 0 && size <= free {
			v := signed(uint64(low)<<(64-free), size)
			t.pairs[i] = uint32(v)<<16 | uint32(sym>>4)<<8 | uint32(length+size)
		}
	}
}

// fillSkips makes the look-ups for passing over AC coefficients.
func (t *table) fillSkips() {
	if t.skipOK {
		return
	}
	t.skipOK = true
	for i := range t.skips {
		t.skips[i] = skipNone
		if e := t.run(uint64(i)<<(64-skipBits), skipBits, 64); e != 0 {
			t.skips[i] = uint16(e)
		}
	}
}

// fillStarts makes the look-ups for the lowest AC coefficients.
func (t *table) fillStarts() {
	if t.startOK {
		return
	}
	t.startOK = true
	for i := range t.starts {
		t.starts[i] = t.run(uint64(i)<<(64-startBits), startBits, 63)
	}
}

// run walks over the codes of AC coefficients that fit into so many bits of acc
// and move on by most at most, and returns the entry for them: of starts, and in
// its 16 lowest bits of skips.
func (t *table) run(acc uint64, n uint, most int) (e uint64) {
	taken, moved := uint(0), 0
	for {
		sym, length, ok := t.next(acc)
		size := uint(sym & 15)
		move, end := int(sym>>4)+1, uint64(0)
		if size == 0 && sym != 0xF0 {
			move, end = 1, skipEnd // any run without a coefficient, as decoding has it
		}
		if !ok || taken+length+size > n || moved+move > most {
			return e
		}
		value := uint64(0)
		if size > 0 {
			value = uint64(uint16(signed(acc<<length, size)))
		}
		taken, moved, acc = taken+length+size, moved+move, acc<<(length+size)
		switch moved { // as many coefficients lie behind
		case 1:
			e |= value << startB1
		case 2:
			e |= value << startB8
		case 4:
			e |= value << startB9
		}
		e = e&^0xffff | end | uint64(moved)<<skipShift | uint64(taken)
		if end != 0 {
			return e
		}
	}
}

// fillDiffs makes the look-ups for differences of DC coefficients.
func (t *table) fillDiffs() {
	if t.diffOK {
		return
	}
	t.diffOK = true
	for i := range t.diffs {
		acc := uint64(i) << (64 - lutBits)
		sym, length, ok := t.next(acc)
		t.diffs[i] = 0
		if size := uint(sym); ok && length+size <= lutBits {
			v := int32(0)
			if size > 0 {
				v = signed(acc<<length, size)
			}
			t.diffs[i] = uint32(v)<<16 | uint32(length+size)
		}
	}
}

// next decodes one code, which must have all of its bits in acc.
func (t *table) next(acc uint64) (sym byte, length uint, ok bool) {
	if e := t.codes[acc>>(64-lutBits)]; e != 0 {
		return byte(e), uint(e >> 8), true
	}
	return t.long(acc)
}

// long decodes a code that no look-up held.
func (t *table) long(acc uint64) (sym byte, length uint, ok bool) {
	for length = lutBits + 1; length <= 16; length++ {
		code := int32(acc >> (64 - length))
		if code < t.until[length] {
			i := t.at[length] + code - t.first[length]
			if i < 0 || i > 255 {
				return 0, 0, false
			}
			return t.syms[i], length, true
		}
	}
	return 0, 0, false
}

// standard returns the tables of ITU-T T.81, Annex K.3, in the order DC 0,
// DC 1, AC 0, AC 1. Motion JPEG leaves them out of its frames, and so do many
// cameras.
func standard() (t [4]*table, err error) {
	for i, s := range standardTables {
		t[i] = new(table)
		if err := t[i].build(s[:16], s[16:]); err != nil {
			return t, err
		}
	}
	return t, nil
}

var standardTables = [4][]byte{
	{
		0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0,
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
	},
	{
		0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
	},
	{
		0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125,
		0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
		0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0,
		0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28,
		0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
		0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
		0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
		0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
		0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5,
		0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
		0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
		0xf9, 0xfa,
	},
	{
		0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119,
		0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71,
		0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0,
		0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26,
		0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
		0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
		0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
		0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5,
		0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
		0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
		0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
		0xf9, 0xfa,
	},
}
