//go:build amd64 || arm64

package codec

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestWidenAtEachLevel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		src := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "src")
		want := make([]int16, len(src)+1)
		for i, v := range src {
			want[i] = int16(v)
		}
		want[len(src)] = -1 // is not written
		for _, l := range Levels() {
			got := make([]int16, len(src)+1)
			got[len(src)] = -1
			if Widen(got, src, l); !slices.Equal(got, want) {
				t.Fatalf("at %v: %v, want %v", l, got, want)
			}
		}
	})
}

func TestLevels(t *testing.T) {
	levels := Levels()
	if levels[0] != PlainGo || levels[len(levels)-1] != BestLevel() {
		t.Errorf("Levels() = %v, the best is %v", levels, BestLevel())
	}
	for _, l := range levels {
		if l.String() == "none" {
			t.Errorf("level %d has no name", l)
		}
	}
}
