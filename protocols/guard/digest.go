package guard

import (
	"crypto/md5" //nolint:gosec // HTTP Digest is built on it
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"sync"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Challenge is one offer of a WWW-Authenticate header.
type Challenge struct {
	Scheme string            // lower case: "digest", "basic"
	Params map[string]string // names in lower case, values without quotes and escapes
}

// Limits of the challenge parser: no camera sends more, and the quotes of a
// hostile one cost no more.
const (
	maxChallenges = 16
	maxParams     = 32
)

// ParseChallenges reads all challenges of all WWW-Authenticate headers of one
// answer (RFC 9110, 11.6.1). It is lenient, since a challenge that is not
// understood only means a camera that stays shut: what it cannot read it skips,
// and a quote that is never closed ends with its header.
func ParseChallenges(headers []string) []Challenge {
	var all []Challenge
	for _, h := range headers {
		cur := -1 // a parameter belongs to a scheme of its own header
		for p := 0; p < len(h); {
			if h[p] == ' ' || h[p] == '\t' || h[p] == ',' {
				p++
				continue
			}
			start := p
			for p < len(h) && isToken(h[p]) {
				p++
			}
			name := strings.ToLower(h[start:p])
			q := skipBlank(h, p)
			switch {
			case name == "": // neither blank nor token: skip it
				p++
			case q < len(h) && h[q] == '=':
				var value string
				value, p = readValue(h, skipBlank(h, q+1))
				if cur >= 0 && len(all[cur].Params) < maxParams {
					if _, again := all[cur].Params[name]; !again {
						all[cur].Params[name] = value
					}
				}
			case len(all) == maxChallenges:
				return all
			default:
				all = append(all, Challenge{Scheme: name, Params: make(map[string]string)})
				cur = len(all) - 1
			}
		}
	}
	return all
}

func skipBlank(s string, p int) int {
	for p < len(s) && (s[p] == ' ' || s[p] == '\t') {
		p++
	}
	return p
}

// readValue reads a token or a quoted string at p and returns the place behind.
func readValue(s string, p int) (string, int) {
	if p >= len(s) || s[p] != '"' {
		start := p
		for p < len(s) && s[p] != ',' && s[p] != ' ' && s[p] != '\t' {
			p++
		}
		return s[start:p], p
	}
	var b strings.Builder
	for p++; p < len(s); p++ {
		switch {
		case s[p] == '"':
			return b.String(), p + 1
		case s[p] == '\\' && p+1 < len(s):
			p++
		}
		b.WriteByte(s[p])
	}
	return b.String(), p
}

// isToken follows RFC 9110, 5.6.2, plus the characters of token68.
func isToken(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~/", c) >= 0
}

// algorithms are the digests that are spoken, and how much each is preferred.
var algorithms = map[string]struct {
	rank int
	new  func() hash.Hash
}{
	"MD5":         {1, md5.New},
	"SHA-256":     {2, sha256.New},
	"SHA-512-256": {3, sha512.New512_256},
}

// Digest answers one HTTP Digest challenge (RFC 7616, and RFC 2069 where a
// camera gives no qop) for as many requests as its nonce lives. It is safe for
// use by several goroutines.
type Digest struct {
	realm, nonce, opaque, algorithm, qop string
	hasOpaque, session, userhash, utf8   bool
	hash                                 func() hash.Hash

	mu     sync.Mutex
	count  uint32
	cnonce string
	ha1    string // of a -sess algorithm: it holds for the nonce's first cnonce
	ha1For fleet.Credentials
}

// NewDigest takes a challenge, or says why it cannot be answered.
func NewDigest(c Challenge) (*Digest, error) {
	if c.Scheme != "digest" {
		return nil, fmt.Errorf("challenge %q is no digest", c.Scheme)
	}
	d := &Digest{realm: c.Params["realm"], nonce: c.Params["nonce"], algorithm: c.Params["algorithm"]}
	d.opaque, d.hasOpaque = c.Params["opaque"]
	d.userhash = strings.EqualFold(c.Params["userhash"], "true")
	d.utf8 = strings.EqualFold(c.Params["charset"], "UTF-8")
	name := strings.ToUpper(d.algorithm)
	if name == "" {
		name = "MD5"
	}
	name, d.session = strings.CutSuffix(name, "-SESS")
	a, ok := algorithms[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("digest algorithm %q is not known", d.algorithm)
	case d.nonce == "":
		return nil, fmt.Errorf("digest challenge without a nonce")
	}
	d.hash = a.new
	if offered, ok := c.Params["qop"]; ok && strings.TrimSpace(offered) != "" {
		for q := range strings.FieldsFuncSeq(offered, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
			switch q = strings.ToLower(q); {
			case q == "auth", q == "auth-int" && d.qop == "":
				d.qop = q
			}
		}
		if d.qop == "" {
			return nil, fmt.Errorf("digest qop %q is not known", offered)
		}
	}
	for _, s := range []string{d.realm, d.nonce, d.opaque, d.algorithm} {
		if hasControl(s) {
			return nil, fmt.Errorf("digest challenge with control characters")
		}
	}
	return d, nil
}

// best picks the strongest digest of an answer's challenges, and says whether
// Basic is offered too.
func best(cs []Challenge) (d *Digest, stale, basic bool) {
	rank := 0
	for _, c := range cs {
		if c.Scheme == "basic" {
			basic = true
			continue
		}
		n, err := NewDigest(c)
		if err != nil {
			continue
		}
		name := strings.TrimSuffix(strings.ToUpper(n.algorithm), "-SESS")
		if name == "" {
			name = "MD5"
		}
		if r := algorithms[name].rank; r > rank {
			d, rank, stale = n, r, strings.EqualFold(c.Params["stale"], "true")
		}
	}
	return d, stale, basic
}

// Authorize returns the Authorization header for one more request. URI is the
// request target as it stands in the request line.
func (d *Digest) Authorize(method, uri string, body []byte, c fleet.Credentials) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	if d.cnonce == "" || !d.session {
		d.cnonce = rand.Text()
	}
	return d.authorize(method, uri, body, c)
}

