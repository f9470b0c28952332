package scheduler

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

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

// allows says whether what was taken of the camera at some moment of from..to,
// with that much of it hidden, may be kept: whichever moment it was, it was hidden
// what had to be. A mask that was set later is as good, for an agent cannot have
// had it sooner: its clock is slow. m may be nil, of a camera that never had a
// mask.
func (m *mask) allows(from, to fleet.Instant, hidden fleet.MaskSum) bool {
	if m == nil {
		return true
	}
	c := store.MaskChange{Revision: m.Revision, Sum: m.sum, At: m.At}
	for i := len(m.Before); ; i-- {
		switch {
		case hidden != 0 && hidden == c.Sum:
			return true
		case c.At > to:
		case c.Sum != 0:
			return false
		case c.At <= from:
			return true
		}
		if i == 0 {
			return c.Revision == 1 || c.Sum == 0
		}
		c = m.Before[i-1]
	}
}

// anyClock is the bound at which an agent's clock is not known at all: it says no
// larger one, however wrong the clock is.
const anyClock = 24 * time.Hour

// hides says whether all is hidden of a picture that was to be, as far as the
// clock of its agent tells. s.mu is held.
func (s *Scheduler) hides(c *fleet.Capture) bool {
	if c.Outcome != fleet.Captured {
		return true
	}
	from, to := c.At.Add(-c.Bound), c.At.Add(c.Bound)
	if from > c.At {
		from = math.MinInt64
	}
	if to < c.At || c.Bound >= anyClock {
		to = math.MaxInt64
	}
	return s.masks[c.Camera].allows(from, to, c.Reading.Fingerprint.Mask)
}

// withhold makes of a picture that shows what is hidden the failure to take it:
// its hashes and scores are not kept. Whose picture it is stays.
func (s *Scheduler) withhold(ctx context.Context, a *agent, c *fleet.Capture) {
	detail := "the agent took the picture without the camera's privacy mask of that time, which it had not got: nothing of it is kept"
	if !a.Able.Masks {
		detail = "the agent's build knows no privacy masks, and it took the picture without the camera's: nothing of it is kept; update the agent"
	}
	if c.Bound > time.Minute {
		detail += fmt.Sprintf(". Its clock may be wrong by %v", c.Bound.Round(time.Second))
	}
	s.log.WarnContext(ctx, "picture without the camera's privacy mask dropped", "agent_id", a.ID, "camera_id", c.Camera, "at", c.At, "bound", c.Bound)
	c.Outcome, c.Cause, c.Detail, c.Reading = fleet.Failed, fleet.CauseMask, detail, fleet.Reading{}
}
