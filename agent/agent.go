// Package agent is the edge box's work: three loops that meet in one SQLite
// file.
//
//	lease    uplink ──orders──► store                    durable, then acknowledged
//	stand    standing orders ──due──► store              what no order came for
//	capture  store.Due ──► runner ──► store.Enter        at the moment, on the corrected clock
//	report   store ──outcomes──► uplink ──stored──► Ack  newest first
//
// The loops know nothing of each other. Without the centre the middle one goes
// on with the orders it holds; without a disk all three go on in memory.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/agent/standing"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// Devices knows what is on the LAN; *inventory.Inventory is one.
type Devices interface {
	Run(ctx context.Context) error
	Devices() []fleet.Device
	Changed() <-chan struct{}
	SetKnown(targets []fleet.Target)
	SetCredentials(site []fleet.Credentials)
	// Seen tells the pHash of a frame that was taken of a device now.
	Seen(device string, phash uint64)
}

// sceneQuality is the PDQ quality from which a frame says where it was taken: a
// dark or blank one looks like any other (the PDQ paper's bound for search).
const sceneQuality = 50

// Options configure an Agent.
type Options struct {
	Looks *Looks       // judges frames by how each camera usually looks; default: none, and frames have no verdict
	Log   *slog.Logger // default: none
}

// Agent runs the loops. Make it with New, then Run it.
type Agent struct {
	store   *store.Store
	runner  *runner.Runner
	uplink  *uplink.Uplink
	devices Devices
	opts    Options
	log     *slog.Logger

	unsaved chan struct{} // capacity 1: a signal that memory has what the disk lacks

	mu      sync.Mutex
	started time.Time // of Run, on the monotonic clock
	known   map[fleet.CameraID]fleet.Target
	plan    *standing.Plan // of the standing orders; nil when there are none
}

// New returns an agent of these parts. The store stays the caller's to close.
// The runner is made here, for its Targets and Done are the agent's.
func New(s *store.Store, g runner.Grabber, rd runner.Reader, ro runner.Options, u *uplink.Uplink, d Devices, o Options) (*Agent, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{store: s, uplink: u, devices: d, opts: o, log: o.Log, unsaved: make(chan struct{}, 1)}
	ro.Targets, ro.Done, ro.Clock = s.Camera, a.done, u.Clock()
	ro.Judge = blind{rd, s.Mask}
	if o.Looks != nil {
		if o.Looks.opts.Masks == nil {
			o.Looks.opts.Masks = s.Mask
		}
		ro.Judge = o.Looks
	}
	var err error
	a.runner, err = runner.New(g, rd, ro)
	return a, err
}

// Run runs the loops until ctx is done. Orders that are being captured then
// are captured again after a restart, if their deadline allows.
func (a *Agent) Run(ctx context.Context) error {
	a.mu.Lock()
	a.started = time.Now()
	a.mu.Unlock()
	a.compile(ctx)
	defer a.store.ReleaseAll()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.uplink.Run(ctx) })
	g.Go(func() error { return a.devices.Run(ctx) })
	g.Go(func() error { return a.runner.Run(ctx) })
	g.Go(func() error { return a.stand(ctx) })
	g.Go(func() error { return a.capture(ctx) })
	g.Go(func() error { return a.keep(ctx) })
	g.Go(func() error { return a.describe(ctx) })
	if a.opts.Looks != nil {
		g.Go(func() error { return a.opts.Looks.Run(ctx) })
		defer a.opts.Looks.Save() // with what was judged last; closing the store writes it
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}

// Drain waits, while Run runs, until every order whose time has come has its
// outcome and the centre has stored all outcomes. Orders for later stay.
func (a *Agent) Drain(ctx context.Context) error {
	check := time.NewTicker(50 * time.Millisecond) // a nominal time may come without any signal
	defer check.Stop()
	for {
		due := a.store.HeldUntil(fleet.At(a.uplink.Clock().Now()))
		_, _, pending := a.store.Counts()
		if due == 0 && pending == 0 {
			return a.store.Sync(ctx)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain: %d due orders and %d outcomes are left: %w", due, pending, ctx.Err())
		case <-a.store.Settled():
		case <-check.C:
		}
	}
}

