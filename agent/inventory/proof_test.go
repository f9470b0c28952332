package inventory_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// shelf is a HardwareMemory that outlives an inventory.
type shelf map[string]inventory.Hardware

func (s shelf) Load(device string) (inventory.Hardware, bool, error) {
	h, ok := s[device]
	return h, ok, nil
}

func (s shelf) Save(device string, h inventory.Hardware) error {
	s[device] = h
	return nil
}

// guarded is a camera of the centre with a login, at 10.0.0.1 with the MAC 1,
// and a desk that makes the kernel look for whom it asks.
func guarded(t *testing.T, answers map[netip.Addr]byte) (ear air, d *desk, v *inventory.Inventory, camera fleet.Sighting, key string) {
	t.Helper()
	ear = make(air)
	near := &table{}
	d = &desk{answer: func(t fleet.Target) (fleet.Device, error) {
		for _, e := range t.Endpoints {
			for a, mac := range answers {
				if strings.Contains(e.URL, "//"+a.String()+"/") {
					near.set(a, mac)
				}
			}
		}
		return described(t)
	}}
	v = run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d, Neighbours: near.read})
	camera = wsdOf(1, "")
	key = "epr:" + camera.Claims[0].Value
	near.set(camera.Source, 1)
	v.SetKnown([]fleet.Target{{Camera: 1, Device: key, Endpoints: camera.Endpoints, Credentials: []fleet.Credentials{{User: "u", Password: "p", Version: 1}}}})
	hear(ear, time.Minute, camera)
	return ear, d, v, camera, key
}

// loginsTo returns how often a host was asked with a login, and without.
func (d *desk) loginsTo(a netip.Addr) (with, without int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.asked {
		if !slices.ContainsFunc(t.Endpoints, func(e fleet.Endpoint) bool { return strings.Contains(e.URL, "//"+a.String()+"/") }) {
			continue
		}
		if len(t.Credentials) > 0 {
			with++
		} else {
			without++
		}
	}
	return with, without
}

// TestStolenName: somebody on the LAN says that he is the centre's camera. He is
// sent no login, whatever he claims, whether the camera is there or not, and the
// centre is told no address of his.
func TestStolenName(t *testing.T) {
	thief := netip.MustParseAddr("10.0.0.66")
	mac := fleet.Claim{Kind: fleet.ClaimMAC, Value: "ac:cc:8e:00:00:01"} // the camera's own, as anybody can claim it
	for name, c := range map[string]struct {
		alone  bool
		table  map[netip.Addr]byte // who the kernel sees when it looks
		claims []fleet.Claim
	}{
		"beside it":                {false, map[netip.Addr]byte{thief: 66}, nil},
		"beside it, with its MAC":  {false, map[netip.Addr]byte{thief: 66}, []fleet.Claim{mac}},
		"in its absence":           {true, map[netip.Addr]byte{thief: 66}, nil},
		"in its absence, with MAC": {true, map[netip.Addr]byte{thief: 66}, []fleet.Claim{mac}},
		"from beyond a router":     {true, nil, []fleet.Claim{mac}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ear, d, v, camera, key := guarded(t, c.table)
				stolen := with(camera, c.claims...)
				stolen.Source = thief
				stolen.Endpoints = []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://10.0.0.66/onvif/device_service"}, {Protocol: fleet.RTSP, URL: "rtsp://10.0.0.66/"}}
				said := []fleet.Sighting{stolen}
				if !c.alone {
					said = append(said, camera)
				}
				for range 12 {
					hear(ear, 20*time.Second, said...)
					for _, got := range v.Devices() {
						if got.Key != key {
							continue
						}
						if slices.Contains(got.Addresses, thief) || slices.ContainsFunc(got.Endpoints, func(e fleet.Endpoint) bool { return strings.Contains(e.URL, thief.String()) }) {
							t.Fatalf("the camera is told to be at the thief's address: %+v", got)
						}
					}
				}
				if with, _ := d.loginsTo(thief); with > 0 {
					t.Errorf("the thief was sent %d logins", with)
				}
				d.mu.Lock()
				for _, asked := range d.asked {
					if asked.Device == key && asked.Endpoints[0] != camera.Endpoints[0] {
						t.Errorf("%v was asked in the camera's turn, which he may hold up", asked.Endpoints)
					}
				}
				d.mu.Unlock()
				at := slices.IndexFunc(v.Devices(), func(d fleet.Device) bool { return d.Key == key })
				if at < 0 {
					t.Fatalf("the camera is gone: %+v", v.Devices())
				}
				if got := v.Devices()[at]; got.State == fleet.DeviceOK || got.Reason == "" {
					t.Errorf("state %s, %q: nobody is told of it", got.State, got.Reason)
				}
			})
		})
	}
}

