//go:build long

package main

import "testing"

// TestLongBenchFleet runs 20,000 cameras at a thousand captures a second.
func TestLongBenchFleet(t *testing.T) {
	res := benchFleet(t, "--cameras", "20000", "--agents", "100", "--sites", "50", "--interval", "20s", "--for", "30s")
	checkFleet(t, res, 29_000)
}

// TestLongBenchFleetPeak finds a peak: overload does not cost an occurrence.
func TestLongBenchFleetPeak(t *testing.T) {
	res := benchFleet(t, "--cameras", "5000", "--agents", "20", "--for", "10s", "--peak", "--rate", "4000")
	if res.Peak == nil || len(res.Peak.Steps) == 0 || res.Peak.HighestPS <= 0 || res.Unaccounted != 0 {
		t.Errorf("%+v", res)
	}
}
