package admin

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

const (
	// codeFor is how long a one-time login waits for its browser. The link is
	// printed on the operator's own terminal.
	codeFor = 10 * time.Minute

	// maxSessions and maxCodes bound memory; beyond them the oldest goes.
	maxSessions = 4096
	maxCodes    = 16

	// maxFormBytes is far above what the largest form of the pages sends.
	maxFormBytes = 1 << 20
)

// doors know who comes in: sessions of browsers, one-time codes and, by asking
// the scheduler, bearer tokens. Secrets are kept as their SHA-256 only. The token
// that opened a session is kept sealed by the cookie's secret, which the browser
// has and this memory has not: with each request it is shown to the scheduler
// again, so that a revoked token ends its sessions.
type doors struct {
	auth   Authenticator
	log    *slog.Logger
	now    func() time.Time
	secure bool
	life   time.Duration
	cross  *http.CrossOriginProtection

	mu       sync.Mutex
	sessions map[[32]byte]session
	codes    map[[32]byte]time.Time
}

type session struct {
	who    scheduler.Principal
	until  time.Time
	sealed []byte // the token that opened it; nil after a one-time login
}

func newDoors(auth Authenticator, o Options) *doors {
	return &doors{
		auth: auth, log: o.Log, now: o.Now, secure: o.SecureCookies, life: o.SessionFor,
		cross:    http.NewCrossOriginProtection(),
		sessions: map[[32]byte]session{}, codes: map[[32]byte]time.Time{},
	}
}

// visitor is who a request is from.
type visitor struct {
	scheduler.Principal
	session [32]byte     // zero for a bearer token
	token   fleet.Secret // empty after a one-time login
	err     error        // why nobody is known
}

type visitorKey struct{}

func visitorOf(ctx context.Context) visitor {
	v, _ := ctx.Value(visitorKey{}).(visitor)
	return v
}

var (
	errNobody  = errors.New("log in first: send `Authorization: Bearer TOKEN`, or open /login in a browser")
	errExpired = errors.New("the session is over: log in again")
)

// identified finds out who asks and hands the request on with the answer. A
// browser's request that changes something must come from these pages.
func (d *doors) identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := d.visitor(r)
		if err := d.sameOrigin(r, v); err != nil {
			d.log.WarnContext(r.Context(), "cross-origin request refused", "method", r.Method, "path", r.URL.Path, "err", err)
			writeProblem(w, http.StatusForbidden, "this request came from another site's page: open the page here and repeat")
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), visitorKey{}, v)))
	})
}

// sameOrigin refuses unsafe requests that another site's page made. What comes
// with a cookie must also say where it comes from, as every browser does.
func (d *doors) sameOrigin(r *http.Request, v visitor) error {
	if err := d.cross.Check(r); err != nil {
		return err
	}
	safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
	if !safe && v.session != [32]byte{} && r.Header.Get("Sec-Fetch-Site") == "" && r.Header.Get("Origin") == "" {
		return errors.New("a cookie without Origin or Sec-Fetch-Site")
	}
	return nil
}

func (d *doors) visitor(r *http.Request) visitor {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") || strings.TrimSpace(token) == "" {
			return visitor{err: errNobody}
		}
		v := visitor{token: fleet.Secret(strings.TrimSpace(token))}
		v.Principal, v.err = d.auth.Authenticate(r.Context(), v.token)
		return v
	}
	c, err := r.Cookie(d.cookieName(r))
	if err != nil {
		return visitor{err: errNobody}
	}
	v := visitor{session: sha256.Sum256([]byte(c.Value))}
	s, ok := d.session(v.session)
	if !ok {
		return visitor{err: errExpired}
	}
	if v.Principal = s.who; s.sealed == nil {
		return v
	}
	if v.token, err = unseal(c.Value, s.sealed); err != nil {
		return visitor{err: errExpired} // sealed by this very secret: it opens
	}
	return d.renewed(r.Context(), v)
}

// renewed shows the token of a session to the scheduler, which says what it is
// worth now. A session without its token is over.
func (d *doors) renewed(ctx context.Context, v visitor) visitor {
	v.Principal, v.err = d.auth.Authenticate(ctx, v.token)
	if errors.Is(v.err, scheduler.ErrUnauthorized) {
		d.mu.Lock()
		delete(d.sessions, v.session)
		d.mu.Unlock()
		return visitor{err: errExpired}
	}
	return v
}

func (d *doors) session(id [32]byte) (session, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sessions[id]
	if ok && !d.now().Before(s.until) {
		delete(d.sessions, id)
		ok = false
	}
	return s, ok
}

// still reports whether v, who was let in, would be let in now. Event streams
// ask it, for they outlive sessions and tokens.
func (d *doors) still(ctx context.Context, v visitor) bool {
	if v.err != nil {
		return false
	}
	if v.session != [32]byte{} {
		if _, ok := d.session(v.session); !ok {
			return false
		}
	}
	if v.token == "" {
		return true
	}
	return !errors.Is(d.renewed(ctx, v).err, errExpired)
}

