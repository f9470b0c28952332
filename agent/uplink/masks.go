package uplink

import (
	"context"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// list takes the list of cameras. When it returns, thumbnails under older masks
// are forgotten, and none of them is on its way behind the acknowledgement.
func (l *link) list(ctx context.Context, c Cameras, nonce, fence uint64) error {
	l.showing.Lock()
	err := l.u.store.SetCameras(ctx, c, nonce, fence)
	l.showing.Unlock()
	// Memory leads: a list that the disk refused counts all the same.
	if last, _ := l.u.store.Last(); err == nil || last >= nonce {
		l.u.thumbs.drop(l.u.fits)
		l.hasList.Do(func() { close(l.listed) })
		for _, t := range c.Put {
			if t.Mask.Unread() {
				l.u.log.ErrorContext(ctx, "a camera's privacy mask cannot be read, nothing of the camera is captured: update this agent", "camera_id", t.Camera, "revision", t.Mask.Revision)
			}
		}
	}
	return err
}

// need notes the masks that orders ask for.
func (l *link) need(ctx context.Context, masks []*wire.MaskNeeded) error {
	if len(masks) == 0 {
		return nil
	}
	revisions := make(map[fleet.CameraID]uint64, len(masks))
	for _, m := range masks {
		revisions[fleet.CameraID(m.GetCamera())] = m.GetRevision()
	}
	if err := l.u.store.NeedMasks(revisions); err != nil {
		return fmt.Errorf("orders of masked cameras: %w", err)
	}
	for id := range revisions {
		if _, err := l.u.store.Mask(id); err != nil {
			l.u.log.WarnContext(ctx, "a camera's privacy mask is missing, nothing of the camera is captured", "camera_id", id, "err", err)
		}
	}
	return nil
}

// mask reads a camera's mask. One that cannot be read keeps its revision, and
// has no shapes: a mask of a newer centre, or a damaged one.
func mask(m *wire.CameraMask) (c fleet.CameraMask) {
	if m == nil {
		return c
	}
	c.Revision = max(m.GetRevision(), 1)
	if shapes, err := fleet.ParseMask(m.GetShapes()); err == nil {
		c.Mask = *shapes
	}
	return c
}
