// Package onvif asks a camera what it is and where its pictures are.
//
//	GetSystemDateAndTime ─ without login ─► clock offset
//	GetServices, else GetCapabilities ────► where Media 2 and Media 1 are
//	GetDeviceInformation, GetScopes, GetNetworkInterfaces ─► who it is
//	GetProfiles (Media 2, else Media 1) ──► video sources ─┬ GetStreamUri
//	                                                       └ GetSnapshotUri
//
// Logins are negotiated: none, then HTTP Digest when the camera answers 401,
// then WS-UsernameToken, dated by the camera's clock, when it answers a fault.
// What worked is remembered per device. Every address in an answer is brought
// back to the host that was asked: cameras behind NAT, after a move or fresh
// from the box name others. A camera that lacks a call is described without it.
package onvif

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

const (
	// describeWait is for callers whose context has no deadline.
	describeWait = 60 * time.Second
	// maxLearned bounds the devices whose login is remembered; beyond it any
	// one is forgotten.
	maxLearned = 16384
)

// Options configure a Client.
type Options struct {
	Now func() time.Time // the agent's corrected clock; default: time.Now
	Log *slog.Logger     // default: discards
}

// Client describes ONVIF devices. It is safe for use by several goroutines.
type Client struct {
	guard *guard.Guard
	opts  Options

	mu      sync.Mutex
	learned map[string]fleet.Credentials // by device: WS-UsernameToken worked with them
}

// New returns a Client that reaches cameras through g.
func New(g *guard.Guard, o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{guard: g, opts: o, learned: make(map[string]fleet.Credentials)}
}

// session is one description under way.
type session struct {
	c      *Client
	login  guard.Login
	device *url.URL      // the device service, as it was asked for
	offset time.Duration // the camera's clock minus ours
	date   time.Time     // of the last HTTP answer, by the camera's clock
	proved bool          // a login has worked in this session
}

// do calls one operation at a service and reads its answer. Errors are a
// *Fault, wrapped in nothing, when the camera refused for another reason than a
// login; else *fleet.CameraError.
func (s *session) do(ctx context.Context, at *url.URL, op call, answer any) error {
	if op.open {
		// What needs no login is asked without: a camera looks at no login
		// there, so its answer would prove a wrong one.
		_, body, err := s.post(ctx, at, op, nil, guard.Login{Device: s.login.Device})
		if err == nil {
			err = parse(body, answer)
		}
		f, ok := err.(*Fault) //nolint:errorlint // parse wraps no fault
		if wanted := ok && f.NotAuthorized() || errors.Is(err, guard.ErrUnusable); !wanted {
			return err
		}
	}
	if c, ok := s.c.remembered(s.login); ok {
		leave, err := s.c.guard.Budget().Enter(ctx, s.login.Device, c)
		if err != nil {
			return err
		}
		err = s.token(ctx, at, op, answer, c)
		leave()
		if refusedLogin(err) {
			// The next description negotiates anew; one more try now would only
			// cost the budget.
			s.c.forget(s.login.Device)
		}
		return err
	}
	_, body, err := s.post(ctx, at, op, nil, s.login)
	if err != nil && (body == nil || !isCause(err, fleet.CauseUnauthorized)) {
		return err
	}
	// A 401 that HTTP could not answer may be SOAP that asks for its own login.
	failed := parse(body, answer)
	fault, ok := failed.(*Fault) //nolint:errorlint // parse wraps no fault
	switch {
	case !ok && err != nil:
		return err
	case !ok || !fault.NotAuthorized():
		return failed
	case fault.Locked():
		return fleet.Errorf(fleet.CauseLocked, "%w: wait, or restart the camera", fault)
	case s.proved:
		return fault // the login is right, and may not do this
	}
	return s.negotiate(ctx, at, op, answer, fault)
}

// negotiate tries WS-UsernameToken with each of the credentials.
func (s *session) negotiate(ctx context.Context, at *url.URL, op call, answer any, fault *Fault) error {
	known := s.c.candidates(s.login)
	if len(known) == 0 {
		return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unsent{"the camera asks for a login and none is known: store credentials for it"}}
	}
	budget, device := s.c.guard.Budget(), s.login.Device
	var locked, refused error
	for _, c := range known {
		leave, err := budget.Enter(ctx, device, c)
		if err != nil {
			if !isCause(err, fleet.CauseLocked) {
				return err
			}
			locked = cmp.Or(locked, err)
			continue
		}
		err = s.token(ctx, at, op, answer, c)
		leave()
		if !refusedLogin(err) {
			return err
		}
		refused = err
		if isCause(err, fleet.CauseLocked) {
			return err
		}
	}
	return cmp.Or(refused, locked, error(fleet.Errorf(fleet.CauseUnauthorized, "%w", fault)))
}

