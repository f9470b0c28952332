package guard

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
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

// pin holds a TLS peer to the key of its first handshake. Cameras sign their
// own certificates, so what a chain proves elsewhere the key's constancy has to.
type pin [sha256.Size]byte

// maxPins bounds the pins; beyond it any one is forgotten.
const maxPins = 16384

// TLS returns the settings for a TLS connection to address (host:port): any
// certificate is taken at first, and from then on only the same public key,
// until the process ends or Forget is called. RTSPS uses it too.
func (g *Guard) TLS(address string) *tls.Config {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	return &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection pins the key instead
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return fleet.Errorf(fleet.CauseProtocol, "%s shows no certificate", address)
			}
			return g.checkPin(address, sha256.Sum256(cs.PeerCertificates[0].RawSubjectPublicKeyInfo))
		},
	}
}

func (g *Guard) checkPin(address string, seen pin) error {
	address = strings.ToLower(address)
	g.mu.Lock()
	defer g.mu.Unlock()
	known, ok := g.pins[address]
	if !ok {
		if len(g.pins) >= maxPins {
			for a := range g.pins {
				delete(g.pins, a)
				break
			}
		}
		g.pins[address] = seen
		return nil
	}
	if known != seen {
		return fleet.Errorf(fleet.CauseGuarded,
			"%s shows another TLS key than before: if the camera was replaced or reset, restart the agent to trust the new key", address)
	}
	return nil
}

// Forget drops the TLS keys and logins remembered of a host, so that its next
// answer counts as the first.
func (g *Guard) Forget(host string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for a := range g.pins {
		if h, _, err := net.SplitHostPort(a); err == nil && SameHost(h, host) {
			delete(g.pins, a)
		}
	}
	for k := range g.sessions {
		if SameHost(k.host, host) {
			delete(g.sessions, k)
		}
	}
}
