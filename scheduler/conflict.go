package scheduler

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// maxDisputes bounds what agents may make the centre remember of conflicts: a
// LAN that makes up more has another trouble.
const maxDisputes = 4096

// disputed names a device of a site.
type disputed struct {
	site   fleet.SiteID
	device string
}

func (k disputed) id() string { return string(k.site) + "\n" + k.device }

// dispute is a device's conflict, as an agent tells it, and what operators have
// decided about it. It is replaced, never changed.
type dispute struct {
	Site   fleet.SiteID                 `json:"site"`
	Device string                       `json:"device"`
	Agent  fleet.AgentID                `json:"agent"` // who told of it, and may take it back
	Since  fleet.Instant                `json:"since"` // 0 = no rival is left
	Self   fleet.Rival                  `json:"self"`
	Rivals []fleet.Rival                `json:"rivals"`
	Was    map[fleet.CameraID]enrolment `json:"was"` // cameras that it has quarantined
	Same   []Decision                   `json:"same"`
	Apart  []Decision                   `json:"apart"`
}

// enrolment is what a camera was before it was quarantined.
type enrolment struct {
	State   fleet.Enrollment `json:"state"`
	Enabled fleet.Instant    `json:"enabled"`
	Address netip.Addr       `json:"address"`
}

// Decision is an operator's word on whether a device is another one.
type Decision struct {
	Rival string        `json:"rival"` // the other device's key
	By    string        `json:"by"`
	At    fleet.Instant `json:"at"`
}

// ConflictView is a device whose evidence contradicts another's.
type ConflictView struct {
	Site    fleet.SiteID
	Device  string
	Since   fleet.Instant
	Reason  string
	Cameras []fleet.CameraID // of the device
	Self    fleet.Rival      // this side's evidence
	Rivals  []RivalView
}

// RivalView is the other side, with the cameras that are enrolled for it.
type RivalView struct {
	fleet.Rival
	Cameras []fleet.CameraID
}

// Resolution is an operator's decision on a conflict.
type Resolution struct {
	Same  bool   // the two are one device; else they are two
	Rival string // the rival's key; may be "" when there is one
	By    string // who decides
}

func (d *dispute) clone() *dispute {
	c := *d
	c.Rivals, c.Same, c.Apart, c.Was = slices.Clone(d.Rivals), slices.Clone(d.Same), slices.Clone(d.Apart), maps.Clone(d.Was)
	return &c
}

func (d *dispute) key() disputed { return disputed{d.Site, d.Device} }

func decidedOn(ds []Decision, rival string) bool {
	return slices.ContainsFunc(ds, func(d Decision) bool { return d.Rival == rival })
}

func rivalsOf(ds []Decision) (out []string) {
	for _, d := range ds {
		out = append(out, d.Rival)
	}
	return out
}

// restoreDisputes takes in what the store holds.
func (s *Scheduler) restoreDisputes(rows []store.Dispute) error {
	for _, row := range rows {
		d := &dispute{}
		if err := json.Unmarshal(row.Body, d); err != nil {
			return fmt.Errorf("stored conflict %q: %w", row.ID, err)
		}
		for i, r := range d.Rivals {
			d.Rivals[i] = clippedRival(r) // an older centre kept what older agents tell
		}
		s.disputes[d.key()] = d
	}
	return nil
}

// keepDispute makes d durable and visible with ch; one that says nothing any
// more is forgotten.
func (s *Scheduler) keepDispute(ch *change, d *dispute) error {
	k := d.key()
	if d.Since == 0 && len(d.Same)+len(d.Apart)+len(d.Was) == 0 {
		ch.Disputes = append(ch.Disputes, store.Dispute{ID: k.id()})
		ch.then(func() { delete(s.disputes, k) })
		return nil
	}
	body, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("conflict of %s: %w", d.Device, err)
	}
	ch.Disputes = append(ch.Disputes, store.Dispute{ID: k.id(), Body: body})
	ch.then(func() { s.disputes[k] = d })
	return nil
}

// winners returns, by key, the devices of a site that an operator decided
// others to be.
func (s *Scheduler) winners(site fleet.SiteID) map[string]string {
	var out map[string]string
	for k, d := range s.disputes {
		for _, v := range d.Same {
			if k.site == site && v.Rival != k.device {
				if out == nil {
					out = map[string]string{}
				}
				out[v.Rival] = k.device
			}
		}
	}
	return out
}

// strangers reports whether key must not be taken for other: an operator said
// so, or the device itself says that they are in conflict.
func (s *Scheduler) strangers(site fleet.SiteID, d *fleet.Device, other string) bool {
	if d.Conflict != nil && slices.ContainsFunc(d.Conflict.Rivals, func(r fleet.Rival) bool { return r.Key == other }) {
		return true
	}
	if p := s.disputes[disputed{site, other}]; p != nil && decidedOn(p.Apart, d.Key) {
		return true
	}
	p := s.disputes[disputed{site, d.Key}]
	return p != nil && decidedOn(p.Apart, other)
}

