// Package runner turns due orders into outcomes.
//
//	Add(order) ──► its camera's queue ──► one of Width places ──► try, retry ──► done(capture)
//
// A camera has at most one place at a time, so a slow one holds up its own
// orders and nobody else's. A camera that fails again and again is left alone
// for a while (its breaker opens); its orders are then skipped at once.
package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// Reader computes a reading from a frame.
type Reader interface {
	Read(ctx context.Context, f fleet.Frame) (fleet.Reading, error)
}

// Clock tells the agent's corrected time, and how wrong it may be.
type Clock interface {
	Now() time.Time
	Bound() time.Duration
}

// Options configure a Runner.
type Options struct {
	Width      int           // cameras at a time; default 64
	Readers    int           // frames decoded at a time; default 2
	Backoff    time.Duration // ceiling of the first retry's delay, doubled each time; default 250 ms
	MaxBackoff time.Duration // default 10 s
	Trip       int           // failures in a row that open a camera's breaker; default 8
	Open       time.Duration // how long it stays open at first, doubled up to MaxOpen; default 15 s
	MaxOpen    time.Duration // default 5 min
	Log        *slog.Logger  // default: none
}

// Runner takes pictures. Its methods may be called from any goroutine.
type Runner struct {
	grabber protocols.Grabber
	reader  Reader
	clock   Clock
	opts    Options
	done    func(context.Context, fleet.Capture, []byte)
	decode  chan struct{} // cap Readers

	mu      sync.Mutex
	targets map[fleet.CameraID]fleet.Target
	cameras map[fleet.CameraID]*camera
	ready   []*camera // have orders and no place
	wake    chan struct{}
	running int
}

// camera is one camera's queue and breaker.
type camera struct {
	id       fleet.CameraID
	queue    []fleet.Order
	busy     bool
	failures int
	opened   int       // times in a row that the breaker opened
	closed   time.Time // the breaker is open until then
}

// New returns a runner that hands each outcome, with its thumbnail if there is
// one, to done. done is called from many goroutines and may block.
func New(g protocols.Grabber, r Reader, c Clock, done func(context.Context, fleet.Capture, []byte), o Options) *Runner {
	o.Width = cmp.Or(o.Width, 64)
	o.Readers = cmp.Or(o.Readers, 2)
	o.Backoff = cmp.Or(o.Backoff, 250*time.Millisecond)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 10*time.Second)
	o.Trip = cmp.Or(o.Trip, 8)
	o.Open = cmp.Or(o.Open, 15*time.Second)
	o.MaxOpen = cmp.Or(o.MaxOpen, 5*time.Minute)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Runner{
		grabber: g, reader: r, clock: c, opts: o, done: done,
		decode: make(chan struct{}, o.Readers), wake: make(chan struct{}, 1),
		targets: map[fleet.CameraID]fleet.Target{}, cameras: map[fleet.CameraID]*camera{},
	}
}

// SetTargets replaces the list of cameras and how to reach them.
func (r *Runner) SetTargets(targets []fleet.Target) {
	m := make(map[fleet.CameraID]fleet.Target, len(targets))
	for _, t := range targets {
		m[t.Camera] = t
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, t := range m {
		if c := r.cameras[id]; c != nil && differs(t, r.targets[id]) {
			c.failures, c.opened, c.closed = 0, 0, time.Time{} // a new address or login deserves a try
		}
	}
	for id, c := range r.cameras {
		if _, ok := m[id]; !ok && !c.busy && len(c.queue) == 0 {
			delete(r.cameras, id)
		}
	}
	r.targets = m
}

func differs(a, b fleet.Target) bool {
	return fmt.Sprint(a.Endpoints) != fmt.Sprint(b.Endpoints) || versions(a) != versions(b)
}

func versions(t fleet.Target) (s string) {
	for _, c := range t.Credentials {
		s += fmt.Sprint(c.Version, " ")
	}
	return s
}

// Add takes due orders.
func (r *Runner) Add(orders ...fleet.Order) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range orders {
		c := r.cameras[o.Camera]
		if c == nil {
			c = &camera{id: o.Camera}
			r.cameras[o.Camera] = c
		}
		if c.queue = append(c.queue, o); !c.busy {
			c.busy = true
			r.ready = append(r.ready, c)
		}
		r.running++
	}
	r.kick()
}

func (r *Runner) kick() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Running returns how many orders have been added and have no outcome yet.
func (r *Runner) Running() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.running
}

// Run works until ctx ends and all places are empty. An order that was cut off
// has no outcome: it is still in the store.
func (r *Runner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	places := make(chan struct{}, r.opts.Width)
	for {
		r.mu.Lock()
		var c *camera
		if len(r.ready) > 0 {
			c = r.ready[0]
			r.ready = r.ready[1:]
		}
		r.mu.Unlock()
		if c == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-r.wake:
			}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case places <- struct{}{}:
		}
		wg.Go(func() {
			defer func() { <-places }()
			r.serve(ctx, c)
		})
	}
}

