package finding_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/finding"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// TestOwn finds a whole street, each camera once, and takes its pictures.
func TestOwn(t *testing.T) {
	town, err := camtest.New(camtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- town.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-town.Ready()
	f, err := finding.Own(ctx, town, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	n := len(town.Cameras())
	if f.Cameras != n || f.Found != n || f.Devices != n || f.Described != n || f.Frames != n {
		t.Errorf("of %d cameras: %+v", n, f)
	}
	for via, w := range f.Ways {
		if w.Present == 0 || w.Found != w.Present || w.LastMS < w.FirstMS {
			t.Errorf("%s: %+v", via, w)
		}
	}
}

func TestWayOf(t *testing.T) {
	a, b, c := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	got := finding.WayOf([]netip.Addr{a, b}, map[netip.Addr]time.Duration{b: 3 * time.Millisecond, c: time.Millisecond})
	if want := (finding.Way{Present: 2, Found: 1, FirstMS: 3, LastMS: 3}); got != want {
		t.Errorf("%+v, want %+v: what is not of the town does not count", got, want)
	}
}
