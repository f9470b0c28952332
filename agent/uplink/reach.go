package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// Reach is what a look at the centre found.
type Reach struct {
	Connect time.Duration // TCP
	TLS     time.Duration // the handshake
	Expires time.Time     // of the certificate that the centre shows
	Offset  time.Duration // the centre's clock minus the box's
	Bound   time.Duration // Offset may be wrong by this much
	NoClock error         // why Offset is not known; nil when it is
}

// Look connects to the centre as an agent would, without opening its stream: a
// running agent is not disturbed. With an identity the centre must be the one
// that gave it; without, any is fine, for whoever enrols checks it by its site
// key. Local is the box's clock.
func Look(ctx context.Context, server string, id Identity, enrolled bool, local func() time.Time) (r Reach, err error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: wire.ServerName,
		InsecureSkipVerify: true, //nolint:gosec // nothing is sent that needs to stay secret, and nothing is believed but the time
	}
	if enrolled {
		if config, err = id.tls(); err != nil {
			return r, err
		}
	}
	config.NextProtos = []string{"h2"}
	began := time.Now()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return r, fmt.Errorf("connect: %w", err)
	}
	r.Connect = time.Since(began)
	began = time.Now()
	secure := tls.Client(conn, config)
	err = secure.HandshakeContext(ctx)
	r.TLS = time.Since(began)
	var shown []*x509.Certificate
	if err == nil {
		shown = secure.ConnectionState().PeerCertificates
	}
	_ = conn.Close() // it was for the handshake alone
	if err != nil {
		return r, fmt.Errorf("TLS handshake: %w", err)
	}
	if len(shown) > 0 {
		r.Expires = shown[0].NotAfter
	}
	line, err := dial(server, config)
	if err != nil {
		return r, err
	}
	defer line.Close() //nolint:errcheck // nothing is left to lose
	t1 := local()
	began = time.Now()
	a, err := wire.NewAgentsClient(line).Clock(ctx, &wire.ClockProbe{T1: t1.UnixNano()})
	if err == nil { // once more on the open connection: the first took its handshake along
		t1, began = local(), time.Now()
		a, err = wire.NewAgentsClient(line).Clock(ctx, &wire.ClockProbe{T1: t1.UnixNano()})
	}
	if err != nil {
		r.NoClock = explain(err)
		return r, nil
	}
	trip := time.Since(began)
	r.Offset, r.Bound = time.Unix(0, a.GetT2()).Sub(t1.Round(0).Add(trip/2)), trip/2
	return r, nil
}
