package rtsp

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/liberrors"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// explain gives a failure its cause and its words.
func (s *stream) explain(ctx context.Context, err error) error {
	return guard.CameraError(s.cause(ctx, err), "grab "+s.url.String())
}

func (s *stream) cause(ctx context.Context, err error) error {
	if refused := s.answer().refused; refused != nil {
		return refused
	}
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce
	}
	if bad, ok := errors.AsType[liberrors.ErrClientBadStatusCode](err); ok {
		if bad.Code == base.StatusUnsupportedTransport && s.tcpOnly {
			return fleet.Errorf(fleet.CauseTimeout, "the camera streams over UDP alone and no packet came: let UDP from it through")
		}
		return status(bad)
	}
	// The end of ctx closes the connection, so its error comes in many shapes;
	// the connection's own deadline is the same and may come a moment earlier.
	switch late := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(ctx.Err(), context.DeadlineExceeded); {
	case errors.Is(err, errNoUDP), late && s.silent && s.transport == gortsplib.TransportUDP:
		return fleet.Errorf(fleet.CauseTimeout, "the camera streams over UDP and no packet came: let UDP from it through, or set it to RTSP over TCP")
	case late && s.asm != nil:
		return s.asm.verdict()
	case late:
		return context.DeadlineExceeded
	case ctx.Err() != nil:
		return ctx.Err()
	}
	switch {
	case is[liberrors.ErrClientRequestTimedOut](err), is[liberrors.ErrClientTCPTimeout](err), is[liberrors.ErrClientUDPTimeout](err):
		return fleet.Errorf(fleet.CauseTimeout, "the camera went silent: %w", err)
	case is[liberrors.ErrClientSDPInvalid](err):
		return fleet.Errorf(fleet.CauseProtocol, "the stream's description cannot be read: %w", err)
	}
	return err
}

func is[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// status gives an RTSP status its cause.
func status(bad liberrors.ErrClientBadStatusCode) error {
	text := fmt.Sprintf("%d %s", bad.Code, bad.Message)
	switch bad.Code {
	case base.StatusUnauthorized, base.StatusForbidden:
		return fleet.Errorf(fleet.CauseUnauthorized, "the camera refuses the stream to this login (%s): give it the right to view", text)
	case base.StatusNotFound, base.StatusGone:
		return fleet.Errorf(fleet.CauseNotFound, "the camera has no stream at this path (%s): correct the path", text)
	case base.StatusNotEnoughBandwidth, base.StatusServiceUnavailable:
		return fleet.Errorf(fleet.CauseRefused, "the camera has no connection left (%s): close other viewers, or use a lesser stream", text)
	case base.StatusUnsupportedTransport:
		return fleet.Errorf(fleet.CauseProtocol, "the camera takes neither TCP nor UDP (%s)", text)
	}
	return fleet.Errorf(fleet.CauseProtocol, "the camera answered %s", text)
}

// unusable is a login that could not be sent; nothing was refused.
func unusable(format string, args ...any) error {
	return &fleet.CameraError{Cause: fleet.CauseUnauthorized, Err: &unsent{fmt.Sprintf(format, args...)}}
}

// unsent is a text that is guard.ErrUnusable.
type unsent struct{ text string }

func (u *unsent) Error() string        { return u.text }
func (u *unsent) Is(target error) bool { return target == guard.ErrUnusable }
