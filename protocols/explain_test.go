package protocols_test

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// every is the names of all rungs.
var every = []string{
	protocols.RungRoute, protocols.RungNeighbour, protocols.RungPorts, protocols.RungDiscovery, protocols.RungClock,
	protocols.RungAuth, protocols.RungProfiles, protocols.RungHistory, protocols.RungDescribe, protocols.RungKeyFrame, protocols.RungDecode,
}

func read(_ context.Context, f fleet.Frame) (fleet.Reading, error) {
	if f.Codec == fleet.JPEG {
		return fleet.Reading{Width: 320, Height: 184, Codec: fleet.JPEG}, nil
	}
	return fleet.Reading{}, fleet.Errorf(fleet.CauseUnsupportedCodec, "no ffmpeg")
}

// explain climbs, and checks what holds for each explanation.
func explain(t *testing.T, m *protocols.Mux, o protocols.LadderOptions, target fleet.Target) map[string]fleet.Rung {
	t.Helper()
	o.Read = read
	var told []fleet.Rung
	e := protocols.NewLadder(m, o).Explain(soon(t), target, func(r fleet.Rung) { told = append(told, r) })
	if !slices.Equal(told, e.Rungs) {
		t.Errorf("told %v, returned %v", told, e.Rungs)
	}
	byName := map[string]fleet.Rung{}
	var names []string
	for _, r := range e.Rungs {
		names = append(names, r.Name)
		byName[r.Name] = r
		if r.Detail == "" || (r.Result == fleet.RungFailed || r.Result == fleet.RungWarning) != (r.Fix != "") {
			t.Errorf("rung %+v: want a detail, and a fix where there is something to mend", r)
		}
		t.Logf("%-14s %-8s %6s %s %s", r.Name, r.Result, r.Took.Round(time.Millisecond), r.Detail, r.Fix)
	}
	if !slices.Equal(names, every) {
		t.Errorf("rungs %v, want %v", names, every)
	}
	return byName
}

// TestExplain: for each thing that is wrong the right rung breaks, and none
// costs more than two logins.
func TestExplain(t *testing.T) {
	all := []fleet.Protocol{fleet.ONVIF, fleet.RTSP, fleet.Snapshot}
	cam := func(name string, c camtest.Camera) camtest.Camera {
		c.Name, c.Scene, c.Width, c.Height = name, camtest.Gate, 320, 184
		if c.Protocols == nil {
			c.Protocols = all
		}
		return c
	}
	town := town(t, []camtest.Camera{
		cam("well", camtest.Camera{}),
		cam("skewed", camtest.Camera{Skew: 26 * time.Minute}),
		cam("locked", camtest.Camera{Faults: []camtest.Fault{camtest.WrongPassword, camtest.Lockout}}),
		cam("video", camtest.Camera{Codec: fleet.H264}),
		cam("snap", camtest.Camera{Protocols: []fleet.Protocol{fleet.Snapshot}}),
		cam("quiet", camtest.Camera{Faults: []camtest.Fault{camtest.Silent}}),
		cam("unknown", camtest.Camera{}),
	})
	login := town.Credentials()
	for _, c := range []struct {
		camera, breaks string // breaks: the first rung that failed; "" = none
		detail, fix    string // part of what it says
		creds          []fleet.Credentials
		also           map[string]fleet.RungResult
	}{
		{camera: "well", creds: []fleet.Credentials{login}, also: map[string]fleet.RungResult{protocols.RungClock: fleet.RungOK, protocols.RungDescribe: fleet.RungOK, protocols.RungDecode: fleet.RungOK}},
		{camera: "skewed", creds: []fleet.Credentials{login}, also: map[string]fleet.RungResult{protocols.RungClock: fleet.RungWarning, protocols.RungDecode: fleet.RungOK}},
		{camera: "locked", breaks: protocols.RungAuth, detail: "refused", fix: "creds put", creds: []fleet.Credentials{login}, also: map[string]fleet.RungResult{protocols.RungDecode: fleet.RungSkipped}},
		{camera: "video", breaks: protocols.RungDecode, detail: "no ffmpeg", fix: "install ffmpeg", creds: []fleet.Credentials{login}, also: map[string]fleet.RungResult{protocols.RungKeyFrame: fleet.RungOK}},
		{camera: "snap", creds: []fleet.Credentials{login}, also: map[string]fleet.RungResult{protocols.RungAuth: fleet.RungSkipped, protocols.RungDescribe: fleet.RungSkipped, protocols.RungDecode: fleet.RungOK}},
		{camera: "quiet", breaks: protocols.RungClock, detail: "silent", fix: "restart", creds: []fleet.Credentials{login}},
		{camera: "unknown", breaks: protocols.RungAuth, detail: "none is known", fix: "creds put"},
	} {
		t.Run(c.camera, func(t *testing.T) {
			t.Parallel()
			i, _ := town.Camera(c.camera)
			m := mux(t, fleet.JPEG)
			got := explain(t, m, protocols.LadderOptions{Ports: []uint16{}}, seen(i, c.creds...))
			first := ""
			for _, name := range every {
				if got[name].Result == fleet.RungFailed {
					first = name
					break
				}
			}
			if r := got[first]; first != c.breaks || !strings.Contains(r.Detail, c.detail) || !strings.Contains(r.Fix, c.fix) {
				t.Errorf("%q breaks: %+v\nwant %q with %q and the fix %q", first, r, c.breaks, c.detail, c.fix)
			}
			for name, want := range c.also {
				if got[name].Result != want {
					t.Errorf("%s is %+v, want %s", name, got[name], want)
				}
			}
			if n := town.Stats(c.camera).Refused; n > 2 {
				t.Errorf("%d logins were refused", n)
			}
			if strings.Contains(got[protocols.RungAuth].Detail, login.Password.Reveal()) {
				t.Error("a password is shown")
			}
		})
	}
}

