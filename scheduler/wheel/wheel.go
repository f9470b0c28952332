// Package wheel keeps millions of timers and says which are due. It is pure:
// it has no clock and no goroutine; its owner advances it and guards it by a
// lock.
//
//	Add ─► ring 3 ─► ring 2 ─► ring 1 ─► ring 0 ─ Advance(now) ─► batches of Due
//	       25 days   2.3 h     4.1 s     1 ms                      (a slot's width)
//
// A timer is filed by its distance into the finest ring that reaches it. Each
// ring reaches over two slots of the ring above, so the coming slot above is
// moved down little by little while the present one runs: no tick has to move
// a whole slot. A slot is a stack of 256-byte chunks, so filing and moving
// read and write memory in order; chunks and timers live in segments without
// pointers, which grow without copying and cost the garbage collector nothing.
//
// Time only moves forward. An owner whose clock steps forward, or who slept too
// long, gets all that was passed in one Advance, by instant, and decides by
// Due.At what is still worth doing. When its clock steps back, the wheel stands
// still until the clock has come to where it was: nothing fires twice, and what
// is added meanwhile for an instant that the wheel has passed fires at once,
// which is early by that clock. An owner who cannot bear that makes a New wheel
// at the present and adds its tasks again. Only tasks bound to the wall clock
// have this choice to make: for periods, feed a monotonic clock.
package wheel

