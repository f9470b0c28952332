package scheduler

import (
	"context"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// task is one enabled (camera, schedule) pair, 40 bytes. Its next nominal time
// stands in the wheel alone.
type task struct {
	from, enabled fleet.Instant // of its span
	timer         wheel.Handle  // 0 = it has no next
	camera        uint32
	rev           uint32 // in Scheduler.revs
	place         uint32 // in Scheduler.places
	sibling       uint32 // the camera's next task
}

// flightKey is set in wheel keys that name a flight; the others name a task.
const flightKey = 1 << 31

func (s *Scheduler) calendarTask(t *task) calendar.Task {
	return calendar.Task{Camera: s.cams.slots.at(t.camera).id, Enabled: t.enabled, Place: s.places[t.place].Place}
}

func (s *Scheduler) span(t *task) store.Span {
	r := s.revs[t.rev]
	return store.Span{Camera: s.cams.slots.at(t.camera).id, Schedule: r.ID, Revision: r.Revision, From: t.from, Enabled: t.enabled, Place: s.places[t.place].text}
}

// addTask puts a task into memory and its first occurrence after n into the
// wheel.
func (s *Scheduler) addTask(t task, n fleet.Instant) {
	key := s.tasks.take()
	slot := s.cams.slots.at(t.camera)
	t.sibling, slot.task = slot.task, key
	at := s.tasks.at(key)
	*at = t
	rev := s.revs[t.rev]
	if next, ok := rev.cal.Next(s.calendarTask(at), n); ok {
		at.timer = s.wheel.Add(next.Add(-rev.lead), key)
	}
}

func (s *Scheduler) removeTask(key uint32) {
	t := s.tasks.at(key)
	s.wheel.Cancel(t.timer)
	for at := &s.cams.slots.at(t.camera).task; *at != 0; at = &s.tasks.at(*at).sibling {
		if *at == key {
			*at = t.sibling
			break
		}
	}
	s.tasks.give(key)
}

// advance brings all occurrences up to now+lead into the books, and orders that
// nobody can fulfil any more to an end. s.mu is held.
func (s *Scheduler) advance(ctx context.Context, now fleet.Instant) error {
	now = max(now, s.through) // the wall clock may step back; the books do not
	var full error
	s.wheel.Advance(now, func(batch []wheel.Due) {
		for _, d := range batch {
			if d.Key&flightKey != 0 {
				s.flightDue(d.Key&^flightKey, now)
			} else {
				s.fire(d, now)
			}
		}
		// After a long stop there is more than memory should hold. What is
		// stored before through moves on is recognised if the power goes.
		if full == nil && len(s.held.Captures)+len(s.held.issue) > maxHeld {
			full = s.storeHeld(ctx, 0)
		}
	})
	if full != nil {
		return full
	}
	if len(s.held.issue) > 0 || len(s.held.Captures) > 0 || len(s.held.release) > 0 || len(s.held.Agents) > 0 {
		if err := s.storeHeld(ctx, now); err != nil {
			return err
		}
	}
	// Else there is nothing to store: a restart finds the same, and need not be
	// told.
	s.through = now
	return nil
}

// maxHeld is how many orders and outcomes of the wheel are stored at a time.
const maxHeld = 1 << 15

// storeHeld stores what the wheel has yielded.
func (s *Scheduler) storeHeld(ctx context.Context, through fleet.Instant) error {
	ch := &s.held
	ch.Through = through
	// What was to be missed may have been reported while the store was full.
	keep := 0
	for i, f := range ch.flights {
		if f != 0 && !s.isFlight(f, ch.Captures[i].Occurrence) {
			continue
		}
		ch.Captures[keep], ch.flights[keep] = ch.Captures[i], f
		keep++
	}
	ch.Captures, ch.flights = ch.Captures[:keep], ch.flights[:keep]
	for i := range ch.Agents {
		ch.Agents[i] = s.agents[ch.Agents[i].ID].Agent // it may have been revoked since
	}
	if err := s.apply(ctx, ch); err != nil {
		return err
	}
	ch.reset()
	return nil
}

// fire enters the task's occurrences up to now+lead into what is to be stored,
// and files the next.
func (s *Scheduler) fire(d wheel.Due, now fleet.Instant) {
	t := s.tasks.at(d.Key)
	t.timer = 0
	rev := s.revs[t.rev]
	ct := s.calendarTask(t)
	at := s.targetOf(t.camera)
	at.since = t.from
	next := d.At.Add(rev.lead)
	var late []fleet.Instant // misfired, and to be issued all the same
	for horizon := now.Add(rev.lead); next <= horizon; {
		if next.Add(rev.deadline) <= now {
			late = s.misfire(t, rev, next, now, late)
		} else {
			s.issue(&s.held, at, t.rev, next, now)
		}
		var ok bool
		if next, ok = rev.cal.Next(ct, next); !ok {
			next = 0
			break
		}
	}
	for _, n := range late {
		s.held.issue = append(s.held.issue, issue{target: at, rev: t.rev, nominal: n, start: now, deadline: now.Add(rev.deadline)})
	}
	if next != 0 {
		t.timer = s.wheel.Add(next.Add(-rev.lead), d.Key)
	}
}

// misfire settles an occurrence whose deadline passed before it was issued: as
// missed, or among those that are issued late.
func (s *Scheduler) misfire(t *task, rev *schedule, nominal, now fleet.Instant, late []fleet.Instant) []fleet.Instant {
	slot := s.cams.slots.at(t.camera)
	o := fleet.Occurrence{Camera: slot.id, Schedule: rev.ID, Nominal: nominal}
	if s.known(o) {
		return late
	}
	if s.pausedAt(s.sites[slot.site-1], slot.id, t.rev, nominal) {
		s.end(skipped(o, now, fleet.CausePaused, "it was paused"), 0)
		return late
	}
	at := s.targetOf(t.camera)
	at.since = t.from
	if a := s.best(at, nil, false); a != nil {
		// It may have been captured on standing orders: the agent says so, or
		// says that it was not there either.
		s.held.issue = append(s.held.issue, issue{target: at, rev: t.rev, nominal: nominal, start: nominal, deadline: nominal.Add(rev.deadline), agent: a.index})
		return late
	}
	m := rev.cal.Misfire()
	down := func(n fleet.Instant) {
		o.Nominal = n
		s.end(missed(o, now, fleet.CauseSchedulerDown, "the scheduler was not running when it was due"), 0)
	}
	if m.Max == 0 || now.Sub(nominal) > m.Within {
		down(nominal)
		return late
	}
	if late = append(late, nominal); len(late) > m.Max {
		down(late[0])
		late = late[1:]
	}
	return late
}

// known reports whether an occurrence beyond through is in the books already:
// it was stored, and then the power went or its task was closed.
func (s *Scheduler) known(o fleet.Occurrence) bool {
	return s.early[o] || s.settled != nil && (s.settled[o] || s.flightOf(o) != 0)
}

// end notes an outcome that the next commit stores. flight is the order's
// number, 0 when there was none.
func (s *Scheduler) end(c fleet.Capture, flight uint32) {
	s.held.Captures = append(s.held.Captures, c)
	s.held.flights = append(s.held.flights, flight)
}

func missed(o fleet.Occurrence, now fleet.Instant, cause fleet.Cause, detail string) fleet.Capture {
	return fleet.Capture{Occurrence: o, Outcome: fleet.Missed, Cause: cause, Detail: detail, At: now}
}

func skipped(o fleet.Occurrence, now fleet.Instant, cause fleet.Cause, detail string) fleet.Capture {
	return fleet.Capture{Occurrence: o, Outcome: fleet.Skipped, Cause: cause, Detail: detail, At: now}
}

// target is the camera of an order, also before it has a slot.
type target struct {
	id     fleet.CameraID
	site   *site
	camera uint32 // slot; 0 = it will get one with the same commit
	tag    uint16
	video  bool
	masked bool
	// since is when what is ordered came to be; 0 = long ago. An agent that was
	// away then never heard of it, and does not take it by itself.
	since fleet.Instant
}

func (s *Scheduler) targetOf(n uint32) target {
	slot := s.cams.slots.at(n)
	return target{id: slot.id, site: s.sites[slot.site-1], camera: n, tag: slot.tag, video: slot.video, masked: slot.masked}
}

// issue is an order to be.
type issue struct {
	target
	rev                      uint32
	nominal, start, deadline fleet.Instant
	agent                    uint32 // 0 = whoever is picked
	paused                   bool
	picked                   bool // agent was picked by apply
}

// issue notes a new order, its start moved to where the site has room.
func (s *Scheduler) issue(ch *change, at target, rev uint32, nominal, now fleet.Instant) {
	r := s.revs[rev]
	o := fleet.Occurrence{Camera: at.id, Schedule: r.ID, Nominal: nominal}
	if s.known(o) {
		return
	}
	start, ok := shape(&at.site.bucket, &s.burst, nominal, nominal.Add(r.shapeLimit))
	if !ok {
		ch.Captures = append(ch.Captures, missed(o, now, fleet.CauseOverload,
			"its site's burst bound, or the scheduler's, has no room for it: see `shutterfleet schedules load`"))
		ch.flights = append(ch.flights, 0)
		return
	}
	if start > nominal {
		s.shapedBy(start.Sub(nominal))
	}
	ch.issue = append(ch.issue, issue{target: at, rev: rev, nominal: nominal, start: start, deadline: start.Add(r.deadline), paused: s.pausedAt(at.site, at.id, rev, start)})
}

// retask opens and closes the camera's spans as the schedules, the camera and
// its site now say. c is the camera as it will be; n its slot, 0 while it has
// none. advance(now) must have succeeded before: then all that is due by now is
// in the books, and what comes after the cut can be taken back.
func (s *Scheduler) retask(ch *change, n uint32, c *fleet.Camera, now fleet.Instant) {
	now = max(now, s.through)
	at := s.siteNamed(c.Site)
	wanted := s.wanted[:0]
	if c.State == fleet.Approved && !s.stopping {
		var labels map[string]string
		for _, rev := range s.inForce {
			r := s.revs[rev]
			if !r.all {
				if labels == nil {
					labels = c.LabelSet()
				}
				if !r.cal.Selector().Match(labels) {
					continue
				}
			}
			wanted = append(wanted, rev)
		}
	}
	s.wanted = wanted
	if n != 0 {
		for key := s.cams.slots.at(n).task; key != 0; key = s.tasks.at(key).sibling {
			t := s.tasks.at(key)
			kept := false
			for i, rev := range wanted {
				if rev == t.rev && t.place == at.place {
					wanted[i] = wanted[len(wanted)-1]
					wanted, kept = wanted[:len(wanted)-1], true
					break
				}
			}
			if !kept {
				s.closeTask(ch, key, now)
			}
		}
	}
	for _, rev := range wanted {
		s.openTask(ch, n, c, at, rev, now)
	}
}

func (s *Scheduler) closeTask(ch *change, key uint32, cut fleet.Instant) {
	t := s.tasks.at(key)
	p := s.span(t)
	p.Until = cut
	ch.CloseSpans = append(ch.CloseSpans, p)
	ch.close = append(ch.close, key)
	ch.Through = max(ch.Through, cut)
	s.cut = max(s.cut, cut)
	// What is in flight behind the cut is found as it was made: by the calendar.
	rev := s.revs[t.rev]
	ct := s.calendarTask(t)
	for n, ok := rev.cal.Next(ct, cut); ok && n <= s.through.Add(rev.lead); n, ok = rev.cal.Next(ct, n) {
		if f := s.flights[orderKey{t.camera, rev.ident, n}]; f != 0 {
			ch.drop = append(ch.drop, f)
			start := n + fleet.Instant(s.slots.at(f).start)
			s.siteAt(t.camera).bucket.give(start) // what opens with the same commit may have its room
			s.burst.give(start)
			continue
		}
		// It has its outcome already: there was no room for it, say. That stays,
		// and so does a span of its own.
		p.From, p.Until = n, n
		ch.OpenSpans = append(ch.OpenSpans, p)
		s.early[fleet.Occurrence{Camera: p.Camera, Schedule: p.Schedule, Nominal: n}] = true // also if this fails
	}
}

// opening is a task to be.
type opening struct {
	task
	id    fleet.CameraID // the camera may have no slot yet
	after fleet.Instant  // all up to it is issued
}

func (s *Scheduler) openTask(ch *change, n uint32, c *fleet.Camera, at *site, rev uint32, now fleet.Instant) {
	r := s.revs[rev]
	from := now
	if s.cut >= now { // a span that was closed just now ends with its cut
		from = s.cut + 1
	}
	o := opening{task: task{from: from, enabled: c.Enabled, camera: n, rev: rev, place: at.place}, id: c.ID, after: from - 1}
	ch.OpenSpans = append(ch.OpenSpans, store.Span{Camera: c.ID, Schedule: r.ID, Revision: r.Revision, From: from, Enabled: c.Enabled, Place: s.places[at.place].text})
	ch.Through = max(ch.Through, now)
	ct := calendar.Task{Camera: c.ID, Enabled: c.Enabled, Place: s.places[at.place].Place}
	h := store.HeadOf(c)
	to := target{id: c.ID, site: at, camera: n, tag: s.tagNumber(c.Labels[tagLabel]), video: h.Video, masked: n != 0 && s.cams.slots.at(n).masked, since: from}
	for horizon := now.Add(r.lead); ; {
		next, ok := r.cal.Next(ct, o.after)
		if !ok || next > horizon {
			break
		}
		s.issue(ch, to, rev, next, now)
		o.after = next
	}
	ch.open = append(ch.open, o)
}

// reconcile brings the tasks of all cameras in line with the schedules, some
// thousands at a time. It begins anew at the next start when it is interrupted.
func (s *Scheduler) reconcile(ctx context.Context) error {
	for from := uint32(1); ; from += cameraChunk {
		s.mu.Lock()
		last := s.cams.slots.used
		err := s.reconcileSome(ctx, from, min(last, from+cameraChunk-1))
		s.mu.Unlock()
		if err != nil {
			return err
		}
		if from+cameraChunk > last {
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil // Stop has marked that the next New is to do it
	}
	return s.apply(ctx, &change{Batch: store.Batch{Reconcile: store.Done}})
}

func (s *Scheduler) reconcileSome(ctx context.Context, from, last uint32) error {
	now, err := s.tick(ctx)
	if err != nil {
		return err
	}
	var ch change
	every := s.everyCamera()
	for n := from; n <= last; n++ {
		slot := s.cams.slots.at(n)
		if !slot.approved && slot.task == 0 || every && s.asWanted(slot) {
			continue
		}
		c := s.cams.get(n)
		s.retask(&ch, n, &c, now)
	}
	return s.apply(ctx, &ch)
}

// everyCamera reports whether all schedules in force want every camera: then
// nobody need look at labels.
func (s *Scheduler) everyCamera() bool {
	for _, rev := range s.inForce {
		if !s.revs[rev].all {
			return false
		}
	}
	return !s.stopping
}

// asWanted reports whether the camera has exactly the tasks of all schedules in
// force.
func (s *Scheduler) asWanted(slot *cameraSlot) bool {
	at := s.sites[slot.site-1]
	n := 0
	for key := slot.task; key != 0; key = s.tasks.at(key).sibling {
		t := s.tasks.at(key)
		if t.place != at.place || s.latest[s.revs[t.rev].ident] != t.rev || s.revs[t.rev].Removed != 0 {
			return false
		}
		n++
	}
	return slot.approved && n == len(s.inForce)
}

// tick is what advance does at the present moment, for callers that are about
// to change tasks.
func (s *Scheduler) tick(ctx context.Context) (fleet.Instant, error) {
	now := max(fleet.At(time.Now()), s.through)
	return now, s.advance(ctx, now)
}
