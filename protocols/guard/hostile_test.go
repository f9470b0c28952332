package guard_test

import (
	"bytes"
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
			url := raw(t, tc.handle)
			var before, behind runtime.MemStats
			var took time.Duration
			var err error
			// Only who says nothing is cut short; the others end by what they say.
			d := time.Minute
			if tc.want == fleet.CauseTimeout {
				d = 500 * time.Millisecond
			}
			// On a busy machine the connection alone may take longer than that.
			for ; d <= time.Minute; d *= 2 {
				g := newGuard(t, guard.Options{})
				runtime.ReadMemStats(&before)
				began := time.Now()
				_, err = g.Do(within(t, d), guard.Login{}, guard.Request{URL: url})
				took = time.Since(began)
				runtime.ReadMemStats(&behind)
				if causeOf(err) != fleet.CauseUnreachable {
					break
				}
			}
			wantCause(t, err, tc.want)
			if took > 30*time.Second {
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
