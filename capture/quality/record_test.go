package quality_test

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestRecord: what a capture keeps has the fleet's words, nothing of a frame
// without a fault, and a shift of a moved one alone.
func TestRecord(t *testing.T) {
	for kind, fault := range map[quality.Kind]fleet.Fault{
		quality.Black: fleet.FaultBlack, quality.OverExposed: fleet.FaultOverExposed, quality.UnderExposed: fleet.FaultUnderExposed,
		quality.Flat: fleet.FaultFlat, quality.Blurred: fleet.FaultBlurred, quality.Covered: fleet.FaultCovered, quality.Moved: fleet.FaultMoved,
		quality.Frozen: fleet.FaultFrozen, quality.Noisy: fleet.FaultNoisy, quality.Corrupt: fleet.FaultCorrupt,
	} {
		v := quality.Verdict{Kind: kind, Lasting: kind, Score: 0.75, Evidence: quality.Evidence{Metric: "m", Value: 1, Usual: 2, Limit: 3}, Shift: quality.Shift{X: 0.25, Y: -0.5}}
		want := fleet.Verdict{Fault: fault, Lasting: fault, Score: 0.75, Metric: "m", Value: 1, Usual: 2, Limit: 3}
		if kind == quality.Moved {
			want.ShiftX, want.ShiftY = 0.25, -0.5
		}
		if got := v.Record(); got != want || !got.Bad() {
			t.Errorf("%v: %+v", kind, got)
		}
	}
	if got := (quality.Verdict{Score: 1, Learning: true}).Record(); got != (fleet.Verdict{Fault: fleet.FaultNone, Learning: true}) || got.Bad() {
		t.Errorf("%+v", got)
	}
}
