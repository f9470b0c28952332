package onvif

import (
	"cmp"
	"context"
	"errors"
	"net"
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
	// maxTextBytes bounds every name that a camera gives itself.
	maxTextBytes = 128
	// skewNoted is the clock difference that is worth a word: WS-UsernameToken
	// lets cameras refuse tokens older than 300 s, some refuse at 5.
	skewNoted = 5 * time.Second
)

// Describe asks the device at t.Endpoints[0], the http or https address of its
// device service, and returns what it is with one source per video source. The
// result has no Via, no EPR and no LastSeen: those are discovery's to know.
//
// On failure it returns a *fleet.CameraError and, beside it, what was learned
// before: State and Reason say how far it came, so that a camera which nobody
// may enter is known by its address at least. A clock that is off is noted in
// ClockSkew, and in Reason beyond 5 s; the camera's own time is what logins are
// dated with. Without a deadline in ctx it takes at most 60 s.
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
	s := &session{c: c, device: at, login: guard.Login{Device: cmp.Or(t.Device, at.Hostname()), Credentials: t.Credentials}}
	d.Endpoints = []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: at.String()}}
	if a, err := netip.ParseAddr(at.Hostname()); err == nil {
		d.Addresses = []netip.Addr{a.Unmap()}
	}
	err = s.describe(ctx, &d)
	d.ClockSkew = s.offset
	if err != nil {
		err = guard.CameraError(err, "describe "+at.Redacted())
		d.State, d.Reason = state(err), err.Error()
		return d, err
	}
	d.State = fleet.DeviceOK
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
// since a login may depend on it.
func (s *session) clock(ctx context.Context) error {
	var a dateAnswer
	before := s.c.opts.Now()
	_, body, err := s.post(ctx, s.device, getSystemDateAndTime, nil, guard.Login{Device: s.login.Device})
	after := s.c.opts.Now()
	if err == nil {
		err = parse(body, &a)
	}
	if fatal(err) {
		return err
	}
	here := before.Add(after.Sub(before) / 2)
	theirs, bad := a.SystemDateAndTime.UTCDateTime.time()
	if bad != nil {
		theirs = s.date // the HTTP server's, the same clock
	}
	if !theirs.IsZero() {
		// Both say whole seconds, so they are half a second early on average.
		s.offset = theirs.Add(500 * time.Millisecond).Sub(here).Round(time.Second)
	}
	return err
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

// repair brings a service address back to the host that was asked, port and
// path kept; what is no address becomes the device service's own.
func (s *session) repair(addr string) *url.URL {
	u, err := s.device.Parse(strings.TrimSpace(addr))
	if err != nil || addr == "" || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return s.device
	}
	return rehost(u, s.device.Hostname())
}

// rehost puts host in the place of an address's own, keeping its port, and
// drops credentials and fragment.
func rehost(u *url.URL, host string) *url.URL {
	out := *u
	out.User, out.Fragment, out.RawFragment = nil, "", ""
	switch port := u.Port(); {
	case guard.SameHost(u.Hostname(), host):
	case port != "":
		out.Host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		out.Host = "[" + host + "]"
	default:
		out.Host = host
	}
	return &out
}

func (s *session) information(ctx context.Context, d *fleet.Device) error {
	var a device.GetDeviceInformationResponse
	if err := s.do(ctx, s.device, getDeviceInformation, &a); err != nil {
		return err
	}
	d.Vendor, d.Model = text(a.Manufacturer), text(a.Model)
	d.Firmware, d.Serial = text(a.FirmwareVersion), text(a.SerialNumber)
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
	return strings.ToLower(kind), text(value)
}

func (s *session) interfaces(ctx context.Context, d *fleet.Device) error {
	var a interfacesAnswer
	if err := s.do(ctx, s.device, getNetworkInterfaces, &a); err != nil {
		return err
	}
	for _, i := range a.NetworkInterfaces {
		claim := fleet.Claim{Kind: fleet.ClaimMAC, Value: mac(i.Info.HwAddress)}
		if claim.Value != "" && len(d.Claims) < 16 && !slices.Contains(d.Claims, claim) {
			d.Claims = append(d.Claims, claim)
		}
	}
	return nil
}

// mac returns a hardware address in lower case with colons, or nothing for what
// tells no device from another.
func mac(s string) string {
	s = strings.TrimSpace(s)
	if len(s) == 12 {
		s = s[:2] + ":" + s[2:4] + ":" + s[4:6] + ":" + s[6:8] + ":" + s[8:10] + ":" + s[10:]
	}
	m, err := net.ParseMAC(s)
	if err != nil || len(m) != 6 || m[0]&1 != 0 || slices.Equal(m, make(net.HardwareAddr, 6)) {
		return ""
	}
	return m.String()
}

// text makes what a camera says of itself fit to show.
func text(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxTextBytes {
		s = strings.ToValidUTF8(s[:maxTextBytes], "")
	}
	return s
}

