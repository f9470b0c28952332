// Package centre builds a whole centre from its data directory: what
// `shutterfleet scheduler` runs, and the central half of `shutterfleet dev`.
//
//	DIR/centre.db, captures-*.db, thumbnails.db    the store
//	DIR/ca.*, orders.key, secrets.key              the keys (0600)
//	DIR/admin.token                                the first token, for its owner
package centre

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/cmd/internal/machine"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
	"github.com/shutterfleet/shutterfleet/scheduler/gateway"
	"github.com/shutterfleet/shutterfleet/scheduler/shard"
)

// Options configure a Centre.
type Options struct {
	DataDir        string
	AgentsListen   string                                   // default ":7443"
	AdminListen    string                                   // default "127.0.0.1:7080"
	AdminFallback  bool                                     // take a free port when AdminListen is taken
	MachineListen  string                                   // default: none
	ThumbnailEvery time.Duration                            // see gateway.Options
	DropAck        func() bool                              // see gateway.Options
	Thumbnail      func(camera fleet.CameraID, jpeg []byte) // see gateway.Options
	Faults         admin.Faults                             // virtual cameras' faults; only `dev` has them
	Burst          float64                                  // most captures that start in a second; 0 = no bound
	Version        string
	Log            *slog.Logger // default: none
}

// Centre is a whole centre.
type Centre struct {
	Scheduler *scheduler.Scheduler
	Admin     *admin.Server

	opts                   Options
	log                    *slog.Logger
	lock                   *shard.Lock
	gateway                *gateway.Gateway
	pki                    *gateway.PKI
	agents, admin, machine net.Listener
}

// tuneGC collects garbage earlier when the fleet is large. Nearly all of the
// scheduler's memory holds no pointers: a collection costs little, and letting
// as much garbage gather as there is memory in use would double it. What an
// operator says in GOGC stands.
func tuneGC() {
	if os.Getenv("GOGC") != "" {
		return
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	const slack = 64 << 20 // bytes of garbage between collections
	if m.HeapAlloc > slack {
		debug.SetGCPercent(max(10, int(100*slack/m.HeapAlloc)))
		debug.FreeOSMemory() // what starting needed
	}
}

// New opens the data directory and all listeners. Run or Close frees them.
func New(ctx context.Context, o Options) (c *Centre, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c = &Centre{opts: o, log: o.Log}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.lock, err = shard.LockDir(o.DataDir); err != nil {
		return c, fmt.Errorf("%w: is a scheduler running on this directory already?", err)
	}
	if c.pki, err = gateway.LoadPKI(o.DataDir); err != nil {
		return c, fmt.Errorf("keys in %s: %w", o.DataDir, err)
	}
	if c.Scheduler, err = scheduler.New(ctx, o.DataDir, scheduler.Options{SealKey: c.pki.Secrets, Burst: o.Burst, Log: o.Log}); err != nil {
		return c, err
	}
	tuneGC()
	if err = c.firstToken(ctx); err != nil {
		return c, err
	}
	c.gateway = gateway.New(c.Scheduler, c.pki, gateway.Options{ThumbnailEvery: o.ThumbnailEvery, DropAck: o.DropAck, Thumbnail: o.Thumbnail, Log: o.Log})
	reader, err := capture.New(capture.Options{NoThumbnail: true})
	if err != nil {
		return c, err
	}
	c.Admin = admin.New(api{c.Scheduler, c.pki.Digest()}, admin.Options{Reader: reader, Faults: o.Faults, Version: o.Version, Log: o.Log})
	if c.agents, err = listen(cmp.Or(o.AgentsListen, ":7443"), "--agents-listen", false); err != nil {
		return c, err
	}
	if c.admin, err = listen(cmp.Or(o.AdminListen, "127.0.0.1:7080"), "--admin-listen", o.AdminFallback); err != nil {
		return c, err
	}
	if o.MachineListen != "" {
		if c.machine, err = listen(o.MachineListen, "--machine-listen", false); err != nil {
			return c, err
		}
	}
	return c, nil
}

// api adds to the scheduler what only the keys know.
type api struct {
	*scheduler.Scheduler
	ca [32]byte
}

func (a api) CreateKey(ctx context.Context, n scheduler.NewKey) (scheduler.KeyView, fleet.Secret, error) {
	return a.Scheduler.CreateKey(ctx, n, a.ca)
}

// Enrol moves cameras; the scheduler's own Enrol takes in agents.
func (a api) Enrol(ctx context.Context, ids []fleet.CameraID, to fleet.Enrollment) ([]scheduler.CameraView, error) {
	return a.EnrolCameras(ctx, ids, to)
}

func listen(addr, flag string, fallback bool) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil && fallback {
		host, _, serr := net.SplitHostPort(addr)
		if serr != nil {
			return nil, serr
		}
		ln, err = net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w (choose another address with %s)", addr, err, flag)
	}
	return ln, nil
}

