package guard

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// connectWait bounds one connect. A SYN is repeated after 1 s and 3 s; a camera
// on a LAN that misses three of them is not there.
const connectWait = 5 * time.Second

// Dial returns a dialer that connects to host, and to what Options.Allow names,
// and to nothing else: whatever address a camera talks a client into, the
// connection fails with cause guarded. Host is an IP address or a name without
// a port. Failed connects come as *fleet.CameraError.
func (g *Guard) Dial(host string) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		to, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, fleet.Errorf(fleet.CauseProtocol, "connect: %w", err)
		}
		if !g.Permits(host, to) {
			return nil, guarded(host, to)
		}
		c, err := g.dialer.DialContext(ctx, network, net.JoinHostPort(to, port))
		if err == nil {
			return c, nil
		}
		// A deadline that falls into the connect means that nobody answered.
		if context.Cause(ctx) == context.DeadlineExceeded { //nolint:errorlint // a context returns the very value
			return nil, fleet.Errorf(fleet.CauseUnreachable, "no answer to a connect: %w", err)
		}
		return nil, CameraError(err, "")
	}
}

// Permits reports whether a camera at host may point us to other: the same
// host, or an address that the operator allowed. Both are without a port. A
// name is allowed only as itself, never by what it resolves to.
func (g *Guard) Permits(host, other string) bool {
	if SameHost(host, other) {
		return true
	}
	a, err := netip.ParseAddr(strings.Trim(other, "[]"))
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, p := range g.opts.Allow {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// SameHost reports whether two hosts, without ports, are the same address or
// the same name.
func SameHost(a, b string) bool {
	a, b = strings.Trim(a, "[]"), strings.Trim(b, "[]")
	if a == "" || b == "" {
		return false
	}
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX == nil && errY == nil {
		return x.Unmap() == y.Unmap()
	}
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}

func guarded(host, to string) error {
	return fleet.Errorf(fleet.CauseGuarded, "the camera at %s points to another host, %q: allow that address for the agent if it is right", host, to)
}
