// Package edge builds a whole agent out of its parts: for the agent's own
// program, and for `shutterfleet dev`, which runs one beside a centre.
//
//	finders ─► inventory ─┐
//	guard ─► protocols ───┼─► runner ─┐
//	capture ──────────────┘           ├─► agent ─► uplink ─► the centre
//	DIR/agent.db ─► store ────────────┘
package edge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shutterfleet/shutterfleet/agent"
	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/agent/meter"
	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec/worker"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
	"github.com/shutterfleet/shutterfleet/protocols/sweep"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
	"github.com/shutterfleet/shutterfleet/protocols/vendor"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

// Options configure an agent.
type Options struct {
	DataDir       string                          // holds agent.db; made when missing; required
	Server        string                          // HOST:PORT of the centre's agents' door; required
	SiteKey       fleet.Secret                    // needed until it has enrolled
	Hostname      string                          // default: the box's
	Interfaces    func() ([]net.Interface, error) // where to look for cameras; default: all that are up
	NoDiscovery   bool                            // serve only the cameras that the centre names
	Subnets       []netip.Prefix                  // asked address by address, as multicast does not reach them
	SweepRate     int                             // addresses per second of these; default 20
	SweepPorts    bool                            // connect to the ports that cameras use, where such an address is silent
	MachineListen string                          // address for /livez, /readyz and /metrics; "" = none
	FFmpeg        string                          // the program for H.265 and rare kinds of H.264; default: ffmpeg on PATH, when it is there
	Width         int                             // grabs at a time; default: as many as the site bears
	Tags          []string                        // the operator's, told to the centre
	Version       string                          // the build
	Clock         func() time.Time                // the box's own clock, which may be wrong; default time.Now
	Log           *slog.Logger                    // default: none
}

// Edge is a whole agent. Make it with New, Run it once, Close it.
type Edge struct {
	opts      Options
	store     *store.Store
	uplink    *uplink.Uplink
	agent     *agent.Agent
	inventory *inventory.Inventory
	sweep     *sweep.Finder // nil when no subnet is listed
	guard     *guard.Guard
	machine   net.Listener // nil when not asked for
	started   time.Time
}

// Stats is what an agent says of itself.
type Stats struct {
	OutboxPending int
	OrdersHeld    int
	Capturing     int
	Devices       []fleet.Device
	Line          uplink.Status
	ClockBound    time.Duration
	StoreFault    error
}

// New builds an agent and opens what it needs: its store and, when asked for,
// its listener for machines.
func New(o Options) (*Edge, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Version = cmp.Or(o.Version, "unknown")
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Hostname == "" {
		o.Hostname, _ = os.Hostname() // a name for people: none will do
	}
	s, err := openStore(o)
	if err != nil {
		return nil, err
	}
	e := &Edge{opts: o, store: s, started: time.Now()}
	if err := e.build(); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// openStore opens DIR/agent.db. A box nobody stands beside must not stop for
// ever at a damaged file: with a site key at hand the file is kept aside, and
// the agent enrols anew. What it held ends as missed(agent-lost).
func openStore(o Options) (*store.Store, error) {
	path := filepath.Join(o.DataDir, "agent.db")
	so := store.Options{Codec: store.Codec{Append: wire.AppendCapture, Parse: wire.ParseCaptures}, Boot: new(meter.Meter).Boot}
	s, err := store.Open(path, so)
	if !errors.Is(err, store.ErrDamaged) || o.SiteKey == "" {
		return s, err
	}
	aside := fmt.Sprintf("%s.damaged-%d", path, time.Now().Unix())
	o.Log.Error("the store is damaged, it is kept aside and this agent enrols anew", "kept", aside, "err", err)
	for _, ext := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(path+ext, aside+ext); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("move the damaged store away: %w", err)
		}
	}
	return store.Open(path, so)
}

