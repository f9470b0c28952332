package edge_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// TestListedSubnet: without a single interface to search, an agent finds the
// cameras of a listed subnet, says so to machines, and keeps its place.
func TestListedSubnet(t *testing.T) {
	town, err := camtest.New(camtest.Options{})
	must(t, err)
	start(t, town.Run)
	<-town.Ready()
	want := map[string]bool{}
	for _, cam := range town.Cameras() {
		for _, v := range cam.Via {
			if v == fleet.ViaWSDiscovery {
				want["epr:"+cam.EPR] = true
			}
		}
	}
	subnet := netip.PrefixFrom(town.Cameras()[0].Addr, 27).Masked()
	dir := t.TempDir()
	e, err := edge.New(edge.Options{
		DataDir: dir, Server: "127.0.0.1:1", SiteKey: siteKey(t), MachineListen: "127.0.0.1:0", Version: "test",
		Interfaces: func() ([]net.Interface, error) { return nil, nil }, Subnets: []netip.Prefix{subnet}, SweepRate: 100,
	})
	must(t, err)
	stop := start(t, e.Run)
	found := devices(t, e, len(want))
	for _, d := range found {
		if !want[d.Key] {
			t.Errorf("device %s is no camera of the town that answers probes", d.Key)
		}
	}
	res, err := http.Get(fmt.Sprintf("http://%s/metrics", e.MachineAddr()))
	must(t, err)
	b, err := io.ReadAll(res.Body)
	must(t, err)
	must(t, res.Body.Close())
	if !strings.Contains(string(b), "agent_sweep_addresses_total ") || strings.Contains(string(b), "agent_sweep_addresses_total 0\n") {
		t.Errorf("the metrics say nothing of the sweep: %s", b)
	}
	http.DefaultClient.CloseIdleConnections()
	stop()
	must(t, e.Close())
}

// TestSweepPorts: a camera that answers no probe is found by its port, and a
// web page that answers everything is not.
func TestSweepPorts(t *testing.T) {
	page := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/onvif/device_service" && strings.HasPrefix(r.Host, "127.3.9.2") {
			fmt.Fprint(w, `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><GetSystemDateAndTimeResponse xmlns="http://www.onvif.org/ver10/device/wsdl"/></e:Body></e:Envelope>`)
			return
		}
		w.Header().Set("Www-Authenticate", `Basic realm="router"`)
		w.WriteHeader(http.StatusUnauthorized)
	})}
	for _, addr := range []string{"127.3.9.1:8000", "127.3.9.2:8000"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Skipf("the port of a camera is taken: %v", err)
		}
		go func() { _ = page.Serve(l) }()
	}
	defer page.Close()
	e, err := edge.New(edge.Options{
		DataDir: t.TempDir(), Server: "127.0.0.1:1", SiteKey: siteKey(t), Interfaces: func() ([]net.Interface, error) { return nil, nil },
		Subnets: []netip.Prefix{netip.MustParsePrefix("127.3.9.0/30")}, SweepPorts: true, SweepRate: 100,
	})
	must(t, err)
	stop := start(t, e.Run)
	d := devices(t, e, 1)
	if len(d) != 1 || len(d[0].Addresses) != 1 || d[0].Addresses[0] != netip.MustParseAddr("127.3.9.2") {
		t.Errorf("devices %+v, want the one at 127.3.9.2", d)
	}
	stop()
	must(t, e.Close())
}

func siteKey(t *testing.T) fleet.Secret {
	t.Helper()
	c, err := uplinktest.New()
	must(t, err)
	return c.Key.Text()
}

// devices returns what an agent knows once it is n devices.
func devices(t *testing.T, e *edge.Edge, n int) []fleet.Device {
	t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	late := time.After(time.Minute)
	for {
		d := e.Stats().Devices
		if len(d) >= n {
			return d
		}
		select {
		case <-look.C:
		case <-late:
			t.Fatalf("%d devices after a minute, want %d: %+v", len(d), n, d)
		}
	}
}
