package wsdiscovery_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleFinder_Find() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	f := wsdiscovery.New(wsdiscovery.Options{Interfaces: lan.Loopback})
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

var group = &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 3702}

// camera answers probes on lo from its own address, as a device there would.
type camera struct {
	listen, speak *net.UDPConn
}

func newCamera(t *testing.T, addr string, answer func(probe string) []string) *camera {
	t.Helper()
	in, err := net.ListenMulticastUDP("udp4", lo(t), group)
	if err != nil {
		t.Skipf("no multicast on loopback: %v", err)
	}
	out, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr)})
	if err != nil {
		t.Skipf("no address %s on loopback: %v", addr, err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := in.ReadFromUDP(buf)
			if err != nil {
				return
			}
			if !strings.Contains(string(buf[:n]), "Probe>") {
				continue
			}
			for _, a := range answer(string(buf[:n])) {
				_, _ = out.WriteToUDP([]byte(a), from)
			}
		}
	})
	t.Cleanup(func() { in.Close(); out.Close(); wg.Wait() })
	return &camera{in, out}
}

func matches(epr, types, xaddrs string) string {
	return `<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">` +
		`<s:Body><d:ProbeMatches><d:ProbeMatch><a:EndpointReference><a:Address>` + epr + `</a:Address></a:EndpointReference><d:Types>` + types + `</d:Types>` +
		`<d:Scopes>onvif://www.onvif.org/name/Gate%20East onvif://www.onvif.org/hardware/M1</d:Scopes><d:XAddrs>` + xaddrs + `</d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>`
}

// find runs a finder until want says enough.
func find(t *testing.T, o wsdiscovery.Options, enough func(fleet.Sighting) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // far beyond any machine
	defer cancel()
	ok := false
	if err := wsdiscovery.New(o).Find(ctx, func(s fleet.Sighting) {
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

func hasClaim(s fleet.Sighting, value string) bool {
	return slices.ContainsFunc(s.Claims, func(c fleet.Claim) bool { return c.Value == value })
}

func TestFind(t *testing.T) {
	const epr = "urn:uuid:5f1de000-0000-4000-8000-00000000a001"
	var mu sync.Mutex
	kinds := map[string]bool{}
	newCamera(t, "127.0.1.201", func(probe string) []string {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.Contains(probe, "dn:NetworkVideoTransmitter"):
			kinds["nvt"] = true
		case strings.Contains(probe, "tds:Device"):
			kinds["device"] = true
		default:
			kinds["any"] = true
		}
		return []string{"", "hello", matches(epr, "dn:NetworkVideoTransmitter", "http://192.168.0.64/onvif/device_service http://127.0.1.201:8899/onvif/device_service")}
	})
	start := time.Now()
	find(t, wsdiscovery.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		mu.Lock()
		defer mu.Unlock()
		if !hasClaim(s, epr) || len(kinds) < 3 {
			return false
		}
		t.Logf("heard after %v", time.Since(start))
		if s.Source != netip.MustParseAddr("127.0.1.201") || s.Interface != lo(t).Name || s.Name != "Gate East" || s.Model != "M1" ||
			!slices.Equal(s.Endpoints, []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://127.0.1.201:8899/onvif/device_service"}}) {
			t.Errorf("sighting = %+v", s)
		}
		return true
	})
}

func TestHelloAndBye(t *testing.T) {
	const epr = "urn:uuid:5f1de000-0000-4000-8000-00000000a002"
	c := newCamera(t, "127.0.1.202", func(string) []string { return nil })
	say := func(kind string) {
		body := `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><` + kind + `><EndpointReference><Address>` + epr +
			`</Address></EndpointReference><Types>NetworkVideoTransmitter</Types><XAddrs>http://10.1.1.1/onvif/device_service</XAddrs></` + kind + `></e:Body></e:Envelope>`
		// Loopback has no route for groups: the sender names the interface.
		if err := sendVia(c.speak, lo(t), group, []byte(body)); err != nil {
			t.Error(err)
		}
	}
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ { // a finder that is about to listen misses the first ones
			say([]string{"Hello", "Bye"}[i%2])
			select {
			case <-ticker.C:
			case <-done:
				return
			}
		}
	})
	hello, bye := false, false
	find(t, wsdiscovery.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		if !hasClaim(s, epr) {
			return false
		}
		if s.Gone {
			bye = true
		} else if hello = true; s.Endpoints[0].URL != "http://127.0.1.202/onvif/device_service" {
			t.Errorf("endpoint = %v, want the sender's address", s.Endpoints)
		}
		return hello && bye
	})
	close(done)
	wg.Wait()
}

// TestInterfacesComeAndGo starts with none and finds once there is one.
func TestInterfacesComeAndGo(t *testing.T) {
	const epr = "urn:uuid:5f1de000-0000-4000-8000-00000000a003"
	newCamera(t, "127.0.1.203", func(string) []string {
		return []string{matches(epr, "dn:NetworkVideoTransmitter", "http://127.0.1.203/onvif/device_service")}
	})
	var mu sync.Mutex
	asked := 0
	find(t, wsdiscovery.Options{Interfaces: func() ([]net.Interface, error) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		switch asked {
		case 1:
			return nil, fmt.Errorf("not now")
		case 2:
			return nil, nil
		}
		return lan.Loopback()
	}}, func(s fleet.Sighting) bool { return hasClaim(s, epr) })
}

func TestNotCameras(t *testing.T) {
	const printer, cam = "urn:uuid:5f1de000-0000-4000-8000-00000000b001", "urn:uuid:5f1de000-0000-4000-8000-00000000b002"
	newCamera(t, "127.0.1.204", func(string) []string {
		p := strings.ReplaceAll(matches(printer, "wprt:PrintDeviceType", "http://127.0.1.204:5357/x"), "onvif://www.onvif.org/", "ldap:///")
		return []string{p, matches(cam, "dn:NetworkVideoTransmitter", "")}
	})
	find(t, wsdiscovery.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		if hasClaim(s, printer) && (!s.Hint || len(s.Endpoints) > 0) {
			t.Errorf("a printer was told of as a camera: %+v", s)
		}
		return hasClaim(s, cam)
	})
}
