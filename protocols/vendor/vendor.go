// Package vendor describes cameras that speak no ONVIF, or have it switched off,
// by the HTTP calls that their makers document.
//
//	evidence ──► rows of the table ──► who it is (JSON, XML, key=value) ──► sources
//	 │ server, realm, title, maker, model, MAC      │ within the login budget
//	 └ none: nothing is asked at all                └ no password in any address
//
// The table is bounded and every row names the document it follows: no address is
// guessed, and a camera is asked only for what its maker documents, when something
// points to that maker. At most two rows are tried.
package vendor

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

const (
	// describeWait is for callers whose context has no deadline.
	describeWait = 30 * time.Second
	// maxAnswerBytes bounds an answer; the longest, a recorder's list of 128
	// channels with two streams, is about 500 KiB.
	maxAnswerBytes = 1 << 20
	// maxPageBytes of the start page are read for its title.
	maxPageBytes = 64 << 10
	// maxRows are tried on one device.
	maxRows = 2
	// logoutWait bounds the end of a session, behind everything else.
	logoutWait = 2 * time.Second
	// maxChannels bounds a recorder; the largest have 128 with four streams.
	maxChannels = 512
)

// ErrUnknown marks the not-found failure of a device that nothing connects with a
// maker of the table: it was asked for its start page at most.
var ErrUnknown = errors.New("no known maker")

// Options configure a Client.
type Options struct {
	// Evidence tells what discovery knows of a device: maker, model, MAC. It is
	// called from the goroutine of Describe; nil: nothing is known.
	Evidence      func(device string) Evidence
	BasicOverHTTP bool         // send Basic logins in clear: only on an operator's word
	Log           *slog.Logger // default: discards
}

// Client describes devices by their makers' HTTP calls. It is safe for use by
// several goroutines.
type Client struct {
	guard *guard.Guard
	opts  Options
	rows  []row
}

// New returns a Client that reaches cameras through g.
func New(g *guard.Guard, o Options) *Client {
	if o.Evidence == nil {
		o.Evidence = func(string) Evidence { return Evidence{} }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{guard: g, opts: o, rows: table()}
}

// Describe asks the device behind t's endpoints, of any protocol, who it is. The
// result has the maker's addresses for pictures and streams; whether they work,
// a grab has to show, for some makers document addresses alone. State is ok when
// the device has told who it is or wants no login for that, else how far it came.
//
// Errors are *fleet.CameraError: ErrUnknown when nothing points to a maker, else
// as of any exchange. Without a deadline in ctx it takes at most 30 s.
func (c *Client) Describe(ctx context.Context, t fleet.Target) (fleet.Device, error) {
	d := fleet.Device{Key: t.Device, State: fleet.DeviceUnreachable}
	at, err := base(t)
	if err != nil {
		d.Reason = err.Error()
		return d, err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, describeWait)
		defer cancel()
	}
	if a, err := netip.ParseAddr(at.Hostname()); err == nil {
		d.Addresses = []netip.Addr{a.Unmap()}
	}
	s := &session{c: c, at: at, rtsp: rtspPort(t), login: guard.Login{
		Device: cmp.Or(t.Device, at.Hostname()), Credentials: t.Credentials, BasicOverHTTP: c.opts.BasicOverHTTP, Readable: t.Camera != 0,
	}}
	err = s.describe(ctx, t, &d)
	if s.key != nil {
		d.Claims = append(d.Claims, fleet.Claim{Kind: fleet.ClaimTLSKey, Value: hex.EncodeToString(s.key)})
	}
	if err != nil {
		err = guard.CameraError(err, "describe "+at.Redacted())
		d.State, d.Reason = state(err), err.Error()
		return d, err
	}
	d.State = fleet.DeviceOK
	c.opts.Log.DebugContext(ctx, "device described by its maker's calls", "device_id", d.Key, "vendor", d.Vendor, "sources", len(d.Sources))
	return d, nil
}

// state is how far an error lets us.
func state(err error) fleet.DeviceState {
	switch causeOf(err) {
	case fleet.CauseUnauthorized:
		return fleet.DeviceNeedsCredentials
	case fleet.CauseLocked:
		return fleet.DeviceLocked
	}
	return fleet.DeviceUnreachable
}

