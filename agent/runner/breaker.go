package runner

import (
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// tidy forgets an entry that says nothing. Callers hold mu.
func (r *Runner) tidy(id fleet.CameraID, c *camera) {
	if c.users == 0 && c.failures == 0 && !c.proven {
		delete(r.cameras, id)
	}
}

// breaker reports whether the camera is to be left alone, and for how long
// yet. When its time is over, one order passes as the trial, and the others
// are still turned away until that one has its outcome. Callers hold mu.
func (r *Runner) breaker(c *camera) (wait time.Duration, open, trial bool) {
	if c.until.IsZero() {
		return 0, false, false
	}
	if wait = time.Until(c.until); wait > 0 || c.trial {
		return max(0, wait), true, false
	}
	c.trial = true
	return 0, false, true
}

// learn enters an outcome into the camera's breaker. Callers hold mu.
func (r *Runner) learn(id fleet.CameraID, c *camera, out fleet.Capture, trial bool) {
	if trial {
		c.trial = false
	}
	if out.Outcome == fleet.Captured || !countsAgainst(out.Cause) {
		if !c.until.IsZero() {
			r.opts.Log.Info("camera is well again", "camera_id", id)
		}
		c.failures, c.until, c.open = 0, time.Time{}, 0
		c.proven = c.proven || out.Outcome == fleet.Captured
		return
	}
	c.failures++
	if !trial && c.failures < r.opts.Failures {
		return
	}
	first := c.open == 0
	c.open = min(r.opts.MaxOpen, max(r.opts.Open, 2*c.open))
	// Half of the time is drawn, so that cameras which failed together, behind
	// one switch, do not come back together.
	c.until = time.Now().Add(c.open/2 + time.Duration(r.opts.Rand(int64(c.open/2)+1)))
	if first {
		r.opts.Log.Warn("camera keeps failing, it is left alone for a while", "camera_id", id, "failures", c.failures, "cause", out.Cause, "err", out.Detail)
	}
}

// kind returns the slot that a camera needs.
func (c *camera) kind() slot {
	switch {
	case c.failures > 0:
		return suspect
	case !c.proven:
		return unproven
	}
	return common
}
