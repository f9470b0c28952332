package runner

import (
	"errors"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// TestVerdicts: of all faults, schedules know three, and another frame cures no
// other.
func TestVerdicts(t *testing.T) {
	for fault, want := range map[fleet.Fault]calendar.Verdict{
		fleet.NotJudged: fine, fleet.FaultNone: fine, fleet.FaultBlack: calendar.VerdictBlack, fleet.FaultBlurred: calendar.VerdictBlurred,
		fleet.FaultCorrupt: calendar.VerdictCorrupt, fleet.FaultCovered: fine, fleet.FaultMoved: fine, fleet.FaultFrozen: fine,
	} {
		if got := (shot{reading: fleet.Reading{Verdict: fleet.Verdict{Fault: fault}}}).verdict(); got != want {
			t.Errorf("%q: %q, want %q", fault, got, want)
		}
	}
	if got := (shot{err: fleet.Errorf(fleet.CauseCorrupt, "x")}).verdict(); got != calendar.VerdictCorrupt {
		t.Errorf("corrupt: %q", got)
	}
	if got := (shot{err: errors.New("x")}).verdict(); got != fine {
		t.Errorf("no codec: %q", got)
	}
}

// TestBetter: the list goes from the best to the worst, and of two equal frames
// the first is kept.
func TestBetter(t *testing.T) {
	of := func(fault fleet.Fault, q fleet.Quality) shot {
		return shot{reading: fleet.Reading{Quality: q, Verdict: fleet.Verdict{Fault: fault}}}
	}
	order := []shot{
		of(fleet.FaultNone, fleet.Quality{Contrast: 50, Sharpness: 900}),
		of(fleet.FaultNone, fleet.Quality{Contrast: 50, Sharpness: 300}),
		of(fleet.FaultBlurred, fleet.Quality{Contrast: 50, Sharpness: 915}),
		of(fleet.FaultBlurred, fleet.Quality{Contrast: 50, Sharpness: 3}),
		of(fleet.FaultBlack, fleet.Quality{Contrast: 14, Sharpness: 600, Dark: 0.99}),
		of(fleet.FaultBlack, fleet.Quality{Contrast: 1, Sharpness: 700, Dark: 1}),
		{err: fleet.Errorf(fleet.CauseCorrupt, "cut short")},
	}
	for i, a := range order {
		for j, b := range order {
			if got := a.better(b); got != (i < j) {
				t.Errorf("frame %d is better than %d: %v", i, j, got)
			}
		}
	}
}
