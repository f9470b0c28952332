package runner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// shedEvery is how often shedding is thought about.
const shedEvery = 250 * time.Millisecond

// step does all that is to be done now, and returns how long nothing is.
func (r *Runner) step(ctx context.Context) time.Duration {
	r.mu.Lock()
	now := r.opts.Clock.Now()
	at := fleet.At(now)
	r.arrive(ctx, at)
	r.expire(at)
	r.give(ctx, at)
	r.shedNow(at)
	wait := r.quiet(now)
	ended := r.ended
	r.ended = nil
	r.mu.Unlock()
	for _, c := range ended {
		r.opts.Done(c)
	}
	return wait
}

// arrive lets in the orders whose start has come, oldest first, as their
// schedules' overlap says.
func (r *Runner) arrive(ctx context.Context, now fleet.Instant) {
	var come []*member
	for _, g := range r.groups {
		for _, m := range g.members {
			if !m.begun && m.Start() <= now {
				come = append(come, m)
			}
		}
	}
	slices.SortFunc(come, func(a, b *member) int {
		if a.Start() != b.Start() {
			return int(a.Start() - b.Start())
		}
		return a.Occurrence.Compare(b.Occurrence)
	})
	for _, m := range come {
		if m.ended {
			continue
		}
		r.overlap(m)
		if m.ended {
			continue
		}
		m.begun = true
		key := task{m.Camera, m.Schedule}
		r.tasks[key] = append(r.tasks[key], m)
		// One after the other: who can begin does, before the next one of its
		// task takes its place.
		r.give(ctx, now)
	}
}

// overlap decides what happens when the task's occurrence before m has not
// ended.
func (r *Runner) overlap(m *member) {
	earlier := slices.Clone(r.tasks[task{m.Camera, m.Schedule}])
	if m.schedule == nil || m.late || len(earlier) == 0 {
		return
	}
	switch m.schedule.Overlap() {
	case calendar.OverlapSkip:
		r.decide(m, fleet.Skipped, fleet.CauseOverlap, fmt.Sprintf("the occurrence of %s has not ended", earlier[0].Nominal))
	case calendar.OverlapReplace:
		for _, e := range earlier {
			r.decide(e, fleet.Skipped, fleet.CauseReplaced, fmt.Sprintf("the occurrence of %s took its place", m.Nominal))
		}
	default:
		for _, e := range earlier {
			if !e.group.running && e.group.began.IsZero() {
				m.since = min(m.since, e.since)
				r.decide(e, fleet.Skipped, fleet.CauseOverlap, fmt.Sprintf("it waited, and the occurrence of %s came", m.Nominal))
			}
		}
	}
}

// expire ends what has no time left. It goes backwards, because what ends leaves
// the lists behind it as they were.
func (r *Runner) expire(now fleet.Instant) {
	for i := len(r.groups) - 1; i >= 0; i-- {
		g := r.groups[i]
		for j := len(g.members) - 1; j >= 0; j-- {
			m := g.members[j]
			if m.Deadline > now || !m.begun {
				continue
			}
			switch {
			case g.running && (g.reading != 0 && g.reading <= m.Deadline):
				// Its frame came in time; only our computing has not ended.
			case g.running && g.deadline() > now:
				r.end(m, r.late(g, m))
			case g.running:
				// The try's own deadline ends it.
			case !g.began.IsZero():
				r.end(m, inTime(m, g.last))
			default:
				r.decide(m, fleet.Missed, r.whyNot(g, m), r.whyNotText(g, m))
			}
		}
	}
}

// late is the outcome of a member whose deadline came while its group goes on
// for another one.
func (r *Runner) late(g *group, m *member) fleet.Capture {
	if g.attempts > 1 && (g.last.Outcome == fleet.Failed || g.last.Outcome == fleet.Captured) {
		return inTime(m, g.last)
	}
	return fleet.Capture{Outcome: fleet.Failed, Cause: fleet.CauseTimeout, Detail: "no frame came before its deadline", At: fleet.At(r.opts.Clock.Now()),
		Bound: r.opts.Clock.Bound(), Took: time.Since(g.began), Attempts: g.attempts}
}

