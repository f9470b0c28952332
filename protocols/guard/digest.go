package guard

import (
	"crypto/md5" //nolint:gosec // RFC 7616 still has it, and most cameras nothing else
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strings"
	"sync"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// digest is a server's challenge and our side of it (RFC 7616, and RFC 2069
// where a server knows no qop).
type digest struct {
	scheme    string // digest or basic
	realm     string
	nonce     string
	opaque    string
	algorithm string // as the server wrote it
	session   bool   // -sess
	qop       string // auth, or ""
	stale     bool
	hash      func() hash.Hash
	creds     fleet.Credentials

	mu    sync.Mutex
	count uint32
}

// challenge is one parsed WWW-Authenticate challenge.
type challenge struct {
	scheme string
	params map[string]string
}

const maxChallenges = 16

// parseChallenges reads all challenges of the header's values (RFC 9110
// section 11.6.1): several may share one value.
func parseChallenges(values []string) (out []challenge) {
	for _, v := range values {
		rest := v
		for rest = skip(rest); rest != "" && len(out) < maxChallenges; rest = skip(rest) {
			word, after := token(rest)
			if word == "" {
				break
			}
			after = strings.TrimLeft(after, " \t")
			if eq := strings.HasPrefix(after, "="); eq && len(out) > 0 {
				value, left := parameter(after[1:])
				out[len(out)-1].params[strings.ToLower(word)] = value
				rest = left
				continue
			}
			out = append(out, challenge{scheme: strings.ToLower(word), params: map[string]string{}})
			rest = after
		}
	}
	return out
}

func skip(s string) string { return strings.TrimLeft(s, " \t,") }

func token(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t,=\"")
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// parameter reads a token or a quoted string.
func parameter(s string) (value, rest string) {
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		i := strings.IndexAny(s, " \t,")
		if i < 0 {
			return s, ""
		}
		return s[:i], s[i:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}

// choose returns the best challenge we can answer: digest with SHA-256, then
// with MD5, then basic if that is allowed; nil when there is none.
func choose(h http.Header, basic bool) *digest {
	var best *digest
	rank := 0
	for _, c := range parseChallenges(h.Values("WWW-Authenticate")) {
		d := &digest{scheme: c.scheme, realm: c.params["realm"]}
		r := 0
		switch c.scheme {
		case "basic":
			if basic {
				r = 1
			}
		case "digest":
			r = d.offered(c.params)
		}
		if r > rank {
			best, rank = d, r
		}
	}
	return best
}

// offered fills in a digest challenge and ranks it; 0 when we cannot answer it.
func (d *digest) offered(p map[string]string) int {
	d.nonce, d.opaque, d.algorithm = p["nonce"], p["opaque"], p["algorithm"]
	d.stale = strings.EqualFold(p["stale"], "true")
	name, sess := strings.CutSuffix(strings.ToLower(d.algorithm), "-sess")
	d.session = sess
	r := 2
	switch name {
	case "", "md5":
		d.hash = md5.New
	case "sha-256":
		d.hash, r = sha256.New, 3
	default:
		return 0
	}
	if q, ok := p["qop"]; ok {
		for v := range strings.SplitSeq(q, ",") {
			if strings.EqualFold(strings.TrimSpace(v), "auth") {
				d.qop = "auth"
			}
		}
		if d.qop == "" {
			return 0 // auth-int alone: no camera was seen that wants it
		}
	}
	if d.nonce == "" {
		return 0
	}
	return r
}

// authorize returns the Authorization header's value for one request.
func (d *digest) authorize(method, uri string, _ []byte) string {
	user, pass := d.creds.User, d.creds.Password.Reveal()
	if d.scheme == "basic" {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+pass))
	}
	d.mu.Lock()
	d.count++
	nc := fmt.Sprintf("%08x", d.count)
	d.mu.Unlock()
	var raw [8]byte
	rand.Read(raw[:]) //nolint:errcheck // crypto/rand.Read never fails
	cnonce := hex.EncodeToString(raw[:])
	sum := func(parts ...string) string {
		h := d.hash()
		h.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(h.Sum(nil))
	}
	ha1 := sum(user, d.realm, pass)
	if d.session {
		ha1 = sum(ha1, d.nonce, cnonce)
	}
	ha2 := sum(method, uri)
	response := sum(ha1, d.nonce, ha2)
	if d.qop != "" {
		response = sum(ha1, d.nonce, nc, cnonce, d.qop, ha2)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username=%s, realm=%s, nonce=%s, uri=%s, response="%s"`, quote(user), quote(d.realm), quote(d.nonce), quote(uri), response)
	if d.algorithm != "" {
		fmt.Fprintf(&b, `, algorithm=%s`, d.algorithm)
	}
	if d.qop != "" {
		fmt.Fprintf(&b, `, qop=%s, nc=%s, cnonce="%s"`, d.qop, nc, cnonce)
	} else if d.session {
		fmt.Fprintf(&b, `, cnonce="%s"`, cnonce)
	}
	if d.opaque != "" {
		fmt.Fprintf(&b, `, opaque=%s`, quote(d.opaque))
	}
	return b.String()
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
