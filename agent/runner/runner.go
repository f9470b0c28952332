// Package runner takes one due order to its outcome: it waits for the moment
// and for its turn, grabs a frame, reads it, tries again where that can help,
// and leaves a camera alone that keeps failing.
//
//	Order ─► moment ─► breaker ─► camera's turn ─► slot ─► Grab ─► Read ─► captured
//	            │          │             │                  └─retry─┘ └──► failed(cause)
//	            │          └► skipped(backoff)
//	            └───────── deadline passed ─────────────────────────────► missed(deadline)
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/semaphore"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// A Reader computes a Reading from a frame; *capture.Reader is one.
type Reader interface {
	Read(ctx context.Context, f fleet.Frame) (fleet.Reading, error)
}

// Clock tells the corrected time and how wrong it may be.
type Clock interface {
	Now() time.Time
	Bound() time.Duration
}

// Options configure a Runner.
type Options struct {
	Width      int           // grabs at a time; default 32
	Unproven   int           // of these, for cameras that never gave a picture; default half of Width
	Suspects   int           // of these, for cameras whose last outcome was a failure; default a quarter of Width
	Readers    int           // frames decoded at a time; default the number of processors
	Backoff    time.Duration // ceiling of the first wait between tries, doubled each time; default 200ms
	MaxBackoff time.Duration // ceiling of all waits between tries; default 5s
	Failures   int           // failed outcomes in a row that open a camera's breaker; default 5
	Open       time.Duration // for how long at first, doubled each time its trial fails; default 10s
	MaxOpen    time.Duration // and at most; default 2m
	Clock      Clock         // default: the box's clock, taken as exact
	Log        *slog.Logger  // default: none
}

// readGrace is how long reading may go on after the deadline for a frame that
// arrived before it: the picture was in time, only our computing was not.
const readGrace = 5 * time.Second

// leastTry is the shortest time worth giving to one try when a deadline is
// divided among several: below it a slow camera would fail each of them.
const leastTry = 2 * time.Second

// Runner captures. Its methods may be called at once.
type Runner struct {
	grabber  protocols.Grabber
	reader   Reader
	opts     Options
	width    *semaphore.Weighted
	unproven *semaphore.Weighted
	suspect  *semaphore.Weighted
	readers  *semaphore.Weighted

	mu      sync.Mutex
	cameras map[fleet.CameraID]*camera
}

// camera is what is known of one camera's behaviour.
type camera struct {
	turn     chan struct{} // capacity 1: holds a token while someone grabs
	users    int           // orders that use this entry now
	proven   bool          // it gave a picture once
	failures int           // failed outcomes in a row
	until    time.Time     // breaker open until then
	open     time.Duration // how long it was opened last
	trial    bool          // one order is trying the half-open breaker
}

// New returns a runner over g and r.
func New(g protocols.Grabber, r Reader, o Options) (*Runner, error) {
	o.Width = cmp.Or(o.Width, 32)
	o.Unproven = cmp.Or(o.Unproven, max(1, o.Width/2))
	o.Suspects = cmp.Or(o.Suspects, max(1, o.Width/4))
	o.Readers = cmp.Or(o.Readers, runtime.GOMAXPROCS(0))
	o.Backoff = cmp.Or(o.Backoff, 200*time.Millisecond)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 5*time.Second)
	o.Failures = cmp.Or(o.Failures, 5)
	o.Open = cmp.Or(o.Open, 10*time.Second)
	o.MaxOpen = cmp.Or(o.MaxOpen, 2*time.Minute)
	if o.Clock == nil {
		o.Clock = boxClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if min(o.Width, o.Unproven, o.Suspects, o.Readers) < 1 {
		return nil, fmt.Errorf("runner: width %d, unproven %d, suspects %d, readers %d: each must be at least 1", o.Width, o.Unproven, o.Suspects, o.Readers)
	}
	return &Runner{
		grabber: g, reader: r, opts: o,
		width:    semaphore.NewWeighted(int64(o.Width)),
		unproven: semaphore.NewWeighted(int64(o.Unproven)),
		suspect:  semaphore.NewWeighted(int64(o.Suspects)),
		readers:  semaphore.NewWeighted(int64(o.Readers)),
		cameras:  make(map[fleet.CameraID]*camera),
	}, nil
}

// Forget drops what is known of a camera's failures: its configuration changed.
func (r *Runner) Forget(id fleet.CameraID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.cameras[id]; c != nil {
		c.proven, c.failures, c.until, c.open = false, 0, time.Time{}, 0
		r.tidy(id, c)
	}
}

// ErrStopped says that ctx ended before the order had an outcome. The order is
// still to be captured.
var ErrStopped = errors.New("stopped before the outcome")

// Run takes o to its outcome: never before its nominal time, one grab at a time
// per camera, and none that begins after the deadline. Its only error is
// ErrStopped, when ctx ended first.
func (r *Runner) Run(ctx context.Context, o fleet.Order, t fleet.Target) (fleet.Capture, error) {
	if err := r.waitUntil(ctx, o.Nominal); err != nil {
		return fleet.Capture{}, err
	}
	deadline, cancel := context.WithTimeout(ctx, o.Deadline.Time().Sub(r.opts.Clock.Now()))
	defer cancel()
	c, done := r.enter(o.Camera)
	defer done()
	wait, open, trial := r.breaker(c)
	if open {
		out := r.decide(o, fleet.Skipped, fleet.CauseBackoff, fmt.Sprintf("left alone for %s more after %d failures in a row", wait.Round(time.Second), r.failures(c)))
		return out, nil
	}
	free, err := r.turn(deadline, c)
	if err == nil && r.opts.Clock.Now().UnixMilli() >= int64(o.Deadline) {
		free() // its turn came with the deadline
		err = context.DeadlineExceeded
	}
	if err != nil {
		r.endTrial(c, trial)
		if ctx.Err() != nil {
			return fleet.Capture{}, ErrStopped
		}
		return r.decide(o, fleet.Missed, fleet.CauseDeadline, "other captures on this agent held its turn until its deadline"), nil
	}
	out, err := r.try(ctx, deadline, o, t, free)
	if err != nil {
		r.endTrial(c, trial)
		return fleet.Capture{}, err
	}
	r.learn(o.Camera, c, out, trial)
	return out, nil
}

