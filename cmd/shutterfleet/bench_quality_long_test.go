//go:build long && !race

package main

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// TestLongBenchQuality holds the verdicts on the reporting half to what was
// measured there, less what a few events more or less make: docs/fingerprints.md
// has the figures.
func TestLongBenchQuality(t *testing.T) {
	type floor struct{ recall, precision float64 }
	floors := map[quality.Kind]floor{
		quality.Black: {0.98, 0.97}, quality.OverExposed: {0.97, 0.97}, quality.UnderExposed: {0.92, 0.96}, quality.Flat: {0.97, 0.97},
		quality.Blurred: {0.91, 0.95}, quality.Covered: {0.96, 0.96}, quality.Moved: {0.96, 0.98}, quality.Frozen: {0.95, 0.97},
		quality.Noisy: {0.95, 0.98}, quality.Corrupt: {0.86, 0.98},
	}
	r, _ := measureQuality(t)
	for _, v := range r.Verdicts {
		if v.Strength != "strong" {
			continue
		}
		for name, f := range map[string]struct{ recall, precision float64 }{
			"single":  {v.Single.Recall.Value, v.Single.Precision.Value},
			"lasting": {v.Lasting.Recall.Value, v.Lasting.Precision.Value},
		} {
			if want := floors[v.Verdict]; f.recall < want.recall || f.precision < want.precision {
				t.Errorf("%s, %s: recall %.3f, precision %.3f; want %.2f and %.2f. Instead: %v; by variant: %+v", v.Verdict, name, f.recall, f.precision, want.recall, want.precision, v.Single.Instead, v.Variants)
			}
		}
	}
	if r.All.FalsePer1000 > 3 || r.All.LastingPer1000 > 1.5 {
		t.Errorf("what is no fault: %.1f of 1000 frames called one, %.1f lasting: %v", r.All.FalsePer1000, r.All.LastingPer1000, r.All.As)
	}
}
