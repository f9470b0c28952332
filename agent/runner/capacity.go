package runner

import "time"

// capacity measures how many captures per second a box can do. Only time in
// which all slots were taken and someone waited counts: a box with little to do
// does not show what it can.
type capacity struct {
	turnover  int     // releases that make one measurement: each slot once
	perSecond float64 // 0 = not known yet

	busy     time.Duration // of the measurement under way
	releases int
	since    time.Time // busy since; zero when it is not
}

const (
	// leastBusy is the shortest measurement.
	leastBusy = 2 * time.Second
	// newest is the weight of the newest measurement.
	newest = 0.3
)

// state says whether the box is busy from now on.
func (c *capacity) state(busy bool, now time.Time) {
	if !c.since.IsZero() {
		c.busy += now.Sub(c.since)
		c.since = time.Time{}
	}
	if busy {
		c.since = now
	}
}

// release enters a slot that came free while the box was busy.
func (c *capacity) release(now time.Time) {
	if c.since.IsZero() {
		return
	}
	c.releases++
	c.state(true, now)
	if c.releases < c.turnover || c.busy < leastBusy {
		return
	}
	measured := float64(c.releases) / c.busy.Seconds()
	if c.perSecond == 0 {
		c.perSecond = measured
	} else {
		c.perSecond += newest * (measured - c.perSecond)
	}
	c.busy, c.releases = 0, 0
}
