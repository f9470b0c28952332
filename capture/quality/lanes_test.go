package quality

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestLanes: eight samples at a time give the sums and counts of one at a time,
// also where black beside white drives the lanes as far as they go.
func TestLanes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(3, 70).Draw(t, "width")
		sample := rapid.Byte()
		if rapid.Bool().Draw(t, "extreme") {
			sample = rapid.SampledFrom([]byte{0, 255})
		}
		var rows [3][]byte
		for i := range rows {
			rows[i] = rapid.SliceOfN(sample, width, width).Draw(t, "row")
		}
		var want, got sums
		wantPlain, gotPlain := make([]uint16, width), make([]uint16, width)
		flat := make([]uint64, max(0, width-2)/8*2)
		for range 3 {
			want.stencil(rows[0], rows[1], rows[2], wantPlain)
			n := got.lanes(rows[0], rows[1], rows[2], flat)
			got.stencil(rows[0][n:], rows[1][n:], rows[2][n:], gotPlain[n:])
		}
		spill(gotPlain, flat)
		if got != want || !slices.Equal(gotPlain, wantPlain) {
			t.Fatalf("%+v %v, one at a time %+v %v", got, gotPlain, want, wantPlain)
		}
		for _, v := range flat {
			if v != 0 {
				t.Fatalf("left over: %v", flat)
			}
		}
	})
}
