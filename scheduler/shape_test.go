package scheduler

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestShape asks two shapers for random starts in order: none is early, none is
// lost before the limit, order stays, and no slot of either holds too many.
func TestShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.SampledFrom([]float64{0, 0.2, 0.5, 1, 3, 7.5, 40})
		a, b := shaper{rate: rate.Draw(t, "site")}, shaper{rate: rate.Draw(t, "all")}
		var starts, wanted []fleet.Instant
		at := fleet.Instant(1_800_000_000_000)
		for range rapid.IntRange(1, 200).Draw(t, "n") {
			at += fleet.Instant(rapid.SampledFrom([]int{0, 0, 0, 1, 130, 999, 5000}).Draw(t, "gap"))
			start, ok := shape(&a, &b, at, at+3_600_000)
			if !ok {
				if a.rate >= 1 && (b.rate == 0 || b.rate >= 1) {
					t.Fatalf("no room within an hour for 200 starts at %v and %v a second", a.rate, b.rate)
				}
				continue
			}
			starts, wanted = append(starts, start), append(wanted, at)
			if start < at || start >= at+3_600_000 {
				t.Fatalf("wanted %d, given %d", at, start)
			}
		}
		if (a.rate == 0 || a.rate >= 1) && (b.rate == 0 || b.rate >= 1) && !slices.IsSorted(starts) {
			t.Fatalf("order was lost: %v", starts)
		}
		for _, p := range []shaper{a, b} {
			if p.rate == 0 {
				continue
			}
			width, room := p.slot()
			n := map[fleet.Instant]uint32{}
			for _, s := range starts {
				if n[s/width]++; n[s/width] > room {
					t.Fatalf("%d starts in a slot of %d ms at %v a second", n[s/width], width, p.rate)
				}
			}
		}
		if a.rate == 0 && b.rate == 0 && !slices.Equal(starts, wanted) {
			t.Fatal("without a rate, starts were moved")
		}
	})
}

// TestShapeForgets keeps the memory of a shaper bounded.
func TestShapeForgets(t *testing.T) {
	p, none := shaper{rate: 1}, shaper{}
	for day := range fleet.Instant(400) {
		if _, ok := shape(&p, &none, day*86_400_000/4, day*86_400_000/4+1000); !ok {
			t.Fatal("no room on an empty day")
		}
	}
	if len(p.used) > 20 {
		t.Errorf("%d slots are remembered, of which the last day needs few", len(p.used))
	}
}
