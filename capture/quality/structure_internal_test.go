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

// TestRest: what stands where it did counts by its energy, and what may be
// written over the picture does not.
func TestRest(t *testing.T) {
	still := func(n, of int) *blocks { // n of so many blocks that show something are as they were
		var b blocks
		for i := range of {
			b.is[i] = 10
			if i < n {
				b.alike[i] = 1
			}
		}
		return &b
	}
	for _, x := range []struct {
		what  string
		b     *blocks
		least float64
		most  float64
	}{
		{"nothing is seen", &blocks{}, 0, 0},
		{"all as it was", still(64, 64), 1, 1},
		{"all new", still(0, 64), 0, 0},
		{"all new under a clock", still(overlays, 64), 0, 0},
		{"half of it past a rim", still(12, 22), 0.5, 0.5},
	} {
		if got := x.b.rest(); got < x.least || got > x.most {
			t.Errorf("%s: %v, want %v to %v", x.what, got, x.least, x.most)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var b blocks
		for i := range b.is {
			b.is[i] = rapid.Float32Range(1, 60).Draw(t, "is")
			b.alike[i] = rapid.Float32Range(-1, 1).Draw(t, "alike")
		}
		got := b.rest()
		if !(got >= -1e-9 && got <= 1+1e-9) {
			t.Fatalf("%v of a share", got)
		}
		i := rapid.IntRange(0, len(b.is)-1).Draw(t, "lost")
		b.alike[i] = min(b.alike[i], 0)
		if less := b.rest(); less > got+1e-6 {
			t.Fatalf("block %d no longer stands where it did, and %v became %v", i, got, less)
		}
	})
}

// TestFresh counts blocks whose edges are new.
func TestFresh(t *testing.T) {
	var b blocks
	var edges [Blocks * Blocks]float32
	for i := range 16 {
		edges[i] = 0.1
		if i < 4 {
			b.alike[i] = 0.9
		}
	}
	if got := b.fresh(&edges); got != 12./64 {
		t.Errorf("%v, want 12 of 64", got)
	}
}
