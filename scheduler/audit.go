package scheduler

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// auditPart is about how many occurrences an audit holds in memory at a time;
// larger books are audited camera by camera in several passes over the rows.
const auditPart = 1_000_000

// auditMargin is how much later than what ages out an audit begins.
const auditMargin = 10 * time.Minute

// Audit checks the books from outside for nominal times in [from, until],
// no older than captures are kept:
// calendar.Next over the spans says what should exist, the rows say what does.
func (s *Scheduler) Audit(ctx context.Context, from, until fleet.Instant) (AuditReport, error) {
	s.mu.Lock()
	if _, err := s.tick(ctx); err != nil { // through stands still while nothing is due
		s.mu.Unlock()
		return AuditReport{}, err
	}
	until = min(until, s.through)
	// What is older ages out, some of it while the audit runs.
	from = max(from, fleet.At(time.Now().Add(auditMargin-s.opts.Keep)))
	revs := map[revisionKey]*schedule{}
	for k, n := range s.revOf {
		revs[k] = s.revs[n]
	}
	var issued uint64
	for _, v := range s.sites {
		b := &v.books
		issued += b.Captured + b.Failed + b.Missed + b.Skipped + b.InFlight
	}
	s.mu.Unlock()
	passes := issued/auditPart + 1
	var r AuditReport
	for pass := range passes {
		a := auditor{s: s, r: &r, revs: revs, from: from, until: until, of: passes, pass: pass, found: map[fleet.Occurrence]uint8{}}
		if err := a.run(ctx); err != nil {
			return r, err
		}
	}
	return r, nil
}

// auditor is one pass: over the cameras whose identity modulo `of` is pass.
type auditor struct {
	s           *Scheduler
	r           *AuditReport
	revs        map[revisionKey]*schedule
	from, until fleet.Instant
	of, pass    uint64
	found       map[fleet.Occurrence]uint8
}

// What an auditor has found of an occurrence.
const (
	auditExpected = 1 << iota
	auditInFlight
	auditStored
)

func (a *auditor) note(format string, args ...any) {
	if len(a.r.Examples) < 20 {
		a.r.Examples = append(a.r.Examples, fmt.Sprintf(format, args...))
	}
}

func (a *auditor) mine(c fleet.CameraID) bool { return uint64(c)%a.of == a.pass }

func (a *auditor) run(ctx context.Context) error {
	if err := a.s.store.Spans(ctx, a.from, a.until, a.expect); err != nil {
		return err
	}
	// Orders before rows: what is completed in between is found as a row.
	if err := a.s.store.Orders(ctx, func(o fleet.Occurrence) {
		if a.mine(o.Camera) && o.Nominal >= a.from && o.Nominal <= a.until {
			a.found[o] |= auditInFlight
		}
	}); err != nil {
		return err
	}
	for e, err := range a.s.store.Recent(ctx, 0) {
		if err != nil {
			return err
		}
		if o := e.Occurrence; a.mine(o.Camera) && o.Nominal >= a.from && o.Nominal <= a.until {
			a.row(o, e.Outcome)
		}
	}
	var open []fleet.Occurrence
	for o, state := range a.found {
		if state&(auditExpected|auditStored) != auditExpected {
			continue
		}
		if state&auditInFlight != 0 {
			a.r.InFlight++
			continue
		}
		a.r.MissingOutcome++
		open = append(open, o)
	}
	slices.SortFunc(open, fleet.Occurrence.Compare)
	for _, o := range open[:min(len(open), 20)] {
		a.note("%s has no outcome and no order", o)
	}
	return nil
}

// expect notes what the calendar yields over a span.
func (a *auditor) expect(p store.Span) {
	if !a.mine(p.Camera) {
		return
	}
	c := a.revs[revisionKey{p.Schedule, p.Revision}]
	if c == nil {
		a.note("span of %s refers to revision %d of schedule %s, which does not exist", p.Camera, p.Revision, p.Schedule)
		a.r.Unexpected++
		return
	}
	t := calendar.Task{Camera: p.Camera, Enabled: p.Enabled, Place: parsePlace(p.Place)}
	end := a.until
	if p.Until != 0 {
		end = min(end, p.Until)
	}
	for n, ok := c.cal.Next(t, max(a.from, p.From)-1); ok && n <= end; n, ok = c.cal.Next(t, n) {
		o := fleet.Occurrence{Camera: p.Camera, Schedule: p.Schedule, Nominal: n}
		if a.found[o] == 0 { // what had its outcome early may have a span of its own
			a.found[o] = auditExpected
			a.r.Expected++
		}
	}
}

func (a *auditor) row(o fleet.Occurrence, outcome fleet.Outcome) {
	switch state := a.found[o]; {
	case state&auditExpected == 0:
		a.r.Unexpected++
		a.note("%s is stored as %s, and no schedule asked for it", o, outcome)
	case state&auditStored != 0:
		a.r.Unexpected++
		a.note("%s is stored twice", o)
	default:
		a.r.Stored++
	}
	a.found[o] |= auditStored
}