func (e *Edge) build() (err error) {
	o := e.opts
	offset, bound, known := e.store.Clock()
	clock := uplink.NewClockOf(o.Clock, offset, bound, known)
	decoder, err := worker.New(worker.Options{Program: o.FFmpeg})
	if err != nil {
		return err
	}
	reader, err := capture.New(capture.Options{Worker: decoder})
	if err != nil {
		return err
	}
	codecs := reader.Codecs()
	looks := agent.NewLooks(reader, e.store, agent.LooksOptions{Log: o.Log.With("part", "looks")})
	g := guard.New(guard.Options{Pins: pins{e.store, o.Log}, Log: o.Log.With("part", "guard"), Now: clock.Now})
	e.guard = g
	mux := protocols.New(protocols.Options{Guard: g, Codecs: codecs, Lessons: lessons{e.store}, Evidence: e.evidence, Now: clock.Now, Log: o.Log.With("part", "protocols")})
	box := &meter.Meter{}
	e.uplink, err = uplink.New(agent.Memory{Store: e.store}, uplink.Options{
		Server: o.Server, SiteKey: o.SiteKey, Hostname: o.Hostname, Version: o.Version, Clock: clock, Log: o.Log.With("part", "uplink"),
		Able: fleet.Able{Codecs: codecs, Cores: runtime.NumCPU(), Tags: o.Tags, Masks: true},
		Load: func() fleet.Load { return e.agent.Load(box.Read()) },
		Commands: &agent.Commands{
			Store: e.store, Devices: func() []fleet.Device { return e.inventory.Devices() }, Reboot: mux, Forget: g.Forget, Relearn: looks,
			Explain: protocols.NewLadder(mux, protocols.LadderOptions{
				Read: reader.Read, Neighbours: lan.Neighbours, Load: func(c fleet.CameraID) string { return e.agent.Bears(c) },
				Probe: func(ctx context.Context, a netip.Addr) ([]fleet.Sighting, error) {
					return wsdiscovery.Probe(ctx, a, wsdiscovery.ProbeOptions{})
				},
			}),
		},
	})
	if err != nil {
		return err
	}
	g.Budget().AskFirst(agent.NewPermits(e.store, e.uplink))
	var finders []protocols.Finder
	if !o.NoDiscovery {
		finders = []protocols.Finder{
			wsdiscovery.New(wsdiscovery.Options{Interfaces: o.Interfaces, Log: o.Log.With("part", "wsdiscovery")}),
			mdns.New(mdns.Options{Interfaces: o.Interfaces, Log: o.Log.With("part", "mdns")}),
			upnp.New(upnp.Options{Interfaces: o.Interfaces, Log: o.Log.With("part", "upnp")}),
		}
	}
	if len(o.Subnets) > 0 {
		if e.sweep, err = newSweep(o, g); err != nil {
			return err
		}
		finders = append(finders, e.sweep)
	}
	e.inventory = inventory.New(inventory.Options{Finders: finders, Describer: mux, Neighbours: lan.Neighbours, Hardware: macs{e.store}, Log: o.Log.With("part", "inventory")})
	e.agent, err = agent.New(e.store, mux, reader, runner.Options{Width: o.Width, Log: o.Log.With("part", "runner")}, e.uplink, e.inventory, agent.Options{Looks: looks, Log: o.Log})
	if err != nil {
		return err
	}
	if o.MachineListen != "" {
		if e.machine, err = net.Listen("tcp", o.MachineListen); err != nil {
			return fmt.Errorf("listen for machines on %s: %w (another agent? choose one with --machine-listen, or \"\" for none)", o.MachineListen, err)
		}
	}
	return nil
}

// Run runs the agent until ctx is done.
func (e *Edge) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.agent.Run(ctx) })
	if e.machine != nil {
		g.Go(func() error { return e.serve(ctx) })
	}
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Drain waits, while Run runs, until every order whose time has come has its
// outcome and the centre has stored all outcomes. Orders for later stay.
func (e *Edge) Drain(ctx context.Context) error { return e.agent.Drain(ctx) }

// Close writes and closes the store. Run must have returned.
func (e *Edge) Close() error {
	var err error
	if e.guard != nil {
		e.guard.Close()
	}
	if e.machine != nil {
		if err = e.machine.Close(); errors.Is(err, net.ErrClosed) {
			err = nil
		}
	}
	return errors.Join(err, e.store.Close())
}

// Stats returns how the agent is now.
func (e *Edge) Stats() Stats {
	held, _, pending := e.store.Counts()
	return Stats{OutboxPending: pending, OrdersHeld: held, Capturing: e.agent.Load(fleet.Load{}).Capturing, Devices: e.inventory.Devices(), Line: e.uplink.Status(),
		ClockBound: e.uplink.Clock().Bound(), StoreFault: e.store.Fault()}
}

// MachineAddr returns where machines are listened to, or "".
func (e *Edge) MachineAddr() string {
	if e.machine == nil {
		return ""
	}
	return e.machine.Addr().String()
}

// evidence is what discovery knows of who made a device.
func (e *Edge) evidence(device string) vendor.Evidence {
	d, ok := e.inventory.Device(device)
	if !ok {
		return vendor.Evidence{}
	}
	v := vendor.Evidence{Vendor: d.Vendor, Model: d.Model}
	for _, c := range d.Claims {
		if c.Kind == fleet.ClaimMAC {
			v.MAC = c.Value
			break
		}
	}
	return v
}
