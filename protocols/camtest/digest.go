package camtest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// nonceLife is how long a nonce is good; then it is stale, and the client
// must try again with a new one without asking anybody for a password.
const nonceLife = 2 * time.Minute

// digest is the server's half of HTTP Digest (RFC 7616), qop auth or none.
type digest struct {
	realm  string
	sha256 bool
	key    [32]byte // nonces are signed, not kept
	now    func() time.Time
}

func newDigest(realm string, strong bool, now func() time.Time) *digest {
	d := &digest{realm: realm, sha256: strong, now: now}
	_, _ = rand.Read(d.key[:]) // never fails: crypto/rand
	return d
}

func (d *digest) nonce() string {
	at := strconv.FormatInt(d.now().UnixNano(), 36)
	return at + "." + d.sign(at)
}

func (d *digest) sign(at string) string {
	m := hmac.New(sha256.New, d.key[:])
	m.Write([]byte(at))
	return hex.EncodeToString(m.Sum(nil)[:16])
}

// fresh reports whether the nonce is ours, and whether it is still good.
func (d *digest) fresh(nonce string) (ours, good bool) {
	at, sig, _ := strings.Cut(nonce, ".")
	if subtle.ConstantTimeCompare([]byte(sig), []byte(d.sign(at))) != 1 {
		return false, false
	}
	n, err := strconv.ParseInt(at, 36, 64)
	return true, err == nil && d.now().Sub(time.Unix(0, n)).Abs() < nonceLife
}

// challenge is the value of WWW-Authenticate.
func (d *digest) challenge(stale bool) string {
	algorithm := "MD5"
	if d.sha256 {
		algorithm = "SHA-256"
	}
	s := fmt.Sprintf(`Digest realm="%s", qop="auth", nonce="%s", algorithm=%s`, d.realm, d.nonce(), algorithm)
	if stale {
		s += ", stale=true"
	}
	return s
}

type verdict int

const (
	noLogin verdict = iota // nothing was tried
	staleLogin
	wrongLogin
	rightLogin
)

// check judges the Authorization header of r.
func (d *digest) check(r *http.Request, user string, password fleet.Secret) verdict {
	h := r.Header.Get("Authorization")
	if h == "" {
		return noLogin
	}
	scheme, rest, _ := strings.Cut(h, " ")
	if !strings.EqualFold(scheme, "Digest") {
		return wrongLogin
	}
	p := parameters(rest)
	sum := func(parts ...string) string {
		var m hash.Hash = md5.New()
		if d.sha256 {
			m = sha256.New()
		}
		m.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(m.Sum(nil))
	}
	algorithm := strings.ToUpper(p["algorithm"])
	if d.sha256 && algorithm != "SHA-256" || !d.sha256 && algorithm != "" && algorithm != "MD5" {
		return wrongLogin
	}
	if p["username"] != user || p["realm"] != d.realm || p["uri"] != r.RequestURI {
		return wrongLogin
	}
	a1, a2 := sum(user, d.realm, password.Reveal()), sum(r.Method, p["uri"])
	var want string
	switch p["qop"] {
	case "auth":
		want = sum(a1, p["nonce"], p["nc"], p["cnonce"], p["qop"], a2)
	case "":
		want = sum(a1, p["nonce"], a2)
	default:
		return wrongLogin
	}
	ours, good := d.fresh(p["nonce"])
	switch {
	case subtle.ConstantTimeCompare([]byte(strings.ToLower(p["response"])), []byte(want)) != 1:
		return wrongLogin
	case !ours || !good:
		return staleLogin
	}
	return rightLogin
}

// parameters reads key=value and key="value" pairs, separated by commas.
func parameters(s string) map[string]string {
	out := map[string]string{}
	for s != "" {
		s = strings.TrimLeft(s, ", \t")
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		key = strings.ToLower(strings.TrimSpace(key))
		var value strings.Builder
		if quoted, ok := strings.CutPrefix(rest, `"`); ok {
			i := 0
			for ; i < len(quoted) && quoted[i] != '"'; i++ {
				if quoted[i] == '\\' && i+1 < len(quoted) {
					i++
				}
				value.WriteByte(quoted[i])
			}
			s = quoted[min(i+1, len(quoted)):]
		} else {
			v, more, _ := strings.Cut(rest, ",")
			value.WriteString(strings.TrimSpace(v))
			s = more
		}
		out[key] = value.String()
	}
	return out
}
