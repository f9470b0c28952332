package census_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/protocols/census"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
	"github.com/shutterfleet/shutterfleet/protocols/sweep"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// said is a finder that hears what it is told to.
type said []fleet.Sighting

func (s said) Find(ctx context.Context, heard func(fleet.Sighting)) error {
	for _, v := range s {
		heard(v)
	}
	<-ctx.Done()
	return nil
}

func epr(n int) []fleet.Claim {
	return []fleet.Claim{{Kind: fleet.ClaimEPR, Value: fmt.Sprint("urn:uuid:", n)}}
}

func ExampleCount() {
	present := []census.Device{{Name: "gate", Claims: epr(1)}, {Name: "yard", Claims: epr(2)}}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	r, err := census.Count(ctx, said{{Claims: epr(2)}, {Claims: epr(7)}, {Claims: epr(1), Hint: true}}, present, 0)
	fmt.Println(r.Found, "of", r.Present, "missed", r.Missed, "strangers", r.Strangers, err)
	// Output: 1 of 2 missed [gate] strangers 1 <nil>
}

func TestCount(t *testing.T) {
	present := []census.Device{{Name: "a", Claims: append(epr(1), fleet.Claim{Kind: fleet.ClaimMAC, Value: "m"})}, {Name: "b", Claims: epr(2)}, {Name: "c", Claims: epr(3)}}
	mac := fleet.Sighting{Claims: []fleet.Claim{{Kind: fleet.ClaimMAC, Value: "m"}}}
	for _, c := range []struct {
		name  string
		heard said
		want  census.Report
	}{
		{"nothing", nil, census.Report{Present: 3, Missed: []string{"a", "b", "c"}}},
		{"all, one by two names", said{{Claims: epr(1)}, mac, {Claims: epr(2)}, {Claims: epr(3)}}, census.Report{Present: 3, Found: 3, Sightings: 4}},
		{"goodbyes and hints do not count", said{{Claims: epr(1), Gone: true}, {Claims: epr(2), Hint: true}, {Claims: epr(9), Hint: true}}, census.Report{Present: 3, Missed: []string{"a", "b", "c"}, Sightings: 3}},
		{"strangers count once", said{{Claims: epr(8)}, {Claims: epr(8)}, {Source: netip.MustParseAddr("10.0.0.9")}, {Claims: epr(3)}}, census.Report{Present: 3, Found: 1, Missed: []string{"a", "b"}, Strangers: 2, Sightings: 4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			got, err := census.Count(ctx, c.heard, present, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got.Found > 0 && (got.First <= 0 || got.Last < got.First || got.Found > 1 && (got.Half < got.First || got.Half > got.Last)) {
				t.Errorf("times %v %v %v", got.First, got.Half, got.Last)
			}
			got.First, got.Half, got.Last = 0, 0, 0
			if !slices.Equal(got.Missed, c.want.Missed) || got.Found != c.want.Found || got.Strangers != c.want.Strangers || got.Sightings != c.want.Sightings || got.Present != 3 {
				t.Errorf("Count = %+v, want %+v", got, c.want)
			}
		})
	}
}

// way is one finder and the cameras that it should find.
type way struct {
	name    string
	finder  protocols.Finder
	present []census.Device
}

// ways runs n virtual cameras and returns the ways of finding them.
func ways(tb testing.TB, n int) []way {
	tb.Helper()
	town, err := camtest.New(camtest.Options{Cameras: camtest.Many(n)})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- town.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Error(err)
		}
	})
	<-town.Ready()
	via := map[fleet.Via][]census.Device{}
	for _, c := range town.Cameras() {
		d := census.Device{Name: c.Name, Claims: []fleet.Claim{{Kind: fleet.ClaimEPR, Value: c.EPR}, {Kind: fleet.ClaimUDN, Value: c.EPR[len("urn:"):]}, {Kind: fleet.ClaimMAC, Value: c.MAC}}}
		for _, v := range c.Via {
			via[v] = append(via[v], d)
		}
	}
	swept, err := sweep.New(sweep.Options{
		Subnets: []netip.Prefix{netip.PrefixFrom(town.Cameras()[0].Addr, 24).Masked()}, Rate: 200,
		Probe: func(ctx context.Context, a netip.Addr) ([]fleet.Sighting, error) {
			return wsdiscovery.Probe(ctx, a, wsdiscovery.ProbeOptions{})
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return []way{
		{"wsdiscovery", wsdiscovery.New(wsdiscovery.Options{Interfaces: lan.Loopback}), via[fleet.ViaWSDiscovery]},
		{"mdns", mdns.New(mdns.Options{Interfaces: lan.Loopback}), via[fleet.ViaMDNS]},
		{"upnp", upnp.New(upnp.Options{Interfaces: lan.Loopback}), via[fleet.ViaUPnP]},
		{"sweep", swept, via[fleet.ViaWSDiscovery]},
	}
}

// TestEveryCameraIsFound: on loopback, where nothing is lost, each way finds
// all that answer it.
func TestEveryCameraIsFound(t *testing.T) {
	for _, w := range ways(t, 24) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		r, err := census.Count(ctx, w.finder, w.present, 0)
		cancel()
		if err != nil || r.Found != len(w.present) || r.Found == 0 {
			t.Errorf("%s: %v, %v", w.name, r, err)
		}
		t.Logf("%s: %v", w.name, r)
	}
}

// BenchmarkFind reports devices found of those present, and the milliseconds
// until the first, half and the last of them; sweep asks a /24 at 200 addresses
// a second. One round is one census: -benchtime 1x.
func BenchmarkFind(b *testing.B) {
	for _, w := range ways(b, 99) {
		b.Run(fmt.Sprintf("%s/%d", w.name, len(w.present)), func(b *testing.B) {
			for b.Loop() {
				ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
				r, err := census.Count(ctx, w.finder, w.present, 0)
				cancel()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(r.Found)/float64(r.Present), "found/present")
				b.ReportMetric(float64(r.First.Milliseconds()), "ms-first")
				b.ReportMetric(float64(r.Half.Milliseconds()), "ms-half")
				b.ReportMetric(float64(r.Last.Milliseconds()), "ms-last")
			}
		})
	}
}
