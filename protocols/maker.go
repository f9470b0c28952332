package protocols

import (
	"context"
	"errors"
	"net/url"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// byMaker describes, by its maker's own calls, a device of which nothing is
// known but where its web server is: it speaks no ONVIF there, or the address
// that was typed is that of its page. Reason is how ONVIF failed, nil when it was
// not asked: after a refused login, or from a device that is not there, nothing
// else is tried.
func (m *Mux) byMaker(ctx context.Context, t fleet.Target, own []way, reason error) (fleet.Device, bool) {
	if slices.ContainsFunc(own, func(w way) bool { return !frontPage(w.endpoint) }) {
		return fleet.Device{}, false
	}
	if reason != nil {
		ce, ok := errors.AsType[*fleet.CameraError](reason)
		if !ok || ce.Cause != fleet.CauseNotFound && ce.Cause != fleet.CauseProtocol && ce.Cause != fleet.CauseRefused {
			return fleet.Device{}, false
		}
	}
	d, err := m.maker.Describe(ctx, t)
	if err != nil {
		m.opts.Log.DebugContext(ctx, "not described by a maker's calls", "device_id", t.Device, "err", err)
		return fleet.Device{}, false
	}
	d.LastSeen = m.opts.Now()
	return d, true
}

// frontPage reports whether an address is a web server's and names no picture.
func frontPage(e fleet.Endpoint) bool {
	u, err := url.Parse(e.URL)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && (u.Path == "" || u.Path == "/") && u.RawQuery == ""
}
