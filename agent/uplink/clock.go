package uplink

import (
	"slices"
	"sync"
	"time"
)

// Limits of the clock's discipline.
const (
	// stepLimit is the error above which the clock jumps instead of being
	// slewed; NTP's own step threshold (RFC 5905, STEPT).
	stepLimit = 128 * time.Millisecond
	// slewRate is how much of the elapsed time may go into a correction: an
	// error just below stepLimit is gone after 2.6 s, and no interval is ever
	// measured more than 5 % wrong.
	slewRate = 20
	// driftPPM is how much the bound grows with a measurement's age: RFC 5905
	// takes 15 ppm for a good crystal; cheap boxes do worse.
	driftPPM = 50
	// keptSamples is RFC 5905's clock filter: of the last eight the one with the
	// shortest way counts.
	keptSamples = 8
	// unmeasured is the bound of a clock that nobody compared yet.
	unmeasured = 24 * time.Hour
)

// Clock is the box's clock corrected by the offset to the centre's, which is
// measured on the stream. It runs on the monotonic clock, so a step of the
// box's own clock does not reach it. Small corrections are slewed; larger ones
// step. All methods may be called at once.
type Clock struct {
	wall func() time.Time // the box's own clock, which may step

	mu      sync.Mutex
	start   time.Time     // when the clock was made, on the monotonic clock
	box     time.Time     // what the box's clock said then
	applied time.Duration // offset in force at last
	target  time.Duration // offset wanted
	last    time.Time     // when applied was computed
	samples []sample
	bound   time.Duration // of target, when it was saved before a restart
}

type sample struct {
	offset time.Duration
	bound  time.Duration
	at     time.Time
}

// NewClock returns the box's clock, corrected by an offset that was measured
// before, with its bound; known is false when there is none.
func NewClock(offset, bound time.Duration, known bool) *Clock {
	return NewClockOf(time.Now, offset, bound, known)
}

// NewClockOf is NewClock for a box whose own clock is wall.
func NewClockOf(wall func() time.Time, offset, bound time.Duration, known bool) *Clock {
	now := time.Now()
	c := &Clock{wall: wall, start: now, box: wall().Round(0), last: now, bound: unmeasured}
	if known {
		// The box's clock ran unwatched meanwhile, for nobody knows how long.
		c.applied, c.target, c.bound = offset, offset, bound+time.Second
	}
	return c
}

// Now returns the corrected time. It has no monotonic reading: it is for
// comparing with nominal times.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.slew(now)
	return c.raw(now).Add(c.applied)
}

// Bound returns by how much Now may be wrong.
func (c *Clock) Bound() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.slew(now)
	b := c.bound + drift(now.Sub(c.start))
	if len(c.samples) > 0 {
		s := c.best(now)
		b = s.bound + drift(now.Sub(s.at))
	}
	return min(unmeasured, b+(c.target-c.applied).Abs())
}

// Known reports whether the clock was ever compared with the centre's, in this
// run or in one before.
func (c *Clock) Known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.samples) > 0 || c.bound < unmeasured
}

// Offset returns the correction in force against the box's own clock as it
// reads now, with its bound, for Save; ok is false before a measurement.
func (c *Clock) Offset() (offset, bound time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == 0 {
		return 0, 0, false
	}
	now := time.Now()
	s := c.best(now)
	stepped := c.wall().Round(0).Sub(c.raw(now)) // what the box's clock did besides
	return c.target - stepped, s.bound + drift(now.Sub(s.at)), true
}

// Local returns the uncorrected time that probes are stamped with.
func (c *Clock) Local() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw(time.Now())
}

// Measure enters the four timestamps of one exchange: t1 and t4 by Local, t2
// and t3 by the centre (RFC 5905 section 8). It ignores what cannot be.
func (c *Clock) Measure(t1, t2, t3, t4 time.Time) {
	way := t4.Sub(t1) - t3.Sub(t2)
	if way < 0 || t4.Before(t1) || t3.Before(t2) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.slew(now)
	c.samples = append(c.samples, sample{offset: (t2.Sub(t1) + t3.Sub(t4)) / 2, bound: way/2 + time.Microsecond, at: now})
	if n := len(c.samples); n > keptSamples {
		c.samples = slices.Delete(c.samples, 0, n-keptSamples)
	}
	c.target = c.best(now).offset
	if (c.target - c.applied).Abs() > stepLimit {
		c.applied = c.target
	}
}

// best returns the sample that says most now.
func (c *Clock) best(now time.Time) sample {
	return slices.MinFunc(c.samples, func(a, b sample) int {
		return int(a.bound + drift(now.Sub(a.at)) - b.bound - drift(now.Sub(b.at)))
	})
}

// slew moves the applied offset towards the wanted one.
func (c *Clock) slew(now time.Time) {
	may := now.Sub(c.last) / slewRate
	c.last = now
	switch d := c.target - c.applied; {
	case d.Abs() <= may:
		c.applied = c.target
	case d > 0:
		c.applied += may
	default:
		c.applied -= may
	}
}

// raw is the box's clock as it was at the start, carried on by the monotonic one.
func (c *Clock) raw(now time.Time) time.Time { return c.box.Add(now.Sub(c.start)) }

func drift(age time.Duration) time.Duration { return age / 1_000_000 * driftPPM }
