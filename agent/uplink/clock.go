package uplink

import (
	"sync"
	"time"
)

// Clock is the agent's clock, corrected to the centre's. Its zero value trusts
// the machine. It measures as NTP does (RFC 5905 section 8): of the last eight
// exchanges the one with the shortest round trip counts, and half of that round
// trip bounds its error.
type Clock struct {
	mu      sync.Mutex
	samples [8]sample
	n       int
	offset  time.Duration // applied
	bound   time.Duration
	set     bool
}

type sample struct {
	offset, delay time.Duration
	at            time.Time
}

const (
	// maxDrift is what a cheap box's oscillator may be wrong by: 100 ppm.
	maxDrift = 1e-4

	// maxSlew is how much one measurement moves the clock, unless it is the
	// first or far off: time should not jump under a running capture.
	maxSlew = 20 * time.Millisecond
	step    = time.Second
)

// Now returns the centre's time as well as it is known.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

// Local returns when the machine's clock will show the centre's time t.
func (c *Clock) Local(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.Add(-c.offset)
}

// Bound returns how wrong Now may be; a day when it was never measured.
func (c *Clock) Bound() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.set {
		return 24 * time.Hour
	}
	return c.bound
}

// measured takes one exchange: sent and received here, received and sent there.
func (c *Clock) measured(t1, t2, t3, t4 time.Time) {
	delay := t4.Sub(t1) - t3.Sub(t2)
	if delay < 0 || t3.Before(t2) {
		return // one of the clocks stepped meanwhile
	}
	offset := (t2.Sub(t1) + t3.Sub(t4)) / 2
	c.mu.Lock()
	defer c.mu.Unlock()
	c.samples[c.n%len(c.samples)] = sample{offset, delay, t4}
	c.n++
	best := sample{delay: 1 << 62}
	var spread time.Duration
	for _, s := range c.samples[:min(c.n, len(c.samples))] {
		// An old sample has drifted: what it may have drifted is added.
		aged := s.delay + time.Duration(float64(t4.Sub(s.at))*maxDrift*2)
		if aged < best.delay {
			best = s
			best.delay = aged
			spread = aged / 2
		}
	}
	c.bound = spread + time.Millisecond // the books' resolution
	switch diff := best.offset - c.offset; {
	case !c.set, diff.Abs() > step:
		c.offset, c.set = best.offset, true
	default:
		c.offset += min(max(diff, -maxSlew), maxSlew)
		c.bound += (best.offset - c.offset).Abs()
	}
}
