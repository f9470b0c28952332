package inventory_test

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// table is a neighbour table that the test writes.
type table struct {
	mu   sync.Mutex
	rows map[netip.Addr]net.HardwareAddr
}

func (n *table) set(ip netip.Addr, last byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.rows == nil {
		n.rows = map[netip.Addr]net.HardwareAddr{}
	}
	n.rows[ip] = net.HardwareAddr{0xac, 0xcc, 0x8e, 0, 0, last}
}

func (n *table) read() (map[netip.Addr]net.HardwareAddr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := map[netip.Addr]net.HardwareAddr{}
	for ip, mac := range n.rows {
		out[ip] = mac
	}
	return out, nil
}

func with(s fleet.Sighting, claims ...fleet.Claim) fleet.Sighting {
	s.Claims = append(append([]fleet.Claim{}, s.Claims...), claims...)
	return s
}

// hear repeats sightings for d, as the finders' probes do every 20 s.
func hear(ear air, d time.Duration, all ...fleet.Sighting) {
	for until := time.Now().Add(d); time.Now().Before(until); time.Sleep(20 * time.Second) {
		for _, s := range all {
			ear <- s
		}
	}
}

// TestFourWaysOneDevice: WS-Discovery, UPnP and mDNS over IPv4, and mDNS over
// IPv6, which only the neighbour table joins.
func TestFourWaysOneDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, near := make(air), &table{}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Neighbours: near.read})
		six := mdnsOf(5, "other.local")
		six.Source = netip.MustParseAddr("fe80::5")
		six.Endpoints = []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://[fe80::5]/"}}
		near.set(six.Source, 5)
		near.set(wsdOf(5, "").Source, 5)
		hear(ear, time.Minute, wsdOf(5, ""), upnpOf(5), mdnsOf(5, "cam5.local"), six)
		got := v.Devices()
		if len(got) != 1 || len(got[0].Via) != 3 || len(got[0].Claims) != 5 || len(got[0].Addresses) != 2 {
			t.Fatalf("Devices() = %+v, want one with an EPR, a UDN, a MAC and two host names", got)
		}
		why := fmt.Sprint(got[0].Evidence)
		for _, want := range []string{"{address 10.0.0.5 100 false}", "{mac ac:cc:8e:00:00:05 100 false}"} {
			if !strings.Contains(why, want) {
				t.Errorf("evidence %s, want %s in it", why, want)
			}
		}
	})
}

// TestSharedValuesAreJunk: two live cameras have one MAC and one serial; they
// stay two, the values are shown as junk, and stay so when one is silent.
func TestSharedValuesAreJunk(t *testing.T) {
	mac, serial := fleet.Claim{Kind: fleet.ClaimMAC, Value: "ac:cc:8e:00:00:01"}, fleet.Claim{Kind: fleet.ClaimSerial, Value: "4711-0815"}
	for name, of := range map[string]func(int) fleet.Sighting{
		"with names of their own": func(n int) fleet.Sighting { return wsdOf(n, "") },
		"with host names":         func(n int) fleet.Sighting { return mdnsOf(n, fmt.Sprintf("cam%d.local", n)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ear := make(air)
				v := run(t, inventory.Options{Finders: []protocols.Finder{ear}})
				one, two, third := with(of(1), mac, serial), with(of(2), mac, serial), with(of(3), mac, serial)
				one.Model, two.Model, third.Model = "M", "M", "M"
				hear(ear, 2*time.Minute, one, two)
				got := v.Devices()
				if len(got) != 2 {
					t.Fatalf("Devices() = %+v, want two", got)
				}
				for _, d := range got {
					if d.State != fleet.DeviceOK || d.Conflict != nil {
						t.Errorf("%s is in state %s: %s; sharing a MAC is no conflict", d.Key, d.State, d.Reason)
					}
					if why := fmt.Sprint(d.Evidence); !strings.Contains(why, "{mac ac:cc:8e:00:00:01 0 true}") || !strings.Contains(why, "{serial m 4711-0815 0 true}") {
						t.Errorf("evidence of %s: %s, want both values in it as junk", d.Key, why)
					}
				}
				hear(ear, 5*time.Minute, one)
				time.Sleep(10 * time.Second)
				hear(ear, 5*time.Minute, third) // at no time together with the others
				if got := v.Devices(); len(got) != 3 {
					t.Errorf("%d devices, want three: the values are known to be junk: %+v", len(got), got)
				}
			})
		})
	}
}

