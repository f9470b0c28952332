package onvif

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

func newClient(t *testing.T) *Client {
	g := guard.New(guard.Options{})
	t.Cleanup(g.Close)
	return New(g, Options{})
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

var admin = fleet.Credentials{User: "admin", Password: `p&<ö"`, Version: 1}

func TestDescribe(t *testing.T) {
	for _, auth := range []string{"", "digest", "wsse", "wsse401"} {
		for _, ahead := range []time.Duration{0, -200 * 24 * time.Hour, 20 * time.Second} {
			t.Run(fmt.Sprintf("%s %v", auth, ahead), func(t *testing.T) {
				// It calls itself by an address that nobody else knows.
				d := newCamera(t, &camera{auth: auth, ahead: ahead, password: admin.Password.Reveal()})
				_, port, _ := strings.Cut(d.Listener.Addr().String(), ":")
				d.host = "192.168.77.9:" + port
				c := newClient(t)
				got, err := c.Describe(within(t, 10*time.Second), d.target(admin))
				if err != nil {
					t.Fatal(err)
				}
				if off := (got.ClockSkew - ahead).Abs(); off > 2*time.Second {
					t.Errorf("skew %v, want %v", got.ClockSkew, ahead)
				}
				state := fleet.DeviceOK
				if ahead.Abs() > 5*time.Minute {
					state = fleet.DeviceSkewed
				}
				if noted := strings.Contains(got.Reason, "clock"); got.State != state || noted != (ahead != 0) {
					t.Errorf("state %s: %s", got.State, got.Reason)
				}
				if got.Key != "dev" || got.Name != "Gate 1" || got.Vendor != "Acme" || got.Model != "M1" || got.Firmware != "1.2" || got.Serial != "S9" {
					t.Errorf("device %+v", got)
				}
				if want := []fleet.Claim{{Kind: fleet.ClaimSerial, Value: "S9"}, {Kind: fleet.ClaimMAC, Value: "02:aa:bb:cc:dd:ee"}}; !slices.Equal(got.Claims, want) {
					t.Errorf("claims %v", got.Claims)
				}
				if want := []netip.Addr{netip.MustParseAddr("127.0.0.1")}; !slices.Equal(got.Addresses, want) {
					t.Errorf("addresses %v", got.Addresses)
				}
				if len(got.Sources) != 2 || len(got.Sources[0].Profiles) != 2 || got.Sources[1].Token != "vs1" {
					t.Fatalf("sources %+v", got.Sources)
				}
				p := got.Sources[0].Profiles[0]
				want := []fleet.Endpoint{
					{Protocol: fleet.Snapshot, URL: d.URL + "/snap?p=main"},
					{Protocol: fleet.RTSP, URL: "rtsp://127.0.0.1:5540/main"},
				}
				if p.Token != "main" || p.Codec != fleet.H265 || p.Width != 3840 || p.Height != 2160 || !slices.Equal(p.Endpoints, want) {
					t.Errorf("profile %+v", p)
				}
				if _, _, refused := d.count(); refused != 0 {
					t.Errorf("%d logins were refused", refused)
				}
				// The second time the winner is known: no call is refused first.
				before, _, _ := d.count()
				if _, err := c.Describe(within(t, 10*time.Second), d.target(admin)); err != nil {
					t.Fatal(err)
				}
				after, _, _ := d.count()
				if n, want := len(after)-len(before), 13; auth != "digest" && n != want {
					t.Errorf("%d calls, want %d: %v", n, want, after[len(before):])
				}
			})
		}
	}
}

// What go2rtc and small servers have is enough.
func TestDescribeWithLittle(t *testing.T) {
	d := newCamera(t, &camera{lacks: []string{"GetServices", "Media2", "GetScopes", "GetNetworkInterfaces", "GetDeviceInformation", "GetSystemDateAndTime", "GetSnapshotUri"}})
	got, err := newClient(t).Describe(within(t, 10*time.Second), d.target())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Sources) != 1 || len(got.Sources[0].Profiles) != 1 || len(got.Sources[0].Profiles[0].Endpoints) != 1 {
		t.Fatalf("sources %+v", got.Sources)
	}
}

