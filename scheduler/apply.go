package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

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
		listed[c.ID()] = true
		compiled = append(compiled, c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return Plan{}, err
	}
	var plan Plan
	var ch change
	next := map[fleet.ScheduleID]*schedule{}
	for _, c := range compiled {
		spec, err := json.Marshal(c.Spec())
		if err != nil {
			return Plan{}, fmt.Errorf("apply %s: %w", c.Name(), err)
		}
		change := Change{Name: c.Name(), Action: "create", Cameras: s.selected(c.Selector())}
		row := store.Schedule{ID: c.ID(), Name: c.Name(), Revision: 1, Spec: spec, Applied: now}
		for k := range s.revisions {
			if k.schedule == row.ID {
				row.Revision = max(row.Revision, k.revision+1)
			}
		}
		if old := s.schedules[c.ID()]; old != nil {
			if string(old.Spec) == string(spec) {
				change.Action = "keep"
				plan.Changes = append(plan.Changes, change)
				continue
			}
			change.Action, change.Diff = "change", diff(old.Spec, spec)
			gone := old.Schedule
			gone.Removed = now
			ch.Schedules = append(ch.Schedules, gone)
		}
		ch.Schedules = append(ch.Schedules, row)
		next[row.ID] = &schedule{Schedule: row, cal: c}
		plan.Changes = append(plan.Changes, change)
	}
	for id, old := range s.schedules {
		if o.Prune && !listed[id] {
			gone := old.Schedule
			gone.Removed = now
			ch.Schedules = append(ch.Schedules, gone)
			next[id] = nil
			plan.Changes = append(plan.Changes, Change{Name: old.Name, Action: "remove", Cameras: s.selected(old.cal.Selector())})
		}
	}
	slices.SortStableFunc(plan.Changes, func(a, b Change) int { return cmp.Compare(a.Name, b.Name) })
	if o.DryRun || len(next) == 0 {
		return plan, nil
	}
	// retask looks at the maps: they change now, and back if the store refuses.
	undo := map[fleet.ScheduleID]*schedule{}
	for id, c := range next {
		undo[id] = s.schedules[id]
		s.setSchedule(id, c)
	}
	for _, cam := range s.cameras {
		s.retask(&ch, cam, now)
	}
	ch.tell(Event{Kind: "schedule"})
	if err := s.apply(ctx, &ch); err != nil {
		for id, c := range undo {
			if n := next[id]; n != nil {
				delete(s.revisions, revisionKey{id, n.Revision})
			}
			s.setSchedule(id, c)
		}
		return Plan{}, err
	}
	return plan, nil
}

func (s *Scheduler) setSchedule(id fleet.ScheduleID, c *schedule) {
	if c == nil {
		delete(s.schedules, id)
		return
	}
	s.schedules[id] = c
	s.revisions[revisionKey{id, c.Revision}] = c
}

func (s *Scheduler) selected(sel fleet.Selector) (n int) {
	for _, c := range s.cameras {
		if c.State == fleet.Approved && sel.Match(c.LabelSet()) {
			n++
		}
	}
	return n
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
	s.mu.Lock()
	defer s.mu.Unlock()
	byID := map[fleet.ScheduleID]*ScheduleView{}
	for id, c := range s.schedules {
		byID[id] = &ScheduleView{Spec: c.cal.Spec(), ID: id, Revision: c.Revision, Cameras: s.selected(c.cal.Selector())}
	}
	for i := range s.tasks {
		t := &s.tasks[i]
		if t.sched == nil || t.next == 0 {
			continue
		}
		if v := byID[t.span.Schedule]; v != nil && (v.Next == 0 || t.next < v.Next) {
			v.Next = t.next
		}
	}
	var out []ScheduleView
	for _, v := range byID {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b ScheduleView) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}
