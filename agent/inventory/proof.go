package inventory

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// hardware is what a device of the centre said of itself last, and where it was,
// so that another that takes its name is told from it.
//
// A name in a datagram is anybody's to say, and the camera's login would follow
// it to a new address. So a device that was seen on the link keeps the MACs that
// the neighbour table had for it, and a new address is its own only with one of
// them:
//
//	same name, new address ─┬─ its MAC ────► it moved
//	                        ├─ another ────► conflict, for an operator
//	                        └─ not known ──► unproven: asked without a login, which
//	                                         fills the table, and told to nobody
//
// Behind a router no MAC is seen, and none is asked for.
type hardware struct {
	model  string
	claims []fleet.Claim
	near   []string     // MACs of the neighbour table, and then those it described; none when it was never seen on the link
	places []netip.Addr // where it was with one of them
}

// Hardware is what is remembered of a device over restarts: without it, whoever
// takes a camera's name while the agent is down would be taken for it.
type Hardware struct {
	MACs   []string     `json:"macs"`   // that the neighbour table had for it, and those it described
	Places []netip.Addr `json:"places"` // where it was
}

// HardwareMemory keeps Hardware, by Device.Key. Its methods are called by Run
// alone, and return soon.
type HardwareMemory interface {
	// Load returns what was saved last; false when there is nothing.
	Load(device string) (Hardware, bool, error)
	// Save keeps h in place of what was there.
	Save(device string, h Hardware) error
}

// remembered fetches what an earlier run knew of a device, once.
func (b *book) remembered(key string) {
	if b.opts.Hardware == nil || b.loaded[key] {
		return
	}
	b.loaded[key] = true
	h, ok, err := b.opts.Hardware.Load(key)
	if err != nil {
		b.opts.Log.Warn("what is known of a device's hardware cannot be read: it is learned anew", "device_id", key, "err", err)
	}
	if err == nil && ok && len(h.MACs) > 0 {
		b.memory[key] = hardware{near: capped(h.MACs, maxAddresses), places: capped(h.Places, maxAddresses)}
	}
}

// keep makes what is known of a device's hardware outlive the program.
func (b *book) keep(key string, old, h hardware) {
	b.memory[key] = h
	if b.opts.Hardware == nil || slices.Equal(h.near, old.near) && slices.Equal(h.places, old.places) {
		return
	}
	if err := b.opts.Hardware.Save(key, Hardware{h.near, h.places}); err != nil {
		b.opts.Log.Warn("what is known of a device's hardware is not kept over a restart", "device_id", key, "err", err)
	}
}

const (
	// probeAgain is how long an unproven address is left alone after it was asked.
	probeAgain = time.Minute

	// probeTimeout is enough for the kernel to look for a MAC: three questions a
	// second apart (arp(7)). probeWidth leaves the other turns to descriptions,
	// whoever takes the names of all cameras at silent addresses.
	probeTimeout = 4 * time.Second
	probeWidth   = 2
)

func (h hardware) equal(o hardware) bool {
	return h.model == o.model && slices.Equal(h.claims, o.claims) && slices.Equal(h.near, o.near) && slices.Equal(h.places, o.places)
}

// recall makes what a device said of itself part of what the centre knows.
func (o *observation) recall(h hardware) {
	o.Model, o.proof = h.model, h.near
	for _, c := range h.claims {
		if !slices.Contains(o.Claims, c) {
			o.Claims = append(o.Claims, c)
		}
	}
	slices.SortFunc(o.Claims, compareClaims)
}

// note keeps what the centre's devices say of themselves, and where they are.
func (b *book) note() {
	for _, r := range b.records {
		ts, ok := b.known[r.key]
		if !ok || len(r.rivals) > 0 || strings.HasPrefix(r.key, string(fleet.ClaimURL)+":") { // a URL is who answers there
			continue
		}
		old := b.memory[r.key]
		h := hardware{near: slices.Clone(old.near), places: slices.Clone(old.places)}
		home := r.home()
		for _, o := range r.cluster.obs {
			if o.Via == viaKnown {
				continue
			}
			if o.Via == viaDescribed {
				h.model = o.Model
			}
			for _, c := range o.Claims {
				if c.Kind == fleet.ClaimMAC || c.Kind == fleet.ClaimSerial && o.Via == viaDescribed {
					h.claims = append(h.claims, c)
				}
			}
			if o.near != "" && (old.bears(&o, home) || r.decided(&o)) {
				h.near, h.places = latest(h.near, o.near), latest(h.places, o.Source)
			}
		}
		for _, o := range r.cluster.obs {
			for _, c := range o.Claims {
				if o.Via == viaDescribed && c.Kind == fleet.ClaimMAC && len(h.near) > 0 {
					h.near = latest(h.near, c.Value)
				}
			}
		}
		slices.SortFunc(h.claims, compareClaims)
		h.claims = slices.Compact(h.claims)
		if len(h.claims) == 0 {
			h.model, h.claims = old.model, old.claims
		}
		if h.equal(old) {
			continue
		}
		b.keep(r.key, old, h)
		o := knownObservation(r.key, ts)
		o.recall(h)
		b.obs[o.id()] = o
	}
}

