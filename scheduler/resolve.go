package scheduler

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Resolve decides whether a camera's device and its rival are one. It outlives
// restarts, and the site's agents are told. Two that are different stay two,
// and go on as what they were. Of two that are the same the one with an
// approved camera stays, else the older one; the other's cameras are retired.
// It returns the camera that stays.
func (s *Scheduler) Resolve(ctx context.Context, id fleet.CameraID, r Resolution) (CameraView, error) {
	var ch change
	stays, err := s.resolve(ctx, &ch, id, r)
	if err != nil {
		return CameraView{}, err
	}
	for _, m := range ch.Masks { // that were inherited
		s.log.InfoContext(ctx, "privacy mask goes over to the camera that stays", "camera_id", m.Camera, "revision", m.Revision, "by", r.By)
		s.wipeThumbnail(ctx, m.Camera)
	}
	return s.Camera(ctx, stays)
}

// resolve is Resolve, and returns the camera that stays. What it did is in ch.
func (s *Scheduler) resolve(ctx context.Context, ch *change, id fleet.CameraID, r Resolution) (stays fleet.CameraID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return 0, err
	}
	c := s.camera(id)
	if c == nil {
		return 0, fmt.Errorf("camera %s: %w", id, ErrNotFound)
	}
	own := s.disputes[disputed{c.Site, c.Device}]
	if own == nil || own.Since == 0 && len(own.Was) == 0 {
		return 0, invalid("id", "camera %s is in no conflict: `cameras conflicts` lists those that are", id)
	}
	if r.Rival, err = rivalToResolve(own, r); err != nil {
		return 0, err
	}
	a := own.clone()
	b := &dispute{Site: c.Site, Device: r.Rival}
	if other := s.disputes[b.key()]; other != nil {
		b = other.clone()
	}
	if i := slices.IndexFunc(own.Rivals, func(v fleet.Rival) bool { return v.Key == r.Rival }); i >= 0 && b.Self.Key == "" {
		b.Self = own.Rivals[i]
	}
	stays = id
	if r.Same {
		if s.senior(b, a) {
			a, b = b, a
			if ids := s.camerasOf(a.Site, a.Device); len(ids) > 0 {
				stays = ids[0]
			}
		}
		if err := s.unite(ch, a, b, Decision{By: clip(r.By, maxName), At: now}, now); err != nil {
			return 0, err
		}
	} else if r.Rival != "" {
		a.Apart, b.Apart = append(a.Apart, Decision{r.Rival, clip(r.By, maxName), now}), append(b.Apart, Decision{a.Device, clip(r.By, maxName), now})
	}
	for _, d := range []*dispute{a, b} {
		rival := b.Device
		if d == b {
			rival = a.Device
		}
		if rival != "" {
			d.Rivals = slices.DeleteFunc(d.Rivals, func(v fleet.Rival) bool { return v.Key == rival })
		}
		if len(d.Rivals) > 0 {
			continue
		}
		d.Since = 0
		for _, id := range slices.Sorted(maps.Keys(d.Was)) {
			if c := s.camera(id); c != nil && c.State == fleet.Quarantined && !ch.put[id] {
				n := d.back(*c, now)
				n.DeviceState, n.Reason = "", "" // the agent says how it is now
				s.put(ch, n, now)
			}
		}
		d.Was = nil
	}
	for _, d := range []*dispute{a, b} {
		if d.Device != "" {
			if err := s.keepDispute(ch, d); err != nil {
				return 0, err
			}
		}
	}
	ch.then(func() { s.camerasChanged(c.Site) })
	ch.tell(Event{Kind: "camera", Camera: id, Site: c.Site})
	if err := s.apply(ctx, ch); err != nil {
		return 0, err
	}
	s.log.InfoContext(ctx, "conflict resolved", "camera_id", id, "site", c.Site, "device_id", a.Device, "rival", b.Device, "same", r.Same, "by", r.By)
	return stays, nil
}

// rivalToResolve returns the rival that is meant; "" when none is left and its
// camera only waits for an operator's word.
func rivalToResolve(d *dispute, r Resolution) (string, error) {
	keys := make([]string, len(d.Rivals))
	for i, v := range d.Rivals {
		keys[i] = v.Key
	}
	switch {
	case r.Rival != "" && !slices.Contains(keys, r.Rival):
		return "", invalid("rival", "%s is not in conflict with it: want one of %s", r.Rival, strings.Join(keys, ", "))
	case r.Rival == "" && len(keys) > 1:
		return "", invalid("rival", "there are several: name one of %s", strings.Join(keys, ", "))
	case r.Rival == "" && len(keys) == 1:
		return keys[0], nil
	case r.Rival == "" && r.Same:
		return "", invalid("rival", "none is left to be the same: decide `different` to let the camera go on")
	}
	return r.Rival, nil
}

// senior reports whether a's cameras go before b's.
func (s *Scheduler) senior(a, b *dispute) bool {
	rank := func(d *dispute) (approved bool, created fleet.Instant) {
		created = fleet.At(time.Unix(1<<40, 0))
		for _, id := range s.camerasOf(d.Site, d.Device) {
			c := s.camera(id)
			approved = approved || c.State == fleet.Approved || d.Was[id].State == fleet.Approved
			created = min(created, c.Created)
		}
		return approved, created
	}
	x, since := rank(a)
	y, before := rank(b)
	if x != y {
		return x
	}
	return since < before
}

// unite makes b's device a's: its cameras are retired, and what was decided
// about it holds for a, and what was hidden of it.
func (s *Scheduler) unite(ch *change, a, b *dispute, d Decision, now fleet.Instant) error {
	if err := s.inherit(ch, a, b, d.By, now); err != nil {
		return err
	}
	for _, old := range b.Same {
		if !decidedOn(a.Same, old.Rival) && old.Rival != a.Device {
			a.Same = append(a.Same, old)
		}
	}
	d.Rival = b.Device
	a.Same = append(a.Same, d)
	a.Apart = slices.DeleteFunc(a.Apart, func(v Decision) bool { return v.Rival == b.Device })
	for _, old := range b.Apart {
		if old.Rival != a.Device && !decidedOn(a.Apart, old.Rival) {
			a.Apart = append(a.Apart, old)
		}
	}
	for _, id := range s.camerasOf(b.Site, b.Device) {
		if c := s.camera(id); c.State != fleet.Retired {
			s.put(ch, enrolled(*c, fleet.Retired, now), now)
		}
	}
	b.Same, b.Apart, b.Was, b.Rivals = nil, nil, nil, nil
	return nil
}
