// Package guard is what every protocol reaches cameras through: a dialer that
// goes nowhere else, an HTTP exchange with limits, HTTP Digest, and the budget
// of logins that keeps a camera from locking its owner out.
//
//	                    ┌──────────── Guard ────────────┐
//	onvif, httpcam ─Do─►│ URL ► limits ► 401 ► login ───┼─Budget: may I?
//	rtsp ─────────Dial─►│ same host only                │──► one camera
//	                    └───────────────────────────────┘
//
// Every byte that comes back is hostile until parsed, every address in it is a
// suggestion: a redirect or a dial to another host fails with cause guarded.
// A TLS key is pinned to its device at first use. All errors are
// *fleet.CameraError.
package guard

import (
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// The limits of an exchange.
const (
	defaultMaxBytes = 16 << 20         // a 4K JPEG of the best quality is about 8 MiB
	maxHeaderBytes  = 64 << 10         // a flood of headers ends here
	maxErrorBytes   = 64 << 10         // of an answer that is read only for its reason
	maxRedirects    = 3                // http -> https -> login path is what cameras do
	exchangeWait    = 30 * time.Second // for callers whose context has no deadline
	idleWait        = 5 * time.Second  // a camera may have but one connection to give
	maxSessions     = 16384            // remembered logins
)

// Options configure a Guard.
type Options struct {
	Allow []netip.Prefix   // hosts an operator permits beside the target's own
	Log   *slog.Logger     // default: discards
	Now   func() time.Time // default: time.Now
	Pins  Pins             // TLS keys of devices; default: in memory
}

// Guard holds what is learned of cameras while the process lives: TLS keys,
// logins that worked, refusals. It is safe for use by several goroutines.
type Guard struct {
	opts   Options
	dialer net.Dialer
	http   *http.Transport
	budget *Budget

	mu       sync.Mutex
	ports    map[string][]string // by device: where it speaks TLS
	sessions map[origin]*session
}

// origin is what a login belongs to.
type origin struct{ device, scheme, host, port string }

// session is a login that worked and is used again without a challenge.
type session struct {
	with   fleet.Credentials
	digest *Digest // nil for Basic
	single bool    // this camera's nonces serve one request or one address only
}

// New returns a Guard. Close frees its idle connections.
func New(o Options) *Guard {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Pins == nil {
		o.Pins = &memoryPins{keys: make(map[string][]byte)}
	}
	g := &Guard{
		opts:     o,
		dialer:   net.Dialer{Timeout: connectWait, KeepAlive: 15 * time.Second},
		budget:   newBudget(o.Now),
		ports:    make(map[string][]string),
		sessions: make(map[origin]*session),
	}
	g.http = &http.Transport{
		// One connection per camera, HTTP/1 only, nothing unpacked behind the
		// body limit's back, and no proxy between an agent and its LAN.
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, fleet.Errorf(fleet.CauseProtocol, "connect: %w", err)
			}
			return g.Dial(host)(ctx, network, address)
		},
		MaxConnsPerHost:        1,
		MaxIdleConnsPerHost:    1,
		MaxIdleConns:           256,
		IdleConnTimeout:        idleWait,
		TLSHandshakeTimeout:    connectWait,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DisableCompression:     true,
		TLSNextProto:           map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
	g.http.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := g.http.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, connectWait)
		defer cancel()
		t := tls.Client(c, g.TLS(deviceIn(ctx), address))
		if err := t.HandshakeContext(ctx); err != nil {
			c.Close()
			return nil, CameraError(err, "TLS handshake with "+address)
		}
		return t, nil
	}
	return g
}

// Close closes idle connections. The Guard stays usable.
func (g *Guard) Close() { g.http.CloseIdleConnections() }

// Budget returns the login budget, which protocols with logins of their own
// (RTSP, WS-UsernameToken) ask before they send one.
func (g *Guard) Budget() *Budget { return g.budget }

// Login is who asks.
type Login struct {
	Device        string              // whose budget it is; default: the URL's host
	Credentials   []fleet.Credentials // tried in order, what worked before first
	BasicOverHTTP bool                // send Basic logins in clear: only on an operator's word
	// Readable permits logins that show the password to whoever answers, and to
	// nobody else: Basic over TLS. Cameras sign their own certificates, so at first
	// use anybody may be behind one: only for a camera that an operator has approved.
	Readable bool
	NoBasic  bool // answer a challenge for Basic alone with ErrUnusable, unless Basic has worked there
}

