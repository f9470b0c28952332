package onvif

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/use-go/onvif/device"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

const (
	// maxProfiles bounds what is asked of one device: two calls for each. The
	// largest recorders have 128 channels with two streams.
	maxProfiles = 512
	// maxTokenBytes bounds what is sent back as it came; ONVIF's own bound is 64.
	maxTokenBytes = 128
	// skewNoted is the clock difference that is worth a word: WS-UsernameToken
	// lets cameras refuse tokens older than 300 s, some refuse at 5.
	skewNoted = 5 * time.Second
	// skewBroken is the one from which receivers are told to refuse tokens
	// (WS-Security UsernameToken profile 1.1, 3.1). Ours are dated by the camera's
	// clock; those of its other clients are not, nor is what it writes into its
	// pictures.
	skewBroken = 5 * time.Minute
)

// Describe asks the device at t.Endpoints[0], the http or https address of its
// device service, and returns what it is with one source per video source. The
// result has no Via, no EPR and no LastSeen: those are discovery's to know.
//
// On failure it returns a *fleet.CameraError and, beside it, what was learned
// before: State and Reason say how far it came, so that a camera which nobody
// may enter is known by its address at least. A clock that is off is noted in
// ClockSkew, in Reason beyond 5 s, and is the state beyond 5 min or when logins
// fail for it; the camera's own time is what logins are dated with. Over https
// the fingerprint of its key is among the claims. Without a deadline in ctx it
// takes at most 60 s.
func (c *Client) Describe(ctx context.Context, t fleet.Target) (fleet.Device, error) {
	d := fleet.Device{Key: t.Device, State: fleet.DeviceUnreachable}
	at, err := deviceURL(t)
	if err != nil {
		d.Reason = err.Error()
		return d, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, describeWait)
		defer cancel()
	}
	s := c.session(at, t)
	d.Endpoints = []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: at.String()}}
	if a, err := netip.ParseAddr(at.Hostname()); err == nil {
		d.Addresses = []netip.Addr{a.Unmap()}
	}
	err = s.describe(ctx, &d)
	d.ClockSkew = s.offset
	if s.key != nil {
		d.Claims = append(d.Claims, fleet.Claim{Kind: fleet.ClaimTLSKey, Value: hex.EncodeToString(s.key)})
	}
	if err != nil {
		err = guard.CameraError(err, "describe "+at.Redacted())
		d.State, d.Reason = state(err), err.Error()
		if why := s.doubt(); why != "" && d.State == fleet.DeviceNeedsCredentials {
			d.State, d.Reason = fleet.DeviceSkewed, why+" ("+err.Error()+")"
		}
		return d, err
	}
	d.State = fleet.DeviceOK
	if s.offset.Abs() > skewBroken {
		d.State = fleet.DeviceSkewed
	}
	if s.offset.Abs() > skewNoted {
		d.Reason = "its clock is " + s.offset.Round(time.Second).String() + " off: set its time server"
	}
	c.opts.Log.DebugContext(ctx, "device described", "device_id", d.Key, "url", at.Redacted(), "sources", len(d.Sources), "skew", d.ClockSkew)
	return d, nil
}

// state is how far an error lets us.
func state(err error) fleet.DeviceState {
	switch {
	case isCause(err, fleet.CauseUnauthorized):
		return fleet.DeviceNeedsCredentials
	case isCause(err, fleet.CauseLocked):
		return fleet.DeviceLocked
	}
	return fleet.DeviceUnreachable
}

// doubt says why the camera's clock, and not the password, may be what a token
// was refused for, or returns "".
func (s *session) doubt() string {
	switch {
	case !s.refused:
	case s.clocked && s.dated && (s.offset-s.date).Abs() > skewBroken:
		return "its clock is " + s.offset.String() + " off by ONVIF and " + s.date.String() + " by HTTP, so that no login can carry the right time: set its time server and time zone"
	case !s.clocked && !s.dated:
		return "it does not tell its clock, so that a login can carry the wrong time: set its time server"
	}
	return ""
}

