package admin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

const (
	cookieName  = "shutterfleet"
	sessionLife = 12 * time.Hour
	codeLife    = 10 * time.Minute
	maxSessions = 10_000
	maxBody     = 20 << 20
)

// sessions are people who logged in by the page, and codes that log in once.
// Only hashes are kept; a restart logs everyone out.
type sessions struct {
	mu    sync.Mutex
	live  map[[32]byte]session
	codes map[[32]byte]time.Time
}

type session struct {
	who   scheduler.Principal
	until time.Time
}

func secret() (text string, hash [32]byte) {
	var b [32]byte
	rand.Read(b[:]) //nolint:errcheck // crypto/rand.Read never fails
	text = base64.RawURLEncoding.EncodeToString(b[:])
	return text, sha256.Sum256([]byte(text))
}

// OneTimeLogin returns a path that logs an administrator in, once, within ten
// minutes.
func (a *Server) OneTimeLogin() string {
	text, hash := secret()
	s := &a.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.codes == nil {
		s.codes = map[[32]byte]time.Time{}
	}
	s.codes[hash] = time.Now().Add(codeLife)
	return "/login?code=" + text
}

func (s *sessions) useCode(text string) bool {
	hash := sha256.Sum256([]byte(text))
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.codes[hash]
	delete(s.codes, hash)
	return ok && time.Now().Before(until)
}

func (s *sessions) begin(w http.ResponseWriter, r *http.Request, who scheduler.Principal) {
	text, hash := secret()
	now := time.Now()
	s.mu.Lock()
	if s.live == nil || len(s.live) >= maxSessions {
		s.live = map[[32]byte]session{}
	}
	s.live[hash] = session{who, now.Add(sessionLife)}
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: cookieName, Value: text, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil, MaxAge: int(sessionLife.Seconds())})
}

func (s *sessions) find(r *http.Request) (scheduler.Principal, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return scheduler.Principal{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.live[sha256.Sum256([]byte(c.Value))]
	return v.who, ok && time.Now().Before(v.until)
}

func (s *sessions) end(r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.live, sha256.Sum256([]byte(c.Value)))
	}
}

type whoKey struct{}

func who(ctx context.Context) scheduler.Principal {
	p, _ := ctx.Value(whoKey{}).(scheduler.Principal)
	return p
}

// may reports whether a role reaches another.
func may(role, needed string) bool {
	order := []string{scheduler.RoleViewer, scheduler.RoleOperator, scheduler.RoleAdmin}
	return slices.Index(order, role) >= slices.Index(order, needed) && slices.Contains(order, role)
}

// guard says who asks, refuses those who may not, and sets the headers that
// keep browsers safe.
func (a *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Frame-Options", "DENY")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		open := strings.HasPrefix(r.URL.Path, "/assets/") || r.URL.Path == "/login" || r.URL.Path == "/api/openapi.json" || r.URL.Path == "/favicon.ico"
		p, ok := a.identify(r)
		switch {
		case open:
		case !ok && strings.HasPrefix(r.URL.Path, "/api/"):
			h.Set("WWW-Authenticate", `Bearer realm="shutterfleet"`)
			writeProblem(w, http.StatusUnauthorized, "a token is needed: send it as `Authorization: Bearer …`; the first one lies in admin.token in the scheduler's data directory")
			return
		case !ok:
			http.Redirect(w, r, "/login", http.StatusSeeOther)
			return
		case p.cookie && r.Method != http.MethodGet && r.Method != http.MethodHead && !sameOrigin(r):
			writeProblem(w, http.StatusForbidden, "this request came from another site")
			return
		case !may(p.who.Role, needed(r)):
			writeProblem(w, http.StatusForbidden, "the role "+p.who.Role+" may not do this: it needs "+needed(r))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), whoKey{}, p.who)))
	})
}

// needed is the role a request takes: looking is for viewers, changing for
// operators, and who may come in is for administrators.
func needed(r *http.Request) string {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return scheduler.RoleViewer
	case strings.HasPrefix(r.URL.Path, "/api/v1/match"), r.URL.Path == "/logout":
		return scheduler.RoleViewer
	case strings.HasPrefix(r.URL.Path, "/api/v1/keys"), strings.HasPrefix(r.URL.Path, "/api/v1/agents"), strings.HasPrefix(r.URL.Path, "/api/v1/credentials"), strings.HasPrefix(r.URL.Path, "/api/v1/rules"):
		return scheduler.RoleAdmin
	}
	return scheduler.RoleOperator
}

type identified struct {
	who    scheduler.Principal
	cookie bool
}

func (a *Server) identify(r *http.Request) (identified, bool) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		p, err := a.sched.Authenticate(r.Context(), fleet.Secret(strings.TrimSpace(token)))
		return identified{who: p}, err == nil
	}
	p, ok := a.sessions.find(r)
	return identified{who: p, cookie: true}, ok
}

// sameOrigin reports whether a browser sent the request from our own pages.
func sameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "none":
		return true
	case "":
	default:
		return false
	}
	u, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && u.Host == r.Host
}

func writeProblem(w http.ResponseWriter, code int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": code, "title": http.StatusText(code), "detail": detail}) //nolint:errcheck // the client has gone
}
