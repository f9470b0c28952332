// Package vendor describes cameras that speak no ONVIF, or have it switched
// off, by their makers' own HTTP calls:
//
//	Server header, realm, title, MAC ─► whose it is ─► its one call that tells
//	     asked without a login             │           model, serial, firmware
//	                                       └─► where its pictures and streams are
//
// The table is closed: a device that shows no sign of a maker is asked nothing
// more than its front page, and a maker's calls go to that maker's devices
// alone. Logins go through the guard and its budget. Calls that want a password in their address are not used.
package vendor

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

const (
	describeWait = 20 * time.Second // for callers whose context has no deadline
	maxPageBytes = 64 << 10         // of a front page
	maxInfoBytes = 64 << 10         // of a maker's answer
	maxChannels  = 64               // of a recorder
)

// Options configure a Describer.
type Options struct {
	Log *slog.Logger // default: discards
}

// Describer describes devices by their makers' calls. It is safe for use by
// several goroutines.
type Describer struct {
	guard *guard.Guard
	log   *slog.Logger
	table []Maker
}

// New returns a Describer that reaches cameras through g.
func New(g *guard.Guard, o Options) *Describer {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Describer{guard: g, log: o.Log, table: Makers()}
}

// ErrUnknown marks a device that shows no sign of a maker in the table.
var ErrUnknown = errors.New("nothing says whose camera this is")

// Describe asks the host of the target's first endpoint. A device that lets
// nobody in is returned as needs-credentials, with the addresses that its maker
// gives to pictures and streams. Errors are *fleet.CameraError; that of a device
// whose maker is not known wraps ErrUnknown.
func (d *Describer) Describe(ctx context.Context, t fleet.Target) (fleet.Device, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, describeWait)
		defer cancel()
	}
	base, err := origin(t)
	if err != nil {
		return fleet.Device{}, err
	}
	m, err := d.recognise(ctx, t, base)
	if err != nil {
		return fleet.Device{}, err
	}
	dev := fleet.Device{Key: t.Device, State: fleet.DeviceOK, Vendor: m.Name}
	if a, err := netip.ParseAddr(base.Hostname()); err == nil {
		dev.Addresses = []netip.Addr{a.Unmap()}
	}
	channels := 1
	if m.Info != "" {
		facts, err := d.ask(ctx, t, base, m)
		ce, _ := errors.AsType[*fleet.CameraError](err)
		switch {
		case err == nil:
			dev.Model, dev.Serial, dev.Firmware = facts.model, facts.serial, facts.firmware
			channels = min(max(facts.channels, 1), maxChannels)
			for _, c := range []fleet.Claim{{Kind: fleet.ClaimSerial, Value: facts.serial}, {Kind: fleet.ClaimMAC, Value: facts.mac}} {
				if c.Value != "" {
					dev.Claims = append(dev.Claims, c)
				}
			}
		case ce != nil && ce.Cause == fleet.CauseUnauthorized:
			dev.State, dev.Reason = fleet.DeviceNeedsCredentials, err.Error()
		case ce != nil && ce.Cause == fleet.CauseLocked:
			dev.State, dev.Reason = fleet.DeviceLocked, err.Error()
		case ce != nil && (ce.Cause == fleet.CauseNotFound || ce.Cause == fleet.CauseProtocol):
			// Old firmware lacks the call; the pictures are where they always were.
			d.log.DebugContext(ctx, "the maker's call is missing", "device_id", t.Device, "maker", m.Name, "err", err)
		default:
			return fleet.Device{}, err
		}
	}
	dev.Sources = m.sources(base, channels)
	if len(dev.Sources) == 1 {
		for _, p := range dev.Sources[0].Profiles {
			dev.Endpoints = append(dev.Endpoints, p.Endpoints...)
		}
	}
	d.log.DebugContext(ctx, "device described by its maker's calls", "device_id", t.Device, "maker", m.Name, "state", dev.State, "sources", len(dev.Sources))
	return dev, nil
}

// origin is where the device's web server is: that of an http address of the
// target, else port 80 of its first address's host.
func origin(t fleet.Target) (*url.URL, error) {
	var out *url.URL
	for _, e := range t.Endpoints {
		u, err := url.Parse(e.URL)
		if err != nil || u.User != nil || u.Hostname() == "" {
			continue
		}
		if u.Scheme == "http" || u.Scheme == "https" {
			return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
		}
		if out == nil {
			host := u.Hostname()
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			out = &url.URL{Scheme: "http", Host: host}
		}
	}
	if out == nil {
		return nil, fleet.Errorf(fleet.CauseNotFound, "the device has no address to describe it by")
	}
	return out, nil
}