// TestConflict: two live devices answer as one endpoint reference from two
// addresses with different MACs; the centre knows it by that name.
func TestConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, near := make(air), &table{}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Neighbours: near.read})
		one, clone := wsdOf(1, ""), wsdOf(2, "")
		clone.Claims = one.Claims
		near.set(one.Source, 1)
		near.set(clone.Source, 2)
		hear(ear, time.Minute, one)
		key := "epr:" + one.Claims[0].Value
		known := fleet.Target{Camera: 1, Device: key, Endpoints: one.Endpoints}
		v.SetKnown([]fleet.Target{known})
		hear(ear, 3*time.Minute, one, clone)
		got := v.Devices()
		if len(got) != 2 || got[0].Key != key || got[0].Addresses[0] != one.Source || got[1].Key != "mac:ac:cc:8e:00:00:02" {
			t.Fatalf("Devices() = %+v, want the known one where it was, and its rival", got)
		}
		for i, d := range got {
			if d.State != fleet.DeviceConflict || d.Conflict == nil || len(d.Conflict.Rivals) != 1 {
				t.Fatalf("%s is %s: %+v, want a conflict", d.Key, d.State, d.Conflict)
			}
			r := d.Conflict.Rivals[0]
			if o := got[1-i]; r.Key != o.Key || r.Addresses[0] != o.Addresses[0] || len(r.Claims) != len(o.Claims) || r.LastSeen.IsZero() {
				t.Errorf("rival of %s = %+v, want %+v", d.Key, r, o)
			}
			if why := fmt.Sprint(r.Evidence); !strings.Contains(why, "{epr 00000000-0000-4000-8000-000000000001 160 false}") || !strings.Contains(why, "{hardware  -100 false}") {
				t.Errorf("evidence between them: %s", why)
			}
			if !strings.Contains(d.Reason, r.Addresses[0].String()) || !strings.Contains(d.Reason, "cameras resolve") {
				t.Errorf("reason %q names neither the rival nor the fix", d.Reason)
			}
		}

		known.Apart = []string{got[1].Key}
		v.SetKnown([]fleet.Target{known})
		hear(ear, time.Minute, one, clone)
		if got := v.Devices(); len(got) != 2 || got[0].Conflict != nil || got[1].Conflict != nil || got[0].State != fleet.DeviceOK {
			t.Errorf("decided to be two: %+v", got)
		}
		known.Apart, known.Same = nil, known.Apart
		v.SetKnown([]fleet.Target{known})
		hear(ear, time.Minute, one, clone)
		if got := v.Devices(); len(got) != 1 || got[0].Key != key || len(got[0].Addresses) != 2 || got[0].State != fleet.DeviceOK {
			t.Errorf("decided to be one: %+v", got)
		}
	})
}

// TestTakenName: the centre's device falls silent, and other hardware answers
// with its name elsewhere: it is not taken for it.
func TestTakenName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := make(air)
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}})
		mac := func(n int) fleet.Claim {
			return fleet.Claim{Kind: fleet.ClaimMAC, Value: fmt.Sprintf("ac:cc:8e:00:00:%02x", n)}
		}
		one := wsdOf(1, "")
		other := wsdOf(2, "")
		other.Claims = one.Claims
		key := "epr:" + one.Claims[0].Value
		v.SetKnown([]fleet.Target{{Camera: 1, Device: key, Endpoints: one.Endpoints}})
		hear(ear, time.Minute, with(one, mac(1)))
		time.Sleep(10 * time.Minute)
		hear(ear, 4*time.Minute, with(other, mac(2)))
		got := v.Devices()
		if len(got) != 2 || got[0].Key != key || got[0].State != fleet.DeviceConflict || got[1].State != fleet.DeviceConflict {
			t.Fatalf("Devices() = %+v, want the known one and its rival", got)
		}
		if a := got[0].Endpoints; len(a) != 1 || a[0] != one.Endpoints[0] {
			t.Errorf("the known device's endpoints are %v, want what the centre has", a)
		}
		hear(ear, time.Minute, with(one, mac(1)))
		time.Sleep(10 * time.Minute)
		back := with(wsdOf(3, ""), mac(1)) // the same hardware moved
		back.Claims[0] = one.Claims[0]
		hear(ear, 2*time.Minute, back)
		if got := v.Devices(); got[0].Key != key || got[0].Addresses[0] != back.Source {
			t.Errorf("moved with its MAC: %+v, want it at %v", got[0], back.Source)
		}
	})
}

