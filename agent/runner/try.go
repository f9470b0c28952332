package runner

import (
	"context"
	"errors"
	"time"
	"unicode/utf8"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// readGrace is how long reading may go on after the deadline for a frame that
// arrived before it: the picture was in time, only our computing was not.
const readGrace = 5 * time.Second

// leastTry is the shortest time worth giving to one try when a deadline is
// divided among several: below it a slow camera would fail each of them.
const leastTry = 2 * time.Second

// retakePause is between a bad frame and the next: a camera's exposure and
// focus settle over several of its frames, of which most send ten a second or
// more.
const retakePause = 300 * time.Millisecond

// plan is what one try needs to know of its group: members may come to their
// end meanwhile.
type plan struct {
	target  fleet.Target
	left    int // tries after this one
	retakes map[calendar.Verdict]uint8
	spare   func() // has the judge remember the part of a picture that an earlier try brought
}

// plan gathers the policies of g's members: the one that asks for most counts.
// Callers hold mu.
func (r *Runner) plan(g *group, t fleet.Target) plan {
	p := plan{target: t, left: g.triesLeft(), spare: g.spare}
	for _, m := range g.members {
		if m.schedule == nil {
			continue
		}
		for _, v := range []calendar.Verdict{calendar.VerdictCorrupt, calendar.VerdictBlurred, calendar.VerdictBlack} {
			if retake := m.schedule.Retake(); retake.Wants(v) {
				if p.retakes == nil {
					p.retakes = make(map[calendar.Verdict]uint8)
				}
				p.retakes[v] = max(p.retakes[v], retake.Max)
			}
		}
	}
	return p
}

// triesLeft returns how many tries may follow those begun.
func (g *group) triesLeft() int {
	most := 0
	for _, m := range g.members {
		most = max(most, int(m.Retries))
	}
	return max(0, most+1-int(g.attempts))
}

// work is one try: a frame, and more of them where it is bad and the schedule
// asks for that. The best counts. It ends with try, and reading with ctx: a
// frame that came in time counts.
func (r *Runner) work(ctx, try context.Context, g *group, p plan) {
	defer signal(r.wake)
	var best shot
	retakes := uint8(0)
	for n := 0; ; n++ {
		began := time.Now()
		f, err := r.grab(try, p)
		if err != nil {
			if n == 0 || best.err != nil {
				best = shot{at: r.opts.Clock.Now(), err: err}
			}
			break
		}
		if n > 0 {
			retakes++
		}
		s := shot{at: r.opts.Clock.Now(), protocol: f.Origin.Protocol}
		r.arrived(g, s.at, time.Since(began), len(p.retakes) == 0)
		f.At = s.at
		s.reading, s.keep, s.err = r.read(ctx, g.id, f)
		if n == 0 || s.better(best) {
			best = s
		}
		if retakes >= p.retakes[s.verdict()] || !r.sleep(try, retakePause) {
			break
		}
	}
	// Of several tries, too, the one that counts is remembered.
	keep := best.keep
	switch {
	case best.err != nil && p.left == 0:
		keep = p.spare
	case best.verdict() == calendar.VerdictCorrupt && p.retakes[calendar.VerdictCorrupt] == 0 && p.left > 0:
		keep = nil
	}
	if keep != nil {
		keep()
	}
	r.settle(ctx, g, best, retakes, p)
}

// arrived notes that g's frame is here, and sets its camera free when nothing
// more is wanted of it: it need not wait for our decoding.
func (r *Runner) arrived(g *group, at time.Time, took time.Duration, free bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.camera.latency == 0 {
		g.camera.latency = took
	}
	g.camera.latency += (took - g.camera.latency) / 8 // the weight of RFC 6298
	g.reading = fleet.At(at)
	if free {
		g.camera.busy = false
		signal(r.wake)
	}
}

// settle enters what a try came to: outcomes, or another try.
func (r *Runner) settle(ctx context.Context, g *group, s shot, retakes uint8, p plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.busy {
		r.capacity.release(time.Since(g.taken), r.limit.now())
	}
	if before := r.limit.cuts; ctx.Err() == nil && len(g.members) > 0 {
		r.limit.end(g.taken, time.Now(), s.err == nil, g.kind == common && congested(s.err), r.pressed && !r.decodes())
		if r.limit.cuts > before {
			r.opts.Log.WarnContext(ctx, "cameras that were well time out or refuse: fewer are spoken to at a time", "limit", r.limit.now(), "err", s.err)
		}
	}
	r.used--
	switch g.kind {
	case suspect:
		r.suspects--
	case unproven:
		r.unproven--
	}
	if g.reading == 0 || len(p.retakes) > 0 { // else arrived has set it free, and another may have it
		g.camera.busy = false
	}
	g.running, g.reading = false, 0
	g.retakes += retakes
	if len(g.members) == 0 || ctx.Err() != nil { // replaced, or stopped
		r.leave(g)
		return
	}
	c := fleet.Capture{At: fleet.At(s.at), Bound: r.opts.Clock.Bound(), Took: time.Since(g.began), Attempts: g.attempts, Retakes: g.retakes, Protocol: s.protocol}
	if s.err == nil {
		c.Outcome, c.Reading = fleet.Captured, s.reading
	} else {
		c.Outcome = fleet.Failed
		c.Cause, c.Detail = explain(s.err)
		r.opts.Log.DebugContext(ctx, "try failed", "camera_id", g.id, "attempt", g.attempts, "cause", c.Cause, "err", s.err)
	}
	now, came := r.opts.Clock.Now(), c
	// A picture of which a part is missing is worth another try as one is that
	// could not be decoded, and better than none.
	again := c.Outcome == fleet.Failed && worthAgain(c.Cause) || s.verdict() == calendar.VerdictCorrupt
	if c.Outcome == fleet.Failed && g.last.Outcome == fleet.Captured {
		c = g.last
		c.Attempts, c.Retakes = g.attempts, g.retakes
	}
	if again && p.retakes[s.verdict()] == 0 && g.triesLeft() > 0 {
		if wait := r.backoff(g); g.deadline().Time().Sub(now) > wait {
			if g.last = c; s.err == nil {
				g.spare = s.keep
			}
			g.start = fleet.At(now.Add(wait)) + 1 // cut to the millisecond below, it would be early
			r.giveUp(g, c)
			return
		}
	}
	r.learn(g.id, g.camera, came, g.trial)
	g.trial = false
	for len(g.members) > 0 {
		m := g.members[0]
		r.end(m, inTime(m, c))
	}
}

// inTime returns c as m's outcome: a frame that came after m's deadline is none.
func inTime(m *member, c fleet.Capture) fleet.Capture {
	if c.Outcome == fleet.Captured && c.At > m.Deadline {
		c.Outcome, c.Cause, c.Detail, c.Reading = fleet.Failed, fleet.CauseTimeout, "the frame came after the deadline", fleet.Reading{}
	}
	return c
}

// giveUp ends the members of a failed try that have no more tries of their own,
// while others have.
func (r *Runner) giveUp(g *group, c fleet.Capture) {
	for i := 0; i < len(g.members); {
		if m := g.members[i]; m.Retries < g.attempts {
			r.end(m, inTime(m, c))
			continue
		}
		i++
	}
}

// decodes reports whether frames come faster than they are decoded: then more
// of them at a time help nobody, and each costs its memory. Callers hold mu.
func (r *Runner) decodes() bool { return r.decoding > 2*r.opts.Readers }

// congested reports whether an error is what a network or a device with too
// much to do gives.
func congested(err error) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	return ok && (ce.Cause == fleet.CauseTimeout || ce.Cause == fleet.CauseRefused)
}

