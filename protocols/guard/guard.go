// Package guard is what all protocols share when they touch a camera: a dialer
// that goes where it was told and nowhere else, an HTTP client with limits and
// digest logins, and the budget of login attempts.
//
//	Dial ── only the target's host (SSRF rule) ── errors with a cause
//	Do   ── limits, same-host redirects, challenge ──► digest ── budget
//
// Every byte from a camera is hostile until parsed under a limit.
package guard

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options configure a Guard.
type Options struct {
	Allow []netip.Prefix   // hosts an operator permits beside the target's own
	Now   func() time.Time // default time.Now
	Log   *slog.Logger     // default: none
}

// Guard is shared by all protocols of one agent. It is safe for concurrent use.
type Guard struct {
	opts   Options
	budget *Budget
	client *http.Client

	mu       sync.Mutex
	sessions map[sessionKey]*digest // the challenge each device answered last
	keys     map[string][32]byte    // TLS key of each host, pinned at first use
}

type sessionKey struct{ device, host string }

const (
	connectTimeout  = 5 * time.Second
	defaultMaxBytes = 16 << 20
	maxHeaderBytes  = 64 << 10
	maxRedirects    = 3
	maxSessions     = 20_000
)

// New returns a guard.
func New(o Options) *Guard {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guard{opts: o, budget: newBudget(o.Now), sessions: map[sessionKey]*digest{}, keys: map[string][32]byte{}}
	g.client = &http.Client{
		Transport: &http.Transport{
			DialContext: g.dialOwn, TLSClientConfig: g.tlsConfig(), TLSHandshakeTimeout: connectTimeout,
			MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, MaxIdleConns: 256, IdleConnTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: maxHeaderBytes, DisableCompression: true, Proxy: nil,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return g
}

// Budget returns the budget of logins.
func (g *Guard) Budget() *Budget { return g.budget }

// Close drops idle connections.
func (g *Guard) Close() { g.client.CloseIdleConnections() }

type hostKey struct{}

// Dial returns a dialer for one target: it connects to host, or to what an
// operator allowed, and refuses the rest as guarded.
func (g *Guard) Dial(host string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		return g.dialOwn(context.WithValue(ctx, hostKey{}, host), network, address)
	}
}

func (g *Guard) dialOwn(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseProtocol, "address %q: %v", address, err)
	}
	own, ok := ctx.Value(hostKey{}).(string)
	if !ok || !strings.EqualFold(unbracket(host), unbracket(own)) && !g.allowed(host) {
		return nil, fleet.Errorf(fleet.CauseGuarded, "the camera at %s points to %s: an agent goes to no other host than the one that answered", own, host)
	}
	d := net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, CameraError(err, "connect to "+address)
	}
	return conn, nil
}

func unbracket(h string) string { return strings.Trim(h, "[]") }

func (g *Guard) allowed(host string) bool {
	a, err := netip.ParseAddr(unbracket(host))
	if err != nil {
		return false
	}
	for _, p := range g.opts.Allow {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// tlsConfig takes any certificate at first and only that key afterwards:
// cameras sign their own.
func (g *Guard) tlsConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS10, //nolint:gosec // old cameras know nothing newer; the alternative is no TLS
		InsecureSkipVerify: true,             //nolint:gosec // the key is pinned below
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return errors.New("the camera showed no certificate")
			}
			return g.pin(cs.ServerName, cs.PeerCertificates[0])
		},
	}
}

// TLS returns the client configuration for a camera, for protocols that are
// not HTTP.
func (g *Guard) TLS(host string) *tls.Config {
	c := g.tlsConfig()
	c.ServerName = unbracket(host)
	return c
}

func (g *Guard) pin(host string, cert *x509.Certificate) error {
	key := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	g.mu.Lock()
	defer g.mu.Unlock()
	old, ok := g.keys[host]
	if !ok {
		if len(g.keys) < maxSessions {
			g.keys[host] = key
		}
		return nil
	}
	if old != key {
		return fleet.Errorf(fleet.CauseProtocol, "the TLS key of %s is not the one it had: was the camera replaced? Restart the agent to accept it", host)
	}
	return nil
}

// Login says who logs in to what. Device is what the budget counts by.
type Login struct {
	Device        string
	Credentials   []fleet.Credentials
	BasicOverHTTP bool // send passwords in the clear, because an operator said so
}

