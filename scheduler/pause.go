package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// pause is one in force, with its schedule's identity.
type pause struct {
	Pause
	schedule fleet.ScheduleID
}

func (p *pause) covers(at *site, camera fleet.CameraID, schedule fleet.ScheduleID, start fleet.Instant) bool {
	return (p.Site == "" || p.Site == at.ID) && (p.Camera == 0 || p.Camera == camera) && (p.Schedule == "" || p.schedule == schedule) &&
		start >= p.From && (p.Until == 0 || start < p.Until)
}

// pausedAt reports whether an occurrence that starts then is paused. Jobs are
// not: somebody asks for those now.
func (s *Scheduler) pausedAt(at *site, camera fleet.CameraID, rev uint32, start fleet.Instant) bool {
	if len(s.pauses) == 0 || s.revs[rev].job != nil {
		return false
	}
	id := s.revs[rev].ID
	return slices.ContainsFunc(s.pauses, func(p pause) bool { return p.covers(at, camera, id, start) })
}

func (s *Scheduler) pausedFlight(f *flight) bool {
	return s.pausedAt(s.siteAt(f.camera), s.cams.slots.at(f.camera).id, f.rev, f.nominal+fleet.Instant(f.start))
}

func (s *Scheduler) restorePause(row store.Pause) error {
	var p Pause
	if err := json.Unmarshal(row.Body, &p); err != nil {
		return fmt.Errorf("stored pause %s: %w", row.ID, err)
	}
	s.pauses = append(s.pauses, pause{p, fleet.ScheduleIDOf(p.Schedule)})
	return nil
}

// Pause skips occurrences from now on. Orders whose time has not come are taken
// back; if the pause ends before it does, they go out again.
func (s *Scheduler) Pause(ctx context.Context, n NewPause) (Pause, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return Pause{}, err
	}
	switch {
	case n.Until != 0 && n.Until <= now:
		return Pause{}, invalid("until", "%s is not in the future", n.Until)
	case n.Site != "" && s.siteIDs[n.Site] == nil:
		return Pause{}, fmt.Errorf("site %s: %w", n.Site, ErrNotFound)
	case n.Camera != 0 && s.cams.byID[n.Camera] == 0:
		return Pause{}, fmt.Errorf("camera %s: %w", n.Camera, ErrNotFound)
	case n.Schedule != "" && s.scheduleInForce(fleet.ScheduleIDOf(n.Schedule)) == nil:
		return Pause{}, fmt.Errorf("schedule %s: %w", n.Schedule, ErrNotFound)
	case len(s.pauses) >= maxPauses:
		return Pause{}, invalid("pause", "%d pauses are in force, which is the most: resume some, or pause a site instead of its cameras", maxPauses)
	}
	p := pause{Pause{ID: newID("pause"), Site: n.Site, Camera: n.Camera, Schedule: n.Schedule, From: now, Until: n.Until, By: clip(n.By, maxName), Reason: clip(n.Reason, 400)}, fleet.ScheduleIDOf(n.Schedule)}
	body, err := json.Marshal(p.Pause)
	if err != nil {
		return Pause{}, fmt.Errorf("pause: %w", err)
	}
	ch := change{Batch: store.Batch{Pauses: []store.Pause{{ID: p.ID, Body: body}}}}
	s.pauses = append(s.pauses, p)
	s.repause(&ch, now)
	ch.tell(Event{Kind: "schedule"})
	if err := s.apply(ctx, &ch); err != nil {
		s.pauses = s.pauses[:len(s.pauses)-1]
		return Pause{}, err
	}
	s.pausesChanged()
	return p.Pause, nil
}

// maxPauses bounds what each order is compared with.
const maxPauses = 1000

// repause brings the orders that have not begun in line with the pauses.
func (s *Scheduler) repause(ch *change, now fleet.Instant) {
	for n := uint32(1); n <= s.slots.used; n++ {
		f := s.slots.at(n)
		if f.camera == 0 || f.nominal+fleet.Instant(f.start) <= now {
			continue
		}
		switch want := s.pausedFlight(f); {
		case want && !f.paused:
			ch.move = append(ch.move, move{flight: n, paused: true})
		case !want && f.paused:
			ch.release = append(ch.release, n)
		}
	}
}

func (s *Scheduler) pausesChanged() {
	for _, v := range s.sites {
		v.ended()
	}
}

// Resume ends a pause.
func (s *Scheduler) Resume(ctx context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(s.pauses, func(p pause) bool { return p.ID == id })
	if i < 0 || s.pauses[i].Until != 0 && s.pauses[i].Until <= now {
		return fmt.Errorf("pause %s: %w", id, ErrNotFound)
	}
	before := slices.Clone(s.pauses)
	s.pauses = slices.Delete(s.pauses, i, i+1)
	ch := change{Batch: store.Batch{Resume: []string{id}}}
	s.repause(&ch, now)
	ch.tell(Event{Kind: "schedule"})
	if err := s.apply(ctx, &ch); err != nil {
		s.pauses = before
		return err
	}
	s.pausesChanged()
	return nil
}

// unpause forgets pauses that are over.
func (s *Scheduler) unpause(ch *change, now fleet.Instant) {
	// A schedule may issue a day late after a stop; its pause still counts.
	over := func(p pause) bool { return p.Until != 0 && p.Until.Add(s.opts.GiveUp) < now }
	for _, p := range s.pauses {
		if over(p) {
			ch.Resume = append(ch.Resume, p.ID)
		}
	}
	ch.then(func() { s.pauses = slices.DeleteFunc(s.pauses, over) })
}

// Pauses lists those in force, oldest first.
func (s *Scheduler) Pauses(context.Context) ([]Pause, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := fleet.At(time.Now())
	var out []Pause
	for i := range s.pauses {
		if p := &s.pauses[i]; p.Until == 0 || p.Until > now {
			out = append(out, p.Pause)
		}
	}
	slices.SortFunc(out, func(a, b Pause) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}
