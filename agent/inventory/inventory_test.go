package inventory_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// air is a Finder whose sightings the test makes.
type air chan fleet.Sighting

func (a air) Find(ctx context.Context, heard func(fleet.Sighting)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-a:
			s.At = time.Now()
			heard(s)
		}
	}
}

// desk is a Describer that the test answers for.
type desk struct {
	mu     sync.Mutex
	asked  []fleet.Target
	now    int
	most   int
	answer func(fleet.Target) (fleet.Device, error)
}

func (d *desk) Describe(ctx context.Context, t fleet.Target) (fleet.Device, error) {
	d.mu.Lock()
	d.asked = append(d.asked, t)
	d.now++
	d.most = max(d.most, d.now)
	answer := d.answer
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.now--
		d.mu.Unlock()
	}()
	return answer(t)
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.asked)
}

// run starts an inventory in the bubble and ends it with the test.
func run(t *testing.T, o inventory.Options) *inventory.Inventory {
	t.Helper()
	v := inventory.New(o)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := v.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return v
}

func wsdOf(n int, port string) fleet.Sighting {
	ip := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	return fleet.Sighting{
		Via: fleet.ViaWSDiscovery, Source: ip, Interface: "eth0", Name: "wsd",
		Claims:    []fleet.Claim{{Kind: fleet.ClaimEPR, Value: fmt.Sprintf("urn:uuid:00000000-0000-4000-8000-%012x", n)}},
		Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://" + ip.String() + port + "/onvif/device_service"}},
	}
}

func mdnsOf(n int, host string) fleet.Sighting {
	ip := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	return fleet.Sighting{
		Via: fleet.ViaMDNS, Source: ip, Interface: "eth0", Name: "mdns",
		Claims:    []fleet.Claim{{Kind: fleet.ClaimHost, Value: host}},
		Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://" + ip.String() + "/"}},
	}
}

func upnpOf(n int) fleet.Sighting {
	ip := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	return fleet.Sighting{
		Via: fleet.ViaUPnP, Source: ip, Interface: "eth0", Name: "upnp",
		Claims: []fleet.Claim{{Kind: fleet.ClaimUDN, Value: fmt.Sprintf("uuid:11111111-0000-4000-8000-%012x", n)}},
	}
}

func described(t fleet.Target) (fleet.Device, error) {
	return fleet.Device{
		Name: "Gate", Firmware: "1.2", Model: "M1", Serial: "SN-" + t.Endpoints[0].URL,
		Sources: []fleet.Source{{Token: "v0", Name: "Gate"}},
	}, nil
}

func TestThreeWaysOneDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, d := make(air), &desk{answer: described}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
		ear <- mdnsOf(5, "cam5.local")
		ear <- upnpOf(5)
		ear <- wsdOf(5, "")
		time.Sleep(time.Second)
		got := v.Devices()
		if len(got) != 1 {
			t.Fatalf("Devices() = %+v, want one", got)
		}
		g := got[0]
		if g.Key != "epr:urn:uuid:00000000-0000-4000-8000-000000000005" || len(g.Via) != 3 || len(g.Endpoints) != 2 || g.Name != "Gate" || g.Sources[0].Token != "v0" || g.State != fleet.DeviceOK {
			t.Errorf("device = %+v", g)
		}
		if d.count() != 1 {
			t.Errorf("described %d times, want once", d.count())
		}
		select {
		case <-v.Changed():
		default:
			t.Error("Changed() is silent")
		}
		time.Sleep(10 * time.Second) // let what led to the change come to rest
		select {
		case <-v.Changed():
		default:
		}
		for range 5 { // refreshed sightings are no change
			ear <- wsdOf(5, "")
			time.Sleep(20 * time.Second)
		}
		select {
		case <-v.Changed():
			t.Errorf("Changed() without a change: %+v", v.Devices())
		default:
		}
	})
}

func TestKeyStaysWhenStrongerEvidenceComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, d := make(air), &desk{answer: described}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
		ear <- mdnsOf(5, "cam5.local")
		time.Sleep(time.Minute)
		if got := v.Devices(); len(got) != 1 || got[0].Key != "host:cam5.local" || got[0].State != fleet.DeviceOK || len(got[0].Sources) != 1 || len(got[0].Sources[0].Profiles) != 1 {
			t.Fatalf("Devices() = %+v", got)
		}
		ear <- wsdOf(5, ":8080")
		time.Sleep(time.Minute)
		got := v.Devices()
		if len(got) != 1 || got[0].Key != "host:cam5.local" || got[0].Sources[0].Token != "v0" {
			t.Fatalf("Devices() = %+v, want one under its first key, described", got)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.asked[0].Device != "host:cam5.local" {
			t.Errorf("described as %q", d.asked[0].Device)
		}
	})
}

func TestAddressChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, d := make(air), &desk{answer: described}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
		ear <- wsdOf(5, "")
		ear <- mdnsOf(7, "seven.local")
		time.Sleep(time.Minute)
		moved := wsdOf(9, "")
		moved.Claims = wsdOf(5, "").Claims
		ear <- moved
		again := mdnsOf(8, "seven.local") // no EPR: only its name
		ear <- again
		time.Sleep(10 * time.Second)
		if got := v.Devices(); len(got) != 2 || got[0].Addresses[0] != moved.Source {
			t.Fatalf("Devices() = %+v, want two, the first at %v", got, moved.Source)
		}
		time.Sleep(time.Minute)
		ear <- moved
		time.Sleep(50 * time.Second)
		got := v.Devices()
		if len(got) != 2 || got[0].Key != "epr:"+moved.Claims[0].Value || len(got[0].Addresses) != 1 || got[0].Addresses[0] != moved.Source || len(got[0].Endpoints) != 1 {
			t.Fatalf("Devices() = %+v, want the first only at %v", got, moved.Source)
		}
		if got[1].Key != "host:seven.local" || len(got[1].Addresses) != 1 || got[1].Addresses[0] != again.Source {
			t.Errorf("device = %+v, want the same key at %v", got[1], again.Source)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if last := d.asked[len(d.asked)-1]; last.Endpoints[0] != moved.Endpoints[0] {
			t.Errorf("described last at %v, want the new address", last.Endpoints)
		}
	})
}

func TestDescribeFailures(t *testing.T) {
	for _, c := range []struct {
		cause fleet.Cause
		want  fleet.DeviceState
		tries int // in ten minutes
	}{
		{fleet.CauseUnauthorized, fleet.DeviceNeedsCredentials, 1},
		{fleet.CauseLocked, fleet.DeviceLocked, 1},
		{fleet.CauseTimeout, fleet.DeviceUnreachable, 7},
		{fleet.CauseRefused, fleet.DeviceUnreachable, 7},
	} {
		t.Run(string(c.cause), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ear := make(air)
				d := &desk{answer: func(fleet.Target) (fleet.Device, error) {
					return fleet.Device{}, fleet.Errorf(c.cause, "it said no")
				}}
				v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
				for range 10 {
					ear <- wsdOf(5, "")
					time.Sleep(time.Minute)
				}
				got := v.Devices()
				if len(got) != 1 || got[0].State != c.want || got[0].Reason != "it said no" || len(got[0].Sources) != 1 || len(got[0].Sources[0].Profiles[0].Endpoints) != 1 {
					t.Errorf("Devices() = %+v, want one that is %s", got, c.want)
				}
				if n := d.count(); n < c.tries-1 || n > c.tries+1 {
					t.Errorf("described %d times in ten minutes, want about %d", n, c.tries)
				}
				d.mu.Lock()
				d.answer = described
				d.mu.Unlock()
				v.SetCredentials([]fleet.Credentials{{User: "u", Password: "p", Version: 1}})
				time.Sleep(time.Second)
				if got := v.Devices(); got[0].State != fleet.DeviceOK || got[0].Sources[0].Token != "v0" {
					t.Errorf("after new credentials: %+v", got[0])
				}
				d.mu.Lock()
				defer d.mu.Unlock()
				if last := d.asked[len(d.asked)-1]; len(last.Credentials) != 1 || last.Credentials[0].User != "u" {
					t.Errorf("described with %v", last.Credentials)
				}
			})
		})
	}
}

// TestSkewed: a clock that breaks logins is a state, with its fix; one that
// does not is none.
func TestSkewed(t *testing.T) {
	for _, c := range []struct {
		skew time.Duration
		want fleet.DeviceState
		says string
	}{
		{0, fleet.DeviceOK, ""},
		{19 * time.Second, fleet.DeviceOK, ""},
		{-21 * time.Second, fleet.DeviceSkewed, "21s behind"},
		{3 * time.Hour, fleet.DeviceSkewed, "3h0m0s ahead of"},
	} {
		t.Run(c.skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ear := make(air)
				d := &desk{answer: func(g fleet.Target) (fleet.Device, error) {
					r, err := described(g)
					r.ClockSkew = c.skew
					return r, err
				}}
				v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
				ear <- wsdOf(5, "")
				time.Sleep(time.Minute)
				got := v.Devices()[0]
				if got.State != c.want || !strings.Contains(got.Reason, c.says) || c.says != "" && !strings.Contains(got.Reason, "NTP") {
					t.Errorf("state %s: %q, want %s with %q and the fix", got.State, got.Reason, c.want, c.says)
				}
				d.mu.Lock()
				d.answer = func(g fleet.Target) (fleet.Device, error) {
					return fleet.Device{ClockSkew: c.skew}, fleet.Errorf(fleet.CauseUnauthorized, "it said no")
				}
				d.mu.Unlock()
				v.SetCredentials([]fleet.Credentials{{User: "u", Version: 1}})
				time.Sleep(time.Minute)
				if got := v.Devices()[0]; got.State != fleet.DeviceNeedsCredentials || !strings.Contains(got.Reason, c.says) || !strings.Contains(got.Reason, "it said no") {
					t.Errorf("refused: %s: %q", got.State, got.Reason)
				}
			})
		})
	}
}

func TestDescribeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := make(air)
		d := &desk{}
		d.answer = func(g fleet.Target) (fleet.Device, error) {
			time.Sleep(time.Second)
			return described(g)
		}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
		for i := range 40 {
			ear <- wsdOf(i+1, "")
		}
		time.Sleep(5500 * time.Millisecond)
		d.mu.Lock()
		if d.most != 8 || len(d.asked) != 40 {
			t.Errorf("%d at a time, %d in all; want 8 and 40", d.most, len(d.asked))
		}
		d.mu.Unlock()
		if got := v.Devices(); len(got) != 40 {
			t.Errorf("%d devices, want 40", len(got))
		}
	})
}

func TestKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, d := make(air), &desk{answer: described}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
		own := fleet.Credentials{User: "own", Version: 3}
		v.SetCredentials([]fleet.Credentials{{User: "site", Version: 1}})
		v.SetKnown([]fleet.Target{
			{Camera: 1, Device: "url:rtsp://10.9.9.9/live", Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://u:p@10.9.9.9/live"}}},
			{Camera: 2, Device: "url:http://10.9.9.8/onvif/device_service", Credentials: []fleet.Credentials{own}, Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://10.9.9.8/onvif/device_service"}}},
			{Camera: 3, Device: "host:cam5.local"}, // found before the restart, not heard yet
		})
		time.Sleep(time.Second)
		got := v.Devices()
		if len(got) != 2 {
			t.Fatalf("Devices() = %+v, want the two with endpoints", got)
		}
		for _, g := range got {
			if len(g.Via) != 1 || g.Via[0] != fleet.ViaManual || g.Claims[len(g.Claims)-1].Kind != fleet.ClaimURL {
				t.Errorf("device = %+v, want it manual, with a claim url", g)
			}
			for _, e := range g.Endpoints {
				if e.URL == "rtsp://u:p@10.9.9.9/live" {
					t.Error("a login in a URL got through")
				}
			}
		}
		d.mu.Lock()
		if len(d.asked) != 1 || len(d.asked[0].Credentials) != 2 || d.asked[0].Credentials[0] != own || d.asked[0].Device != got[0].Key {
			t.Errorf("asked %+v", d.asked)
		}
		d.mu.Unlock()
		ear <- wsdOf(5, "")
		ear <- mdnsOf(5, "cam5.local")
		time.Sleep(time.Second)
		if got := v.Devices(); len(got) != 3 || got[0].Key != "host:cam5.local" || len(got[0].Via) != 2 {
			t.Errorf("Devices() = %+v, want the heard one under the centre's key", got)
		}
		v.SetKnown(nil)
		time.Sleep(time.Second)
		if got := v.Devices(); len(got) != 1 || got[0].Key != "host:cam5.local" {
			t.Errorf("Devices() = %+v, want only the heard one", got)
		}
	})
}

func TestEvidenceAloneIsNoDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := make(air)
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}})
		page := mdnsOf(5, "nas.local")
		page.Endpoints = nil
		ear <- page
		bye := wsdOf(6, "")
		bye.Gone = true
		ear <- bye
		time.Sleep(time.Minute)
		if got := v.Devices(); len(got) != 0 {
			t.Errorf("Devices() = %+v, want none", got)
		}
	})
}

// TestHintsMakeNoDevice: a router that UPnP tells of is none; what a hint says of
// a camera is kept as its evidence; and a hint that turns out to be a camera
// becomes one.
func TestHintsMakeNoDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := make(air)
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}})
		router := upnpOf(5)
		router.Hint = true
		ear <- router
		page := upnpOf(6)
		page.Hint = true
		ear <- page
		ear <- wsdOf(6, "")
		time.Sleep(time.Minute)
		got := v.Devices()
		if len(got) != 1 || len(got[0].Claims) != 2 || got[0].Addresses[0] != wsdOf(6, "").Source {
			t.Fatalf("Devices() = %+v, want the camera alone, with the hint's claim", got)
		}
		router.Hint = false
		ear <- router
		time.Sleep(time.Minute)
		if got := v.Devices(); len(got) != 2 {
			t.Errorf("Devices() = %+v, want both", got)
		}
	})
}

func TestByeAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := make(air)
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}})
		ear <- wsdOf(5, "")
		time.Sleep(time.Second)
		forged := wsdOf(5, "")
		forged.Gone, forged.Source = true, netip.MustParseAddr("10.0.0.66")
		ear <- forged
		time.Sleep(time.Second)
		if got := v.Devices(); got[0].State != fleet.DeviceOK {
			t.Errorf("a goodbye from elsewhere counts: %+v", got)
		}
		bye := wsdOf(5, "")
		bye.Gone, bye.Endpoints = true, nil
		ear <- bye
		time.Sleep(time.Second)
		if got := v.Devices(); len(got) != 1 || got[0].State != fleet.DeviceUnreachable || len(got[0].Endpoints) != 1 {
			t.Errorf("after its goodbye: %+v", got)
		}
		ear <- wsdOf(5, "")
		time.Sleep(time.Second)
		if got := v.Devices(); got[0].State != fleet.DeviceOK {
			t.Errorf("back again: %+v", got)
		}
		time.Sleep(6 * time.Minute)
		if got := v.Devices(); got[0].State != fleet.DeviceUnreachable {
			t.Errorf("silent for six minutes: %+v", got)
		}
		time.Sleep(25 * time.Hour)
		if got := v.Devices(); len(got) != 0 {
			t.Errorf("silent for a day: %+v", got)
		}
	})
}

func TestFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := make(air)
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}})
		for i := range 2000 {
			s := wsdOf(i, "")
			s.Source = netip.MustParseAddr("10.0.0.66")
			ear <- s
		}
		for i := range 5000 {
			ear <- wsdOf(i, "")
		}
		time.Sleep(time.Minute)
		if n := len(v.Devices()); n != 4096 {
			t.Errorf("%d devices, want the cap", n)
		}
	})
}

// failing is a Finder that cannot work twice and then waits.
type failing struct{ starts atomic.Int32 }

func (f *failing) Find(ctx context.Context, _ func(fleet.Sighting)) error {
	if f.starts.Add(1) < 3 {
		return fmt.Errorf("no sockets left")
	}
	<-ctx.Done()
	return nil
}

func TestFinderIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &failing{}
		run(t, inventory.Options{Finders: []protocols.Finder{f}})
		time.Sleep(time.Minute)
		if n := f.starts.Load(); n != 3 {
			t.Errorf("started %d times, want 3", n)
		}
	})
}

func TestUPnPAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear := make(air)
		d := &desk{answer: func(fleet.Target) (fleet.Device, error) {
			return fleet.Device{}, fleet.Errorf(fleet.CauseNotFound, "no such page")
		}}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
		ear <- upnpOf(5)
		time.Sleep(time.Second)
		got := v.Devices()
		if len(got) != 1 || got[0].State != fleet.DeviceUnreachable || !strings.Contains(got[0].Reason, "cameras add") || !strings.Contains(got[0].Reason, "no such page") || len(got[0].Sources) != 1 {
			t.Fatalf("Devices() = %+v", got)
		}
		d.mu.Lock()
		if e := d.asked[0].Endpoints; len(e) != 1 || e[0].URL != "http://10.0.0.5/onvif/device_service" {
			t.Errorf("asked at %v", e)
		}
		d.answer = func(g fleet.Target) (fleet.Device, error) {
			r, err := described(g)
			r.Endpoints = g.Endpoints
			return r, err
		}
		d.mu.Unlock()
		time.Sleep(10 * time.Second)
		if got := v.Devices(); got[0].State != fleet.DeviceOK || len(got[0].Endpoints) != 1 || got[0].Sources[0].Token != "v0" {
			t.Errorf("described on the second try: %+v", got)
		}
	})
}

// TestApprovalChangesNothing: the centre names a device that was found; it
// stays as it is and is not described again.
func TestApprovalChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ear, d := make(air), &desk{answer: described}
		v := run(t, inventory.Options{Finders: []protocols.Finder{ear}, Describer: d})
		ear <- mdnsOf(5, "cam5.local")
		time.Sleep(time.Second)
		ear <- wsdOf(5, "")
		time.Sleep(time.Second)
		before := v.Devices()
		v.SetKnown([]fleet.Target{{Camera: 1, Device: before[0].Key, Source: "v0", Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://10.0.0.5/resolved"}}}})
		time.Sleep(time.Second)
		if after := v.Devices(); fmt.Sprint(after) != fmt.Sprint(before) || d.count() != 1 {
			t.Errorf("before %+v\nafter %+v\ndescribed %d times", before, after, d.count())
		}
	})
}

func ExampleInventory() {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	v := inventory.New(inventory.Options{}) // with Finders, it would hear something
	v.SetKnown([]fleet.Target{{
		Device:    "url:rtsp://192.0.2.7/live",
		Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://192.0.2.7/live"}},
	}})
	if err := v.Run(ctx); err != nil {
		fmt.Println(err)
	}
	fmt.Println(len(v.Devices()), "devices so soon") // a device has 300 ms to be heard in other ways
	// Output: 0 devices so soon
}
