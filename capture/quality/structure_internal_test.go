package quality

import (
	"testing"

	"pgregory.net/rapid"
)

// TestStructureAgainstModel holds the running sums to the definition.
func TestStructureAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Plane
		copy(p[:], rapid.SliceOfN(rapid.Byte(), cells, cells).Draw(t, "plane"))
		var got structure
		got.fill(&p)
		for y := range side {
			for x := range side {
				sum := 0
				for v := y - 2; v <= y+2; v++ {
					for u := x - 2; u <= x+2; u++ {
						sum += int(p[min(max(v, 0), side-1)*side+min(max(u, 0), side-1)])
					}
				}
				if want := 25*int(p[y*side+x]) - sum; int(got[y*side+x]) != want {
					t.Fatalf("cell %d, %d: %d, want %d", x, y, got[y*side+x], want)
				}
			}
		}
	})
}

// TestStructureLeavesLightAlone: a ramp of light over the picture is no
// structure, and half the light is the same structure, half as much.
func TestStructureLeavesLightAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p, lit, dim Plane
		for i, v := range rapid.SliceOfN(rapid.ByteRange(0, 80), cells, cells).Draw(t, "plane") {
			p[i], lit[i], dim[i] = 2*v, 2*v+uint8(i%side), v
		}
		var a, b, c structure
		a.fill(&p)
		b.fill(&lit)
		c.fill(&dim)
		for y := range side {
			for x := 2; x < side-2; x++ { // at the border the ramp ends
				if i := y*side + x; a[i] != b[i] || a[i] != 2*c[i] {
					t.Fatalf("cell %d, %d: %d, under the ramp %d, dimmed %d", x, y, a[i], b[i], c[i])
				}
			}
		}
	})
}

// TestMeet counts blocks by hand.
func TestMeet(t *testing.T) {
	var b blocks
	var usual [Blocks * Blocks]uint8
	for i := range 16 {
		usual[i], b.was[i], b.is[i], b.alike[i] = 255, 10, 10, 1
	}
	for i := range 8 { // of which the first half shows something else, and the second nothing
		b.alike[i] = 0
		if i >= 4 {
			b.is[i] = 1
		}
	}
	usual[20], b.was[20] = 100, 10 // leaves
	usual[21], b.was[21] = 255, 0.1
	if got, want := b.meet(&usual), (sight{steady: 16, lost: 0.5, empty: 0.5, alike: 0.5}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := (&blocks{}).meet(&usual); got.enough() || got.lost != 0 || got.alike != 0 {
		t.Errorf("of a wall %+v", got)
	}
}
