package calendar

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// spreadSeed keeps the spread apart from the phase, whose seed is 0.
const spreadSeed = 1

// maxTurns is how often windows and exclusions may turn down what the rule
// proposes, in one call, beside once for each exclusion. A daily rule that never
// meets its windows has been looked at for more than ten years by then, and
// counts as over.
const maxTurns = 4000

// place is what a schedule derives for one site, shared by all its cameras.
type place struct {
	site
	excluded []span // sorted, with time between them
	opened   atomic.Pointer[opened]
	proposed atomic.Pointer[proposed]
}

// opened remembers an answer of site.open: for each second in [from, until)
// it is the later of that second and next.
type opened struct{ from, until, next int64 }

// proposed remembers an answer of cron or sun: for each instant in
// [from, next) it is next. A fleet asks the same for all its cameras.
type proposed struct {
	from, next fleet.Instant
	ok         bool
}

type placeKey struct {
	tz       string
	lat, lon float64
	located  bool
}

// Next returns t's first nominal time strictly after after and not before
// t.Enabled; false when there is none. It is pure and increases with after.
func (s *Schedule) Next(t Task, after fleet.Instant) (fleet.Instant, bool) {
	after = max(after, t.Enabled-1)
	if after >= horizon {
		return 0, false
	}
	shift := s.shift(t)
	p := s.place(t.Place)
	n := max(after, -horizon) - shift
	for range maxTurns + len(s.spec.Exclude) {
		at, ok := s.propose(t, p, n)
		if !ok || at+shift > horizon {
			return 0, false
		}
		open, ok := s.allowed(p, at)
		switch {
		case !ok:
			return 0, false
		case open == at:
			return at + shift, true
		}
		n = open - 1
	}
	return 0, false
}

// shift returns how much the spread moves t.
func (s *Schedule) shift(t Task) fleet.Instant {
	ms := time.Duration(s.spec.Spread).Milliseconds()
	if ms == 0 || t.Aligned {
		return 0
	}
	return fleet.Instant(fleet.Hash(t.Camera, s.id, spreadSeed) % uint64(ms))
}

// place returns the schedule's zone and coordinates, else the site's. A site's
// zone that is not in the database counts as absent: sites are checked where
// they are set.
func (s *Schedule) place(p Place) *place {
	var key placeKey
	if s.loc == nil {
		key.tz = p.TZ
	}
	if s.NeedsCoordinates() && p.Lat != nil && p.Lon != nil {
		key.lat, key.lon, key.located = *p.Lat, *p.Lon, true
	}
	if known, ok := s.places.Load(key); ok {
		return known.(*place)
	}
	made := &place{site: site{loc: s.loc, at: s.at}}
	if made.loc == nil {
		if loc, err := loadZone(p.TZ); err == nil {
			made.loc = loc
		} else {
			made.loc = time.UTC
		}
	}
	if at := (position{key.lat, key.lon}); key.located && at.check() == nil {
		made.at = &at
	}
	made.excluded = s.exclude.spansIn(made.loc)
	known, _ := s.places.LoadOrStore(key, made)
	return known.(*place)
}

// propose returns the rule's first time after after, whatever narrows it.
func (s *Schedule) propose(t Task, p *place, after fleet.Instant) (fleet.Instant, bool) {
	switch {
	case s.spec.Every != 0:
		every := time.Duration(s.spec.Every)
		var phase time.Duration
		switch {
		case s.spec.AtPhase != nil:
			phase = time.Duration(*s.spec.AtPhase)
		case !t.Aligned:
			phase = fleet.Phase(t.Camera, s.id, every)
		}
		step, first := every.Milliseconds(), phase.Milliseconds()
		return fleet.Instant(first + (floorDiv64(int64(after)-first, step)+1)*step), true
	case s.approval:
		return t.Enabled, t.Enabled > after
	case s.spec.Once != "":
		return s.once, s.once > after
	}
	if m := p.proposed.Load(); m != nil && m.from <= after && after < m.next {
		return m.next, m.ok
	}
	m := &proposed{from: after, next: math.MaxInt64}
	second := floorDiv64(int64(after), 1000)
	take := func(unix int64, ok bool) {
		if at := fleet.Instant(unix * 1000); ok && at < m.next {
			m.next, m.ok = at, true
		}
	}
	for _, c := range s.crons {
		take(nextCron(c, p.loc, second))
	}
	if len(s.marks) > 0 && p.at != nil {
		take(nextSun(s.marks, *p.at, p.loc, second))
	}
	p.proposed.Store(m)
	return m.next, m.ok
}

// allowed returns at itself when nothing forbids it, else the earliest instant
// that may be allowed; false when none is.
func (s *Schedule) allowed(p *place, at fleet.Instant) (fleet.Instant, bool) {
	if s.from.set {
		if from := p.start(s.from); at < from {
			return from, true
		}
	}
	if s.until.set {
		until := s.until.instant
		if s.until.date != nil {
			until = fleet.Instant(instant(p.loc, wallOf(s.until.date.next(), 0)) * 1000)
		}
		if at >= until {
			return 0, false
		}
	}
	if next, ok := p.afterExcluded(&s.exclude, at); !ok || next > at {
		return next, ok
	}
	second := floorDiv64(int64(at), 1000)
	if len(s.windows) == 0 {
		return at, true
	}
	m := p.opened.Load()
	if m == nil || second < m.from || second >= m.until {
		next, until, ok := p.open(s.windows, second)
		if !ok {
			return 0, false
		}
		m = &opened{second, until, next}
		p.opened.Store(m)
	}
	if m.next > second {
		return fleet.Instant(m.next * 1000), true
	}
	return at, true
}

func (p *place) start(b bound) fleet.Instant {
	if b.date == nil {
		return b.instant
	}
	return fleet.Instant(instant(p.loc, wallOf(*b.date, 0)) * 1000)
}

func floorDiv64(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
