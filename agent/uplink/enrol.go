package uplink

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// Identity is who an agent is after enrolment.
type Identity struct {
	Agent       fleet.AgentID
	Site        fleet.SiteID
	Key         []byte // PKCS#8, DER; it never leaves the box
	Certificate []byte // DER
	CA          []byte // DER
	OrderKey    []byte // Ed25519 public key that signs instructions
}

// ErrRejected says that the centre does not let this agent in, whatever it
// tries: its key is used up, expired or revoked, or it was revoked itself.
var ErrRejected = errors.New("the centre rejects this agent")

// enrolTimeout bounds one attempt to enrol, connect included.
const enrolTimeout = 20 * time.Second

// Enrol makes a key and turns a site key into a certificate for it. The centre
// is trusted by the digest of its CA in the site key, and nothing else.
func Enrol(ctx context.Context, server string, key fleet.SiteKey, hostname, version string, dialing ...grpc.DialOption) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, enrolTimeout)
	defer cancel()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: hostname}}, private)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	conn, err := dial(server, &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: wire.ServerName,
		// The CA is known by its digest only, so the usual verification cannot
		// find it; verifyPinned does the same work against the pinned one.
		InsecureSkipVerify: true, //nolint:gosec // see above
		VerifyConnection:   func(cs tls.ConnectionState) error { return verifyPinned(cs, key.CA) },
	}, dialing...)
	if err != nil {
		return Identity{}, fmt.Errorf("enrol: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	res, err := wire.NewAgentsClient(conn).Enrol(ctx, &wire.EnrolRequest{
		// The secret travels as base64url, as it stands in the key's text.
		Key: base64.RawURLEncoding.EncodeToString(key.Secret[:]), Csr: csr, Hostname: hostname, Version: version,
	})
	if err != nil {
		return Identity{}, fmt.Errorf("enrol at %s: %w", server, explain(err))
	}
	id := Identity{Agent: fleet.AgentID(res.GetAgent()), Site: fleet.SiteID(res.GetSite()), Key: keyDER, Certificate: res.GetCertificate(), CA: res.GetCa(), OrderKey: res.GetOrderKey()}
	if err := id.check(key, private); err != nil {
		return Identity{}, fmt.Errorf("enrol at %s: %w", server, err)
	}
	return id, nil
}

// check refuses an answer that would not work later.
func (id Identity) check(key fleet.SiteKey, private *ecdsa.PrivateKey) error {
	cert, err := x509.ParseCertificate(id.Certificate)
	if err != nil {
		return fmt.Errorf("the centre's answer: certificate: %w", err)
	}
	public, ok := cert.PublicKey.(*ecdsa.PublicKey)
	switch {
	case sha256.Sum256(id.CA) != key.CA:
		return errors.New("the centre's answer: its CA is not the one in the site key")
	case id.Agent == "" || id.Agent != fleet.AgentID(cert.Subject.CommonName):
		return errors.New("the centre's answer: the certificate is for another agent")
	case !ok || !public.Equal(&private.PublicKey):
		return errors.New("the centre's answer: the certificate is for another key")
	case len(id.OrderKey) != ed25519.PublicKeySize:
		return errors.New("the centre's answer: no key to verify orders with")
	}
	return nil
}

// verifyPinned accepts a server certificate under the CA with this digest,
// which the server sends along, and under the fixed name.
func verifyPinned(cs tls.ConnectionState, digest [32]byte) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the centre shows no certificate")
	}
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, c := range cs.PeerCertificates[1:] {
		if sha256.Sum256(c.Raw) == digest {
			roots.AddCert(c)
			found = true
		} else {
			between.AddCert(c)
		}
	}
	if !found {
		return errors.New("the centre is not the one that made the site key: make a new key there, or correct --server")
	}
	_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: wire.ServerName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// tls returns the configuration of the stream.
func (id Identity) tls() (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(id.Key)
	if err != nil {
		return nil, fmt.Errorf("identity: key: %w", err)
	}
	ca, err := x509.ParseCertificate(id.CA)
	if err != nil {
		return nil, fmt.Errorf("identity: CA: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		ServerName:   wire.ServerName,
		RootCAs:      roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{id.Certificate}, PrivateKey: key}},
	}, nil
}

// dial prepares a connection; gRPC connects with the first call. A report of 10
// kB leaves in one write, from a buffer that is held only while there is
// something to write. Windows are fixed, which spares the pings by which gRPC
// would find its own: orders come 40 kB at a time.
func dial(server string, c *tls.Config, extra ...grpc.DialOption) (*grpc.ClientConn, error) {
	if _, _, err := net.SplitHostPort(server); err != nil {
		return nil, fmt.Errorf("server %q: want HOST:PORT, for example centre.example:7443", server)
	}
	return grpc.NewClient("passthrough:///"+server, append([]grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(c)),
		grpc.WithNoProxy(),
		grpc.WithReadBufferSize(4 << 10), grpc.WithWriteBufferSize(32 << 10),
		grpc.WithStaticStreamWindowSize(256 << 10), grpc.WithStaticConnWindowSize(256 << 10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		// The clock's probes are the heartbeat; this is the one below them, for
		// a network that swallows packets without a word.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}, extra...)...)
}

// maxMessageBytes bounds one message from the centre: a full list of 10,000
// cameras with their addresses and logins is about 4 MB.
const maxMessageBytes = 16 << 20

// explain turns a status into words for a person, and into ErrRejected where
// trying again is of no use.
func explain(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	switch st.Code() {
	case codes.PermissionDenied, codes.Unauthenticated:
		return fmt.Errorf("%w: %s", ErrRejected, st.Message())
	case codes.Unavailable:
		return fmt.Errorf("no connection: %s", st.Message())
	}
	return err
}