func deviceURL(t fleet.Target) (*url.URL, error) {
	if len(t.Endpoints) == 0 {
		return nil, fleet.Errorf(fleet.CauseInternal, "no ONVIF address to describe")
	}
	u, err := url.Parse(t.Endpoints[0].URL)
	switch {
	case err != nil:
		// url.Error repeats its input, which may hold a password.
		return nil, fleet.Errorf(fleet.CauseProtocol, "an address that cannot be read: want http://HOST/onvif/device_service")
	case u.User != nil:
		return nil, fleet.Errorf(fleet.CauseProtocol, "address %s holds credentials: store them apart", u.Redacted())
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return nil, fleet.Errorf(fleet.CauseProtocol, "address %s: want http://HOST/onvif/device_service", u.Redacted())
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

func (s *session) describe(ctx context.Context, d *fleet.Device) error {
	if err := s.clock(ctx); fatal(err) {
		return err
	}
	media2, media1, err := s.services(ctx)
	if err != nil {
		return err
	}
	// Who it is. A camera that keeps this to itself may still show pictures;
	// its reason is remembered for when it does not.
	var shut error
	for _, learn := range []func(context.Context, *fleet.Device) error{s.information, s.scopes, s.interfaces} {
		if err := learn(ctx, d); fatal(err) {
			return err
		} else if errors.Is(err, guard.ErrUnusable) {
			shut = cmp.Or(shut, err)
		}
	}
	sources, err := s.sources(ctx, media2, media1)
	if err != nil {
		return cmp.Or(shut, err)
	}
	d.Sources = sources
	return nil
}

// fatal reports whether an error ends the description: the network's, a refused
// or exhausted login's, or an answer that no honest camera gives. A call that is
// missing, or shut for want of a login, does not.
func fatal(err error) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	if !ok || errors.Is(err, guard.ErrUnusable) {
		return false
	}
	return ce.Cause != fleet.CauseProtocol && ce.Cause != fleet.CauseNotFound
}

// clock learns how far the camera's clock is off. It is asked without a login,
// since a login may depend on it; cameras that want one all the same tell the
// time in their HTTP answers.
func (s *session) clock(ctx context.Context) error {
	var a dateAnswer
	before := s.c.opts.Now()
	_, body, err := s.post(ctx, s.device, getSystemDateAndTime, nil, guard.Login{Device: s.login.Device})
	after := s.c.opts.Now()
	if err == nil {
		err = parse(body, &a)
	}
	if err != nil {
		return err
	}
	if theirs, bad := a.SystemDateAndTime.UTCDateTime.time(); bad == nil {
		here := before.Add(after.Sub(before) / 2)
		// It says whole seconds, so it is half a second early on average.
		s.clocked, s.offset = true, theirs.Add(500*time.Millisecond).Sub(here).Round(time.Second)
	}
	return nil
}

// services finds where the two Media services are. Either may be nil.
func (s *session) services(ctx context.Context) (media2, media1 *url.URL, err error) {
	var list servicesAnswer
	if err := s.do(ctx, s.device, getServices, &list); fatal(err) {
		return nil, nil, err
	}
	for _, v := range list.Service {
		switch strings.TrimSpace(v.Namespace) {
		case media2NS:
			media2 = s.repair(v.XAddr)
		case mediaNS:
			media1 = s.repair(v.XAddr)
		}
	}
	if media1 != nil || media2 != nil {
		return media2, media1, nil
	}
	var caps capabilitiesAnswer
	if err := s.do(ctx, s.device, getCapabilities, &caps); fatal(err) {
		return nil, nil, err
	}
	// A camera that tells neither mostly serves all at one address.
	return nil, s.repair(caps.Capabilities.Media.XAddr), nil
}

func (s *session) information(ctx context.Context, d *fleet.Device) error {
	var a device.GetDeviceInformationResponse
	if err := s.do(ctx, s.device, getDeviceInformation, &a); err != nil {
		return err
	}
	d.Vendor, d.Model = guard.CleanText(a.Manufacturer), guard.CleanText(a.Model)
	d.Firmware, d.Serial = guard.CleanText(a.FirmwareVersion), guard.CleanText(a.SerialNumber)
	if d.Serial != "" {
		d.Claims = append(d.Claims, fleet.Claim{Kind: fleet.ClaimSerial, Value: d.Serial})
	}
	return nil
}

func (s *session) scopes(ctx context.Context, d *fleet.Device) error {
	var a scopesAnswer
	if err := s.do(ctx, s.device, getScopes, &a); err != nil {
		return err
	}
	for _, sc := range a.Scopes {
		kind, value := scope(sc.ScopeItem)
		switch {
		case kind == "name" && d.Name == "":
			d.Name = value
		case kind == "hardware" && d.Model == "":
			d.Model = value
		case kind == "manufacturer" && d.Vendor == "":
			d.Vendor = value
		}
	}
	return nil
}

// scope splits a scope of ONVIF Core, 7.3.2.2, into its kind and value.
func scope(item string) (kind, value string) {
	const prefix = "onvif://www.onvif.org/"
	item = strings.TrimSpace(item)
	if len(item) < len(prefix) || !strings.EqualFold(item[:len(prefix)], prefix) {
		return "", ""
	}
	kind, value, _ = strings.Cut(item[len(prefix):], "/")
	if plain, err := url.PathUnescape(value); err == nil {
		value = plain
	}
	return strings.ToLower(kind), guard.CleanText(value)
}

func (s *session) interfaces(ctx context.Context, d *fleet.Device) error {
	var a interfacesAnswer
	if err := s.do(ctx, s.device, getNetworkInterfaces, &a); err != nil {
		return err
	}
	for _, i := range a.NetworkInterfaces {
		claim := fleet.Claim{Kind: fleet.ClaimMAC, Value: guard.CleanMAC(i.Info.HwAddress)}
		if claim.Value != "" && len(d.Claims) < 16 && !slices.Contains(d.Claims, claim) {
			d.Claims = append(d.Claims, claim)
		}
	}
	return nil
}
