package capture

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func anyMask(t *rapid.T) *fleet.Mask {
	share := rapid.Float64Range(0, 1)
	m := &fleet.Mask{}
	for range rapid.IntRange(0, 2).Draw(t, "rectangles") {
		x, y := rapid.Float64Range(0, 0.9).Draw(t, "x"), rapid.Float64Range(0, 0.9).Draw(t, "y")
		m.Rectangles = append(m.Rectangles, fleet.Rectangle{X: x, Y: y, Width: rapid.Float64Range(0.001, 1-x).Draw(t, "w"), Height: rapid.Float64Range(0.001, 1-y).Draw(t, "h")})
	}
	for range rapid.IntRange(0, 2).Draw(t, "polygons") {
		var p []fleet.Point
		for range rapid.IntRange(3, 7).Draw(t, "points") {
			p = append(p, fleet.Point{X: share.Draw(t, "px"), Y: share.Draw(t, "py")})
		}
		m.Polygons = append(m.Polygons, p)
	}
	return m
}

// winding is how often a polygon goes around a point.
func winding(p []fleet.Point, x, y float64) (n int) {
	for i, a := range p {
		b := p[(i+1)%len(p)]
		side := (b.X-a.X)*(y-a.Y) - (x-a.X)*(b.Y-a.Y)
		if a.Y <= y && b.Y > y && side > 0 {
			n++
		}
		if b.Y <= y && a.Y > y && side < 0 {
			n--
		}
	}
	return n
}

// away is the distance from a point to an edge.
func away(a, b fleet.Point, x, y float64) float64 {
	dx, dy := b.X-a.X, b.Y-a.Y
	u := 0.0
	if l := dx*dx + dy*dy; l > 0 {
		u = max(0, min(1, ((x-a.X)*dx+(y-a.Y)*dy)/l))
	}
	return math.Hypot(a.X+u*dx-x, a.Y+u*dy-y)
}

// hides is the plain model: is the point of a picture in a shape, or within
// near of one?
func hides(m *fleet.Mask, x, y, near float64) bool {
	for _, r := range m.Rectangles {
		if x >= r.X-near && x <= r.X+r.Width+near && y >= r.Y-near && y <= r.Y+r.Height+near {
			return true
		}
	}
	for _, p := range m.Polygons {
		if winding(p, x, y) != 0 {
			return true
		}
		for i, a := range p {
			if near > 0 && away(a, p[(i+1)%len(p)], x, y) <= near {
				return true
			}
		}
	}
	return false
}

// TestCover holds the spans against the model: a sample with a hidden point in
// it is hidden, and one that is hidden has a shape within reach. Polygons without
// an inside, which Check refuses, are among them.
func TestCover(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMask(t)
		const w, h, fine = 17, 11, 6
		var hidden [h][w]bool
		v := veil{Blocks: codec.Blocks{Width: w, Height: h, X: 1, Y: 1}, cols: w, rows: h}
		v.cover(m, func(y int, spans []span) {
			if !slices.IsSortedFunc(spans, func(a, b span) int { return a.a - b.a }) {
				t.Fatalf("row %d: %v", y, spans)
			}
			for _, s := range spans {
				for x := s.a; x < s.b; x++ {
					if hidden[y][x] {
						t.Fatalf("row %d: %v overlap", y, spans)
					}
					hidden[y][x] = true
				}
			}
		})
		for y := range h {
			for x := range w {
				if hidden[y][x] {
					// From the middle of a sample to its corner, and a hair.
					if !hides(m, (float64(x)+0.5)/w, (float64(y)+0.5)/h, math.Hypot(0.5/w, 0.5/h)*1.01) {
						t.Fatalf("sample %d, %d is hidden by nothing", x, y)
					}
					continue
				}
				for k := range fine * fine {
					px, py := (float64(x)+(float64(k%fine)+0.5)/fine)/w, (float64(y)+(float64(k/fine)+0.5)/fine)/h
					if hides(m, px, py, 0) {
						t.Fatalf("sample %d, %d shows a hidden point", x, y)
					}
				}
			}
		}
	})
}

// TestVeil holds what is hidden of each plane against the model: the blocks, as
// they lie in the uncropped picture, that a rectangle has a part of. Blocks of 8
// samples go by fours, so that what is hidden is the same for any coding.
func TestVeil(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(17, 90).Draw(t, "width"), rapid.IntRange(17, 90).Draw(t, "height")
		// Rectangles of whole hundredths: no edge is a rounding away from a block's.
		hundredths := func(name string, least, most int) float64 {
			return float64(rapid.IntRange(least, most).Draw(t, name)) / 100
		}
		r := fleet.Rectangle{X: hundredths("x", 0, 80), Y: hundredths("y", 0, 80), Width: hundredths("w", 1, 20), Height: hundredths("h", 1, 20)}
		b := codec.Blocks{Width: w, Height: h, X: 8, Y: 8, Luma: [2]int{8, 8}, Chroma: [2]int{8, 8}}
		half := 1
		switch rapid.SampledFrom([]string{"none", "eights", "sixteens", "cropped"}).Draw(t, "coding") {
		case "none":
			b = codec.Blocks{}
		case "sixteens":
			half = 2
		case "cropped":
			half, b.Left, b.Top = 2, 2*rapid.IntRange(0, 7).Draw(t, "left"), 2*rapid.IntRange(0, 7).Draw(t, "top")
		}
		if half == 2 {
			b.X, b.Y, b.Luma = 16, 16, [2]int{16, 16}
		}
		pic := codec.Picture{Blocks: b}
		pic.Y.Resize(w, h, w)
		for _, p := range []*codec.Plane{&pic.Cb, &pic.Cr} {
			p.Resize((w+half-1)/half, (h+half-1)/half, (w+half-1)/half)
		}
		var v veil
		v.set(&fleet.Mask{Rectangles: []fleet.Rectangle{r}}, &pic, false)
		v.fill(pic.Y, v.luma, 1)
		v.fill(pic.Cb, v.chroma, 1)
		touches := func(at, crop, size int, from, length float64) bool {
			first := (at+crop)/16*16 - crop
			const hair = 1e-9
			return from*float64(size) < float64(first+16)-hair && (from+length)*float64(size) > float64(first)+hair
		}
		for y := range h {
			for x := range w {
				want := touches(x, b.Left, w, r.X, r.Width) && touches(y, b.Top, h, r.Y, r.Height)
				got := pic.Y.Row(y)[x] == 1
				if want && !got {
					t.Fatalf("%+v in %dx%d, %+v: luma %d, %d is seen", r, w, h, b, x, y)
				}
				// An edge on a block's border may be rounded into the block beside it.
				if got && !want && !touches(x, b.Left, w, r.X-1e-6, r.Width+2e-6) && !touches(y, b.Top, h, r.Y-1e-6, r.Height+2e-6) {
					t.Fatalf("%+v in %dx%d, %+v: luma %d, %d is hidden", r, w, h, b, x, y)
				}
				if chroma := pic.Cb.Row(y / half)[x/half] == 1; chroma != got {
					t.Fatalf("%+v in %dx%d, %+v: luma %d, %d is hidden: %v, and its chroma: %v", r, w, h, b, x, y, got, chroma)
				}
			}
		}
	})
}
