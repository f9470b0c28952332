package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// outcome is the end of one description.
type outcome struct {
	rec    *record
	target fleet.Target
	device fleet.Device
	err    error
	bare   bool
	door   *record
}

func (v *Inventory) describe(ctx context.Context, t task) outcome {
	patience := describeTimeout
	if t.bare {
		patience = probeTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	d, err := v.opts.Describer.Describe(ctx, t.target)
	return outcome{rec: t.rec, target: t.target, device: d, err: err, bare: t.bare, door: t.door}
}

// target returns what the describer gets, and whether there is anything to
// describe: an ONVIF endpoint, or a device of UPnP without any endpoint, which
// nearly always has ONVIF at its usual place.
func (b *book) target(r *record) (fleet.Target, bool) {
	t := fleet.Target{Device: r.key}
	for _, e := range r.device.Endpoints {
		if e.Protocol == fleet.ONVIF && !r.doubted(e) {
			t.Endpoints = append(t.Endpoints, e)
		}
	}
	if len(t.Endpoints) == 0 && len(r.device.Endpoints) == 0 && slices.Contains(r.device.Via, fleet.ViaUPnP) {
		if i := slices.IndexFunc(r.device.Addresses, func(a netip.Addr) bool { return !r.alleged(a) }); i >= 0 {
			t.Endpoints = []fleet.Endpoint{usualService(r.device.Addresses[i])}
		}
	}
	if len(t.Endpoints) == 0 || b.opts.Describer == nil {
		return t, false
	}
	for _, k := range b.known[r.key] {
		t.Credentials = append(t.Credentials, k.Credentials...)
		if len(k.Same)+len(k.Apart) == 0 { // else it may be known for its dispute alone
			t.Camera = k.Camera
		}
	}
	t.Credentials = append(t.Credentials, b.site...)
	var once []fleet.Credentials
	for _, c := range t.Credentials {
		if !slices.Contains(once, c) {
			once = append(once, c)
		}
	}
	t.Credentials = once
	return t, true
}

// usualService is where nearly all cameras have their ONVIF device service.
func usualService(a netip.Addr) fleet.Endpoint {
	host := a.String()
	if a.Is6() {
		host = "[" + host + "]"
	}
	return fleet.Endpoint{Protocol: fleet.ONVIF, URL: (&url.URL{Scheme: "http", Host: host, Path: "/onvif/device_service"}).String()}
}

// question tells apart what was asked: another address or login is another try.
func question(t fleet.Target) string {
	var s strings.Builder
	for _, e := range t.Endpoints {
		fmt.Fprintf(&s, "%s\n", e.URL)
	}
	for _, c := range t.Credentials {
		fmt.Fprintf(&s, "%q %d\n", c.User, c.Version)
	}
	return s.String()
}

// due returns the descriptions to start now.
func (b *book) due(now time.Time) (out []task) {
	n := 0
	doors := map[netip.AddrPort]*record{}
	for _, r := range b.records {
		if !r.listed(n) {
			continue
		}
		n++
		door := r.door(doors)
		if r.busy || b.running >= describeWidth || now.Sub(r.created) < r.patience() {
			continue
		}
		if b.opts.Describer != nil && b.probing < probeWidth {
			if t, ok := r.probe(now); ok {
				r.busy = true
				b.running++
				b.probing++
				out = append(out, task{r, t, true, nil})
				continue
			}
		}
		t, ok := b.target(r)
		if door != nil {
			t.Credentials = nil
		}
		if !ok || !b.wants(r, t, now) {
			continue
		}
		r.busy, r.asked = true, question(t)
		r.shown = true // the login budget is counted by this key from now on
		b.running++
		out = append(out, task{r, t, false, door})
	}
	return out
}

// door notes the ports of r's services, and returns the device that answers at
// one of them too and has not let us in, or nil. Under each name that anybody
// gives to one camera its logins would be counted anew, and it would lock.
// Devices of the centre are whose they are.
func (r *record) door(taken map[netip.AddrPort]*record) (closed *record) {
	for _, e := range r.device.Endpoints {
		host, port, ok := hostPort(e.URL)
		if !ok || e.Protocol != fleet.ONVIF || r.doubted(e) {
			continue
		}
		at := netip.AddrPortFrom(host, port)
		switch first := taken[at]; {
		case first == nil:
			if !r.lastHeard().IsZero() {
				taken[at] = r
			}
		case first != r && !r.named && first.state != fleet.DeviceOK && first.state != fleet.DeviceSkewed:
			closed = first
		}
	}
	return closed
}

func (b *book) wants(r *record, t fleet.Target, now time.Time) bool {
	if r.silent(now) && !r.reviewed {
		return true
	}
	return !r.tried || !now.Before(r.next) || question(t) != r.asked
}

// described takes the end of a description.
func (b *book) described(o outcome, now time.Time) {
	r := o.rec
	r.busy = false
	b.running--
	if o.bare { // what it answered may be another's
		b.probing--
		return
	}
	r.tried, r.reviewed = true, true
	r.state, r.reason = verdict(o)
	if o.door != nil && r.state == fleet.DeviceNeedsCredentials {
		r.reason = fmt.Sprintf("device %s answers at the same address and has not let us in: no login is tried under another name, so that the camera does not lock; give the right one with `creds put`", o.door.key)
	}
	switch r.state {
	case fleet.DeviceOK, fleet.DeviceSkewed:
		r.wait, r.next = retryDescribe, now.Add(jitter(b.opts.Every))
	case fleet.DeviceNeedsCredentials:
		r.wait, r.next = retryDescribe, now.Add(jitter(b.opts.Every)) // new credentials come earlier by themselves
	case fleet.DeviceLocked:
		r.next = now.Add(retryLocked)
	default:
		r.next = now.Add(jitter(r.wait))
		r.wait = min(2*r.wait, retryLongest)
	}
	if o.err != nil && len(o.device.Sources) == 0 && len(o.device.Claims) == 0 {
		return
	}
	d := o.device
	if len(d.Sources) == 0 && r.result != nil {
		d.Sources = r.result.Sources // what it offered before it locked us out
	}
	r.result = &d
	b.learn(r, d, now)
}

// learn makes what the device said of itself evidence like the rest.
func (b *book) learn(r *record, d fleet.Device, now time.Time) {
	var of obsID
	found := false
	for _, m := range r.cluster.obs {
		if m.Via != viaDescribed && (!found || len(m.Endpoints) > 0 && m.Endpoints[0].Protocol == fleet.ONVIF) {
			of, found = m.id(), true
			if len(m.Endpoints) > 0 && m.Endpoints[0].Protocol == fleet.ONVIF {
				break
			}
		}
	}
	if !found {
		return
	}
	for id, o := range b.obs {
		if id.via == viaDescribed && b.owner[id] == r && o.of != of {
			delete(b.obs, id)
		}
	}
	o := observation{of: of, first: now}
	o.Via, o.Interface, o.At = viaDescribed, string(of.via)+" "+of.ifname+" "+of.source.String()+" "+of.primary, now
	o.Name, o.Vendor, o.Model = d.Name, d.Vendor, d.Model
	o.Claims = slices.Clone(d.Claims)
	if d.Serial != "" {
		o.Claims = append(o.Claims, fleet.Claim{Kind: fleet.ClaimSerial, Value: d.Serial})
	}
	// Which endpoint reference the device has, its datagrams say; a description
	// that names another must not tear it from them.
	o.Claims = slices.DeleteFunc(o.Claims, func(c fleet.Claim) bool { return c.Kind == fleet.ClaimEPR || c.Kind == fleet.ClaimUDN })
	o.Sighting = clean(o.Sighting)
	b.obs[o.id()] = o
	b.owner[o.id()] = r
}

func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}

