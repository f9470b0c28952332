// Package camtest is a town of virtual cameras: the demo's fleet, and the peer
// of tests. They speak the real protocols on real sockets of 127.0.1.x; their
// multicast stays on the loopback interface.
//
//	scene ──► painter ──► JPEG ──┬─ snapshot, MJPEG over HTTP (digest or open)
//	                             ├─ RTSP M-JPEG          ONVIF device and media
//	clip.h264 ───────────────────┴─ RTSP H.264           WS-Discovery, mDNS, SSDP
//
// Faults are switched on and off while they run.
package camtest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Camera is one virtual camera as it is ordered.
type Camera struct {
	Name  string
	Model string
	Scene Scene
	Offer []Offer       // what it speaks
	Found []fleet.Via   // how it makes itself known
	Login bool          // wants the town's user and password
	Skew  time.Duration // of its clock
}

// Offer is something a camera can be asked for.
type Offer string

// The offers.
const (
	OfferONVIF    Offer = "onvif"
	OfferSnapshot Offer = "snapshot"
	OfferMJPEG    Offer = "mjpeg"
	OfferRTSPJPEG Offer = "rtsp-mjpeg"
	OfferRTSPH264 Offer = "rtsp-h264"
)

// Vendor is what all cameras of the town say of their maker.
const Vendor = "Camtest"

// Options configure a Town.
type Options struct {
	Cameras     []Camera         // default Street()
	User        string           // default "viewer"
	Password    fleet.Secret     // default "open sesame"
	Base        netip.Addr       // of the first camera; default 127.0.1.1
	NoDiscovery bool             // they answer, and do not make themselves known
	Now         func() time.Time // default time.Now
	Log         *slog.Logger     // default: none
}

// Town is a set of virtual cameras.
type Town struct {
	opts    Options
	cameras []*virtual
	ready   chan struct{}
}

// Info is how one camera can be reached.
type Info struct {
	Camera
	Addr     netip.Addr
	User     string
	Password fleet.Secret
	URLs     map[Offer]string
	EPR      string // WS-Discovery endpoint reference
	MAC      string
	Serial   string
}

// Street returns the cameras of the demo.
func Street() []Camera {
	ws, md, up := fleet.ViaWSDiscovery, fleet.ViaMDNS, fleet.ViaUPnP
	return []Camera{
		{Name: "market-street", Model: "C720", Scene: StreetDay, Offer: []Offer{OfferONVIF, OfferSnapshot, OfferRTSPJPEG}, Found: []fleet.Via{ws, md, up}, Login: true},
		{Name: "harbour-night", Model: "C720", Scene: StreetNight, Offer: []Offer{OfferONVIF, OfferSnapshot}, Found: []fleet.Via{ws}, Login: true, Skew: -90 * time.Second},
		{Name: "aisle-3", Model: "S400", Scene: Shelf, Offer: []Offer{OfferONVIF, OfferSnapshot, OfferRTSPH264}, Found: []fleet.Via{ws, up}, Login: true},
		{Name: "aisle-7", Model: "S400", Scene: Shelf, Offer: []Offer{OfferSnapshot}, Found: []fleet.Via{up}},
		{Name: "gate-north", Model: "G100", Scene: Gate, Offer: []Offer{OfferONVIF, OfferRTSPJPEG}, Found: []fleet.Via{ws}, Login: true},
		{Name: "gate-south", Model: "G100", Scene: Gate, Offer: []Offer{OfferMJPEG}, Found: []fleet.Via{up}, Login: true},
		{Name: "vineyard", Model: "F50", Scene: Field, Offer: []Offer{OfferRTSPJPEG}, Found: []fleet.Via{md}},
		{Name: "olive-grove", Model: "F50", Scene: Field, Offer: []Offer{OfferONVIF, OfferSnapshot}, Found: []fleet.Via{ws, md}},
		{Name: "dock-2", Model: "D220", Scene: Dock, Offer: []Offer{OfferONVIF, OfferSnapshot, OfferMJPEG}, Found: []fleet.Via{ws, up}, Login: true},
		{Name: "dock-5", Model: "D220", Scene: Dock, Offer: []Offer{OfferSnapshot}, Found: []fleet.Via{md}, Login: true},
		{Name: "car-park", Model: "P90", Scene: Parking, Offer: []Offer{OfferONVIF, OfferSnapshot}, Found: []fleet.Via{ws}, Skew: 45 * time.Second},
		{Name: "old-town", Model: "C700", Scene: StreetDay, Offer: []Offer{OfferMJPEG}, Found: []fleet.Via{up, md}},
		{Name: "ring-road", Model: "C720", Scene: StreetNight, Offer: []Offer{OfferRTSPJPEG}, Found: []fleet.Via{md}, Login: true},
		{Name: "yard", Model: "P90", Scene: Parking, Offer: []Offer{OfferSnapshot, OfferMJPEG}, Found: []fleet.Via{up}, Login: true},
	}
}

