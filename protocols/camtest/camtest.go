// Package camtest is a town of virtual cameras: they speak the real protocols
// on real sockets, look at scenes that are drawn by code and change over time,
// and take faults at run time. Demo and tests find, describe and photograph
// them as they would real ones; nothing of it leaves the loopback interface.
//
//	Town ─┬─ camera 127.0.1.1 ─ HTTP: ONVIF, snapshot, MJPEG, description
//	      │                    └ RTSP: M-JPEG or H.264, over TCP
//	      ├─ camera 127.0.1.2 …      scene ─► picture faults ─► overlay ─► JPEG
//	      └─ WS-Discovery, mDNS and SSDP on lo, answering for each from its address
//
// Towns run side by side: each claims a block 127.0.x.0/24 of its own, and the
// identities of its cameras follow from the block, so that a town that starts
// again on the same block has the same cameras.
package camtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options configure a Town. The zero value is Street() with all its discovery.
type Options struct {
	Cameras     []Camera         // default: Street()
	Log         *slog.Logger     // default: none
	Interface   string           // the loopback interface; default: the first one that is up
	Base        netip.Addr       // address of the first camera; default: that of the first free block from 127.0.1.1
	NoDiscovery bool             // answer no discovery at all: cameras are reached by their URLs alone
	Now         func() time.Time // the cameras' clock, before their skew; default: time.Now
}

// Info is what an outsider may know of a camera, and what one who logs in
// must. Addresses and URLs are set while the town runs; they change with the
// fault ChangedAddress. A protocol that the camera does not speak has no URL.
type Info struct {
	Camera
	Addr     netip.Addr
	ONVIF    string // device service
	RTSP     string
	Snapshot string
	MJPEG    string
	MAC      string
	EPR      string // urn:uuid:…; the UDN is the same UUID
}

// Stats counts what a camera was asked.
type Stats struct {
	Pictures int // whole pictures sent, frames of streams included
	Refused  int // logins with a wrong user or password, or while locked
	Accepted int // logins that were right
	Streams  int // picture connections that are open now
	Locked   bool

	Reboots      int // how often it was told to restart; it never does
	Synchronized int // how often it was asked for a key frame
}

// Town is a set of virtual cameras.
type Town struct {
	opts  Options
	ifi   net.Interface
	ready chan struct{}

	mu      sync.Mutex // guards what follows
	running bool
	cameras []*camera
}

