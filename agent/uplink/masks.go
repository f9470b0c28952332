package uplink

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// errListLost ends a link on which the list of cameras was lost: it comes first
// on the next one, and orders that were not acknowledged behind it.
var errListLost = errors.New("orders ask for privacy masks that the list of cameras did not bring: the list is asked for again")

// relistAfter is how long an agent does without masks before it asks for the
// list once more: a centre that has lost them itself is not knocked at all day.
const relistAfter = time.Minute

// need notes the masks that orders ask for, and asks for those that are missing
// by ending the link.
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
	missing := l.u.store.NeededMasks()
	if len(missing) == 0 {
		return nil
	}
	if l.u.mayRelist(time.Now()) {
		return errListLost
	}
	for id, revision := range missing {
		l.u.log.WarnContext(ctx, "a camera's privacy mask is missing, nothing of the camera is captured", "camera_id", id, "revision", revision)
	}
	return nil
}

// mayRelist says whether the list may be asked for again, and notes that it is.
func (u *Uplink) mayRelist(now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.listed.IsZero() && now.Sub(u.listed) < relistAfter {
		return false
	}
	u.listed = now
	return true
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
