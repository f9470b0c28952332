// Package agent is the edge box's work: three loops that meet in one SQLite
// file.
//
//	lease    uplink ──orders──► store                    durable, then acknowledged
//	capture  store.Due ──► runner ──► store.Finish       at the moment, on the corrected clock
//	report   store ──outcomes──► uplink ──stored──► Ack  newest first
//
// The loops know nothing of each other. Without the centre the middle one goes
// on with the orders it holds; without a disk all three go on in memory.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Devices knows what is on the LAN; *inventory.Inventory is one.
type Devices interface {
	Run(ctx context.Context) error
	Devices() []fleet.Device
	Changed() <-chan struct{}
	SetKnown(targets []fleet.Target)
	SetCredentials(site []fleet.Credentials)
}

// Options configure an Agent.
type Options struct {
	Ahead int          // due orders taken out of the store at a time; default 256
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

	mu        sync.Mutex
	capturing int
	known     map[fleet.CameraID]fleet.Target

	free chan struct{} // capacity 1: an order ended, so another may begin
}

// New returns an agent of these parts. The store stays the caller's to close.
func New(s *store.Store, r *runner.Runner, u *uplink.Uplink, d Devices, o Options) *Agent {
	o.Ahead = cmp.Or(o.Ahead, 256)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Agent{store: s, runner: r, uplink: u, devices: d, opts: o, log: o.Log, free: make(chan struct{}, 1)}
}

// Run runs the loops until ctx is done. Orders that are being captured then
// are captured again after a restart, if their deadline allows.
func (a *Agent) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.uplink.Run(ctx) })
	g.Go(func() error { return a.devices.Run(ctx) })
	g.Go(func() error { return a.capture(ctx) })
	g.Go(func() error { return a.keep(ctx) })
	g.Go(func() error { return a.describe(ctx) })
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

// capture starts each order at its moment and enters its outcome.
func (a *Agent) capture(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	clock := a.uplink.Clock()
	for {
		a.mu.Lock()
		room := a.opts.Ahead - a.capturing
		a.mu.Unlock()
		// Orders are taken a moment early; the runner waits for the moment
		// itself, on the corrected clock.
		due, next := a.store.Due(fleet.At(clock.Now())+early, room)
		for _, o := range due {
			a.mu.Lock()
			a.capturing++
			a.mu.Unlock()
			all.Go(func() {
				a.one(ctx, o)
				a.mu.Lock()
				a.capturing--
				a.mu.Unlock()
				signal(a.free)
			})
		}
		wait := time.Minute // a clock that steps is noticed by then at the latest
		if next != 0 && len(due) < room {
			wait = min(wait, max(0, (next-early).Time().Sub(clock.Now())))
		}
		// Never longer than a clock's correction needs to be seen.
		t := time.NewTimer(min(wait, time.Second))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		case <-a.store.OrdersChanged():
		case <-a.free:
		}
		t.Stop()
	}
}

// early is how many milliseconds before its nominal time an order leaves the
// store: the cost of a timer and a goroutine on a busy box.
const early = 20

// one takes one order to its outcome and records it.
func (a *Agent) one(ctx context.Context, o fleet.Order) {
	t, ok := a.store.Camera(o.Camera)
	var c fleet.Capture
	if ok {
		var err error
		if c, err = a.runner.Run(ctx, o, t); err != nil {
			a.store.Release(o.Occurrence) // it is captured after the restart
			return
		}
	} else {
		clock := a.uplink.Clock()
		c = fleet.Capture{Occurrence: o.Occurrence, Outcome: fleet.Failed, Cause: fleet.CauseInternal, At: fleet.At(clock.Now()), Bound: clock.Bound(),
			Detail: "the centre ordered a picture of a camera that it has not described to this agent"}
	}
	a.log.DebugContext(ctx, "capture", "camera_id", o.Camera, "capture_result", c.Outcome, "cause", c.Cause, "took", c.Took, "attempt", c.Attempts)
	a.uplink.Show(c)
	// The outcome is decided and in memory whatever the disk says; keep tells
	// of its faults.
	_ = a.store.Finish(context.WithoutCancel(ctx), c)
}

// keep writes what is left over now and then, saves the clock, and tells of the
// disk's faults when they begin and when they end.
func (a *Agent) keep(ctx context.Context) error {
	const every = 5 * time.Second
	t := time.NewTicker(every)
	defer t.Stop()
	var fault error
	var saved time.Duration
	for rounds := 0; ; rounds++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if offset, bound, ok := a.uplink.Clock().Offset(); ok && rounds%12 == 0 && (offset-saved).Abs() > 5*time.Millisecond {
			if err := a.store.SetClock(offset, bound); err != nil {
				return err
			}
			saved = offset
		}
		_ = a.store.Sync(ctx) // its error is what Fault returns
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

// Memory is agent/store as the uplink sees it.
type Memory struct{ *store.Store }

// Identity returns who this agent is.
func (m Memory) Identity() (uplink.Identity, bool, error) {
	id, ok, err := m.Store.Identity()
	return uplink.Identity(id), ok, err
}

// SetIdentity keeps who this agent is.
func (m Memory) SetIdentity(ctx context.Context, id uplink.Identity) error {
	return m.Store.SetIdentity(ctx, store.Identity(id))
}

// CamerasVersion returns the version of the camera list.
func (m Memory) CamerasVersion() uint64 { return m.Store.Cameras().Version }

// SetCameras changes the camera list.
func (m Memory) SetCameras(ctx context.Context, c uplink.Cameras, nonce, fence uint64) error {
	return m.Store.SetCameras(ctx, store.Cameras(c), nonce, fence)
}

// Take gives out undelivered outcomes.
func (m Memory) Take(ctx context.Context, limit int) ([]uplink.Row, error) {
	rows, err := m.Store.Take(ctx, limit)
	out := make([]uplink.Row, len(rows))
	for i, r := range rows {
		out[i] = uplink.Row(r)
	}
	return out, err
}