// maxSkew is how wrong a device's clock may be before that is its state: from
// 20 s on cameras refuse a WS-UsernameToken that is not signed with their own
// time. Ours is, so logins go on; other clients' and the picture's overlay do
// not.
const maxSkew = 20 * time.Second

// skewed says what a wrong clock breaks, and the fix; "" when it is right.
func skewed(d fleet.Device) string {
	if d.ClockSkew.Abs() <= maxSkew {
		return ""
	}
	way := "ahead of"
	if d.ClockSkew < 0 {
		way = "behind"
	}
	return fmt.Sprintf("its clock is %v %s ours, which breaks logins that carry the time: set an NTP server in its settings", d.ClockSkew.Abs().Round(time.Second), way)
}

// verdict says how a description went, and the way on.
func verdict(o outcome) (fleet.DeviceState, string) {
	skew := skewed(o.device)
	if o.err == nil {
		state := cmp.Or(o.device.State, fleet.DeviceOK)
		if skew != "" && state == fleet.DeviceOK {
			return fleet.DeviceSkewed, skew
		}
		return state, o.device.Reason
	}
	state := fleet.DeviceUnreachable
	if ce, ok := errors.AsType[*fleet.CameraError](o.err); ok {
		switch ce.Cause {
		case fleet.CauseUnauthorized:
			state = fleet.DeviceNeedsCredentials
		case fleet.CauseLocked:
			state = fleet.DeviceLocked
		}
	}
	if s := o.device.State; s != "" && s != fleet.DeviceOK {
		state = s
	}
	reason := cmp.Or(o.device.Reason, cleanText(o.err.Error()))
	if skew != "" && state == fleet.DeviceNeedsCredentials {
		reason += "; " + skew
	}
	return state, reason
}
