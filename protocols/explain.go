package protocols

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// The names of an explanation's rungs, in their order.
const (
	RungRoute     = "route"
	RungNeighbour = "neighbour"
	RungPorts     = "ports"
	RungDiscovery = "ws-discovery"
	RungClock     = "date and time"
	RungAuth      = "login"
	RungProfiles  = "profiles"
	RungHistory   = "history"
	RungDescribe  = "describe"
	RungKeyFrame  = "key frame"
	RungDecode    = "decode"
)

const (
	// maxRefused is how many refused logins an explanation may cost, over all
	// protocols: what the promise Gentle gives one version of credentials.
	maxRefused = fleet.LoginTriesPerVersion

	// skewNoted is the clock difference that is worth a word, and skewRefused the
	// one from which cameras refuse tokens that are dated by another clock than
	// their own (WS-Security UsernameToken profile 1.1: 5 minutes).
	skewNoted   = 5 * time.Second
	skewRefused = 5 * time.Minute
)

// LadderOptions configure a Ladder. What is nil is skipped, and the rung says so.
type LadderOptions struct {
	// Neighbours returns the kernel's neighbour table; a nil one where nobody
	// tells.
	Neighbours func() (map[netip.Addr]net.HardwareAddr, error)
	// Probe asks one address for WS-Discovery by unicast. Silence is no error.
	Probe func(ctx context.Context, addr netip.Addr) ([]fleet.Sighting, error)
	// Read decodes a frame.
	Read func(ctx context.Context, f fleet.Frame) (fleet.Reading, error)
	// Load tells, in a line, how many cameras the agent speaks to at a time, and
	// how it came to that; "" for nothing.
	Load func(camera fleet.CameraID) string
	// Ports are looked at beside those of the endpoints; default those that
	// cameras commonly have.
	Ports []uint16
}

// Ladder explains why a camera gives no picture: it climbs from the route to a
// decoded frame and names the rung that breaks.
//
//	route ─► neighbour ─► ports ─► ws-discovery ─► date and time ─► login ─► profiles
//	                                       decode ◄─ key frame ◄─ describe ◄─┘
//
// Each rung has its own bound of time, at most 20 s, beside the context's. It is
// safe for use by several goroutines.
type Ladder struct {
	mux  *Mux
	opts LadderOptions
}

// NewLadder returns a ladder over the mux's protocols, guard and budget.
func NewLadder(m *Mux, o LadderOptions) *Ladder {
	if o.Ports == nil {
		// HTTP, HTTPS, RTSP, and where cameras have them besides; 8000 is also the
		// port of some vendors' own protocol.
		o.Ports = []uint16{80, 443, 554, 8000, 8080, 8554}
	}
	return &Ladder{mux: m, opts: o}
}

// Explain climbs, and calls each as a rung ends, from this goroutine. The target
// may be an address that is no camera yet: its endpoints then are one with the
// address and no protocol. Explain stops at the second refused login over all
// protocols; what it does not try any more is skipped, and says why.
func (l *Ladder) Explain(ctx context.Context, t fleet.Target, each func(fleet.Rung)) fleet.Explanation {
	if t.Device == "" {
		t.Device = deviceOf(t)
	}
	c := &climb{l: l, mux: l.mux, target: t, each: each, last: l.mux.guard.Budget().Refusals(t.Device)}
	c.rung(ctx, RungRoute, 5*time.Second, c.route)
	c.rung(ctx, RungNeighbour, 2*time.Second, c.neighbour)
	c.rung(ctx, RungPorts, 12*time.Second, c.ports)
	c.rung(ctx, RungDiscovery, 3*time.Second, c.discovery)
	c.rung(ctx, RungClock, 6*time.Second, c.clock)
	c.rung(ctx, RungAuth, 20*time.Second, c.auth)
	c.rung(ctx, RungProfiles, time.Second, c.profiles)
	c.rung(ctx, RungHistory, time.Second, c.history)
	c.rung(ctx, RungDescribe, 10*time.Second, c.describe)
	c.rung(ctx, RungKeyFrame, 20*time.Second, c.keyFrame)
	c.rung(ctx, RungDecode, 10*time.Second, c.decode)
	return fleet.Explanation{Rungs: c.rungs}
}

