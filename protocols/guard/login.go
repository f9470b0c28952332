package guard

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// exchange is Do for one address, logins included.
func (g *Guard) exchange(ctx context.Context, l Login, r Request, u *url.URL) (*Response, error) {
	key := origin{l.Device, u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	var plain *Response // the answer whose challenge is to be met

	if s := g.session(key, l); s != nil && !s.single && g.budget.Try(l.Device, s.with) == nil {
		res, err := g.send(ctx, r, u, s.header(r, u), s)
		if err != nil || res.Status != http.StatusUnauthorized {
			if err == nil {
				g.accepted(key, l, s, res)
			}
			return res, err
		}
		// The nonce may be old, or serve another address only. A new challenge
		// without stale counts as a refusal until the next answer shows better;
		// one that changes nothing is the answer, and no second try is sent.
		d, stale, _ := best(challenges(res))
		if d == nil || !stale {
			g.budget.Refused(l.Device, s.with)
		}
		g.drop(key)
		plain = res
		if d == nil || s.digest != nil && d.nonce == s.digest.sentNonce() {
			return g.login(ctx, l, r, u, key, plain, &s.with)
		}
	}
	if plain == nil {
		res, err := g.send(ctx, r, u, "", nil)
		if err != nil || res.Status != http.StatusUnauthorized {
			return res, err
		}
		plain = res
	}
	return g.login(ctx, l, r, u, key, plain, nil)
}

// login answers the challenge of res with each of the credentials but refused,
// which this very exchange has tried.
func (g *Guard) login(ctx context.Context, l Login, r Request, u *url.URL, key origin, res *Response, refused *fleet.Credentials) (*Response, error) {
	if err := locked(ReadLoginState(res.Body)); err != nil {
		return res, err
	}
	preempted := res.Auth != ""
	known := g.Candidates(l)
	if len(known) == 0 {
		return res, &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unusable{text: "the camera asks for a login and none is known: store credentials for it"}}
	}
	var shut error
	tried := 0
	for _, c := range known {
		if refused != nil && c == *refused {
			tried++
			continue
		}
		if state := ReadLoginState(res.Body); state.Spare() && !g.proven(l.Device, c) {
			shut = cmp.Or(shut, error(spare(state)))
			continue
		}
		leave, err := g.budget.Enter(ctx, l.Device, c)
		if err != nil {
			if ce, ok := errors.AsType[*fleet.CameraError](err); ok && ce.Cause != fleet.CauseLocked {
				return res, err
			}
			shut = cmp.Or(shut, err)
			continue
		}
		next, err := g.try(ctx, l, r, u, key, res, c, preempted)
		leave()
		if err != nil || next.Status != http.StatusUnauthorized {
			return next, err
		}
		tried++
		res = next
		if err := locked(ReadLoginState(res.Body)); err != nil {
			return res, err
		}
	}
	if tried == 0 {
		return res, shut
	}
	if c, ok := g.budget.Proven(l.Device); ok && slices.Contains(known, c) && g.budget.Refusals(l.Device) == 1 {
		return res, OnceRefused()
	}
	left := ""
	if state := ReadLoginState(res.Body); state.Told {
		left = fmt.Sprintf(" before its %d remaining tries are used up", state.Left)
	}
	return res, fleet.Errorf(fleet.CauseUnauthorized, "the camera refused the login of user %q: correct its credentials%s", known[len(known)-1].User, left)
}

// proven reports whether c is what last worked on the device.
func (g *Guard) proven(device string, c fleet.Credentials) bool {
	p, ok := g.budget.Proven(device)
	return ok && p == c
}

// locked is the error of a camera that counts no further logins, or nil.
func locked(s LoginState) error {
	if !s.Lock {
		return nil
	}
	return fleet.Errorf(fleet.CauseLocked, "the camera says that it is locked after too many wrong logins: wait, or restart it")
}

// spare is the error of a camera that is about to lock.
func spare(s LoginState) *fleet.CameraError {
	return fleet.Errorf(fleet.CauseLocked,
		"the camera says that %d tries are left before it locks, and they are kept for its owner: log in to its page once, then store the right credentials", s.Left)
}

// Candidates are the credentials of l that are worth a try, each once, what
// worked on the device before first.
func (g *Guard) Candidates(l Login) []fleet.Credentials {
	known := make([]fleet.Credentials, 0, len(l.Credentials))
	for _, c := range l.Credentials {
		if !c.Empty() && !slices.Contains(known, c) {
			known = append(known, c)
		}
	}
	if c, ok := g.budget.Proven(l.Device); ok {
		if i := slices.Index(known, c); i > 0 {
			known = slices.Insert(slices.Delete(known, i, i+1), 0, c)
		}
	}
	return known
}

