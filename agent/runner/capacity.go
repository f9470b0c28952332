package runner

import "time"

// capacity measures how many captures per second a box can do: its slots over
// the mean time that a capture holds one. Only captures that end while all
// slots are taken and someone waits count: a box with little to do is quick,
// and does not show what it can.
type capacity struct {
	seen int
	mean float64 // seconds, weighted exponentially
}

// release enters a slot that was held for so long, while the box was busy.
func (c *capacity) release(held time.Duration, slots int) {
	c.seen++
	// The weight of the newest: a plain mean at first, then as if each slot had
	// been seen four times.
	weight := 1 / float64(min(c.seen, 4*slots))
	c.mean += weight * (held.Seconds() - c.mean)
}

// perSecond returns the captures per second; 0 until each slot could be seen
// once.
func (c *capacity) perSecond(slots int) float64 {
	if c.seen < slots || c.mean <= 0 {
		return 0
	}
	return float64(slots) / c.mean
}
