// Package edge builds a whole agent from its data directory: what
// shutterfleet-agent runs, and the edge half of `shutterfleet dev`.
//
//	DIR/identity.json   who the agent is (0600)
//	DIR/agent.db        orders, outcomes, cameras
package edge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/agent"
	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/cmd/internal/machine"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

// Options configure an Edge.
type Options struct {
	DataDir       string
	Server        string // host:port of the centre's agents' door
	SiteKey       fleet.Secret
	Interfaces    func() ([]net.Interface, error) // to look for cameras on; default: all
	NoDiscovery   bool
	MachineListen string        // default: no machine listener
	StoreWindow   time.Duration // see store.Options
	Resend        time.Duration // see uplink.Options
	Width         int           // cameras at a time; default 64
	Version       string
	Log           *slog.Logger // default: none
}

// Edge is a whole agent.
type Edge struct {
	opts  Options
	log   *slog.Logger
	store *store.Store
	inv   *inventory.Inventory
	agent *agent.Agent
	guard *guard.Guard
	id    uplink.Identity
}

// New opens the data directory and enrols the agent if it has no identity yet.
func New(ctx context.Context, o Options) (*Edge, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	id, err := identity(ctx, o)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, filepath.Join(o.DataDir, "agent.db"), store.Options{Window: o.StoreWindow})
	if err != nil {
		return nil, err
	}
	reader := capture.New(capture.Options{})
	g := guard.New(guard.Options{Log: o.Log})
	mux := protocols.New(protocols.Options{Guard: g, Codecs: reader.Codecs(), Log: o.Log})
	e := &Edge{opts: o, log: o.Log, store: st, guard: g, id: id}
	var finders []protocols.Finder
	if !o.NoDiscovery {
		finders = []protocols.Finder{
			wsdiscovery.New(wsdiscovery.Options{Interfaces: o.Interfaces, Log: o.Log}),
			mdns.New(mdns.Options{Interfaces: o.Interfaces, Log: o.Log}),
			upnp.New(upnp.Options{Interfaces: o.Interfaces, Log: o.Log}),
		}
	}
	e.inv = inventory.New(inventory.Options{Finders: finders, Describer: mux, Log: o.Log})
	e.agent = agent.New(agent.Options{
		Store: st, Grabber: mux, Reader: reader, Inventory: e.inv, Log: o.Log, Runner: runner.Options{Width: o.Width},
		Uplink: uplink.Options{Server: o.Server, Identity: id, Version: o.Version, Codecs: reader.Codecs(), Resend: o.Resend},
	})
	return e, nil
}

// identity reads who the agent is, or enrols it.
func identity(ctx context.Context, o Options) (id uplink.Identity, err error) {
	file := filepath.Join(o.DataDir, "identity.json")
	b, err := os.ReadFile(file)
	if err == nil {
		if err := json.Unmarshal(b, &id); err != nil {
			return id, fmt.Errorf("%s is damaged: remove it and enrol again with a new site key: %w", file, err)
		}
		return id, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return id, err
	}
	if o.SiteKey == "" {
		return id, errors.New("this agent is not enrolled yet: give it a site key (--site-key-file), which `shutterfleet keys create` prints at the centre")
	}
	ectx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if id, err = uplink.Enrol(ectx, o.Server, o.SiteKey, o.Version); err != nil {
		return id, err
	}
	if b, err = json.Marshal(id); err != nil {
		return id, err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return id, fmt.Errorf("keep the identity: %w", err)
	}
	o.Log.InfoContext(ctx, "enrolled", "agent_id", id.Agent, "site", id.Site)
	return id, os.Rename(tmp, file)
}

// Run works until ctx ends, and closes the store.
func (e *Edge) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	loops := []func(context.Context) error{e.agent.Run}
	if e.opts.MachineListen != "" {
		ln, err := net.Listen("tcp", e.opts.MachineListen)
		if err != nil {
			return errors.Join(fmt.Errorf("machine listener: %w (choose another with --machine-listen)", err), e.store.Close())
		}
		loops = append(loops, func(ctx context.Context) error { return machine.Serve(ctx, ln, e.ready, e.gauges()) })
	}
	for _, loop := range loops {
		wg.Go(func() {
			if err := loop(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	e.guard.Close()
	err := e.store.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		err = cmp.Or(cause, err)
	}
	return err
}

func (e *Edge) ready() error {
	if !e.agent.Connected() {
		return errors.New("no stream to the centre")
	}
	return e.store.Broken()
}

func (e *Edge) gauges() []machine.Gauge {
	return []machine.Gauge{
		{Name: "agent_orders_held", Help: "Orders waiting for their time.", Value: func() float64 { n, _ := e.store.Counts(); return float64(n) }},
		{Name: "agent_outbox_pending", Help: "Outcomes not delivered yet.", Value: func() float64 { _, n := e.store.Counts(); return float64(n) }},
		{Name: "agent_devices", Help: "Devices known on the LAN.", Value: func() float64 { return float64(len(e.inv.Devices())) }},
		{Name: "agent_connected", Help: "1 while the stream to the centre stands.", Value: func() float64 {
			if e.agent.Connected() {
				return 1
			}
			return 0
		}},
	}
}

// Drain waits until no order is left and all outcomes are with the centre.
func (e *Edge) Drain(ctx context.Context) error { return e.agent.Drain(ctx) }

// Stats is what an agent has at this moment.
type Stats struct {
	Agent                     fleet.AgentID
	Connected                 bool
	OrdersHeld, OutboxPending int
	Devices                   []fleet.Device
}

// Stats tells what the agent has.
func (e *Edge) Stats() Stats {
	orders, pending := e.agent.Counts()
	return Stats{Agent: e.id.Agent, Connected: e.agent.Connected(), OrdersHeld: orders, OutboxPending: pending, Devices: e.inv.Devices()}
}
