// Package agent is the edge: three loops that meet in one SQLite file.
//
//	lease     uplink ──orders──► store
//	capture   store ──due──► runner ──outcome──► store
//	report    store ──outbox──► uplink ──acknowledged──► store
//
// Each loop goes on while the others cannot: without the centre the agent
// still captures what it holds, and keeps what it saw.
package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// Options configure an Agent.
type Options struct {
	Store     *store.Store
	Grabber   protocols.Grabber
	Reader    runner.Reader
	Inventory *inventory.Inventory // nil: it looks for no cameras
	Uplink    uplink.Options
	Runner    runner.Options
	Log       *slog.Logger // default: none
}

// Agent is one edge box at work.
type Agent struct {
	opts   Options
	log    *slog.Logger
	store  *store.Store
	clock  *uplink.Clock
	runner *runner.Runner
	up     *uplink.Uplink
	due    chan struct{} // cap 1: look at what is due
	thumbs thumbnails
}

// New returns an agent over an open store. The store stays its owner's to close.
func New(o Options) *Agent {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Uplink.Log = cmp.Or(o.Uplink.Log, o.Log)
	o.Runner.Log = cmp.Or(o.Runner.Log, o.Log)
	a := &Agent{opts: o, log: o.Log, store: o.Store, clock: &uplink.Clock{}, due: make(chan struct{}, 1)}
	a.thumbs.init()
	a.runner = runner.New(o.Grabber, o.Reader, a.clock, a.finished, o.Runner)
	a.up = uplink.New(node{a}, a.clock, o.Uplink)
	a.served()
	return a
}

// served tells everyone the list of cameras that the store holds.
func (a *Agent) served() {
	targets, site := a.store.Cameras()
	a.runner.SetTargets(targets)
	if a.opts.Inventory != nil {
		a.opts.Inventory.SetCredentials(site)
		a.opts.Inventory.SetKnown(targets)
	}
}

// Connected reports whether the stream to the centre stands.
func (a *Agent) Connected() bool { return a.up.Connected() }

// Counts returns how many orders are held and how many outcomes wait.
func (a *Agent) Counts() (orders, pending int) { return a.store.Counts() }

// Run works until ctx ends. Orders that were cut off are captured after the
// next start, or end as missed when their deadline is over by then.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	loops := []func(context.Context) error{a.up.Run, a.runner.Run, a.capture, a.watch}
	if a.opts.Inventory != nil {
		loops = append(loops, a.opts.Inventory.Run, a.tellDevices)
	}
	var wg sync.WaitGroup
	for _, loop := range loops {
		wg.Go(func() {
			if err := loop(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("run agent: %w", err)
	}
	return nil
}

// Drain waits until no order is left to capture and all outcomes are with the
// centre.
func (a *Agent) Drain(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		orders, pending := a.store.Counts()
		if orders == 0 && pending == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("drain: %d orders and %d outcomes are left: %w", orders, pending, ctx.Err())
		case <-tick.C:
		}
	}
}

// capture gives orders to the runner as their time comes, on the corrected
// clock: never early.
func (a *Agent) capture(ctx context.Context) error {
	for {
		a.runner.Add(a.store.TakeDue(fleet.At(a.clock.Now()))...)
		wait := time.Hour
		if next, ok := a.store.NextDue(); ok {
			// The clock may be corrected meanwhile: look again each second.
			wait = min(max(next.Time().Sub(a.clock.Now()), time.Millisecond), time.Second)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-a.due:
			timer.Stop()
		}
	}
}

// settleEvery is how often outcomes in memory are tried to be put on a disk
// that was full.
const settleEvery = 5 * time.Second

// watch passes the store's changes on, and settles it.
func (a *Agent) watch(ctx context.Context) error {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	broken := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.store.Changed():
			a.up.OutcomesChanged()
			select {
			case a.due <- struct{}{}:
			default:
			}
		case <-tick.C:
			err := cmp.Or(a.store.Settle(ctx), a.store.Broken())
			if (err != nil) != broken && ctx.Err() == nil {
				if broken = err != nil; broken {
					a.log.ErrorContext(ctx, "the store cannot write: outcomes are kept in memory", "err", err)
				} else {
					a.log.InfoContext(ctx, "the store writes again")
				}
			}
		}
	}
}

func (a *Agent) tellDevices(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.opts.Inventory.Changed():
			a.up.DevicesChanged()
		}
	}
}

// finished takes an outcome from the runner.
func (a *Agent) finished(ctx context.Context, c fleet.Capture, thumb []byte) {
	// The outcome is there: it is stored even if ctx has just ended.
	if err := a.store.Finish(context.WithoutCancel(ctx), c); err != nil {
		a.log.ErrorContext(ctx, "outcome lost", "camera_id", c.Camera, "err", err)
	}
	if len(thumb) > 0 && a.thumbs.put(uplink.Thumbnail{Occurrence: c.Occurrence, At: c.At, JPEG: thumb}, time.Now()) {
		a.up.ThumbnailsChanged()
	}
}

// node is the agent as its uplink sees it.
type node struct{ a *Agent }

func refused(err error) error {
	if errors.Is(err, store.ErrStale) {
		return fmt.Errorf("%w: %w", uplink.ErrRefused, err)
	}
	return err
}

func (n node) Orders(ctx context.Context, orders []fleet.Order, nonce, fence uint64) error {
	return refused(n.a.store.Begin(ctx, orders, nonce, fence))
}

func (n node) Recall(ctx context.Context, keys []fleet.Occurrence, nonce, fence uint64) error {
	return refused(n.a.store.Recall(ctx, keys, nonce, fence))
}

func (n node) Cameras(ctx context.Context, targets []fleet.Target, site []fleet.Credentials, nonce, fence uint64) error {
	err := refused(n.a.store.SetCameras(ctx, targets, site, nonce, fence))
	if err == nil {
		n.a.served()
	}
	return err
}

func (n node) Pending(limit int, skip map[int64]bool) []uplink.Outcome {
	rows := n.a.store.Pending(limit, skip)
	out := make([]uplink.Outcome, len(rows))
	for i, r := range rows {
		out[i] = uplink.Outcome(r)
	}
	return out
}

func (n node) Ack(ctx context.Context, rows []int64) error { return n.a.store.Ack(ctx, rows) }
func (n node) Counts() (orders, pending int)               { return n.a.store.Counts() }
func (n node) Nonce() uint64                               { return n.a.store.Nonce() }
func (n node) Thumbnail() (uplink.Thumbnail, bool)         { return n.a.thumbs.take() }
func (n node) ThumbnailEvery(d time.Duration)              { n.a.thumbs.setEvery(d) }

func (n node) Devices() []fleet.Device {
	if n.a.opts.Inventory == nil {
		return nil
	}
	return n.a.opts.Inventory.Devices()
}
