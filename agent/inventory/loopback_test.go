package inventory_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	announcer "github.com/hashicorp/mdns"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/mdns"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
	"github.com/shutterfleet/shutterfleet/protocols/wsdiscovery"
)

func loopback() ([]net.Interface, error) {
	all, err := net.Interfaces()
	return slices.DeleteFunc(all, func(i net.Interface) bool { return i.Flags&net.FlagLoopback == 0 }), err
}

// TestOneCameraHeardThreeWays lets one camera on loopback answer on real
// sockets and wants one described device, soon.
func TestOneCameraHeardThreeWays(t *testing.T) {
	const addr, uuid = "127.0.1.231", "5f1de000-0000-4000-8000-00000000d001"
	ifs, err := loopback()
	if err != nil || len(ifs) == 0 {
		t.Skipf("no loopback interface (err %v)", err)
	}
	answer := func(group string, port int, isQuestion func(string) bool, answers ...string) {
		in, err := net.ListenMulticastUDP("udp4", &ifs[0], &net.UDPAddr{IP: net.ParseIP(group), Port: port})
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
				for _, a := range answers {
					if isQuestion(string(buf[:n])) {
						_, _ = out.WriteToUDP([]byte(a), from)
					}
				}
			}
		})
		t.Cleanup(func() { in.Close(); out.Close(); wg.Wait() })
	}
	answer("239.255.255.250", 3702, func(q string) bool { return strings.Contains(q, "Probe>") },
		`<s:Envelope xmlns:s="s" xmlns:d="d" xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><s:Body><d:ProbeMatches><d:ProbeMatch><EndpointReference><Address>urn:uuid:`+uuid+
			`</Address></EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types><d:XAddrs>http://`+addr+`:8899/onvif/device_service</d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>`)
	ln, err := net.Listen("tcp4", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<root><device><deviceType>urn:schemas-upnp-org:device:DigitalSecurityCamera:1</deviceType></device></root>`)
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(ln) })
	t.Cleanup(func() { srv.Close(); serving.Wait() })
	answer("239.255.255.250", 1900, func(q string) bool { return strings.HasPrefix(q, "M-SEARCH") },
		"HTTP/1.1 200 OK\r\nLOCATION: http://"+ln.Addr().String()+"/\r\nST: upnp:rootdevice\r\nUSN: uuid:another-"+uuid+"::upnp:rootdevice\r\n\r\n")
	zone, err := announcer.NewMDNSService("Dock", "_rtsp._tcp", "", "sf-dock.local.", 8554, []net.IP{net.ParseIP(addr)}, []string{"path=/main"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := announcer.NewServer(&announcer.Config{Zone: zone, Iface: &ifs[0], Logger: log.New(io.Discard, "", 0)})
	if err != nil {
		t.Skipf("no announcer on loopback: %v", err)
	}
	t.Cleanup(func() { _ = m.Shutdown() })

	start := time.Now()
	d := &desk{answer: described}
	v := run(t, inventory.Options{Describer: d, Finders: []protocols.Finder{
		wsdiscovery.New(wsdiscovery.Options{Interfaces: loopback}),
		mdns.New(mdns.Options{Interfaces: loopback}),
		upnp.New(upnp.Options{Interfaces: loopback}),
	}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			t.Fatalf("not one device with all its evidence within a minute: %+v", v.Devices())
		case <-v.Changed():
		}
		var mine []fleet.Device
		for _, g := range v.Devices() {
			if len(g.Addresses) > 0 && g.Addresses[0].String() == addr {
				mine = append(mine, g)
			}
		}
		if len(mine) == 0 {
			continue
		}
		if len(mine) > 1 {
			t.Fatalf("one camera became %+v", mine)
		}
		// It may be described before it is heard in the last way, or behind that.
		if g := mine[0]; len(g.Via) == 3 && g.State == fleet.DeviceOK {
			t.Logf("one device after %v", time.Since(start))
			if g.Key != "epr:urn:uuid:"+uuid || len(g.Endpoints) != 2 || len(g.Sources) == 0 || g.Sources[0].Token != "v0" {
				t.Errorf("device = %+v", g)
			}
			return
		}
	}
}
