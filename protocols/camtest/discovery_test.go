package camtest_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

type finder interface {
	Find(ctx context.Context, heard func(fleet.Sighting)) error
}

func onLoopback() ([]net.Interface, error) {
	all, err := net.Interfaces()
	return slices.DeleteFunc(all, func(i net.Interface) bool { return i.Flags&net.FlagLoopback == 0 }), err
}

// search collects what a finder hears until the test ends.
func search(t *testing.T, f finder) <-chan fleet.Sighting {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	heard := make(chan fleet.Sighting, 4096)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f.Find(ctx, func(s fleet.Sighting) {
			select {
			case heard <- s:
			default:
			}
		}); err != nil {
			t.Errorf("Find: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return heard
}

// await returns the first sighting that fits.
func await(t *testing.T, heard <-chan fleet.Sighting, what string, fits func(fleet.Sighting) bool) fleet.Sighting {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case s := <-heard:
			if fits(s) {
				return s
			}
		case <-limit:
			t.Fatalf("%s was not heard in a minute", what)
		}
	}
}

func finders() map[fleet.Via]finder {
	return map[fleet.Via]finder{
		fleet.ViaWSDiscovery: wsdiscovery.New(wsdiscovery.Options{Interfaces: onLoopback}),
		fleet.ViaMDNS:        mdns.New(mdns.Options{Interfaces: onLoopback}),
		fleet.ViaUPnP:        upnp.New(upnp.Options{Interfaces: onLoopback}),
	}
}

// identity returns what a camera is known by in one way of discovery.
func identity(i camtest.Info, v fleet.Via) fleet.Claim {
	switch v {
	case fleet.ViaWSDiscovery:
		return fleet.Claim{Kind: fleet.ClaimEPR, Value: i.EPR}
	case fleet.ViaMDNS:
		return fleet.Claim{Kind: fleet.ClaimMAC, Value: i.MAC}
	default:
		return fleet.Claim{Kind: fleet.ClaimUDN, Value: i.EPR[len("urn:"):]}
	}
}

func TestStreetIsFoundInAllWays(t *testing.T) {
	town := run(t, camtest.Options{})
	cams := town.Cameras()
	for via, f := range finders() {
		t.Run(string(via), func(t *testing.T) {
			want := map[fleet.Claim]camtest.Info{}
			for _, c := range cams {
				if slices.Contains(c.Via, via) {
					want[identity(c, via)] = c
				}
			}
			if len(want) < 4 {
				t.Fatalf("only %d cameras answer %s", len(want), via)
			}
			heard := search(t, f)
			for len(want) > 0 {
				var c camtest.Info
				s := await(t, heard, "one of the cameras", func(s fleet.Sighting) bool {
					for _, claim := range s.Claims {
						if i, ok := want[claim]; ok && i.Addr == s.Source {
							c = i
							delete(want, claim)
							return true
						}
					}
					return false
				})
				if s.Vendor != c.Vendor || s.Model != c.Model {
					t.Errorf("%s: vendor %q, model %q, want %q, %q", c.Name, s.Vendor, s.Model, c.Vendor, c.Model)
				}
				if via == fleet.ViaWSDiscovery && !slices.Contains(s.Endpoints, fleet.Endpoint{Protocol: fleet.ONVIF, URL: c.ONVIF}) {
					t.Errorf("%s: endpoints %v lack %s", c.Name, s.Endpoints, c.ONVIF)
				}
				if via == fleet.ViaMDNS && c.RTSP != "" && !slices.Contains(s.Endpoints, fleet.Endpoint{Protocol: fleet.RTSP, URL: c.RTSP}) {
					// Services of one host may come in several datagrams.
					await(t, heard, c.RTSP, func(s fleet.Sighting) bool {
						return slices.Contains(s.Endpoints, fleet.Endpoint{Protocol: fleet.RTSP, URL: c.RTSP})
					})
				}
			}
		})
	}
}

func TestAddressChangeIsAnnounced(t *testing.T) {
	for via, f := range finders() {
		t.Run(string(via), func(t *testing.T) {
			c := camtest.Street()[4] // speaks and answers in all ways
			c.Open = true
			town := run(t, camtest.Options{Cameras: []camtest.Camera{c}})
			before := town.Cameras()[0]
			heard := search(t, f)
			at := func(i camtest.Info) func(fleet.Sighting) bool {
				return func(s fleet.Sighting) bool {
					return s.Source == i.Addr && !s.Gone && slices.Contains(s.Claims, identity(i, via))
				}
			}
			await(t, heard, "the camera", at(before))
			if err := town.SetFault(c.Name, camtest.ChangedAddress, true); err != nil {
				t.Fatal(err)
			}
			after := town.Cameras()[0]
			if after.Addr == before.Addr || after.EPR != before.EPR {
				t.Fatalf("%v, %s became %v, %s", before.Addr, before.EPR, after.Addr, after.EPR)
			}
			await(t, heard, "the camera at its new address", at(after))
			if res, _ := get(t, after.Snapshot, ""); res.StatusCode != 200 {
				t.Errorf("%s: %s", after.Snapshot, res.Status)
			}
			if conn, err := net.DialTimeout("tcp", before.Snapshot[len("http://"):len(before.Snapshot)-len("/snapshot.jpg")], time.Second); err == nil {
				_ = conn.Close()
				t.Error("the camera still serves at its old address")
			}
		})
	}
}

func TestTownSaysGoodbye(t *testing.T) {
	for via, f := range finders() {
		t.Run(string(via), func(t *testing.T) {
			heard := search(t, f)
			var c camtest.Info
			t.Run("town", func(t *testing.T) {
				one := camtest.Street()[4]
				// A block of its own: another process's town could take a freed one
				// at once, and with it the identity that has just said goodbye.
				c = run(t, camtest.Options{Cameras: []camtest.Camera{one}, Base: netip.MustParseAddr("127.0.201.1")}).Cameras()[0]
				await(t, heard, "the camera", func(s fleet.Sighting) bool { return slices.Contains(s.Claims, identity(c, via)) })
			})
			await(t, heard, "its goodbye", func(s fleet.Sighting) bool { return s.Gone && slices.Contains(s.Claims, identity(c, via)) })
		})
	}
}

// TestAskedByUnicast: a camera that answers WS-Discovery is found at its own
// address, and no other answers there.
func TestAskedByUnicast(t *testing.T) {
	town := run(t, camtest.Options{})
	for _, c := range town.Cameras() {
		answers := slices.Contains(c.Via, fleet.ViaWSDiscovery)
		var got []fleet.Sighting
		// A busy machine may answer later than the probe waits.
		for wait := 500 * time.Millisecond; wait < time.Minute; wait *= 2 {
			var err error
			if got, err = wsdiscovery.Probe(t.Context(), c.Addr, wsdiscovery.ProbeOptions{Wait: wait}); err != nil {
				t.Fatal(err)
			}
			if len(got) > 0 || !answers {
				break
			}
		}
		if !answers {
			if len(got) > 0 {
				t.Errorf("%s: Probe = %+v, want silence", c.Name, got)
			}
			continue
		}
		if len(got) != 1 || got[0].Claims[0].Value != c.EPR || got[0].Endpoints[0].URL != c.ONVIF {
			t.Errorf("%s: Probe = %+v, want %s at %s", c.Name, got, c.EPR, c.ONVIF)
		}
	}
}