// Request is one HTTP exchange.
type Request struct {
	Method   string // default GET
	URL      string // http or https, without credentials
	Header   http.Header
	Body     []byte
	MaxBytes int64 // of the answer's body; default 16 MiB
	Stream   bool  // answer 2xx with Response.Stream instead of Body
	Again    bool  // a POST that may be sent twice: it is repeated once when the camera closed an idle connection under it, as GET is
}

// Response is the answer to a Request, whatever its status.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	Stream io.ReadCloser     // only with Request.Stream and a 2xx status; the caller closes it, and must before the context ends
	Auth   string            // "", "basic" or "digest": what the last request carried
	Used   fleet.Credentials // with what, when Auth is not empty
	URL    string            // where it came from, after redirects
	Key    []byte            // over TLS: SHA-256 of the SubjectPublicKeyInfo that the camera showed
}

// Do sends one request and returns the camera's answer. It follows up to three
// redirects on the same host; logs in when asked to, by the strongest Digest
// offered, else by Basic over TLS (or l.BasicOverHTTP), within the budget; and
// ends with ctx, or after 30 s when that has no deadline.
//
// A 401 that no login gets past is an error with cause needs-credentials, or
// locked when the budget is used up; the last answer, if one came, is returned
// beside it, because some cameras say in it how many tries are left.
// errors.Is(err, ErrUnusable) tells that nothing was sent to be refused. All
// other statuses are answers, not errors.
func (g *Guard) Do(ctx context.Context, l Login, r Request) (*Response, error) {
	u, err := parseURL(r.URL)
	if err != nil {
		return nil, err
	}
	r.Method = cmp.Or(r.Method, http.MethodGet)
	r.MaxBytes = cmp.Or(r.MaxBytes, defaultMaxBytes)
	l.Device = cmp.Or(l.Device, u.Hostname())
	ctx = withDevice(ctx, l.Device)
	cancel := context.CancelFunc(func() {})
	if _, ok := ctx.Deadline(); !ok {
		ctx, cancel = context.WithTimeout(ctx, exchangeWait)
	}
	for hop := 0; ; hop++ {
		res, err := g.exchange(ctx, l, r, u)
		if err != nil {
			cancel()
			return res, CameraError(err, r.Method+" "+u.Redacted())
		}
		to, err := redirect(res, u)
		if err == nil && to == nil {
			if res.Stream != nil {
				res.Stream = &stream{ReadCloser: res.Stream, left: r.MaxBytes, limit: r.MaxBytes, done: cancel}
			} else {
				cancel()
			}
			return res, nil
		}
		if err == nil && hop == maxRedirects {
			err = fleet.Errorf(fleet.CauseProtocol, "more than %d redirects", maxRedirects)
		}
		if err == nil && !g.Permits(u.Hostname(), to.Hostname()) {
			err = guarded(u.Hostname(), to.Hostname())
		}
		if err != nil {
			cancel()
			return nil, CameraError(err, r.Method+" "+u.Redacted())
		}
		if !SameHost(u.Hostname(), to.Hostname()) {
			l.Credentials = nil // an allowed host is reachable, not trusted with logins
			ctx = withDevice(ctx, to.Hostname())
		}
		if res.Status == http.StatusSeeOther {
			r.Method, r.Body = http.MethodGet, nil
		}
		u = to
	}
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// url.Error repeats its input, which may hold a password.
		return nil, fleet.Errorf(fleet.CauseProtocol, "an address that cannot be read: want http://HOST/PATH")
	case u.User != nil:
		return nil, fleet.Errorf(fleet.CauseProtocol, "address %s holds credentials: store them apart", u.Redacted())
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fleet.Errorf(fleet.CauseProtocol, "address %s: want http or https", u.Redacted())
	case u.Hostname() == "":
		return nil, fleet.Errorf(fleet.CauseProtocol, "address %s names no host", u.Redacted())
	}
	return u, nil
}

// redirect returns where the answer points to, or nil.
func redirect(res *Response, from *url.URL) (*url.URL, error) {
	switch res.Status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, nil
	}
	loc := res.Header.Get("Location")
	if loc == "" {
		return nil, nil
	}
	to, err := from.Parse(loc)
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseProtocol, "a redirect to an address that cannot be read")
	}
	to.User, to.Fragment = nil, ""
	if to, err = parseURL(to.String()); err != nil {
		return nil, err
	}
	if from.Scheme == "https" && to.Scheme == "http" {
		return nil, fleet.Errorf(fleet.CauseGuarded, "a redirect from https to http: a login would cross the network in clear")
	}
	return to, nil
}