// stand begins, out of the standing orders, what is due and no order came for.
// It works a second at a time and a moment ahead, so that what it begins is
// durable before its moment.
func (a *Agent) stand(ctx context.Context) error {
	clock := a.uplink.Clock()
	plan := a.current()
	sought := false // the plan stands at the frontier
	var due []fleet.Order
	for {
		wait := time.Second // a clock's correction is seen by then at the latest
		// Without a clock that was ever compared, nothing is begun: it could be
		// years early.
		if plan != nil && clock.Known() {
			now := clock.Now()
			horizon, frontier := standing.Horizon(now), a.store.Frontier()
			switch {
			case frontier > horizon+steppedBack:
				a.log.WarnContext(ctx, "the clock went back, standing orders go back with it", "by", frontier.Sub(fleet.At(now)))
				a.store.Rewind(fleet.At(now))
				plan.Seek(math.MinInt64, fleet.At(now)) // what was taken meanwhile is remembered
			case !sought:
				plan.Seek(frontier, fleet.At(now))
			}
			sought = true
			due = plan.Due(due[:0], horizon, fleet.At(now))
			begun, err := a.store.BeginOwn(due, horizon)
			if err != nil {
				a.log.WarnContext(ctx, "standing orders wait for the disk", "err", err)
				sought = false
			}
			if begun > 0 {
				signal(a.unsaved)
			}
			if next, ok := plan.Next(); ok && err == nil {
				wait = min(wait, max(0, standing.Wake(next).Sub(now)))
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		case <-a.store.StandingChanged():
			old := plan
			if plan = a.compile(ctx); plan != nil && clock.Known() {
				if old == nil {
					old = &standing.Plan{}
				}
				plan.Follow(old, a.store.Frontier(), fleet.At(clock.Now()))
				sought = true
			}
		}
		t.Stop()
	}
}

// steppedBack is by how much, in milliseconds, the frontier has to be ahead of
// the present before the clock counts as having gone back: it is always ahead
// by up to a second and standing.Early.
const steppedBack = 2000

// compile reads the standing orders out of the store.
func (a *Agent) compile(ctx context.Context) *standing.Plan {
	raw, _, err := a.store.Standing()
	var plan *standing.Plan
	if err == nil && raw != nil {
		plan, err = standing.Parse(raw)
	}
	switch {
	case err != nil:
		a.log.ErrorContext(ctx, "the standing orders cannot be read, only the centre's orders are captured until it sends them again", "err", err)
	case plan != nil:
		a.log.InfoContext(ctx, "standing orders", "version", plan.Version(), "tasks", plan.Tasks())
		if faults := plan.Faults(); faults != nil {
			a.log.WarnContext(ctx, "parts of the standing orders are not understood: update this agent", "err", faults)
		}
	}
	a.mu.Lock()
	a.plan = plan
	a.mu.Unlock()
	if plan != nil && a.opts.Looks != nil {
		a.opts.Looks.SetZones(plan.Zones())
	}
	return plan
}

func (a *Agent) current() *standing.Plan {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.plan
}

// capture hands each order to the runner when its second comes: the runner has
// to know all of a camera's orders of one second, and waits for their moments
// itself.
func (a *Agent) capture(ctx context.Context) error {
	const atOnce = 1024
	clock := a.uplink.Clock()
	for {
		due, next := a.store.Due(standing.Horizon(clock.Now()), atOnce)
		for _, o := range due {
			a.begin(o)
		}
		if len(due) == atOnce {
			continue
		}
		wait := time.Second // never longer than a clock's correction needs to be seen
		if next != 0 {
			wait = min(wait, max(0, standing.Wake(next).Sub(clock.Now())))
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		case <-a.store.OrdersChanged():
		}
		t.Stop()
	}
}

// begin gives an order to the runner. One whose time was over before this agent
// started was nobody's.
func (a *Agent) begin(o fleet.Order) {
	clock := a.uplink.Clock()
	now := clock.Now()
	a.mu.Lock()
	started := now.Add(-time.Since(a.started))
	plan := a.plan
	a.mu.Unlock()
	if o.Deadline <= fleet.At(started) {
		a.done(fleet.Capture{Occurrence: o.Occurrence, Outcome: fleet.Missed, Cause: fleet.CauseAgentLost, At: fleet.At(now), Bound: clock.Bound(),
			Delay: max(0, now.Sub(o.Nominal.Time())), Detail: fmt.Sprintf("the agent was not running when it was due, or stopped before it could take it: it started at %s", fleet.At(started))})
		return
	}
	var s *calendar.Schedule
	if plan != nil {
		s = plan.Schedule(o.Schedule)
	}
	a.runner.Submit(o, s)
}

// done records an outcome. It is decided, and in memory, whatever the disk
// says; keep writes it, and tells of the disk's faults.
func (a *Agent) done(c fleet.Capture) {
	a.log.Debug("capture", "camera_id", c.Camera, "capture_result", c.Outcome, "cause", c.Cause, "took", c.Took, "attempt", c.Attempts)
	if f := &c.Reading.Fingerprint; c.Outcome == fleet.Captured && f.PDQQuality >= sceneQuality {
		a.mu.Lock()
		device := a.known[c.Camera].Device
		a.mu.Unlock()
		if device != "" {
			a.devices.Seen(device, uint64(f.PHash))
		}
	}
	a.uplink.Show(c)
	a.store.Enter(c)
	signal(a.unsaved)
}

// Load completes what the box bears with what this agent does.
func (a *Agent) Load(box fleet.Load) fleet.Load {
	box.Capturing, box.Queue, box.Decoding, box.Capacity = a.runner.Load()
	return box
}

// keep writes what changed, and what is left over now and then, saves the
// clock, and tells of the disk's faults when they begin and when they end.
func (a *Agent) keep(ctx context.Context) error {
	const every = 5 * time.Second
	t := time.NewTicker(every)
	defer t.Stop()
	var fault error
	var saved time.Duration
	known := false // the clock was saved in this run
	for rounds := 0; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.unsaved:
			_ = a.store.Flush(ctx) // its error is what Fault returns
		case <-a.store.LoginsChanged():
			_ = a.store.Flush(ctx)
		case <-t.C:
			if offset, bound, ok := a.uplink.Clock().Offset(); ok && (!known || rounds%12 == 0 && (offset-saved).Abs() > 5*time.Millisecond) {
				if err := a.store.SetClock(offset, bound); err != nil {
					return err
				}
				saved, known = offset, true
			}
			rounds++
			_ = a.store.Sync(ctx)
		}
		now := a.store.Fault()
		switch {
		case fault == nil && now != nil:
			a.log.ErrorContext(ctx, "the disk refuses, outcomes are kept in memory: free the disk or make it writable", "err", now)
		case fault != nil && now == nil:
			a.log.InfoContext(ctx, "the disk is well again")
		}
		fault = now
	}
}

// describe passes devices up and cameras down.
func (a *Agent) describe(ctx context.Context) error {
	a.configure()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.devices.Changed():
			a.uplink.SetDevices(a.devices.Devices())
		case <-a.store.CamerasChanged():
			a.configure()
		}
	}
}

// configure hands the camera list to who needs it. A camera whose way in
// changed starts with a clean slate.
func (a *Agent) configure() {
	c := a.store.Cameras()
	known := make(map[fleet.CameraID]fleet.Target, len(c.Put))
	for _, t := range c.Put {
		known[t.Camera] = t
	}
	a.mu.Lock()
	for id, t := range a.known {
		if !reflect.DeepEqual(t, known[id]) {
			a.runner.Forget(id)
		}
	}
	a.known = known
	a.mu.Unlock()
	a.devices.SetKnown(slices.Collect(maps.Values(known)))
	a.devices.SetCredentials(c.Site)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