// isJunk reports whether the agent has learned that several devices have c.
func isJunk(d *fleet.Device, c fleet.Claim) bool {
	kind, value := evidenceOf(c)
	return slices.ContainsFunc(d.Evidence, func(e fleet.Evidence) bool { return e.Junk && e.Kind == kind && e.Value == value })
}

// disputeOf takes in what the agent says of the device's conflict, and returns
// it as it is then: nil when there is none, and none was before.
func (s *Scheduler) disputeOf(agent fleet.AgentID, site fleet.SiteID, key string, d *fleet.Device, now fleet.Instant) *dispute {
	old := s.disputes[disputed{site, key}]
	var rivals []fleet.Rival
	if d.State == fleet.DeviceConflict && d.Conflict != nil {
		for _, r := range d.Conflict.Rivals[:min(len(d.Conflict.Rivals), 16)] {
			// An agent may not have heard yet what was decided.
			if len(r.Key) <= 512 && !s.agreed(old, site, key, r.Key) {
				rivals = append(rivals, clippedRival(r))
			}
		}
	}
	switch {
	case old == nil && len(rivals) == 0:
		return nil
	case old == nil && len(s.disputes) >= maxDisputes:
		return nil
	case old != nil && len(rivals) == 0 && (old.Since == 0 || old.Agent != agent && s.approvedAgent(old.Agent)):
		return old.clone() // another agent of the site sees what this one does not
	}
	n := &dispute{Site: site, Device: key}
	if old != nil {
		n = old.clone()
	}
	n.Agent, n.Rivals = agent, rivals
	if n.Since = 0; len(rivals) > 0 {
		n.Since = now
		if old != nil && old.Since != 0 {
			n.Since = old.Since
		}
		n.Self = clippedRival(fleet.Rival{Key: key, Addresses: d.Addresses, Claims: d.Claims, Vendor: d.Vendor, Model: d.Model, LastSeen: d.LastSeen.Truncate(time.Hour), Evidence: d.Evidence})
	}
	return n
}

func (s *Scheduler) approvedAgent(id fleet.AgentID) bool {
	a := s.agents[id]
	return a != nil && a.State == fleet.Approved
}

// agreed reports whether it is decided how the two devices stand.
func (s *Scheduler) agreed(d *dispute, site fleet.SiteID, key, rival string) bool {
	if d != nil && (decidedOn(d.Apart, rival) || decidedOn(d.Same, rival)) {
		return true
	}
	o := s.disputes[disputed{site, rival}]
	return o != nil && (decidedOn(o.Apart, key) || decidedOn(o.Same, key))
}

func clippedRival(r fleet.Rival) fleet.Rival {
	r.Key, r.Vendor, r.Model = clip(r.Key, 512), clip(r.Vendor, maxName), clip(r.Model, maxName)
	r.Addresses, r.Claims, r.Evidence = r.Addresses[:min(len(r.Addresses), 16)], slices.Clone(r.Claims[:min(len(r.Claims), 32)]), slices.Clone(r.Evidence[:min(len(r.Evidence), 32)])
	for i := range r.Claims {
		r.Claims[i].Value = clip(r.Claims[i].Value, 256)
	}
	for i := range r.Evidence {
		r.Evidence[i].Value = clip(r.Evidence[i].Value, 256)
		if e := &r.Evidence[i]; e.Kind == string(fleet.ClaimScene) && !strings.Contains(e.Value, " ") {
			e.Value = "alike" // older agents tell the hash, which knows no mask
		}
	}
	return r
}

// quarantine says what becomes of one of the device's cameras: before is it as
// it was, c as the agent tells it now. old is the dispute before; both may be nil.
//
// An approved camera goes on while it is where it was and goes by the name it
// had: what contradicts is elsewhere then, and stopping it would let anybody on
// the LAN stop any camera by answering with its name.
func (p *dispute) quarantine(old *dispute, before, c *fleet.Camera, d *fleet.Device, now fleet.Instant) {
	if p == nil {
		return
	}
	if p.Since == 0 {
		was, ok := p.Was[c.ID]
		if !ok {
			return
		}
		if c.State != fleet.Quarantined {
			delete(p.Was, c.ID) // an operator enrolled it meanwhile
			return
		}
		// It is what it was only where it was: a move in the middle of a
		// contradiction is for an operator to judge.
		if was.State != fleet.Approved || !was.Address.IsValid() || slices.Contains(c.Addresses, was.Address) {
			*c = p.back(*c, now)
		}
		return
	}
	if c.State == fleet.Quarantined || c.State == fleet.Ignored || c.State == fleet.Retired || before.State == fleet.Approved && p.unmoved(old, before, d) {
		return
	}
	if p.Was == nil {
		p.Was = map[fleet.CameraID]enrolment{}
	}
	was := enrolment{State: c.State, Enabled: c.Enabled}
	if len(before.Addresses) > 0 {
		was.Address = before.Addresses[0]
	}
	p.Was[c.ID] = was
	c.State, c.Enabled = fleet.Quarantined, 0
}

