package rtsp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// byeWait bounds the TEARDOWN at the end: it is a courtesy, and a camera that
// has stopped reading must not hold the next capture.
const byeWait = 300 * time.Millisecond

// stream is one connection to one stream, from DESCRIBE to its end.
type stream struct {
	g      *Grabber
	target fleet.Target
	url    *base.URL
	client *gortsplib.Client
	ready  []*net.UDPConn // opened for the SETUP under way

	mu    sync.Mutex // what the library's goroutines see and set
	conn  *conn
	asked base.Method
	auth  func(method, uri string) string // makes the Authorization header, or nil
	last  answer

	tcpOnly    bool // UDP was tried before, in vain
	tcpRefused bool
	started    bool
	silent     bool // it played, and no packet came
	transport  gortsplib.Transport
	asm        assembler // once the stream plays
}

// answer is what was noted of the last response before the library read it.
type answer struct {
	status     base.StatusCode
	challenges []string
	location   string
	refused    error // why it was changed
}

// newStream prepares a client; nothing is connected before the first request.
func newStream(ctx context.Context, g *Grabber, t fleet.Target, u *base.URL) *stream {
	s := &stream{g: g, target: t, url: u}
	left := grabWait
	if end, ok := ctx.Deadline(); ok {
		left = max(time.Until(end), time.Millisecond)
	}
	s.client = &gortsplib.Client{
		Scheme: u.Scheme,
		Host:   u.Host,
		// Beyond the deadline: the connection ends first, and its error says why.
		ReadTimeout:  left + time.Second,
		WriteTimeout: left + time.Second,
		// Its own 3 s end the stream in the moment of udpSilence, which tries TCP.
		InitialUDPReadTimeout: left + time.Second,
		UserAgent:             "shutterfleet",
		DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
			return s.dial(ctx, network, address)
		},
		ListenPacket:      s.listen,
		OnRequest:         s.onRequest,
		OnResponse:        s.onResponse,
		OnTransportSwitch: func(error) {},
		OnPacketsLost:     func(uint64) {},
		OnDecodeError:     func(error) {},
	}
	return s
}

// dial connects within the Grab's context and ties the connection to it.
func (s *stream) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !guard.SameHost(host, s.url.Hostname()) {
		return nil, fleet.Errorf(fleet.CauseGuarded, "the camera at %s points to another host, %q", s.url.Hostname(), host)
	}
	raw, err := s.g.guard.Dial(s.url.Hostname())(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw}
	end, _ := ctx.Deadline()
	c.limit(end)
	// The library bounds no read and no TLS handshake: only closing ends them.
	c.release = context.AfterFunc(ctx, func() { raw.Close() })
	s.mu.Lock()
	s.conn = c
	s.mu.Unlock()
	// Read by the library right after this, in this very goroutine.
	s.client.TLSConfig = s.g.guard.TLS(device(s.target, s.url), address)
	return c, nil
}

// onRequest adds the login, which the library would send without asking the
// budget, and without qop.
func (s *stream) onRequest(req *base.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = req.Method
	if s.auth != nil && req.Method != base.Options {
		req.Header["Authorization"] = base.HeaderValue{s.auth(string(req.Method), req.URL.String())}
	} else {
		delete(req.Header, "Authorization")
	}
}

// onResponse notes what the library does not tell, and changes what it must not act on.
func (s *stream) onResponse(res *base.Response) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asked == base.Options {
		// Whether a camera answers OPTIONS matters to nobody: the request that
		// follows tells what is wrong. The library stops at some answers, and
		// at others asks again when it closes a connection that is gone.
		res.StatusCode = base.StatusOK
		return
	}
	s.last = answer{status: res.StatusCode, challenges: res.Header["WWW-Authenticate"]}
	if loc := res.Header["Location"]; len(loc) > 0 && res.StatusCode >= 300 && res.StatusCode < 400 {
		s.last.location = loc[0]
		delete(res.Header, "Location") // or the library goes there by itself
	}
	if s.asked == base.Describe && res.StatusCode == base.StatusOK {
		res.Body = mend(res.Body)
	}
	if s.asked != base.Setup || s.conn == nil {
		return
	}
	var tr headers.Transport
	if err := tr.Unmarshal(res.Header["Transport"]); err == nil && tr.Source != nil {
		host, _, _ := net.SplitHostPort(s.conn.RemoteAddr().String())
		host, _, _ = strings.Cut(host, "%")
		if !guard.SameHost(host, tr.Source.String()) {
			// UDP packets would go there.
			s.last.refused = fleet.Errorf(fleet.CauseGuarded, "the camera at %s wants to stream from another host, %s", host, tr.Source)
			delete(res.Header, "Transport")
		}
	}
}

