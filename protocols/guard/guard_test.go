package guard_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

var login = fleet.Credentials{User: `ad"min`, Password: `p:ä%"\ss`, Version: 1}

// digestDoor is a server side of Digest that is written from RFC 7616 apart
// from the client's, and counts what it refuses.
type digestDoor struct {
	algorithm, qop string
	user, password string
	refused        atomic.Int32 // requests with credentials
	asked          atomic.Int32 // requests without
	nonce          atomic.Int32
	perRequest     bool // each nonce serves one request
	perPath        bool // each nonce serves one path
	staleEvery     bool
}

func (d *digestDoor) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Get("Authorization")
		if h == "" {
			d.asked.Add(1)
			d.challenge(w, r, false)
			return
		}
		cs := guard.ParseChallenges([]string{h})
		if len(cs) != 1 || cs[0].Scheme != "digest" {
			d.refused.Add(1)
			d.challenge(w, r, false)
			return
		}
		p := cs[0].Params
		sum := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
		ha1 := sum(d.user + ":the realm:" + d.password)
		mid := p["nonce"]
		if d.qop != "" {
			mid += ":" + p["nc"] + ":" + p["cnonce"] + ":" + p["qop"]
		}
		want := sum(ha1 + ":" + mid + ":" + sum(r.Method+":"+r.RequestURI))
		fresh := p["nonce"] == d.current(r)
		switch {
		case p["response"] != want || p["username"] != d.user:
			d.refused.Add(1)
			d.challenge(w, r, false)
		case !fresh:
			d.refused.Add(1)
			d.challenge(w, r, d.staleEvery)
		default:
			if d.perRequest {
				d.nonce.Add(1)
			}
			next.ServeHTTP(w, r)
		}
	})
}

func (d *digestDoor) current(r *http.Request) string {
	n := fmt.Sprintf("nonce-%d", d.nonce.Load())
	if d.perPath {
		n += r.URL.Path
	}
	return n
}

func (d *digestDoor) challenge(w http.ResponseWriter, r *http.Request, stale bool) {
	h := fmt.Sprintf(`Digest realm="the realm", nonce="%s", opaque=""`, d.current(r))
	if d.qop != "" {
		h += `, qop="` + d.qop + `"`
	}
	if d.algorithm != "" {
		h += `, algorithm=` + d.algorithm
	}
	if stale {
		h += `, stale=true`
	}
	w.Header().Set("WWW-Authenticate", h)
	http.Error(w, "who are you", http.StatusUnauthorized)
}

