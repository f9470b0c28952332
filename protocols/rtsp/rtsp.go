// Package rtsp takes one key frame from an RTSP stream.
//
//	DESCRIBE ──► pick M-JPEG, H.264 or H.265 ──► SETUP one track ──► PLAY
//	         ──► packets ──► first whole key frame with its parameter sets ──► hang up
//
// TCP first, UDP where the server wants it. A login is used within the guard's
// budget.
package rtsp

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// Options configure a Grabber.
type Options struct {
	MaxFrame int          // bytes of one frame; default 8 MiB
	Log      *slog.Logger // default: none
}

// Grabber takes frames over RTSP. It is safe for concurrent use.
type Grabber struct {
	guard *guard.Guard
	max   int

	mu  sync.Mutex
	udp map[string]bool // hosts that want UDP
}

const (
	maxFrame    = 8 << 20
	ioTimeout   = 10 * time.Second
	maxRemember = 10_000
)

// New returns a grabber.
func New(g *guard.Guard, o Options) *Grabber {
	if o.MaxFrame == 0 {
		o.MaxFrame = maxFrame
	}
	return &Grabber{guard: g, max: o.MaxFrame, udp: map[string]bool{}}
}

// Grab takes one key frame from the target's first endpoint.
func (g *Grabber) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	e := t.Endpoints[0]
	u, err := base.ParseURL(e.URL)
	if err != nil || u.User != nil {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseProtocol, "%q is no rtsp address without a login", e.URL)
	}
	tries := t.Credentials
	if len(tries) == 0 {
		tries = []fleet.Credentials{{}}
	}
	var last error
	for _, c := range tries {
		if !c.Empty() {
			if err := g.guard.Budget().Try(t.Device, c); err != nil {
				last = err
				continue
			}
		}
		f, err := g.grab(ctx, u, t.Device, c)
		if err == nil {
			f.Origin = fleet.Origin{Protocol: fleet.RTSP, URL: e.URL}
			return f, nil
		}
		last = err
		if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseUnauthorized {
			return fleet.Frame{}, err
		}
	}
	return fleet.Frame{}, last
}

func (g *Grabber) wantsUDP(host string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.udp[host]
}

func (g *Grabber) grab(ctx context.Context, u *base.URL, device string, c fleet.Credentials) (fleet.Frame, error) {
	udp := g.wantsUDP(u.Host)
	f, err := g.play(ctx, u, device, c, udp)
	if bad, ok := errors.AsType[liberrors.ErrClientBadStatusCode](err); ok && bad.Code == base.StatusUnsupportedTransport && !udp {
		if f, err = g.play(ctx, u, device, c, true); err == nil {
			g.mu.Lock()
			if len(g.udp) < maxRemember {
				g.udp[u.Host] = true
			}
			g.mu.Unlock()
		}
	}
	if err != nil {
		err = explain(ctx, err, u, c)
	}
	return f, err
}

// explain gives an error of the exchange its cause.
func explain(ctx context.Context, err error, u *base.URL, c fleet.Credentials) error {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce
	}
	if bad, ok := errors.AsType[liberrors.ErrClientBadStatusCode](err); ok {
		switch bad.Code {
		case base.StatusUnauthorized, base.StatusForbidden:
			if c.Empty() {
				return fleet.Errorf(fleet.CauseUnauthorized, "%s wants a login and none is known: `shutterfleet creds put`", u.Host)
			}
			return fleet.Errorf(fleet.CauseUnauthorized, "%s refuses the login of %q: check user and password", u.Host, c.User)
		case base.StatusNotFound:
			return fleet.Errorf(fleet.CauseNotFound, "%s has no stream %s", u.Host, u.Path)
		case base.StatusNotEnoughBandwidth, base.StatusServiceUnavailable:
			return fleet.Errorf(fleet.CauseRefused, "%s takes no more viewers (%d)", u.Host, bad.Code)
		}
		return fleet.Errorf(fleet.CauseProtocol, "%s answers %d %s", u.Host, bad.Code, bad.Message)
	}
	if ctx.Err() != nil {
		return fleet.Errorf(fleet.CauseTimeout, "%s went silent until the deadline", u.Host)
	}
	if _, ok := errors.AsType[liberrors.ErrClientRequestTimedOut](err); ok {
		return fleet.Errorf(fleet.CauseTimeout, "%s did not answer a request", u.Host)
	}
	return guard.CameraError(err, "stream from "+u.Host)
}

