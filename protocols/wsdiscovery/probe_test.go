package wsdiscovery_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

// host answers unicast probes at its address.
func host(t *testing.T, addr string, answer func(n int, probe string, from *net.UDPAddr, c *net.UDPConn)) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr)})
	if err != nil {
		t.Skipf("no address %s on loopback: %v", addr, err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for i := 0; ; i++ {
			n, from, err := c.ReadFromUDP(buf)
			if err != nil {
				return
			}
			answer(i, string(buf[:n]), from, c)
		}
	})
	t.Cleanup(func() { c.Close(); wg.Wait() })
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

func say(c *net.UDPConn, to *net.UDPAddr, texts ...string) {
	for _, s := range texts {
		_, _ = c.WriteToUDP([]byte(s), to)
	}
}

const probed = "urn:uuid:5f1de000-0000-4000-8000-00000000a101"

func TestProbe(t *testing.T) {
	good := matches(probed, "dn:NetworkVideoTransmitter", "http://192.168.0.64:81/onvif/device_service")
	forged := matches("urn:uuid:5f1de000-0000-4000-8000-00000000bad1", "dn:NetworkVideoTransmitter", "http://127.0.1.232/x")
	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 1, 232)})
	if err != nil {
		t.Skip(err)
	}
	defer other.Close()
	same, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 1, 231)})
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	for _, c := range []struct {
		name, addr string
		answer     func(n int, probe string, from *net.UDPAddr, c *net.UDPConn)
		want       string // of the one endpoint; "" is no sighting
		hint       bool
	}{
		{"to every kind, with junk between", "127.0.1.231", func(_ int, _ string, from *net.UDPAddr, c *net.UDPConn) { say(c, from, "", "junk", good) }, "http://127.0.1.231:81/onvif/device_service", false},
		{"to one kind only", "127.0.1.231", func(_ int, probe string, from *net.UDPAddr, c *net.UDPConn) {
			if strings.Contains(probe, "tds:Device") {
				say(c, from, good)
			}
		}, "http://127.0.1.231:81/onvif/device_service", false},
		{"from another port", "127.0.1.231", func(_ int, _ string, from *net.UDPAddr, _ *net.UDPConn) { say(same, from, good) }, "http://127.0.1.231:81/onvif/device_service", false},
		{"to the second round only", "127.0.1.231", func(n int, _ string, from *net.UDPAddr, c *net.UDPConn) {
			if n >= 3 {
				say(c, from, good)
			}
		}, "http://127.0.1.231:81/onvif/device_service", false},
		{"another host answers", "127.0.1.231", func(_ int, _ string, from *net.UDPAddr, _ *net.UDPConn) { say(other, from, forged) }, "", false},
		{"a Hello is no answer", "127.0.1.231", func(_ int, _ string, from *net.UDPAddr, c *net.UDPConn) {
			say(c, from, strings.ReplaceAll(strings.ReplaceAll(good, "ProbeMatches>", "Hello>"), "ProbeMatch>", "x>"))
		}, "", false},
		{"a printer", "127.0.1.231", func(_ int, _ string, from *net.UDPAddr, c *net.UDPConn) {
			say(c, from, strings.ReplaceAll(matches(probed, "wprt:PrintDeviceType", "http://127.0.1.231:5357/x"), "onvif://www.onvif.org/", "ldap:///"))
		}, "", true},
		{"silence", "127.0.1.231", func(int, string, *net.UDPAddr, *net.UDPConn) {}, "", false},
		{"IPv6", "::1", func(_ int, _ string, from *net.UDPAddr, c *net.UDPConn) { say(c, from, good) }, "http://[::1]:81/onvif/device_service", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var at netip.AddrPort
			var got []fleet.Sighting
			var err error
			// A busy machine may answer later than the probe waits.
			for wait := 300 * time.Millisecond; wait < time.Minute; wait *= 2 {
				at = host(t, c.addr, c.answer)
				got, err = wsdiscovery.Probe(t.Context(), at.Addr(), wsdiscovery.ProbeOptions{Port: at.Port(), Wait: wait})
				if len(got) > 0 || c.want == "" && !c.hint {
					break
				}
			}
			switch {
			case err != nil:
				t.Fatal(err)
			case c.want == "" && !c.hint:
				if len(got) != 0 {
					t.Errorf("Probe = %+v, want nothing", got)
				}
			case len(got) != 1 || got[0].Source != at.Addr() || got[0].Via != fleet.ViaWSDiscovery || got[0].Hint != c.hint || !hasClaim(got[0], probed):
				t.Errorf("Probe = %+v, want one answer of %v", got, at.Addr())
			case !c.hint && (len(got[0].Endpoints) != 1 || got[0].Endpoints[0].URL != c.want):
				t.Errorf("endpoints = %v, want %s", got[0].Endpoints, c.want)
			}
		})
	}
}

// TestProbeEnds: a probe ends with its context, and asks no groups.
func TestProbeEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	at := host(t, "127.0.1.233", func(n int, _ string, _ *net.UDPAddr, _ *net.UDPConn) { cancel() })
	start := time.Now()
	if got, err := wsdiscovery.Probe(ctx, at.Addr(), wsdiscovery.ProbeOptions{Port: at.Port(), Wait: time.Minute}); !errors.Is(err, context.Canceled) || len(got) != 0 {
		t.Errorf("Probe = %v, %v; want context.Canceled", got, err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("it took %v to end", took)
	}
	for _, a := range []netip.Addr{{}, netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("239.255.255.250"), netip.MustParseAddr("ff02::c")} {
		if _, err := wsdiscovery.Probe(t.Context(), a, wsdiscovery.ProbeOptions{}); err == nil {
			t.Errorf("Probe(%v) is taken for a host", a)
		}
	}
}