func (d *Digest) authorize(method, uri string, body []byte, c fleet.Credentials) string {
	ha1 := d.sum(c.User + ":" + d.realm + ":" + c.Password.Reveal())
	if d.session {
		if d.ha1 == "" || d.ha1For != c {
			d.ha1, d.ha1For = d.sum(ha1+":"+d.nonce+":"+d.cnonce), c
		}
		ha1 = d.ha1
	}
	a2 := method + ":" + uri
	if d.qop == "auth-int" {
		a2 += ":" + d.sum(string(body))
	}
	nc := fmt.Sprintf("%08x", d.count)
	mid := d.nonce
	if d.qop != "" {
		mid += ":" + nc + ":" + d.cnonce + ":" + d.qop
	}
	response := d.sum(ha1 + ":" + mid + ":" + d.sum(a2))

	user := "username=" + quote(c.User)
	switch {
	case d.userhash:
		user = "username=" + quote(d.sum(c.User+":"+d.realm))
	case d.utf8 && !isASCII(c.User):
		// Only who names its charset reads this form (RFC 7616, 3.4); the others
		// take the bytes as they come.
		user = "username*=UTF-8''" + extValue(c.User)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `Digest %s, realm=%s, nonce=%s, uri=%s, response="%s"`,
		user, quote(d.realm), quote(d.nonce), quote(uri), response)
	if d.algorithm != "" {
		fmt.Fprintf(&b, `, algorithm=%s`, d.algorithm)
	}
	if d.hasOpaque {
		fmt.Fprintf(&b, `, opaque=%s`, quote(d.opaque))
	}
	if d.qop != "" {
		fmt.Fprintf(&b, `, qop=%s, nc=%s, cnonce="%s"`, d.qop, nc, d.cnonce)
	} else if d.session {
		fmt.Fprintf(&b, `, cnonce="%s"`, d.cnonce)
	}
	if d.userhash {
		b.WriteString(`, userhash=true`)
	}
	return b.String()
}

func (d *Digest) sentNonce() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.nonce
}

// renew goes on with the nonce that an Authentication-Info header announced.
func (d *Digest) renew(info string) {
	// The header is a bare parameter list; a scheme in front makes it a challenge.
	cs := ParseChallenges([]string{"Info " + info})
	if len(cs) == 0 {
		return
	}
	if next := cs[0].Params["nextnonce"]; next != "" && !hasControl(next) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.nonce, d.count, d.cnonce, d.ha1 = next, 0, "", ""
	}
}

func (d *Digest) sum(s string) string {
	h := d.hash()
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))
}

func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// extValue writes a text as RFC 8187, 3.2.1 (value-chars) asks for.
func extValue(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$&+-.^_`|~", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
