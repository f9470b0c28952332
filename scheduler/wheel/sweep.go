package wheel

import (
	"math"
	"math/bits"
)

// A cancelled timer's item stays where it is, for finding it would cost every
// item a way back to its record. Once the dead outnumber half of the living by
// sweepFloor, every sweepEvery-th cancellation looks through chunks until it
// has looked at sweepMost items or found twice as many dead as were added. A
// third of the items or more are dead, so it finds enough. It is done in one go
// and a chunk at a time, for the misses of the cache overlap then: with a look
// at four items at each cancellation, one of 10 million in random order took
// half as long again.
const (
	sweepFloor = 128
	sweepEvery = 64
	sweepMost  = 4 * sweepEvery
	sweepFound = 2 * sweepEvery
)

// sweep is where the search for dead items stands; the chunk it comes to next
// is chunks.swept.
type sweep struct {
	level     int
	slot      int64
	cancelled uint32 // since the last sweep
	farther   uint32 // since the far timers were last looked through
}

func (w *Wheel) sweepSome() {
	p := &w.sweep
	if p.cancelled++; p.cancelled < sweepEvery {
		return
	}
	p.cancelled = 0
	// Far timers are few; looking through all of them after as many
	// cancellations as a quarter of them keeps that O(1) each.
	if p.farther += sweepEvery; w.far.n > 0 && p.farther > w.far.n/4 {
		p.farther = 0
		w.sweepFar()
	}
	for looks, found := 0, 0; looks < sweepMost && found < sweepFound; {
		if w.chunks.swept == 0 {
			w.sweepNext()
			looks++
			continue
		}
		n, dead := w.sweepChunk()
		looks += n
		found += dead
	}
}

// sweepNext moves on to the next busy slot.
func (w *Wheel) sweepNext() {
	p := &w.sweep
	r := &w.ring[p.level]
	d := r.next(p.slot)
	if d == 0 || p.slot+d > r.mask {
		// The end of this ring: begin the next one before its first slot.
		p.level = (p.level + 1) % levels
		p.slot = w.ring[p.level].mask
		if w.ring[p.level].busy[0]&1 == 0 {
			p.slot = 0
			return
		}
		d = 1
		r = &w.ring[p.level]
	}
	p.slot = (p.slot + d) & r.mask
	w.chunks.swept = r.slots[p.slot].top
}

// sweepChunk takes the dead out of one chunk and returns how many items it
// looked at and how many it took. The slot's newest item takes the place of
// each; above the place where it stands in the newest chunk, all live.
func (w *Wheel) sweepChunk() (looked, taken int) {
	p := &w.sweep
	r := &w.ring[p.level]
	s := &r.slots[p.slot]
	c := w.chunks.at(w.chunks.swept)
	w.chunks.swept = c.head.id
	looked = int(c.head.at)
	dead := uint32(0) // bit per item: no branches, so that the look-ups overlap
	for i, e := range c.items[:looked] {
		dead |= w.records.cancelled(e.id) << i
	}
	for ; dead != 0; taken++ {
		i := 31 - bits.LeadingZeros32(dead)
		dead &^= 1 << i
		id := c.items[i].id
		c.items[i] = w.chunks.pop(s)
		w.bury(id)
	}
	if s.n == 0 {
		r.busy[p.slot>>6] &^= 1 << (p.slot & 63)
	}
	return looked, taken
}

func (w *Wheel) sweepFar() {
	old := w.far
	w.far, w.least = slot{}, math.MaxInt64
	for old.n > 0 {
		id, at := w.popPair(&old)
		if w.records.cancelled(id) != 0 {
			w.bury(id)
			continue
		}
		w.least = min(w.least, at)
		w.pushPair(&w.far, id, at)
	}
}
