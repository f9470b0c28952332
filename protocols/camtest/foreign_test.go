package camtest_test

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/huin/goupnp"
	"github.com/huin/goupnp/httpu"
	"github.com/huin/goupnp/ssdp"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// TestForeignUPnP has the UPnP cameras of a street found and read by a library
// that this project did not write: what the town answers is UPnP, and not merely
// what our own finder takes for it.
func TestForeignUPnP(t *testing.T) {
	town, err := camtest.New(camtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- town.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-town.Ready()

	c, err := httpu.NewHTTPUClientAddr("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ours, speak := map[netip.Addr]bool{}, 0 // other towns may answer too
	for _, cam := range town.Cameras() {
		ours[cam.Addr] = true
		if slices.Contains(cam.Via, fleet.ViaUPnP) {
			speak++
		}
	}
	found := map[netip.Addr]*goupnp.RootDevice{}
	search := func() {
		searching, stop := context.WithTimeout(ctx, 2*time.Second)
		defer stop()
		answers, err := ssdp.RawSearch(searching, c, ssdp.SSDPAll, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range answers {
			at, err := a.Location()
			if err != nil {
				t.Fatal(err)
			}
			addr, err := netip.ParseAddr(at.Hostname())
			if err != nil {
				t.Fatal(err)
			}
			if ours[addr] && found[addr] == nil {
				if found[addr], err = goupnp.DeviceByURLCtx(ctx, at); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	// A busy machine may answer later than the search waits.
	for range 20 {
		if search(); len(found) >= speak {
			break
		}
	}
	for _, cam := range town.Cameras() {
		heard := slices.Contains(cam.Via, fleet.ViaUPnP)
		d := found[cam.Addr]
		switch {
		case heard != (d != nil):
			t.Errorf("%s: found %t, want %t", cam.Name, d != nil, heard)
		case d != nil && (d.Device.Manufacturer != cam.Vendor || d.Device.ModelName != cam.Model || d.Device.UDN != "uuid:"+cam.EPR[len("urn:uuid:"):]):
			t.Errorf("%s describes itself as %+v", cam.Name, d.Device)
		}
	}
}
