package camtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/httpcam"
	"github.com/shutterfleet/shutterfleet/protocols/onvif"
	"github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

func start(t *testing.T, o camtest.Options) *camtest.Town {
	t.Helper()
	town, err := camtest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- town.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-town.Ready():
	case <-time.After(20 * time.Second):
		t.Fatal("the town is not ready")
	}
	return town
}

func creds(i camtest.Info) []fleet.Credentials {
	if i.User == "" {
		return nil
	}
	return []fleet.Credentials{{User: i.User, Password: i.Password, Version: 1}}
}

// TestEveryOffer takes a frame over everything that every camera offers.
func TestEveryOffer(t *testing.T) {
	town := start(t, camtest.Options{NoDiscovery: true})
	g := guard.New(guard.Options{})
	defer g.Close()
	http, rt, ov := httpcam.New(g, httpcam.Options{}), rtsp.New(g, rtsp.Options{}), onvif.New(g, onvif.Options{})
	for _, cam := range town.Cameras() {
		for offer, url := range cam.URLs {
			t.Run(cam.Name+"/"+string(offer), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				defer cancel()
				target := fleet.Target{Device: cam.Name, Credentials: creds(cam), Endpoints: []fleet.Endpoint{{URL: url}}}
				var f fleet.Frame
				var err error
				switch offer {
				case camtest.OfferONVIF:
					target.Endpoints[0].Protocol = fleet.ONVIF
					d, err := ov.Describe(ctx, target)
					if err != nil {
						t.Fatal(err)
					}
					if d.Vendor != camtest.Vendor || d.Model != cam.Model || d.Serial != cam.Serial || d.Name != cam.Name || len(d.Sources) != 1 || len(d.Sources[0].Profiles) == 0 || len(d.Sources[0].Profiles[0].Endpoints) == 0 {
						t.Errorf("%+v", d)
					}
					if off := d.ClockSkew - cam.Skew; off.Abs() > 2*time.Second {
						t.Errorf("clock skew %v, want %v", d.ClockSkew, cam.Skew)
					}
					return
				case camtest.OfferRTSPJPEG, camtest.OfferRTSPH264:
					target.Endpoints[0].Protocol = fleet.RTSP
					f, err = rt.Grab(ctx, target)
				default:
					target.Endpoints[0].Protocol = fleet.Snapshot
					f, err = http.Grab(ctx, target)
				}
				if err != nil || len(f.Data) < 2000 {
					t.Fatalf("%d bytes, %v", len(f.Data), err)
				}
			})
		}
	}
}

func cause(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return "none"
}

// TestFaults meets each fault of the wire from the other side.
func TestFaults(t *testing.T) {
	cams := []camtest.Camera{{Name: "one", Scene: camtest.Gate, Offer: []camtest.Offer{camtest.OfferSnapshot, camtest.OfferRTSPJPEG}, Login: true}}
	town := start(t, camtest.Options{NoDiscovery: true, Cameras: cams})
	grab := func(wait time.Duration, password string) error {
		g := guard.New(guard.Options{})
		defer g.Close()
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		i := town.Cameras()[0]
		_, err := httpcam.New(g, httpcam.Options{}).Grab(ctx, fleet.Target{Device: "one", Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: i.URLs[camtest.OfferSnapshot]}},
			Credentials: []fleet.Credentials{{User: i.User, Password: fleet.Secret(password), Version: 1}}})
		return err
	}
	right := town.Cameras()[0].Password.Reveal()
	set := func(f camtest.Fault, on bool) {
		t.Helper()
		if err := town.SetFault("one", f, on); err != nil {
			t.Fatal(err)
		}
	}
	if err := grab(5*time.Second, right); err != nil {
		t.Fatal(err)
	}
	set(camtest.Silent, true)
	if err := grab(300*time.Millisecond, right); cause(err) != fleet.CauseTimeout {
		t.Errorf("silent: %v", err)
	}
	set(camtest.Silent, false)
	set(camtest.WrongPassword, true)
	if err := grab(5*time.Second, right); cause(err) != fleet.CauseUnauthorized {
		t.Errorf("wrong password: %v", err)
	}
	set(camtest.WrongPassword, false)
	set(camtest.Lockout, true)
	for range 3 {
		if err := grab(5*time.Second, "guess"); cause(err) != fleet.CauseUnauthorized {
			t.Errorf("guess: %v", err)
		}
	}
	if err := grab(5*time.Second, right); cause(err) != fleet.CauseUnauthorized {
		t.Errorf("locked out: %v", err)
	}
	set(camtest.Lockout, false)
	before := town.Cameras()[0].Addr
	set(camtest.ChangedAddress, true)
	if after := town.Cameras()[0].Addr; after == before {
		t.Error("the address did not change")
	}
	if err := grab(5*time.Second, right); err != nil {
		t.Errorf("at the new address: %v", err)
	}
}