import (
	"math"
	"math/bits"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxBatch is the most entries handed to fire at a time.
const maxBatch = 256

// rings from fine to coarse. reach = slots << shift is twice the width of a
// slot of the next ring; no slot is wider than 2^32 ms, so that an entry need
// keep only the low 32 bits of its time.
var rings = [...]struct{ shift, slots int }{
	{0, 8192},  // 1 ms, reaches 8.2 s
	{12, 4096}, // 4.1 s, reaches 4.7 h
	{23, 512},  // 2.3 h, reaches 50 days
	{31, 512},  // 25 days, reaches 35 years
}

const levels = len(rings)

// coarse is the shift of the coarsest ring; what lies beyond it is far.
const (
	coarse     = 31
	coarseSpan = 512
)

// Handle names one added timer, to cancel it. The zero Handle names none.
type Handle uint64

// Due is a timer whose time has come.
type Due struct {
	Key uint32
	At  fleet.Instant // as it was added
}

// Wheel holds timers. Use New. It is not safe for use by several goroutines at
// once.
type Wheel struct {
	now   int64 // every slot up to and including it has been fired
	live  int   // timers waiting
	dead  int   // cancelled, not yet met
	ring  [levels]ring
	late  slot  // added when already due, as pairs
	far   slot  // beyond the coarsest ring, as pairs
	least int64 // no far timer is before it
	free  slot  // numbers of records to use again

	records records
	chunks  chunks
	sweep   sweep

	firing bool
	n      int
	batch  [maxBatch]Due
}

type ring struct {
	shift uint
	mask  int64
	slots []slot
	busy  []uint64 // bit per slot
}

// New returns an empty wheel whose time is start: a timer at or before it is
// due at once.
func New(start fleet.Instant) *Wheel {
	w := &Wheel{now: int64(start), least: math.MaxInt64}
	for l, r := range rings {
		w.ring[l] = ring{
			shift: uint(r.shift),
			mask:  int64(r.slots - 1),
			slots: make([]slot, r.slots),
			busy:  make([]uint64, r.slots/64),
		}
	}
	return w
}

// Len returns how many timers wait.
func (w *Wheel) Len() int { return w.live }

// Now returns the time the wheel has been advanced to.
func (w *Wheel) Now() fleet.Instant { return fleet.Instant(w.now) }

// Bytes returns the memory of timers and slots, whether in use or kept for
// reuse.
func (w *Wheel) Bytes() int {
	n := w.records.bytes() + w.chunks.bytes()
	for _, r := range w.ring {
		n += len(r.slots)*slotBytes + len(r.busy)*8
	}
	return n
}

// Add files a timer. One that is already due fires at the next Advance, or in
// the Advance that is running. Keys need not differ.
func (w *Wheel) Add(at fleet.Instant, key uint32) Handle {
	var id uint32
	if w.free.n > 0 {
		id = w.chunks.pop(&w.free).id
	} else {
		id = w.records.grow()
	}
	rec := w.records.at(id)
	rec.key = key
	w.live++
	if int64(at) <= w.now {
		w.pushPair(&w.late, id, int64(at))
	} else {
		w.place(id, int64(at))
	}
	return Handle(uint64(rec.generation)<<32 | uint64(id))
}

// Cancel takes a timer out and reports whether it was still waiting. A handle
// of a timer that has fired, was cancelled, or has been handed to the batch
// that is being fired does nothing, also after its place was taken by another.
func (w *Wheel) Cancel(h Handle) bool {
	if !w.records.kill(h) {
		return false
	}
	w.live--
	w.dead++
	// The entry stays in its slot until that is reached or swept; sweeping
	// keeps the dead below about half of the living.
	if w.dead > w.live/2+sweepFloor {
		w.sweepSome()
	}
	return true
}

// Next returns the earliest instant at which something may be due, never later
// than the true one; false when no timer waits. An owner sleeps until then and
// calls Advance, which may find nothing due yet.
func (w *Wheel) Next() (fleet.Instant, bool) {
	switch {
	case w.live == 0:
		return 0, false
	case w.late.n > 0:
		return fleet.Instant(w.now), true
	}
	t, ok := w.nextBusy()
	return fleet.Instant(t), ok
}

// Advance moves time on to now and hands every timer due by then to fire, in
// batches of at most 256 that are valid during the call only: first those that
// were late when added, then by instant; in no order within an instant. fire
// may Add and Cancel; what it adds at or before now fires in the same Advance,
// so it must move forward in time. Advance called from inside fire, and a now
// before the last one, moves nothing.
func (w *Wheel) Advance(now fleet.Instant, fire func(batch []Due)) {
	if w.firing {
		return
	}
	w.firing = true
	defer func() { w.firing = false }()
	for {
		w.fireLate(fire)
		t, ok := w.nextBusy()
		if !ok || t > int64(now) {
			break
		}
		w.moveTo(t)
		w.fireSlot(t, fire)
	}
	if int64(now) > w.now {
		w.moveTo(int64(now))
	}
}

func (w *Wheel) fireLate(fire func([]Due)) {
	for w.late.n > 0 {
		for w.late.n > 0 && w.n < maxBatch {
			id, at := w.popPair(&w.late)
			w.collect(id, at)
		}
		w.flush(fire)
	}
}

func (w *Wheel) fireSlot(t int64, fire func([]Due)) {
	r := &w.ring[0]
	i := t & r.mask
	s := &r.slots[i]
	for s.n > 0 {
		for s.n > 0 && w.n < maxBatch {
			w.collect(w.chunks.pop(s).id, t)
		}
		w.flush(fire)
	}
	r.busy[i>>6] &^= 1 << (i & 63)
}

func (w *Wheel) collect(id uint32, at int64) {
	if w.records.cancelled(id) != 0 {
		w.bury(id)
		return
	}
	rec := w.records.at(id)
	w.batch[w.n] = Due{rec.key, fleet.Instant(at)}
	w.n++
	w.live--
	rec.next()
	w.chunks.push(&w.free, item{id: id})
}

// bury frees a cancelled timer whose item has been taken out.
func (w *Wheel) bury(id uint32) {
	w.records.revive(id)
	w.chunks.push(&w.free, item{id: id})
	w.dead--
}

func (w *Wheel) flush(fire func([]Due)) {
	if w.n == 0 {
		return
	}
	batch := w.batch[:w.n]
	w.n = 0
	fire(batch)
}

// place files a timer after now into the finest ring that reaches it.
func (w *Wheel) place(id uint32, at int64) {
	for l := range w.ring {
		r := &w.ring[l]
		if uint64(at>>r.shift)-uint64(w.now>>r.shift) <= uint64(r.mask) {
			i := at >> r.shift & r.mask
			w.chunks.push(&r.slots[i], item{id, uint32(at)})
			r.busy[i>>6] |= 1 << (i & 63)
			return
		}
	}
	w.least = min(w.least, at)
	w.pushPair(&w.far, id, at)
}

// nextBusy returns the start of the earliest slot after now that holds an
// entry: exact in the finest ring, a lower bound above it.
func (w *Wheel) nextBusy() (int64, bool) {
	next, found := int64(math.MaxInt64), false
	for l := range w.ring {
		r := &w.ring[l]
		if d := r.next(w.now >> r.shift & r.mask); d > 0 {
			next, found = min(next, (w.now>>r.shift+d)<<r.shift), true
		}
	}
	if w.far.n > 0 {
		// Halfway into the coarsest ring's reach is early enough to file it.
		t := max(w.now>>coarse+1, w.least>>coarse-coarseSpan/2)
		if t <= math.MaxInt64>>coarse {
			t <<= coarse
		} else {
			t = math.MaxInt64
		}
		next, found = min(next, t), true
	}
	return next, found
}

// next returns the distance from slot i to the next busy one, 0 for none.
func (r *ring) next(i int64) int64 {
	words := int64(len(r.busy))
	j := (i + 1) & r.mask
	k := j >> 6
	set := r.busy[k] &^ (1<<(j&63) - 1)
	for range words + 1 {
		if set != 0 {
			return (k<<6 + int64(bits.TrailingZeros64(set)) - i) & r.mask
		}
		k = (k + 1) % words
		set = r.busy[k]
	}
	return 0
}

// moveTo sets the time to t, at most the start of the next busy slot. Slots
// that t enters are moved down whole, and of the slots that follow them, as
// much as their share of the time.
func (w *Wheel) moveTo(t int64) {
	before := w.now
	w.now = t
	if w.far.n > 0 && w.least>>coarse-t>>coarse < coarseSpan {
		w.fileFar()
	}
	for l := levels - 1; l > 0; l-- {
		r := &w.ring[l]
		at := t >> r.shift
		if i := at & r.mask; at != before>>r.shift && r.slots[i].n > 0 {
			w.moveDown(r, i, at<<r.shift, math.MaxInt)
		}
		i := (at + 1) & r.mask
		if n := int(r.slots[i].n); n > 0 {
			left := uint64((at+1)<<r.shift) - uint64(t)
			gone := uint64(t) - uint64(before)
			share := float64(gone) / (float64(gone) + float64(left))
			w.moveDown(r, i, (at+1)<<r.shift, int(float64(n)*share)+1)
		}
	}
}

// moveDown files up to most entries of slot i, which begins at start, into
// finer rings.
func (w *Wheel) moveDown(r *ring, i, start int64, most int) {
	s := &r.slots[i]
	for range min(most, int(s.n)) {
		e := w.chunks.pop(s)
		at := start + int64(e.at-uint32(start))
		w.place(e.id, at)
	}
	if s.n == 0 {
		r.busy[i>>6] &^= 1 << (i & 63)
	}
}

// fileFar files the far timers that the coarsest ring now reaches.
func (w *Wheel) fileFar() {
	old := w.far
	w.far, w.least = slot{}, math.MaxInt64
	for old.n > 0 {
		id, at := w.popPair(&old)
		w.place(id, at)
	}
}

// pushPair keeps a timer with all bits of its time, as two entries.
func (w *Wheel) pushPair(s *slot, id uint32, at int64) {
	w.chunks.push(s, item{id, uint32(at)})
	w.chunks.push(s, item{uint32(uint64(at) >> 32), 0})
}

func (w *Wheel) popPair(s *slot) (id uint32, at int64) {
	high := w.chunks.pop(s)
	low := w.chunks.pop(s)
	return low.id, int64(uint64(high.id)<<32 | uint64(low.at))
}