// recognise finds the maker: by what is known of the device, else by its front
// page, which is asked for without a login.
func (d *Describer) recognise(ctx context.Context, t fleet.Target, base *url.URL) (*Maker, error) {
	if m := d.byKey(t.Device); m != nil {
		return m, nil
	}
	res, err := d.guard.Do(ctx, guard.Login{Device: t.Device}, guard.Request{URL: base.String() + "/", MaxBytes: maxPageBytes})
	// Without a login a 401 is an error that comes with its answer.
	if res == nil {
		ce, ok := errors.AsType[*fleet.CameraError](err)
		if !ok || ce.Cause != fleet.CauseTooLarge {
			return nil, guard.CameraError(err, "GET "+base.Redacted()+"/")
		}
		return nil, fleet.Errorf(fleet.CauseNotFound, "%w", ErrUnknown)
	}
	for i := range d.table {
		if d.table[i].signed(res.Header, res.Body) {
			return &d.table[i], nil
		}
	}
	return nil, fleet.Errorf(fleet.CauseNotFound, "%w: its front page names none that is known; give the address of its picture or stream by hand", ErrUnknown)
}

// byKey finds the maker by the MAC that the device goes by.
func (d *Describer) byKey(key string) *Maker {
	mac, ok := strings.CutPrefix(key, string(fleet.ClaimMAC)+":")
	if !ok {
		return nil
	}
	for i := range d.table {
		for _, oui := range d.table[i].OUIs {
			if strings.HasPrefix(mac, oui) {
				return &d.table[i]
			}
		}
	}
	return nil
}

// ask makes the maker's one call.
func (d *Describer) ask(ctx context.Context, t fleet.Target, base *url.URL, m *Maker) (facts, error) {
	at := base.String() + m.Info
	res, err := d.guard.Do(ctx, guard.Login{Device: cmp.Or(t.Device, base.Hostname()), Credentials: t.Credentials}, guard.Request{URL: at, MaxBytes: maxInfoBytes})
	if err != nil {
		return facts{}, guard.CameraError(err, "GET "+at)
	}
	switch res.Status {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return facts{}, fleet.Errorf(fleet.CauseUnauthorized, "GET %s: %d: the login may not ask for it: give it the rights of a viewer at least", at, res.Status)
	case http.StatusNotFound:
		return facts{}, fleet.Errorf(fleet.CauseNotFound, "GET %s: not found", at)
	default:
		return facts{}, fleet.Errorf(fleet.CauseProtocol, "GET %s: status %d", at, res.Status)
	}
	values, err := parse(m.Format, res.Body)
	if err != nil {
		return facts{}, fleet.Errorf(fleet.CauseProtocol, "GET %s: %w", at, err)
	}
	return m.facts(values), nil
}

// sources are the addresses that the maker gives to its pictures and streams.
func (m *Maker) sources(base *url.URL, channels int) []fleet.Source {
	host := base.Hostname()
	var out []fleet.Source
	for n := range channels {
		s := fleet.Source{}
		if channels > 1 {
			s.Token = itoa(m.First + n)
			s.Name = "channel " + s.Token
		}
		if m.Snapshot != "" {
			s.Profiles = append(s.Profiles, fleet.Profile{Token: "snapshot", Endpoints: []fleet.Endpoint{
				{Protocol: fleet.Snapshot, URL: base.String() + m.path(m.Snapshot, n)},
			}})
		}
		for _, stream := range m.Streams {
			s.Profiles = append(s.Profiles, fleet.Profile{Token: stream.Name, Endpoints: []fleet.Endpoint{
				{Protocol: fleet.RTSP, URL: "rtsp://" + net.JoinHostPort(host, "554") + m.path(stream.Path, n)},
			}})
		}
		out = append(out, s)
	}
	return out
}

// path puts the number of the channel n, from 0, into a path of the table.
func (m *Maker) path(template string, n int) string {
	return strings.ReplaceAll(template, "{channel}", itoa(m.First+n))
}
