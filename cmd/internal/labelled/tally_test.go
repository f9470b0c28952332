package labelled_test

import (
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/cmd/internal/labelled"
)

// TestShare holds the intervals to Wilson's formula as tables give it.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		right, of       int
		value, low, top float64
	}{{0, 0, 0, 0, 1}, {0, 10, 0, 0, 0.2775}, {10, 10, 1, 0.7225, 1}, {50, 100, 0.5, 0.4038, 0.5962}, {38, 40, 0.95, 0.8350, 0.9862}} {
		s := labelled.NewShare(c.right, c.of)
		if math.Abs(s.Value-c.value) > 1e-4 || math.Abs(s.Low-c.low) > 1e-4 || math.Abs(s.High-c.top) > 1e-4 {
			t.Errorf("%d of %d: %+v, want %v in %v..%v", c.right, c.of, s, c.value, c.low, c.top)
		}
	}
}

// TestTally counts four events by hand.
func TestTally(t *testing.T) {
	said := func(kinds ...quality.Kind) (all []labelled.Said) { // pairs of single and lasting
		for i := 0; i < len(kinds); i += 2 {
			all = append(all, labelled.Said{Kind: kinds[i], Lasting: kinds[i+1]})
		}
		return all
	}
	const ok, black, covered = quality.Ok, quality.Black, quality.Covered
	var tally labelled.Tally
	for _, o := range []labelled.Outcome{
		{Event: labelled.Event{Kind: covered, Variant: "hand", Strength: labelled.Strong}, Said: said(covered, ok, covered, covered)},
		{Event: labelled.Event{Kind: covered, Variant: "bag", Night: true, Strength: labelled.Strong}, Said: said(black, ok, black, black)},
		{Event: labelled.Event{Kind: covered, Variant: "hand", Strength: labelled.Weak}, Said: said(ok, ok, covered, ok)},
		{Event: labelled.Event{Variant: "fog"}, Said: said(ok, ok, covered, ok, covered, covered, ok, covered)},
	} {
		tally.Add(o)
	}
	r := tally.Report()
	find := func(k quality.Kind, s string) labelled.VerdictFigures {
		for _, f := range r.Verdicts {
			if f.Verdict == k && f.Strength == s {
				return f
			}
		}
		t.Fatalf("no figures of %s, %s", k, s)
		return labelled.VerdictFigures{}
	}
	f := find(covered, "strong")
	for name, c := range map[string]struct{ got, want labelled.Share }{
		"recall":            {f.Single.Recall, labelled.NewShare(1, 2)},
		"precision":         {f.Single.Precision, labelled.NewShare(1, 3)},
		"lasting recall":    {f.Lasting.Recall, labelled.NewShare(1, 2)},
		"lasting precision": {f.Lasting.Precision, labelled.NewShare(1, 3)},
		"weak recall":       {find(covered, "weak").Single.Recall, labelled.NewShare(0, 1)},
		"black precision":   {find(black, "strong").Single.Precision, labelled.NewShare(0, 1)},
	} {
		if c.got != c.want {
			t.Errorf("%s %+v, want %+v", name, c.got, c.want)
		}
	}
	if want := map[string]int{"black": 1}; !reflect.DeepEqual(f.Single.Instead, want) || len(f.Variants) != 2 || f.Variants[0].Light != "night" {
		t.Errorf("%+v", f)
	}
	if r.All.Frames != 4 || r.All.FalsePer1000 != 500 || r.All.LastingPer1000 != 500 || r.All.As["covered"] != 2 {
		t.Errorf("no faults: %+v", r.All)
	}
}

// TestShareProperty: an interval holds its value, and more of the same narrows it.
func TestShareProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		of := rapid.IntRange(1, 1000).Draw(t, "of")
		right := rapid.IntRange(0, of).Draw(t, "right")
		s, more := labelled.NewShare(right, of), labelled.NewShare(4*right, 4*of)
		if s.Low < 0 || s.High > 1 || s.Low > s.Value+1e-12 || s.High < s.Value-1e-12 || more.High-more.Low >= s.High-s.Low {
			t.Fatalf("%+v, four times as many %+v", s, more)
		}
	})
}
