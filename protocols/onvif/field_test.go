package onvif_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/onvif"
)

// serve runs one virtual camera with all that ONVIF names.
func serve(t *testing.T, c camtest.Camera) (*camtest.Town, camtest.Info) {
	t.Helper()
	c.Name, c.Scene, c.Codec = "gate", camtest.StreetDay, fleet.H264
	c.Protocols = []fleet.Protocol{fleet.ONVIF, fleet.RTSP, fleet.Snapshot}
	town, err := camtest.New(camtest.Options{Cameras: []camtest.Camera{c}, NoDiscovery: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1) // Run's result
	go func() { done <- town.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-town.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	return town, town.Cameras()[0]
}

func client(t *testing.T) *onvif.Client {
	t.Helper()
	g := guard.New(guard.Options{})
	t.Cleanup(g.Close)
	return onvif.New(g, onvif.Options{})
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func target(town *camtest.Town, i camtest.Info) fleet.Target {
	return fleet.Target{
		Camera:      1, // an operator has approved it
		Device:      i.EPR,
		Endpoints:   []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: i.ONVIF}},
		Credentials: []fleet.Credentials{town.Credentials()},
	}
}

// TestField describes cameras that differ as those of the field do.
func TestField(t *testing.T) {
	for _, c := range []struct {
		name  string
		cam   camtest.Camera
		state fleet.DeviceState
		first fleet.Codec // of the first profile; default H.264
		spare int         // logins that may be refused on the way
	}{
		{name: "as it should be", state: fleet.DeviceOK},
		{name: "digest, SHA-256 alone", cam: camtest.Camera{Login: camtest.LoginDigest, SHA256: true}, state: fleet.DeviceOK},
		{name: "token alone, a clock that is behind", cam: camtest.Camera{Login: camtest.LoginToken, Skew: -26 * time.Minute}, state: fleet.DeviceSkewed},
		{name: "token alone, ahead", cam: camtest.Camera{Login: camtest.LoginToken, Skew: 97 * time.Second}, state: fleet.DeviceOK},
		{name: "behind NAT", cam: camtest.Camera{NAT: "192.168.77.9"}, state: fleet.DeviceOK},
		{name: "fresh from the box", cam: camtest.Camera{NAT: "0.0.0.0"}, state: fleet.DeviceOK},
		{name: "sure that it is at home", cam: camtest.Camera{NAT: "127.0.0.1"}, state: fleet.DeviceOK},
		{name: "known by name", cam: camtest.Camera{NAT: "ipcam.local"}, state: fleet.DeviceOK},
		{name: "a port for each service, behind NAT", cam: camtest.Camera{MediaPort: true, NAT: "10.9.9.9"}, state: fleet.DeviceOK},
		{name: "https", cam: camtest.Camera{HTTPS: true}, state: fleet.DeviceOK},
		{name: "https with Basic alone", cam: camtest.Camera{HTTPS: true, Login: camtest.LoginBasic}, state: fleet.DeviceOK, spare: 1},
		{name: "H.265 in Media 2 alone", cam: camtest.Camera{Media2: true}, state: fleet.DeviceOK, first: fleet.H265},
		{name: "all at once", cam: camtest.Camera{Media2: true, HTTPS: true, MediaPort: true, NAT: "0.0.0.0", SHA256: true, Login: camtest.LoginDigest, Skew: time.Hour}, state: fleet.DeviceSkewed, first: fleet.H265},
	} {
		t.Run(c.name, func(t *testing.T) {
			town, i := serve(t, c.cam)
			d, err := client(t).Describe(soon(t), target(town, i))
			if err != nil || d.State != c.state {
				t.Fatalf("state %s: %s, %v; want %s", d.State, d.Reason, err, c.state)
			}
			if d.Firmware != i.Firmware || d.Serial != i.Serial || !slices.Contains(d.Claims, fleet.Claim{Kind: fleet.ClaimMAC, Value: i.MAC}) {
				t.Errorf("device %+v", d)
			}
			if (d.ClockSkew - c.cam.Skew).Abs() > 2*time.Second {
				t.Errorf("skew %v, want %v", d.ClockSkew, c.cam.Skew)
			}
			if n := town.Stats("gate").Refused; n > c.spare {
				t.Errorf("%d logins were refused", n)
			}
			if len(d.Sources) != 1 {
				t.Fatalf("sources %+v", d.Sources)
			}
			want := []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: i.Snapshot}, {Protocol: fleet.RTSP, URL: i.RTSP}}
			profiles := d.Sources[0].Profiles
			if last := profiles[len(profiles)-1]; last.Codec != fleet.H264 || !slices.ContainsFunc(last.Endpoints, func(e fleet.Endpoint) bool { return e == want[0] }) || !slices.Contains(last.Endpoints, want[1]) {
				t.Errorf("profile %+v, want %v", last, want)
			}
			if first := c.first; first != "" && (len(profiles) != 2 || profiles[0].Codec != first || profiles[0].Width != 3840) {
				t.Errorf("profiles %+v", profiles)
			}
			if hasKey := slices.ContainsFunc(d.Claims, func(c fleet.Claim) bool { return c.Kind == "tls" && len(c.Value) == 64 }); hasKey != c.cam.HTTPS {
				t.Errorf("claims %v", d.Claims)
			}
		})
	}
}

