package scheduler

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// TestMaskOfItsTime: a picture is kept when nothing had to be hidden at its time,
// or what is hidden of it had to be, then or later. The model asks each moment.
func TestMaskOfItsTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m *mask
		changes := rapid.IntRange(0, maxMaskChanges+6).Draw(t, "changes")
		at := make([]fleet.Instant, 0, changes)  // of each revision
		sum := make([]fleet.MaskSum, 0, changes) // and what it hides
		now := fleet.Instant(100)
		for range changes {
			now += fleet.Instant(rapid.IntRange(1, 3).Draw(t, "later"))
			hide := fleet.MaskSum(rapid.IntRange(0, 2).Draw(t, "hidden"))
			next := &mask{Mask: store.Mask{Revision: uint64(len(at) + 1), At: now}, sum: hide}
			if m != nil {
				next.Before = m.changes()
			}
			m, at, sum = next, append(at, now), append(sum, hide)
		}
		known := max(0, changes-maxMaskChanges-1) // the first change that is remembered
		for hidden := range fleet.MaskSum(4) {
			asked := map[fleet.Instant]bool{}
			for moment := fleet.Instant(99); moment <= now+1; moment++ {
				had, later := fleet.MaskSum(0), false
				if known > 0 {
					had = sum[known]
				}
				for i := known; i < changes; i++ {
					if at[i] <= moment {
						had = sum[i]
					} else {
						later = later || sum[i] == hidden && hidden != 0
					}
				}
				want := had == 0 || had == hidden || later
				if known > 0 && moment < at[known] { // nobody remembers
					want = want || hidden != 0 && sum[known] == hidden
				}
				if got := m.allows(moment, moment, hidden); got != want {
					t.Fatalf("hidden %d at %d, when %d had to be (later: %v): kept %v\n%v\n%v", hidden, moment, had, later, got, at, sum)
				}
				asked[moment] = want
			}
			from := fleet.Instant(rapid.Int64Range(99, int64(now)+1).Draw(t, "from"))
			to := fleet.Instant(rapid.Int64Range(int64(from), int64(now)+1).Draw(t, "to"))
			want := true
			for moment := from; moment <= to; moment++ {
				want = want && asked[moment]
			}
			if got := m.allows(from, to, hidden); got != want {
				t.Fatalf("hidden %d at some moment of %d..%d: kept %v\n%v\n%v", hidden, from, to, got, at, sum)
			}
		}
	})
}

// TestClocksThatCannotBe: no time that an agent may say makes a picture older
// than its camera's mask.
func TestClocksThatCannotBe(t *testing.T) {
	s := &Scheduler{masks: map[fleet.CameraID]*mask{1: {Mask: store.Mask{Revision: 1, At: 100}, sum: 5}}}
	for _, at := range []fleet.Instant{100, math.MaxInt64, math.MaxInt64 - 5} {
		for _, bound := range []time.Duration{0, time.Second, math.MaxInt64} {
			if s.hides(&fleet.Capture{Occurrence: fleet.Occurrence{Camera: 1}, Outcome: fleet.Captured, At: at, Bound: bound}) {
				t.Errorf("a picture of %d, give or take %v, is from before the mask", at, bound)
			}
		}
	}
	if s.hides(&fleet.Capture{Occurrence: fleet.Occurrence{Camera: 1}, Outcome: fleet.Captured, At: 99 - fleet.Instant(48*time.Hour/time.Millisecond), Bound: 24 * time.Hour}) {
		t.Error("a picture that nobody knows the time of is from before the mask")
	}
	if !s.hides(&fleet.Capture{Occurrence: fleet.Occurrence{Camera: 1}, Outcome: fleet.Captured, At: 99}) {
		t.Error("a picture from before the mask is not")
	}
}
