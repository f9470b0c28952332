package guard

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net"
	"slices"
	"strings"
	"sync"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Pins remember the TLS keys that devices showed first: cameras sign their own
// certificates, so what a chain proves elsewhere the key's constancy has to.
// Implementations are safe for use by several goroutines, and do not wait long:
// they are asked within a handshake.
type Pins interface {
	// Pin returns the SHA-256 of the SubjectPublicKeyInfo that was set for a
	// device. Since services of one device may have keys of their own, device is
	// Login.Device with the port behind a colon: "urn:uuid:7f3a:443".
	Pin(device string) (spki []byte, ok bool)
	// SetPin sets it; a nil spki forgets it.
	SetPin(device string, spki []byte)
}

const (
	maxPins  = 16384 // beyond it any one is forgotten
	maxPorts = 16    // TLS services of one device that Forget finds again
)

// memoryPins last as long as the process.
type memoryPins struct {
	mu   sync.Mutex
	keys map[string][]byte
}

// Pin implements Pins.
func (m *memoryPins) Pin(device string) ([]byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok := m.keys[device]
	return k, ok
}

// SetPin implements Pins.
func (m *memoryPins) SetPin(device string, spki []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if spki == nil {
		delete(m.keys, device)
		return
	}
	if _, ok := m.keys[device]; !ok && len(m.keys) >= maxPins {
		for d := range m.keys {
			delete(m.keys, d)
			break
		}
	}
	m.keys[device] = bytes.Clone(spki)
}

// deviceKey is the context's key of the device that a request is for: a
// handshake happens deep in the transport.
type deviceKey struct{}

func withDevice(ctx context.Context, device string) context.Context {
	return context.WithValue(ctx, deviceKey{}, device)
}

func deviceIn(ctx context.Context) string {
	d, _ := ctx.Value(deviceKey{}).(string) // Do sets it
	return d
}

// TLS returns the settings for a TLS connection of the device to address
// (host:port): any certificate is taken at first, and from then on only the same
// public key, until it is forgotten. An empty device is the address's host.
// RTSPS uses it too.
func (g *Guard) TLS(device, address string) *tls.Config {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if device == "" {
		device = host
	}
	return &tls.Config{
		ServerName:         host,
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection pins the key instead
		VerifyConnection: func(cs tls.ConnectionState) error {
			return g.checkPin(device, port, &cs)
		},
	}
}

// keyOf is the fingerprint of the key that a peer has shown.
func keyOf(cs *tls.ConnectionState) []byte {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return nil
	}
	sum := sha256.Sum256(cs.PeerCertificates[0].RawSubjectPublicKeyInfo)
	return sum[:]
}

// checkPin compares a peer's key with the pinned one, or pins it.
func (g *Guard) checkPin(device, port string, cs *tls.ConnectionState) error {
	seen := keyOf(cs)
	if seen == nil {
		return fleet.Errorf(fleet.CauseProtocol, "%s shows no certificate", device)
	}
	g.mu.Lock()
	defer g.mu.Unlock() // two first handshakes are one after the other
	name := pinName(device, port)
	g.noted(device, port)
	known, ok := g.opts.Pins.Pin(name)
	switch {
	case !ok:
		g.opts.Pins.SetPin(name, seen)
		return nil
	case bytes.Equal(known, seen):
		return nil
	}
	return fleet.Errorf(fleet.CauseUnauthorized,
		// The fix first: what keeps this text may cut it off.
		"%s shows another TLS key and was sent no login: if it was replaced or reset, `shutterfleet cameras trust ID`; if not, find out who answers (SHA-256 %s, before %s)",
		device, hex.EncodeToString(seen), hex.EncodeToString(known))
}

func pinName(device, port string) string { return strings.ToLower(device) + ":" + port }

// noted remembers on which ports a device speaks TLS. The lock is held.
func (g *Guard) noted(device, port string) {
	device = strings.ToLower(device)
	known := g.ports[device]
	if slices.Contains(known, port) || len(known) >= maxPorts {
		return
	}
	if known == nil && len(g.ports) >= maxPins {
		for d := range g.ports {
			delete(g.ports, d)
			break
		}
	}
	g.ports[device] = append(known, port)
}

// Forget drops the TLS keys and logins remembered of a device, so that its next
// answer counts as the first. The device is named as in Login, or by its host
// when it had no other name.
func (g *Guard) Forget(device string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, port := range g.ports[strings.ToLower(device)] {
		g.opts.Pins.SetPin(pinName(device, port), nil)
	}
	delete(g.ports, strings.ToLower(device))
	for k := range g.sessions {
		if k.device == device || SameHost(k.host, device) {
			delete(g.sessions, k)
		}
	}
	g.http.CloseIdleConnections() // what is open was let in by the old key
}
