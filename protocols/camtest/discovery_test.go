package camtest_test

import (
	"context"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

func lo() ([]net.Interface, error) {
	all, err := net.Interfaces()
	return slices.DeleteFunc(all, func(i net.Interface) bool { return i.Flags&net.FlagLoopback == 0 }), err
}

// TestFound hears every camera by every way it makes itself known, on loopback.
func TestFound(t *testing.T) {
	town := start(t, camtest.Options{})
	for via, f := range map[fleet.Via]protocols.Finder{
		fleet.ViaWSDiscovery: wsdiscovery.New(wsdiscovery.Options{Interfaces: lo}),
		fleet.ViaMDNS:        mdns.New(mdns.Options{Interfaces: lo}),
		fleet.ViaUPnP:        upnp.New(upnp.Options{Interfaces: lo}),
	} {
		t.Run(string(via), func(t *testing.T) {
			missing := map[string]string{}
			for _, c := range town.Cameras() {
				if slices.Contains(c.Found, via) {
					missing[c.Addr.String()] = c.Name
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := f.Find(ctx, func(s fleet.Sighting) {
				delete(missing, s.Source.String())
				if len(missing) == 0 {
					cancel()
				}
			}); err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			if len(missing) > 0 {
				t.Errorf("not heard: %v", missing)
			}
		})
	}
}
