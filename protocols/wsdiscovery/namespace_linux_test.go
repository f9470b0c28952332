package wsdiscovery_test

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan/lantest"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

// TestIPv6 runs in a network namespace of its own, where an interface with
// IPv6 comes, goes and comes back while the finder runs, and nothing that is
// sent can leave. It is skipped where user namespaces or ip are missing.
func TestIPv6(t *testing.T) {
	if !lantest.InNamespace(t) {
		return
	}
	ip := func(args string) {
		t.Helper()
		lantest.IP(t, args)
	}
	up := func() {
		t.Helper()
		ip("link add cam0 type veth peer name far0")
		ip("link set far0 up")
		ip("link set cam0 up multicast on")
		ip("addr add fe80::5/64 dev cam0 nodad")
	}
	ip("link set lo up")

	const epr = "urn:uuid:5f1de000-0000-4000-8000-00000000a006"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	heard := make(chan fleet.Sighting, 64)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := wsdiscovery.New(wsdiscovery.Options{}).Find(ctx, func(s fleet.Sighting) {
			if s.Interface != "cam0" { // the far end hears it too
				return
			}
			select {
			case heard <- s:
			default:
			}
		})
		if err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	for round := range 2 {
		up()
		stop := answer6(t, epr)
		select {
		case s := <-heard:
			want := fleet.Endpoint{Protocol: fleet.ONVIF, URL: "http://[fe80::5%25cam0]:81/onvif/device_service"}
			if s.Source != netip.MustParseAddr("fe80::5%cam0") || s.Interface != "cam0" || len(s.Endpoints) != 1 || s.Endpoints[0] != want {
				t.Errorf("round %d: sighting = %+v, want it at %v", round, s, want)
			}
		case <-ctx.Done():
			t.Fatalf("round %d: nothing heard over IPv6", round)
		}
		stop()
		ip("link del cam0")
		for len(heard) > 0 {
			<-heard
		}
	}
}

// answer6 answers probes on cam0 over IPv6 until stop is called.
func answer6(t *testing.T, epr string) (stop func()) {
	t.Helper()
	ifi, err := net.InterfaceByName("cam0")
	if err != nil {
		t.Fatal(err)
	}
	in, err := net.ListenMulticastUDP("udp6", ifi, &net.UDPAddr{IP: net.ParseIP("ff02::c"), Port: 3702})
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.ParseIP("fe80::5"), Zone: strconv.Itoa(ifi.Index)})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := in.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if strings.Contains(string(buf[:n]), "Probe>") {
				_, _ = out.WriteToUDP([]byte(matches(epr, "dn:NetworkVideoTransmitter", "http://[2001:db8::1]:81/onvif/device_service")), from)
			}
		}
	})
	return func() { in.Close(); out.Close(); wg.Wait() }
}