// Request is one HTTP exchange.
type Request struct {
	Method   string // default GET
	URL      string // http or https, without credentials
	Header   http.Header
	Body     []byte
	MaxBytes int64 // of the answer; default 16 MiB
	Stream   bool  // hand over the body as it comes
}

// Response is its answer.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
	Stream io.ReadCloser     // with Request.Stream, for status 200; the caller closes it
	Auth   string            // how we logged in: "", digest, basic
	Used   fleet.Credentials // who logged in
}

// Do makes one exchange. A 401 is answered by a login within the budget: HTTP
// digest, or basic where the connection is encrypted. What is not a transport
// error is returned as a Response, whatever its status, except a 401 that no
// login could answer: that is a CameraError of cause needs-credentials or
// locked.
func (g *Guard) Do(ctx context.Context, l Login, r Request) (*Response, error) {
	u, err := url.Parse(r.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fleet.Errorf(fleet.CauseProtocol, "%q is no http address", r.URL)
	}
	if u.User != nil {
		return nil, fleet.Errorf(fleet.CauseProtocol, "the address of %s holds a login", u.Host)
	}
	r.Method, r.MaxBytes = cmp.Or(r.Method, http.MethodGet), cmp.Or(r.MaxBytes, defaultMaxBytes)
	ctx = context.WithValue(ctx, hostKey{}, u.Hostname())

	for hop := 0; ; hop++ {
		res, err := g.login(ctx, l, r, u)
		if err != nil {
			return nil, err
		}
		if res.Status < 300 || res.Status > 399 || res.Header.Get("Location") == "" || r.Method != http.MethodGet {
			return res, nil
		}
		to, err := u.Parse(res.Header.Get("Location"))
		switch {
		case err != nil || to.Scheme != "http" && to.Scheme != "https":
			return nil, fleet.Errorf(fleet.CauseProtocol, "%s redirects to no address", u.Host)
		case !strings.EqualFold(to.Hostname(), u.Hostname()):
			return nil, fleet.Errorf(fleet.CauseGuarded, "%s redirects to %s: an agent goes to no other host than the one that answered", u.Hostname(), to.Hostname())
		case hop >= maxRedirects:
			return nil, fleet.Errorf(fleet.CauseProtocol, "%s redirects in circles", u.Host)
		}
		to.User = nil
		u = to
	}
}

// login sends the request, logging in if that is asked for.
func (g *Guard) login(ctx context.Context, l Login, r Request, u *url.URL) (*Response, error) {
	key := sessionKey{l.Device, u.Host}
	g.mu.Lock()
	d := g.sessions[key]
	g.mu.Unlock()
	if d != nil && !holds(l.Credentials, d.creds) {
		d = nil // the credentials have changed
	}
	if d != nil && g.budget.Try(l.Device, d.creds) != nil {
		d = nil
	}
	auth := ""
	if d != nil {
		auth = d.authorize(r.Method, u.RequestURI(), r.Body)
	}
	res, err := g.exchange(ctx, r, u, auth)
	if err != nil {
		return nil, err
	}
	if res.Status != http.StatusUnauthorized {
		if d != nil {
			res.Auth, res.Used = d.scheme, d.creds
			g.budget.Accepted(l.Device, d.creds)
		}
		return res, nil
	}
	if d != nil {
		// Refused with an old nonce: that is no attempt if the server says
		// stale, or offers a new one; the retry below counts.
		g.forget(key)
		if next := choose(res.Header, u.Scheme == "https" || l.BasicOverHTTP); next == nil || next.nonce == d.nonce && !next.stale {
			g.budget.Refused(l.Device, d.creds)
		}
	}
	if len(l.Credentials) == 0 {
		return nil, fleet.Errorf(fleet.CauseUnauthorized, "%s wants a login and none is known: `shutterfleet creds put`", u.Host)
	}
	var last error
	for _, c := range l.Credentials {
		next := choose(res.Header, u.Scheme == "https" || l.BasicOverHTTP)
		if next == nil {
			return nil, fleet.Errorf(fleet.CauseUnauthorized, "%s offers no login that keeps the password secret (only %s)", u.Host, strings.Join(res.Header.Values("WWW-Authenticate"), "; "))
		}
		if err := g.budget.Try(l.Device, c); err != nil {
			last = err
			continue
		}
		next.creds = c
		again, err := g.exchange(ctx, r, u, next.authorize(r.Method, u.RequestURI(), r.Body))
		if err != nil {
			return nil, err
		}
		if again.Status != http.StatusUnauthorized {
			g.budget.Accepted(l.Device, c)
			g.remember(key, next)
			again.Auth, again.Used = next.scheme, c
			return again, nil
		}
		g.budget.Refused(l.Device, c)
		last = fleet.Errorf(fleet.CauseUnauthorized, "%s refuses the login of %q: check user and password", u.Host, c.User)
		res = again
	}
	return nil, last
}

