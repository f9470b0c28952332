//go:build !race

package labelled_test

import (
	"reflect"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/cmd/internal/labelled"
)

// TestSet: the same set makes the same frames, whoever makes them at a time, and
// each fault is there by day and by night at each strength.
func TestSet(t *testing.T) {
	shoot := func(width int) *labelled.Reel {
		var res *labelled.Reel
		s := labelled.Set{Scenes: 1, Half: labelled.Tuning, Seed: 3, Width: width}
		if err := s.Shoot(t.Context(), func(r *labelled.Reel) error { res = r; return nil }); err != nil {
			t.Fatal(err)
		}
		return res
	}
	r := shoot(1)
	if !reflect.DeepEqual(r, shoot(2)) {
		t.Error("a second time it has other frames")
	}
	for i, events := range r.Events {
		want := 3*len(labelled.Faults()) + len(labelled.Negatives())
		if len(events) != want {
			t.Errorf("light %d has %d events, want %d", i, len(events), want)
		}
		for _, q := range events {
			if q.Night != (i == 1) || len(q.Shots) < 2 || q.Kind != quality.Ok && q.Variant == labelled.Ordinary {
				t.Errorf("event %+v has %d frames", q.Event, len(q.Shots))
			}
			for _, s := range q.Shots {
				if q.Kind == quality.Ok && s.Void {
					t.Errorf("%+v shows nothing", q.Event)
				}
			}
		}
	}
}
