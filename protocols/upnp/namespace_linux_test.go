package upnp_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan/lantest"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
)

// TestIPv6 runs in a network of its own, where an interface with nothing but
// IPv6 comes, goes and comes back while the finder runs.
func TestIPv6(t *testing.T) {
	if !lantest.InNamespace(t) {
		return
	}
	lantest.IP(t, "link set lo up")
	const udn = "uuid:upnp-basicdevice-1_0-accc8e010206"
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	heard := make(chan fleet.Sighting, 256)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := upnp.New(upnp.Options{}).Find(ctx, func(s fleet.Sighting) {
			if s.Interface == "cam0" { // the far end hears it too
				select {
				case heard <- s:
				default:
				}
			}
		}); err != nil {
			t.Error(err)
		}
	})
	defer wg.Wait()
	defer cancel()
	for round := range 2 {
		for _, args := range []string{
			"link add cam0 type veth peer name far0", "link set far0 up", "link set cam0 up multicast on", "addr add fe80::5/64 dev cam0 nodad",
		} {
			lantest.IP(t, args)
		}
		stop := device6(t, udn)
		select {
		case s := <-heard:
			if s.Source != netip.MustParseAddr("fe80::5%cam0") || !isUDN(s, udn) || s.Hint || s.Vendor != "AXIS" || s.Claims[len(s.Claims)-1] != (fleet.Claim{Kind: fleet.ClaimMAC, Value: "ac:cc:8e:01:02:06"}) {
				t.Errorf("round %d: sighting = %+v", round, s)
			}
		case <-ctx.Done():
			t.Fatalf("round %d: nothing heard over IPv6", round)
		}
		stop()
		lantest.IP(t, "link del cam0")
		for len(heard) > 0 {
			<-heard
		}
	}
}

// device6 answers searches on cam0 over IPv6, and serves its description at
// its link-local address, until stop is called.
func device6(t *testing.T, udn string) (stop func()) {
	t.Helper()
	ifi, err := net.InterfaceByName("cam0")
	if err != nil {
		t.Fatal(err)
	}
	in, err := net.ListenMulticastUDP("udp6", ifi, &net.UDPAddr{IP: net.ParseIP("ff02::c"), Port: 1900})
	if err != nil {
		t.Fatal(err)
	}
	zone := strconv.Itoa(ifi.Index)
	out, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.ParseIP("fe80::5"), Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.ListenTCP("tcp6", &net.TCPAddr{IP: net.ParseIP("fe80::5"), Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, camera) })}
	location := fmt.Sprintf("http://[fe80::5]:%d/desc.xml", ln.Addr().(*net.TCPAddr).Port)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	wg.Go(func() {
		buf := make([]byte, 9000)
		for {
			n, from, err := in.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if strings.HasPrefix(string(buf[:n]), "M-SEARCH") {
				_, _ = out.WriteToUDP([]byte(answerTo(udn, location)), from)
			}
		}
	})
	return func() { in.Close(); out.Close(); srv.Close(); wg.Wait() }
}
