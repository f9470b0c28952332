// Package onvif asks a device what it is: identity, video sources, profiles,
// stream and snapshot addresses (ONVIF Core and Media specifications).
//
//	GetSystemDateAndTime (open) ──► the camera's clock
//	GetCapabilities ──► media address      none ─► HTTP digest ─► WS-UsernameToken
//	GetDeviceInformation, GetNetworkInterfaces, GetScopes ──► identity
//	GetProfiles ──► GetStreamUri, GetSnapshotUri ──► sources
//
// Requests are the typed ones of use-go/onvif. Its answers are not used: some of
// their tags carry a prefix that no answer has, and lists are single values. Its
// transport and discovery are not used either (no digest, no limits).
package onvif

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/use-go/onvif/device"
	"github.com/use-go/onvif/media"
	xsdonvif "github.com/use-go/onvif/xsd/onvif"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// Options configure a Client.
type Options struct {
	Now func() time.Time // default time.Now
	Log *slog.Logger     // default: none
}

// Client describes devices. It is safe for concurrent use.
type Client struct {
	guard *guard.Guard
	now   func() time.Time

	mu      sync.Mutex
	winners map[string]mode // by device: what logged in last
}

// mode is a way to log in.
type mode int

const (
	modeNone  mode = iota // nobody asked; a 401 is answered by HTTP digest
	modeToken             // WS-UsernameToken
)

const (
	maxProfiles = 256
	maxWinners  = 20_000

	// skewAllowed is how far a camera's clock may be off before people are
	// told: most devices take tokens within 5 s.
	skewAllowed = 5 * time.Second
)

// New returns a client.
func New(g *guard.Guard, o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Client{guard: g, now: o.Now, winners: map[string]mode{}}
}

// Describe asks the target's ONVIF endpoint. Its errors are *fleet.CameraError.
// Calls that a device does not know are left out, as long as it has profiles.
func (c *Client) Describe(ctx context.Context, t fleet.Target) (fleet.Device, error) {
	i := slices.IndexFunc(t.Endpoints, func(e fleet.Endpoint) bool { return e.Protocol == fleet.ONVIF })
	if i < 0 {
		return fleet.Device{}, fleet.Errorf(fleet.CauseProtocol, "the device has no ONVIF address")
	}
	u, err := url.Parse(t.Endpoints[i].URL)
	if err != nil || u.Host == "" {
		return fleet.Device{}, fleet.Errorf(fleet.CauseProtocol, "%q is no address", t.Endpoints[i].URL)
	}
	x := &exchange{c: c, t: t, device: u}
	d := fleet.Device{Key: t.Device, Endpoints: []fleet.Endpoint{t.Endpoints[i]}, State: fleet.DeviceOK, LastSeen: c.now()}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		d.Addresses = []netip.Addr{a.Unmap()}
	}
	if err := x.clock(ctx); err != nil {
		return fleet.Device{}, err
	}
	d.ClockSkew = x.offset
	if err := x.identity(ctx, &d); err != nil {
		return fleet.Device{}, err
	}
	if err := x.sources(ctx, &d); err != nil {
		return fleet.Device{}, err
	}
	if x.offset.Abs() > skewAllowed {
		d.Reason = "the camera's clock is off by " + x.offset.Round(time.Second).String() + ": set its time, or point it to an NTP server"
	}
	return d, nil
}

// exchange is one conversation with one device.
type exchange struct {
	c      *Client
	t      fleet.Target
	device *url.URL
	media  *url.URL
	offset time.Duration // the camera's clock minus ours
}

// call makes one request, logging in as far as needed.
func (x *exchange) call(ctx context.Context, to *url.URL, request, into any) error {
	c := x.c
	c.mu.Lock()
	m := c.winners[x.t.Device]
	c.mu.Unlock()
	login := guard.Login{Device: x.t.Device, Credentials: x.t.Credentials}
	if m == modeNone {
		f, err := x.send(ctx, login, to, request, nil, into)
		if err != nil || f == nil {
			return err
		}
		if !f.notAuthorized() {
			return f.asError(to)
		}
	}
	if len(x.t.Credentials) == 0 {
		return fleet.Errorf(fleet.CauseUnauthorized, "%s wants a login and none is known: `shutterfleet creds put`", to.Host)
	}
	var last error
	for _, cred := range x.t.Credentials {
		if err := c.guard.Budget().Try(x.t.Device, cred); err != nil {
			last = err
			continue
		}
		f, err := x.send(ctx, guard.Login{Device: x.t.Device, Credentials: []fleet.Credentials{cred}}, to, request, &cred, into)
		if err != nil {
			return err
		}
		if f == nil || !f.notAuthorized() {
			c.guard.Budget().Accepted(x.t.Device, cred)
			c.won(x.t.Device, modeToken)
			return f.asError(to)
		}
		c.guard.Budget().Refused(x.t.Device, cred)
		last = fleet.Errorf(fleet.CauseUnauthorized, "%s refuses the login of %q: check user and password (an ONVIF user may be another than the web page's)", to.Host, cred.User)
	}
	c.won(x.t.Device, modeNone)
	return last
}

