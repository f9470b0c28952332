package capture

import (
	"cmp"
	"math"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// span is a part of a row, from block a until before b.
type span struct{ a, b int }

// cover calls row for each row of blocks with those that a shape touches, from
// left to right and apart from each other. They are valid during the call.
func (v *veil) cover(m *fleet.Mask, row func(y int, hidden []span)) {
	for y := range v.rows {
		v.spans = v.spans[:0]
		top, bottom := v.height(y), v.height(y+1)
		for _, r := range m.Rectangles {
			if r.Y < bottom && r.Y+r.Height > top {
				v.add(r.X, r.X+r.Width)
			}
		}
		for _, p := range m.Polygons {
			v.coverPolygon(p, top, bottom)
		}
		v.spans = join(v.spans)
		row(y, v.spans)
	}
}

// height is where row y of the blocks begins, as a share of the picture.
func (v *veil) height(y int) float64 { return float64(y*v.Y-v.Top) / float64(v.Height) }

// join sorts spans and joins those that meet.
func join(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.a, b.a) })
	n := 0
	for _, s := range spans {
		if n > 0 && s.a <= spans[n-1].b {
			spans[n-1].b = max(spans[n-1].b, s.b)
			continue
		}
		spans[n] = s
		n++
	}
	return spans[:n]
}

// add adds the blocks that the line from x0 to x1 touches.
func (v *veil) add(x0, x1 float64) {
	column := func(x float64) float64 { return (float64(x*float64(v.Width)) + float64(v.Left)) / float64(v.X) }
	a, b := int(math.Floor(column(x0))), int(math.Ceil(column(x1)))
	if b == a { // on a border between blocks, or a point
		b++
	}
	if a, b = max(a, 0), min(b, v.cols); a < b {
		v.spans = append(v.spans, span{a, b})
	}
}

// crossing is where an edge meets a line, and whether it goes down or up.
type crossing struct {
	x    float64
	down int
}

// coverPolygon adds what a polygon touches of the band between two heights.
// From any point of it in the band, straight up or down, one comes to an edge
// within the band or to the band's border: so the edges' own extent and the
// insides at both borders are all there is.
func (v *veil) coverPolygon(p []fleet.Point, top, bottom float64) {
	touched := false
	for i, a := range p {
		b := p[(i+1)%len(p)]
		if a.Y > b.Y {
			a, b = b, a
		}
		if b.Y < top || a.Y > bottom {
			continue
		}
		touched = true
		x0, x1 := a.X, b.X
		if a.Y < top {
			x0 = meet(a, b, top)
		}
		if b.Y > bottom {
			x1 = meet(a, b, bottom)
		}
		v.add(min(x0, x1), max(x0, x1))
	}
	if !touched && !between(p, top) {
		return
	}
	for _, y := range [2]float64{top, bottom} {
		v.crossings = v.crossings[:0]
		for i, a := range p {
			b := p[(i+1)%len(p)]
			switch {
			case a.Y <= y && b.Y > y:
				v.crossings = append(v.crossings, crossing{meet(a, b, y), 1})
			case b.Y <= y && a.Y > y:
				v.crossings = append(v.crossings, crossing{meet(a, b, y), -1})
			}
		}
		slices.SortFunc(v.crossings, func(a, b crossing) int { return cmp.Compare(a.x, b.x) })
		for i, winding := 0, 0; i+1 < len(v.crossings); i++ {
			if winding += v.crossings[i].down; winding != 0 {
				v.add(v.crossings[i].x, v.crossings[i+1].x)
			}
		}
	}
}

// between says whether a polygon reaches above and below a height.
func between(p []fleet.Point, y float64) bool {
	above, below := false, false
	for _, q := range p {
		above, below = above || q.Y <= y, below || q.Y >= y
	}
	return above && below
}

// meet is where the edge from a to b, which is not level, is at height y.
func meet(a, b fleet.Point, y float64) float64 {
	return a.X + float64((b.X-a.X)*((y-a.Y)/(b.Y-a.Y))) // rounded twice, on every processor
}
