package guard_test

import (
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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