func (c *Client) won(device string, m mode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.winners) < maxWinners || m == modeNone {
		c.winners[device] = m
	}
}

func (f *fault) asError(to *url.URL) error {
	if f == nil {
		return nil
	}
	return fleet.Errorf(fleet.CauseProtocol, "%s answers with a fault: %s", to.Host, cmp.Or(f.reason, strings.Join(f.codes, "/")))
}

func (x *exchange) send(ctx context.Context, login guard.Login, to *url.URL, request any, token *fleet.Credentials, into any) (*fault, error) {
	msg, err := envelope(request, token, x.c.now().Add(x.offset))
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseInternal, "build a request: %v", err)
	}
	res, err := x.c.post(ctx, login, to.String(), msg)
	if err != nil {
		return nil, err
	}
	f, err := parse(res.Body, into)
	switch {
	case err != nil && res.Status == 404:
		return nil, fleet.Errorf(fleet.CauseNotFound, "%s has no ONVIF service under %s", to.Host, to.Path)
	case err != nil:
		return nil, fleet.Errorf(fleet.CauseProtocol, "%s gives no ONVIF answer (%d): %v", to.Host, res.Status, err)
	}
	return f, nil
}

// clock asks for the camera's time, without a login as ONVIF Core 8.3 has it.
func (x *exchange) clock(ctx context.Context) error {
	var a struct {
		Date struct {
			Year, Month, Day int
		} `xml:"SystemDateAndTime>UTCDateTime>Date"`
		Time struct {
			Hour, Minute, Second int
		} `xml:"SystemDateAndTime>UTCDateTime>Time"`
	}
	f, err := x.send(ctx, guard.Login{Device: x.t.Device, Credentials: x.t.Credentials}, x.device, device.GetSystemDateAndTime{}, nil, &a)
	if err != nil {
		return err
	}
	if f != nil || a.Date.Year < 2000 {
		return nil // it keeps its clock to itself: ours is as good a guess
	}
	at := time.Date(a.Date.Year, time.Month(a.Date.Month), a.Date.Day, a.Time.Hour, a.Time.Minute, a.Time.Second, 0, time.UTC)
	// Whole seconds come: half a second is the best guess of the rest.
	x.offset = at.Add(500 * time.Millisecond).Sub(x.c.now()).Round(100 * time.Millisecond)
	if x.offset.Abs() <= time.Second {
		x.offset = 0
	}
	return nil
}

// optional reports whether a failed call can be left out: the device does not
// know it. Others end the description.
func optional(err error) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	return ok && (ce.Cause == fleet.CauseProtocol || ce.Cause == fleet.CauseNotFound)
}

// identity fills in who the device is, and where its media service is.
func (x *exchange) identity(ctx context.Context, d *fleet.Device) error {
	var caps struct {
		Media string `xml:"Capabilities>Media>XAddr"`
	}
	err := x.call(ctx, x.device, device.GetCapabilities{Category: "All"}, &caps)
	if err != nil && !optional(err) {
		return err
	}
	x.media = x.repair(caps.Media, "http", "https")
	if x.media == nil {
		x.media = x.device
	}
	var info struct {
		Manufacturer, Model, FirmwareVersion, SerialNumber string
	}
	if err := x.call(ctx, x.device, device.GetDeviceInformation{}, &info); err != nil && !optional(err) {
		return err
	}
	d.Vendor, d.Model, d.Firmware, d.Serial = clip(info.Manufacturer), clip(info.Model), clip(info.FirmwareVersion), clip(info.SerialNumber)
	if d.Serial != "" {
		d.Claims = append(d.Claims, fleet.Claim{Kind: fleet.ClaimSerial, Value: strings.ToLower(d.Vendor + "/" + d.Model + "/" + d.Serial)})
	}
	var nets struct {
		MACs []string `xml:"NetworkInterfaces>Info>HwAddress"`
	}
	if err := x.call(ctx, x.device, device.GetNetworkInterfaces{}, &nets); err != nil && !optional(err) {
		return err
	}
	for _, m := range nets.MACs[:min(len(nets.MACs), 8)] {
		if hw, err := net.ParseMAC(strings.TrimSpace(m)); err == nil && len(hw) == 6 && hw[0]&1 == 0 && hw.String() != "00:00:00:00:00:00" {
			d.Claims = append(d.Claims, fleet.Claim{Kind: fleet.ClaimMAC, Value: hw.String()})
		}
	}
	var scopes struct {
		Items []string `xml:"Scopes>ScopeItem"`
	}
	if err := x.call(ctx, x.device, device.GetScopes{}, &scopes); err != nil && !optional(err) {
		return err
	}
	for _, s := range scopes.Items {
		if rest, ok := strings.CutPrefix(s, "onvif://www.onvif.org/name/"); ok && d.Name == "" {
			if name, err := url.PathUnescape(rest); err == nil {
				d.Name = clip(name)
			}
		}
	}
	return nil
}

