//go:build !race

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/cmd/internal/labelled"
)

func measureQuality(t *testing.T, args ...string) (report qualityReport, stderr string) {
	t.Helper()
	var out, progress bytes.Buffer
	if code := run(t.Context(), append([]string{"bench", "quality", "-o", "json"}, args...), &out, &progress); code != 0 {
		t.Fatalf("exit %d: %s", code, progress.String())
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	return report, progress.String()
}

// TestBenchQuality: two scenes have every verdict at every strength, in numbers
// that fit each other, and what is plain is told.
func TestBenchQuality(t *testing.T) {
	r, stderr := measureQuality(t, "--scenes", "2", "--half", "tuning")
	if r.Scenes != 2 || r.Half != labelled.Tuning || r.Go == "" || !strings.Contains(stderr, "scene 2 of 2") {
		t.Errorf("%+v; stderr %s", r, stderr)
	}
	if want := len(labelled.Kinds()) * int(labelled.Strengths); len(r.Verdicts) != want {
		t.Fatalf("%d verdicts and strengths, want %d", len(r.Verdicts), want)
	}
	events := 0
	for _, v := range r.Verdicts {
		f := v.Single
		wrong := 0
		for _, n := range f.Instead {
			wrong += n
		}
		if f.Recall.Of == 0 || f.Recall.Right+wrong != f.Recall.Of || f.Precision.Right != f.Recall.Right || f.Recall.Low > f.Recall.Value || f.Recall.High < f.Recall.Value {
			t.Errorf("%s, %s: %+v", v.Verdict, v.Strength, f)
		}
		events += f.Recall.Of
		if v.Strength == "strong" && (v.Verdict == quality.Black || v.Verdict == quality.Noisy || v.Verdict == quality.OverExposed) && f.Recall.Value < 1 {
			t.Errorf("%s is told in %d of %d", v.Verdict, f.Recall.Right, f.Recall.Of)
		}
	}
	if want := 2 * 2 * 3 * len(labelled.Faults()); events != want {
		t.Errorf("%d faults, want %d", events, want)
	}
	if len(r.Negatives) != len(labelled.Negatives()) || r.All.Frames != 2*2*(12+11*3) || r.All.FalsePer1000 > 100 {
		t.Errorf("what is no fault: %+v", r.All)
	}
}
