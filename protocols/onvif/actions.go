package onvif

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// Clock asks a device for its time, without a login, and returns its clock minus
// ours: positive when it is ahead. Precision is about a second. Errors are
// *fleet.CameraError. Without a deadline in ctx it takes at most 60 s.
func (c *Client) Clock(ctx context.Context, t fleet.Target) (skew time.Duration, err error) {
	err = c.act(ctx, t, "ask the time of", func(ctx context.Context, s *session) error {
		err := s.clock(ctx)
		_, fault := err.(*Fault) //nolint:errorlint // clock wraps no fault
		// An answer in ONVIF that is no time, or a 401: the HTTP server's is it.
		if skew = s.offset; s.clocked || s.dated && (err == nil || fault || errors.Is(err, guard.ErrUnusable)) {
			return nil
		}
		if err == nil {
			err = fleet.Errorf(fleet.CauseProtocol, "the camera answers without a date")
		}
		return err
	})
	return skew, err
}

// Reboot restarts a device and returns what it says of that, which may be
// nothing. It is asked once: an error of cause refused or timeout behind the
// login leaves open whether it restarts. It needs an administrator's login.
func (c *Client) Reboot(ctx context.Context, t fleet.Target) (message string, err error) {
	err = c.act(ctx, t, "restart", func(ctx context.Context, s *session) error {
		if err := s.clock(ctx); fatal(err) {
			return err
		}
		var a rebootAnswer
		err := s.do(ctx, s.device, systemReboot, &a)
		if f, ok := err.(*Fault); ok && f.NotAuthorized() { //nolint:errorlint // do wraps no fault
			err = fleet.Errorf(fleet.CauseUnauthorized, "this user may not restart it: store an administrator's login (%w)", f)
		}
		message = guard.CleanText(a.Message)
		return err
	})
	return message, err
}

// Synchronize asks a device to begin a profile's stream anew with a key frame
// (SetSynchronizationPoint). Cameras that do not know it answer with an error of
// cause not-found.
func (c *Client) Synchronize(ctx context.Context, t fleet.Target, profile string) error {
	return c.act(ctx, t, "ask for a key frame of", func(ctx context.Context, s *session) error {
		if err := s.clock(ctx); fatal(err) {
			return err
		}
		media2, media1, err := s.services(ctx)
		if err != nil {
			return err
		}
		var last error
		for _, v := range []struct {
			at *url.URL
			op call
		}{{media2, setSynchronizationPoint2(profile)}, {media1, setSynchronizationPoint(profile)}} {
			if v.at == nil {
				continue
			}
			if last = s.do(ctx, v.at, v.op, new(emptyAnswer)); last == nil || fatal(last) {
				return last
			}
		}
		if f, ok := last.(*Fault); ok && f.Missing() { //nolint:errorlint // do wraps no fault
			return fleet.Errorf(fleet.CauseNotFound, "%w: shorten its key frame interval instead", f)
		}
		return last
	})
}

// act runs one action on the device service of t, and makes its error tell what
// was to be done.
func (c *Client) act(ctx context.Context, t fleet.Target, doing string, do func(context.Context, *session) error) error {
	if i := slices.IndexFunc(t.Endpoints, func(e fleet.Endpoint) bool { return e.Protocol == fleet.ONVIF }); i > 0 {
		t.Endpoints = t.Endpoints[i:]
	}
	at, err := deviceURL(t)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, describeWait)
		defer cancel()
	}
	if err := do(ctx, c.session(at, t)); err != nil {
		return guard.CameraError(err, doing+" "+at.Redacted())
	}
	return nil
}
