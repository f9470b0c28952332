package inventory

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// listed reports whether r is more than evidence, and not one too many.
func (r *record) listed(n int) bool {
	return n < maxDevices && !r.cluster.hints() && (len(r.device.Endpoints) > 0 || slices.Contains(r.device.Via, fleet.ViaUPnP)) && r.key != ""
}

// silent reports whether r was heard before and is not heard any more.
func (r *record) silent(now time.Time) bool {
	heard := r.lastHeard()
	return !heard.IsZero() && now.Sub(heard) >= silentAfter
}

func (r *record) lastHeard() (last time.Time) {
	for _, o := range r.cluster.obs {
		if o.Via != viaKnown && o.Via != viaDescribed && o.At.After(last) {
			last = o.At
		}
	}
	return last
}

// next returns when the loop has something to do that no event announces.
func (b *book) next(now time.Time) time.Time {
	next := now.Add(housekeeping)
	soonest := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	for _, r := range b.records {
		soonest(r.created.Add(settle))
		soonest(r.created.Add(describeFirst))
		soonest(r.next)
	}
	return next
}

// reveal reports whether a device waits to be shown.
func (b *book) reveal(now time.Time) bool {
	return slices.ContainsFunc(b.records, func(r *record) bool { return !r.listing && r.listed(0) && r.ripe(b, now) })
}

// ripe reports whether r may be shown: it had time to be described.
func (r *record) ripe(b *book, now time.Time) bool {
	if _, ok := b.target(r); ok && !r.tried {
		return now.Sub(r.created) >= max(describeFirst, r.patience())
	}
	return now.Sub(r.created) >= r.patience()
}

// patience returns how old r must be before it is shown or asked anything.
func (r *record) patience() time.Duration {
	if r.doubtful && !r.shown && !r.named {
		return doubt
	}
	return settle
}

// devices returns what is to be shown, by key.
func (b *book) devices(now time.Time) []fleet.Device {
	var out []fleet.Device
	for _, r := range b.records {
		if !r.listed(len(out)) || !r.listing && !r.ripe(b, now) {
			continue
		}
		r.shown, r.listing = true, true
		out = append(out, r.show(now))
	}
	slices.SortFunc(out, func(x, y fleet.Device) int { return strings.Compare(x.Key, y.Key) })
	return out
}

// show puts the device together from its cluster and its description.
func (r *record) show(now time.Time) fleet.Device {
	d, doubt := r.proven(r.device, now)
	d.Key = r.key
	d.State, d.Reason = cmp.Or(r.state, fleet.DeviceOK), r.reason
	if r.result != nil {
		res := r.result
		d.Firmware, d.Serial, d.ClockSkew = res.Firmware, res.Serial, res.ClockSkew
		d.Sources = res.Sources
		for _, e := range res.Endpoints {
			if !slices.Contains(d.Endpoints, e) && len(d.Endpoints) < maxEndpoints && !r.doubted(e) {
				d.Endpoints = append(d.Endpoints, e)
			}
		}
	}
	if len(d.Sources) == 0 {
		s := fleet.Source{Name: d.Name}
		if len(d.Endpoints) > 0 {
			s.Profiles = []fleet.Profile{{Endpoints: d.Endpoints}}
		}
		d.Sources = []fleet.Source{s}
	}
	if d.Serial == "" {
		for _, c := range d.Claims {
			if c.Kind == fleet.ClaimSerial {
				d.Serial = c.Value
				break
			}
		}
	}
	const byUPnP = "heard by UPnP only, with no address for pictures: add it by hand with `cameras add`"
	switch {
	case doubt != "":
		d.State, d.Reason = fleet.DeviceUnreachable, doubt
	case r.state == fleet.DeviceUnreachable && len(d.Endpoints) == 0:
		d.Reason = byUPnP + "; ONVIF at its usual place: " + d.Reason
	case r.state == fleet.DeviceNeedsCredentials && d.Reason == "":
		d.Reason = "no login for it is known: give one with `creds put`"
	case r.state != "":
	case r.cluster.gone():
		d.State, d.Reason = fleet.DeviceUnreachable, "it said goodbye; it is listed again as soon as it is heard"
	case r.silent(now):
		d.State, d.Reason = fleet.DeviceUnreachable, "not heard for five minutes; check its power and network"
	case len(d.Endpoints) == 0:
		d.State, d.Reason = fleet.DeviceUnreachable, byUPnP
	}
	if c := r.conflict(now); c != nil {
		d.State, d.Conflict = fleet.DeviceConflict, c
		d.Reason = conflictReason(c)
	}
	return d
}

// hints reports whether nothing in c says that it is a camera.
func (c cluster) hints() bool {
	hint := false
	for _, o := range c.obs {
		switch {
		case o.Via == viaDescribed:
		case !o.Hint:
			return false
		default:
			hint = true
		}
	}
	return hint
}