// climb is one explanation under way.
type climb struct {
	l      *Ladder
	mux    *Mux
	target fleet.Target
	each   func(fleet.Rung)
	rungs  []fleet.Rung

	last    int    // refusals of the device when the last rung ended
	refused int    // logins that were refused on this climb
	over    string // why nothing more is tried

	addr     netip.Addr
	near     bool            // on a network of this machine
	open     map[uint16]bool // ports that were looked at
	services []fleet.Endpoint
	mute     bool          // its ONVIF service is known and does not answer
	device   *fleet.Device // as it described itself to our login
	ways     []way
	stream   way // whose stream is described
	frame    *fleet.Frame
}

// rung runs one step within its time, and decides whether others follow.
func (c *climb) rung(ctx context.Context, name string, within time.Duration, step func(context.Context) fleet.Rung) {
	r := fleet.Rung{Name: name, Result: fleet.RungSkipped, Detail: c.over}
	if c.over == "" && ctx.Err() != nil {
		c.over = "the time for the explanation was over"
		r.Detail = c.over
	}
	if c.over == "" {
		began := time.Now()
		inner, cancel := context.WithTimeout(ctx, within)
		r = step(inner)
		cancel()
		r.Name, r.Took = name, time.Since(began)
		c.count()
	}
	c.rungs = append(c.rungs, r)
	if c.each != nil {
		c.each(r)
	}
}

// count notes the logins that the rung cost.
func (c *climb) count() {
	now := c.mux.guard.Budget().Refusals(c.target.Device)
	if now > c.last {
		c.refused += now - c.last
	}
	c.last = now
	if c.refused >= maxRefused && c.over == "" {
		c.over = "two logins were refused: no third one is tried, so that the camera does not lock"
	}
}

func ok(detail string) fleet.Rung   { return fleet.Rung{Result: fleet.RungOK, Detail: detail} }
func skip(detail string) fleet.Rung { return fleet.Rung{Result: fleet.RungSkipped, Detail: detail} }
func warn(detail, fix string) fleet.Rung {
	return fleet.Rung{Result: fleet.RungWarning, Detail: detail, Fix: fix}
}

func broken(detail, fix string) fleet.Rung {
	return fleet.Rung{Result: fleet.RungFailed, Detail: detail, Fix: fix}
}

// fault turns an error into a rung with the fix that its cause has.
func fault(err error) fleet.Rung {
	fix := fixes[fleet.CauseProtocol]
	if ce, isCamera := errors.AsType[*fleet.CameraError](err); isCamera {
		fix = cmp.Or(fixes[ce.Cause], fix)
	}
	return broken(err.Error(), fix)
}

// fixes say what to do about what a camera answers.
var fixes = map[fleet.Cause]string{
	fleet.CauseUnreachable:      "check its power, cable, VLAN and address",
	fleet.CauseRefused:          "switch the service on at the camera, or end the client that holds its only session",
	fleet.CauseTimeout:          "it went silent: restart it, and look at the load of its network",
	fleet.CauseUnauthorized:     "store the right login with `shutterfleet creds put`, or make a user for ONVIF at the camera: many keep those apart from the users of their page",
	fleet.CauseLocked:           "correct the login with `shutterfleet creds put`; the block then lifts by itself, at the time that is named, or at the camera after its own",
	fleet.CauseNotFound:         "the address works and the path does not: correct the URL, or let ONVIF tell it",
	fleet.CauseProtocol:         "update the camera's firmware; if that does not help, report its model with this text",
	fleet.CauseTooLarge:         "choose a smaller picture or the sub-stream at the camera",
	fleet.CauseCorrupt:          "look at the cable and the load of the network; over RTSP, prefer TCP",
	fleet.CauseNoKeyframe:       "shorten the interval of key frames (GOP, I-frame interval) at the camera to 2 s",
	fleet.CauseUnsupportedCodec: "install ffmpeg on the agent, or set the camera to M-JPEG or a snapshot",
	fleet.CauseGuarded:          "the camera names an address on another host: correct its network settings, or allow that host for the agent",
	fleet.CauseDeadline:         "the camera or the centre was busy: ask again in a moment",
	fleet.CauseInternal:         "this is a fault of our own: report it with this text",
}

// hosts returns the names and addresses that the target has, each once.
func hosts(t fleet.Target) (out []string) {
	for _, e := range t.Endpoints {
		if h := hostOf(e.URL); h != "" && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}
