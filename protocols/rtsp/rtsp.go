// Package rtsp takes one still from an RTSP stream: it opens the stream, waits
// for one picture that stands alone, and closes it again.
//
//	OPTIONS ► DESCRIBE ─401─► login, within the budget
//	             │200                    │
//	             ▼                       ▼
//	        SDP: M-JPEG, H.264, H.265 ► SETUP (TCP; UDP on 461; TCP again when UDP is silent) ► PLAY
//	                                                               │ RTP
//	        JPEG, or Annex B with parameter sets ◄── assembler ◄───┘
//
// The library underneath speaks the protocol; what it would do on its own with
// logins, redirects, sockets and errors is taken out of its hands here, because
// a camera must not be able to lock itself, to send us elsewhere or to hold us
// beyond the deadline.
package rtsp

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

const (
	// grabWait is for callers whose context has no deadline.
	grabWait = 30 * time.Second
	// maxHops bounds redirects within a host, as guard does for HTTP.
	maxHops = 3
	// maxLearned bounds what is remembered of hosts; beyond it any one is forgotten.
	maxLearned = 16384
)

// Options configure a Grabber.
type Options struct {
	// BasicInClear permits Basic logins over rtsp, where whoever listens reads
	// the password. Over rtsps they are always permitted. Only on an operator's word.
	BasicInClear bool
	// UDPFirst asks for UDP before TCP, for networks where cameras do badly over TCP.
	UDPFirst bool
	Now      func() time.Time // dates frames; default: time.Now
	Log      *slog.Logger     // default: discards
}

// Grabber takes stills from RTSP streams. It is safe for use by several
// goroutines.
type Grabber struct {
	guard     *guard.Guard
	opts      Options
	listenUDP func(network string, a *net.UDPAddr) (*net.UDPConn, error)
	heard     func() // for tests: a stream's first packet came

	mu      sync.Mutex
	learned map[string]gortsplib.Transport // by URL host, what worked when it was not the first choice
}

// New returns a Grabber that reaches cameras through g.
func New(g *guard.Guard, o Options) *Grabber {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Grabber{guard: g, opts: o, listenUDP: net.ListenUDP, heard: func() {}, learned: make(map[string]gortsplib.Transport)}
}

// Grab returns one still of the stream at t.Endpoints[0], an rtsp or rtsps
// address without credentials: a JPEG, or one H.264 or H.265 key frame in
// Annex B with its parameter sets. When it returns, by success, failure or the
// end of ctx, its connection and all else it opened are closed. Without a
// deadline in ctx it takes at most 30 s. Errors are *fleet.CameraError.
//
// A refused login counts once in the guard's budget, however many requests the
// protocol takes, and a login that the camera has refused is not sent again.
func (g *Grabber) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	if len(t.Endpoints) == 0 {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseInternal, "no RTSP address to grab from")
	}
	at := t.Endpoints[0]
	u, err := parseURL(at.URL)
	if err != nil {
		return fleet.Frame{}, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, grabWait)
		defer cancel()
	}
	tcpOnly := false
	for hop := 0; ; {
		s := newStream(ctx, g, t, u)
		s.tcpOnly = tcpOnly
		f, err := s.grab(ctx)
		s.close()
		if err == nil {
			f.Origin = fleet.Origin{Protocol: fleet.RTSP, URL: at.URL}
			g.opts.Log.DebugContext(ctx, "frame grabbed", "url", at.URL, "codec", f.Codec, "bytes", len(f.Data))
			return f, nil
		}
		if errors.Is(err, errNoUDP) && !tcpOnly && ctx.Err() == nil {
			tcpOnly = true
			g.learn(u, gortsplib.TransportUDP, false)
			continue
		}
		to := s.movedTo()
		if to == "" {
			return fleet.Frame{}, s.explain(ctx, err)
		}
		next, err := follow(u, to)
		if err == nil && hop == maxHops {
			err = fleet.Errorf(fleet.CauseProtocol, "more than %d redirects", maxHops)
		}
		if err != nil {
			return fleet.Frame{}, guard.CameraError(err, "grab "+u.String())
		}
		u = next
		hop++
	}
}

// parseURL reads an address of ours, which holds no credentials.
func parseURL(s string) (*base.URL, error) {
	u, err := base.ParseURL(s)
	switch {
	case err != nil:
		// Its text repeats the input, which may hold a password.
		return nil, fleet.Errorf(fleet.CauseProtocol, "an address that cannot be read: want rtsp://HOST/PATH")
	case u.User != nil:
		return nil, fleet.Errorf(fleet.CauseProtocol, "address %s holds credentials: store them apart", (*url.URL)(u).Redacted())
	case u.Hostname() == "":
		return nil, fleet.Errorf(fleet.CauseProtocol, "address %s names no host", u)
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return nil, fleet.Errorf(fleet.CauseProtocol, "an address with blanks or control characters: want rtsp://HOST/PATH")
	}
	return u, nil
}

// follow returns where a redirect leads, which is the same host or an error.
func follow(from *base.URL, location string) (*base.URL, error) {
	to, err := (*url.URL)(from).Parse(location)
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseProtocol, "a redirect to an address that cannot be read")
	}
	to.User, to.Fragment, to.RawFragment = nil, "", ""
	next, err := parseURL(to.String())
	switch {
	case err != nil:
		return nil, err
	case !guard.SameHost(from.Hostname(), next.Hostname()):
		return nil, fleet.Errorf(fleet.CauseGuarded, "the camera at %s points to another host, %q", from.Hostname(), next.Hostname())
	case from.Scheme == "rtsps" && next.Scheme == "rtsp":
		return nil, fleet.Errorf(fleet.CauseGuarded, "a redirect from rtsps to rtsp: a login would cross the network in clear")
	}
	return next, nil
}

// device is whose login budget counts.
func device(t fleet.Target, u *base.URL) string { return cmp.Or(t.Device, u.Hostname()) }