// A key that changes ends all logins until somebody has looked.
func TestFieldChangedKey(t *testing.T) {
	town, i := serve(t, camtest.Camera{HTTPS: true})
	c := client(t)
	if _, err := c.Describe(soon(t), target(town, i)); err != nil {
		t.Fatal(err)
	}
	before := town.Stats("gate")
	if err := town.SetFault("gate", camtest.ChangedKey, true); err != nil {
		t.Fatal(err)
	}
	d, err := c.Describe(soon(t), target(town, i))
	if d.State != fleet.DeviceNeedsCredentials || !strings.Contains(d.Reason, "another TLS key") {
		t.Errorf("state %s: %s, %v", d.State, d.Reason, err)
	}
	if after := town.Stats("gate"); after.Accepted != before.Accepted || after.Refused != before.Refused {
		t.Errorf("logins were sent: %+v, then %+v", before, after)
	}
	if err := town.SetFault("gate", camtest.ChangedKey, false); err != nil {
		t.Fatal(err)
	}
	if d, err = c.Describe(soon(t), target(town, i)); err != nil || d.State != fleet.DeviceOK {
		t.Errorf("with the old key again: %s, %v", d.State, err)
	}
}

// A camera that counts down is left alone before it locks its owner out.
func TestFieldCountsTries(t *testing.T) {
	for _, login := range []camtest.Login{camtest.LoginToken, camtest.LoginDigest, camtest.LoginAny} {
		town, i := serve(t, camtest.Camera{Login: login, LockAfter: 4, Faults: []camtest.Fault{camtest.CountsTries, camtest.WrongPassword}})
		c := client(t)
		for version := range uint64(5) {
			to := target(town, i)
			to.Credentials[0].Version = version + 2
			d, err := c.Describe(soon(t), to)
			ce, ok := errors.AsType[*fleet.CameraError](err)
			if !ok || ce.Cause != fleet.CauseUnauthorized && ce.Cause != fleet.CauseLocked || d.Reason == "" {
				t.Errorf("%s: %s, %v", login, d.State, err)
			}
		}
		if s := town.Stats("gate"); s.Locked || s.Refused > 3 {
			t.Errorf("%s: %+v", login, s)
		}
	}
}

func TestActions(t *testing.T) {
	for _, login := range []camtest.Login{camtest.LoginAny, camtest.LoginToken} {
		for _, media2 := range []bool{false, true} {
			town, i := serve(t, camtest.Camera{Login: login, Media2: media2, Skew: -3 * time.Hour, MediaPort: true, NAT: "10.1.1.1"})
			c, to := client(t), target(town, i)
			open := to
			open.Credentials = nil
			// Other endpoints may come first.
			open.Endpoints = append([]fleet.Endpoint{{Protocol: fleet.RTSP, URL: i.RTSP}}, open.Endpoints...)
			if skew, err := c.Clock(soon(t), open); err != nil || (skew+3*time.Hour).Abs() > 2*time.Second {
				t.Errorf("Clock = %v, %v", skew, err)
			}
			if s := town.Stats("gate"); s.Accepted+s.Refused != 0 {
				t.Errorf("the clock cost a login: %+v", s)
			}
			if _, err := c.Reboot(soon(t), open); err == nil {
				t.Error("restarted without a login")
			}
			if err := c.Synchronize(soon(t), to, "profile_1"); err != nil {
				t.Error(err)
			}
			if err := c.Synchronize(soon(t), to, "nobody"); err == nil && !media2 {
				t.Error("a profile that is not there has a key frame")
			}
			message, err := c.Reboot(soon(t), to)
			if err != nil || message != "Rebooting in 30 seconds" {
				t.Errorf("Reboot = %q, %v", message, err)
			}
			if s := town.Stats("gate"); s.Reboots != 1 || s.Synchronized < 1 || s.Refused != 0 {
				t.Errorf("stats %+v", s)
			}
		}
	}
}

// TestFieldUnapproved: whoever answers over TLS with a key of his own and offers
// Basic reads the password. A device that nobody has approved is sent none, nor
// a token that would use up a try.
func TestFieldUnapproved(t *testing.T) {
	town, i := serve(t, camtest.Camera{HTTPS: true, Login: camtest.LoginBasic})
	at := target(town, i)
	at.Camera = 0
	d, err := client(t).Describe(soon(t), at)
	if d.State != fleet.DeviceNeedsCredentials || !strings.Contains(d.Reason, "approve it first") {
		t.Errorf("state %s: %s, %v", d.State, d.Reason, err)
	}
	if s := town.Stats(i.Name); s.Accepted+s.Refused != 0 {
		t.Errorf("logins were sent: %+v", s)
	}
}
