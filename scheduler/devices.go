package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Inventory takes in what an agent knows of its LAN. New devices become pending
// cameras, or approved ones where a rule says so; known ones are updated. A
// device that is no longer reported stays as it is.
func (s *Scheduler) Inventory(ctx context.Context, agent fleet.AgentID, devices []fleet.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[agent]
	if a == nil || a.State != fleet.Approved {
		return fmt.Errorf("agent %s: %w", agent, ErrUnauthorized)
	}
	now, err := s.tick(ctx)
	if err != nil {
		return err
	}
	count := a.site.cameras
	var ch change
	told := map[string]bool{}
	winners := s.winners(a.Site)
	for i := range devices {
		if told[devices[i].Key] {
			continue // it said so already
		}
		told[devices[i].Key] = true
		d := &devices[i]
		key := d.Key
		if one := winners[key]; one != "" {
			if slices.ContainsFunc(devices, func(d fleet.Device) bool { return d.Key == one }) {
				continue // it is that one, which is told as well
			}
			key = one
		}
		if err := s.takeDevice(&ch, a, key, d, now, &count); err != nil {
			return err
		}
	}
	if count >= maxSiteCameras && now.Sub(a.site.toldFull) >= time.Hour {
		a.site.toldFull = now
		s.log.WarnContext(ctx, "the site has as many cameras as it may: what its agents find beyond them is left out", "site", a.Site, "cameras", count)
	}
	return s.apply(ctx, &ch)
}

func (s *Scheduler) takeDevice(ch *change, a *agent, key string, d *fleet.Device, now fleet.Instant, count *int) error {
	if d.Key == "" || len(d.Key) > 512 {
		return nil
	}
	site := a.Site
	known := s.sources(site, key)
	if known == nil {
		// Another agent of the site may know it by other evidence.
		for _, c := range d.Claims {
			if !slices.Contains([]fleet.ClaimKind{fleet.ClaimEPR, fleet.ClaimUDN, fleet.ClaimMAC}, c.Kind) || isJunk(d, c) {
				continue
			}
			if k := s.deviceOf(site, c); k != "" && !s.strangers(site, d, k) {
				key = k
				known = s.sources(site, key)
				break
			}
		}
	}
	old := s.disputes[disputed{site, key}]
	if old == nil && d.State == fleet.DeviceConflict && len(s.disputes) >= maxDisputes {
		return nil // it cannot be quarantined, so it is not followed either
	}
	dispute := s.disputeOf(a.ID, site, key, d, now)
	sources := d.Sources
	if len(sources) == 0 {
		sources = []fleet.Source{{}}
	}
	for i, src := range sources[:min(len(sources), 256)] {
		if slices.ContainsFunc(sources[:i], func(v fleet.Source) bool { return v.Token == src.Token }) {
			continue
		}
		id, ok := known[src.Token]
		if !ok && i == 0 && len(known) == 1 {
			// It was enrolled before it could be described: the nameless
			// source is the first of those it turned out to have.
			id, ok = known[""]
		}
		var c fleet.Camera
		switch {
		case ok:
			c = *s.camera(id)
		case *count >= maxSiteCameras:
			continue
		default:
			c = fleet.Camera{ID: newCameraID(), Site: site, State: fleet.Pending, Device: key, Created: now}
			*count++
		}
		before := c
		describe(&c, d, src, len(sources) > 1)
		if !ok {
			s.mention(ch, site)
			if s.ruled(&c) {
				c = enrolled(c, fleet.Approved, now)
			}
		}
		dispute.quarantine(old, &before, &c, d, now)
		if ok && c.State == before.State && same(&before, &c) {
			continue
		}
		s.put(ch, c, now)
	}
	if dispute.differs(old) {
		if err := s.keepDispute(ch, dispute); err != nil {
			return err
		}
		ch.then(func() { s.camerasChanged(site) })
	} else if dispute != nil {
		ch.then(func() { s.disputes[dispute.key()] = dispute }) // only when it was heard is new
	}
	for _, c := range d.Claims {
		if len(c.Value) <= 256 && d.Conflict == nil && !isJunk(d, c) {
			ch.claims = append(ch.claims, claimed{site, key, c})
		}
	}
	return nil
}

// describe writes what was found out about the device into its camera. What a
// person set (name, labels) stays.
func describe(c *fleet.Camera, d *fleet.Device, src fleet.Source, many bool) {
	c.Source = clip(src.Token, 128)
	c.DeviceState, c.Reason = d.State, clip(d.Reason, 400)
	c.Vendor, c.Model, c.Firmware, c.Serial = clip(cmp.Or(d.Vendor, c.Vendor), maxName), clip(cmp.Or(d.Model, c.Model), maxName), clip(cmp.Or(d.Firmware, c.Firmware), maxName), clip(cmp.Or(d.Serial, c.Serial), maxName)
	if c.Name == "" || c.Name == hostOf(endpointURL(c)) {
		name := cmp.Or(d.Name, d.Model, d.Vendor, "camera")
		if many && src.Name != "" {
			name += " " + src.Name
		}
		c.Name = clip(name, maxName)
	}
	if len(d.Addresses) > 0 {
		c.Addresses = d.Addresses[:min(len(d.Addresses), 16)]
	}
	for _, v := range d.Via {
		if !slices.Contains(c.Via, v) {
			c.Via = append(slices.Clone(c.Via), v)
			slices.Sort(c.Via)
		}
	}
	var es []fleet.Endpoint
	add := func(e fleet.Endpoint) {
		if len(es) < 32 && len(e.URL) <= 2048 && !slices.Contains(es, e) {
			es = append(es, e)
		}
	}
	described := false
	for _, p := range src.Profiles {
		for _, e := range p.Endpoints {
			described = true
			add(e)
		}
	}
	for _, e := range d.Endpoints {
		// A device's plain addresses belong to all of its sources: once it is
		// described, the sources' own are right and those may be another's.
		if !described || e.Protocol == fleet.ONVIF {
			add(e)
		}
	}
	if len(es) > 0 {
		c.Endpoints = es
	}
}

func endpointURL(c *fleet.Camera) string {
	if len(c.Endpoints) == 0 {
		return ""
	}
	return c.Endpoints[0].URL
}

// same reports whether two versions of a camera need not be told apart.
func same(a, b *fleet.Camera) bool {
	return a.Source == b.Source && a.Name == b.Name && a.DeviceState == b.DeviceState && a.Reason == b.Reason &&
		a.Vendor == b.Vendor && a.Model == b.Model && a.Firmware == b.Firmware && a.Serial == b.Serial &&
		slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Via, b.Via) && slices.Equal(a.Endpoints, b.Endpoints)
}
