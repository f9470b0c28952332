package rtsp

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/headers"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"
	"github.com/pion/rtp"

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

	started bool
	asm     assembler // once the stream plays
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
		UserAgent:    "shutterfleet",
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

// conn is a connection whose deadlines never lie beyond a limit.
type conn struct {
	net.Conn
	release func() bool

	mu  sync.Mutex
	end time.Time
}

func (c *conn) limit(end time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = end
	_ = c.Conn.SetDeadline(end)
}

func (c *conn) bound(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() || !c.end.IsZero() && t.After(c.end) {
		return c.end
	}
	return t
}

func (c *conn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(c.bound(t)) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(c.bound(t)) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.bound(t)) }

func (c *conn) Close() error {
	c.release()
	return c.Conn.Close()
}

// listen hands out the UDP sockets that setup opened: the library would listen
// on every interface, and try ports for ever when there are none.
func (s *stream) listen(_, _ string) (net.PacketConn, error) {
	if len(s.ready) == 0 {
		return nil, fleet.Errorf(fleet.CauseInternal, "no UDP port is prepared")
	}
	c := s.ready[0]
	s.ready = s.ready[1:]
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
	type result struct {
		frame fleet.Frame
		err   error
	}
	var (
		mu     sync.Mutex // UDP packets come from another goroutine than the end
		heard  bool
		ended  bool
		done   = make(chan result, 1) // there is but one
		unless = func() { mu.Lock(); ended = true; mu.Unlock() }
	)
	s.client.OnPacketRTP(media, chosen, func(p *rtp.Packet) {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return
		}
		heard = true
		data, err := asm.push(p)
		if data != nil || err != nil {
			ended = true
			done <- result{fleet.Frame{Data: data, Codec: codec, At: s.g.opts.Now()}, err}
		}
	})
	defer unless() // the assembler's verdict is read without the lock
	if err := s.ask(ctx, func() error { _, err := s.client.Play(nil); return err }); err != nil {
		return fleet.Frame{}, err
	}
	s.asm = asm
	gone := make(chan error, 1) // there is but one
	go func() { gone <- s.client.Wait() }()
	select {
	case r := <-done:
		s.close()
		<-gone
		s.g.learn(s.url, tr, r.err == nil)
		return r.frame, r.err
	case <-ctx.Done():
		s.close()
		<-gone
		err = ctx.Err()
	case err = <-gone:
	}
	unless()
	select {
	case r := <-done: // it came in the same moment
		s.g.learn(s.url, tr, r.err == nil)
		return r.frame, r.err
	default:
	}
	if !heard {
		s.g.learn(s.url, tr, false)
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

// setup asks for the media over the first transport that the camera takes.
func (s *stream) setup(ctx context.Context, at *base.URL, m *description.Media) (gortsplib.Transport, error) {
	var first error
	for _, tr := range s.g.transports(s.url) {
		s.client.Transport = &tr
		rtpPort, rtcpPort := 0, 0
		if tr == gortsplib.TransportUDP {
			var err error
			if rtpPort, rtcpPort, err = s.openUDP(); err != nil {
				return tr, errors.Join(first, err)
			}
		}
		err := s.ask(ctx, func() error {
			_, err := s.client.Setup(at, m, rtpPort, rtcpPort)
			return err
		})
		for _, c := range s.ready {
			_ = c.Close() // not taken by the library, so not closed by it either
		}
		s.ready = nil
		if err == nil {
			return tr, nil
		}
		if first == nil {
			first = err
		}
		var no liberrors.ErrClientServerRequestedTCP
		if s.answer().status != base.StatusUnsupportedTransport && !errors.As(err, &no) {
			return tr, err
		}
	}
	return 0, first
}

// openUDP opens an even port and the odd one above it, on the address that the
// connection has and nowhere else.
func (s *stream) openUDP() (rtpPort, rtcpPort int, err error) {
	s.mu.Lock()
	local, ok := s.conn.LocalAddr().(*net.TCPAddr)
	s.mu.Unlock()
	if !ok {
		return 0, 0, fleet.Errorf(fleet.CauseInternal, "a connection of a kind that UDP cannot stand beside")
	}
	for range 64 { // a random port is even in half of the cases, and the next mostly free
		a, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone})
		if err != nil {
			return 0, 0, err
		}
		port := a.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			if b, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone, Port: port + 1}); err == nil {
				s.ready = []*net.UDPConn{a, b}
				return port, port + 1, nil
			}
		}
		_ = a.Close()
	}
	return 0, 0, fleet.Errorf(fleet.CauseInternal, "no two UDP ports in a row are free")
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

