package protocols

import (
	"context"
	"errors"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// rebooter restarts a device; *onvif.Client is one.
type rebooter interface {
	Reboot(ctx context.Context, t fleet.Target) (message string, err error)
}

// Reboot restarts the device by its first ONVIF endpoint that answers, and
// returns its own words on that, which may be empty. No picture is under way
// from the camera meanwhile. Errors are *fleet.CameraError.
func (m *Mux) Reboot(ctx context.Context, t fleet.Target) (message string, err error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	by, can := m.onvif.(rebooter)
	list := services(t)
	switch {
	case !can:
		return "", fleet.Errorf(fleet.CauseProtocol, "this agent cannot restart cameras: update it")
	case len(list) == 0:
		return "", fleet.Errorf(fleet.CauseNotFound, "the camera has no ONVIF address, and only that can restart it: switch it off and on, or switch its ONVIF on")
	}
	if t.Device == "" {
		t.Device = deviceOf(t)
	}
	for _, key := range []string{t.Device + "\x00" + t.Source, "describe\x00" + t.Device} {
		leave, err := m.turns.take(ctx, key)
		if err != nil {
			return "", err
		}
		defer leave()
	}
	for _, e := range list {
		t.Endpoints = []fleet.Endpoint{e}
		message, err = by.Reboot(ctx, t)
		// Only where nobody answered is there another address to try: what has an
		// answer is not asked for twice.
		ce, isCamera := errors.AsType[*fleet.CameraError](err)
		if err == nil || !isCamera || ce.Cause != fleet.CauseUnreachable && ce.Cause != fleet.CauseRefused {
			break
		}
	}
	return message, err
}
