package phash

import (
	"encoding/binary"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// shrinker makes a plane 32x32 as Pillow does: along the rows, rounded to
// bytes, then along the columns, rounded again. A row is reduced and added to
// the outputs it belongs to at once, so nothing of the picture's height is kept.
type shrinker struct {
	across, down axis
	kernel       kernel
	cells        []uint64            // of two rows, one in each half of a word
	sums         [small][lanes]int32 // of the rows in work, before rounding
	columns      [small][small / 2]uint64
	pix          [small][small]uint8
}

// lanes is how many rows a kernel reduces at a time.
const lanes = 4

func (s *shrinker) shrink(p codec.Plane) *[small][small]uint8 {
	s.across.prepare(p.Width, enoughCells, 15) // bits: the vector path multiplies int16
	s.down.prepare(p.Height, p.Height, precision+1)
	s.kernel.prepare(&s.across)
	clear(s.columns[:])
	first := 0
	for y := 0; y < p.Height; {
		var n int
		if s.kernel.fits(p.Height - y) {
			n = s.kernel.reduce(&s.sums, p, y)
		} else {
			n = s.pair(p, y)
		}
		for k := range n {
			first = s.add(y+k, k, first)
		}
		y += n
	}
	half := int32(1) << (s.down.shift - 1)
	for o := range s.columns {
		for x, v := range s.columns[o] {
			lo, hi := halves(v)
			s.pix[o][x] = clip((lo + half) >> s.down.shift)
			s.pix[o][x+small/2] = clip((hi + half) >> s.down.shift)
		}
	}
	return &s.pix
}

// pair reduces row y and the one below, which may be row y again, and says how
// many rows that were. Two rows go through one multiplication: as the halves of
// a word, whose sums fit 32 bits each.
func (s *shrinker) pair(p codec.Plane, y int) int {
	a, b, n := p.Row(y), p.Row(y), 1
	if y+1 < p.Height {
		b, n = p.Row(y+1), 2
	}
	c := &s.across
	if cap(s.cells) < c.cells {
		s.cells = make([]uint64, c.cells)
	}
	s.cells = s.cells[:c.cells]
	bins(s.cells, a, b, c.bin)
	for o := range small {
		w := c.weights[o*c.taps : (o+1)*c.taps]
		v := s.cells[c.from[o]:][:len(w)]
		var even, odd uint64
		for len(w) >= 8 && len(v) >= 8 {
			a, b := (*[8]int32)(w), (*[8]uint64)(v)
			even += uint64(a[0])*b[0] + uint64(a[2])*b[2] + uint64(a[4])*b[4] + uint64(a[6])*b[6]
			odd += uint64(a[1])*b[1] + uint64(a[3])*b[3] + uint64(a[5])*b[5] + uint64(a[7])*b[7]
			w, v = w[8:], v[8:]
		}
		for k := range min(len(w), len(v)) {
			even += uint64(w[k]) * v[k]
		}
		s.sums[o][0], s.sums[o][1] = halves(even + odd)
	}
	return n
}

// halves takes two sums of 32 bits with signs apart.
func halves(v uint64) (lo, hi int32) {
	lo = int32(v)
	return lo, int32((v - uint64(lo)) >> 32)
}

// bins adds up each n neighbors of two rows.
func bins(cells []uint64, a, b []byte, n int) {
	const even = 0x00ff00ff00ff00ff
	switch n {
	case 1:
		b = b[:len(a)]
		for x, v := range a[:len(cells)] {
			cells[x] = uint64(v) | uint64(b[x])<<32
		}
		return
	case 2:
		for len(cells) >= 4 && len(a) >= 8 && len(b) >= 8 {
			u, v := binary.LittleEndian.Uint64(a), binary.LittleEndian.Uint64(b)
			u, v = u&even+u>>8&even, v&even+v>>8&even
			cells[0] = u&0xffff | v<<32&0xffff00000000
			cells[1] = u>>16&0xffff | v<<16&0xffff00000000
			cells[2] = u>>32&0xffff | v&0xffff00000000
			cells[3] = u>>48 | v>>16&0xffff00000000
			cells, a, b = cells[4:], a[8:], b[8:]
		}
	case 4:
		for len(cells) >= 2 && len(a) >= 8 && len(b) >= 8 {
			u, v := binary.LittleEndian.Uint64(a), binary.LittleEndian.Uint64(b)
			u, v = u&even+u>>8&even, v&even+v>>8&even
			u, v = u+u>>16, v+v>>16
			cells[0] = u&0xffff | v<<32&0xffff00000000
			cells[1] = u>>32&0xffff | v&0xffff00000000
			cells, a, b = cells[2:], a[8:], b[8:]
		}
	}
	for i := range cells {
		m := min(n, len(a))
		var u, v uint64
		for k := range m {
			u += uint64(a[k])
			v += uint64(b[k])
		}
		cells[i] = u | v<<32
		a, b = a[m:], b[m:]
	}
}

// add rounds the row in the lane and adds it to the outputs it belongs to. It
// returns the first of them: the next row has none before.
func (s *shrinker) add(y, lane, first int) int {
	var row [small / 2]uint64
	half, shift := int32(1)<<(s.across.shift-1), s.across.shift
	for x := range row {
		row[x] = uint64(clip((s.sums[x][lane]+half)>>shift)) | uint64(clip((s.sums[x+small/2][lane]+half)>>shift))<<32
	}
	d := &s.down
	for first < small && int(d.from[first])+d.taps <= y {
		first++
	}
	for o := first; o < small && int(d.from[o]) <= y; o++ {
		w := uint64(d.weights[o*d.taps+y-int(d.from[o])])
		if w == 0 {
			continue
		}
		c := &s.columns[o]
		for x, v := range row {
			c[x] += w * v
		}
	}
	return first
}

func clip(v int32) uint8 { return uint8(max(0, min(255, v))) }