func hello(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

func newGuard(t *testing.T, o guard.Options) *guard.Guard {
	t.Helper()
	g := guard.New(o)
	t.Cleanup(g.Close)
	return g
}

func serve(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func causeOf(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

func wantCause(t *testing.T, err error, want fleet.Cause) {
	t.Helper()
	if causeOf(err) != want {
		t.Fatalf("error %v has cause %q, want %q", err, causeOf(err), want)
	}
}

func TestDigestLogin(t *testing.T) {
	for _, tc := range []struct{ name, qop, algorithm string }{
		{"RFC 2069", "", ""}, {"qop auth", "auth", ""}, {"auth and auth-int", "auth,auth-int", "MD5"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			door := &digestDoor{qop: tc.qop, algorithm: tc.algorithm, user: login.User, password: login.Password.Reveal()}
			s := serve(t, door.wrap(http.HandlerFunc(hello)))
			g := newGuard(t, guard.Options{})
			for range 3 {
				res, err := g.Do(within(t, 5*time.Second), guard.Login{Device: "cam", Credentials: []fleet.Credentials{login}}, guard.Request{URL: s.URL + "/a?b=c%20d"})
				if err != nil {
					t.Fatal(err)
				}
				if string(res.Body) != "hello" || res.Auth != "digest" || res.Used != login {
					t.Fatalf("answer %d %q by %q", res.Status, res.Body, res.Auth)
				}
			}
			if door.asked.Load() != 1 || door.refused.Load() != 0 {
				t.Errorf("%d requests without a login and %d refused ones, want 1 and 0: the nonce is kept", door.asked.Load(), door.refused.Load())
			}
		})
	}
}

func TestNonceThatServesOnce(t *testing.T) {
	door := &digestDoor{qop: "auth", user: login.User, password: login.Password.Reveal(), perRequest: true}
	s := serve(t, door.wrap(http.HandlerFunc(hello)))
	g := newGuard(t, guard.Options{})
	for range 10 {
		if _, err := g.Do(within(t, 5*time.Second), guard.Login{Device: "cam", Credentials: []fleet.Credentials{login}}, guard.Request{URL: s.URL}); err != nil {
			t.Fatal(err)
		}
	}
	if n := door.refused.Load(); n != 1 {
		t.Errorf("%d refused requests in ten, want 1: after that no nonce is kept", n)
	}
}

func TestNonceBoundToItsPath(t *testing.T) {
	door := &digestDoor{qop: "auth", user: login.User, password: login.Password.Reveal(), perPath: true}
	s := serve(t, door.wrap(http.HandlerFunc(hello)))
	g := newGuard(t, guard.Options{})
	for i := range 10 {
		if _, err := g.Do(within(t, 5*time.Second), guard.Login{Device: "cam", Credentials: []fleet.Credentials{login}}, guard.Request{URL: fmt.Sprint(s.URL, "/", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if n := door.refused.Load(); n != 1 {
		t.Errorf("%d refused requests in ten, want 1", n)
	}
}

func TestStaleNonceCostsNothing(t *testing.T) {
	door := &digestDoor{qop: "auth", user: login.User, password: login.Password.Reveal(), staleEvery: true}
	s := serve(t, door.wrap(http.HandlerFunc(hello)))
	g := newGuard(t, guard.Options{})
	for range 8 {
		if _, err := g.Do(within(t, 5*time.Second), guard.Login{Device: "cam", Credentials: []fleet.Credentials{login}}, guard.Request{URL: s.URL}); err != nil {
			t.Fatal(err)
		}
		door.nonce.Add(1)
	}
	if err := g.Budget().Try("cam", fleet.Credentials{User: "other", Version: 7}); err != nil {
		t.Errorf("stale nonces used the budget up: %v", err)
	}
}

// A wrong password reaches the camera twice in all, over any number of requests.
func TestWrongPasswordStops(t *testing.T) {
	door := &digestDoor{qop: "auth", user: "someone", password: "else"}
	s := serve(t, door.wrap(http.HandlerFunc(hello)))
	g := newGuard(t, guard.Options{})
	var causes []fleet.Cause
	for range 5 {
		res, err := g.Do(within(t, 5*time.Second), guard.Login{Device: "cam", Credentials: []fleet.Credentials{login}}, guard.Request{URL: s.URL})
		if res == nil || res.Status != 401 {
			t.Fatalf("the refusal's answer is %v, want the 401", res)
		}
		if strings.Contains(err.Error(), login.Password.Reveal()) {
			t.Fatalf("error %q shows the password", err)
		}
		causes = append(causes, causeOf(err))
	}
	if got := fmt.Sprint(causes); got != "[needs-credentials needs-credentials locked locked locked]" {
		t.Errorf("causes %s", got)
	}
	if n := door.refused.Load(); n != 2 {
		t.Errorf("the camera refused %d logins, want 2", n)
	}
	// The second of two credentials is still allowed one: three per device.
	two := guard.Login{Device: "cam", Credentials: []fleet.Credentials{login, {User: "b", Password: "b", Version: 2}, {User: "c", Password: "c", Version: 3}}}
	_, err := g.Do(within(t, 5*time.Second), two, guard.Request{URL: s.URL})
	wantCause(t, err, fleet.CauseUnauthorized)
	if n := door.refused.Load(); n != 3 {
		t.Errorf("the camera refused %d logins, want 3", n)
	}
}

// The right one of several credentials is found, and goes first from then on.
func TestSeveralCredentials(t *testing.T) {
	door := &digestDoor{qop: "auth", user: login.User, password: login.Password.Reveal(), perRequest: true}
	s := serve(t, door.wrap(http.HandlerFunc(hello)))
	g := newGuard(t, guard.Options{})
	l := guard.Login{Device: "cam", Credentials: []fleet.Credentials{{User: "x", Password: "y", Version: 9}, login}}
	for range 3 {
		if res, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: s.URL}); err != nil || res.Used != login {
			t.Fatalf("Do = %v, %v", res, err)
		}
	}
	if n := door.refused.Load(); n > 2 {
		t.Errorf("%d refused logins, want the wrong one once and a used nonce once", n)
	}
}

// One 401 to a login that has worked is a camera short of connections.
func TestLoneRefusalAfterSuccess(t *testing.T) {
	var deny atomic.Bool
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" || deny.Load() {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(401)
		}
	}))
	g := newGuard(t, guard.Options{})
	l := guard.Login{Device: "cam", Credentials: []fleet.Credentials{login}, BasicOverHTTP: true}
	l.Credentials[0].User = "admin"
	if _, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: s.URL}); err != nil {
		t.Fatal(err)
	}
	deny.Store(true)
	_, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: s.URL})
	wantCause(t, err, fleet.CauseRefused)
	deny.Store(false)
	if _, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: s.URL}); err != nil {
		t.Errorf("after the camera recovered: %v", err)
	}
}

