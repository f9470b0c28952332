package scheduler

import (
	"context"
	"encoding/json"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// task is one enabled (camera, schedule) pair.
type task struct {
	span   store.Span
	sched  *schedule // nil: the slot is free
	place  calendar.Place
	next   fleet.Instant // nominal time that the wheel holds; 0 = none
	handle wheel.Handle
}

func (t *task) calendar() calendar.Task {
	return calendar.Task{Camera: t.span.Camera, Enabled: t.span.Enabled, Place: t.place}
}

func (t *task) after(n fleet.Instant) (fleet.Instant, bool) {
	return t.sched.cal.Next(t.calendar(), n)
}

func (t *task) order(nominal fleet.Instant, fence uint64) fleet.Order {
	return fleet.Order{
		Occurrence: fleet.Occurrence{Camera: t.span.Camera, Schedule: t.span.Schedule, Nominal: nominal},
		Deadline:   nominal.Add(t.sched.cal.Deadline()),
		Retries:    t.sched.cal.Retry().Attempts,
		Fence:      fence,
	}
}

func placeOf(s fleet.Site) calendar.Place { return calendar.Place{TZ: s.TZ, Lat: s.Lat, Lon: s.Lon} }

func placeText(p calendar.Place) string {
	b, err := json.Marshal(p)
	if err != nil {
		return "{}" // a Place holds a string and two numbers; NaN was refused at SetSite
	}
	return string(b)
}

func parsePlace(text string) (p calendar.Place) {
	if json.Unmarshal([]byte(text), &p) != nil {
		return calendar.Place{}
	}
	return p
}

// addTask puts a task into memory and its first occurrence after n into the
// wheel.
func (s *Scheduler) addTask(p store.Span, c *schedule, n fleet.Instant) {
	var key uint32
	if k := len(s.free); k > 0 {
		key, s.free = s.free[k-1], s.free[:k-1]
	} else {
		key = uint32(len(s.tasks))
		s.tasks = append(s.tasks, task{})
	}
	s.tasks[key] = task{span: p, sched: c, place: parsePlace(p.Place)}
	s.taskKeys[taskKey{p.Camera, p.Schedule}] = key
	s.arm(key, n)
}

// arm files the task's first occurrence after n, `lead` ahead.
func (s *Scheduler) arm(key uint32, n fleet.Instant) {
	t := &s.tasks[key]
	next, ok := t.after(n)
	if !ok {
		t.next = 0
		return
	}
	t.next = next
	t.handle = s.wheel.Add(next.Add(-t.sched.cal.Lead()), key)
}

func (s *Scheduler) removeTask(k taskKey) {
	key := s.taskKeys[k]
	t := &s.tasks[key]
	if t.next != 0 {
		s.wheel.Cancel(t.handle)
	}
	*t = task{}
	delete(s.taskKeys, k)
	s.free = append(s.free, key)
}

// advance brings all occurrences up to now+lead into the books. s.mu is held.
func (s *Scheduler) advance(ctx context.Context, now fleet.Instant) error {
	now = max(now, s.through) // the wall clock may step back; the books do not
	s.wheel.Advance(now, func(batch []wheel.Due) {
		for _, d := range batch {
			s.fire(d.Key, now)
		}
	})
	if len(s.held) == 0 && len(s.late) == 0 {
		// Nothing to store: a restart finds the same, and need not be told.
		s.through = now
		return nil
	}
	ch := change{Batch: store.Batch{Through: now, Captures: s.late}}
	for _, f := range s.held {
		ch.issue = append(ch.issue, &flight{Flight: f, site: s.siteOf(f.Camera)})
	}
	for i := range s.late {
		ch.tell(Event{Kind: "capture", Camera: s.late[i].Camera, Site: s.siteOf(s.late[i].Camera)})
	}
	if err := s.apply(ctx, &ch); err != nil {
		return err
	}
	s.held, s.late = nil, nil
	s.through = now
	return nil
}

// fire enters the task's occurrences up to now+lead into what is to be stored,
// and files the next.
func (s *Scheduler) fire(key uint32, now fleet.Instant) {
	t := &s.tasks[key]
	if t.sched == nil || t.next == 0 {
		return
	}
	for horizon := now.Add(t.sched.cal.Lead()); t.next != 0 && t.next <= horizon; {
		o := t.order(t.next, s.epoch)
		if o.Deadline <= now {
			s.late = append(s.late, missed(o.Occurrence, now, fleet.CauseSchedulerDown,
				"the scheduler was not running when it was due"))
		} else {
			s.held = append(s.held, store.Flight{Order: o})
		}
		next, ok := t.after(t.next)
		if !ok {
			next = 0
		}
		t.next = next
	}
	if t.next != 0 {
		t.handle = s.wheel.Add(t.next.Add(-t.sched.cal.Lead()), key)
	}
}

func missed(o fleet.Occurrence, now fleet.Instant, cause fleet.Cause, detail string) fleet.Capture {
	return fleet.Capture{Occurrence: o, Outcome: fleet.Missed, Cause: cause, Detail: detail, At: now}
}

// retask opens and closes the camera's spans as the schedules, the camera and
// its site now say. advance(now) must have succeeded before: then all that is
// due by now is in the books, and what comes after the cut can be taken back.
func (s *Scheduler) retask(ch *change, cam *fleet.Camera, now fleet.Instant) {
	now = max(now, s.through)
	labels := cam.LabelSet()
	place := placeText(placeOf(s.sites[cam.Site]))
	for id := range s.allSchedules() {
		c := s.schedules[id]
		k := taskKey{cam.ID, id}
		want := c != nil && !s.stopping && cam.State == fleet.Approved && c.cal.Selector().Match(labels)
		key, have := s.taskKeys[k]
		from := max(now, s.closed[k]+1)
		if have {
			t := &s.tasks[key]
			if want && t.span.Revision == c.Revision && t.span.Place == place {
				continue
			}
			s.closeSpan(ch, t.span, now)
			from = now + 1
		}
		if want {
			s.openSpan(ch, cam, c, from, now, place)
		}
	}
}

// allSchedules yields the ids in force and those that still have tasks.
func (s *Scheduler) allSchedules() map[fleet.ScheduleID]struct{} {
	ids := make(map[fleet.ScheduleID]struct{}, len(s.schedules))
	for id := range s.schedules {
		ids[id] = struct{}{}
	}
	for k := range s.revisions {
		ids[k.schedule] = struct{}{}
	}
	return ids
}

func (s *Scheduler) closeSpan(ch *change, p store.Span, cut fleet.Instant) {
	p.Until = cut
	ch.CloseSpans = append(ch.CloseSpans, p)
	k := taskKey{p.Camera, p.Schedule}
	for _, f := range s.flightsOf(k) {
		if f.Nominal > cut {
			ch.Drop = append(ch.Drop, f.Occurrence)
			ch.then(func() {
				s.withdrawn[f.Occurrence] = f.Deadline.Add(s.opts.GiveUp)
				s.recall(f)
			})
		}
	}
	ch.then(func() {
		s.closed[k] = cut
		s.removeTask(k)
	})
}

func (s *Scheduler) flightsOf(k taskKey) (out []*flight) {
	for o, f := range s.flights {
		if o.Camera == k.camera && o.Schedule == k.schedule {
			out = append(out, f)
		}
	}
	return out
}

func (s *Scheduler) openSpan(ch *change, cam *fleet.Camera, c *schedule, from, now fleet.Instant, place string) {
	p := store.Span{Camera: cam.ID, Schedule: c.ID, Revision: c.Revision, From: from, Enabled: cam.Enabled, Place: place}
	ch.OpenSpans = append(ch.OpenSpans, p)
	ch.Through = max(ch.Through, now)
	t := task{span: p, sched: c, place: parsePlace(place)}
	last := from - 1
	for horizon := now.Add(c.cal.Lead()); ; {
		next, ok := t.after(last)
		if !ok || next > horizon {
			break
		}
		ch.issue = append(ch.issue, &flight{Flight: store.Flight{Order: t.order(next, s.epoch)}, site: cam.Site})
		last = next
	}
	ch.then(func() {
		s.addTask(p, c, last)
		s.kick()
	})
}

// expire gives an outcome to orders that nobody can fulfil any more, and moves
// those of silent agents to others. s.mu is held.
func (s *Scheduler) expire(ctx context.Context, t time.Time) error {
	now := fleet.At(t)
	var ch change
	for _, f := range s.flights {
		switch {
		case f.Agent == "" && f.Deadline <= now:
			ch.Captures = append(ch.Captures, missed(f.Occurrence, now, fleet.CauseAgentLost,
				"no agent of site "+string(f.site)+" was connected when it was due: see `shutterfleet agents ls`"))
		case f.Deadline.Add(s.opts.GiveUp) <= now:
			c := missed(f.Occurrence, now, fleet.CauseAgentLost, "the agent that held the order never reported")
			c.Agent = f.Agent
			ch.Captures = append(ch.Captures, c)
		case s.silent(f.Agent, t) && f.Nominal > now:
			if to := s.pick(f.site, f.Camera); to != "" {
				s.move(&ch, f, to)
			}
		}
	}
	for o, until := range s.withdrawn {
		if until < now {
			delete(s.withdrawn, o)
		}
	}
	for i := range ch.Captures {
		ch.tell(Event{Kind: "capture", Camera: ch.Captures[i].Camera, Site: s.siteOf(ch.Captures[i].Camera)})
	}
	if len(ch.Captures) == 0 && len(ch.Assign) == 0 {
		return nil
	}
	return s.apply(ctx, &ch)
}

// silent reports whether the agent's stream has been gone for too long.
func (s *Scheduler) silent(a fleet.AgentID, now time.Time) bool {
	if a == "" || s.links[a] != nil {
		return false
	}
	since, ok := s.lost[a]
	return ok && now.Sub(since) >= s.opts.AgentDead
}

// move gives f to another agent.
func (s *Scheduler) move(ch *change, f *flight, to fleet.AgentID) {
	g := f.Flight
	g.Agent = to
	ch.Assign = append(ch.Assign, g)
	ch.then(func() {
		f.Agent, f.stored = to, false
		s.dispatch(f)
	})
}

// tick is what advance does at the present moment, for callers that are about
// to change tasks.
func (s *Scheduler) tick(ctx context.Context) (fleet.Instant, error) {
	now := max(fleet.At(time.Now()), s.through)
	return now, s.advance(ctx, now)
}

// books of a site, for change.Books.
func (s *Scheduler) booksOf(ch *change, site fleet.SiteID) fleet.Books {
	if b, ok := ch.Books[site]; ok {
		return b
	}
	return s.books[site]
}
