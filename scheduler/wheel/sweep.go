package wheel

// A cancelled timer's item stays where it is, for finding it would cost every
// item a way back to its record. When the dead outnumber half of the living by
// sweepFloor, each further cancellation looks at sweepStep items: a third of
// them or more are dead, so it finds more than the one it adds.
const (
	sweepFloor = 1024
	sweepStep  = 4
)

// sweep is where the search for dead items stands.
type sweep struct {
	level     int
	slot      int64
	item      uint32 // in the chunk chunks.swept
	cancelled uint32 // since the far timers were last looked through
}

func (w *Wheel) sweepSome() {
	// Far timers are few; looking through all of them after as many
	// cancellations as a quarter of them keeps that O(1) each.
	if w.sweep.cancelled++; w.far.n > 0 && w.sweep.cancelled > w.far.n/4 {
		w.sweep.cancelled = 0
		w.sweepFar()
	}
	for range sweepStep {
		w.sweepOne()
	}
}

// sweepOne looks at one item, or moves on to the next slot.
func (w *Wheel) sweepOne() {
	p := &w.sweep
	r := &w.ring[p.level]
	if w.chunks.swept == 0 {
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
		w.chunks.swept, p.item = r.slots[p.slot].top, 0
		return
	}
	c := w.chunks.at(w.chunks.swept)
	if p.item >= c.head.at {
		w.chunks.swept, p.item = c.head.id, 0
		return
	}
	id := c.items[p.item].id
	if !w.records.isDead(id) {
		p.item++
		return
	}
	// The slot's newest item takes the place of the dead one, which may be
	// the newest itself.
	s := &r.slots[p.slot]
	newest := w.chunks.pop(s)
	c.items[p.item] = newest
	w.records.free(id)
	w.dead--
	if s.n == 0 {
		r.busy[p.slot>>6] &^= 1 << (p.slot & 63)
	}
}

func (w *Wheel) sweepFar() {
	old := w.far
	w.far = slot{}
	for old.n > 0 {
		id, at := w.popPair(&old)
		if w.records.isDead(id) {
			w.records.free(id)
			w.dead--
			continue
		}
		w.pushPair(&w.far, id, at)
	}
}
