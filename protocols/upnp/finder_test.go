package upnp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/ipv4"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
	"github.com/shutterfleet/shutterfleet/protocols/upnp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ExampleFinder_Find() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	f := upnp.New(upnp.Options{Interfaces: lan.Loopback})
	err := f.Find(ctx, func(s fleet.Sighting) {
		_ = s.Claims // hand it to an inventory
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

var group = &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 1900}

// device answers searches on lo from its own address and serves descriptions.
type device struct {
	speak *net.UDPConn
	base  string // of its web server
	hits  atomic.Int32
}

func newDevice(t *testing.T, addr string, answer func(d *device) []string, page http.HandlerFunc) *device {
	t.Helper()
	in, err := net.ListenMulticastUDP("udp4", lo(t), group)
	if err != nil {
		t.Skipf("no multicast on loopback: %v", err)
	}
	out, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(addr)})
	if err != nil {
		t.Skipf("no address %s on loopback: %v", addr, err)
	}
	ln, err := net.Listen("tcp4", addr+":0")
	if err != nil {
		t.Fatal(err)
	}
	d := &device{speak: out, base: "http://" + ln.Addr().String()}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		d.hits.Add(1)
		page(w, r)
	})}
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
				for _, a := range answer(d) {
					_, _ = out.WriteToUDP([]byte(a), from)
				}
			}
		}
	})
	t.Cleanup(func() { in.Close(); out.Close(); srv.Close(); wg.Wait() })
	return d
}

func answerTo(udn, location string) string {
	return "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLOCATION: " + location + "\r\nSERVER: x UPnP/1.0 y\r\nST: upnp:rootdevice\r\nUSN: " + udn + "::upnp:rootdevice\r\n\r\n"
}

const camera = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>urn:schemas-upnp-org:device:Basic:1</deviceType>
<friendlyName>Dock - 127.0.1.221</friendlyName><manufacturer>AXIS</manufacturer><modelName>Q1</modelName><serialNumber>ACCC8E010203</serialNumber><UDN>uuid:x</UDN></device></root>`

func find(t *testing.T, o upnp.Options, enough func(fleet.Sighting) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // far beyond any machine
	defer cancel()
	ok := false
	if err := upnp.New(o).Find(ctx, func(s fleet.Sighting) {
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

func isUDN(s fleet.Sighting, udn string) bool {
	return slices.Contains(s.Claims, fleet.Claim{Kind: fleet.ClaimUDN, Value: udn})
}

func TestFind(t *testing.T) {
	const udn = "uuid:5f1de000-0000-4000-8000-00000000c001"
	d := newDevice(t, "127.0.1.221", func(d *device) []string {
		return []string{"", "junk", answerTo("uuid:5F1DE000-0000-4000-8000-00000000C001", d.base+"/desc.xml"), answerTo(udn, d.base+"/desc.xml")}
	}, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, camera) })
	find(t, upnp.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		if !isUDN(s, udn) {
			return false
		}
		if s.Source != netip.MustParseAddr("127.0.1.221") || s.Vendor != "AXIS" || s.Model != "Q1" || s.Gone || len(s.Endpoints) != 0 ||
			!slices.Contains(s.Claims, fleet.Claim{Kind: fleet.ClaimSerial, Value: "ACCC8E010203"}) {
			t.Errorf("sighting = %+v", s)
		}
		return true
	})
	if n := d.hits.Load(); n != 1 {
		t.Errorf("the description was fetched %d times, want once", n)
	}
}

// TestHostileLocations: other hosts, redirects to them, endless and broken
// descriptions lead nowhere, and do not hinder the honest device.
func TestHostileLocations(t *testing.T) {
	const good = "uuid:5f1de000-0000-4000-8000-00000000c101"
	victim := newDevice(t, "127.0.1.223", func(*device) []string { return nil }, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, camera) })
	paths := []string{"/redirect", "/endless", "/broken", "/missing", "/silent"}
	release := make(chan struct{})
	defer close(release)
	d := newDevice(t, "127.0.1.222", func(d *device) []string {
		out := []string{answerTo("uuid:5f1de000-bad0", victim.base+"/desc.xml"), answerTo("uuid:5f1de000-bad1", "file:///etc/passwd"), answerTo("uuid:5f1de000-bad2", "http://localhost/")}
		for i, p := range paths {
			out = append(out, answerTo(fmt.Sprintf("uuid:5f1de000-bad%d", 3+i), d.base+p))
		}
		return append(out, answerTo(good, d.base+"/good"))
	}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, victim.base+"/desc.xml", http.StatusFound)
		case "/endless":
			for range 1 << 12 {
				if _, err := w.Write([]byte(strings.Repeat("<a>", 1024))); err != nil {
					return
				}
			}
		case "/broken":
			fmt.Fprint(w, camera[:200])
		case "/good":
			fmt.Fprint(w, camera)
		case "/silent":
			select {
			case <-release:
			case <-r.Context().Done():
			}
		default:
			http.NotFound(w, r)
		}
	})
	find(t, upnp.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		if strings.HasPrefix(s.Claims[0].Value, "uuid:5f1de000-bad") {
			t.Errorf("a hostile device was told of: %+v", s)
		}
		return isUDN(s, good) && d.hits.Load() >= int32(len(paths))
	})
	if n := victim.hits.Load(); n != 0 {
		t.Errorf("%d requests reached another host", n)
	}
}

func TestNotify(t *testing.T) {
	const udn = "uuid:5f1de000-0000-4000-8000-00000000c201"
	d := newDevice(t, "127.0.1.224", func(*device) []string { return nil }, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, camera) })
	say := func(nts string) {
		p := ipv4.NewPacketConn(d.speak)
		msg := "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\nLOCATION: " + d.base + "/d\r\nNT: upnp:rootdevice\r\nNTS: " + nts + "\r\nUSN: " + udn + "::upnp:rootdevice\r\n\r\n"
		err := errors.Join(p.SetMulticastInterface(lo(t)), p.SetMulticastLoopback(true))
		if _, sent := d.speak.WriteToUDP([]byte(msg), group); sent != nil || err != nil {
			t.Error(sent, err)
		}
	}
	heard, done := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		nts := "ssdp:alive"
		for alive := heard; ; {
			say(nts)
			select {
			case <-alive:
				nts, alive = "ssdp:byebye", nil
			case <-done:
				return
			case <-tick.C:
			}
		}
	})
	once := sync.OnceFunc(func() { close(heard) })
	find(t, upnp.Options{Interfaces: lan.Loopback}, func(s fleet.Sighting) bool {
		if !isUDN(s, udn) {
			return false
		}
		once()
		return s.Gone
	})
	close(done)
	wg.Wait()
}