// seal hides a token behind a cookie's secret. Each secret seals once, so a
// fixed nonce is sound.
func seal(secret string, token fleet.Secret) ([]byte, error) {
	c, err := sealer(secret)
	if err != nil {
		return nil, err
	}
	return c.Seal(nil, make([]byte, c.NonceSize()), []byte(token.Reveal()), nil), nil
}

func unseal(secret string, sealed []byte) (fleet.Secret, error) {
	c, err := sealer(secret)
	if err != nil {
		return "", err
	}
	b, err := c.Open(nil, make([]byte, c.NonceSize()), sealed, nil)
	return fleet.Secret(b), err
}

// sealer derives its key apart from the session's id, which is a plain hash of
// the same secret and lies beside what is sealed.
func sealer(secret string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "shutterfleet session token", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// cookieName holds the port: cookies know hosts only, and two schedulers on one
// host, the demo and the real one, must not log each other out.
func (d *doors) cookieName(r *http.Request) string {
	_, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		port = "default"
	}
	if d.secure {
		return "__Host-shutterfleet-" + port // browsers let nobody else set it
	}
	return "shutterfleet-" + port
}

// begin opens a session for p and gives the browser its cookie. It lasts no
// longer than token, if one opened it.
func (d *doors) begin(w http.ResponseWriter, r *http.Request, p scheduler.Principal, token fleet.Secret) error {
	secret := rand.Text() + rand.Text() // 260 bits
	until := d.now().Add(d.life)
	var sealed []byte
	if token != "" {
		var err error
		if sealed, err = seal(secret, token); err != nil {
			return fmt.Errorf("begin session: %w", err)
		}
	}
	d.mu.Lock()
	if len(d.sessions) >= maxSessions {
		oldest, when := [32]byte{}, until
		for id, s := range d.sessions {
			if !s.until.After(when) {
				oldest, when = id, s.until
			}
		}
		delete(d.sessions, oldest)
	}
	d.sessions[sha256.Sum256([]byte(secret))] = session{p, until, sealed}
	d.mu.Unlock()
	http.SetCookie(w, d.cookie(r, secret, int(d.life/time.Second)))
	return nil
}

func (d *doors) end(w http.ResponseWriter, r *http.Request) {
	v := visitorOf(r.Context())
	d.mu.Lock()
	delete(d.sessions, v.session)
	d.mu.Unlock()
	http.SetCookie(w, d.cookie(r, "", -1))
}

func (d *doors) cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure is an option: a scheduler on loopback speaks no TLS
		Name: d.cookieName(r), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: d.secure, SameSite: http.SameSiteStrictMode,
	}
}

func (d *doors) oneTimeLogin() string {
	b := make([]byte, 24)
	rand.Read(b) // never fails, by contract
	code := base64.RawURLEncoding.EncodeToString(b)
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.codes) >= maxCodes {
		oldest, when := [32]byte{}, d.now().Add(codeFor)
		for id, until := range d.codes {
			if !until.After(when) {
				oldest, when = id, until
			}
		}
		delete(d.codes, oldest)
	}
	d.codes[sha256.Sum256([]byte(code))] = d.now().Add(codeFor)
	return "/login?code=" + url.QueryEscape(code)
}

// redeem uses up a one-time code and reports whether it was good.
func (d *doors) redeem(code string) bool {
	id := sha256.Sum256([]byte(code))
	d.mu.Lock()
	defer d.mu.Unlock()
	until, ok := d.codes[id]
	delete(d.codes, id)
	return ok && d.now().Before(until)
}

// rank orders roles; an unknown one may do nothing.
func rank(role string) int {
	switch role {
	case scheduler.RoleViewer:
		return 1
	case scheduler.RoleOperator:
		return 2
	case scheduler.RoleAdmin:
		return 3
	}
	return 0
}

// may returns nil when v has at least role.
func (v visitor) may(role string) (status int, detail string, ok bool) {
	switch {
	case v.err != nil:
		status, detail = problem(v.err)
		if errors.Is(v.err, errNobody) || errors.Is(v.err, errExpired) {
			status, detail = http.StatusUnauthorized, v.err.Error()
		}
		return status, detail, false
	case rank(v.Role) < rank(role):
		return http.StatusForbidden, "this needs the role " + role + "; " + cmp.Or(v.Name, "this token") + " is " + cmp.Or(v.Role, "nobody"), false
	}
	return 0, "", true
}

// secured sets the headers that keep pages to themselves. Scripts and styles
// come from files of this server only, so injected markup cannot run.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// writeProblem answers with an RFC 9457 problem.
func writeProblem(w http.ResponseWriter, status int, detail string) {
	b, err := json.Marshal(&huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
	if err != nil { // plain strings always marshal
		b = nil
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // nobody is left to tell
}