// whyNot says whose fault it is that m never had its turn: the box's, when it
// had no slot.
func (r *Runner) whyNot(g *group, m *member) fleet.Cause {
	if m.late || g.camera.busy || r.behind(g) || r.noneOfItsKind(g) {
		return fleet.CauseDeadline
	}
	return fleet.CauseOverload
}

func (r *Runner) whyNotText(g *group, m *member) string {
	switch {
	case m.late:
		return "its order came after its deadline"
	case g.camera.busy || r.behind(g):
		return "another capture of this camera held its turn until its deadline"
	case r.noneOfItsKind(g):
		return "cameras that do not answer held the turns kept for such cameras until its deadline"
	}
	return fmt.Sprintf("all %d turns were taken until its deadline, by captures of higher classes or that waited longer", r.limit.now())
}

// give gives free slots to who goes first.
func (r *Runner) give(ctx context.Context, now fleet.Instant) {
	for {
		if r.used >= r.limit.now() {
			r.busy = r.someoneWaits(now)
			r.pressed = r.busy
			return
		}
		r.busy = false
		var first *group
		var best claim
		for _, g := range r.groups {
			if !r.ready(g, now) || !r.hasSlot(g) {
				continue
			}
			if c := g.claim(); first == nil || c.before(best, now) {
				first, best = g, c
			}
		}
		if first == nil {
			// New cameras wait for the half that is theirs.
			r.pressed = slices.ContainsFunc(r.groups, func(g *group) bool { return g.camera.kind() == unproven && r.ready(g, now) })
			return
		}
		r.begin(ctx, first)
	}
}

func (r *Runner) someoneWaits(now fleet.Instant) bool {
	return slices.ContainsFunc(r.groups, func(g *group) bool { return r.ready(g, now) })
}

// ready reports whether g waits for nothing but a slot.
func (r *Runner) ready(g *group, now fleet.Instant) bool {
	return !g.running && !g.camera.busy && g.start <= now && g.deadline() > now && g.allBegun() && !r.behind(g)
}

func (g *group) allBegun() bool {
	return !slices.ContainsFunc(g.members, func(m *member) bool { return !m.begun })
}

// behind reports whether an earlier occurrence of one of g's tasks, which the
// agent knows, has not ended.
func (r *Runner) behind(g *group) bool {
	return slices.ContainsFunc(g.members, func(m *member) bool {
		return m.schedule != nil && m.begun && r.tasks[task{m.Camera, m.Schedule}][0] != m
	})
}

// claim is the best of its members': one frame serves all.
func (g *group) claim() claim {
	c := claim{priority: g.members[0].Priority, since: g.members[0].since, deadline: g.members[0].Deadline, tie: uint64(g.id)}
	for _, m := range g.members[1:] {
		c.priority, c.since, c.deadline = max(c.priority, m.Priority), min(c.since, m.since), min(c.deadline, m.Deadline)
	}
	return c
}

// deadline is the latest of its members'.
func (g *group) deadline() fleet.Instant {
	d := fleet.Instant(0)
	for i, m := range g.members {
		if i == 0 || m.Deadline > d {
			d = m.Deadline
		}
	}
	return d
}

// begin gives g a slot and starts a try, unless its camera is to be left alone.
func (r *Runner) begin(ctx context.Context, g *group) {
	if wait, open, trial := r.breaker(g.camera); open && g.began.IsZero() {
		detail := fmt.Sprintf("left alone for %s more after %d failures in a row", wait.Round(time.Second), g.camera.failures)
		for _, m := range slices.Clone(g.members) {
			r.decide(m, fleet.Skipped, fleet.CauseBackoff, detail)
		}
		return
	} else if trial {
		g.trial = true
	}
	target, ok := r.opts.Targets(g.id)
	if !ok {
		for _, m := range slices.Clone(g.members) {
			r.decide(m, fleet.Failed, fleet.CauseInternal, "the centre ordered a picture of a camera that it has not described to this agent")
		}
		return
	}
	r.used++
	switch g.kind = g.camera.kind(); g.kind {
	case suspect:
		r.suspects++
	case unproven:
		r.unproven++
	}
	g.running, g.camera.busy, g.taken = true, true, time.Now()
	now := r.opts.Clock.Now()
	if g.began.IsZero() {
		g.began = time.Now()
		for _, m := range g.members {
			m.delay = max(0, now.Sub(m.Nominal.Time()))
		}
	}
	g.attempts++
	t := r.plan(g, target)
	try, cancel := context.WithTimeout(ctx, g.deadline().Time().Sub(now))
	g.cancel = cancel
	r.working.Go(func() {
		defer cancel()
		r.work(ctx, try, g, t)
	})
}