// serve works off one order of a camera and queues it again if there are more.
func (r *Runner) serve(ctx context.Context, c *camera) {
	r.mu.Lock()
	o := c.queue[0]
	c.queue = c.queue[1:]
	t, known := r.targets[o.Camera]
	until := c.closed
	r.mu.Unlock()

	res, thumb, over := r.capture(ctx, o, t, known, until)
	if over {
		r.settle(c, &res)
		r.done(ctx, res, thumb)
		if res.Outcome != fleet.Captured {
			r.opts.Log.DebugContext(ctx, "capture failed", "camera_id", o.Camera, "capture_result", res.Outcome, "cause", res.Cause, "attempt", res.Attempts, "took", res.Took, "err", res.Detail)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running--
	if len(c.queue) == 0 {
		c.busy, c.queue = false, nil
		return
	}
	r.ready = append(r.ready, c)
	r.kick()
}

// settle moves the camera's breaker.
func (r *Runner) settle(c *camera, res *fleet.Capture) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case res.Outcome == fleet.Captured:
		c.failures, c.opened, c.closed = 0, 0, time.Time{}
	case res.Outcome == fleet.Failed && res.Cause != fleet.CauseInternal && res.Cause != fleet.CauseStorage:
		if c.failures++; c.failures >= r.opts.Trip {
			open := min(r.opts.Open<<min(c.opened, 20), r.opts.MaxOpen)
			c.opened++
			c.failures = r.opts.Trip - 1 // one more failure opens it again
			c.closed = r.clock.Now().Add(open)
		}
	}
}

// capture is the way of one order. over is false when ctx ended first.
func (r *Runner) capture(ctx context.Context, o fleet.Order, t fleet.Target, known bool, open time.Time) (res fleet.Capture, thumb []byte, over bool) {
	start := r.clock.Now()
	res = fleet.Capture{Occurrence: o.Occurrence, Bound: r.clock.Bound(), Delay: max(0, start.Sub(o.Nominal.Time()))}
	end := func(out fleet.Outcome, cause fleet.Cause, detail string) (fleet.Capture, []byte, bool) {
		now := r.clock.Now()
		res.Outcome, res.Cause, res.Detail = out, cause, detail[:min(len(detail), fleet.MaxDetail)]
		res.At, res.Took = fleet.At(now), now.Sub(start)
		return res, nil, true
	}
	deadline := o.Deadline.Time()
	switch {
	case !start.Before(deadline):
		return end(fleet.Missed, fleet.CauseDeadline, "its turn came after its deadline")
	case !known:
		return end(fleet.Skipped, fleet.CauseNotFound, "the camera is not on this agent's list any more")
	case start.Before(open):
		return end(fleet.Skipped, fleet.CauseBackoff, "the camera failed again and again; the next try is after "+open.UTC().Format(time.RFC3339))
	}
	// The corrected clock and the machine's differ; contexts go by the latter.
	tctx, cancel := context.WithTimeout(ctx, deadline.Sub(start))
	defer cancel()
	for {
		res.Attempts++
		frame, reading, err := r.try(tctx, t)
		if err == nil {
			res.Outcome, res.Protocol = fleet.Captured, frame.Origin.Protocol
			res.At = fleet.At(r.clock.Now())
			res.Took = r.clock.Now().Sub(start)
			thumb, reading.Thumbnail = reading.Thumbnail, nil
			res.Reading = reading
			return res, thumb, true
		}
		if ctx.Err() != nil {
			return res, nil, false
		}
		cause, detail := explain(err)
		delay := rand.N(min(r.opts.Backoff<<min(res.Attempts-1, 20), r.opts.MaxBackoff)) // capped, full jitter
		if res.Attempts > o.Retries || !retryable(cause) || r.clock.Now().Add(delay).After(deadline) {
			return end(fleet.Failed, cause, detail)
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-tctx.Done():
			timer.Stop()
			if ctx.Err() != nil {
				return res, nil, false
			}
			return end(fleet.Failed, cause, detail)
		}
	}
}

// try takes and reads one frame. A panic in a parser ends this try, not the
// agent.
func (r *Runner) try(ctx context.Context, t fleet.Target) (frame fleet.Frame, reading fleet.Reading, err error) {
	defer func() {
		if p := recover(); p != nil {
			r.opts.Log.ErrorContext(ctx, "capture panicked", "camera_id", t.Camera, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fleet.Errorf(fleet.CauseInternal, "a fault of the agent itself: %v", p)
		}
	}()
	if frame, err = r.grabber.Grab(ctx, t); err != nil {
		return frame, reading, err
	}
	select {
	case r.decode <- struct{}{}:
		defer func() { <-r.decode }()
	case <-ctx.Done():
		return frame, reading, fleet.Errorf(fleet.CauseDeadline, "the frame came, and this box was too busy to read it in time")
	}
	reading, err = r.reader.Read(ctx, frame)
	return frame, reading, err
}

func explain(err error) (fleet.Cause, string) {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause, err.Error()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fleet.CauseTimeout, "nothing came before the deadline"
	}
	return fleet.CauseInternal, err.Error()
}

// retryable says whether another try can end otherwise. Logins are never tried
// again in a hurry.
func retryable(c fleet.Cause) bool {
	switch c {
	case fleet.CauseUnauthorized, fleet.CauseLocked, fleet.CauseUnsupportedCodec, fleet.CauseGuarded, fleet.CauseNotFound, fleet.CauseTooLarge:
		return false
	}
	return true
}
