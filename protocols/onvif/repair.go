package onvif

import (
	"cmp"
	"net"
	"net/url"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// repair brings a service address back to the host that was asked, port and
// path kept; what is no address becomes the device service's own.
func (s *session) repair(addr string) *url.URL {
	u, err := s.device.Parse(strings.TrimSpace(addr))
	if err != nil || addr == "" || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return s.device
	}
	return upgrade(rehost(u, s.device.Hostname()), s.device)
}

// upgrade keeps what was asked over https there: cameras whose http is switched
// off still name http addresses, some with the port of https. An address with
// another port stays.
func upgrade(u, device *url.URL) *url.URL {
	if p := u.Port(); device.Scheme == "https" && u.Scheme == "http" && (p == "" || p == "80" || p == cmp.Or(device.Port(), "443")) {
		u.Scheme, u.Host = device.Scheme, device.Host
	}
	return u
}

// rehost puts host in the place of an address's own, keeping its port, and
// drops credentials and fragment.
func rehost(u *url.URL, host string) *url.URL {
	out := *u
	out.User, out.Fragment, out.RawFragment = nil, "", ""
	switch port := u.Port(); {
	case guard.SameHost(u.Hostname(), host):
	case port != "":
		out.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		out.Host = "[" + host + "]"
	default:
		out.Host = host
	}
	return &out
}

// near is a service's path at the address of the device service, or nil when
// it is there already.
func (s *session) near(at *url.URL) *url.URL {
	if at.Host == s.device.Host && at.Scheme == s.device.Scheme {
		return nil
	}
	out := *at
	out.Host, out.Scheme = s.device.Host, s.device.Scheme
	return &out
}

// maxURLBytes bounds an address; the longest of the field are below 300.
const maxURLBytes = 1024

// endpoint repairs a stream or snapshot address, or returns "".
func endpoint(addr string, at *url.URL, p fleet.Protocol) string {
	if addr == "" || len(addr) > maxURLBytes {
		return ""
	}
	var u *url.URL
	var err error
	if p == fleet.Snapshot {
		u, err = at.Parse(addr) // some give a path alone
	} else {
		u, err = url.Parse(addr)
	}
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return ""
	}
	switch {
	case p == fleet.RTSP && (u.Scheme == "rtsp" || u.Scheme == "rtsps"):
	case p == fleet.Snapshot && (u.Scheme == "http" || u.Scheme == "https"):
	default:
		return ""
	}
	return upgrade(rehost(u, at.Hostname()), at).String()
}
