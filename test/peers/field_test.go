//go:build peers

package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestTheFieldsMess meets servers as the field has them: ones that want another
// transport, let one viewer in, or offer logins that are not safe, a host with
// several cameras, a camera that only UPnP knows, and a machine that answers
// WS-Discovery and is none.
func TestTheFieldsMess(t *testing.T) {
	p := newPeers(t)
	p.mediamtx()
	udp := p.mediamtxWith("udp", "[udp]", "{}")
	p.publish(udp, "udp")
	both := p.mediamtxWith("one reader", "[udp, tcp]", "{maxReaders: 1}")
	p.publish(both, "tcp")
	rtsp, web := p.go2rtcBasic()
	p.avahi("/cam", "/cam?2", "/cam?3")
	gupnp := p.gupnp()
	wsdd := p.wsdd()

	c := startCentre(t)
	c.startAgent("lab")
	viewer := c.file("viewer", "viewer-pass")
	over := map[string]string{
		"mediamtx, UDP only":         c.add("rtsp://"+udp+"/cam", "viewer", viewer),
		"mediamtx, one at a time":    c.add("rtsp://"+both+"/cam", "viewer", viewer),
		"mediamtx, nobody publishes": c.add("rtsp://"+both+"/nothing", "viewer", viewer),
	}
	basic := map[string]string{
		"go2rtc, RTSP, Basic":  c.add("rtsp://"+rtsp+"/cam", "viewer", viewer),
		"go2rtc, ONVIF, Basic": c.add("http://"+web+"/onvif/device_service", "viewer", viewer),
	}
	// Two schedules ask for pictures of one camera. With one viewer allowed, each
	// must get its own all the same.
	c.run("schedules", "apply", "-f", c.file("schedules.yaml", `schedules:
  - {name: field, select: "*", every: 2s, lead: 1s, deadline: 10s}
  - {name: again, select: "*", every: 2s, lead: 1s, deadline: 10s}
`))
	for _, name := range []string{"mediamtx, UDP only", "mediamtx, one at a time"} {
		t.Run(name, func(t *testing.T) {
			got := c.waitCaptured(t, over[name])
			if d := distance(got.Fingerprint.PDQ, p.picture); d > sameScene || got.Width != width {
				t.Errorf("PDQ is %d bits from the picture, %d pixels wide", d, got.Width)
			}
		})
	}
	t.Run("both schedules of one camera get their pictures", func(t *testing.T) {
		c.wait(t, "six captures in a row", func() bool {
			all := c.captures(t, over["mediamtx, one at a time"])
			n := slices.IndexFunc(all, func(s shot) bool { return s.Outcome != "captured" })
			return len(all) >= 6 && (n < 0 || n >= 6)
		})
	})
	t.Run("a path without a publisher says so", func(t *testing.T) {
		c.wait(t, "a cause", func() bool {
			last := c.camera(t, over["mediamtx, nobody publishes"]).Last
			return last != nil && last.Cause == fleet.CauseNotFound
		})
	})
	for name, id := range basic {
		t.Run(name+": a password does not go out in clear", func(t *testing.T) {
			c.wait(t, "a failure that names Basic", func() bool {
				// One of the first: later ones find the budget used up, and on a busy
				// machine the very first may be late.
				return slices.ContainsFunc(c.captures(t, id), func(s shot) bool {
					return s.Cause == string(fleet.CauseUnauthorized) && strings.Contains(s.Detail, "Basic")
				})
			})
		})
	}

	if !p.announced {
		t.Fatal("discovery needs a network namespace of its own: run as root")
	}
	find := func(t *testing.T, what string, is func(camera) bool) (found camera) {
		t.Helper()
		c.wait(t, what, func() bool {
			var all []camera
			c.json(t, &all, "cameras", "ls", "--state", "pending")
			i := slices.IndexFunc(all, is)
			if i >= 0 {
				found = all[i]
			}
			return i >= 0
		})
		return found
	}
	t.Run("GUPnP: a camera that only UPnP knows is pending, with its names", func(t *testing.T) {
		cam := find(t, "a pending camera of GUPnP", func(cam camera) bool { return slices.Contains(cam.Via, "upnp") })
		if cam.Vendor != "Hollin" || cam.Model != "HC-5" {
			t.Errorf("%+v, want the names of %s", cam, gupnp)
		}
	})
	t.Run("avahi: several instances on one host are one device", func(t *testing.T) {
		find(t, "a pending camera of avahi", func(cam camera) bool { return slices.Contains(cam.Via, "mdns") })
	})
	t.Run("wsdd: a Windows host is no camera", func(t *testing.T) {
		if wsdd == "" {
			t.Fatal("wsdd does not run")
		}
		var all []camera
		c.json(t, &all, "cameras", "ls")
		for _, cam := range all {
			if slices.Contains(cam.Via, "wsdiscovery") {
				t.Errorf("a camera that only wsdd can be: %+v", cam)
			}
		}
	})
}