// try sends the request with one login. A nonce that went stale on the way is
// replaced once without being counted.
func (g *Guard) try(ctx context.Context, l Login, r Request, u *url.URL, key origin, res *Response, c fleet.Credentials, preempted bool) (*Response, error) {
	for round := 0; ; round++ {
		d, _, basic := best(challenges(res))
		s := &session{with: c, digest: d}
		switch {
		case d != nil && !hasControl(c.User):
		case basic && l.NoBasic:
			return res, &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unusable{"the camera offers only Basic", true}}
		case basic && (u.Scheme == "https" && l.Readable || l.BasicOverHTTP):
			if strings.Contains(c.User, ":") {
				return res, unusableError("the user name %q holds a colon, which Basic cannot send", c.User)
			}
		case basic && u.Scheme == "https":
			return res, unusableError("the camera offers only Basic, which would show the password to whoever answers here: approve it first, if it is yours")
		case basic:
			return res, unusableError("the camera offers only Basic over plain http, which would send the password in clear: use https, or permit it for this site")
		default:
			return res, unusableError("the camera asks for a login of a kind that is not spoken here (%s)", strings.Join(schemes(res), ", "))
		}
		next, err := g.send(ctx, r, u, s.header(r, u), s)
		if err != nil {
			return next, err
		}
		if next.Status != http.StatusUnauthorized {
			// A fresh challenge worked where the kept nonce did not: this camera
			// wants one for each address, and keeping them only costs refusals.
			s.single = preempted && round == 0
			g.accepted(key, l, s, next)
			return next, nil
		}
		if _, stale, _ := best(challenges(next)); stale && round == 0 {
			res = next
			continue
		}
		g.budget.Refused(l.Device, c)
		return next, nil
	}
}

// accepted books an answer that was not 401. Only success proves a login: some
// cameras look for the page before the password, and some refuse with 403.
func (g *Guard) accepted(key origin, l Login, s *session, res *Response) {
	switch {
	case res.Status < 400:
		g.budget.Accepted(l.Device, s.with)
	case res.Status == http.StatusForbidden:
		if !g.proven(l.Device, s.with) {
			g.budget.Refused(l.Device, s.with)
		}
		return
	default:
		return
	}
	if s.digest != nil {
		for _, info := range res.Header.Values("Authentication-Info") {
			s.digest.renew(info)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.sessions[key]; ok && old.single {
		s.single = true
	}
	if _, ok := g.sessions[key]; !ok && len(g.sessions) >= maxSessions {
		for k := range g.sessions {
			delete(g.sessions, k)
			break
		}
	}
	g.sessions[key] = s
}

// session returns the login that worked last, if it is still among l's.
func (g *Guard) session(key origin, l Login) *session {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, ok := g.sessions[key]
	if !ok || !slices.Contains(l.Credentials, s.with) {
		return nil
	}
	if s.digest == nil && (key.scheme != "https" || !l.Readable) && !l.BasicOverHTTP {
		return nil
	}
	return s
}

func (g *Guard) drop(key origin) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.sessions, key)
}

func (s *session) header(r Request, u *url.URL) string {
	if s.digest != nil {
		return s.digest.Authorize(r.Method, u.RequestURI(), r.Body, s.with)
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(s.with.User+":"+s.with.Password.Reveal()))
}

func (s *session) kind() string {
	switch {
	case s == nil:
		return ""
	case s.digest != nil:
		return "digest"
	}
	return "basic"
}

func challenges(res *Response) []Challenge {
	return ParseChallenges(res.Header.Values("WWW-Authenticate"))
}

func schemes(res *Response) []string {
	var names []string
	for _, c := range challenges(res) {
		if !slices.Contains(names, c.Scheme) {
			names = append(names, c.Scheme)
		}
	}
	if names == nil {
		return []string{"no challenge"}
	}
	return names
}

// unusable is a text that is ErrUnusable.
type unusable struct {
	text  string
	basic bool // and ErrOnlyBasic
}

func (u *unusable) Error() string { return u.text }
func (u *unusable) Is(target error) bool {
	return target == ErrUnusable || u.basic && target == ErrOnlyBasic
}

func unusableError(format string, args ...any) error {
	return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unusable{text: fmt.Sprintf(format, args...)}}
}
