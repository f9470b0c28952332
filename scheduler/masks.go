package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// mask is what must not be seen of a camera, or was taken off it.
//
//	SetMask ──durable──► list of cameras ──stored──► every agent of the site holds it
//	   └─ thumbnails under another mask are shown no more
type mask struct {
	store.Mask
	sum   fleet.MaskSum
	bytes int    // of its JSON
	told  uint64 // lists of cameras under higher nonces have it
}

const (
	// maskWait is how long SetMask waits for the agents: one that is well needs
	// a commit of its disk, and one that is not is told of in the answer.
	maskWait = 10 * time.Second

	// maxSiteMasks bounds the masks of a site, bytes of JSON: they travel in its
	// list of cameras, of which an agent takes 16 MB.
	maxSiteMasks = 8 << 20
)

// SetMask says what must not be seen of a camera, or with an empty mask that
// all may be. It is durable when SetMask returns, and every agent that is
// connected has been told; MaskView.Agents says which of them have it on their
// disks by then, or after 10 s. Setting what is set changes nothing.
func (s *Scheduler) SetMask(ctx context.Context, n NewMask) (MaskView, error) {
	if err := n.Mask.Check(); err != nil {
		return MaskView{}, invalid("mask", "%v", err)
	}
	text, err := json.Marshal(n.Mask)
	if err != nil {
		return MaskView{}, invalid("mask", "%v", err)
	}
	if len(text) > fleet.MaxMaskBytes {
		return MaskView{}, invalid("mask", "its JSON has %d bytes, and %d are allowed: use fewer points", len(text), fleet.MaxMaskBytes)
	}
	if err := s.setMask(ctx, n, len(text)); err != nil {
		return MaskView{}, err
	}
	s.wipeThumbnail(ctx, n.Camera)
	wait, cancel := context.WithTimeout(ctx, maskWait)
	defer cancel()
	for {
		view, told, err := s.mask(n.Camera)
		if err != nil || told == nil {
			return view, err
		}
		select {
		case <-told:
		case <-wait.Done():
			return view, nil
		}
	}
}

// wipeThumbnail takes a thumbnail that is not under the camera's mask out of the
// store. mu is not held.
func (s *Scheduler) wipeThumbnail(ctx context.Context, id fleet.CameraID) {
	s.showing.Lock()
	defer s.showing.Unlock()
	s.mu.Lock()
	sum := s.maskSum(id)
	s.mu.Unlock()
	if err := s.store.DropThumbnail(context.WithoutCancel(ctx), id, sum); err != nil {
		// It is not shown any more: Thumbnail compares.
		s.log.WarnContext(ctx, "the thumbnail under the mask of before stays in the store until the next one, or a restart", "camera_id", id, "err", err)
	}
}

func (s *Scheduler) setMask(ctx context.Context, n NewMask, size int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return err
	}
	k := s.cams.byID[n.Camera]
	if k == 0 {
		return fmt.Errorf("camera %s: %w", n.Camera, ErrNotFound)
	}
	old, revision := s.masks[n.Camera], uint64(0)
	if old != nil {
		revision = old.Revision
	}
	switch {
	case n.IfRevision != nil && *n.IfRevision != revision:
		return fmt.Errorf("mask of camera %s: %w", n.Camera, ErrConflict)
	case old == nil && n.Mask.Empty() || old != nil && old.sum == n.Mask.Sum():
		return nil
	}
	at := s.siteAt(k)
	together := size
	for id, m := range s.masks {
		if id != n.Camera && s.siteAt(s.cams.byID[id]) == at {
			together += m.bytes
		}
	}
	if together > maxSiteMasks {
		return invalid("mask", "the masks of site %s would have %d bytes together, and %d are allowed: use fewer points", at.ID, together, maxSiteMasks)
	}
	var ch change
	undo := s.remask(&ch, k, n.Mask, size, n.By, now)
	s.put(&ch, s.cams.get(k), now)
	if err := s.apply(ctx, &ch); err != nil {
		undo()
		return err
	}
	return nil
}

// remask gives the camera in slot k another mask with ch. Undo is for when ch
// came to nothing. s.mu is held.
func (s *Scheduler) remask(ch *change, k uint32, shapes *fleet.Mask, size int, by string, now fleet.Instant) (undo func()) {
	slot := s.cams.slots.at(k)
	at, before := s.siteAt(k), slot.masked
	m := &mask{Mask: store.Mask{Camera: slot.id, Revision: 1, By: by, At: now}, sum: shapes.Sum(), bytes: size}
	if !shapes.Empty() {
		m.Shapes = shapes
	}
	if old := s.masks[slot.id]; old != nil {
		m.Revision, m.Before = old.Revision+1, old.changes()
	}
	ch.Masks = append(ch.Masks, m.Mask)
	ch.then(func() {
		m.told = s.nonce
		s.cams.slots.at(k).masked = m.sum != 0
		s.masks[m.Camera] = m
		s.camerasChanged(at.ID)
		at.changed() // who takes the camera, and under which mask
	})
	ch.tell(Event{Kind: "thumbnail", Camera: slot.id, Site: at.ID})
	slot.masked = m.sum != 0 // pick looks there
	if slot.masked {
		for _, a := range at.agents {
			if !a.Able.Masks {
				s.takeAway(ch, a, now, func(f *flight) bool { return f.camera == k })
			}
		}
	}
	return func() { s.cams.slots.at(k).masked = before }
}