// TestStolenNamesAreSilent: somebody takes the names of twenty cameras at addresses
// that never answer. Another device is described all the same, at once.
func TestStolenNamesAreSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, near := make(air), &table{}
		d := &desk{}
		d.answer = func(g fleet.Target) (fleet.Device, error) {
			if len(g.Credentials) == 0 && strings.HasPrefix(g.Device, "host:") {
				time.Sleep(time.Minute) // beyond any patience
				return fleet.Device{}, fleet.Errorf(fleet.CauseTimeout, "silent")
			}
			return described(g)
		}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d, Neighbours: near.read})
		var known []fleet.Target
		var cameras, stolen []fleet.Sighting
		for n := range 20 {
			c, s := wsdOf(n+1, ""), wsdOf(n+1001, "")
			s.Claims = c.Claims
			near.set(c.Source, byte(n+1))
			cameras, stolen = append(cameras, c), append(stolen, s)
			known = append(known, fleet.Target{Camera: fleet.CameraID(n + 1), Device: "epr:" + c.Claims[0].Value, Endpoints: c.Endpoints})
		}
		v.SetKnown(known)
		hear(ear, time.Minute, cameras...)
		hear(ear, 20*time.Second, append(stolen, cameras...)...)
		other := wsdOf(500, "")
		ear <- other
		time.Sleep(time.Second)
		if with, without := d.loginsTo(other.Source); with+without == 0 {
			t.Error("a new device waits for addresses that do not answer")
		}
	})
}

// TestStolenNameOverRestart: the camera is off when the agent starts, and somebody
// else answers in its name.
func TestStolenNameOverRestart(t *testing.T) {
	camera, thief := wsdOf(1, ""), wsdOf(66, "")
	key := "epr:" + camera.Claims[0].Value
	thief.Claims = camera.Claims
	kept := shelf{}
	known := []fleet.Target{{Camera: 1, Device: key, Endpoints: camera.Endpoints, Credentials: []fleet.Credentials{{User: "u", Password: "p", Version: 1}}}}
	for _, heard := range []fleet.Sighting{camera, thief} {
		synctest.Test(t, func(t *testing.T) {
			ear, near, d := make(air), &table{}, &desk{answer: described}
			near.set(camera.Source, 1)
			near.set(thief.Source, 66)
			v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d, Neighbours: near.read, Hardware: kept})
			v.SetKnown(known)
			hear(ear, 4*time.Minute, heard)
			with, _ := d.loginsTo(heard.Source)
			if mine := heard.Source == camera.Source; mine != (with > 0) {
				t.Errorf("%v was sent %d logins", heard.Source, with)
			}
		})
	}
	if h := kept[key]; !slices.Equal(h.MACs, []string{"ac:cc:8e:00:00:01"}) || !slices.Equal(h.Places, []netip.Addr{camera.Source}) {
		t.Errorf("kept %+v, want the camera's own", h)
	}
}

// TestMovedOnTheLink: the same hardware at a new address is proven by asking it
// without a login, and described with its login soon after one Hello.
func TestMovedOnTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		moved := wsdOf(9, "")
		ear, d, v, camera, key := guarded(t, map[netip.Addr]byte{moved.Source: 1})
		moved.Claims = camera.Claims
		ear <- moved
		time.Sleep(5 * time.Second)
		got := v.Devices()
		if len(got) != 1 || got[0].Key != key || got[0].State != fleet.DeviceOK || got[0].Addresses[0] != moved.Source || got[0].Endpoints[0] != moved.Endpoints[0] {
			t.Errorf("Devices() = %+v, want it at %v", got, moved.Source)
		}
		if with, without := d.loginsTo(moved.Source); with != 1 || without != 1 {
			t.Errorf("asked %d times with a login and %d times without, want once each", with, without)
		}
	})
}

// TestAnotherMACInItsPlace: repeaters of wireless networks show their own.
func TestAnotherMACInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, _, v, camera, key := guarded(t, map[netip.Addr]byte{wsdOf(1, "").Source: 7})
		camera.Endpoints = append(camera.Endpoints, fleet.Endpoint{Protocol: fleet.ONVIF, URL: "http://10.0.0.1:81/onvif/device_service"}) // another question
		hear(ear, 2*time.Minute, camera)
		got := v.Devices()
		if len(got) != 1 || got[0].Key != key || got[0].State != fleet.DeviceOK || len(got[0].Addresses) != 1 {
			t.Errorf("Devices() = %+v, want it as it was", got)
		}
	})
}