// play runs one session until a frame is whole.
func (g *Grabber) play(ctx context.Context, u *base.URL, device string, cred fleet.Credentials, udp bool) (fleet.Frame, error) {
	var loggedIn atomic.Bool
	transport := gortsplib.TransportTCP
	if udp {
		transport = gortsplib.TransportUDP
	}
	dial := g.guard.Dial((*url.URL)(u).Hostname())
	c := &gortsplib.Client{
		Scheme: u.Scheme, Host: u.Host, Transport: &transport, ReadTimeout: ioTimeout, WriteTimeout: ioTimeout, UserAgent: "shutterfleet",
		TLSConfig: g.guard.TLS((*url.URL)(u).Hostname()),
		// The library dials under a context of its own: ours ends it too.
		DialContext: func(dctx context.Context, network, address string) (net.Conn, error) {
			dctx, cancel := context.WithCancel(dctx)
			defer cancel()
			defer context.AfterFunc(ctx, cancel)()
			return dial(dctx, network, address)
		},
		OnRequest: func(r *base.Request) {
			if _, ok := r.Header["Authorization"]; ok {
				loggedIn.Store(true)
			}
		},
		OnPacketsLost: func(uint64) {}, OnDecodeError: func(error) {}, // what is lost shows as a frame that does not come
	}
	if d, ok := ctx.Deadline(); ok {
		c.ReadTimeout = max(min(time.Until(d), ioTimeout), time.Millisecond)
	}
	if err := c.Start2(); err != nil {
		return fleet.Frame{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.Close)()

	login := *u
	if !cred.Empty() {
		login.User = url.UserPassword(cred.User, cred.Password.Reveal())
	}
	desc, _, err := c.Describe(&login)
	if loggedIn.Load() {
		bad, refused := errors.AsType[liberrors.ErrClientBadStatusCode](err)
		switch {
		case refused && bad.Code == base.StatusUnauthorized:
			g.guard.Budget().Refused(device, cred)
		case err == nil:
			g.guard.Budget().Accepted(device, cred)
		}
	}
	if err != nil {
		return fleet.Frame{}, err
	}
	tr, err := choose(desc)
	if err != nil {
		return fleet.Frame{}, err
	}
	if _, err := c.Setup(desc.BaseURL, tr.media, 0, 0); err != nil {
		return fleet.Frame{}, err
	}
	got := make(chan fleet.Frame, 1) // the first frame; later ones are dropped
	failed := make(chan error, 1)
	c.OnPacketRTP(tr.media, tr.format, func(p *rtp.Packet) {
		data, codec := tr.packet(p)
		if data == nil {
			return
		}
		if len(data) > g.max {
			select {
			case failed <- fleet.Errorf(fleet.CauseTooLarge, "a key frame has %d bytes, at most %d are read", len(data), g.max):
			default:
			}
			return
		}
		select {
		case got <- fleet.Frame{Data: data, Codec: codec, At: time.Now()}:
		default:
		}
	})
	if _, err := c.Play(nil); err != nil {
		return fleet.Frame{}, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }() // Close ends it
	defer func() { c.Close(); <-ended }()
	select {
	case f := <-got:
		return f, nil
	case err := <-failed:
		return fleet.Frame{}, err
	case err := <-ended:
		ended <- err
		if ctx.Err() == nil {
			return fleet.Frame{}, err
		}
	case <-ctx.Done():
	}
	if tr.packets.Load() > 0 {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseNoKeyframe, "%d packets came from %s and no whole key frame: shorten the camera's key frame interval", tr.packets.Load(), u.Host)
	}
	return fleet.Frame{}, fleet.Errorf(fleet.CauseTimeout, "%s sent no packet until the deadline", u.Host)
}

// track is the one that is watched, and how its packets become a frame.
type track struct {
	media   *description.Media
	format  format.Format
	packets atomic.Uint64
	unit    func(*rtp.Packet) ([]byte, fleet.Codec)
}

