package admintest

import (
	"context"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// SetMask keeps a mask, which agent-1 has at once.
func (f *Fleet) SetMask(_ context.Context, n scheduler.NewMask) (scheduler.MaskView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.ByID[n.Camera]
	v := f.Masks[n.Camera]
	switch {
	case !ok:
		return v, scheduler.ErrNotFound
	case n.IfRevision != nil && *n.IfRevision != v.Revision:
		return v, scheduler.ErrConflict
	case v.Sum == n.Mask.Sum():
		return f.mask(n.Camera), nil
	}
	v = scheduler.MaskView{Camera: n.Camera, Revision: v.Revision + 1, Sum: n.Mask.Sum(), By: n.By, At: Epoch, Agents: []scheduler.MaskHolder{{Agent: "agent-1", State: scheduler.MaskHeld}}}
	c.Mask = nil
	if !n.Mask.Empty() {
		v.Mask = *n.Mask
		c.Mask = &scheduler.MaskBrief{Revision: v.Revision, Shapes: v.Shapes(), Since: v.At, Sum: v.Sum}
	}
	c.Version++
	c.LastFrame = 0
	f.ByID[n.Camera], f.Masks[n.Camera] = c, v
	return v, nil
}

// Mask returns what SetMask kept.
func (f *Fleet) Mask(_ context.Context, id fleet.CameraID) (scheduler.MaskView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.ByID[id]; !ok {
		return scheduler.MaskView{}, scheduler.ErrNotFound
	}
	return f.mask(id), f.Fails
}

func (f *Fleet) mask(id fleet.CameraID) scheduler.MaskView {
	v := f.Masks[id]
	v.Camera = id
	return v
}