// virtual is one camera at work.
type virtual struct {
	Camera
	town    *Town
	index   int
	painter *painter
	mac     net.HardwareAddr
	uuid    string
	serial  string

	mu      sync.Mutex
	on      faultSet
	changed chan struct{} // closed and made anew when faults change
	refused int           // logins in a row
	addr    netip.Addr
	http    string // host:port
	rtsp    string
	conns   int
	restart chan struct{} // cap 1: listen anew
	up      chan struct{} // closed once it listens; made anew by a restart
}

// New returns a town. It listens once Run is called.
func New(o Options) (*Town, error) {
	if o.Cameras == nil {
		o.Cameras = Street()
	}
	o.User = cmp.Or(o.User, "viewer")
	o.Password = cmp.Or(o.Password, "open sesame")
	if !o.Base.IsValid() {
		o.Base = netip.MustParseAddr("127.0.1.1")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if !o.Base.IsLoopback() {
		return nil, fmt.Errorf("virtual cameras live on loopback, not on %s", o.Base)
	}
	t := &Town{opts: o, ready: make(chan struct{})}
	addr := o.Base
	names := map[string]bool{}
	for i, c := range o.Cameras {
		if names[c.Name] || c.Name == "" {
			return nil, fmt.Errorf("virtual camera %d: the name %q is empty or taken", i, c.Name)
		}
		if backdrop[c.Scene] == nil {
			return nil, fmt.Errorf("virtual camera %s: no scene %q", c.Name, c.Scene)
		}
		names[c.Name] = true
		h := sha256.Sum256([]byte(c.Name + addr.String()))
		v := &virtual{
			Camera: c, town: t, index: i, painter: newPainter(c.Scene, c.Name, uint32(h[0])<<8|uint32(h[1])),
			mac:    net.HardwareAddr{0x02, h[2], h[3], h[4], h[5], h[6]},
			uuid:   fmt.Sprintf("%x-%x-4%x-8%x-%x", h[7:11], h[11:13], h[13:15], h[15:17], h[17:23]),
			serial: fmt.Sprintf("CT%X", h[23:27]),
			on:     faultSet{}, changed: make(chan struct{}), addr: addr, restart: make(chan struct{}, 1), up: make(chan struct{}),
		}
		v.uuid = fmt.Sprintf("%x-%x-4%s-8%s-%x", h[7:11], h[11:13], fmt.Sprintf("%x", h[13:15])[:3], fmt.Sprintf("%x", h[15:17])[:3], h[17:23])
		t.cameras = append(t.cameras, v)
		addr = addr.Next()
	}
	return t, nil
}

// Ready is closed once all cameras listen.
func (t *Town) Ready() <-chan struct{} { return t.ready }

// Cameras tells how each camera can be reached. The town must be ready.
func (t *Town) Cameras() []Info {
	var out []Info
	for _, c := range t.cameras {
		out = append(out, c.info())
	}
	return out
}

func (c *virtual) info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := Info{Camera: c.Camera, Addr: c.addr, URLs: map[Offer]string{}, EPR: "urn:uuid:" + c.uuid, MAC: c.mac.String(), Serial: c.serial}
	if c.Login {
		i.User, i.Password = c.town.opts.User, c.town.opts.Password
	}
	for _, o := range c.Offer {
		switch o {
		case OfferONVIF:
			i.URLs[o] = "http://" + c.http + "/onvif/device_service"
		case OfferSnapshot:
			i.URLs[o] = "http://" + c.http + "/snapshot.jpg"
		case OfferMJPEG:
			i.URLs[o] = "http://" + c.http + "/video.mjpg"
		case OfferRTSPJPEG:
			i.URLs[o] = "rtsp://" + c.rtsp + "/jpeg"
		case OfferRTSPH264:
			i.URLs[o] = "rtsp://" + c.rtsp + "/h264"
		}
	}
	return i
}

func (c *virtual) offers(o Offer) bool {
	for _, x := range c.Offer {
		if x == o {
			return true
		}
	}
	return false
}