// backoff returns how long to wait before the next try: full jitter under a
// ceiling that doubles with each try and with each outcome before that failed,
// from the schedule's whose wait is the shortest or the time that the camera
// itself takes for a frame, whichever is longer.
func (r *Runner) backoff(g *group) time.Duration {
	first, most := time.Duration(0), time.Duration(0)
	for _, m := range g.members {
		b, c := r.opts.Backoff, r.opts.MaxBackoff
		if m.schedule != nil {
			b, c = time.Duration(m.schedule.Retry().Backoff), time.Duration(m.schedule.Retry().Cap)
		}
		if first == 0 || b < first {
			first, most = b, c
		}
	}
	return time.Duration(r.opts.Rand(int64(ceiling(max(first, g.camera.latency), most, int(g.attempts)-1+g.camera.failures)) + 1))
}

// ceiling is min(most, first<<tries), without an overflow.
func ceiling(first, most time.Duration, tries int) time.Duration {
	for ; tries > 0 && first < most; tries-- {
		first *= 2
	}
	return min(first, most)
}

// grab gives one try its share of the time that is left.
func (r *Runner) grab(deadline context.Context, p plan) (fleet.Frame, error) {
	ctx := deadline
	if end, ok := deadline.Deadline(); ok && p.left > 0 {
		share := max(leastTry, time.Until(end)/time.Duration(p.left+1))
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(deadline, share)
		defer cancel()
	}
	f, err := r.grabber.Grab(ctx, p.target)
	if err == nil && deadline.Err() != nil {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseTimeout, "the frame came after the deadline")
	}
	return f, err
}

// read decodes a frame and has it judged, when there is a processor for it.
func (r *Runner) read(ctx context.Context, c fleet.CameraID, f fleet.Frame) (fleet.Reading, func(), error) {
	r.mu.Lock()
	r.decoding++
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readGrace)
	defer cancel()
	err := r.readers.Acquire(ctx, 1)
	r.mu.Lock()
	r.decoding--
	r.mu.Unlock()
	if err != nil {
		return fleet.Reading{}, nil, fleet.Errorf(fleet.CauseInternal, "the frame was not read in time: this box decodes too slowly for its captures")
	}
	defer r.readers.Release(1)
	if r.opts.Judge != nil {
		return r.opts.Judge.Judge(ctx, c, f)
	}
	res, err := r.reader.Read(ctx, f)
	return res, nil, err
}

func (r *Runner) sleep(ctx context.Context, d time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= d {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// worthAgain reports whether another try within seconds can end better. A
// refused login is never repeated: cameras lock.
func worthAgain(c fleet.Cause) bool {
	switch c {
	case fleet.CauseUnreachable, fleet.CauseRefused, fleet.CauseTimeout, fleet.CauseProtocol, fleet.CauseCorrupt, fleet.CauseNoKeyframe, fleet.CauseInternal:
		return true
	}
	return false
}

// countsAgainst reports whether a cause says that asking again soon only does
// harm. Missing logins and codecs are cured by people, at once.
func countsAgainst(c fleet.Cause) bool {
	switch c {
	case fleet.CauseUnreachable, fleet.CauseRefused, fleet.CauseTimeout, fleet.CauseProtocol, fleet.CauseNoKeyframe, fleet.CauseTooLarge:
		return true
	}
	return false
}

// explain returns the cause and the text of a failure.
func explain(err error) (fleet.Cause, string) {
	cause := fleet.CauseInternal
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		cause = ce.Cause
	} else if errors.Is(err, context.DeadlineExceeded) {
		cause = fleet.CauseTimeout
	}
	return cause, cut(err.Error(), fleet.MaxDetail)
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const more = "…"
	s = s[:n-len(more)]
	for len(s) > 0 {
		if c, size := utf8.DecodeLastRuneInString(s); c != utf8.RuneError || size != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + more
}
