package mdns_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	announcer "github.com/hashicorp/mdns"
	"github.com/miekg/dns"
	"go.uber.org/goleak"
	"golang.org/x/net/ipv4"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleFinder_Find() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	f := mdns.New(mdns.Options{Interfaces: lan.Loopback})
	err := f.Find(ctx, func(s fleet.Sighting) {
		_ = s.Endpoints // hand it to an inventory
	})
	fmt.Println(err)
	// Output: <nil>
}

func lo(t *testing.T) *net.Interface {
	t.Helper()
	all, err := lan.Loopback()
	if err != nil || len(all) == 0 {
		t.Skipf("no loopback interface (err %v)", err)
	}
	return &all[0]
}

var group = &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353}

func find(t *testing.T, o mdns.Options, enough func(fleet.Sighting) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // far beyond any machine
	defer cancel()
	ok := false
	if err := mdns.New(o).Find(ctx, func(s fleet.Sighting) {
		if !ok && enough(s) {
			ok = true
			cancel()
		}
	}); err != nil {
		t.Fatal(err)
	}
	if !ok {
		t.Fatal("not heard within a minute")
	}
}

func host(s fleet.Sighting) string {
	for _, c := range s.Claims {
		if c.Kind == fleet.ClaimHost {
			return c.Value
		}
	}
	return ""
}

// TestFindAnnouncer finds a service that another implementation announces.
func TestFindAnnouncer(t *testing.T) {
	zone, err := announcer.NewMDNSService("Yard 7", "_rtsp._tcp", "", "sf-yard.local.", 8554, []net.IP{net.ParseIP("127.0.1.211")}, []string{"path=/stream1"})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := announcer.NewServer(&announcer.Config{Zone: zone, Iface: lo(t), Logger: log.New(io.Discard, "", 0)})
	if err != nil {
		t.Skipf("no announcer on loopback: %v", err)
	}
	t.Cleanup(func() { _ = srv.Shutdown() })
	find(t, mdns.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		if host(s) != "sf-yard.local" {
			return false
		}
		if s.Source != netip.MustParseAddr("127.0.1.211") || s.Name != "Yard 7" || s.Gone ||
			!slices.Equal(s.Endpoints, []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://127.0.1.211:8554/stream1"}}) {
			t.Errorf("sighting = %+v", s)
		}
		return true
	})
}

// responder answers the way a strict device does: each record only when it is
// asked for, and to the port that asked.
type responder struct {
	in, out *net.UDPConn
	records []dns.RR
}

func newResponder(t *testing.T, records ...string) *responder {
	t.Helper()
	r := &responder{}
	for _, s := range records {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		r.records = append(r.records, rr)
	}
	var err error
	if r.in, err = net.ListenMulticastUDP("udp4", lo(t), group); err != nil {
		t.Skipf("no multicast on loopback: %v", err)
	}
	if r.out, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 9000)
		for {
			n, from, err := r.in.ReadFromUDP(buf)
			if err != nil {
				return
			}
			var q dns.Msg
			if q.Unpack(buf[:n]) != nil || q.Response {
				continue
			}
			m := dns.Msg{MsgHdr: dns.MsgHdr{Id: q.Id, Response: true, Authoritative: true}, Compress: true}
			for _, question := range q.Question {
				for _, rr := range r.records {
					if h := rr.Header(); strings.EqualFold(h.Name, question.Name) && h.Rrtype == question.Qtype {
						m.Answer = append(m.Answer, rr)
					}
				}
			}
			if b, err := m.Pack(); err == nil && len(m.Answer) > 0 {
				_, _ = r.out.WriteToUDP(b, from)
			}
		}
	})
	t.Cleanup(func() { r.in.Close(); r.out.Close(); wg.Wait() })
	return r
}

// TestManyInstancesOneHost: a recorder announces each channel, and each record
// comes in an answer of its own.
func TestManyInstancesOneHost(t *testing.T) {
	const channels = 12
	rs := []string{`sf-nvr.local. 120 IN A 127.0.1.212`, `_onvif._tcp.local. 120 IN PTR NVR._onvif._tcp.local.`, `NVR._onvif._tcp.local. 120 IN SRV 0 0 8080 sf-nvr.local.`,
		`NVR._onvif._tcp.local. 120 IN TXT "macaddress=ACCC8E000102" "model=N1"`}
	for i := range channels {
		n := fmt.Sprintf(`Channel\ %d._rtsp._tcp.local.`, i)
		rs = append(rs, `_rtsp._tcp.local. 120 IN PTR `+n, n+` 120 IN SRV 0 0 554 sf-nvr.local.`, n+fmt.Sprintf(` 120 IN TXT "path=/ch%d"`, i))
	}
	newResponder(t, rs...)
	find(t, mdns.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		if host(s) != "sf-nvr.local" || len(s.Endpoints) < channels+1 {
			return false
		}
		want := fleet.Endpoint{Protocol: fleet.RTSP, URL: "rtsp://127.0.1.212/ch11"}
		if !slices.Contains(s.Endpoints, want) || s.Endpoints[0].URL != "http://127.0.1.212:8080/onvif/device_service" || s.Name != "NVR" || s.Model != "N1" ||
			!slices.Contains(s.Claims, fleet.Claim{Kind: fleet.ClaimMAC, Value: "ac:cc:8e:00:01:02"}) {
			t.Errorf("sighting = %+v", s)
		}
		return true
	})
}

// TestGoodbye hears an unasked announcement and its end.
func TestGoodbye(t *testing.T) {
	r := newResponder(t)
	say := func(ttl int) {
		m := dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}}
		for _, s := range []string{`_rtsp._tcp.local. %d IN PTR Bye._rtsp._tcp.local.`, `Bye._rtsp._tcp.local. %d IN SRV 0 0 554 sf-bye.local.`, `Bye._rtsp._tcp.local. %d IN TXT ""`, `sf-bye.local. %d IN A 127.0.1.213`} {
			rr, err := dns.NewRR(fmt.Sprintf(s, ttl))
			if err != nil {
				t.Error(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		b, err := m.Pack()
		if err != nil {
			t.Error(err)
		}
		p := ipv4.NewPacketConn(r.out)
		if err := errors.Join(p.SetMulticastInterface(lo(t)), p.SetMulticastLoopback(true)); err != nil {
			t.Error(err)
		}
		if _, err := r.out.WriteToUDP(b, group); err != nil {
			t.Error(err)
		}
	}
	heard := make(chan struct{})
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		ttl := 120
		for {
			say(ttl)
			select {
			case <-heard:
				ttl = 0
				say(0)
				return
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	once := sync.OnceFunc(func() { close(heard) })
	find(t, mdns.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		if host(s) != "sf-bye.local" {
			return false
		}
		once()
		return s.Gone
	})
	close(done)
	wg.Wait()
}
