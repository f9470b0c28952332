package scheduler

import (
	"context"
	"math"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// What comes from an agent is held against the mask of the moment at which it
// was taken, not of the one at which it comes: an agent that knows no masks, or
// was away when one was set, delivers hours and days later.
//
//	set A ──────────── set B ──────── clear ─────► time
//	      A or nothing        B alone        all
//	      of it is kept       is kept

// maxMaskChanges bounds how many older masks of a camera are remembered. What
// was taken before the first of them is held against that.
const maxMaskChanges = 64

// changes lists what was hidden of the camera until now and is, oldest first.
func (m *mask) changes() []store.MaskChange {
	all := append(slices.Clone(m.Before), store.MaskChange{Revision: m.Revision, Sum: m.sum, By: m.By, At: m.At})
	return all[max(0, len(all)-maxMaskChanges):]
}

// allows says whether what was taken of the camera, no later than at, and with
// that much of it hidden may be kept: it was hidden what had to be at the time. A
// mask that was set later is as good, for an agent cannot have had it sooner: its
// clock is slow. m may be nil, of a camera that never had a mask.
func (m *mask) allows(at fleet.Instant, hidden fleet.MaskSum) bool {
	if m == nil || hidden != 0 && hidden == m.sum {
		return true
	}
	if m.At <= at {
		return m.sum == 0
	}
	for _, c := range slices.Backward(m.Before) {
		switch {
		case hidden != 0 && hidden == c.Sum:
			return true
		case c.At <= at:
			return c.Sum == 0
		}
	}
	first := store.MaskChange{Revision: m.Revision, Sum: m.sum}
	if len(m.Before) > 0 {
		first = m.Before[0]
	}
	return first.Revision == 1 || first.Sum == 0
}

// hides says whether all is hidden of a picture that was to be, as far as the
// clock of its agent tells. s.mu is held.
func (s *Scheduler) hides(c *fleet.Capture) bool {
	at := c.At.Add(c.Bound)
	if at < c.At {
		at = math.MaxInt64
	}
	return c.Outcome != fleet.Captured || s.masks[c.Camera].allows(at, c.Reading.Fingerprint.Mask)
}

// withhold makes of a picture that shows what is hidden the failure to take it:
// its hashes and scores are not kept. Whose picture it is stays.
func (s *Scheduler) withhold(ctx context.Context, a *agent, c *fleet.Capture) {
	detail := "the agent took the picture without the camera's privacy mask of that time, which it had not got: nothing of it is kept"
	if !a.Able.Masks {
		detail = "the agent's build knows no privacy masks, and it took the picture without the camera's: nothing of it is kept; update the agent"
	}
	s.log.WarnContext(ctx, "picture without the camera's privacy mask dropped", "agent_id", a.ID, "camera_id", c.Camera, "at", c.At)
	c.Outcome, c.Cause, c.Detail, c.Reading = fleet.Failed, fleet.CauseMask, detail, fleet.Reading{}
}