// waitUntil returns at the nominal time on the corrected clock, which may be
// slewed meanwhile.
func (r *Runner) waitUntil(ctx context.Context, nominal fleet.Instant) error {
	for {
		left := nominal.Time().Sub(r.opts.Clock.Now())
		if left <= 0 {
			return nil
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ErrStopped
		}
	}
}

// turn waits for the camera to be free and for a slot. A camera that failed
// last time, or never gave a picture, first waits for one of the few slots of
// its kind: silent cameras hold a slot until their deadline, and so they can
// never hold all of them.
func (r *Runner) turn(ctx context.Context, c *camera) (free func(), err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	kind := r.kind(c)
	if kind != nil {
		if err := kind.Acquire(ctx, 1); err != nil {
			<-c.turn
			return nil, err
		}
	}
	leave := sync.OnceFunc(func() {
		if kind != nil {
			kind.Release(1)
		}
		<-c.turn
	})
	if err := r.width.Acquire(ctx, 1); err != nil {
		leave()
		return nil, err
	}
	return sync.OnceFunc(func() { r.width.Release(1); leave() }), nil
}

// try grabs and reads, again where that can help. It calls free once the
// camera is no longer needed.
func (r *Runner) try(ctx, deadline context.Context, o fleet.Order, t fleet.Target, free func()) (fleet.Capture, error) {
	defer free()
	clock := r.opts.Clock
	began := time.Now()
	delay := max(0, clock.Now().Sub(o.Nominal.Time()))
	out := fleet.Capture{Occurrence: o.Occurrence, Delay: delay}
	for {
		out.Attempts++
		left := int(o.Retries) + 1 - int(out.Attempts)
		f, err := r.grab(deadline, t, left)
		out.At, out.Bound = fleet.At(clock.Now()), clock.Bound()
		out.Took = time.Since(began)
		if err == nil {
			if left == 0 {
				free() // a camera need not wait for our decoding
			}
			out.Protocol = f.Origin.Protocol
			out.Reading, err = r.read(ctx, f, o.Deadline.Time().Sub(clock.Now())+readGrace)
			if err == nil {
				out.Outcome = fleet.Captured
				out.Took = time.Since(began)
				return out, nil
			}
		}
		if ctx.Err() != nil {
			return fleet.Capture{}, ErrStopped
		}
		cause, detail := explain(err)
		out.Outcome, out.Cause, out.Detail = fleet.Failed, cause, detail
		r.opts.Log.DebugContext(ctx, "try failed", "camera_id", o.Camera, "attempt", out.Attempts, "cause", cause, "err", err)
		if left == 0 || !worthAgain(cause) || !r.pause(deadline, int(out.Attempts)) {
			out.Took = time.Since(began)
			return out, nil
		}
	}
}

// grab gives one try its share of the time that is left.
func (r *Runner) grab(deadline context.Context, t fleet.Target, triesLeft int) (fleet.Frame, error) {
	ctx := deadline
	if end, ok := deadline.Deadline(); ok && triesLeft > 0 {
		share := max(leastTry, time.Until(end)/time.Duration(triesLeft+1))
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(deadline, share)
		defer cancel()
	}
	f, err := r.grabber.Grab(ctx, t)
	if err == nil && deadline.Err() != nil {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseTimeout, "the frame came after the deadline")
	}
	return f, err
}

func (r *Runner) read(ctx context.Context, f fleet.Frame, within time.Duration) (fleet.Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, max(within, readGrace))
	defer cancel()
	if err := r.readers.Acquire(ctx, 1); err != nil {
		return fleet.Reading{}, fleet.Errorf(fleet.CauseInternal, "the frame was not read in time: this box decodes too slowly for its captures")
	}
	defer r.readers.Release(1)
	return r.reader.Read(ctx, f)
}

// pause waits before the next try, with full jitter; false when there is no
// time for one.
func (r *Runner) pause(ctx context.Context, attempts int) bool {
	ceiling := min(r.opts.MaxBackoff, r.opts.Backoff<<min(attempts-1, 16))
	wait := time.Duration(rand.Int64N(int64(ceiling) + 1))
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait {
		return false
	}
	t := time.NewTimer(wait)
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

// decide returns an outcome that no try led to.
func (r *Runner) decide(o fleet.Order, out fleet.Outcome, c fleet.Cause, detail string) fleet.Capture {
	now := r.opts.Clock.Now()
	return fleet.Capture{Occurrence: o.Occurrence, Outcome: out, Cause: c, Detail: detail, At: fleet.At(now), Bound: r.opts.Clock.Bound(),
		Delay: max(0, now.Sub(o.Nominal.Time()))}
}

type boxClock struct{}

func (boxClock) Now() time.Time       { return time.Now() }
func (boxClock) Bound() time.Duration { return 0 }
