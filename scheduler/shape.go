package scheduler

import (
	"math"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// shaper moves starts later so that no more than rate of them fall into a
// second. It is pure: what it gives depends only on what was asked before. Its
// zero value, and a rate of 0, shape nothing.
//
// Time is cut into slots, of a second or, below one a second, of the time that
// one start takes. A start gets the first slot from its own on that has room,
// and a moment in it by its number there. So starts that are asked for in order
// stay in order, and a schedule that looks far ahead takes no room from one that
// does not.
type shaper struct {
	rate float64 // starts per second
	used map[int64]uint32
	last int64 // slot; those long before it are forgotten
}

// slot returns a slot's width and how many starts it holds.
func (p *shaper) slot() (width fleet.Instant, room uint32) {
	if p.rate >= 1 {
		return 1000, uint32(min(p.rate, 1e9))
	}
	return fleet.Instant(math.Ceil(1000 / p.rate)), 1
}

// shapeLimit is how far a start may be moved: what would be later than this
// would be a picture of another time of day.
const shapeLimit = time.Hour

// find returns when a start that is wanted at `at` may be, not before it; false
// when there is no room before limit. take makes it so.
func (p *shaper) find(at, limit fleet.Instant) (fleet.Instant, bool) {
	if p.rate <= 0 {
		return at, at < limit
	}
	width, room := p.slot()
	for slot := int64(at / width); fleet.Instant(slot)*width < limit; slot++ {
		if n := p.used[slot]; n < room {
			start := max(at, fleet.Instant(slot)*width+fleet.Instant(n)*width/fleet.Instant(room))
			return start, start < limit
		}
	}
	return 0, false
}

// take notes a start that was found, or that stands from before a restart.
func (p *shaper) take(start fleet.Instant) {
	if p.rate <= 0 {
		return
	}
	if p.used == nil {
		p.used = map[int64]uint32{}
	}
	width, _ := p.slot()
	slot := int64(start / width)
	p.used[slot]++
	p.forget(slot, width)
}

// give takes back what take noted.
func (p *shaper) give(start fleet.Instant) {
	if p.rate <= 0 {
		return
	}
	width, _ := p.slot()
	slot := int64(start / width)
	switch n := p.used[slot]; n {
	case 0: // it is from before the rate was another
	case 1:
		delete(p.used, slot)
	default:
		p.used[slot] = n - 1
	}
}

// shaped is how long ago a slot must be, before the latest one taken, to be
// forgotten: no schedule looks further ahead, and none is moved further.
const shaped = 24*time.Hour + 2*shapeLimit

func (p *shaper) forget(slot int64, width fleet.Instant) {
	keep := shaped.Milliseconds()/int64(width) + 1
	if slot-p.last < keep {
		return
	}
	p.last = slot
	for k := range p.used {
		if k < slot-keep {
			delete(p.used, k)
		}
	}
}

// shape finds a start that both shapers have room for, and takes it.
func shape(a, b *shaper, at, limit fleet.Instant) (fleet.Instant, bool) {
	if a.rate <= 0 && b.rate <= 0 {
		return at, true
	}
	for {
		first, ok := a.find(at, limit)
		if !ok {
			return 0, false
		}
		second, ok := b.find(first, limit)
		if !ok {
			return 0, false
		}
		if again, ok := a.find(second, limit); ok && again == second {
			a.take(second)
			b.take(second)
			return second, true
		}
		at = second + 1 // a has no room there: from the next moment on
	}
}
