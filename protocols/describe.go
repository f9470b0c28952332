package protocols

import (
	"bytes"
	"context"
	"errors"
	"image"
	_ "image/jpeg" // sizes of described pictures
	_ "image/png"
	"net/netip"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// description returns what the device said of itself and the host that answered,
// and whether that is old: remembered, or too young to ask again.
func (m *Mux) description(ctx context.Context, t fleet.Target, fresh, bare bool) (d fleet.Device, host string, old bool, err error) {
	leave, err := m.turns.take(ctx, "describe\x00"+t.Device)
	if err != nil {
		return fleet.Device{}, "", false, err
	}
	defer leave()
	// What a host said that is none of the target's any more is forgotten.
	if k, ok := m.known.get(t.Device); ok && slices.ContainsFunc(services(t), func(e fleet.Endpoint) bool { return guard.SameHost(hostOf(e.URL), k.host) }) {
		age := m.opts.Now().Sub(k.at)
		if !fresh {
			return k.device, k.host, age >= describedAgain, nil
		}
		if age < describedAgain {
			return k.device, k.host, false, nil
		}
	}
	if bare {
		t.Credentials = nil
	}
	d, host, err = m.ask(ctx, t)
	return d, host, false, err
}

// ask describes the device by its ONVIF endpoints, returns the host that
// answered, and remembers a good answer.
func (m *Mux) ask(ctx context.Context, t fleet.Target) (d fleet.Device, host string, err error) {
	var errs []error
	list := services(t)
	for i, e := range list {
		one, ctx, cancel := t, ctx, context.CancelFunc(func() {})
		one.Endpoints = []fleet.Endpoint{e}
		if deadline, ok := ctx.Deadline(); ok && i+1 < len(list) {
			ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/2)
		}
		d, err := m.onvif.Describe(ctx, one)
		cancel()
		if err == nil {
			if d.State == fleet.DeviceOK || d.State == fleet.DeviceSkewed {
				m.known.put(t.Device, description{device: d, host: hostOf(e.URL), at: m.opts.Now()})
			}
			return d, hostOf(e.URL), nil
		}
		errs = append(errs, err)
		if ce, ok := errors.AsType[*fleet.CameraError](err); ok && (ce.Cause == fleet.CauseUnauthorized || ce.Cause == fleet.CauseLocked) {
			break
		}
	}
	return fleet.Device{}, "", guard.CameraError(errs[len(errs)-1], "")
}

// Describe asks the device by ONVIF when the target has such an endpoint. For
// others, and when ONVIF fails where a plain address is known too, the device
// is built from its plain endpoints and one grab that shows whether they work.
func (m *Mux) Describe(ctx context.Context, t fleet.Target) (fleet.Device, error) {
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	if t.Device == "" {
		t.Device = deviceOf(t)
	}
	var reason error
	if len(services(t)) > 0 {
		leave, err := m.turns.take(ctx, "describe\x00"+t.Device)
		if err != nil {
			return fleet.Device{}, err
		}
		d, _, err := m.ask(ctx, t)
		leave()
		if err == nil {
			return d, nil
		}
		reason = err
	}
	own := plain(t)
	if d, ok := m.byMaker(ctx, t, own, reason); ok {
		return d, nil
	}
	switch {
	case len(own) == 0 && reason != nil:
		return fleet.Device{}, reason
	case len(own) == 0:
		return fleet.Device{}, fleet.Errorf(fleet.CauseNotFound, "the device has no address to describe it by")
	}
	return m.build(ctx, t, own), nil
}

// build makes a device of plain endpoints.
func (m *Mux) build(ctx context.Context, t fleet.Target, own []way) fleet.Device {
	d := fleet.Device{Key: t.Device, Endpoints: t.Endpoints, State: fleet.DeviceOK, LastSeen: m.opts.Now()}
	profile := fleet.Profile{}
	for _, w := range own {
		profile.Endpoints = append(profile.Endpoints, w.endpoint)
		if a, err := netip.ParseAddr(hostOf(w.endpoint.URL)); err == nil && !slices.Contains(d.Addresses, a) {
			d.Addresses = append(d.Addresses, a)
		}
		c := fleet.Claim{Kind: fleet.ClaimURL, Value: w.endpoint.URL}
		d.Claims = append(d.Claims, c)
	}
	t.Endpoints = profile.Endpoints // ONVIF was asked already
	f, err := m.Grab(ctx, t)
	if err != nil {
		d.State, d.Reason = fleet.DeviceUnreachable, err.Error()
		if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
			d.State = stateOf(ce.Cause)
		}
	} else {
		profile.Codec = f.Codec
		if c, _, err := image.DecodeConfig(bytes.NewReader(f.Data)); err == nil {
			profile.Width, profile.Height = c.Width, c.Height
		}
	}
	d.Sources = []fleet.Source{{Token: t.Source, Profiles: []fleet.Profile{profile}}}
	return d
}

func stateOf(c fleet.Cause) fleet.DeviceState {
	switch c {
	case fleet.CauseUnauthorized:
		return fleet.DeviceNeedsCredentials
	case fleet.CauseLocked:
		return fleet.DeviceLocked
	}
	return fleet.DeviceUnreachable
}

func causeOf(s fleet.DeviceState) fleet.Cause {
	switch s {
	case fleet.DeviceNeedsCredentials:
		return fleet.CauseUnauthorized
	case fleet.DeviceLocked:
		return fleet.CauseLocked
	case fleet.DeviceUnreachable:
		return fleet.CauseUnreachable
	}
	return fleet.CauseNotFound
}
