package codec

import "encoding/binary"

// Columns adds up rows of samples column by column, eight at a time: the core
// of everything here that makes a picture smaller. The zero Columns is ready;
// its memory is kept from one use to the next.
type Columns struct {
	Level Level // of the loop over a row; the zero Level is the best one

	sums  []uint32
	lanes []uint64 // sums that still fit 16 bits, four to a word
	room  uint32   // by how much the weights in the lanes may still grow
}

// laneRoom is how large the weights in one lane may sum up to: 255 times as
// much still fits its 16 bits.
const laneRoom = 65535 / 255

const evenBytes = 0x00ff00ff00ff00ff

// Reset begins anew with rows of width samples.
func (c *Columns) Reset(width int) {
	if cap(c.sums) < width {
		c.sums = make([]uint32, width)
		c.lanes = make([]uint64, width/8*2)
	}
	c.sums, c.lanes = c.sums[:width], c.lanes[:width/8*2]
	clear(c.sums)
	clear(c.lanes)
	c.room = laneRoom
}

// Add adds a row, each sample weight times, for a weight up to 257. The row has
// the width of Reset; all weights together may reach 2^24.
func (c *Columns) Add(row []byte, weight uint32) {
	if weight > c.room {
		c.spill()
	}
	c.room -= weight
	w, lanes, sums := uint64(weight), c.lanes, c.sums
	full := len(lanes) / 2 * 8
	for x := full; x < len(row) && x < len(sums); x++ {
		sums[x] += uint32(row[x]) * weight
	}
	row = row[:full]
	if c.Level != PlainGo {
		n := addLanes(lanes, row, w)
		row, lanes = row[n:], lanes[n/4:]
	}
	for ; len(row) >= 8 && len(lanes) >= 2; row, lanes = row[8:], lanes[2:] {
		v := binary.LittleEndian.Uint64(row)
		lanes[0] += v & evenBytes * w
		lanes[1] += v >> 8 & evenBytes * w
	}
}

// Sums returns the sums so far, valid until the next call of Reset.
func (c *Columns) Sums() []uint32 {
	c.spill()
	return c.sums
}

// spill moves the lanes to the sums and empties them.
func (c *Columns) spill() {
	c.room = laneRoom
	sums := c.sums
	for lanes := c.lanes; len(lanes) >= 2 && len(sums) >= 8; lanes, sums = lanes[2:], sums[8:] {
		a, b := lanes[0], lanes[1]
		lanes[0], lanes[1] = 0, 0
		sums[0] += uint32(a & 0xffff)
		sums[1] += uint32(b & 0xffff)
		sums[2] += uint32(a >> 16 & 0xffff)
		sums[3] += uint32(b >> 16 & 0xffff)
		sums[4] += uint32(a >> 32 & 0xffff)
		sums[5] += uint32(b >> 32 & 0xffff)
		sums[6] += uint32(a >> 48)
		sums[7] += uint32(b >> 48)
	}
}