// ask sends a request and, when the camera wants a login, once more with each
// of the credentials, within the budget.
func (s *stream) ask(ctx context.Context, request func() error) error {
	err := request()
	if !s.unauthorized(err) {
		return err
	}
	budget, dev := s.g.guard.Budget(), device(s.target, s.url)
	known := s.candidates()
	if len(known) == 0 {
		return unusable("the camera asks for a login and none is known: store credentials for it")
	}
	var locked error
	tried := 0
	for _, c := range known {
		leave, enter := budget.Enter(ctx, dev, c)
		if enter != nil {
			if ce, ok := errors.AsType[*fleet.CameraError](enter); ok && ce.Cause != fleet.CauseLocked {
				return enter
			}
			if locked == nil {
				locked = enter
			}
			continue
		}
		err = s.try(c, request)
		if !s.unauthorized(err) {
			if err == nil {
				budget.Accepted(dev, c)
			} else if p, ok := budget.Proven(dev); s.answer().status == base.StatusForbidden && (!ok || p != c) {
				budget.Refused(dev, c)
			}
			leave()
			return err
		}
		if errors.Is(err, guard.ErrUnusable) {
			leave()
			return err
		}
		budget.Refused(dev, c)
		leave()
		tried++
		s.mu.Lock()
		s.auth = nil // not even the goodbye carries it again
		s.mu.Unlock()
	}
	if tried == 0 {
		return locked
	}
	if c, ok := budget.Proven(dev); ok && tried == 1 && c == known[0] && budget.Try(dev, c) == nil {
		return fleet.Errorf(fleet.CauseRefused, "the camera refused a login that worked before: it may be out of connections")
	}
	return fleet.Errorf(fleet.CauseUnauthorized, "the camera refused the login of user %q: correct its credentials", known[len(known)-1].User)
}

// unauthorized reports whether a request ended in 401, or was not sent for want
// of a usable login.
func (s *stream) unauthorized(err error) bool {
	if errors.Is(err, guard.ErrUnusable) {
		return true
	}
	bad, ok := errors.AsType[liberrors.ErrClientBadStatusCode](err)
	return ok && bad.Code == base.StatusUnauthorized
}

// try answers the challenge at hand with one login. A nonce that went stale on
// the way is replaced once and does not count.
func (s *stream) try(c fleet.Credentials, request func() error) error {
	for round := 0; ; round++ {
		d, basic := strongest(s.answer().challenges)
		var auth func(method, uri string) string
		switch {
		case d != nil:
			auth = func(method, uri string) string { return d.Authorize(method, uri, nil, c) }
		case basic && s.url.Scheme != "rtsps" && !s.g.opts.BasicInClear:
			return unusable("the camera offers only Basic over plain rtsp, which would send the password in clear: use rtsps, or permit it for this site")
		case basic && strings.Contains(c.User, ":"):
			return unusable("the user name %q holds a colon, which Basic cannot send", c.User)
		case basic:
			header := "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password.Reveal()))
			auth = func(string, string) string { return header }
		default:
			return unusable("the camera asks for a login of a kind that is not spoken here")
		}
		s.mu.Lock()
		s.auth = auth
		s.mu.Unlock()
		err := request()
		if round > 0 || !s.unauthorized(err) || !stale(s.answer().challenges) {
			return err
		}
	}
}

// candidates are the credentials worth a try, what worked before first.
func (s *stream) candidates() []fleet.Credentials {
	var known []fleet.Credentials
	for _, c := range s.target.Credentials {
		if !c.Empty() && !slices.Contains(known, c) {
			known = append(known, c)
		}
	}
	if c, ok := s.g.guard.Budget().Proven(device(s.target, s.url)); ok {
		if i := slices.Index(known, c); i > 0 {
			known = slices.Insert(slices.Delete(known, i, i+1), 0, c)
		}
	}
	return known
}

// strongest picks the digest that is hardest to break, and says whether Basic
// is offered.
func strongest(challenges []string) (d *guard.Digest, basic bool) {
	rank := -1
	for _, c := range guard.ParseChallenges(challenges) {
		if c.Scheme == "basic" {
			basic = true
			continue
		}
		n, err := guard.NewDigest(c)
		if err != nil {
			continue
		}
		r := 0
		switch alg := strings.ToUpper(c.Params["algorithm"]); {
		case strings.HasPrefix(alg, "SHA-512"):
			r = 2
		case strings.HasPrefix(alg, "SHA"):
			r = 1
		}
		if r > rank {
			d, rank = n, r
		}
	}
	return d, basic
}

func stale(challenges []string) bool {
	return slices.ContainsFunc(guard.ParseChallenges(challenges), func(c guard.Challenge) bool {
		return strings.EqualFold(c.Params["stale"], "true")
	})
}
