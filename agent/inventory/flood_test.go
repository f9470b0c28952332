package inventory

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

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
