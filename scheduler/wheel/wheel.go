// Package wheel is a hierarchical timing wheel: it holds millions of entries
// and yields those that are due. It is pure: time enters only by Advance.
//
//	level 0   64 slots of 1 ms          an entry lies at the level of the highest
//	level 1   64 slots of 64 ms         6-bit group in which its time differs from
//	level 2   64 slots of 4.1 s         the present, and falls one or more levels
//	  ...                               each time the present enters its slot
//	level 10                            (Varghese and Lauck 1987, scheme 7)
//
// Entries are 24 bytes in slabs without pointers, so the garbage collector does
// not look at them; slabs are added and never copied.
package wheel

import (
	"fmt"
	"math/bits"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	slotBits = 6
	slots    = 1 << slotBits
	levels   = (63 + slotBits - 1) / slotBits
	slabBits = 14
	slabSize = 1 << slabBits
	batch    = 256
)

// Handle names one entry until it fires or is cancelled. The zero Handle names
// none.
type Handle uint64

// Due is an entry whose time has come.
type Due struct {
	At  fleet.Instant // when it was due; the present of its Add if that was later
	Key uint32        // as given to Add
}

// entry is 24 bytes. next and prev link the entries of one slot, or next alone
// the free ones; 0 ends a list.
type entry struct {
	at         fleet.Instant
	next, prev uint32
	key        uint32
	gen        uint32 // odd while in use
}

// Wheel holds entries. It is not safe for concurrent use.
type Wheel struct {
	now   fleet.Instant
	heads [levels][slots]uint32
	busy  [levels]uint64 // bit i: slot i is not empty
	slabs []*[slabSize]entry
	free  uint32
	used  uint32 // entries ever taken from slabs; 0 is nobody's
	n     int
	out   [batch]Due
}

// New returns an empty wheel whose present is start. Instants before the Unix
// epoch are taken as the epoch.
func New(start fleet.Instant) *Wheel {
	return &Wheel{now: max(start, 0)}
}

// Len returns the number of entries.
func (w *Wheel) Len() int { return w.n }

// Now returns the present: the highest time given to Advance.
func (w *Wheel) Now() fleet.Instant { return w.now }

func (w *Wheel) entry(i uint32) *entry { return &w.slabs[i>>slabBits][i&(slabSize-1)] }

// Add files an entry for the instant at; one that is not after the present is
// due at the next Advance. It may be called from Advance's fire.
func (w *Wheel) Add(at fleet.Instant, key uint32) Handle {
	i := w.free
	if i != 0 {
		w.free = w.entry(i).next
	} else {
		if w.used++; w.used>>slabBits >= uint32(len(w.slabs)) {
			w.slabs = append(w.slabs, new([slabSize]entry))
		}
		i = w.used
	}
	e := w.entry(i)
	e.at, e.key = max(at, w.now), key
	e.gen++
	w.link(i, e)
	w.n++
	return Handle(uint64(e.gen)<<32 | uint64(i))
}

// Cancel takes the entry out and reports whether it was still there.
func (w *Wheel) Cancel(h Handle) bool {
	i := uint32(h)
	if i == 0 || i > w.used {
		return false
	}
	e := w.entry(i)
	if e.gen != uint32(h>>32) || e.gen&1 == 0 {
		return false
	}
	w.unlink(e)
	w.release(i, e)
	return true
}

func (w *Wheel) release(i uint32, e *entry) {
	e.gen++
	e.next, w.free = w.free, i
	w.n--
}

// place returns the slot of the instant at, as seen from the present.
func (w *Wheel) place(at fleet.Instant) (level, slot int) {
	if diff := uint64(at ^ w.now); diff != 0 {
		level = (bits.Len64(diff) - 1) / slotBits
	}
	return level, int(at>>(level*slotBits)) & (slots - 1)
}

func (w *Wheel) link(i uint32, e *entry) {
	l, s := w.place(e.at)
	head := w.heads[l][s]
	e.next, e.prev = head, 0
	if head != 0 {
		w.entry(head).prev = i
	}
	w.heads[l][s] = i
	w.busy[l] |= 1 << s
}

func (w *Wheel) unlink(e *entry) {
	if e.next != 0 {
		w.entry(e.next).prev = e.prev
	}
	if e.prev != 0 {
		w.entry(e.prev).next = e.next
		return
	}
	// The present only moves past a slot once that is empty, so the entry's
	// place is still the one it was linked at.
	l, s := w.place(e.at)
	w.heads[l][s] = e.next
	if e.next == 0 {
		w.busy[l] &^= 1 << s
	}
}

// first returns the earliest slot that is not empty, and when it begins.
func (w *Wheel) first() (level, slot int, at fleet.Instant, ok bool) {
	for l := range levels {
		if w.busy[l] == 0 {
			continue
		}
		// All slots of a level that hold anything lie at or after the present's.
		s := bits.TrailingZeros64(w.busy[l])
		shift := l * slotBits
		at := w.now>>(shift+slotBits)<<(shift+slotBits) | fleet.Instant(s)<<shift
		return l, s, at, true
	}
	return 0, 0, 0, false
}

// Next returns an instant at or before the earliest entry's time; false when
// there is none. It is exact when that is less than 64 ms away.
func (w *Wheel) Next() (fleet.Instant, bool) {
	_, _, at, ok := w.first()
	return max(at, w.now), ok
}

// Advance moves the present to now and hands all entries whose time has come
// to fire, in batches of at most 256 in the order of their times. An entry has
// left the wheel when fire sees it. The batch is only valid during the call. A
// now before the present changes nothing.
func (w *Wheel) Advance(now fleet.Instant, fire func([]Due)) {
	now = max(now, w.now)
	out := w.out[:0]
	for {
		l, s, at, ok := w.first()
		if !ok || at > now {
			if len(out) > 0 {
				fire(out)
				out = w.out[:0]
				continue // fire may have added
			}
			break
		}
		w.now = max(w.now, at)
		if l > 0 {
			w.cascade(l, s)
			continue
		}
		for w.heads[0][s] != 0 {
			i := w.heads[0][s]
			e := w.entry(i)
			w.unlink(e)
			out = append(out, Due{At: e.at, Key: e.key})
			w.release(i, e)
			if len(out) == batch {
				fire(out)
				out = w.out[:0]
			}
		}
	}
	w.now = now
}

// cascade files the entries of a slot anew, now that the present has entered it.
func (w *Wheel) cascade(l, s int) {
	i := w.heads[l][s]
	w.heads[l][s] = 0
	w.busy[l] &^= 1 << s
	for i != 0 {
		e := w.entry(i)
		next := e.next
		w.link(i, e)
		i = next
	}
}

// String tells the wheel's size, for logs.
func (w *Wheel) String() string {
	return fmt.Sprintf("wheel at %s with %d entries in %d bytes", w.now, w.n, len(w.slabs)*slabSize*24)
}
