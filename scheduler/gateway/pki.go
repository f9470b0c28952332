package gateway

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// PKI is the centre's own certificate authority and signing keys, in one
// directory:
//
//	ca.crt ca.key       signs the server's and the agents' certificates
//	orders.key          Ed25519: signs instructions
//	secrets.key         encrypts camera passwords in the store
type PKI struct {
	CA      *x509.Certificate
	caKey   *ecdsa.PrivateKey
	orders  ed25519.PrivateKey
	Secrets [32]byte
}

const (
	caLife     = 30 * 365 * 24 * time.Hour
	serverLife = 398 * 24 * time.Hour // made anew at each start
	agentLife  = 5 * 365 * 24 * time.Hour
	clockSlack = 24 * time.Hour // an edge box may wake up with an old clock
)

// LoadPKI reads the keys in dir, making those that are not there.
func LoadPKI(dir string) (*PKI, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	p := &PKI{}
	caKey, err := secretFile(filepath.Join(dir, "ca.key"), func() ([]byte, error) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		return marshalKey(k)
	})
	if err != nil {
		return nil, err
	}
	k, err := parseKey(caKey)
	if err != nil {
		return nil, fmt.Errorf("ca.key: %w", err)
	}
	var ok bool
	if p.caKey, ok = k.(*ecdsa.PrivateKey); !ok {
		return nil, errors.New("ca.key holds no ECDSA key")
	}
	ca, err := secretFile(filepath.Join(dir, "ca.crt"), func() ([]byte, error) {
		t := &x509.Certificate{
			SerialNumber: serial(), Subject: pkix.Name{CommonName: "Shutterfleet centre"},
			NotBefore: time.Now().Add(-clockSlack), NotAfter: time.Now().Add(caLife),
			IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}
		der, err := x509.CreateCertificate(rand.Reader, t, t, p.caKey.Public(), p.caKey)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), err
	})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(ca)
	if block == nil {
		return nil, errors.New("ca.crt is no PEM file")
	}
	if p.CA, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("ca.crt: %w", err)
	}
	orders, err := secretFile(filepath.Join(dir, "orders.key"), func() ([]byte, error) {
		_, k, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, err
		}
		return marshalKey(k)
	})
	if err != nil {
		return nil, err
	}
	if k, err = parseKey(orders); err != nil {
		return nil, fmt.Errorf("orders.key: %w", err)
	}
	if p.orders, ok = k.(ed25519.PrivateKey); !ok {
		return nil, errors.New("orders.key holds no Ed25519 key")
	}
	secrets, err := secretFile(filepath.Join(dir, "secrets.key"), func() ([]byte, error) {
		b := make([]byte, 32)
		_, err := rand.Read(b)
		return b, err
	})
	if err != nil {
		return nil, err
	}
	if len(secrets) != len(p.Secrets) {
		return nil, errors.New("secrets.key is damaged: it has 32 bytes")
	}
	copy(p.Secrets[:], secrets)
	return p, nil
}

// secretFile reads a file, or makes it for its owner alone. It appears whole or
// not at all.
func secretFile(name string, fresh func() ([]byte, error)) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return b, err
	}
	if b, err = fresh(); err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	tmp := name + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return nil, err
	}
	return b, os.Rename(tmp, name)
}

func marshalKey(k any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

func parseKey(b []byte) (any, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	return x509.ParsePKCS8PrivateKey(block.Bytes)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return big.NewInt(time.Now().UnixNano())
	}
	return n
}

// Digest returns the SHA-256 of the CA certificate, which site keys carry.
func (p *PKI) Digest() [32]byte { return sha256.Sum256(p.CA.Raw) }

// OrderKey returns the public key that instructions are signed under.
func (p *PKI) OrderKey() ed25519.PublicKey { return p.orders.Public().(ed25519.PublicKey) }

// server returns a fresh certificate under the fixed name.
func (p *PKI) server() (tls.Certificate, error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: wire.ServerName}, DNSNames: []string{wire.ServerName},
		NotBefore: time.Now().Add(-clockSlack), NotAfter: time.Now().Add(serverLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, p.CA, k.Public(), p.caKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der, p.CA.Raw}, PrivateKey: k}, nil
}

// agent signs an agent's certificate request. Only its public key is taken
// from it.
func (p *PKI) agent(csr []byte, a fleet.Agent) ([]byte, error) {
	req, err := x509.ParseCertificateRequest(csr)
	if err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("certificate request: %w", err)
	}
	return p.Certify(req.PublicKey, a)
}

// Certify returns an agent's certificate for its public key, in DER. Agents
// come to theirs by Enrol; this is for who fills a store without them.
func (p *PKI) Certify(public crypto.PublicKey, a fleet.Agent) ([]byte, error) {
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: string(a.ID), OrganizationalUnit: []string{string(a.Site)}},
		NotBefore: time.Now().Add(-clockSlack), NotAfter: time.Now().Add(agentLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	return x509.CreateCertificate(rand.Reader, t, p.CA, public, p.caKey)
}

// TLS accepts agents under our CA, and those that have no certificate
// yet: they can only enrol.
func (p *PKI) TLS() (*tls.Config, error) {
	cert, err := p.server()
	if err != nil {
		return nil, fmt.Errorf("server certificate: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(p.CA)
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
		ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: pool, NextProtos: []string{"h2"},
	}, nil
}
