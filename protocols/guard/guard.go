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
// All errors are *fleet.CameraError.
package guard

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
}

// Guard holds what is learned of cameras while the process lives: TLS keys,
// logins that worked, refusals. It is safe for use by several goroutines.
type Guard struct {
	opts   Options
	dialer net.Dialer
	http   *http.Transport
	budget *Budget

	mu       sync.Mutex
	pins     map[string]pin
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
	g := &Guard{
		opts:     o,
		dialer:   net.Dialer{Timeout: connectWait, KeepAlive: 15 * time.Second},
		budget:   newBudget(o.Now),
		pins:     make(map[string]pin),
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
		t := tls.Client(c, g.TLS(address))
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
}

// Request is one HTTP exchange.
type Request struct {
	Method   string // default GET
	URL      string // http or https, without credentials
	Header   http.Header
	Body     []byte
	MaxBytes int64 // of the answer's body; default 16 MiB
	Stream   bool  // answer 2xx with Response.Stream instead of Body
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

// exchange is Do for one address, logins included.
func (g *Guard) exchange(ctx context.Context, l Login, r Request, u *url.URL) (*Response, error) {
	key := origin{l.Device, u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	var plain *Response // the answer whose challenge is to be met

	if s := g.session(key, l); s != nil && !s.single && g.budget.Try(l.Device, s.with) == nil {
		res, err := g.send(ctx, r, u, s.header(r, u), s)
		if err != nil || res.Status != http.StatusUnauthorized {
			if err == nil {
				g.accepted(key, l, s, res)
			}
			return res, err
		}
		// The nonce may be old, or serve another address only. A new challenge
		// without stale counts as a refusal until the next answer shows better;
		// one that changes nothing is the answer, and no second try is sent.
		d, stale, _ := best(challenges(res))
		if d == nil || !stale {
			g.budget.Refused(l.Device, s.with)
		}
		g.drop(key)
		plain = res
		if d == nil || s.digest != nil && d.nonce == s.digest.sentNonce() {
			return g.login(ctx, l, r, u, key, plain, &s.with)
		}
	}
	if plain == nil {
		res, err := g.send(ctx, r, u, "", nil)
		if err != nil || res.Status != http.StatusUnauthorized {
			return res, err
		}
		plain = res
	}
	return g.login(ctx, l, r, u, key, plain, nil)
}

// login answers the challenge of res with each of the credentials but refused,
// which this very exchange has tried.
func (g *Guard) login(ctx context.Context, l Login, r Request, u *url.URL, key origin, res *Response, refused *fleet.Credentials) (*Response, error) {
	if lockedOut(res.Body) {
		return res, fleet.Errorf(fleet.CauseLocked, "the camera says that it is locked after too many wrong logins: wait, or restart it")
	}
	preempted := res.Auth != ""
	known := g.candidates(l)
	if len(known) == 0 {
		return res, &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unusable{"the camera asks for a login and none is known: store credentials for it"}}
	}
	var locked error
	tried := 0
	for _, c := range known {
		if refused != nil && c == *refused {
			tried++
			continue
		}
		leave, err := g.budget.Enter(ctx, l.Device, c)
		if err != nil {
			if ce, ok := errors.AsType[*fleet.CameraError](err); ok && ce.Cause != fleet.CauseLocked {
				return res, err
			}
			locked = cmp.Or(locked, err)
			continue
		}
		next, err := g.try(ctx, l, r, u, key, res, c, preempted)
		leave()
		if err != nil || next.Status != http.StatusUnauthorized {
			return next, err
		}
		tried++
		if res = next; lockedOut(res.Body) {
			return res, fleet.Errorf(fleet.CauseLocked, "the camera says that it is locked after too many wrong logins: wait, or restart it")
		}
	}
	if tried == 0 {
		return res, locked
	}
	if c, ok := g.budget.Proven(l.Device); ok && slices.Contains(known, c) && g.budget.Refusals(l.Device) == 1 {
		return res, OnceRefused()
	}
	return res, fleet.Errorf(fleet.CauseUnauthorized, "the camera refused the login of user %q: correct its credentials", known[len(known)-1].User)
}

// candidates are the credentials worth a try, what worked before first.
func (g *Guard) candidates(l Login) []fleet.Credentials {
	known := make([]fleet.Credentials, 0, len(l.Credentials))
	for _, c := range l.Credentials {
		if !c.Empty() && !slices.Contains(known, c) {
			known = append(known, c)
		}
	}
	if c, ok := g.budget.Proven(l.Device); ok {
		if i := slices.Index(known, c); i > 0 {
			known = slices.Insert(slices.Delete(known, i, i+1), 0, c)
		}
	}
	return known
}

// try sends the request with one login. A nonce that went stale on the way is
// replaced once without being counted.
func (g *Guard) try(ctx context.Context, l Login, r Request, u *url.URL, key origin, res *Response, c fleet.Credentials, preempted bool) (*Response, error) {
	for round := 0; ; round++ {
		d, _, basic := best(challenges(res))
		s := &session{with: c, digest: d}
		switch {
		case d != nil && !hasControl(c.User):
		case basic && (u.Scheme == "https" || l.BasicOverHTTP):
			if strings.Contains(c.User, ":") {
				return res, unusableError("the user name %q holds a colon, which Basic cannot send", c.User)
			}
		case basic:
			return res, unusableError("the camera offers only Basic over plain http, which would send the password in clear: use https, or permit it for this site")
		default:
			return res, unusableError("the camera asks for a login of a kind that is not spoken here (%s)", strings.Join(schemes(res), ", "))
		}
		next, err := g.send(ctx, r, u, s.header(r, u), s)
		if err != nil {
			return next, err
		}
		if next.Status != http.StatusUnauthorized {
			// A fresh challenge worked where the kept nonce did not: this camera
			// wants one for each address, and keeping them only costs refusals.
			s.single = preempted && round == 0
			g.accepted(key, l, s, next)
			return next, nil
		}
		if _, stale, _ := best(challenges(next)); stale && round == 0 {
			res = next
			continue
		}
		g.budget.Refused(l.Device, c)
		return next, nil
	}
}

// accepted books an answer that was not 401. Only success proves a login: some
// cameras look for the page before the password, and some refuse with 403.
func (g *Guard) accepted(key origin, l Login, s *session, res *Response) {
	switch {
	case res.Status < 400:
		g.budget.Accepted(l.Device, s.with)
	case res.Status == http.StatusForbidden:
		if c, ok := g.budget.Proven(l.Device); !ok || c != s.with {
			g.budget.Refused(l.Device, s.with)
		}
		return
	default:
		return
	}
	if s.digest != nil {
		for _, info := range res.Header.Values("Authentication-Info") {
			s.digest.renew(info)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.sessions[key]; ok && old.single {
		s.single = true
	}
	if _, ok := g.sessions[key]; !ok && len(g.sessions) >= maxSessions {
		for k := range g.sessions {
			delete(g.sessions, k)
			break
		}
	}
	g.sessions[key] = s
}

// session returns the login that worked last, if it is still among l's.
func (g *Guard) session(key origin, l Login) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.sessions[key]
	if !ok || !slices.Contains(l.Credentials, s.with) {
		return nil
	}
	if s.digest == nil && key.scheme != "https" && !l.BasicOverHTTP {
		return nil
	}
	return s
}

func (g *Guard) drop(key origin) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, key)
}

func (s *session) header(r Request, u *url.URL) string {
	if s.digest != nil {
		return s.digest.Authorize(r.Method, u.RequestURI(), r.Body, s.with)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.with.User+":"+s.with.Password.Reveal()))
}