// unmoved reports whether the device of a camera is where the camera was and
// the hardware it was, as far as that is known, and no rival is there.
func (p *dispute) unmoved(old *dispute, before *fleet.Camera, d *fleet.Device) bool {
	if before.Serial != "" && d.Serial != "" && before.Serial != d.Serial {
		return false
	}
	if old != nil && old.Since != 0 {
		was, is := macs(old.Self.Claims), macs(d.Claims)
		if len(was) > 0 && len(is) > 0 && !slices.ContainsFunc(is, func(m string) bool { return slices.Contains(was, m) }) {
			return false
		}
	}
	if len(before.Addresses) == 0 {
		return true // added by a host name: nobody else has it
	}
	at := before.Addresses[0]
	if slices.ContainsFunc(p.Rivals, func(r fleet.Rival) bool { return slices.Contains(r.Addresses, at) }) {
		return false
	}
	return len(d.Addresses) == 0 || slices.Contains(d.Addresses, at) // silent: known where it was
}

func macs(claims []fleet.Claim) (out []string) {
	for _, c := range claims {
		if c.Kind == fleet.ClaimMAC {
			out = append(out, c.Value)
		}
	}
	return out
}

// back makes a quarantined camera what it was.
func (p *dispute) back(c fleet.Camera, now fleet.Instant) fleet.Camera {
	was, ok := p.Was[c.ID]
	if !ok || c.State != fleet.Quarantined {
		return c
	}
	delete(p.Was, c.ID)
	c = enrolled(c, cmp.Or(was.State, fleet.Pending), now)
	return c
}

// differs reports whether a dispute is worth another row.
func (p *dispute) differs(old *dispute) bool {
	if old == nil || p == nil {
		return old != p
	}
	plain := func(d *dispute) []byte {
		c := d.clone()
		c.Agent, c.Self.LastSeen = "", time.Time{}
		for i := range c.Rivals {
			c.Rivals[i].LastSeen = time.Time{}
		}
		b, err := json.Marshal(c)
		if err != nil {
			return nil // it is data alone
		}
		return b
	}
	return !bytes.Equal(plain(p), plain(old))
}

// Conflicts lists the devices of a site ("" = all) whose evidence contradicts
// another's, by site and device.
func (s *Scheduler) Conflicts(_ context.Context, site fleet.SiteID) ([]ConflictView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []ConflictView{}
	for k, d := range s.disputes {
		if site == "" || k.site == site {
			if d.Since != 0 || len(d.Was) > 0 {
				out = append(out, s.conflictView(d))
			}
		}
	}
	slices.SortFunc(out, func(a, b ConflictView) int {
		return cmp.Or(cmp.Compare(a.Site, b.Site), cmp.Compare(a.Device, b.Device))
	})
	return out, nil
}

// Conflict returns the conflict of a camera's device; ErrNotFound when it has
// none.
func (s *Scheduler) Conflict(_ context.Context, id fleet.CameraID) (ConflictView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.camera(id)
	if c == nil {
		return ConflictView{}, fmt.Errorf("camera %s: %w", id, ErrNotFound)
	}
	d := s.disputes[disputed{c.Site, c.Device}]
	if d == nil || d.Since == 0 && len(d.Was) == 0 {
		return ConflictView{}, fmt.Errorf("conflict of camera %s: %w", id, ErrNotFound)
	}
	return s.conflictView(d), nil
}

func (s *Scheduler) conflictView(d *dispute) ConflictView {
	v := ConflictView{Site: d.Site, Device: d.Device, Since: d.Since, Self: d.Self, Cameras: s.camerasOf(d.Site, d.Device)}
	for _, id := range v.Cameras {
		v.Reason = cmp.Or(v.Reason, s.camera(id).Reason)
	}
	for _, r := range d.Rivals {
		v.Rivals = append(v.Rivals, RivalView{r, s.camerasOf(d.Site, r.Key)})
	}
	return v
}

func (s *Scheduler) camerasOf(site fleet.SiteID, device string) []fleet.CameraID {
	return slices.Sorted(maps.Values(s.sources(site, device)))
}

// decisions returns the devices' keys that are, and that are not, a device, and
// whether anything is disputed about it. A key that the device itself claims is
// left out: it is what both claim, and tells nobody from nobody.
func (s *Scheduler) decisions(site fleet.SiteID, device string) (same, apart []string, any bool) {
	d := s.disputes[disputed{site, device}]
	if d == nil {
		return nil, nil, false
	}
	return rivalsOf(d.Same), slices.DeleteFunc(rivalsOf(d.Apart), func(key string) bool {
		return slices.ContainsFunc(d.Self.Claims, func(c fleet.Claim) bool { return string(c.Kind)+":"+c.Value == key })
	}), true
}

// evidenceOf returns the claim as evidence names it.
func evidenceOf(c fleet.Claim) (kind, value string) {
	switch c.Kind {
	case fleet.ClaimEPR, fleet.ClaimUDN:
		return string(fleet.ClaimEPR), fleet.BareUUID(c.Value)
	}
	return string(c.Kind), c.Value
}
