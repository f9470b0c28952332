package rtsp

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// ask sends a request and, when the camera wants a login, once more with each
// of the credentials, within the budget.
func (s *stream) ask(ctx context.Context, request func() error) error {
	err := request()
	if !s.unauthorized(err) {
		return err
	}
	budget, dev := s.g.guard.Budget(), device(s.target, s.url)
	known := s.candidates()
	if len(known) == 0 {
		return unusable("the camera asks for a login and none is known: store credentials for it")
	}
	var locked error
	tried := 0
	for _, c := range known {
		leave, enter := budget.Enter(ctx, dev, c)
		if enter != nil {
			if ce, ok := errors.AsType[*fleet.CameraError](enter); ok && ce.Cause != fleet.CauseLocked {
				return enter
			}
			if locked == nil {
				locked = enter
			}
			continue
		}
		err = s.try(c, request)
		if !s.unauthorized(err) {
			if err == nil {
				budget.Accepted(dev, c)
			} else if p, ok := budget.Proven(dev); s.answer().status == base.StatusForbidden && (!ok || p != c) {
				budget.Refused(dev, c)
			}
			leave()
			return err
		}
		if errors.Is(err, guard.ErrUnusable) {
			leave()
			return err
		}
		budget.Refused(dev, c)
		leave()
		tried++
		if p, ok := budget.Proven(dev); ok && p == c && budget.Try(dev, c) == nil {
			// No other login is tried either: each would count, for nothing.
			s.forgetLogin()
			return guard.OnceRefused()
		}
		s.forgetLogin()
	}
	if tried == 0 {
		return locked
	}
	return fleet.Errorf(fleet.CauseUnauthorized, "the camera refused the login of user %q: correct its credentials", known[len(known)-1].User)
}

// forgetLogin has not even the goodbye carry a refused login again.
func (s *stream) forgetLogin() {
	s.mu.Lock()
	s.auth = nil
	s.mu.Unlock()
}

// unauthorized reports whether a request ended in 401, or was not sent for want
// of a usable login.
func (s *stream) unauthorized(err error) bool {
	if errors.Is(err, guard.ErrUnusable) {
		return true
	}
	bad, ok := errors.AsType[liberrors.ErrClientBadStatusCode](err)
	return ok && bad.Code == base.StatusUnauthorized
}

// try answers the challenge at hand with one login. A nonce that went stale on
// the way is replaced once and does not count.
func (s *stream) try(c fleet.Credentials, request func() error) error {
	for round := 0; ; round++ {
		d, basic := strongest(s.answer().challenges)
		var auth func(method, uri string) string
		switch {
		case d != nil:
			auth = func(method, uri string) string { return d.Authorize(method, uri, nil, c) }
		case basic && s.url.Scheme != "rtsps" && !s.g.opts.BasicInClear:
			return unusable("the camera offers only Basic over plain rtsp, which would send the password in clear: use rtsps, or permit it for this site")
		case basic && s.target.Camera == 0 && !s.g.opts.BasicInClear:
			// Whoever answers signs his own certificate.
			return unusable("the camera offers only Basic, which would show the password to whoever answers here: approve it first, if it is yours")
		case basic && strings.Contains(c.User, ":"):
			return unusable("the user name %q holds a colon, which Basic cannot send", c.User)
		case basic:
			header := "Basic " + base64.StdEncoding.EncodeToString([]byte(c.User+":"+c.Password.Reveal()))
			auth = func(string, string) string { return header }
		default:
			return unusable("the camera asks for a login of a kind that is not spoken here")
		}
		s.mu.Lock()
		s.auth = auth
		s.mu.Unlock()
		err := request()
		if round > 0 || !s.unauthorized(err) || !stale(s.answer().challenges) {
			return err
		}
	}
}

// candidates are the credentials worth a try, what worked before first.
func (s *stream) candidates() []fleet.Credentials {
	var known []fleet.Credentials
	for _, c := range s.target.Credentials {
		if !c.Empty() && !slices.Contains(known, c) {
			known = append(known, c)
		}
	}
	if c, ok := s.g.guard.Budget().Proven(device(s.target, s.url)); ok {
		if i := slices.Index(known, c); i > 0 {
			known = slices.Insert(slices.Delete(known, i, i+1), 0, c)
		}
	}
	return known
}

// strongest picks the digest that is hardest to break, and says whether Basic
// is offered.
func strongest(challenges []string) (d *guard.Digest, basic bool) {
	rank := -1
	for _, c := range guard.ParseChallenges(challenges) {
		if c.Scheme == "basic" {
			basic = true
			continue
		}
		n, err := guard.NewDigest(c)
		if err != nil {
			continue
		}
		r := 0
		switch alg := strings.ToUpper(c.Params["algorithm"]); {
		case strings.HasPrefix(alg, "SHA-512"):
			r = 2
		case strings.HasPrefix(alg, "SHA"):
			r = 1
		}
		if r > rank {
			d, rank = n, r
		}
	}
	return d, basic
}

func stale(challenges []string) bool {
	return slices.ContainsFunc(guard.ParseChallenges(challenges), func(c guard.Challenge) bool {
		return strings.EqualFold(c.Params["stale"], "true")
	})
}