// token calls with a WS-UsernameToken and books how the login went. The turn
// for it is taken.
func (s *session) token(ctx context.Context, at *url.URL, op call, answer any, c fleet.Credentials) error {
	status, body, err := s.post(ctx, at, op, wsse(c, s.c.opts.Now().Add(s.offset)), guard.Login{Device: s.login.Device})
	if err != nil && body == nil {
		return err
	}
	failed := parse(body, answer)
	fault, isFault := failed.(*Fault) //nolint:errorlint // parse wraps no fault
	refused := err != nil || status == http.StatusForbidden || isFault && fault.NotAuthorized()
	budget := s.c.guard.Budget()
	switch {
	case refused && s.proved && isFault:
		return fault // the login is right, and may not do this
	case refused:
		budget.Refused(s.login.Device, c)
		text := "HTTP " + http.StatusText(status)
		if isFault {
			text = fault.Error()
			if fault.Locked() {
				return fleet.Errorf(fleet.CauseLocked, "%w: wait, or restart the camera", fault)
			}
		}
		return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &refusal{user: c.User, text: text}}
	case failed == nil:
		budget.Accepted(s.login.Device, c)
		s.c.remember(s.login.Device, c)
		s.proved = true
	}
	// Another fault says nothing of the login.
	return failed
}

// post sends one envelope. When the camera answers 401 the body comes with the
// error.
func (s *session) post(ctx context.Context, at *url.URL, op call, header []byte, l guard.Login) (int, []byte, error) {
	env, err := envelope(op.request, header)
	if err != nil {
		return 0, nil, fleet.Errorf(fleet.CauseInternal, "write %s: %w", op.name, err)
	}
	res, err := s.c.guard.Do(ctx, l, guard.Request{
		Method: http.MethodPost,
		URL:    at.String(),
		Header: http.Header{
			"Content-Type": {`application/soap+xml; charset=utf-8; action="` + op.action + `"`},
			"Accept":       {"application/soap+xml, text/xml"},
		},
		Body:     env,
		MaxBytes: maxAnswerBytes,
	})
	switch {
	case res == nil:
		return 0, nil, err
	case err != nil:
		return res.Status, append([]byte{}, res.Body...), err
	case res.Status == http.StatusNotFound || res.Status == http.StatusMethodNotAllowed:
		return res.Status, nil, fleet.Errorf(fleet.CauseNotFound, "%s: nothing speaks ONVIF at %s (HTTP %d)", op.name, at.Redacted(), res.Status)
	case res.Status == http.StatusServiceUnavailable || res.Status == http.StatusTooManyRequests:
		return res.Status, nil, fleet.Errorf(fleet.CauseRefused, "%s: the camera is busy (HTTP %d)", op.name, res.Status)
	}
	if t, err := http.ParseTime(res.Header.Get("Date")); err == nil {
		s.date = t
	}
	s.proved = s.proved || res.Auth != "" && res.Status < 300
	return res.Status, res.Body, nil
}

// remembered returns the credentials that WS-UsernameToken worked with, if the
// login still has them.
func (c *Client) remembered(l guard.Login) (fleet.Credentials, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	with, ok := c.learned[l.Device]
	return with, ok && slices.Contains(l.Credentials, with)
}

func (c *Client) remember(device string, with fleet.Credentials) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.learned[device]; !ok && len(c.learned) >= maxLearned {
		for d := range c.learned {
			delete(c.learned, d)
			break
		}
	}
	c.learned[device] = with
}

func (c *Client) forget(device string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.learned, device)
}

// candidates are the credentials worth a try, what worked before first.
func (c *Client) candidates(l guard.Login) []fleet.Credentials {
	var known []fleet.Credentials
	for _, k := range l.Credentials {
		if !k.Empty() && !slices.Contains(known, k) {
			known = append(known, k)
		}
	}
	if p, ok := c.guard.Budget().Proven(l.Device); ok {
		if i := slices.Index(known, p); i > 0 {
			known = slices.Insert(slices.Delete(known, i, i+1), 0, p)
		}
	}
	return known
}

// refusal is a login that was sent and refused.
type refusal struct{ user, text string }

func (r *refusal) Error() string {
	return "the camera refused the login of user \"" + r.user + "\": correct its credentials (" + r.text + ")"
}

func refusedLogin(err error) bool {
	_, ok := errors.AsType[*refusal](err)
	return ok || isCause(err, fleet.CauseLocked)
}

// unsent is a text that is guard.ErrUnusable.
type unsent struct{ text string }

func (u *unsent) Error() string        { return u.text }
func (u *unsent) Is(target error) bool { return target == guard.ErrUnusable }

func isCause(err error, c fleet.Cause) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	return ok && ce.Cause == c
}
