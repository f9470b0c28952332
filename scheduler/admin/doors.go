package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
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
// the scheduler, bearer tokens. Secrets are kept as their SHA-256 only.
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
	who   scheduler.Principal
	until time.Time
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
	session [32]byte // zero for a bearer token
	err     error    // why nobody is known
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
		p, err := d.auth.Authenticate(r.Context(), fleet.Secret(strings.TrimSpace(token)))
		return visitor{Principal: p, err: err}
	}
	c, err := r.Cookie(d.cookieName(r))
	if err != nil {
		return visitor{err: errNobody}
	}
	id := sha256.Sum256([]byte(c.Value))
	if p, ok := d.session(id); ok {
		return visitor{Principal: p, session: id}
	}
	return visitor{err: errExpired}
}

func (d *doors) session(id [32]byte) (scheduler.Principal, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.sessions[id]
	if ok && !d.now().Before(s.until) {
		delete(d.sessions, id)
		ok = false
	}
	return s.who, ok
}

// still reports whether v, who was let in, would be let in now. Event streams
// ask it, for they outlive sessions.
func (d *doors) still(v visitor) bool {
	if v.session == [32]byte{} {
		return v.err == nil
	}
	_, ok := d.session(v.session)
	return ok
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

// begin opens a session for p and gives the browser its cookie.
func (d *doors) begin(w http.ResponseWriter, r *http.Request, p scheduler.Principal) {
	secret := rand.Text() + rand.Text() // 260 bits
	until := d.now().Add(d.life)
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
	d.sessions[sha256.Sum256([]byte(secret))] = session{p, until}
	d.mu.Unlock()
	http.SetCookie(w, d.cookie(r, secret, int(d.life/time.Second)))
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