func TestDescribeLoginRefused(t *testing.T) {
	wrong := fleet.Credentials{User: "admin", Password: "hunter2", Version: 3}
	for _, auth := range []string{"digest", "wsse", "wsse401"} {
		t.Run(auth, func(t *testing.T) {
			d := newCamera(t, &camera{auth: auth, password: "right"})
			c := newClient(t)
			for i, want := range []fleet.DeviceState{fleet.DeviceNeedsCredentials, fleet.DeviceNeedsCredentials, fleet.DeviceLocked, fleet.DeviceLocked} {
				got, err := c.Describe(within(t, 10*time.Second), d.target(wrong))
				if err == nil || got.State != want || got.Reason == "" {
					t.Errorf("try %d: state %s, %v; want %s", i, got.State, err, want)
				}
				if err != nil && strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v shows the password", err)
				}
			}
			if _, logins, refused := d.count(); logins != 2 || refused != 2 {
				t.Errorf("%d logins, %d refused; want 2", logins, refused)
			}
			// New credentials have tries of their own, as far as the device has any.
			got, err := c.Describe(within(t, 10*time.Second), d.target(fleet.Credentials{User: "admin", Password: "right", Version: 4}))
			if err != nil || got.State != fleet.DeviceOK {
				t.Errorf("state %s, %v", got.State, err)
			}
		})
	}
}

func TestDescribeNoLogin(t *testing.T) {
	for _, auth := range []string{"digest", "wsse", "wsse401"} {
		d := newCamera(t, &camera{auth: auth, password: "x", ahead: time.Hour})
		got, err := newClient(t).Describe(within(t, 10*time.Second), d.target())
		if err == nil || got.State != fleet.DeviceNeedsCredentials || !strings.Contains(got.Reason, "none is known") {
			t.Errorf("%s: state %s: %s, %v", auth, got.State, got.Reason, err)
		}
		if _, logins, _ := d.count(); logins != 0 || (got.ClockSkew-time.Hour).Abs() > 2*time.Second {
			t.Errorf("%s: %d logins, skew %v", auth, logins, got.ClockSkew)
		}
	}
}