// causeOf is an error's cause, or "".
func causeOf(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

// base is where the device's web server is: at an http address of its own, else
// at the usual port of its host.
func base(t fleet.Target) (*url.URL, error) {
	var plain *url.URL
	for _, e := range t.Endpoints {
		u, err := url.Parse(e.URL)
		if err != nil || u.Hostname() == "" {
			continue
		}
		switch u.Scheme {
		case "http", "https":
			return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
		}
		if plain == nil {
			host := u.Hostname()
			if strings.Contains(host, ":") {
				host = "[" + host + "]"
			}
			plain = &url.URL{Scheme: "http", Host: host}
		}
	}
	if plain == nil {
		return nil, fleet.Errorf(fleet.CauseNotFound, "the device has no address to describe it by")
	}
	return plain, nil
}

// session is one description under way.
type session struct {
	c     *Client
	at    *url.URL
	login guard.Login
	rtsp  string // port
	key   []byte // over TLS: the fingerprint of its key
}

// rtspPort is that of a stream's address that is known, else the usual one.
func rtspPort(t fleet.Target) string {
	for _, e := range t.Endpoints {
		if u, err := url.Parse(e.URL); err == nil && u.Scheme == "rtsp" && u.Port() != "" {
			return u.Port()
		}
	}
	return "554"
}

func (s *session) describe(ctx context.Context, t fleet.Target, d *fleet.Device) error {
	rows := match(s.c.rows, s.c.opts.Evidence(s.login.Device).paths(t))
	if len(rows) == 0 {
		page, err := s.page(ctx)
		if err != nil {
			return err
		}
		rows = match(s.c.rows, page)
	}
	if len(rows) == 0 {
		return &fleet.CameraError{Cause: fleet.CauseNotFound, Err: &unknown{"nothing tells who made this device: add the address of its picture or stream by hand"}}
	}
	var first error
	for _, r := range rows[:min(len(rows), maxRows)] {
		id, err := s.ask(ctx, r)
		if err == nil {
			s.fill(r.row, id, d)
			return nil
		}
		first = cmp.Or(first, err)
		switch causeOf(err) {
		case fleet.CauseNotFound, fleet.CauseProtocol:
			continue
		case fleet.CauseUnauthorized, fleet.CauseLocked:
			d.Vendor = r.vendor // it wants a login where its maker's devices do
		}
		return err
	}
	return first
}

// page reads the start page without a login, for what it tells of the maker.
func (s *session) page(ctx context.Context) (Evidence, error) {
	res, err := s.send(ctx, guard.Login{Device: s.login.Device}, guard.Request{URL: s.at.String() + "/", MaxBytes: maxPageBytes})
	if res == nil {
		// A redirect to elsewhere or a page beyond the bound is no failure of the
		// device; that nobody is there is.
		switch causeOf(err) {
		case fleet.CauseGuarded, fleet.CauseTooLarge, fleet.CauseProtocol:
			return Evidence{}, nil
		}
		return Evidence{}, err
	}
	return readPage(res), nil
}

// ask makes the row's calls. Where none answers, the evidence is believed if it
// is more than a path.
func (s *session) ask(ctx context.Context, r suspect) (identity, error) {
	var id identity
	told := r.sure
	for _, a := range r.calls {
		l := s.login
		if a.open {
			l = guard.Login{Device: s.login.Device}
		}
		req := guard.Request{Method: a.method, URL: s.at.String() + a.path, MaxBytes: maxAnswerBytes}
		if a.body != "" {
			req.Header, req.Body = http.Header{"Content-Type": {"application/json"}}, []byte(a.body)
			req.Again = true
		}
		res, err := s.send(ctx, l, req)
		if err == nil && res.Status >= 300 {
			err = fleet.Errorf(fleet.CauseNotFound, "%s is not there (HTTP %d)", a.path, res.Status)
		}
		if err == nil {
			err = a.read(res.Body, &id)
		}
		switch {
		case err == nil:
			told = true
		case !a.optional, ctx.Err() != nil:
			return id, err
		}
	}
	if r.talk != nil {
		var err error
		if id, err = r.talk(ctx, s); err == nil {
			told = true
		} else if c := causeOf(err); c == fleet.CauseUnauthorized || c == fleet.CauseLocked || ctx.Err() != nil {
			return id, err
		}
	}
	if !told {
		return id, fleet.Errorf(fleet.CauseNotFound, "it does not answer as %s's devices do", r.vendor)
	}
	return id, nil
}

func (s *session) send(ctx context.Context, l guard.Login, r guard.Request) (*guard.Response, error) {
	res, err := s.c.guard.Do(ctx, l, r)
	if res != nil && res.Key != nil {
		s.key = res.Key
	}
	return res, err
}

// fill writes what was learned into d.
func (s *session) fill(r row, id identity, d *fleet.Device) {
	d.Vendor, d.Model, d.Name = cmp.Or(guard.CleanText(id.vendor), r.vendor), guard.CleanText(id.model), guard.CleanText(id.name)
	d.Firmware, d.Serial = guard.CleanText(id.firmware), guard.CleanText(id.serial)
	if d.Serial != "" {
		d.Claims = append(d.Claims, fleet.Claim{Kind: fleet.ClaimSerial, Value: d.Serial})
	}
	if mac := guard.CleanMAC(id.mac); mac != "" {
		d.Claims = append(d.Claims, fleet.Claim{Kind: fleet.ClaimMAC, Value: mac})
	}
	channels := id.channels
	if len(channels) == 0 {
		channels = []channel{{number: r.first}}
	}
	slices.SortStableFunc(channels, func(a, b channel) int { return cmp.Compare(a.number, b.number) })
	for _, ch := range channels[:min(len(channels), maxChannels)] {
		src := fleet.Source{Name: guard.CleanText(ch.name), Profiles: s.profiles(r, ch)}
		if len(channels) > 1 {
			src.Token = itoa(ch.number) // one nameless source stays nameless
		}
		if len(src.Profiles) > 0 {
			d.Sources = append(d.Sources, src)
		}
	}
	for _, src := range d.Sources {
		for _, p := range src.Profiles {
			for _, e := range p.Endpoints {
				if len(channels) == 1 {
					d.Endpoints = append(d.Endpoints, e)
				}
			}
		}
	}
}

// profiles are the addresses of one channel: its snapshot and M-JPEG hang on the
// first stream.
func (s *session) profiles(r row, ch channel) []fleet.Profile {
	web := s.at.String()
	rtsp := "rtsp://" + net.JoinHostPort(s.at.Hostname(), s.rtsp)
	var out []fleet.Profile
	for i, path := range r.streams {
		p := fleet.Profile{Token: itoa(i + 1)}
		if len(ch.streams) > 0 {
			if i >= len(ch.streams) {
				break
			}
			p.Codec, p.Width, p.Height = ch.streams[i].codec, ch.streams[i].width, ch.streams[i].height
		}
		p.Endpoints = append(p.Endpoints, fleet.Endpoint{Protocol: fleet.RTSP, URL: rtsp + place(path, ch.number)})
		out = append(out, p)
	}
	if len(out) == 0 {
		out = []fleet.Profile{{Token: "1"}}
	}
	if r.mjpeg != "" {
		out[0].Endpoints = append([]fleet.Endpoint{{Protocol: fleet.MJPEG, URL: web + place(r.mjpeg, ch.number)}}, out[0].Endpoints...)
	}
	if r.snapshot != "" {
		out[0].Endpoints = append([]fleet.Endpoint{{Protocol: fleet.Snapshot, URL: web + place(r.snapshot, ch.number)}}, out[0].Endpoints...)
	}
	if len(out[0].Endpoints) == 0 {
		return nil
	}
	return out
}

// place puts a channel's number into a path, bare or with two digits.
func place(path string, number int) string {
	return strings.NewReplacer("{channel}", itoa(number), "{channel2}", fmt.Sprintf("%02d", number)).Replace(path)
}

// unknown is a text that is ErrUnknown.
type unknown struct{ text string }

func (u *unknown) Error() string        { return u.text }
func (u *unknown) Is(target error) bool { return target == ErrUnknown }
