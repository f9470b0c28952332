package protocols

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/httpcam"
	"github.com/shutterfleet/shutterfleet/protocols/onvif"
	"github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

// Options configure a Mux.
type Options struct {
	Guard  *guard.Guard  // default: a new one
	Codecs []fleet.Codec // what can be decoded here; default: all
	Log    *slog.Logger  // default: none
}

// Mux describes and grabs over whatever a camera offers, the cheapest way
// first, and remembers what worked. It is safe for concurrent use; one camera
// has one connection at a time.
type Mux struct {
	describer Describer
	grabbers  map[fleet.Protocol]Grabber
	h26x      bool

	mu      sync.Mutex
	cameras map[cameraKey]*camera
}

type cameraKey struct {
	camera         fleet.CameraID
	device, source string
}

// camera is what is remembered of one.
type camera struct {
	turn     chan struct{} // cap 1: who holds it talks to the camera
	worked   fleet.Endpoint
	resolved []fleet.Endpoint // what its ONVIF service told
	asked    time.Time        // when it was asked
}

const (
	maxCameras = 50_000
	reaskAfter = 5 * time.Minute // an ONVIF service that told nothing is asked again
)

// NewMux returns a mux over all protocols.
func NewMux(o Options) *Mux {
	g := o.Guard
	if g == nil {
		g = guard.New(guard.Options{Log: o.Log})
	}
	http := httpcam.New(g, httpcam.Options{Log: o.Log})
	return &Mux{
		describer: onvif.New(g, onvif.Options{Log: o.Log}),
		grabbers:  map[fleet.Protocol]Grabber{fleet.Snapshot: http, fleet.MJPEG: http, fleet.RTSP: rtsp.New(g, rtsp.Options{Log: o.Log})},
		h26x:      o.Codecs == nil || slices.Contains(o.Codecs, fleet.H264),
		cameras:   map[cameraKey]*camera{},
	}
}

func (m *Mux) camera(t fleet.Target) *camera {
	k := cameraKey{t.Camera, t.Device, t.Source}
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.cameras[k]
	if c == nil {
		if len(m.cameras) >= maxCameras {
			clear(m.cameras) // what worked is found again
		}
		c = &camera{turn: make(chan struct{}, 1)}
		m.cameras[k] = c
	}
	return c
}

// take waits for the camera's turn.
func (c *camera) take(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fleet.Errorf(fleet.CauseDeadline, "another request to this camera took all the time")
	}
}

func (c *camera) free() { <-c.turn }

// Describe asks the device's ONVIF service. A device without one is described
// by its addresses alone.
func (m *Mux) Describe(ctx context.Context, t fleet.Target) (fleet.Device, error) {
	if !slices.ContainsFunc(t.Endpoints, func(e fleet.Endpoint) bool { return e.Protocol == fleet.ONVIF }) {
		d := fleet.Device{Key: t.Device, Endpoints: t.Endpoints, State: fleet.DeviceOK, LastSeen: time.Now(),
			Sources: []fleet.Source{{Profiles: []fleet.Profile{{Endpoints: t.Endpoints}}}}}
		for _, e := range t.Endpoints {
			if u, err := url.Parse(e.URL); err == nil {
				if a, err := netip.ParseAddr(u.Hostname()); err == nil && !slices.Contains(d.Addresses, a.Unmap()) {
					d.Addresses = append(d.Addresses, a.Unmap())
				}
			}
		}
		return d, nil
	}
	return m.describer.Describe(ctx, t)
}

// cost orders ways: a snapshot is one request and the cheapest to decode.
func (m *Mux) cost(e fleet.Endpoint) int {
	switch e.Protocol {
	case fleet.Snapshot:
		return 1
	case fleet.MJPEG:
		return 2
	case fleet.RTSP:
		if m.h26x {
			return 3
		}
		return 4
	}
	return 9
}

// Grab takes one frame, the cheapest way that works.
func (m *Mux) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	c := m.camera(t)
	if err := c.take(ctx); err != nil {
		return fleet.Frame{}, err
	}
	defer c.free()
	ways, err := m.ways(ctx, c, t)
	if err != nil {
		return fleet.Frame{}, err
	}
	var first error
	for i, e := range ways {
		one := t
		one.Endpoints = []fleet.Endpoint{e}
		tctx, cancel := share(ctx, len(ways)-i)
		f, err := m.grabbers[e.Protocol].Grab(tctx, one)
		cancel()
		if err == nil {
			c.worked = e
			return f, nil
		}
		if e == c.worked {
			// What worked before and fails now is what people should hear of.
			c.worked, c.asked = fleet.Endpoint{}, time.Time{}
			first = err
		}
		first = cmp.Or(first, err)
		if ctx.Err() != nil || !otherWay(err) {
			break
		}
	}
	if _, ok := errors.AsType[*fleet.CameraError](first); !ok {
		first = guard.CameraError(first, "grab")
	}
	return fleet.Frame{}, first
}

// share gives a way half of the time that is left, so that the next still has
// some; the last gets all.
func share(ctx context.Context, ways int) (context.Context, context.CancelFunc) {
	d, ok := ctx.Deadline()
	if !ok || ways <= 1 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(d)/2)
}

// otherWay says whether the camera's next address is worth a try: not after a
// refused login, which would only use up the camera's patience.
func otherWay(err error) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	return !ok || ce.Cause != fleet.CauseUnauthorized && ce.Cause != fleet.CauseLocked && ce.Cause != fleet.CauseUnreachable
}

// ways lists the camera's addresses, what worked last first, then by cost.
func (m *Mux) ways(ctx context.Context, c *camera, t fleet.Target) ([]fleet.Endpoint, error) {
	var ways []fleet.Endpoint
	hasONVIF := false
	for _, e := range t.Endpoints {
		if e.Protocol == fleet.ONVIF {
			hasONVIF = true
		} else if m.grabbers[e.Protocol] != nil {
			ways = append(ways, e)
		}
	}
	if hasONVIF && len(ways) == 0 {
		if c.resolved == nil || c.asked.IsZero() || time.Since(c.asked) > reaskAfter && c.worked == (fleet.Endpoint{}) {
			d, err := m.describer.Describe(ctx, t)
			if err != nil {
				return nil, err
			}
			c.asked = time.Now()
			c.resolved = endpointsOf(d, t.Source)
		}
		ways = slices.Clone(c.resolved)
	}
	if len(ways) == 0 {
		return nil, fleet.Errorf(fleet.CauseNotFound, "the camera offers neither a stream nor a snapshot")
	}
	slices.SortStableFunc(ways, func(a, b fleet.Endpoint) int {
		return cmp.Or(boolInt(b == c.worked)-boolInt(a == c.worked), m.cost(a)-m.cost(b))
	})
	return slices.Compact(ways), nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// endpointsOf lists the addresses of one source; of the first for "".
func endpointsOf(d fleet.Device, source string) (out []fleet.Endpoint) {
	for i, s := range d.Sources {
		if s.Token != source && !(source == "" && i == 0) {
			continue
		}
		for _, p := range s.Profiles {
			for _, e := range p.Endpoints {
				if !slices.Contains(out, e) && !strings.Contains(e.URL, "@") {
					out = append(out, e)
				}
			}
		}
	}
	return out
}