func holds(cs []fleet.Credentials, c fleet.Credentials) bool {
	for _, x := range cs {
		if x == c {
			return true
		}
	}
	return false
}

func (g *Guard) remember(k sessionKey, d *digest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.sessions) >= maxSessions {
		clear(g.sessions)
	}
	g.sessions[k] = d
}

func (g *Guard) forget(k sessionKey) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, k)
}

// exchange sends one request.
func (g *Guard) exchange(ctx context.Context, r Request, u *url.URL, auth string) (*Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		cancel()
		return nil, fleet.Errorf(fleet.CauseProtocol, "request to %s: %v", u.Host, err)
	}
	for k, v := range r.Header {
		req.Header[k] = v
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "shutterfleet")
	}
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	res, err := g.client.Do(req)
	if err != nil {
		cancel()
		return nil, CameraError(err, "ask "+u.Host)
	}
	out := &Response{Status: res.StatusCode, Header: res.Header}
	if r.Stream && res.StatusCode == http.StatusOK {
		out.Stream = &stream{ReadCloser: res.Body, cancel: cancel}
		return out, nil
	}
	defer cancel()
	defer res.Body.Close() //nolint:errcheck // read as far as wanted
	if res.ContentLength > r.MaxBytes {
		return nil, fleet.Errorf(fleet.CauseTooLarge, "%s answers with %d bytes, at most %d are read", u.Host, res.ContentLength, r.MaxBytes)
	}
	var b bytes.Buffer
	if res.ContentLength > 0 {
		b.Grow(int(min(res.ContentLength+bytes.MinRead, 1<<20)))
	}
	n, err := b.ReadFrom(io.LimitReader(res.Body, r.MaxBytes+1))
	switch {
	case n > r.MaxBytes:
		return nil, fleet.Errorf(fleet.CauseTooLarge, "%s answers with more than %d bytes", u.Host, r.MaxBytes)
	case err != nil && errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fleet.Errorf(fleet.CauseCorrupt, "the answer of %s ends after %d of %d bytes", u.Host, n, res.ContentLength)
	case err != nil:
		return nil, CameraError(err, "read from "+u.Host)
	}
	out.Body = b.Bytes()
	return out, nil
}

// stream ends its request when it is closed.
type stream struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (s *stream) Close() error {
	s.cancel()
	return s.ReadCloser.Close()
}

// CameraError gives an error of the network its cause. An error that has one
// keeps it.
func CameraError(err error, doing string) error {
	if err == nil {
		return nil
	}
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce
	}
	var dns *net.DNSError
	cause := fleet.CauseProtocol
	var ne net.Error
	switch {
	case errors.As(err, &dns):
		return fleet.Errorf(fleet.CauseUnreachable, "%s: no such host: %s", doing, dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fleet.Errorf(fleet.CauseRefused, "%s: connection refused", doing)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fleet.Errorf(fleet.CauseRefused, "%s: the camera closed the connection", doing)
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return fleet.Errorf(fleet.CauseUnreachable, "%s: no route to it", doing)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return fleet.Errorf(fleet.CauseTimeout, "%s: no answer in time", doing)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fleet.Errorf(cause, "%s: the camera hung up without an answer", doing)
	case errors.Is(err, context.Canceled):
		cause = fleet.CauseDeadline
	}
	// url.Error repeats the whole URL: the part after it says what happened.
	if ue, ok := errors.AsType[*url.Error](err); ok {
		err = ue.Err
	}
	return &fleet.CameraError{Cause: cause, Err: fmt.Errorf("%s: %w", doing, err)}
}
