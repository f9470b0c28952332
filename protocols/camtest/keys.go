package camtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"time"
)

// keys are a camera's TLS certificates, which it has signed itself: the one it
// was shipped with, and another for the fault ChangedKey.
type keys struct {
	c      *camera
	shown  tls.Certificate
	second tls.Certificate
}

// newKeys returns the camera's keys. They stay the same when it moves.
func newKeys(c *camera) (*keys, error) {
	if c.keys != nil {
		return c.keys, nil
	}
	k := &keys{c: c}
	for _, to := range []*tls.Certificate{&k.shown, &k.second} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		// Valid since long ago and for long: cameras do not know the date either.
		cert := &x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: c.Vendor + " " + c.Model},
			NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
		}
		der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
		if err != nil {
			return nil, fmt.Errorf("sign a certificate: %w", err)
		}
		*to = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	c.keys = k
	return k, nil
}

func (k *keys) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if k.c.is(ChangedKey) {
				return &k.second, nil
			}
			return &k.shown, nil
		},
	}
}
