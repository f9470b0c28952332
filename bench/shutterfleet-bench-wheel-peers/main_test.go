package main

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/scheduler/wheel/wheelbench"
)

// TestPeers runs every part with every peer in virtual time: each fires all of
// its tasks, at the rate asked for.
func TestPeers(t *testing.T) {
	c := wheelbench.Config{Tasks: 2000, Rate: 1000, For: 5 * time.Second}
	for _, k := range peers() {
		t.Run(k.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f wheelbench.Figures
				if err := wheelbench.Measure(t.Context(), k, c, func(now wheelbench.Figures) { f = now }); err != nil {
					t.Fatal(err)
				}
				if len(f.Notes) > 0 || f.DelayMS == nil || f.FiresPerSCore == nil || f.HerdDrainMS == nil {
					t.Fatalf("notes %q, figures %+v", f.Notes, f)
				}
				if *f.FiresPerS < 980 || *f.FiresPerS > 1020 || f.DelayMS.Max > 20 {
					t.Errorf("%.0f fires per second, delay %+v", *f.FiresPerS, *f.DelayMS)
				}
			})
		})
	}
}
