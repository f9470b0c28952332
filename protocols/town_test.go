package protocols_test

import (
	"bytes"
	"context"
	"errors"
	"image/jpeg"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// town runs virtual cameras for one test.
func town(t *testing.T, cameras []camtest.Camera) *camtest.Town {
	t.Helper()
	town, err := camtest.New(camtest.Options{Cameras: cameras, NoDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- town.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("town: %v", err)
		}
	})
	select {
	case <-town.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("town: %v", err)
	case <-time.After(time.Minute):
		t.Fatal("the town is not ready after a minute")
	}
	return town
}

func mux(t *testing.T, codecs ...fleet.Codec) *protocols.Mux {
	t.Helper()
	m := protocols.New(protocols.Options{Codecs: codecs})
	t.Cleanup(m.Guard().Close)
	return m
}

// seen is the target as discovery gives it: addresses, no source.
func seen(i camtest.Info, c ...fleet.Credentials) fleet.Target {
	t := fleet.Target{Device: i.EPR, Credentials: c}
	for _, e := range []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: i.ONVIF}, {Protocol: fleet.RTSP, URL: i.RTSP},
		{Protocol: fleet.MJPEG, URL: i.MJPEG}, {Protocol: fleet.Snapshot, URL: i.Snapshot}} {
		if e.URL != "" {
			t.Endpoints = append(t.Endpoints, e)
		}
	}
	return t
}

func only(t fleet.Target, p fleet.Protocol) fleet.Target {
	t.Endpoints = slices.DeleteFunc(slices.Clone(t.Endpoints), func(e fleet.Endpoint) bool { return e.Protocol != p })
	return t
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Every camera of the street gives a frame by all it offers, and by each of its
// protocols alone, with one login and not one refusal.
func TestStreet(t *testing.T) {
	street := town(t, nil)
	for _, i := range street.Cameras() {
		t.Run(i.Name, func(t *testing.T) {
			m := mux(t, fleet.JPEG, fleet.PNG, fleet.H264)
			all := seen(i, street.Credentials())
			f, err := m.Grab(soon(t), all)
			if err != nil {
				t.Fatalf("by all: %v", err)
			}
			if f.Codec == fleet.JPEG {
				c, err := jpeg.DecodeConfig(bytes.NewReader(f.Data))
				if err != nil || c.Width != 896 && c.Width != i.Width {
					t.Errorf("picture of %dx%d, %v", c.Width, c.Height, err)
				}
			}
			if i.Snapshot != "" && f.Origin.Protocol != fleet.Snapshot {
				t.Errorf("came by %s, want its snapshot", f.Origin.Protocol)
			}
			if u, err := url.Parse(f.Origin.URL); err != nil || u.User != nil {
				t.Errorf("origin %q", f.Origin.URL)
			}
			for _, e := range all.Endpoints {
				if _, err := mux(t, fleet.JPEG, fleet.H264).Grab(soon(t), only(all, e.Protocol)); err != nil {
					t.Errorf("by %s alone: %v", e.Protocol, err)
				}
			}
			d, err := m.Describe(soon(t), all)
			if err != nil || d.State != fleet.DeviceOK && d.State != fleet.DeviceSkewed || len(d.Sources) == 0 {
				t.Errorf("Describe = %+v, %v", d, err)
			}
			if s := street.Stats(i.Name); s.Refused != 0 {
				t.Errorf("%d refused logins, want none", s.Refused)
			}
		})
	}
}

// However often and by whatever way: a wrong password reaches a camera twice.
func TestWrongPasswordReachesACameraTwice(t *testing.T) {
	street := town(t, nil)
	for _, i := range street.Cameras() {
		if i.Open {
			continue
		}
		t.Run(i.Name, func(t *testing.T) {
			if err := street.SetFault(i.Name, camtest.Lockout, true); err != nil {
				t.Fatal(err)
			}
			m := mux(t)
			wrong := seen(i, fleet.Credentials{User: "viewer", Password: "guess", Version: 1})
			for range 6 {
				_, err := m.Grab(soon(t), wrong)
				ce, ok := errors.AsType[*fleet.CameraError](err)
				if !ok || ce.Cause != fleet.CauseUnauthorized && ce.Cause != fleet.CauseLocked {
					t.Fatalf("Grab = %v, want needs-credentials or locked", err)
				}
				if _, err := m.Describe(soon(t), wrong); err != nil {
					if _, ok := errors.AsType[*fleet.CameraError](err); !ok {
						t.Fatalf("Describe = %v", err)
					}
				}
			}
			if s := street.Stats(i.Name); s.Refused > 2 || s.Locked {
				t.Errorf("%d refused logins, locked %v; want at most 2", s.Refused, s.Locked)
			}
			// A new password is a new version, and works at once.
			if _, err := m.Grab(soon(t), seen(i, fleet.Credentials{User: i.User, Password: i.Password, Version: 2})); err != nil {
				t.Errorf("with the right password: %v", err)
			}
		})
	}
}

func TestFaultsOfTheStreet(t *testing.T) {
	street := town(t, []camtest.Camera{
		{Name: "silent", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.ONVIF, fleet.RTSP, fleet.Snapshot}, Faults: []camtest.Fault{camtest.Silent}},
		{Name: "slow", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot}, Faults: []camtest.Fault{camtest.Slow}},
		{Name: "single", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.MJPEG, fleet.Snapshot, fleet.RTSP}, Faults: []camtest.Fault{camtest.OneConnection}},
	})
	grab := func(name string, d time.Duration) error {
		i, _ := street.Camera(name)
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		_, err := mux(t).Grab(ctx, seen(i, street.Credentials()))
		return err
	}
	began := time.Now()
	err := grab("silent", time.Second)
	if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseTimeout || time.Since(began) > 8*time.Second {
		t.Errorf("silent: %v after %v, want a timeout within its second", err, time.Since(began))
	}
	err = grab("slow", 2*time.Second) // its picture takes about ten
	if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseTimeout {
		t.Errorf("slow: %v, want a timeout", err)
	}
	i, _ := street.Camera("single")
	m, errs := mux(t), make(chan error, 8)
	for range cap(errs) {
		go func() {
			_, err := m.Grab(soon(t), seen(i, street.Credentials()))
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Errorf("one connection at a time: %v", err)
		}
	}
}

var (
	_ protocols.Describer = (*protocols.Mux)(nil)
	_ protocols.Grabber   = (*protocols.Mux)(nil)
)