func TestDescribeFailures(t *testing.T) {
	for _, c := range []struct {
		name  string
		junk  func(w http.ResponseWriter, op string) bool
		cause fleet.Cause
	}{
		{"no ONVIF here", func(w http.ResponseWriter, _ string) bool { w.WriteHeader(404); return true }, fleet.CauseNotFound},
		{"a web page", func(w http.ResponseWriter, _ string) bool {
			io.WriteString(w, "<html><body>hi</body></html>")
			return true
		}, fleet.CauseProtocol},
		{"locked", func(w http.ResponseWriter, op string) bool {
			if op == "GetProfiles" {
				fault(w, 400, "Sender", "NotAuthorized", "user is locked")
			}
			return op == "GetProfiles"
		}, fleet.CauseLocked},
		{"busy", func(w http.ResponseWriter, _ string) bool { w.WriteHeader(503); return true }, fleet.CauseRefused},
		{"redirect elsewhere", func(w http.ResponseWriter, _ string) bool {
			w.Header().Set("Location", "http://127.9.9.9/")
			w.WriteHeader(302)
			return true
		}, fleet.CauseGuarded},
		{"no profiles", func(w http.ResponseWriter, op string) bool {
			if op == "GetProfiles" {
				reply(w, "trt", op, "")
			}
			return op == "GetProfiles"
		}, fleet.CauseProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newCamera(t, &camera{junk: c.junk})
			got, err := newClient(t).Describe(within(t, 10*time.Second), d.target(admin))
			if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != c.cause || got.Reason == "" {
				t.Errorf("Describe = %s, %v; want %s", got.State, err, c.cause)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		hold := make(chan struct{})
		d := newCamera(t, &camera{junk: func(http.ResponseWriter, string) bool { <-hold; return true }})
		var err error
		// On a busy machine the connection alone may take longer than that.
		for wait := 100 * time.Millisecond; wait < time.Minute; wait *= 2 {
			if _, err = newClient(t).Describe(within(t, wait), d.target()); !isCause(err, fleet.CauseUnreachable) {
				break
			}
		}
		close(hold)
		if !isCause(err, fleet.CauseTimeout) {
			t.Error(err)
		}
	})
}

// A user who may see pictures and not the network is no wrong password.
func TestDescribeLesserRight(t *testing.T) {
	for _, auth := range []string{"digest", "wsse"} {
		d := newCamera(t, &camera{auth: auth, password: admin.Password.Reveal()})
		d.junk = func(w http.ResponseWriter, op string) bool {
			if op == "GetNetworkInterfaces" {
				fault(w, http.StatusBadRequest, "Sender", "NotAuthorized", "not for this user")
			}
			return op == "GetNetworkInterfaces"
		}
		c := newClient(t)
		for range 4 {
			got, err := c.Describe(within(t, 10*time.Second), d.target(admin))
			if err != nil || got.State != fleet.DeviceOK || len(got.Sources) != 2 {
				t.Fatalf("%s: state %s, %v", auth, got.State, err)
			}
		}
	}
}

// An answer of 100 MB ends at the limit, whether its length is told or not.
func TestDescribeHugeAnswer(t *testing.T) {
	for _, told := range []bool{false, true} {
		d := newCamera(t, &camera{junk: func(w http.ResponseWriter, _ string) bool {
			if told {
				w.Header().Set("Content-Length", "100000000")
			}
			chunk := []byte(strings.Repeat("<a>x</a>", 8<<10))
			io.WriteString(w, "<Envelope><Body><R>")
			for range 100_000_000 / len(chunk) {
				if _, err := w.Write(chunk); err != nil {
					break
				}
			}
			return true
		}})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := newClient(t).Describe(within(t, 10*time.Second), d.target())
		runtime.ReadMemStats(&after)
		if !isCause(err, fleet.CauseTooLarge) {
			t.Errorf("told %v: %v", told, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("told %v: %d MiB allocated", told, n>>20)
		}
	}
}

func TestDescribeAddress(t *testing.T) {
	c := newClient(t)
	for _, u := range []string{"", "rtsp://127.0.0.1/", "http://", "http://u:secret@127.0.0.1/", "127.0.0.1/onvif", "http://a b/"} {
		d, err := c.Describe(t.Context(), fleet.Target{Endpoints: []fleet.Endpoint{{URL: u}}})
		if !isCause(err, fleet.CauseProtocol) || strings.Contains(d.Reason, "secret") {
			t.Errorf("Describe(%q) = %v", u, err)
		}
	}
	if _, err := c.Describe(t.Context(), fleet.Target{}); !isCause(err, fleet.CauseInternal) {
		t.Error(err)
	}
}

// Behind a NAT the camera names a port that only its own network knows: the
// services are found at the port that was asked.
func TestDescribeForeignPort(t *testing.T) {
	d := newCamera(t, &camera{host: "192.168.1.9:1"})
	got, err := newClient(t).Describe(within(t, 10*time.Second), d.target())
	if err != nil || len(got.Sources) != 2 {
		t.Fatalf("%v: %+v", err, got.Sources)
	}
	// Stream and snapshot ports stay: nobody here knows better.
	if u := got.Sources[0].Profiles[0].Endpoints[0].URL; u != "http://127.0.0.1:1/snap?p=main" {
		t.Errorf("snapshot %s", u)
	}
}
