package camtest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Camera describes one virtual camera.
type Camera struct {
	Name      string // unique in its town; also a host name: a-z, 0-9 and hyphens
	Scene     Scene
	Vendor    string // default: Shutterfleet
	Model     string // default: camtest
	Firmware  string // default: 1.0.0
	Serial    string // default: from the block and the name
	Width     int    // default 896; a multiple of 8: RTP/JPEG carries no other (RFC 2435)
	Height    int    // default 504, likewise
	Protocols []fleet.Protocol
	Codec     fleet.Codec   // over RTSP: fleet.JPEG (default) or fleet.H264
	Via       []fleet.Via   // how it is found
	Open      bool          // no login for anything
	User      string        // default: DefaultUser
	Password  fleet.Secret  // default: DefaultPassword
	SHA256    bool          // HTTP Digest with SHA-256 only; default MD5
	Login     Login         // how it lets in over HTTP; default: LoginAny
	HTTPS     bool          // its web server speaks TLS alone, under a key that it signed itself
	NAT       string        // the host, or host:port, that it names itself by in ONVIF answers; default: where it is
	MediaPort bool          // its media services have a port of their own
	Media2    bool          // it has Media 2, which alone lists an H.265 profile
	Skew      time.Duration // how far its clock is ahead
	LockAfter int           // wrong logins until the fault Lockout locks it; default 5
	Faults    []Fault       // in force from the start
}

// Login is what a camera's web server and its ONVIF services let in with.
type Login string

// The logins.
const (
	LoginAny    Login = ""       // HTTP Digest, and for ONVIF a WS-UsernameToken as well
	LoginDigest Login = "digest" // HTTP Digest alone
	LoginToken  Login = "token"  // ONVIF by WS-UsernameToken alone: it refuses with a fault and no challenge
	LoginBasic  Login = "basic"  // HTTP Basic alone
)

// The login of all cameras that do not say otherwise.
const (
	DefaultUser     = "viewer"
	DefaultPassword = fleet.Secret("amber-lantern-42")
)

// Street returns the default town: all protocols, all ways of discovery, all
// scenes, one login, everything healthy. Of those that stream H.264 one offers
// nothing else; snapshots, which are cheaper, are taken of the others.
func Street() []Camera {
	const (
		w, m, u = fleet.ViaWSDiscovery, fleet.ViaMDNS, fleet.ViaUPnP
	)
	via := func(v ...fleet.Via) []fleet.Via { return v }
	speaks := func(p ...fleet.Protocol) []fleet.Protocol { return p }
	return []Camera{
		{Name: "street-east", Scene: StreetDay, Vendor: "Fernblick", Model: "FB-2140 Bullet", Firmware: "3.4.1", Protocols: speaks(fleet.ONVIF, fleet.RTSP, fleet.Snapshot), Codec: fleet.H264, Via: via(w, m)},
		{Name: "street-night", Scene: StreetNight, Vendor: "Fernblick", Model: "FB-2140 Bullet", Firmware: "3.4.1", Protocols: speaks(fleet.ONVIF, fleet.RTSP, fleet.Snapshot), Codec: fleet.H264, Via: via(w), Skew: -97 * time.Second},
		{Name: "shelf-3", Scene: Shelf, Vendor: "Northlight", Model: "NL Dome Mini", Firmware: "12.0.7", Protocols: speaks(fleet.Snapshot, fleet.MJPEG), Via: via(m, u), Open: true},
		{Name: "shelf-7", Scene: Shelf, Vendor: "Northlight", Model: "NL Dome Mini", Firmware: "12.0.7", Protocols: speaks(fleet.RTSP), Via: via(m)},
		{Name: "gate-north", Scene: Gate, Vendor: "Fernblick", Model: "FB-3310 Turret", Firmware: "3.6.0", Protocols: speaks(fleet.ONVIF, fleet.RTSP, fleet.Snapshot), Via: via(w, m, u), SHA256: true},
		{Name: "gate-yard", Scene: Gate, Vendor: "Hollin", Model: "HC-8 PTZ", Firmware: "2.11", Protocols: speaks(fleet.ONVIF, fleet.Snapshot), Via: via(w, u), Skew: 26 * time.Minute},
		{Name: "field-west", Scene: Field, Vendor: "Agraria", Model: "AG Field 4", Firmware: "0.9.8", Protocols: speaks(fleet.Snapshot), Via: via(m), Open: true},
		{Name: "parking", Scene: Parking, Vendor: "Hollin", Model: "HC-5 Fixed", Firmware: "2.11", Protocols: speaks(fleet.ONVIF, fleet.RTSP), Codec: fleet.H264, Via: via(w, u)},
		{Name: "dock-2", Scene: Dock, Vendor: "Northlight", Model: "NL Yard", Firmware: "12.1.0", Protocols: speaks(fleet.MJPEG), Via: via(m)},
		{Name: "aisle-14", Scene: Aisle, Vendor: "Fernblick", Model: "FB-1100 Dome", Firmware: "3.4.1", Protocols: speaks(fleet.ONVIF, fleet.Snapshot), Via: via(w)},
		{Name: "harbour", Scene: Harbour, Vendor: "Hollin", Model: "HC-9 Marine", Firmware: "2.12-rc1", Protocols: speaks(fleet.RTSP, fleet.MJPEG), Via: via(m, u)},
		{Name: "roof", Scene: Skyline, Vendor: "Agraria", Model: "AG Mast", Firmware: "0.9.8", Protocols: speaks(fleet.ONVIF, fleet.MJPEG, fleet.Snapshot), Via: via(w, u)},
	}
}