// TestMoves holds an address change to its moments: a minute after a Hello,
// five minutes when only probes tell, each 60 s.
func TestMoves(t *testing.T) {
	for name, c := range map[string]struct {
		hello bool
		most  time.Duration
	}{"with a Hello": {true, time.Minute}, "with probes alone": {false, 5 * time.Minute}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ear := make(air)
				v := run(t, inventory.Options{Finders: []protocols.Finder{ear}})
				old, moved := wsdOf(5, ""), wsdOf(9, "")
				moved.Claims = old.Claims
				for range 5 {
					ear <- old
					time.Sleep(time.Minute)
				}
				key := v.Devices()[0].Key
				v.SetKnown([]fleet.Target{{Camera: 1, Device: key, Endpoints: old.Endpoints}})
				// It loses its address right after a probe.
				ear <- old
				began := time.Now()
				time.Sleep(time.Second)
				// A stale XAddr: it still names its old address, and the finder
				// refused that, for the datagram came from the new one.
				if c.hello {
					ear <- moved
				}
				for time.Since(began) < c.most {
					if got := v.Devices(); len(got) == 1 && got[0].Key == key && got[0].Addresses[0] == moved.Source && got[0].Endpoints[0] == moved.Endpoints[0] {
						t.Logf("followed after %v", time.Since(began))
						return
					}
					time.Sleep(10 * time.Second)
					if time.Since(began)/time.Minute != (time.Since(began)-10*time.Second)/time.Minute {
						ear <- moved
					}
				}
				t.Errorf("after %v: %+v", c.most, v.Devices())
			})
		})
	}
}

func TestHintsAloneAreNoDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := make(air)
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}})
		hint := upnpOf(5)
		hint.Hint, hint.Endpoints = true, []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: "http://10.0.0.5/"}}
		page := mdnsOf(5, "nas.local")
		page.Hint = true
		hear(ear, time.Minute, hint, page)
		if got := v.Devices(); len(got) != 0 {
			t.Fatalf("Devices() = %+v, want none", got)
		}
		hear(ear, time.Minute, hint, page, wsdOf(5, ""))
		got := v.Devices()
		if len(got) != 1 || len(got[0].Claims) != 3 {
			t.Errorf("Devices() = %+v, want one that the hints say more about", got)
		}
	})
}

// TestScene: a camera without any name of its own falls silent, and a new one
// shows what it showed.
func TestScene(t *testing.T) {
	const street, yard = 0x0123456789abcdef, 0xfedcba9876543210
	target := func(ip string, camera fleet.CameraID) fleet.Target {
		url := "rtsp://" + ip + "/live"
		return fleet.Target{Camera: camera, Device: "url:" + url, Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: url}}}
	}
	synctest.Test(t, func(t *testing.T) {
		v := run(t, inventory.Options{})
		one, two, new := target("10.0.0.1", 1), target("10.0.0.2", 2), target("10.0.0.9", 3)
		v.SetKnown([]fleet.Target{one, two})
		for range 10 {
			v.Seen(one.Device, street)
			v.Seen(two.Device, yard)
			time.Sleep(time.Minute)
		}
		v.SetKnown([]fleet.Target{one, two, new})
		for range 10 { // the first is silent
			v.Seen(two.Device, yard)
			v.Seen(new.Device, street^0b1011)
			time.Sleep(time.Minute)
		}
		state := map[string]fleet.Device{}
		for _, d := range v.Devices() {
			state[d.Key] = d
		}
		if d := state[two.Device]; len(state) != 3 || d.State != fleet.DeviceOK {
			t.Fatalf("devices %+v, want three, the second at peace", state)
		}
		for a, b := range map[string]string{one.Device: new.Device, new.Device: one.Device} {
			if d := state[a]; d.State != fleet.DeviceConflict || len(d.Conflict.Rivals) != 1 || d.Conflict.Rivals[0].Key != b || d.Conflict.Rivals[0].Evidence[0].Kind != string(fleet.ClaimScene) || d.Conflict.Rivals[0].Evidence[0].Value != "3 of 64 bits differ" {
				t.Errorf("%s = %+v, want it in conflict with %s over its scene", a, d, b)
			}
		}
		one.Apart = []string{new.Device}
		v.SetKnown([]fleet.Target{one, two, new})
		time.Sleep(time.Minute)
		for _, d := range v.Devices() {
			if d.Conflict != nil {
				t.Errorf("decided to be two, and %s is in conflict: %+v", d.Key, d.Conflict)
			}
		}
	})
}
