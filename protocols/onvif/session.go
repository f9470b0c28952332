package onvif

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// session is one talk with a device: calls that share a login and a clock.
//
//	no login ─► HTTP Digest ─► WS-UsernameToken ─► Basic, over TLS only
//
// Each step is taken only when the camera's answer asks for it, and what worked
// comes first the next time.
type session struct {
	c       *Client
	login   guard.Login
	device  *url.URL      // the device service, as it was asked for
	key     []byte        // over TLS: the fingerprint of its key
	offset  time.Duration // the camera's clock minus ours
	clocked bool          // it told its clock by ONVIF
	dated   bool          // it told one by HTTP
	date    time.Duration // that one minus ours
	refused bool          // a WS-UsernameToken was refused
	proved  bool          // a login has worked in this session
	soap11  bool          // it reads SOAP 1.1 alone
}

func (c *Client) session(at *url.URL, t fleet.Target) *session {
	return &session{c: c, device: at, login: guard.Login{
		Device: cmp.Or(t.Device, at.Hostname()), Credentials: t.Credentials, NoBasic: true, Readable: t.Camera != 0,
	}}
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
	if errors.Is(err, guard.ErrOnlyBasic) {
		return s.basic(ctx, at, op, answer, body, err)
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

// basic is for a camera whose HTTP offers Basic alone: the token shows no
// password, so it goes first, and Basic follows where TLS hides it.
func (s *session) basic(ctx context.Context, at *url.URL, op call, answer any, body []byte, offer error) error {
	if at.Scheme == "https" && !s.login.Readable {
		// A token that is refused here would be one of the two tries that the login
		// has left once the camera is approved.
		return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unsent{"the camera offers only Basic, which would show the password to whoever answers here: approve it first, if it is yours"}}
	}
	fault, ok := parse(body, answer).(*Fault) //nolint:errorlint // parse wraps no fault
	if !ok {
		fault = &Fault{Codes: []string{"NotAuthorized"}, Reason: "HTTP asks for Basic"}
	}
	err := s.negotiate(ctx, at, op, answer, fault)
	switch {
	case at.Scheme != "https":
		if refusedLogin(err) {
			// Without ErrUnusable: a login was refused.
			err = fleet.Errorf(fleet.CauseUnauthorized, "%w; %s: switch on https or Digest at the camera", err, offer.Error())
		}
		return err
	case !isCause(err, fleet.CauseUnauthorized):
		return err
	}
	l := s.login
	l.NoBasic = false
	_, body, err = s.post(ctx, at, op, nil, l)
	if err != nil {
		return err
	}
	return parse(body, answer)
}

// negotiate tries WS-UsernameToken with each of the credentials.
func (s *session) negotiate(ctx context.Context, at *url.URL, op call, answer any, fault *Fault) error {
	known := s.c.guard.Candidates(s.login)
	if len(known) == 0 {
		return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unsent{"the camera asks for a login and none is known: store credentials for it"}}
	}
	budget, device := s.c.guard.Budget(), s.login.Device
	var locked, refused error
	for _, c := range known {
		if state := fault.login(); state.Spare() {
			if p, ok := budget.Proven(device); !ok || p != c {
				locked = cmp.Or(locked, error(fleet.Errorf(fleet.CauseLocked,
					"%w: the tries that are left are kept for its owner; log in to its page once, then store the right credentials", fault)))
				continue
			}
		}
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
		r, _ := errors.AsType[*refusal](err)
		if r.fault == nil {
			break // HTTP answered: nobody has read the token, and none reads another
		}
		fault = r.fault
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
	budget, device := s.c.guard.Budget(), s.login.Device
	switch {
	case isFault && fault.MustUnderstand():
		// It read no login, so it refused none.
		return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unsent{"the camera does not know WS-UsernameToken, and offers no other login that is safe here: switch on Digest or https at the camera (" + fault.Error() + ")"}}
	case err == nil && status != http.StatusForbidden && !(isFault && fault.NotAuthorized()):
		if failed == nil {
			budget.Accepted(device, c)
			s.c.remember(device, c)
			s.proved = true
		}
		return failed // another fault says nothing of the login
	case s.proved && isFault:
		return fault // the login is right, and may not do this
	}
	s.refused = true
	budget.Refused(device, c)
	switch p, ok := budget.Proven(device); {
	case isFault && fault.Locked():
		return fleet.Errorf(fleet.CauseLocked, "%w: wait, or restart the camera", fault)
	case ok && p == c && budget.Refusals(device) == 1:
		return guard.OnceRefused()
	case isFault:
		return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &refusal{user: c.User, text: fault.Error(), fault: fault}}
	}
	return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &refusal{user: c.User, text: "HTTP " + http.StatusText(status)}}
}

// post sends one envelope. When the camera answers 401 the body comes with the
// error.
func (s *session) post(ctx context.Context, at *url.URL, op call, header []byte, l guard.Login) (int, []byte, error) {
	env, err := envelope(op.request, header, s.soap11)
	if err != nil {
		return 0, nil, fleet.Errorf(fleet.CauseInternal, "write %s: %w", op.name, err)
	}
	head := http.Header{
		"Content-Type": {`application/soap+xml; charset=utf-8; action="` + op.action + `"`},
		"Accept":       {"application/soap+xml, text/xml"},
	}
	if s.soap11 {
		head = http.Header{"Content-Type": {"text/xml; charset=utf-8"}, "Soapaction": {`"` + op.action + `"`}, "Accept": {"text/xml"}}
	}
	res, err := s.c.guard.Do(ctx, l, guard.Request{
		Method:   http.MethodPost,
		URL:      at.String(),
		Header:   head,
		Body:     env,
		MaxBytes: maxAnswerBytes,
		Again:    !op.once,
	})
	if res != nil {
		if res.Key != nil && at.Host == s.device.Host {
			s.key = res.Key
		}
		if t, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			s.tell(t, s.c.opts.Now())
		}
	}
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
	if mute := res.Status == http.StatusOK && len(bytes.TrimSpace(res.Body)) == 0; (mute || res.Status == http.StatusUnsupportedMediaType) && !s.soap11 && !op.once {
		// Built for SOAP 1.1 alone, as some firmware is: it answers 1.2 with
		// nothing, or refuses its media type.
		s.soap11 = true
		return s.post(ctx, at, op, header, l)
	}
	s.proved = s.proved || res.Auth != "" && res.Status < 300
	return res.Status, res.Body, nil
}

// tell notes the time in an HTTP answer, which stands in for the camera's clock
// until that is known.
func (s *session) tell(date, now time.Time) {
	// It says whole seconds, so it is half a second early on average.
	s.dated, s.date = true, date.Add(500*time.Millisecond).Sub(now).Round(time.Second)
	if !s.clocked {
		s.offset = s.date
	}
}

// refusal is a login that was sent and refused.
type refusal struct {
	user, text string
	fault      *Fault // nil when HTTP refused it
}

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
