package guard_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// book is a Pins that outlives a Guard.
type book struct{ sync.Map }

func (b *book) Pin(device string) ([]byte, bool) {
	v, ok := b.Load(device)
	if !ok {
		return nil, false
	}
	return v.([]byte), true
}

func (b *book) SetPin(device string, spki []byte) {
	if spki == nil {
		b.Delete(device)
		return
	}
	b.Store(device, bytes.Clone(spki))
}

// TestPinnedKey: the first key is the device's, over restarts and moves; with
// another one no login leaves, and both are named.
func TestPinnedKey(t *testing.T) {
	var logins atomic.Int32
	ask := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			logins.Add(1)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(401)
	})
	one := httptest.NewTLSServer(ask)
	sum := sha256.Sum256(one.Certificate().RawSubjectPublicKeyInfo)
	pins := &book{}
	address := one.Listener.Addr().String()
	l := guard.Login{Device: "urn:uuid:7F3A", Credentials: []fleet.Credentials{login}, Readable: true}
	l.Credentials[0].User = "admin"
	for range 2 {
		g := newGuard(t, guard.Options{Pins: pins}) // the second has restarted
		res, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: one.URL})
		if err != nil || !bytes.Equal(res.Key, sum[:]) {
			t.Fatalf("key %x, %v; want %x", res.Key, err, sum)
		}
	}
	// The same device at another address has the same key.
	moved := startTLS(t, "127.0.0.1:0", one.TLS.Certificates[0])
	defer moved.Close()
	g := newGuard(t, guard.Options{Pins: pins})
	if _, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: moved.URL}); err != nil {
		t.Errorf("after a move: %v", err)
	}
	one.Close()

	other := otherKey(t)
	leaf, err := x509.ParseCertificate(other.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	now := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	two := startTLS(t, address, other)
	two.Config.Handler = ask
	defer two.Close()
	before := logins.Load()
	_, err = g.Do(within(t, 5*time.Second), l, guard.Request{URL: two.URL})
	wantCause(t, err, fleet.CauseUnauthorized)
	for _, want := range []string{hex.EncodeToString(sum[:]), hex.EncodeToString(now[:]), "cameras trust"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	if n := logins.Load() - before; n != 0 {
		t.Errorf("%d logins were sent to another key", n)
	}
	// Another device at that address is none of its business, not even on the
	// connection that is open.
	if _, err := g.Do(within(t, 5*time.Second), guard.Login{Device: "other"}, guard.Request{URL: two.URL}); causeOf(err) != fleet.CauseUnauthorized || strings.Contains(err.Error(), "TLS key") {
		t.Errorf("another device: %v", err)
	}
	_, err = g.Do(within(t, 5*time.Second), l, guard.Request{URL: two.URL})
	if err == nil || !strings.Contains(err.Error(), "TLS key") {
		t.Errorf("on the other's connection: %v", err)
	}
	g.Forget(l.Device)
	if _, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: two.URL}); err != nil {
		t.Errorf("after Forget: %v", err)
	}
}

// TestOwnersTries: a camera that is about to lock is left to its owner, unless
// the login has worked before.
func TestOwnersTries(t *testing.T) {
	var logins atomic.Int32
	var let atomic.Bool
	left := "You still have 2 attempt(s)"
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			logins.Add(1)
			if let.Load() {
				return
			}
		}
		w.Header().Set("WWW-Authenticate", `Digest realm="x", nonce="`+time.Now().String()+`", qop="auth"`)
		w.WriteHeader(401)
		_, _ = w.Write([]byte(left))
	}))
	l := guard.Login{Credentials: []fleet.Credentials{login, {User: "b", Password: "b", Version: 2}}}
	_, err := newGuard(t, guard.Options{}).Do(within(t, 5*time.Second), l, guard.Request{URL: s.URL})
	wantCause(t, err, fleet.CauseLocked)
	if logins.Load() != 0 || !strings.Contains(err.Error(), "2 tries are left") {
		t.Errorf("%d logins, %v", logins.Load(), err)
	}
	left = "You still have 3 attempt(s)"
	g := newGuard(t, guard.Options{})
	_, err = g.Do(within(t, 5*time.Second), guard.Login{Credentials: l.Credentials[:1]}, guard.Request{URL: s.URL})
	wantCause(t, err, fleet.CauseUnauthorized)
	if logins.Load() != 1 || !strings.Contains(err.Error(), "3 remaining") {
		t.Errorf("%d logins, %v", logins.Load(), err)
	}
	let.Store(true)
	if _, err = g.Do(within(t, 5*time.Second), guard.Login{Credentials: l.Credentials[:1]}, guard.Request{URL: s.URL}); err != nil {
		t.Fatal(err)
	}
	let.Store(false)
	left = "You still have 1 attempt(s)"
	before := logins.Load()
	_, err = g.Do(within(t, 5*time.Second), guard.Login{Credentials: l.Credentials}, guard.Request{URL: s.URL})
	if err == nil || logins.Load() == before {
		t.Errorf("a login that had worked was not tried: %v", err)
	}
	if n := logins.Load() - before; n > 2 {
		t.Errorf("%d logins with one try left", n)
	}
}

// TestBasicComesLast: with NoBasic a password stays at home until it is asked
// for without, and what worked is used from then on.
func TestBasicComesLast(t *testing.T) {
	var logins atomic.Int32
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); ok {
			logins.Add(1)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(401)
	}))
	defer s.Close()
	g := newGuard(t, guard.Options{})
	l := guard.Login{Credentials: []fleet.Credentials{{User: "admin", Password: "p"}}, NoBasic: true, Readable: true}
	_, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: s.URL})
	wantCause(t, err, fleet.CauseUnauthorized)
	if logins.Load() != 0 {
		t.Fatal("a password was sent")
	}
	l.NoBasic = false
	if _, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: s.URL}); err != nil {
		t.Fatal(err)
	}
	l.NoBasic = true
	if res, err := g.Do(within(t, 5*time.Second), l, guard.Request{URL: s.URL}); err != nil || res.Auth != "basic" {
		t.Errorf("after it worked: %v", err)
	}
}
