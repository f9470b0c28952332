package inventory

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// TestManyNamesOneCamera: datagrams with a camera's own address give it sixty
// names; it is sent the site's login under one of them, until that lets us in.
func TestManyNamesOneCamera(t *testing.T) {
	b := newBook(Options{Describer: protocols.Describer(nobody{}), Every: time.Hour})
	b.site = []fleet.Credentials{{User: "u", Password: "p", Version: 1}}
	now := epoch
	for n := range 60 {
		o := seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "http://10.0.0.1/onvif/device_service", claim(fleet.ClaimEPR, fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012x", n)))
		o.At = now
		b.hear(o.Sighting)
	}
	b.merge(now)
	logins := func(state fleet.DeviceState) (n int) {
		for {
			now = now.Add(time.Second)
			list := b.due(now)
			if len(list) == 0 {
				return n
			}
			for _, o := range list {
				if len(o.target.Credentials) > 0 {
					n++
				}
				b.described(outcome{rec: o.rec, target: o.target, device: fleet.Device{State: state}, door: o.door}, now)
			}
			b.merge(now)
			if now.Sub(epoch) > 4*time.Minute {
				return n
			}
		}
	}
	if n := logins(fleet.DeviceNeedsCredentials); n != 1 {
		t.Errorf("%d logins that are refused, want 1", n)
	}
	for _, d := range b.devices(now)[1:] {
		if d.State != fleet.DeviceNeedsCredentials || !strings.Contains(d.Reason, "at the same address") {
			t.Errorf("%s: %s, %q", d.Key, d.State, d.Reason)
			break
		}
	}
	b.site[0].Version = 2 // the right one
	if n := logins(fleet.DeviceOK); n != 60 {
		t.Errorf("%d logins with one that works, want one for each of 60 devices", n)
	}
}

// nobody describes nothing: the test answers.
type nobody struct{}

func (nobody) Describe(context.Context, fleet.Target) (fleet.Device, error) {
	return fleet.Device{}, nil
}

// TestFloodLosesNoCamera: a host that makes up devices at thousands of addresses
// hides neither the centre's camera nor where it moves, and new devices are heard
// again some minutes after it ends.
func TestFloodLosesNoCamera(t *testing.T) {
	b := newBook(Options{})
	sighting := func(n int, ip netip.Addr, at time.Time) fleet.Sighting {
		return fleet.Sighting{
			Via: fleet.ViaWSDiscovery, Source: ip, Interface: "eth0", At: at,
			Claims:    []fleet.Claim{{Kind: fleet.ClaimEPR, Value: fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012x", n)}},
			Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://" + ip.String() + "/"}},
		}
	}
	at := func(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}) }
	now := epoch
	for n := range maxObservations + maxPerSource {
		b.hear(sighting(n+1000, at(1000+n/maxPerSource), now))
	}
	if len(b.obs) != maxObservations {
		t.Fatalf("%d observations, want the cap", len(b.obs))
	}
	b.merge(now)
	b.devices(now.Add(time.Minute))
	camera := sighting(1, at(1), now)
	key := "epr:" + camera.Claims[0].Value
	b.tell([]fleet.Target{{Camera: 1, Device: key, Endpoints: camera.Endpoints}}, nil)
	for n := range 2 {
		now = now.Add(time.Minute)
		if !b.hear(sighting(1, at(1+n), now)) {
			t.Errorf("the camera is not heard at %v", at(1+n))
		}
	}
	b.merge(now)
	got := b.devices(now.Add(time.Minute))
	i := slices.IndexFunc(got, func(d fleet.Device) bool { return d.Key == key })
	if len(got) != maxDevices || i < 0 || !slices.Contains(got[i].Addresses, at(2)) {
		t.Errorf("%d devices, the camera as number %d, want it at its new address", len(got), i)
	}
	for n := range 3 * maxExtra { // not even in its name is there room without end
		b.hear(sighting(1, at(1000+n), now))
	}
	if len(b.obs) > maxObservations+maxExtra+1 {
		t.Errorf("%d observations", len(b.obs))
	}
	fresh := sighting(9, at(9), now)
	if b.hear(fresh) {
		t.Error("the flood left room for anybody")
	}
	b.forget(now.Add(crowdedAfter))
	if !b.hear(fresh) {
		t.Error("no new device is heard after the flood")
	}
}