func (t *track) packet(p *rtp.Packet) ([]byte, fleet.Codec) {
	t.packets.Add(1)
	return t.unit(p)
}

// choose prefers what is cheapest to decode.
func choose(desc *description.Session) (*track, error) {
	var mjpeg *format.MJPEG
	if m := desc.FindFormat(&mjpeg); m != nil {
		dec, err := mjpeg.CreateDecoder()
		if err != nil {
			return nil, fleet.Errorf(fleet.CauseProtocol, "M-JPEG track: %v", err)
		}
		return &track{media: m, format: mjpeg, unit: func(p *rtp.Packet) ([]byte, fleet.Codec) {
			data, err := dec.Decode(p)
			if err != nil {
				return nil, ""
			}
			return data, fleet.JPEG
		}}, nil
	}
	var avc *format.H264
	if m := desc.FindFormat(&avc); m != nil {
		dec, err := avc.CreateDecoder()
		if err != nil {
			return nil, fleet.Errorf(fleet.CauseProtocol, "H.264 track: %v", err)
		}
		sps, pps := avc.SafeParams()
		return &track{media: m, format: avc, unit: func(p *rtp.Packet) ([]byte, fleet.Codec) {
			au, err := dec.Decode(p)
			if err != nil {
				return nil, ""
			}
			key := false
			for _, nal := range au {
				if len(nal) == 0 {
					continue
				}
				switch h264.NALUType(nal[0] & 31) {
				case h264.NALUTypeSPS:
					sps = nal
				case h264.NALUTypePPS:
					pps = nal
				case h264.NALUTypeIDR:
					key = true
				}
			}
			if !key || sps == nil || pps == nil {
				return nil, ""
			}
			return annexB([][]byte{sps, pps}, au, func(nal []byte) bool {
				k := h264.NALUType(nal[0] & 31)
				return k != h264.NALUTypeSPS && k != h264.NALUTypePPS && k != h264.NALUTypeAccessUnitDelimiter
			}), fleet.H264
		}}, nil
	}
	var hevc *format.H265
	if m := desc.FindFormat(&hevc); m != nil {
		dec, err := hevc.CreateDecoder()
		if err != nil {
			return nil, fleet.Errorf(fleet.CauseProtocol, "H.265 track: %v", err)
		}
		vps, sps, pps := hevc.SafeParams()
		return &track{media: m, format: hevc, unit: func(p *rtp.Packet) ([]byte, fleet.Codec) {
			au, err := dec.Decode(p)
			if err != nil {
				return nil, ""
			}
			key := false
			for _, nal := range au {
				if len(nal) < 2 {
					continue
				}
				switch k := h265.NALUType(nal[0] >> 1 & 63); {
				case k == h265.NALUType_VPS_NUT:
					vps = nal
				case k == h265.NALUType_SPS_NUT:
					sps = nal
				case k == h265.NALUType_PPS_NUT:
					pps = nal
				case k >= h265.NALUType_BLA_W_LP && k <= h265.NALUType_CRA_NUT:
					key = true
				}
			}
			if !key || vps == nil || sps == nil || pps == nil {
				return nil, ""
			}
			return annexB([][]byte{vps, sps, pps}, au, func(nal []byte) bool {
				k := h265.NALUType(nal[0] >> 1 & 63)
				return k < h265.NALUType_VPS_NUT || k > h265.NALUType_AUD_NUT
			}), fleet.H265
		}}, nil
	}
	return nil, fleet.Errorf(fleet.CauseUnsupportedCodec, "the stream has no M-JPEG, H.264 or H.265 track")
}

// annexB joins parameter sets and the units that keep says yes to.
func annexB(params, au [][]byte, keep func([]byte) bool) []byte {
	n := 0
	for _, u := range [][][]byte{params, au} {
		for _, nal := range u {
			n += 4 + len(nal)
		}
	}
	out := make([]byte, 0, n)
	for _, nal := range params {
		out = append(append(out, 0, 0, 0, 1), nal...)
	}
	for _, nal := range au {
		if len(nal) > 0 && keep(nal) {
			out = append(append(out, 0, 0, 0, 1), nal...)
		}
	}
	return out
}
