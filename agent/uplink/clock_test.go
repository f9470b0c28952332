package uplink_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/uplink"
)

// TestClockFollowsTheCentre: whatever the offset and the way, the corrected
// clock is within its own bound of the centre's, and small corrections never
// turn it back.
func TestClockFollowsTheCentre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, offset := range []time.Duration{0, 90 * time.Millisecond, -90 * time.Millisecond, time.Hour, -time.Hour} {
			c := uplink.NewClock(0, 0, false)
			centre := func() time.Time { return time.Now().Add(offset) }
			last := time.Time{}
			for n := range 40 {
				there, back := 5*time.Millisecond, time.Duration(n%7)*9*time.Millisecond
				t1 := c.Local()
				time.Sleep(there)
				t2 := centre()
				time.Sleep(back)
				c.Measure(t1, t2, t2, c.Local())
				time.Sleep(200 * time.Millisecond)
				now := c.Now()
				if off := now.Sub(centre()).Abs(); off > c.Bound() {
					t.Fatalf("offset %v: wrong by %v, and says at most %v", offset, off, c.Bound())
				}
				if n > 0 && now.Before(last) {
					t.Fatalf("offset %v: the clock went back from %v to %v", offset, last, now)
				}
				last = now
			}
			if b := c.Bound(); b > 5*time.Millisecond {
				t.Errorf("offset %v: bound %v after 40 measurements, the best of them 5 ms apart", offset, b)
			}
			saved, bound, ok := c.Offset()
			if !ok || (saved-offset).Abs() > bound {
				t.Errorf("Offset = %v, %v, %v, want %v", saved, bound, ok, offset)
			}
			again := uplink.NewClock(saved, bound, true)
			if off := again.Now().Sub(centre()).Abs(); off > again.Bound() {
				t.Errorf("after a restart wrong by %v, and says at most %v", off, again.Bound())
			}
		}
	})
}