// TestExplainAddress: an address that is no camera yet is looked at as well.
func TestExplainAddress(t *testing.T) {
	town := town(t, []camtest.Camera{{Name: "new", Scene: camtest.Gate, Width: 320, Height: 184, Protocols: []fleet.Protocol{fleet.ONVIF, fleet.RTSP}}})
	i, _ := town.Camera("new")
	at := func(a netip.Addr) fleet.Target {
		return fleet.Target{Credentials: []fleet.Credentials{town.Credentials()}, Endpoints: []fleet.Endpoint{{URL: "//" + netip.AddrPortFrom(a, 0).String()}}}
	}
	got := explain(t, mux(t, fleet.JPEG), protocols.LadderOptions{}, at(i.Addr))
	for _, name := range []string{protocols.RungPorts, protocols.RungClock, protocols.RungAuth, protocols.RungProfiles, protocols.RungDescribe, protocols.RungDecode} {
		if got[name].Result != fleet.RungOK {
			t.Errorf("%s is %+v, want it to be ok", name, got[name])
		}
	}

	probed := netip.Addr{}
	got = explain(t, mux(t, fleet.JPEG), protocols.LadderOptions{Ports: []uint16{8080}, Probe: func(_ context.Context, a netip.Addr) ([]fleet.Sighting, error) {
		probed = a
		return []fleet.Sighting{{Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: i.ONVIF}, {Protocol: fleet.ONVIF, URL: "http://192.0.2.1/onvif/device_service"}}}}, nil
	}}, at(i.Addr))
	if r := got[protocols.RungDiscovery]; r.Result != fleet.RungOK || strings.Contains(r.Detail, "192.0.2.1") || probed != i.Addr {
		t.Errorf("discovery of %v is %+v: want its own service, and no other host's", probed, r)
	}

	// Nothing lives at the last address of the town's block: nothing is open.
	none := netip.AddrFrom4([4]byte{127, i.Addr.As4()[1], i.Addr.As4()[2], 254})
	got = explain(t, mux(t, fleet.JPEG), protocols.LadderOptions{}, at(none))
	if r := got[protocols.RungPorts]; r.Result != fleet.RungFailed || got[protocols.RungAuth].Result != fleet.RungSkipped {
		t.Errorf("at an address with nothing: ports %+v, login %+v", r, got[protocols.RungAuth])
	}
}

// TestExplainNeighbour: on the network of one of our interfaces the neighbour
// table says whether anybody is there.
func TestExplainNeighbour(t *testing.T) {
	near := neighbouring(t)
	mac, _ := net.ParseMAC("02:00:5e:10:00:01")
	for want, table := range map[fleet.RungResult]map[netip.Addr]net.HardwareAddr{fleet.RungOK: {near: mac}, fleet.RungFailed: {}, fleet.RungSkipped: nil} {
		got := explain(t, mux(t), protocols.LadderOptions{
			Ports:      []uint16{9},
			Neighbours: func() (map[netip.Addr]net.HardwareAddr, error) { return table, nil },
		}, fleet.Target{Endpoints: []fleet.Endpoint{{URL: "//" + netip.AddrPortFrom(near, 0).String()}}})
		if r := got[protocols.RungNeighbour]; r.Result != want {
			t.Errorf("with the table %v: %+v, want %s", table, r, want)
		}
		if want == fleet.RungFailed && got[protocols.RungPorts].Result != fleet.RungSkipped {
			t.Error("ports are tried where nobody is")
		}
	}
}

// neighbouring returns an address beside one of this machine's.
func neighbouring(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() && p.Bits() <= 30 {
			if n := p.Addr().Next(); p.Contains(n) {
				return n
			}
		}
	}
	t.Skip("this machine has no network with neighbours")
	return netip.Addr{}
}
