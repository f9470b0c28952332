package swarm

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// Roster is a fleet of enrolled agents: who they are, and whom they trust.
type Roster struct {
	CA       []byte // of the centre, DER
	OrderKey []byte // Ed25519 public key that signs instructions
	Agents   []Identity
}

// Identity is one enrolled agent.
type Identity struct {
	Agent       fleet.AgentID
	Site        fleet.SiteID
	Key         []byte // PKCS#8, DER
	Certificate []byte // DER
}

// Write keeps the roster in a file for its owner alone: it holds private keys.
func (r Roster) Write(file string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	return os.WriteFile(file, b, 0o600)
}

// ReadRoster reads what Write wrote.
func ReadRoster(file string) (Roster, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return Roster{}, err
	}
	var r Roster
	if err := json.Unmarshal(b, &r); err != nil {
		return Roster{}, fmt.Errorf("roster %s: %w", file, err)
	}
	return r, nil
}

// Roots returns the pool with the centre's CA.
func (r Roster) Roots() (*x509.CertPool, error) {
	ca, err := x509.ParseCertificate(r.CA)
	if err != nil {
		return nil, fmt.Errorf("roster: CA: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return roots, nil
}

// TLS returns what the agent shows and trusts.
func (id Identity) TLS(roots *x509.CertPool) (*tls.Config, error) {
	key, err := x509.ParsePKCS8PrivateKey(id.Key)
	if err != nil {
		return nil, fmt.Errorf("agent %s: key: %w", id.Agent, err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ServerName: wire.ServerName, RootCAs: roots,
		Certificates: []tls.Certificate{{Certificate: [][]byte{id.Certificate}, PrivateKey: key}},
	}, nil
}