// firstToken writes an admin's token at the first start.
func (c *Centre) firstToken(ctx context.Context) error {
	file := filepath.Join(c.opts.DataDir, "admin.token")
	if _, err := os.Stat(file); err == nil || !errors.Is(err, os.ErrNotExist) {
		return err
	}
	token, err := c.Scheduler.CreateToken(ctx, "admin", scheduler.RoleAdmin)
	if err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, []byte(token.Reveal()+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// CreateKey makes a site key.
func (c *Centre) CreateKey(ctx context.Context, n scheduler.NewKey) (fleet.Secret, error) {
	_, text, err := c.Scheduler.CreateKey(ctx, n, c.pki.Digest())
	return text, err
}

// AgentsAddr returns where agents connect.
func (c *Centre) AgentsAddr() string { return c.agents.Addr().String() }

// AdminAddr returns where operators connect.
func (c *Centre) AdminAddr() string { return c.admin.Addr().String() }

// LoginURL returns an address that logs one person in, once.
func (c *Centre) LoginURL() string { return "http://" + c.AdminAddr() + c.Admin.OneTimeLogin() }

// Run serves until ctx ends, and closes everything.
func (c *Centre) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The doors close before the scheduler ends: what a door has taken in is
	// stored or refused.
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var core, doors sync.WaitGroup
	start := func(wg *sync.WaitGroup, ctx context.Context, f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				cancel(err)
			}
		})
	}
	start(&core, inner, c.Scheduler.Run)
	start(&doors, ctx, func(ctx context.Context) error { return c.gateway.Serve(ctx, c.agents) })
	start(&doors, ctx, func(ctx context.Context) error { return machine.HTTP(ctx, c.admin, c.Admin.Handler()) })
	if c.machine != nil {
		start(&doors, ctx, func(ctx context.Context) error {
			return machine.Serve(ctx, c.machine, c.Scheduler.Ready, c.gauges()) //nolint:contextcheck // a gauge is read when somebody asks
		})
	}
	doors.Wait()
	stop()
	core.Wait()
	c.agents, c.admin, c.machine = nil, nil, nil
	err := c.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) && !errors.Is(cause, http.ErrServerClosed) {
		err = errors.Join(cause, err)
	}
	return err
}

// Close frees what New opened, if Run has not.
func (c *Centre) Close() error {
	var errs []error
	for _, ln := range []net.Listener{c.agents, c.admin, c.machine} {
		if ln != nil {
			errs = append(errs, ln.Close())
		}
	}
	if c.Scheduler != nil {
		errs = append(errs, c.Scheduler.Close())
	}
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
	}
	c.agents, c.admin, c.machine, c.Scheduler, c.lock = nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

func (c *Centre) gauges() []machine.Gauge {
	books := func(f func(fleet.Books) uint64) func() float64 {
		return func() float64 {
			r, err := c.Scheduler.Books(context.Background())
			if err != nil {
				return 0
			}
			return float64(f(r.Total))
		}
	}
	return []machine.Gauge{
		{Name: "camera_tasks_captured_total", Help: "Occurrences that ended in a picture.", Counter: true, Value: books(func(b fleet.Books) uint64 { return b.Captured })},
		{Name: "camera_tasks_failed_total", Help: "Occurrences that were tried and failed.", Counter: true, Value: books(func(b fleet.Books) uint64 { return b.Failed })},
		{Name: "camera_tasks_missed_total", Help: "Occurrences that were never tried.", Counter: true, Value: books(func(b fleet.Books) uint64 { return b.Missed })},
		{Name: "camera_tasks_skipped_total", Help: "Occurrences that a policy skipped.", Counter: true, Value: books(func(b fleet.Books) uint64 { return b.Skipped })},
		{Name: "camera_tasks_duplicates_total", Help: "Outcomes that were reported again.", Counter: true, Value: books(func(b fleet.Books) uint64 { return b.Duplicates })},
		{Name: "camera_tasks_in_flight", Help: "Orders without an outcome.", Value: books(func(b fleet.Books) uint64 { return b.InFlight })},
	}
}