func (s *stream) answer() answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// movedTo returns where the last answer redirects to, or nothing.
func (s *stream) movedTo() string { return s.answer().location }

// grab runs the whole exchange. It may leave the connection open.
func (s *stream) grab(ctx context.Context) (fleet.Frame, error) {
	if err := s.client.Start2(); err != nil {
		return fleet.Frame{}, err
	}
	s.started = true
	var desc *description.Session
	err := s.ask(ctx, func() (err error) {
		desc, _, err = s.client.Describe(s.url)
		return err
	})
	if err != nil {
		return fleet.Frame{}, err
	}
	media, chosen, codec, asm, err := choose(desc)
	if err != nil {
		return fleet.Frame{}, err
	}
	tr, err := s.setup(ctx, desc.BaseURL, media)
	if err != nil {
		return fleet.Frame{}, err
	}
	s.asm, s.transport = asm, tr
	rec := newReception(asm, codec, s.g.opts.Now, s.g.heard)
	s.client.OnPacketRTP(media, chosen, rec.packet)
	defer rec.end() // the assembler's verdict is read without the lock
	if err := s.ask(ctx, func() error { _, err := s.client.Play(nil); return err }); err != nil {
		s.asm = nil
		if tr == gortsplib.TransportUDP && (errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES)) {
			return fleet.Frame{}, fmt.Errorf("%w: %w", errNoUDP, err)
		}
		return fleet.Frame{}, err
	}
	return s.receive(ctx, rec)
}

// receive waits for the frame, the end of the connection or of the time, and,
// over UDP, for the first packet.
func (s *stream) receive(ctx context.Context, rec *reception) (fleet.Frame, error) {
	gone := make(chan error, 1) // there is but one
	go func() { gone <- s.client.Wait() }()
	var silent <-chan time.Time
	if s.transport == gortsplib.TransportUDP {
		wait := udpSilence
		if end, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(end)/2)
		}
		t := time.NewTimer(wait)
		defer t.Stop()
		silent = t.C
	}
	var err error
	for waiting := true; waiting; {
		select {
		case r := <-rec.done:
			s.close()
			<-gone
			s.g.learn(s.url, s.transport, r.err == nil)
			return r.frame, r.err
		case <-ctx.Done():
			s.close()
			<-gone
			err, waiting = ctx.Err(), false
		case <-silent:
			if silent = nil; !rec.heard() && !s.tcpRefused {
				s.close()
				<-gone
				err, waiting = errNoUDP, false
			}
		case err = <-gone:
			waiting = false
		}
	}
	rec.end()
	select {
	case r := <-rec.done: // it came in the same moment
		s.g.learn(s.url, s.transport, r.err == nil)
		return r.frame, r.err
	default:
	}
	if s.silent = !rec.heard(); s.silent {
		s.g.learn(s.url, s.transport, false)
	}
	return fleet.Frame{}, err
}

// choose picks the stream that is cheapest to decode.
func choose(desc *description.Session) (*description.Media, format.Format, fleet.Codec, assembler, error) {
	rank := map[fleet.Codec]int{fleet.JPEG: 3, fleet.H264: 2, fleet.H265: 1}
	var media *description.Media
	var chosen format.Format
	var codec fleet.Codec
	var asm assembler
	var others []string
	var bad error
	for _, m := range desc.Medias {
		if m.IsBackChannel {
			continue
		}
		for _, f := range m.Formats {
			c, a, err := newAssembler(f)
			switch {
			case err != nil:
				bad = err
			case a == nil:
				if name := f.Codec(); m.Type == description.MediaTypeVideo && !slices.Contains(others, name) {
					others = append(others, name)
				}
			case rank[c] > rank[codec]:
				media, chosen, codec, asm = m, f, c, a
			}
		}
	}
	switch {
	case media != nil:
		// The other formats of the media are not waited for: each would cost
		// timers, and the library ends the process on some of their clocks.
		media.Formats = []format.Format{chosen}
		return media, chosen, codec, asm, nil
	case bad != nil:
		return nil, nil, "", nil, fleet.Errorf(fleet.CauseProtocol, "the stream's description is not usable: %w", bad)
	case others != nil:
		return nil, nil, "", nil, fleet.Errorf(fleet.CauseProtocol,
			"the stream is %s: set the camera to H.264, H.265 or M-JPEG", strings.Join(others, ", "))
	}
	return nil, nil, "", nil, fleet.Errorf(fleet.CauseProtocol, "the stream's description has no video")
}

// close ends the connection, politely if it stands. It may be called again.
func (s *stream) close() {
	s.mu.Lock()
	if s.conn != nil {
		s.conn.limit(time.Now().Add(byeWait))
	}
	s.mu.Unlock()
	if s.started {
		s.client.Close()
	}
}