// profile is what we want of an answer to GetProfiles.
type profile struct {
	Token  string `xml:"token,attr"`
	Name   string `xml:"Name"`
	Source struct {
		Token string `xml:"SourceToken"`
		Name  string `xml:"Name"`
	} `xml:"VideoSourceConfiguration"`
	Encoder struct {
		Encoding string `xml:"Encoding"`
		Width    int    `xml:"Resolution>Width"`
		Height   int    `xml:"Resolution>Height"`
	} `xml:"VideoEncoderConfiguration"`
}

var codecs = map[string]fleet.Codec{"jpeg": fleet.JPEG, "h264": fleet.H264, "h265": fleet.H265}

// sources fills in the video sources with their profiles and addresses.
func (x *exchange) sources(ctx context.Context, d *fleet.Device) error {
	var a struct {
		Profiles []profile `xml:"Profiles"`
	}
	if err := x.call(ctx, x.media, media.GetProfiles{}, &a); err != nil {
		return err
	}
	if len(a.Profiles) == 0 {
		return fleet.Errorf(fleet.CauseProtocol, "%s has no media profiles: it is no camera, or none is set up", x.device.Host)
	}
	for _, p := range a.Profiles[:min(len(a.Profiles), maxProfiles)] {
		out := fleet.Profile{Token: clip(p.Token), Name: clip(p.Name), Codec: codecs[strings.ToLower(p.Encoder.Encoding)], Width: p.Encoder.Width, Height: p.Encoder.Height}
		for _, e := range []struct {
			protocol fleet.Protocol
			request  any
			schemes  []string
		}{
			{fleet.Snapshot, media.GetSnapshotUri{ProfileToken: xsdonvif.ReferenceToken(p.Token)}, []string{"http", "https"}},
			{fleet.RTSP, media.GetStreamUri{ProfileToken: xsdonvif.ReferenceToken(p.Token), StreamSetup: xsdonvif.StreamSetup{Stream: "RTP-Unicast", Transport: xsdonvif.Transport{Protocol: "RTSP"}}}, []string{"rtsp", "rtsps"}},
		} {
			var uri struct {
				URI string `xml:"MediaUri>Uri"`
			}
			if err := x.call(ctx, x.media, e.request, &uri); err != nil {
				if !optional(err) {
					return err
				}
				continue
			}
			if u := x.repair(uri.URI, e.schemes...); u != nil {
				out.Endpoints = append(out.Endpoints, fleet.Endpoint{Protocol: e.protocol, URL: u.String()})
			}
		}
		token := clip(p.Source.Token)
		i := slices.IndexFunc(d.Sources, func(s fleet.Source) bool { return s.Token == token })
		if i < 0 {
			d.Sources = append(d.Sources, fleet.Source{Token: token, Name: clip(p.Source.Name)})
			i = len(d.Sources) - 1
		}
		d.Sources[i].Profiles = append(d.Sources[i].Profiles, out)
	}
	return nil
}

// repair reads an address that the device told, and puts the host in that we
// reached it by: behind NAT devices tell their inside, and after a move their
// past. Ports and paths stay. Credentials are dropped.
func (x *exchange) repair(text string, schemes ...string) *url.URL {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" || len(text) > 1024 || !slices.Contains(schemes, strings.ToLower(u.Scheme)) {
		return nil
	}
	u.User = nil
	if !strings.EqualFold(u.Hostname(), x.device.Hostname()) {
		host := x.device.Hostname()
		if p := u.Port(); p != "" {
			u.Host = net.JoinHostPort(host, p)
		} else if strings.Contains(host, ":") {
			u.Host = "[" + host + "]"
		} else {
			u.Host = host
		}
	}
	return u
}

// clip bounds a text that came from outside.
func clip(s string) string {
	s = strings.TrimSpace(s)
	return strings.ToValidUTF8(s[:min(len(s), 128)], "")
}