func TestBasicOnlyOverTLS(t *testing.T) {
	var sent atomic.Int32
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); ok {
			sent.Add(1)
			if u == "admin" && p == login.Password.Reveal() {
				return
			}
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(401)
	})
	l := guard.Login{Credentials: []fleet.Credentials{{User: "admin", Password: login.Password}}}
	clear := serve(t, h)
	g := newGuard(t, guard.Options{})
	_, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: clear.URL})
	wantCause(t, err, fleet.CauseUnauthorized)
	if !errors.Is(err, guard.ErrUnusable) || sent.Load() != 0 {
		t.Fatalf("%d passwords were sent in clear, error %v", sent.Load(), err)
	}
	secure := httptest.NewTLSServer(h)
	defer secure.Close()
	_, err = g.Do(within(t, 5*time.Second), l, guard.Request{URL: secure.URL})
	wantCause(t, err, fleet.CauseUnauthorized)
	if !errors.Is(err, guard.ErrUnusable) || sent.Load() != 0 {
		t.Fatalf("%d passwords were shown to whoever answers, error %v", sent.Load(), err)
	}
	l.Readable = true
	res, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: secure.URL})
	if err != nil || res.Auth != "basic" {
		t.Fatalf("over TLS: %v, %v", res, err)
	}
	l.BasicOverHTTP = true
	if _, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: clear.URL}); err != nil {
		t.Fatalf("with BasicOverHTTP: %v", err)
	}
}

func TestNoLoginKnown(t *testing.T) {
	door := &digestDoor{}
	s := serve(t, door.wrap(http.HandlerFunc(hello)))
	_, err := newGuard(t, guard.Options{}).Do(within(t, 5*time.Second), guard.Login{}, guard.Request{URL: s.URL})
	wantCause(t, err, fleet.CauseUnauthorized)
	if !errors.Is(err, guard.ErrUnusable) {
		t.Errorf("error %v is not ErrUnusable", err)
	}
}

