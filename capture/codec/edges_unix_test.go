//go:build unix && (amd64 || arm64)

package codec_test

import (
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// TestEdges: no level reads beside a row.
func TestEdges(t *testing.T) {
	e := codectest.NewEdges(t, 1<<12)
	var c codec.Columns
	for n := range 300 {
		want, noise := make([]uint32, n), codectest.Gen("noise", max(1, n), 1)
		for x := range want {
			want[x] = 3 * uint32(noise[x])
		}
		for _, row := range [][]byte{e.First(n), e.Last(n)} {
			copy(row, noise)
			for _, l := range codec.Levels() {
				c.Level = l
				c.Reset(n)
				c.Add(row, 3)
				if got := c.Sums(); !slices.Equal(got, want) {
					t.Fatalf("%d columns at %v: %d, want %d", n, l, got, want)
				}
				wide := make([]int16, n)
				codec.Widen(wide, row, l)
				for x, v := range wide {
					if v != int16(noise[x]) {
						t.Fatalf("sample %d of %d at %v is %d, want %d", x, n, l, v, noise[x])
					}
				}
			}
		}
	}
}