func (s *session) kind() string {
	switch {
	case s == nil:
		return ""
	case s.digest != nil:
		return "digest"
	}
	return "basic"
}

// send is one request and its answer. The body is read whole, but for a 2xx
// answer to a Stream request.
func (g *Guard) send(ctx context.Context, r Request, u *url.URL, auth string, s *session) (*Response, error) {
	ctx, w := watch(ctx)
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseProtocol, "%w", err)
	}
	if r.Header != nil {
		req.Header = r.Header.Clone()
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", "shutterfleet")
	}
	req.Header.Del("Authorization") // logins come by Login alone
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	if len(r.Body) == 0 {
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	}
	// The transport alone: a client would follow redirects and keep cookies.
	res, err := g.http.RoundTrip(req)
	if err != nil {
		return nil, w.explain(err)
	}
	out := &Response{Status: res.StatusCode, Header: res.Header, Auth: s.kind(), URL: u.String()}
	if s != nil {
		out.Used = s.with
	}
	ok := res.StatusCode >= 200 && res.StatusCode < 300
	if ok && r.Stream {
		out.Stream = res.Body
		return out, nil
	}
	defer res.Body.Close()
	limit := r.MaxBytes
	if !ok {
		limit = min(limit, maxErrorBytes)
	}
	out.Body, err = readAll(res.Body, res.ContentLength, limit)
	if err != nil && ok {
		return out, err
	}
	// A refusal whose text breaks off or never ends is still a refusal.
	return out, nil
}

