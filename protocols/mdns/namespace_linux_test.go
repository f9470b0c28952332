package mdns_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan/lantest"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
)

// TestIPv6 runs in a network of its own, where an interface with nothing but
// IPv6 comes, goes and comes back while the finder runs.
func TestIPv6(t *testing.T) {
	if !lantest.InNamespace(t) {
		return
	}
	lantest.IP(t, "link set lo up")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	heard := make(chan fleet.Sighting, 256)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := mdns.New(mdns.Options{}).Find(ctx, func(s fleet.Sighting) {
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
		stop := answer6(t,
			`_rtsp._tcp.local. 120 IN PTR A._rtsp._tcp.local.`, `A._rtsp._tcp.local. 120 IN SRV 0 0 8554 sf-six.local.`, `A._rtsp._tcp.local. 120 IN TXT "path=/a"`,
			`_rtsp._tcp.local. 120 IN PTR B._rtsp._tcp.local.`, `B._rtsp._tcp.local. 120 IN SRV 0 0 8554 sf-six.local.`, `B._rtsp._tcp.local. 120 IN TXT "path=/b"`,
			`sf-six.local. 120 IN AAAA fe80::5`, `sf-six.local. 120 IN AAAA 2001:db8::99`, `sf-six.local. 120 IN A 192.0.2.9`)
		want := []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://[fe80::5%25cam0]:8554/a"}, {Protocol: fleet.RTSP, URL: "rtsp://[fe80::5%25cam0]:8554/b"}}
		for found := false; !found; {
			select {
			case s := <-heard:
				if s.Source != netip.MustParseAddr("fe80::5%cam0") {
					t.Errorf("round %d: source %v is not the neighbour", round, s.Source)
				}
				found = slices.Equal(s.Endpoints, want)
			case <-ctx.Done():
				t.Fatalf("round %d: both streams were not heard over IPv6", round)
			}
		}
		stop()
		lantest.IP(t, "link del cam0")
		for len(heard) > 0 {
			<-heard
		}
	}
}

// answer6 answers questions on cam0 over IPv6 until stop is called.
func answer6(t *testing.T, records ...string) (stop func()) {
	t.Helper()
	ifi, err := net.InterfaceByName("cam0")
	if err != nil {
		t.Fatal(err)
	}
	in, err := net.ListenMulticastUDP("udp6", ifi, &net.UDPAddr{IP: net.ParseIP("ff02::fb"), Port: 5353})
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.ParseIP("fe80::5"), Zone: strconv.Itoa(ifi.Index)})
	if err != nil {
		t.Fatal(err)
	}
	var rrs []dns.RR
	for _, s := range records {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 9000)
		for {
			n, from, err := in.ReadFromUDP(buf)
			if err != nil {
				return
			}
			var q dns.Msg
			if q.Unpack(buf[:n]) != nil || q.Response {
				continue
			}
			m := dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Authoritative: true}, Compress: true}
			for _, asked := range q.Question {
				for _, rr := range rrs {
					if h := rr.Header(); strings.EqualFold(h.Name, asked.Name) && h.Rrtype == asked.Qtype {
						m.Answer = append(m.Answer, rr)
					}
				}
			}
			if b, err := m.Pack(); err == nil && len(m.Answer) > 0 {
				_, _ = out.WriteToUDP(b, from)
			}
		}
	})
	return func() { in.Close(); out.Close(); wg.Wait() }
}