// shedNow ends what cannot get its turn before its deadline, as far as the
// measured capacity tells.
func (r *Runner) shedNow(now fleet.Instant) {
	perSecond := r.capacity.perSecond(r.limit.now())
	// While the limit still doubles, the rate is not what the box can do.
	if perSecond == 0 || !r.busy || r.limit.growing() && !r.decodes() || time.Since(r.shed) < shedEvery {
		return
	}
	r.shed = time.Now()
	var waiting []*group
	var claims []claim
	for _, g := range r.groups {
		if g.began.IsZero() && r.ready(g, now) && !r.waitsForItsKind(g) {
			c := g.claim()
			c.deadline = g.deadline()
			waiting, claims = append(waiting, g), append(claims, c)
		}
	}
	for _, i := range hopeless(claims, 0, perSecond, now) {
		detail := fmt.Sprintf("%d captures are due and this agent does %.1f per second: it would not have been its turn before its deadline", len(claims), perSecond)
		for _, m := range slices.Clone(waiting[i].members) {
			r.decide(m, fleet.Missed, fleet.CauseOverload, detail)
		}
	}
}

// quiet returns how long nothing happens by itself.
func (r *Runner) quiet(now time.Time) time.Duration {
	if len(r.groups) == 0 {
		return time.Hour
	}
	// Never longer than a clock's correction needs to be seen.
	wait := time.Second
	next := func(at fleet.Instant) {
		if d := at.Time().Sub(now); d > 0 {
			wait = min(wait, d)
		}
	}
	for _, g := range r.groups {
		if !g.running {
			next(g.start)
		}
		for _, m := range g.members {
			if !m.begun {
				next(m.Start())
			}
			next(m.Deadline)
		}
	}
	if r.busy {
		wait = min(wait, shedEvery)
	}
	return wait
}

// decide ends m with an outcome that no try led to.
func (r *Runner) decide(m *member, out fleet.Outcome, c fleet.Cause, detail string) {
	now := r.opts.Clock.Now()
	o := fleet.Capture{Outcome: out, Cause: c, Detail: detail, At: fleet.At(now), Bound: r.opts.Clock.Bound(), Attempts: m.group.attempts, Retakes: m.group.retakes}
	if m.group.began.IsZero() {
		m.delay = max(0, now.Sub(m.Nominal.Time()))
	} else {
		o.Took = time.Since(m.group.began)
	}
	r.end(m, o)
}

// end enters m's outcome: c, with m's own occurrence and delay. A group whose
// last member ends is over, and its connection is closed.
func (r *Runner) end(m *member, c fleet.Capture) {
	if m.ended {
		return
	}
	m.ended = true
	c.Occurrence, c.Delay = m.Occurrence, m.delay
	r.ended = append(r.ended, c)
	key := task{m.Camera, m.Schedule}
	if rest := slices.DeleteFunc(r.tasks[key], func(o *member) bool { return o == m }); len(rest) > 0 {
		r.tasks[key] = rest
	} else {
		delete(r.tasks, key)
	}
	g := m.group
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	if len(g.members) > 0 {
		return
	}
	if g.running {
		g.cancel() // work leaves the group when the grabber has returned
		return
	}
	r.leave(g)
}

// leave forgets a group that is over.
func (r *Runner) leave(g *group) {
	if g.trial {
		g.camera.trial, g.trial = false, false
	}
	if i := slices.Index(r.groups, g); i >= 0 {
		last := len(r.groups) - 1
		r.groups[i] = r.groups[last]
		r.groups[last] = nil
		r.groups = r.groups[:last]
	}
	g.camera.users--
	r.tidy(g.id, g.camera)
}