func (c *virtual) foundBy(v fleet.Via) bool {
	for _, x := range c.Found {
		if x == v {
			return true
		}
	}
	return false
}

// Run runs all cameras until ctx ends.
func (t *Town) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, c := range t.cameras {
		wg.Go(func() {
			if err := c.run(ctx); err != nil {
				cancel(fmt.Errorf("virtual camera %s: %w", c.Name, err))
			}
		})
	}
	wg.Go(func() {
		for _, c := range t.cameras {
			select {
			case <-c.listening():
			case <-ctx.Done():
				return
			}
		}
		close(t.ready)
		if !t.opts.NoDiscovery {
			if err := t.announce(ctx); err != nil {
				cancel(err)
			}
		}
	})
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (c *virtual) listening() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.up
}

// run listens, and listens anew after its address has changed.
func (c *virtual) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := c.session(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ports that people know; another is taken when one is in use.
const (
	httpPort = 8080
	rtspPort = 8554
)

func listen(addr netip.Addr, port uint16) (net.Listener, error) {
	ln, err := net.Listen("tcp4", netip.AddrPortFrom(addr, port).String())
	if err != nil {
		return net.Listen("tcp4", netip.AddrPortFrom(addr, 0).String())
	}
	return ln, nil
}

func (c *virtual) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	addr := c.addr
	c.mu.Unlock()
	ln, err := listen(addr, httpPort)
	if err != nil {
		return err
	}
	rtspLn, err := listen(addr, rtspPort)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	c.mu.Lock()
	c.http, c.rtsp = ln.Addr().String(), rtspLn.Addr().String()
	close(c.up)
	c.mu.Unlock()

	var wg sync.WaitGroup
	srv := &http.Server{Handler: c.handler(ctx), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	wg.Go(func() { _ = srv.Serve(&counted{Listener: ln, c: c}) }) //nolint:errcheck // it ends by Close below
	rtspErr := make(chan error, 1)
	wg.Go(func() { rtspErr <- c.serveRTSP(ctx, &counted{Listener: rtspLn, c: c}) })
	select {
	case <-ctx.Done():
	case <-c.restart:
	case err = <-rtspErr:
		rtspErr <- nil
	}
	cancel()
	cerr := srv.Close()
	wg.Wait()
	return errors.Join(err, cerr)
}

// move gives the camera another address, or its own one back.
func (c *virtual) move() error {
	c.mu.Lock()
	b := c.addr.As4()
	b[3] ^= 128
	c.addr = netip.AddrFrom4(b)
	c.up = make(chan struct{})
	up := c.up
	c.mu.Unlock()
	c.restart <- struct{}{}
	select {
	case <-up:
		return nil
	case <-time.After(10 * time.Second):
		return fmt.Errorf("virtual camera %s did not come up at its new address", c.Name)
	}
}

// counted refuses a second connection while that fault is on.
type counted struct {
	net.Listener
	c *virtual
}

func (l *counted) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.c.mu.Lock()
		refuse := l.c.on[OneConnection] && l.c.conns > 0
		if !refuse {
			l.c.conns++
		}
		l.c.mu.Unlock()
		if refuse {
			_ = conn.Close() //nolint:errcheck // refused
			continue
		}
		return &countedConn{Conn: conn, c: l.c}, nil
	}
}

type countedConn struct {
	net.Conn
	c    *virtual
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() {
		c.c.mu.Lock()
		c.c.conns--
		c.c.mu.Unlock()
	})
	return c.Conn.Close()
}

// hold makes the faults of time: it returns false when the answer is not to be
// given at all.
func (c *virtual) hold(ctx context.Context) bool {
	for c.has(Silent) {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
	if c.has(Slow) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(2 * time.Second):
		}
	}
	return true
}

// maxRefused is after how many wrong logins in a row a camera with the fault
// lockout locks itself.
const maxRefused = 3

// judge says whether a login is good; it counts towards the lockout.
func (c *virtual) judge(good bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on[WrongPassword] || c.on[Lockout] && c.refused >= maxRefused {
		good = false
	}
	if good {
		c.refused = 0
	} else {
		c.refused++
	}
	return good
}

// Refused returns how many logins in a row a camera has refused.
func (t *Town) Refused(camera string) int {
	for _, c := range t.cameras {
		if c.Name == camera {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.refused
		}
	}
	return 0
}

func (c *virtual) picture() []byte { return c.painter.jpeg(c.town.opts.Now(), c.faults()) }