func TestCameraSaysLocked(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Digest realm="x", nonce="n", qop="auth"`)
		w.WriteHeader(401)
		io.WriteString(w, "<userCheck><statusValue>401</statusValue><lockStatus>lock</lockStatus><unlockTime>1658</unlockTime></userCheck>")
	}))
	_, err := newGuard(t, guard.Options{}).Do(within(t, 5*time.Second), guard.Login{Credentials: []fleet.Credentials{login}}, guard.Request{URL: s.URL})
	wantCause(t, err, fleet.CauseLocked)
}

func TestRedirects(t *testing.T) {
	other := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was asked for %s", r.URL)
	}))
	elsewhere := strings.Replace(other.URL, "127.0.0.1", "127.0.0.2", 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/picture", hello)
	to := func(path, where string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, where, http.StatusFound) })
	}
	to("/once", "/picture")
	to("/1", "/2")
	to("/2", "/3")
	to("/3", "/picture")
	to("/0", "/1")
	to("/elsewhere", elsewhere+"/x")
	to("/name", "http://localhost:1/x")
	to("/scheme", "gopher://127.0.0.1/")
	to("/user", "http://a:b@127.0.0.1:1/")
	s := serve(t, mux)
	g := newGuard(t, guard.Options{})
	for path, want := range map[string]fleet.Cause{
		"/once": "", "/1": "", "/0": fleet.CauseProtocol, "/elsewhere": fleet.CauseGuarded, "/name": fleet.CauseGuarded,
		"/scheme": fleet.CauseProtocol, "/user": fleet.CauseRefused,
	} {
		_, err := g.Do(within(t, 5*time.Second), guard.Login{Credentials: []fleet.Credentials{login}}, guard.Request{URL: s.URL + path})
		if causeOf(err) != want {
			t.Errorf("GET %s: %v (%s), want %q", path, err, causeOf(err), want)
		}
	}
}

// An allowed host is reached, but never with the camera's login.
func TestRedirectToAnAllowedHost(t *testing.T) {
	var got atomic.Pointer[http.Header]
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skip("127.0.0.2 is not on this machine's loopback")
	}
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store(&r.Header)
		w.Header().Set("WWW-Authenticate", `Digest realm="x", nonce="n", qop="auth"`)
		w.WriteHeader(401)
	}))
	other.Listener.Close()
	other.Listener = l
	other.Start()
	defer other.Close()
	door := &digestDoor{qop: "auth", user: login.User, password: login.Password.Reveal()}
	s := serve(t, door.wrap(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect)))
	g := newGuard(t, guard.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	_, err = g.Do(within(t, 5*time.Second), guard.Login{Device: "cam", Credentials: []fleet.Credentials{login}}, guard.Request{URL: s.URL})
	wantCause(t, err, fleet.CauseUnauthorized)
	if h := got.Load(); h == nil || h.Get("Authorization") != "" {
		t.Errorf("the allowed host got %v", h)
	}
}

func TestDialGoesNowhereElse(t *testing.T) {
	s := serve(t, http.HandlerFunc(hello))
	address := s.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	g := newGuard(t, guard.Options{})
	c, err := g.Dial("127.0.0.1")(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	for _, host := range []string{"127.0.0.2", "camera.example", "", "127.0.0.1.evil"} {
		_, err := g.Dial(host)(t.Context(), "tcp", address)
		wantCause(t, err, fleet.CauseGuarded)
	}
	_, err = g.Dial("127.0.0.1")(t.Context(), "tcp", "localhost:"+port)
	wantCause(t, err, fleet.CauseGuarded)
	wide := newGuard(t, guard.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if c, err = wide.Dial("10.1.1.1")(t.Context(), "tcp", address); err != nil {
		t.Fatalf("an allowed host: %v", err)
	}
	c.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	_, err = g.Dial("127.0.0.1")(t.Context(), "tcp", closed)
	wantCause(t, err, fleet.CauseRefused)
}

func TestSameHost(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"10.0.0.1", "10.0.0.1", true}, {"::ffff:10.0.0.1", "10.0.0.1", true}, {"[fe80::1%eth0]", "fe80::1%eth0", true},
		{"fe80::1%eth0", "fe80::1%eth1", false}, {"Cam.local.", "cam.LOCAL", true}, {"cam", "cam2", false}, {"", "", false},
	} {
		if got := guard.SameHost(tc.a, tc.b); got != tc.want {
			t.Errorf("SameHost(%q, %q) = %v", tc.a, tc.b, got)
		}
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	g := newGuard(t, guard.Options{})
	for _, u := range []string{"", "://", "ftp://127.0.0.1/", "http:///x", "http://u:hunter2@127.0.0.1/", "http://127.0.0.1:x/"} {
		_, err := g.Do(t.Context(), guard.Login{}, guard.Request{URL: u})
		wantCause(t, err, fleet.CauseProtocol)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %q shows the password", err)
		}
	}
}

// raw is a server that does with each connection what it is told.
func raw(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); handle(c) }()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String()
}

func endless(c net.Conn, what string) {
	block := bytes.Repeat([]byte(what), 1+32<<10/len(what))
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// Each hostile server ends in a named failure before its deadline, in little memory.
func TestHostileServers(t *testing.T) {
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	after := func(text string, then func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			c.Read(make([]byte, 4096))
			io.WriteString(c, text)
			if then != nil {
				then(c)
			}
		}
	}
	for _, tc := range []struct {
		name   string
		handle func(net.Conn)
		want   fleet.Cause
	}{
		{"accepts and says nothing", silent, fleet.CauseTimeout},
		{"half a header", after("HTTP/1.1 200 OK\r\nX-A: ", silent), fleet.CauseTimeout},
		{"half a body", after("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", silent), fleet.CauseTimeout},
		{"hangs up", func(c net.Conn) { c.Read(make([]byte, 4096)) }, fleet.CauseRefused},
		{"hangs up in the body", after("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", nil), fleet.CauseProtocol},
		{"no HTTP", after("SSH-2.0-OpenSSH_9.2\r\n", nil), fleet.CauseProtocol},
		{"header flood", after("HTTP/1.1 200 OK\r\n", func(c net.Conn) { endless(c, "X-Flood: 1234567890\r\n") }), fleet.CauseTooLarge},
		{"one endless header", after("HTTP/1.1 200 OK\r\nX: ", func(c net.Conn) { endless(c, "aaaaaaaaaaaaaaaa") }), fleet.CauseTooLarge},
		{"100 MB promised", after("HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n", func(c net.Conn) { endless(c, "x") }), fleet.CauseTooLarge},
		{"100 MB without a length", after("HTTP/1.1 200 OK\r\n\r\n", func(c net.Conn) { endless(c, "x") }), fleet.CauseTooLarge},
		{"continues for ever", after("", func(c net.Conn) { endless(c, "HTTP/1.1 100 Continue\r\n\r\n") }), fleet.CauseTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			g := newGuard(t, guard.Options{})
			url := raw(t, tc.handle)
			var before, behind runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			ctx := within(t, 500*time.Millisecond)
			if tc.want == fleet.CauseTooLarge {
				ctx = within(t, 10*time.Second)
			}
			_, err := g.Do(ctx, guard.Login{}, guard.Request{URL: url})
			took := time.Since(began)
			runtime.ReadMemStats(&behind)
			wantCause(t, err, tc.want)
			if took > 8*time.Second {
				t.Errorf("took %v", took)
			}
			if n := behind.TotalAlloc - before.TotalAlloc; n > 32<<20 {
				t.Errorf("%d bytes were allocated, want less than 32 MiB", n)
			}
		})
	}
}

func TestUnreachableHost(t *testing.T) {
	// A full backlog answers no SYN, as a host that is not there does not.
	address := fullBacklog(t)
	g := newGuard(t, guard.Options{})
	_, err := g.Do(within(t, 300*time.Millisecond), guard.Login{}, guard.Request{URL: "http://" + address})
	wantCause(t, err, fleet.CauseUnreachable)
	_, err = g.Dial("127.0.0.1")(within(t, 300*time.Millisecond), "tcp", address)
	wantCause(t, err, fleet.CauseUnreachable)
}

func TestStream(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			http.NotFound(w, r)
			return
		}
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1000)); err != nil {
				return
			}
		}
	}))
	g := newGuard(t, guard.Options{})
	res, err := g.Do(t.Context(), guard.Login{}, guard.Request{URL: s.URL, Stream: true, MaxBytes: 5000})
	if err != nil || res.Stream == nil {
		t.Fatalf("Do = %v, %v", res, err)
	}
	n, err := io.Copy(io.Discard, res.Stream)
	res.Stream.Close()
	if n != 5000 || causeOf(err) != fleet.CauseTooLarge {
		t.Errorf("%d bytes and %v, want 5000 and too-large", n, err)
	}
	res, err = g.Do(t.Context(), guard.Login{}, guard.Request{URL: s.URL + "/none", Stream: true})
	if err != nil || res.Stream != nil || res.Status != 404 || !bytes.Contains(res.Body, []byte("not found")) {
		t.Errorf("a 404 to a stream request = %+v, %v", res, err)
	}
}

func TestOneConnectionPerCamera(t *testing.T) {
	var open, most atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		switch st {
		case http.StateNew:
			if n := open.Add(1); n > most.Load() {
				most.Store(n)
			}
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	s.Start()
	defer s.Close()
	g := newGuard(t, guard.Options{})
	errs := make(chan error, 20)
	for range 20 {
		go func() {
			_, err := g.Do(within(t, 10*time.Second), guard.Login{}, guard.Request{URL: s.URL})
			errs <- err
		}()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if most.Load() != 1 {
		t.Errorf("%d connections at once, want 1", most.Load())
	}
}

func TestCameraError(t *testing.T) {
	if guard.CameraError(nil, "x") != nil {
		t.Error("nil did not stay nil")
	}
	in := fleet.Errorf(fleet.CauseNoKeyframe, "none")
	err := guard.CameraError(fmt.Errorf("deeper: %w", in), "grab 100%")
	wantCause(t, err, fleet.CauseNoKeyframe)
	if err.Error() != "grab 100%: deeper: none" {
		t.Errorf("text %q", err)
	}
	for _, tc := range []struct {
		err  error
		want fleet.Cause
	}{
		{context.DeadlineExceeded, fleet.CauseTimeout}, {context.Canceled, fleet.CauseDeadline},
		{io.EOF, fleet.CauseRefused}, {io.ErrUnexpectedEOF, fleet.CauseProtocol}, {errors.New("odd"), fleet.CauseProtocol},
		{&net.DNSError{Err: "no such host", Name: "cam", IsNotFound: true}, fleet.CauseUnreachable},
	} {
		got := guard.CameraError(tc.err, "")
		wantCause(t, got, tc.want)
		if !errors.Is(got, tc.err) {
			t.Errorf("%v lost %v", got, tc.err)
		}
	}
}

func ExampleGuard_Do() {
	camera := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no picture here", http.StatusNotFound)
	}))
	defer camera.Close()
	g := guard.New(guard.Options{})
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	res, err := g.Do(ctx, guard.Login{Device: "urn:uuid:1"}, guard.Request{URL: camera.URL})
	fmt.Println(res.Status, err)
	// Output: 404 <nil>
}