// takeAway gives those of an agent's orders to others that it must not fulfil.
// What it may have done already, and nobody else can do any more, stays its own:
// a picture from before the mask is as good as ever, and hides tells it.
func (s *Scheduler) takeAway(ch *change, a *agent, now fleet.Instant, of func(*flight) bool) {
	open := func(f *flight) bool {
		if a.link == nil {
			return f.nominal+fleet.Instant(f.start) > now && of(f)
		}
		return f.nominal+fleet.Instant(f.deadline) > now && of(f)
	}
	for _, n := range s.listed(&a.held, open) {
		m := move{flight: n, recall: true, paused: s.slots.at(n).paused}
		if to := s.pick(s.targetOf(s.slots.at(n).camera), a); to != nil {
			m.to = to.index
		}
		ch.move = append(ch.move, m)
	}
}

// Mask returns a camera's mask, and which agents have it. Of a camera that never
// had one the revision is 0.
func (s *Scheduler) Mask(_ context.Context, id fleet.CameraID) (MaskView, error) {
	v, _, err := s.mask(id)
	return v, err
}

// mask is Mask, and tells when it may be another: nil when no agent is about to
// take the mask.
func (s *Scheduler) mask(id fleet.CameraID) (v MaskView, told <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.cams.byID[id]
	if k == 0 {
		return v, nil, fmt.Errorf("camera %s: %w", id, ErrNotFound)
	}
	v = MaskView{Camera: id}
	m := s.masks[id]
	if m == nil {
		return v, nil, nil
	}
	v.Revision, v.Sum, v.By, v.At = m.Revision, m.sum, m.By, m.At
	if m.Shapes != nil {
		v.Mask = *m.Shapes
	}
	pending := false
	for _, a := range s.siteAt(k).agents {
		h := MaskHolder{Agent: a.ID}
		switch {
		case !a.Able.Masks && (a.link != nil || a.Standing):
			h.State = MaskOutdated
		case a.link == nil:
			h.State = MaskAway
		case a.link.listed > m.told:
			h.State = MaskHeld
		default:
			h.State = MaskPending
			pending = true
		}
		v.Agents = append(v.Agents, h)
	}
	slices.SortFunc(v.Agents, func(a, b MaskHolder) int { return cmp.Compare(a.Agent, b.Agent) })
	if !pending {
		return v, nil, nil
	}
	if s.lists == nil {
		s.lists = make(chan struct{})
	}
	return v, s.lists, nil
}

// listTaken tells who waits that an agent has taken its list of cameras, or
// left. s.mu is held.
func (s *Scheduler) listTaken() {
	if s.lists != nil {
		close(s.lists)
		s.lists = nil
	}
}

// maskSum names what is hidden of a camera now. s.mu is held.
func (s *Scheduler) maskSum(id fleet.CameraID) fleet.MaskSum {
	if m := s.masks[id]; m != nil {
		return m.sum
	}
	return 0
}

// maskFor is the mask as agents get it. s.mu is held.
func (s *Scheduler) maskFor(id fleet.CameraID) fleet.CameraMask {
	if m := s.masks[id]; m != nil && m.Shapes != nil {
		return fleet.CameraMask{Revision: m.Revision, Mask: *m.Shapes}
	}
	return fleet.CameraMask{}
}

// briefOf is the mask as it is told beside a camera; nil when there is none.
// s.mu is held.
func (s *Scheduler) briefOf(id fleet.CameraID) *MaskBrief {
	m := s.masks[id]
	if m == nil || m.Shapes == nil {
		return nil
	}
	return &MaskBrief{Revision: m.Revision, Shapes: m.Shapes.Shapes(), Since: m.At, Sum: m.sum}
}

// besideMask says whether the camera may be a masked one under another name: it
// has no mask, and another source has one of its device, or of a device that is
// decided to be the same. Firmware renames sources, and a device that does not
// describe itself for once has a nameless one. s.mu is held.
func (s *Scheduler) besideMask(c *fleet.Camera) bool {
	if len(s.masks) == 0 || s.maskSum(c.ID) != 0 {
		return false
	}
	same, _, _ := s.decisions(c.Site, c.Device)
	for _, device := range append(same, c.Device) {
		for _, id := range s.sources(c.Site, device) {
			if s.maskSum(id) != 0 {
				return true
			}
		}
	}
	return false
}

// restoreMasks takes in what the store holds, and wipes the thumbnails that a
// power cut has left from before a mask.
func (s *Scheduler) restoreMasks(ctx context.Context, masks []store.Mask) error {
	for _, v := range masks {
		k := s.cams.byID[v.Camera]
		if k == 0 {
			return fmt.Errorf("mask of camera %s, which the store does not hold", v.Camera)
		}
		text, err := json.Marshal(v.Shapes)
		if err != nil {
			return fmt.Errorf("mask of camera %s: %w", v.Camera, err)
		}
		m := &mask{Mask: v, sum: v.Shapes.Sum(), bytes: len(text)}
		s.masks[v.Camera] = m
		s.cams.slots.at(k).masked = m.sum != 0
	}
	for _, id := range s.store.Outdated(s.maskSum) {
		s.wipeThumbnail(ctx, id)
	}
	return nil
}

// masksOf lists which masks an agent needs for orders.
func (s *Scheduler) masksOf(orders []fleet.Order) (out []MaskNeeded) {
	if len(s.masks) == 0 {
		return nil
	}
	for _, o := range orders {
		if m := s.maskFor(o.Camera); m.Revision != 0 {
			out = append(out, MaskNeeded{o.Camera, m.Revision})
		}
	}
	slices.SortFunc(out, func(a, b MaskNeeded) int { return cmp.Compare(a.Camera, b.Camera) })
	return slices.Compact(out)
}