// Many returns n cameras for load: Street() over and over, with names of
// their own.
func Many(n int) []Camera {
	var out []Camera
	for i := range n {
		s := Street()
		c := s[i%len(s)]
		if i >= len(s) {
			c.Name = fmt.Sprintf("%s-x%d", c.Name, i/len(s)+1)
		}
		out = append(out, c)
	}
	return out
}

// check refuses what a camera cannot be.
func (c Camera) check() error {
	if c.Name == "" || len(c.Name) > 40 {
		return errors.New("its name is empty or longer than 40 bytes")
	}
	for _, r := range c.Name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("its name holds %q; use a-z, 0-9 and hyphens", r)
		}
	}
	if _, ok := drawings[c.Scene]; !ok {
		return fmt.Errorf("no scene is called %q", c.Scene)
	}
	if c.Width < 0 || c.Height < 0 || c.Width%8 != 0 || c.Height%8 != 0 || c.Width > 1920 || c.Height > 1088 {
		return fmt.Errorf("size %dx%d: multiples of 8 up to 1920x1088 are drawn", c.Width, c.Height)
	}
	if len(c.Protocols) == 0 {
		return errors.New("it speaks no protocol")
	}
	for _, p := range c.Protocols {
		if !slices.Contains([]fleet.Protocol{fleet.ONVIF, fleet.RTSP, fleet.Snapshot, fleet.MJPEG}, p) {
			return fmt.Errorf("protocol %q is unknown", p)
		}
	}
	if c.Codec != "" && c.Codec != fleet.JPEG && c.Codec != fleet.H264 {
		return fmt.Errorf("codec %q: jpeg and h264 are streamed", c.Codec)
	}
	if _, ok := clipScenes[c.Scene]; !ok && c.Codec == fleet.H264 {
		return fmt.Errorf("there is no H.264 clip of the scene %s", c.Scene)
	}
	if !slices.Contains([]Login{LoginAny, LoginDigest, LoginToken, LoginBasic}, c.Login) {
		return fmt.Errorf("login %q is unknown", c.Login)
	}
	for _, v := range c.Via {
		if v == fleet.ViaWSDiscovery && !slices.Contains(c.Protocols, fleet.ONVIF) {
			return errors.New("it answers WS-Discovery but does not speak ONVIF")
		}
	}
	for _, f := range c.Faults {
		if !slices.Contains(Faults(), f) {
			return fmt.Errorf("no fault is called %q; there are %s", f, faultNames())
		}
	}
	return nil
}
