package fleet

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// SiteKey lets agents enrol at one site. Its text carries the SHA-256 of the
// centre's CA certificate, so an agent needs nothing else to know that it talks
// to the right centre:
//
//	sfk1.<site>.<secret>.<ca sha256>     secret and digest in unpadded base64url
type SiteKey struct {
	Site   SiteID
	Secret [32]byte
	CA     [32]byte // SHA-256 of the CA certificate in DER
}

const siteKeyPrefix = "sfk1"

// ErrSiteKey says that a text is no site key.
var ErrSiteKey = errors.New("not a site key: want the text that `shutterfleet keys create` printed, sfk1.…")

// Text returns the key as operators hand it to agents. It is a secret.
func (k SiteKey) Text() Secret {
	e := base64.RawURLEncoding
	return Secret(strings.Join([]string{siteKeyPrefix, string(k.Site), e.EncodeToString(k.Secret[:]), e.EncodeToString(k.CA[:])}, "."))
}

// ParseSiteKey reads what Text wrote; space around it is ignored. A site's name
// may hold dots.
func ParseSiteKey(s Secret) (SiteKey, error) {
	parts := strings.Split(strings.TrimSpace(s.Reveal()), ".")
	if len(parts) < 4 || parts[0] != siteKeyPrefix {
		return SiteKey{}, ErrSiteKey
	}
	n := len(parts)
	k := SiteKey{Site: SiteID(strings.Join(parts[1:n-2], "."))}
	for i, dst := range [][]byte{k.Secret[:], k.CA[:]} {
		b, err := base64.RawURLEncoding.DecodeString(parts[n-2+i])
		if err != nil || len(b) != len(dst) {
			return SiteKey{}, fmt.Errorf("%w: part %d is cut or mistyped", ErrSiteKey, n-1+i)
		}
		copy(dst, b)
	}
	if k.Site == "" {
		return SiteKey{}, ErrSiteKey
	}
	return k, nil
}
