package admintest

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// Contradict puts a camera's device in conflict with rivals.
func (f *Fleet) Contradict(id fleet.CameraID, rivals ...fleet.Rival) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.ByID[id]
	v.State, v.Status, v.DeviceState, v.Reason = fleet.Quarantined, scheduler.StatusQuarantined, fleet.DeviceConflict, "two answer as one"
	f.ByID[id] = v
	c := scheduler.ConflictView{
		Site: v.Site, Device: v.Device, Since: Epoch, Reason: v.Reason, Cameras: []fleet.CameraID{id},
		Self: fleet.Rival{Key: v.Device, Addresses: v.Addresses, Vendor: v.Vendor, Model: v.Model, LastSeen: Epoch.Time()},
	}
	for _, r := range rivals {
		c.Rivals = append(c.Rivals, scheduler.RivalView{Rival: r})
	}
	f.Disputed = append(f.Disputed, c)
}

// Conflicts lists those of a site.
func (f *Fleet) Conflicts(_ context.Context, site fleet.SiteID) (out []scheduler.ConflictView, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.Disputed {
		if site == "" || c.Site == site {
			out = append(out, c)
		}
	}
	return out, f.Fails
}

// Conflict returns a camera's.
func (f *Fleet) Conflict(_ context.Context, id fleet.CameraID) (scheduler.ConflictView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.Disputed {
		if slices.Contains(c.Cameras, id) {
			return c, f.Fails
		}
	}
	return scheduler.ConflictView{}, fmt.Errorf("conflict of camera %s: %w", id, scheduler.ErrNotFound)
}

// Resolve ends a camera's conflict and remembers how.
func (f *Fleet) Resolve(ctx context.Context, id fleet.CameraID, r scheduler.Resolution) (scheduler.CameraView, error) {
	c, err := f.Conflict(ctx, id)
	if err != nil {
		return scheduler.CameraView{}, err
	}
	if r.Rival == "" && len(c.Rivals) > 1 {
		return scheduler.CameraView{}, &scheduler.InvalidError{Field: "rival", Problem: "there are several: name one"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(c.Rivals) > 0 {
		r.Rival = cmp.Or(r.Rival, c.Rivals[0].Key)
	}
	f.Resolved = append(f.Resolved, r)
	f.Disputed = slices.DeleteFunc(f.Disputed, func(c scheduler.ConflictView) bool { return slices.Contains(c.Cameras, id) })
	v := f.ByID[id]
	v.State, v.Status, v.DeviceState, v.Reason = fleet.Approved, scheduler.StatusIdle, fleet.DeviceOK, ""
	f.ByID[id] = v
	return v, nil
}
