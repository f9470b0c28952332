package scheduler

import (
	"math"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// flight is an order without an outcome, 56 bytes.
type flight struct {
	nominal  fleet.Instant
	timer    wheel.Handle
	camera   uint32
	rev      uint32
	start    uint32 // after nominal, ms
	deadline uint32 // after nominal, ms
	agent    uint32 // who may hold it; 0 = nobody: it is in its site's list
	next     uint32 // in the list of its agent or site
	prev     uint32
	stored   bool // its agent said so, on the present stream
	paused   bool // nobody is told of it before its start
	moved    bool // another agent has tried it, and failed
}

// orderKey is an occurrence in numbers.
type orderKey struct {
	camera, schedule uint32
	nominal          fleet.Instant
}

// flightList is the orders of one agent, or those of a site that nobody has.
type flightList struct {
	head uint32
	n    int
}

func (s *Scheduler) keyOf(f *flight) orderKey {
	return orderKey{f.camera, s.revs[f.rev].ident, f.nominal}
}

func (s *Scheduler) occurrence(f *flight) fleet.Occurrence {
	return fleet.Occurrence{Camera: s.cams.slots.at(f.camera).id, Schedule: s.revs[f.rev].ID, Nominal: f.nominal}
}

func (s *Scheduler) order(f *flight) fleet.Order {
	r := s.revs[f.rev]
	o := fleet.Order{
		Occurrence: s.occurrence(f), Deadline: f.nominal + fleet.Instant(f.deadline), Retries: r.retries, Priority: r.priority, Fence: s.epoch,
	}
	if o.Retries > 0 && !f.moved && r.cal.Retry().Elsewhere {
		o.Retries-- // the last try is another agent's
	}
	if f.start > 0 {
		o.NotBefore = f.nominal + fleet.Instant(f.start)
	}
	return o
}

// flightOf returns the number of the occurrence's order, 0 when none is in
// flight.
func (s *Scheduler) flightOf(o fleet.Occurrence) uint32 {
	camera := s.cams.byID[o.Camera]
	ident, ok := s.idents[o.Schedule]
	if camera == 0 || !ok {
		return 0
	}
	return s.flights[orderKey{camera, ident, o.Nominal}]
}

// isFlight reports whether number n is the order of o.
func (s *Scheduler) isFlight(n uint32, o fleet.Occurrence) bool { return s.flightOf(o) == n }

func (s *Scheduler) listOf(f *flight) *flightList {
	if f.agent == 0 {
		return &s.siteAt(f.camera).orphans
	}
	return &s.boxes[f.agent-1].held
}

// addFlight puts an order into memory, in the list of f.agent.
func (s *Scheduler) addFlight(f flight) uint32 {
	n := s.slots.take()
	at := s.slots.at(n)
	*at = f
	s.flights[s.keyOf(at)] = n
	s.push(n)
	s.watch(n)
	return n
}

// watch sets the order's timer: to its start while it is paused, else to its
// deadline; flightDue looks further.
func (s *Scheduler) watch(n uint32) {
	f := s.slots.at(n)
	s.wheel.Cancel(f.timer)
	at := f.nominal + fleet.Instant(f.deadline)
	if f.paused {
		at = f.nominal + fleet.Instant(f.start)
	}
	f.timer = s.wheel.Add(at, n|flightKey)
}

func (s *Scheduler) push(n uint32) {
	f := s.slots.at(n)
	l := s.listOf(f)
	if f.prev, f.next = 0, l.head; l.head != 0 {
		s.slots.at(l.head).prev = n
	}
	l.head = n
	l.n++
}

func (s *Scheduler) unlink(n uint32) {
	f := s.slots.at(n)
	l := s.listOf(f)
	if f.prev != 0 {
		s.slots.at(f.prev).next = f.next
	} else {
		l.head = f.next
	}
	if f.next != 0 {
		s.slots.at(f.next).prev = f.prev
	}
	l.n--
}

func (s *Scheduler) removeFlight(n uint32) {
	f := s.slots.at(n)
	s.wheel.Cancel(f.timer)
	s.unlink(n)
	delete(s.flights, s.keyOf(f))
	s.slots.give(n)
}

// give moves an order to another agent's list.
func (s *Scheduler) give(n, agent uint32) {
	s.unlink(n)
	f := s.slots.at(n)
	f.agent, f.stored = agent, false
	s.push(n)
}

// listed returns a list's orders that keep wants, by start.
func (s *Scheduler) listed(l *flightList, keep func(*flight) bool) []uint32 {
	out := make([]uint32, 0, l.n)
	for n := l.head; n != 0; n = s.slots.at(n).next {
		if keep == nil || keep(s.slots.at(n)) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, func(a, b uint32) int {
		x, y := s.slots.at(a), s.slots.at(b)
		if d := int64(x.nominal+fleet.Instant(x.start)) - int64(y.nominal+fleet.Instant(y.start)); d != 0 {
			return int(max(-1, min(1, d)))
		}
		return int(int64(x.camera) - int64(y.camera))
	})
	return out
}

// flightDue is what the wheel says when an order's time is up.
func (s *Scheduler) flightDue(n uint32, now fleet.Instant) {
	f := s.slots.at(n)
	f.timer = 0
	deadline := f.nominal + fleet.Instant(f.deadline)
	switch {
	case f.paused:
		if s.pausedAt(s.siteAt(f.camera), s.cams.slots.at(f.camera).id, f.rev, f.nominal+fleet.Instant(f.start)) {
			s.end(skipped(s.occurrence(f), now, fleet.CausePaused, "it was paused"), n)
			return
		}
		s.held.release = append(s.held.release, n)
	case f.agent == 0 && deadline <= now:
		cause, why := s.nobody(f)
		s.end(missed(s.occurrence(f), now, cause, why), n)
	case deadline.Add(s.opts.GiveUp) <= now:
		c := missed(s.occurrence(f), now, fleet.CauseAgentLost, "the agent that held the order never reported")
		c.Agent = s.agentID(f.agent)
		s.end(c, n)
	default:
		f.timer = s.wheel.Add(deadline.Add(s.opts.GiveUp), n|flightKey)
	}
}

// nobody says why no agent had the order when it was due.
func (s *Scheduler) nobody(f *flight) (fleet.Cause, string) {
	at := s.siteAt(f.camera)
	if s.cams.slots.at(f.camera).masked && !slices.ContainsFunc(at.links, func(l *Link) bool { return l.box.Able.Masks }) &&
		slices.ContainsFunc(at.agents, func(a *agent) bool { return !a.Able.Masks && (a.link != nil || a.Standing) }) {
		return fleet.CauseMask, "the camera has a privacy mask, and no agent of site " + string(at.ID) + " that was connected knows masks: update it"
	}
	if tag := s.cams.slots.at(f.camera).tag; tag != 0 && len(at.links) > 0 {
		return fleet.CauseAgentLost, "no agent of site " + string(at.ID) + " with the tag " + s.tags[tag-1] + " was connected when it was due: see `shutterfleet agents ls`"
	}
	return fleet.CauseAgentLost, "no agent of site " + string(at.ID) + " was connected when it was due: see `shutterfleet agents ls`"
}

// pick chooses the agent of the site that takes the camera's orders: the same
// one as long as the set of able agents stays, in proportion to what they can
// bear (rendezvous hashing with weights, Schindelhauer and Schomaker 2005).
// While none is connected, it is one that goes on by itself on standing orders.
func (s *Scheduler) pick(at target, but *agent) *agent {
	best := s.best(at, but, true)
	if best == nil && at.video {
		// One that cannot decode its video says so in the outcome, which tells
		// more than that nobody tried.
		at.video = false
		best = s.best(at, but, true)
	}
	if best == nil {
		best = s.best(at, but, false)
	}
	return best
}

// best is the best of the connected agents, or of those that stand by
// themselves: those that may have captured while nobody asked them to.
func (s *Scheduler) best(at target, but *agent, connected bool) (best *agent) {
	var most float64
	var since int64 // standing orders last for GiveUp from when they were told
	if !connected {
		since = time.Now().Add(-s.opts.GiveUp).UnixNano()
	}
	for _, a := range at.site.agents {
		if a == but || connected && a.link == nil || !connected && (!a.Standing || a.link == nil && (a.lost < since || a.lost < at.since.Time().UnixNano())) ||
			at.masked && !a.Able.Masks || at.video && !a.video || at.tag != 0 && !a.tags[s.tags[at.tag-1]] {
			continue
		}
		w := a.weight
		if w == 0 {
			w = 1
		}
		u := (float64(fleet.Hash(at.id, a.hash, 1)>>11) + 0.5) / (1 << 53)
		if score := -w / math.Log(u); best == nil || score > most {
			best, most = a, score
		}
	}
	return best
}

func (s *Scheduler) stored(f *flight) store.Flight {
	return store.Flight{Order: s.order(f), Agent: s.agentID(f.agent)}
}
