package protocols

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// byMaker describes a device by its maker's calls and shows by a grab which of
// the addresses work: the target's own before those of the maker. It reports
// false when the maker is not known or its calls say nothing. Before is why ONVIF
// did not describe it.
func (m *Mux) byMaker(ctx context.Context, t fleet.Target, own []way, before error) (fleet.Device, bool) {
	switch causeIn(before) {
	case fleet.CauseUnreachable, fleet.CauseTimeout, fleet.CauseGuarded:
		return fleet.Device{}, false // it would be the same again
	}
	if m.maker == nil || loginRefused(before) {
		return fleet.Device{}, false
	}
	inner, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		// A web server that is silent leaves time for the picture.
		inner, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
	}
	v, err := m.maker.Describe(inner, t)
	cancel()
	if loginRefused(err) && len(own) > 0 {
		// The same login is not sent a second time; what is open may still work.
		t.Credentials = nil
		d := m.build(ctx, t, own)
		if d.State != fleet.DeviceOK {
			d.State, d.Reason = stateOf(causeIn(err)), err.Error()
		}
		d.Vendor = v.Vendor
		return d, true
	}
	if err != nil || len(v.Sources) == 0 {
		return fleet.Device{}, false
	}
	v.LastSeen, v.Endpoints = m.opts.Now(), slices.Concat(t.Endpoints, v.Endpoints)
	worked := false
	if len(own) > 0 {
		d := m.build(ctx, t, own)
		v.State, v.Reason = d.State, d.Reason
		v.Claims, v.Addresses = append(d.Claims, v.Claims...), d.Addresses
		if worked = d.State == fleet.DeviceOK; worked && len(v.Sources) == 1 {
			v.Sources[0].Profiles = append(d.Sources[0].Profiles, v.Sources[0].Profiles...)
		}
	}
	if !worked && v.State != fleet.DeviceNeedsCredentials && v.State != fleet.DeviceLocked {
		first := t
		first.Endpoints = nil
		for _, p := range v.Sources[0].Profiles {
			first.Endpoints = append(first.Endpoints, p.Endpoints...)
		}
		v.State, v.Reason = fleet.DeviceOK, ""
		if _, err := m.Grab(ctx, first); err != nil {
			v.State, v.Reason = stateOf(causeIn(err)), err.Error()
		}
	}
	if len(v.Sources) == 1 {
		v.Sources[0].Token = t.Source // one source keeps the name it has
	}
	return v, true
}

// loginRefused reports whether an error says that a login was sent and refused,
// or that none may be sent.
func loginRefused(err error) bool {
	c := causeIn(err)
	return (c == fleet.CauseUnauthorized || c == fleet.CauseLocked) && !errors.Is(err, guard.ErrUnusable)
}

// causeIn is an error's cause, or "".
func causeIn(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}
