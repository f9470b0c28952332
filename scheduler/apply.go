package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// ApplySchedules makes the schedules be as specs say: new ones are created,
// changed ones take a new revision, and with Prune those not listed end. All of
// it, or nothing. Orders whose time has not come follow the change.
func (s *Scheduler) ApplySchedules(ctx context.Context, specs []calendar.Spec, o ApplyOptions) (Plan, error) {
	listed := map[fleet.ScheduleID]bool{}
	var compiled []*calendar.Schedule
	for _, spec := range specs {
		c, err := spec.Compile()
		if err != nil {
			return Plan{}, invalid("schedules", "%v", err)
		}
		if listed[c.ID()] {
			return Plan{}, invalid("schedules", "the name %s is used twice", spec.Name)
		}
		if strings.HasPrefix(spec.Name, jobPrefix) {
			return Plan{}, invalid("schedules", "the name %s begins with %s, which is kept for `capture now`: choose another", spec.Name, jobPrefix)
		}
		listed[c.ID()] = true
		compiled = append(compiled, c)
	}
	s.applying.Lock()
	defer s.applying.Unlock()
	counts := s.selectedAll(compiled, o.Prune)
	warnings := s.unplaced(compiled)
	plan, changed, err := s.revise(ctx, compiled, listed, counts, o)
	plan.Warnings = warnings
	if err != nil || !changed {
		return plan, err
	}
	// The schedules are durable; their tasks follow some thousands at a time,
	// now or, when that fails or the power goes, later.
	if err := s.reconcile(ctx); err != nil {
		s.mu.Lock()
		s.unsettled = true // sweep tries again
		s.mu.Unlock()
		return plan, fmt.Errorf("the schedules are applied, and not all cameras follow them yet: %w", err)
	}
	return plan, nil
}

// revise plans, and makes the schedules' new revisions durable and visible.
func (s *Scheduler) revise(ctx context.Context, compiled []*calendar.Schedule, listed map[fleet.ScheduleID]bool, counts map[fleet.ScheduleID]int, o ApplyOptions) (plan Plan, changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return Plan{}, false, err
	}
	var ch change
	remove := func(old *schedule) {
		gone := old.Schedule
		gone.Removed = now
		ch.Schedules = append(ch.Schedules, gone)
		ch.then(func() { old.Removed = now })
	}
	for _, c := range compiled {
		spec, err := json.Marshal(c.Spec())
		if err != nil {
			return Plan{}, false, fmt.Errorf("apply %s: %w", c.Name(), err)
		}
		change := Change{Name: c.Name(), Action: "create", Cameras: counts[c.ID()]}
		row := store.Schedule{ID: c.ID(), Name: c.Name(), Revision: 1, Spec: spec, Applied: now}
		if ident, ok := s.idents[row.ID]; ok {
			row.Revision = s.revs[s.latest[ident]].Revision + 1
		}
		if old := s.scheduleInForce(c.ID()); old != nil {
			if string(old.Spec) == string(spec) {
				change.Action = "keep"
				plan.Changes = append(plan.Changes, change)
				continue
			}
			change.Action, change.Diff = "change", diff(old.Spec, spec)
			remove(old)
		}
		ch.Schedules = append(ch.Schedules, row)
		ch.then(func() { s.addRevision(row, c) })
		plan.Changes = append(plan.Changes, change)
	}
	for _, n := range s.inForce {
		if old := s.revs[n]; o.Prune && !listed[old.ID] {
			remove(old)
			plan.Changes = append(plan.Changes, Change{Name: old.Name, Action: "remove", Cameras: counts[old.ID]})
		}
	}
	slices.SortStableFunc(plan.Changes, func(a, b Change) int { return cmp.Compare(a.Name, b.Name) })
	if o.DryRun || len(ch.Schedules) == 0 {
		return plan, false, nil
	}
	ch.Reconcile = store.Wanted
	ch.then(s.force)
	ch.tell(Event{Kind: "schedule"})
	return plan, true, s.apply(ctx, &ch)
}

// selectedAll counts the approved cameras that each schedule selects: those
// given, and those in force.
func (s *Scheduler) selectedAll(cals []*calendar.Schedule, inForce bool) map[fleet.ScheduleID]int {
	counts := map[fleet.ScheduleID]int{}
	s.mu.Lock()
	cals = slices.Clone(cals)
	for _, n := range s.inForce {
		r := s.revs[n]
		if inForce && !slices.ContainsFunc(cals, func(c *calendar.Schedule) bool { return c.ID() == r.ID }) {
			cals = append(cals, r.cal)
		}
	}
	s.mu.Unlock()
	all := 0
	s.eachCamera(func(n uint32) {
		if !s.cams.slots.at(n).approved {
			return
		}
		all++
		var labels map[string]string
		for _, c := range cals {
			if c.Spec().Select == "*" {
				continue
			}
			if labels == nil {
				cam := s.cams.get(n)
				labels = cam.LabelSet()
			}
			if c.Selector().Match(labels) {
				counts[c.ID()]++
			}
		}
	})
	for _, c := range cals {
		if c.Spec().Select == "*" {
			counts[c.ID()] = all
		}
	}
	return counts
}

// unplaced warns of schedules that ask for the sun at sites of which nobody said
// where they are.
func (s *Scheduler) unplaced(cals []*calendar.Schedule) (warnings []string) {
	for _, c := range cals {
		if !c.NeedsCoordinates() {
			continue
		}
		places := map[fleet.SiteID]calendar.Place{}
		s.eachCamera(func(n uint32) {
			slot := s.cams.slots.at(n)
			at := s.sites[slot.site-1]
			if _, known := places[at.ID]; known || !slot.approved {
				return
			}
			if cam := s.cams.get(n); c.Selector().Match(cam.LabelSet()) {
				places[at.ID] = s.places[at.place].Place
			}
		})
		if w := c.UnplacedWarning(places); w != "" {
			warnings = append(warnings, w)
		}
	}
	return warnings
}

// diff tells which keys of a spec changed.
func diff(before, after json.RawMessage) string {
	var a, b map[string]any
	if json.Unmarshal(before, &a) != nil || json.Unmarshal(after, &b) != nil {
		return ""
	}
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	var lines []string
	for k := range keys {
		x, y := show(a[k]), show(b[k])
		if x != y {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", k, x, y))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func show(v any) string {
	if v == nil {
		return "(none)"
	}
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// Schedules lists the schedules in force, by name.
func (s *Scheduler) Schedules(context.Context) ([]ScheduleView, error) {
	counts := s.selectedAll(nil, true)
	next := s.nextBySchedule()
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []ScheduleView
	for _, n := range s.inForce {
		r := s.revs[n]
		out = append(out, ScheduleView{Spec: r.cal.Spec(), ID: r.ID, Revision: r.Revision, Cameras: counts[r.ID], Next: next[n]})
	}
	return out, nil
}

// nextBySchedule returns the earliest coming occurrence of each revision.
func (s *Scheduler) nextBySchedule() map[uint32]fleet.Instant {
	next := map[uint32]fleet.Instant{}
	now := fleet.At(time.Now())
	s.eachCamera(func(n uint32) {
		for key := s.cams.slots.at(n).task; key != 0; key = s.tasks.at(key).sibling {
			t := s.tasks.at(key)
			if at, ok := s.revs[t.rev].cal.Next(s.calendarTask(t), max(now, t.from-1)); ok && (next[t.rev] == 0 || at < next[t.rev]) {
				next[t.rev] = at
			}
		}
	})
	return next
}