// bears reports whether an observation is of this hardware. While nothing is
// known of it, that is who answers where the centre knows it to be, if somebody
// does.
func (h hardware) bears(o *observation, home []netip.Addr) bool {
	if len(h.near) == 0 {
		return len(home) == 0 || slices.Contains(home, o.Source)
	}
	return o.near != "" && slices.Contains(h.near, o.near) || slices.Contains(h.places, o.Source)
}

// decided reports whether an operator said that o is of r's device.
func (r *record) decided(o *observation) bool {
	return slices.ContainsFunc(r.cluster.obs, func(k observation) bool {
		return slices.ContainsFunc(k.same, func(name string) bool { return o.goesBy(name) || slices.Contains(o.names(), name) })
	})
}

// home returns the addresses that the centre has for r and that it is heard from.
func (r *record) home() (out []netip.Addr) {
	for _, k := range r.cluster.obs {
		for _, a := range k.was {
			if slices.ContainsFunc(r.cluster.obs, func(o observation) bool { return o.Via != viaKnown && o.Source == a }) {
				out = append(out, a)
			}
		}
	}
	return out
}

// latest puts v behind the others of a short list, unless it is there.
func latest[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	list = append(list, v)
	return list[max(0, len(list)-maxAddresses):]
}

// stayed lets a device of the centre have another MAC where it was already:
// repeaters of wireless networks put their own in its place.
func (b *book) stayed() {
	for key, old := range b.memory {
		if len(old.near) == 0 {
			continue
		}
		h, news := old, false
		h.near = slices.Clone(old.near)
		for _, o := range b.obs {
			if o.near != "" && o.Via != viaKnown && slices.Contains(h.places, o.Source) && o.goesBy(key) && !slices.Contains(h.near, o.near) {
				h.near, news = latest(h.near, o.near), true
			}
		}
		if ts, ok := b.known[key]; ok && news {
			b.keep(key, old, h)
			o := knownObservation(key, ts)
			o.recall(h)
			b.obs[o.id()] = o
		}
	}
}

// prove finds the addresses of a device that may be somebody else's.
func (b *book) prove(r *record) {
	r.unproven = nil
	h, ok := b.memory[r.key]
	if !ok || len(h.near) == 0 {
		r.probed = nil
		return
	}
	for _, o := range r.cluster.obs {
		if o.Via == viaKnown || o.Via == viaDescribed || !o.Source.IsValid() || h.bears(&o, nil) || r.decided(&o) {
			continue
		}
		if r.unproven == nil {
			r.unproven = map[netip.Addr]time.Time{}
		}
		if at, ok := r.unproven[o.Source]; !ok || o.first.Before(at) {
			r.unproven[o.Source] = o.first
		}
	}
	maps.DeleteFunc(r.probed, func(a netip.Addr, _ time.Time) bool { _, ok := r.unproven[a]; return !ok })
}

// doubted reports whether an endpoint leads to an unproven address.
func (r *record) doubted(e fleet.Endpoint) bool {
	host, _, ok := hostPort(e.URL)
	return ok && r.alleged(host)
}

// alleged reports whether r's being at an address is not proven.
func (r *record) alleged(a netip.Addr) bool {
	_, ok := r.unproven[a]
	return ok
}

// proven returns d without its unproven addresses.
func (r *record) proven(d fleet.Device, now time.Time) (_ fleet.Device, reason string) {
	if len(r.unproven) == 0 {
		return d, ""
	}
	if i := slices.IndexFunc(d.Addresses, r.alleged); i >= 0 && now.Sub(r.unproven[d.Addresses[i]]) >= probeAgain && !slices.ContainsFunc(d.Addresses, func(a netip.Addr) bool { return !r.alleged(a) }) {
		reason = fmt.Sprintf("its name is heard from %s, where nothing shows that it is the same hardware, so no login is sent there: if it was moved behind a router, add it there with `cameras add`", d.Addresses[i])
	}
	d.Endpoints = slices.DeleteFunc(slices.Clone(d.Endpoints), r.doubted)
	d.Addresses = slices.DeleteFunc(slices.Clone(d.Addresses), r.alleged)
	return d, reason
}

// probe returns an unproven address to be asked without a login. No answer is
// needed: that the kernel looks for its MAC is.
func (r *record) probe(now time.Time) (fleet.Target, bool) {
	for _, a := range slices.SortedFunc(maps.Keys(r.unproven), netip.Addr.Compare) {
		if at, asked := r.probed[a]; asked && now.Sub(at) < probeAgain {
			continue
		}
		e := usualService(a)
		if i := slices.IndexFunc(r.device.Endpoints, func(e fleet.Endpoint) bool {
			host, _, ok := hostPort(e.URL)
			return ok && host == a && e.Protocol == fleet.ONVIF
		}); i >= 0 {
			e = r.device.Endpoints[i]
		}
		if r.probed == nil {
			r.probed = map[netip.Addr]time.Time{}
		}
		r.probed[a] = now
		// Not by the device's key: who answers slowly would hold its captures up.
		return fleet.Target{Device: string(fleet.ClaimHost) + ":" + a.String(), Endpoints: []fleet.Endpoint{e}}, true
	}
	return fleet.Target{}, false
}