// sources asks Media 2, which alone tells H.265, and then Media 1.
func (s *session) sources(ctx context.Context, media2, media1 *url.URL) ([]fleet.Source, error) {
	var first error
	for _, m := range []struct {
		at               *url.URL
		profiles         call
		stream, snapshot func(string) call
	}{
		{media2, getProfiles2, getStreamURI2, getSnapshotURI2},
		{media1, getProfiles, getStreamURI, getSnapshotURI},
	} {
		if m.at == nil {
			continue
		}
		at := m.at
		var a profilesAnswer
		err := s.do(ctx, at, m.profiles, &a)
		if near := s.near(at); near != nil && (isCause(err, fleet.CauseRefused) || isCause(err, fleet.CauseUnreachable)) {
			// A port that only means something behind the NAT.
			at, a = near, profilesAnswer{}
			err = s.do(ctx, at, m.profiles, &a)
		}
		if fatal(err) {
			return nil, err
		}
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		found, err := s.addresses(ctx, at, a, m.stream, m.snapshot)
		if fatal(err) {
			return nil, err
		}
		if len(found) > 0 {
			return found, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, cmp.Or(first, error(fleet.Errorf(fleet.CauseProtocol, "the camera names no media profile with a picture")))
}

// near is a service's path at the address of the device service, or nil when
// it is there already.
func (s *session) near(at *url.URL) *url.URL {
	if at.Host == s.device.Host && at.Scheme == s.device.Scheme {
		return nil
	}
	out := *at
	out.Host, out.Scheme = s.device.Host, s.device.Scheme
	return &out
}

// addresses asks for the stream and the snapshot of every profile. The error is
// the first refusal, for when nothing came.
func (s *session) addresses(ctx context.Context, at *url.URL, a profilesAnswer, stream, snapshot func(string) call) ([]fleet.Source, error) {
	var sources []fleet.Source
	var first error
	noSnapshot := false
	for _, p := range a.Profiles[:min(len(a.Profiles), maxProfiles)] {
		src, enc := p.VideoSourceConfiguration, p.VideoEncoderConfiguration
		if src.SourceToken == "" {
			src = p.Configurations.VideoSource
		}
		if enc.Encoding == "" {
			enc = p.Configurations.VideoEncoder
		}
		if p.Token == "" || len(p.Token) > maxTextBytes || len(src.SourceToken) > maxTextBytes {
			continue
		}
		profile := fleet.Profile{
			Token: p.Token, Name: text(p.Name), Codec: codec(enc.Encoding),
			Width: int(enc.Resolution.Width), Height: int(enc.Resolution.Height),
		}
		if !noSnapshot {
			e, err := s.address(ctx, at, snapshot(p.Token), fleet.Snapshot)
			if fatal(err) {
				return nil, err
			}
			first = cmp.Or(first, err)
			// A camera without the call lacks it for every profile.
			if f, ok := err.(*Fault); ok && f.Missing() { //nolint:errorlint // do wraps no fault
				noSnapshot = true
			}
			profile.Endpoints = append(profile.Endpoints, e...)
		}
		e, err := s.address(ctx, at, stream(p.Token), fleet.RTSP)
		if fatal(err) {
			return nil, err
		}
		first = cmp.Or(first, err)
		profile.Endpoints = append(profile.Endpoints, e...)
		if len(profile.Endpoints) == 0 {
			continue
		}
		i := slices.IndexFunc(sources, func(x fleet.Source) bool { return x.Token == src.SourceToken })
		if i < 0 {
			i = len(sources)
			sources = append(sources, fleet.Source{Token: src.SourceToken, Name: text(src.Name)})
		}
		sources[i].Profiles = append(sources[i].Profiles, profile)
	}
	return sources, first
}

// address asks for one address and returns it as an endpoint on the host that
// was asked, or nothing for an address of another kind.
func (s *session) address(ctx context.Context, at *url.URL, op call, p fleet.Protocol) ([]fleet.Endpoint, error) {
	var a uriAnswer
	if err := s.do(ctx, at, op, &a); err != nil {
		return nil, err
	}
	u := endpoint(cmp.Or(strings.TrimSpace(a.MediaURI.URI), strings.TrimSpace(a.URI)), s.device, p)
	if u == "" {
		return nil, nil
	}
	return []fleet.Endpoint{{Protocol: p, URL: u}}, nil
}

// maxURLBytes bounds an address; the longest of the field are below 300.
const maxURLBytes = 1024

// endpoint repairs a stream or snapshot address, or returns "".
func endpoint(addr string, at *url.URL, p fleet.Protocol) string {
	if addr == "" || len(addr) > maxURLBytes {
		return ""
	}
	var u *url.URL
	var err error
	if p == fleet.Snapshot {
		u, err = at.Parse(addr) // some give a path alone
	} else {
		u, err = url.Parse(addr)
	}
	if err != nil || u.Opaque != "" || u.Hostname() == "" {
		return ""
	}
	switch {
	case p == fleet.RTSP && (u.Scheme == "rtsp" || u.Scheme == "rtsps"):
	case p == fleet.Snapshot && (u.Scheme == "http" || u.Scheme == "https"):
	default:
		return ""
	}
	return rehost(u, at.Hostname()).String()
}

// codec is the encoding's name in this house, or "" for one that is not read.
func codec(encoding string) fleet.Codec {
	switch strings.ToUpper(strings.TrimSpace(encoding)) {
	case "JPEG", "MJPEG":
		return fleet.JPEG
	case "H264":
		return fleet.H264
	case "H265", "HEVC":
		return fleet.H265
	}
	return ""
}