// readAll reads up to limit bytes. Memory follows what has come, never what
// was promised, and is at most twice the answer.
func readAll(body io.Reader, promised, limit int64) ([]byte, error) {
	if promised > limit {
		return nil, tooLarge(limit)
	}
	const first, most = 16 << 10, 1 << 20
	var full [][]byte
	chunk := make([]byte, 0, max(min(promised, most), first)+1)
	var total int64
	for {
		n, err := body.Read(chunk[len(chunk):cap(chunk)])
		chunk = chunk[:len(chunk)+n]
		if total += int64(n); total > limit {
			return nil, tooLarge(limit)
		}
		switch {
		case err == io.EOF && full == nil:
			return chunk, nil
		case err == io.EOF:
			return bytes.Join(append(full, chunk), nil), nil
		case err != nil:
			return bytes.Join(append(full, chunk), nil), err
		case len(chunk) == cap(chunk):
			full = append(full, chunk)
			chunk = make([]byte, 0, min(2*cap(chunk), most))
		}
	}
}

// stream bounds what is read of a streamed answer.
type stream struct {
	io.ReadCloser
	left, limit int64
	done        func()
}

func (s *stream) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, tooLarge(s.limit)
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = CameraError(err, "")
	}
	return n, err
}

func (s *stream) Close() error {
	defer s.done()
	return s.ReadCloser.Close()
}

// progress tells a camera that is not there from one that is silent: the
// transport reports both as the context's end.
type progress struct{ connecting, connected atomic.Bool }

func watch(ctx context.Context) (context.Context, *progress) {
	w := &progress{}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart: func(string, string) { w.connecting.Store(true) },
		ConnectDone:  func(_, _ string, err error) { w.connecting.Store(err != nil) },
		GotConn:      func(httptrace.GotConnInfo) { w.connected.Store(true) },
	}), w
}

func (w *progress) explain(err error) error {
	if !errors.Is(err, context.DeadlineExceeded) || w.connected.Load() {
		return err
	}
	if w.connecting.Load() {
		return fleet.Errorf(fleet.CauseUnreachable, "no answer to a connect: %w", err)
	}
	return err
}

func challenges(res *Response) []Challenge {
	return ParseChallenges(res.Header.Values("WWW-Authenticate"))
}

func schemes(res *Response) []string {
	var names []string
	for _, c := range challenges(res) {
		if !slices.Contains(names, c.Scheme) {
			names = append(names, c.Scheme)
		}
	}
	if names == nil {
		return []string{"no challenge"}
	}
	return names
}

// lockedOut knows the answer of cameras that say they count no further logins:
// the userCheck document of ISAPI.
func lockedOut(body []byte) bool {
	return bytes.Contains(body, []byte("<lockStatus>lock</lockStatus>"))
}

// unusable is a text that is ErrUnusable.
type unusable struct{ text string }

func (u *unusable) Error() string        { return u.text }
func (u *unusable) Is(target error) bool { return target == ErrUnusable }

func unusableError(format string, args ...any) error {
	return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unusable{fmt.Sprintf(format, args...)}}
}
