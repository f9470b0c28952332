package sweep

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	connectWait = time.Second     // for a connection: a LAN answers in milliseconds, a lost SYN is not sent again before
	confirmWait = 5 * time.Second // for an ONVIF device service to show itself
)

// UsualPorts are where cameras listen: web, RTSP, TLS, and the web ports that
// vendors moved to.
func UsualPorts() []uint16 { return []uint16{80, 554, 8080, 443, 8000} }

// connect tries the ports of one address, one at a time, and returns what they
// lead to. A port that neither opens nor refuses ends it: nobody is there, or a
// firewall is.
func (f *Finder) connect(ctx context.Context, addr netip.Addr) (out []fleet.Endpoint) {
	onvif := false
	for _, port := range f.opts.Ports {
		if err := f.open(ctx, netip.AddrPortFrom(addr, port)); err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || ctx.Err() != nil {
				return out
			}
			continue
		}
		switch port {
		case 554:
			out = append(out, fleet.Endpoint{Protocol: fleet.RTSP, URL: at("rtsp", addr, port, "/")})
		default:
			u := at(scheme(port), addr, port, "/onvif/device_service")
			if !onvif && f.confirm(ctx, u) {
				onvif = true // it has one service, however many ports lead there
				out = append(out, fleet.Endpoint{Protocol: fleet.ONVIF, URL: u})
			}
		}
	}
	return out
}

func (f *Finder) open(ctx context.Context, to netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	c, err := f.opts.Dial(ctx, "tcp", to.String())
	if err != nil {
		return err
	}
	return c.Close()
}

func (f *Finder) confirm(ctx context.Context, u string) bool {
	if f.opts.Confirm == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, confirmWait)
	defer cancel()
	return f.opts.Confirm(ctx, u) == nil
}

func scheme(port uint16) string {
	if port == 443 || port == 8443 {
		return "https"
	}
	return "http"
}

// at spells the URL of a port, without the one that the scheme implies.
func at(scheme string, addr netip.Addr, port uint16, path string) string {
	host := addr.String()
	if addr.Is6() {
		host = "[" + host + "]"
	}
	if usual := map[string]uint16{"http": 80, "https": 443, "rtsp": 554}; port != usual[scheme] {
		host += ":" + strconv.Itoa(int(port))
	}
	return (&url.URL{Scheme: scheme, Host: host, Path: path}).String()
}