// New checks the options and returns a town at rest. It opens nothing.
func New(o Options) (*Town, error) {
	if o.Cameras == nil {
		o.Cameras = Street()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Base.IsValid() && (!o.Base.Is4() || !o.Base.IsLoopback()) {
		return nil, fmt.Errorf("camtest: base address %v is not in 127.0.0.0/8", o.Base)
	}
	ifi, err := loopback(o.Interface)
	if err != nil {
		return nil, fmt.Errorf("camtest: %w", err)
	}
	t := &Town{opts: o, ifi: ifi, ready: make(chan struct{})}
	seen := map[string]bool{}
	for _, c := range o.Cameras {
		if err := c.check(); err != nil {
			return nil, fmt.Errorf("camtest: camera %q: %w", c.Name, err)
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("camtest: two cameras are called %q", c.Name)
		}
		seen[c.Name] = true
		cam, err := newCamera(c, o)
		if err != nil {
			return nil, fmt.Errorf("camtest: camera %q: %w", c.Name, err)
		}
		t.cameras = append(t.cameras, cam)
	}
	if len(t.cameras) == 0 || len(t.cameras) > blockCameras {
		return nil, fmt.Errorf("camtest: %d cameras; a town has 1 to %d", len(t.cameras), blockCameras)
	}
	return t, nil
}

// loopback returns the interface that all of a town's multicast stays on.
func loopback(name string) (net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return net.Interface{}, fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range all {
		switch {
		case name != "" && i.Name == name && i.Flags&net.FlagLoopback == 0:
			return i, fmt.Errorf("interface %s is no loopback; virtual cameras keep to themselves", name)
		case i.Flags&net.FlagLoopback != 0 && i.Flags&net.FlagUp != 0 && (name == "" || i.Name == name):
			return i, nil
		}
	}
	return net.Interface{}, fmt.Errorf("no loopback interface %q is up", name)
}

// Run opens all sockets, announces the cameras and serves until ctx is done;
// then it says goodbye for them, and returns when all of its goroutines have
// ended. A town runs once.
func (t *Town) Run(ctx context.Context) (err error) {
	t.mu.Lock()
	if t.running {
		t.mu.Unlock()
		return errors.New("camtest: a town runs once")
	}
	t.running = true
	t.mu.Unlock()

	block, err := claimBlock(t.opts.Base)
	if err != nil {
		return fmt.Errorf("camtest: %w", err)
	}
	defer func() { err = errors.Join(err, block.Close()) }()
	for i, c := range t.cameras {
		c.settle(block, i)
		defer c.end()
		if err := c.start(); err != nil { //nolint:contextcheck // a camera ends by end, not by a context
			return fmt.Errorf("camtest: camera %q: %w", c.Name, err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	if !t.opts.NoDiscovery {
		responders, err := t.responders()
		if err != nil {
			return fmt.Errorf("camtest: %w", err)
		}
		for _, r := range responders {
			g.Go(func() error { return r.run(ctx) })
		}
	}
	t.opts.Log.Info("virtual cameras serve", "cameras", len(t.cameras), "block", block.first.String())
	close(t.ready)
	<-ctx.Done() // goodbyes name services, so the cameras stop after them
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("camtest: %w", err)
	}
	return nil
}

// Ready is closed once all cameras serve.
func (t *Town) Ready() <-chan struct{} { return t.ready }

// Cameras returns what there is to know of each camera, in the order of the
// options.
func (t *Town) Cameras() []Info {
	out := make([]Info, len(t.cameras))
	for i, c := range t.cameras {
		out[i] = c.info()
	}
	return out
}

// Camera returns what there is to know of the camera called name.
func (t *Town) Camera(name string) (Info, bool) {
	if c := t.camera(name); c != nil {
		return c.info(), true
	}
	return Info{}, false
}

// Stats returns what the camera called name was asked so far.
func (t *Town) Stats(name string) Stats {
	if c := t.camera(name); c != nil {
		return c.stats()
	}
	return Stats{}
}

func (t *Town) camera(name string) *camera {
	for _, c := range t.cameras {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Credentials returns the login of the first camera that wants one: all of
// Street() take the same.
func (t *Town) Credentials() fleet.Credentials {
	for _, c := range t.cameras {
		if !c.Open {
			return fleet.Credentials{User: c.User, Password: c.Password, Version: 1}
		}
	}
	return fleet.Credentials{}
}

// SetFault switches a fault of a camera, or of all cameras by the name "*".
// When it returns the fault is in force; setting what is set changes nothing.
func (t *Town) SetFault(name string, f Fault, on bool) error {
	if !slices.Contains(Faults(), f) {
		return fmt.Errorf("camtest: no fault is called %q; there are %s", f, faultNames())
	}
	if name == "*" {
		var errs error
		for _, c := range t.cameras {
			errs = errors.Join(errs, c.setFault(f, on))
		}
		return errs
	}
	c := t.camera(name)
	if c == nil {
		return fmt.Errorf("camtest: no camera is called %q", name)
	}
	return c.setFault(f, on)
}

// Apply switches on all faults of a list, as ParseFaults reads it.
func (t *Town) Apply(list []CameraFault) error {
	for _, f := range list {
		if err := t.SetFault(f.Camera, f.Fault, true); err != nil {
			return err
		}
	}
	return nil
}

// block is 254 loopback addresses that one town has to itself, held by a
// socket that does not share. Where only 127.0.0.1 exists all cameras live
// there, on ports of their own.
type block struct {
	first  netip.Addr
	single bool
	claim  net.PacketConn
}

const (
	blockPort    = 37027 // of the socket that claims a block; any that nobody serves
	blockCameras = 99    // .1 to .99; .101 to .199 are their other addresses
	blocks       = 200
)

func claimBlock(base netip.Addr) (*block, error) {
	if base.IsValid() {
		return &block{first: base}, nil
	}
	var errs error
	for n := range blocks {
		first := netip.AddrFrom4([4]byte{127, 0, byte(n + 1), 1})
		at := netip.AddrFrom4([4]byte{127, 0, byte(n + 1), 254})
		c, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, blockPort)))
		if err == nil {
			return &block{first: first, claim: c}, nil
		}
		if n == 0 && noSuchAddress(err) {
			return &block{first: netip.AddrFrom4([4]byte{127, 0, 0, 1}), single: true}, nil
		}
		errs = cmp.Or(errs, err)
	}
	return nil, fmt.Errorf("no block of loopback addresses is free: %w", errs)
}

func (b *block) Close() error {
	if b.claim == nil {
		return nil
	}
	return b.claim.Close()
}

// address returns the address of the camera i, or its other one.
func (b *block) address(i int, other bool) netip.Addr {
	if b.single {
		return b.first
	}
	a := b.first.As4()
	if other {
		i += 100
	}
	n := int(a[2])<<8 + int(a[3]) + i
	a[2], a[3] = byte(n>>8), byte(n)
	return netip.AddrFrom4(a)
}
