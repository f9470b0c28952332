package onvif

import (
	"bytes"
	"errors"
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

// unauthorized has every call that needs a login refused with text.
func unauthorized(text string) func(http.ResponseWriter, string) bool {
	return func(w http.ResponseWriter, op string) bool {
		if op == "GetSystemDateAndTime" || op == "GetServices" {
			return false
		}
		fault(w, http.StatusBadRequest, "Sender", "NotAuthorized", text)
		return true
	}
}

func TestTriesLeft(t *testing.T) {
	for _, c := range []struct {
		text   string
		cause  fleet.Cause
		logins int
		says   string
	}{
		{"Sender not Authorized. Invalid username or password! You still have 26 attempt(s).", fleet.CauseUnauthorized, 1, "26 attempt"},
		{"Sender not Authorized. Invalid username or password! You still have 2 attempt(s).", fleet.CauseLocked, 0, "kept for its owner"},
		{"You still have 0 attempt(s).", fleet.CauseLocked, 0, "wait"},
		{"3 attempts until the account is locked", fleet.CauseUnauthorized, 1, "3 attempts"},
	} {
		d := newCamera(t, &camera{junk: unauthorized(c.text)})
		_, err := newClient(t).Describe(within(t, 5*time.Second), d.target(admin))
		_, logins, _ := d.count()
		if !isCause(err, c.cause) || !strings.Contains(err.Error(), c.says) || logins != c.logins {
			t.Errorf("%q: %d logins, %v; want %d and %s with %q", c.text, logins, err, c.logins, c.cause, c.says)
		}
	}
}

// A camera that does not know the token has refused no login.
func TestMustUnderstand(t *testing.T) {
	d := newCamera(t, &camera{auth: "wsse", password: "x"})
	d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		d.ServeHTTP(rec, r)
		if _, _, refused := d.count(); refused > 0 {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault><s:Code><s:Value>s:MustUnderstand</s:Value></s:Code><s:Reason><s:Text>One or more mandatory SOAP header blocks not understood</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>`))
			return
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
	c := newClient(t)
	got, err := c.Describe(within(t, 5*time.Second), d.target(admin))
	if got.State != fleet.DeviceNeedsCredentials || !errors.Is(err, guard.ErrUnusable) || !strings.Contains(got.Reason, "Digest or https") {
		t.Errorf("state %s, %v", got.State, err)
	}
	if n := c.guard.Budget().Refusals("dev"); n != 0 {
		t.Errorf("%d logins are booked as refused", n)
	}
}

// One refusal after a success is the camera's, not the password's.
func TestLoneRefusal(t *testing.T) {
	d := newCamera(t, &camera{auth: "wsse", password: admin.Password.Reveal()})
	var out atomic.Bool
	deny := unauthorized("Sender not authorized")
	d.junk = func(w http.ResponseWriter, op string) bool { return out.Load() && deny(w, op) }
	c := newClient(t)
	for i, busy := range []bool{false, true, false, true, true} {
		out.Store(busy)
		got, err := c.Describe(within(t, 5*time.Second), d.target(admin))
		want := fleet.DeviceOK
		switch {
		case i == 4: // the second in a row
			want = fleet.DeviceNeedsCredentials
		case busy:
			want = fleet.DeviceUnreachable
		}
		if got.State != want {
			t.Errorf("description %d: state %s, %v; want %s", i, got.State, err, want)
		}
	}
}

// Basic is sent over TLS alone, after the token, and is remembered.
func TestBasicComesLast(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, knows := range []bool{false, true} {
			d := &camera{auth: "wsse401", password: admin.Password.Reveal()}
			var basic, tokens atomic.Int32
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rec := httptest.NewRecorder()
				if _, p, ok := r.BasicAuth(); ok {
					if basic.Add(1); p == admin.Password.Reveal() {
						// Let in, whatever SOAP asks.
						open := &camera{host: r.Host}
						open.ServeHTTP(w, r)
						return
					}
				}
				d.ServeHTTP(rec, r)
				_, logins, _ := d.count()
				tokens.Store(int32(logins))
				if rec.Code == http.StatusUnauthorized || !knows && rec.Code == http.StatusOK && logins > 0 {
					w.Header().Set("WWW-Authenticate", `Basic realm="cam"`)
					http.Error(w, "who are you", http.StatusUnauthorized)
					return
				}
				w.WriteHeader(rec.Code)
				_, _ = w.Write(rec.Body.Bytes())
			})
			start := httptest.NewServer
			if secure {
				start = httptest.NewTLSServer
			}
			d.Server = start(h)

			t.Cleanup(d.Close)
			c := newClient(t)
			got, err := c.Describe(within(t, 5*time.Second), d.target(admin))
			switch {
			case knows && (err != nil || basic.Load() != 0):
				t.Errorf("TLS %v, token known: %d passwords were sent, %v", secure, basic.Load(), err)
			case !knows && secure && (err != nil || len(got.Sources) == 0 || tokens.Load() != 1):
				t.Errorf("over TLS: %d tokens, %v", tokens.Load(), err)
			case !knows && !secure && (got.State != fleet.DeviceNeedsCredentials || basic.Load() != 0 || !strings.Contains(got.Reason, "https")):
				t.Errorf("in clear: %d passwords were sent, state %s: %v", basic.Load(), got.State, err)
			}
			if hasKey := len(got.Claims) > 0 && got.Claims[len(got.Claims)-1].Kind == fleet.ClaimTLSKey; hasKey != secure {
				t.Errorf("TLS %v: claims %v", secure, got.Claims)
			}
			before := tokens.Load()
			if _, err := c.Describe(within(t, 5*time.Second), d.target(admin)); !knows && secure && (err != nil || tokens.Load() != before) {
				t.Errorf("the second time: %d tokens more, %v", tokens.Load()-before, err)
			}
		}
	}
}

// Two clocks in one camera: the password may be right, and nobody can say.
func TestTwoClocks(t *testing.T) {
	d := newCamera(t, &camera{auth: "wsse", ahead: 2 * time.Hour, password: admin.Password.Reveal()})
	d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		d.ServeHTTP(rec, r)
		// Tokens are judged by the clock that HTTP tells; ONVIF's is local time.
		if _, logins, _ := d.count(); logins > 0 && rec.Code == http.StatusOK {
			rec = httptest.NewRecorder()
			fault(rec, http.StatusBadRequest, "Sender", "NotAuthorized", "Sender not authorized")
		}
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
	got, err := newClient(t).Describe(within(t, 5*time.Second), d.target(admin))
	if got.State != fleet.DeviceSkewed || !isCause(err, fleet.CauseUnauthorized) || !strings.Contains(got.Reason, "by HTTP") {
		t.Errorf("state %s: %s, %v", got.State, got.Reason, err)
	}
}

// Vivotek and others want a login for the time: the HTTP answer has it too.
func TestClockBehindLogin(t *testing.T) {
	d := newCamera(t, &camera{auth: "wsse", ahead: -26 * time.Minute, password: admin.Password.Reveal()})
	d.junk = func(w http.ResponseWriter, op string) bool {
		if op == "GetSystemDateAndTime" {
			fault(w, http.StatusBadRequest, "Sender", "NotAuthorized", "An error was discovered processing the wsse:Security header")
		}
		return op == "GetSystemDateAndTime"
	}
	c := newClient(t)
	got, err := c.Describe(within(t, 5*time.Second), d.target(admin))
	if err != nil || got.State != fleet.DeviceSkewed || (got.ClockSkew+26*time.Minute).Abs() > 2*time.Second {
		t.Errorf("state %s, skew %v, %v", got.State, got.ClockSkew, err)
	}
	if skew, err := c.Clock(within(t, 5*time.Second), d.target()); err != nil || (skew+26*time.Minute).Abs() > 2*time.Second {
		t.Errorf("Clock = %v, %v", skew, err)
	}
}

// Firmware that reads SOAP 1.1 alone is found out by the first call, and the
// login is asked for in its version.
func TestSOAP11(t *testing.T) {
	for _, status := range []int{http.StatusOK, http.StatusUnsupportedMediaType} {
		d := newCamera(t, &camera{auth: "wsse", password: admin.Password.Reveal()})
		var wrong atomic.Int32
		d.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			action := strings.Trim(r.Header.Get("SOAPAction"), `"`)
			if err != nil || !bytes.Contains(body, []byte(soap11NS)) || r.Header.Get("Content-Type") != "text/xml; charset=utf-8" || action == "" {
				wrong.Add(1)
				w.WriteHeader(status)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.Header.Set("Content-Type", `application/soap+xml; action="`+action+`"`)
			d.ServeHTTP(w, r)
		})
		got, err := newClient(t).Describe(within(t, 5*time.Second), d.target(admin))
		if err != nil || got.State != fleet.DeviceOK || len(got.Sources) != 2 {
			t.Errorf("state %s, %v", got.State, err)
		}
		if _, _, refused := d.count(); refused != 0 || wrong.Load() != 1 {
			t.Errorf("%d logins were refused, %d calls were not understood", refused, wrong.Load())
		}
	}
}