// go2rtcBasic serves mediamtx's stream with Basic logins alone, by RTSP and
// ONVIF.
func (p *peers) go2rtcBasic() (rtsp, web string) {
	rtsp, web = freeAddr(p.t), freeAddr(p.t)
	if os.Getenv(inside) != "" { // it asks nobody on loopback for a login
		rtsp, web = strings.Replace(rtsp, "127.0.0.1", hostAddr, 1), strings.Replace(web, "127.0.0.1", hostAddr, 1)
	}
	conf := filepath.Join(p.dir, "go2rtc-basic.yaml")
	write(p.t, conf, fmt.Sprintf(`
log: {level: warn}
api: {listen: "%s", username: viewer, password: viewer-pass, local_auth: true}
rtsp: {listen: "%s", username: viewer, password: viewer-pass}
webrtc: {listen: ""}
streams:
  cam: rtsp://viewer:viewer-pass@%s/cam
`, web, rtsp, p.mediamtxAddr))
	start(p.t, "go2rtc, Basic", peer(p.t, "go2rtc"), "-config", conf)
	listening(p.t, rtsp)
	listening(p.t, web)
	return rtsp, web
}

// gupnp is a UPnP device that says it is a DigitalSecurityCamera, by the GUPnP
// library.
func (p *peers) gupnp() (description string) {
	if os.Getenv(inside) == "" {
		return ""
	}
	dir := filepath.Join(p.dir, "gupnp")
	must(p.t, os.MkdirAll(dir, 0o755))
	write(p.t, filepath.Join(dir, "device.xml"), `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:DigitalSecurityCamera:1</deviceType><friendlyName>yard</friendlyName>
<manufacturer>Hollin</manufacturer><modelName>HC-5</modelName><serialNumber>HC5-000417</serialNumber>
<UDN>uuid:0a1b2c3d-0000-4000-8000-00000000c0de</UDN></device></root>`)
	script := filepath.Join(dir, "camera.py")
	write(p.t, script, `import sys, gi
gi.require_version("GUPnP", "1.6")
from gi.repository import GUPnP, GLib
context = GUPnP.Context.new("veth0", 0)
device = GUPnP.RootDevice.new(context, "device.xml", sys.argv[1])
device.set_available(True)
GLib.MainLoop().run()
`)
	start(p.t, "gupnp", "/usr/bin/python3", script, dir)
	return dir
}

// wsdd answers WS-Discovery as a Windows host does. It returns once it runs.
func (p *peers) wsdd() string {
	if os.Getenv(inside) == "" {
		return ""
	}
	path := peer(p.t, "wsdd")
	start(p.t, "wsdd", "/usr/bin/python3", path, "-i", "veth0", "-4", "-n", "accounting", "-v")
	listening(p.t, hostAddr+":5357")
	return path
}
