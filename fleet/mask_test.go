package fleet

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseMask(t *testing.T) {
	for text, says := range map[string]string{
		`{"rectangles": [{"x":0.7,"y":0,"width":0.3,"height":1}]}`:    "",
		`{"polygons": [[{"x":0,"y":0},{"x":1,"y":0},{"x":1,"y":1}]]}`: "",
		`{}`:                 "hides nothing",
		`{"rectangles": []}`: "hides nothing",
		`{"rects": [{"x":0,"y":0,"width":1,"height":1}]}`:  `unknown field "rects": want {"rectangles"`,
		`{"rectangles": [{"x":0,"y":0,"w":1,"height":1}]}`: `unknown field "w": want {"rectangles"`,
		`{"rectangles": [{"x":"0"}]}`:                      "want {",
		`{"rectangles": [{"x":0,"y":0,"width":0.1,"height":1}], "Rectangles": [{"x":0.5,"y":0,"width":0.1,"height":1}]}`: `"Rectangles" twice`,
		`{"rectangles": [{"x":0,"y":0,"width":0.9,"height":1,"Width":0.1}]}`:                                             `"Width" twice`,
		`{"polygons": [[{"x":0,"y":0},{"x":1,"y":0},{"x":1,"y":1,"y":0.1}]]}`:                                            `"y" twice`,
		`{"rectangles": [{"x":0.7,"width":0.3,"height":1}]}`:                                                             "part is missing",
		`{"rectangles": [{"x":0,"y":0,"width":0.3,"height":1},{"width":0.3,"height":1,"y":0}]}`:                          "part is missing",
		`{"polygons": [[{"x":0,"y":0},{"x":1},{"x":1,"y":1}]]}`:                                                          "part is missing",
		`{"polygons": [[{"x":0,"y":0},null,{"x":1,"y":1}]]}`:                                                             "null",
		`{"polygons": [[{"x":0.5,"y":0},{"x":null,"y":0.5},{"x":1,"y":1}]]}`:                                             "null",
		`{"rectangles": null, "polygons": [[{"x":0,"y":0},{"x":1,"y":0},{"x":1,"y":1}]]}`:                                "",
		`{"polygons": [[{"x":0.2,"y":0.2},{"x":0.2,"y":0.2},{"x":0.2,"y":0.2}]]}`:                                        "on one line",
		`{"polygons": [[{"x":0.2,"y":0.2},{"x":0.2,"y":0.9},{"x":0.2,"y":0.4}]]}`:                                        "on one line",
		`{"polygons": [[{"x":0,"y":0},{"x":0,"y":0},{"x":1,"y":1},{"x":0,"y":1}]]}`:                                      "", // points that coincide are none the worse
		`{"polygons": [[{"x":0,"y":0},{"x":1,"y":1},{"x":1,"y":0},{"x":0,"y":1}]]}`:                                      "", // it crosses itself
		`{"rectangles": [{"x":0,"y":0,"width":1,"height":1}], "rectangleſ": [{"x":0.5,"y":0,"width":0.1,"height":1}]}`:   `"rectangleſ" twice`,
		`[]`:   "want {",
		`null`: "hides nothing",
		``:     "want {",
		`{"rectangles": [{"x":0,"y":0,"width":1,"height":1}]} {}`:                     "behind its end",
		`{"rectangles": [{"x":0.7,"y":0,"width":0.4,"height":1}]}`:                    "rectangle 0",
		`{"rectangles": [{"x":0.7,"y":0,"width":0,"height":1}]}`:                      "rectangle 0",
		`{"rectangles": [{"x":-0.1,"y":0,"width":0.4,"height":1}]}`:                   "rectangle 0",
		`{"polygons": [[{"x":0,"y":0},{"x":1,"y":0}]]}`:                               "2 points",
		`{"polygons": [[{"x":0,"y":0},{"x":1,"y":0},{"x":1,"y":640}]]}`:               "point 2 of polygon 0",
		`{"polygons": [` + strings.Repeat(`[],`, 64) + `[]]}`:                         "65 shapes",
		`{"polygons": [[` + strings.Repeat(`{"x":0,"y":0},`, 64) + `{"x":0,"y":0}]]}`: "65 points",
		`{"polygons": ` + strings.Repeat(`[`, 8000):                                   "want {",
		strings.Repeat(" ", MaxMaskBytes) + `{}`:                                      "use fewer points",
	} {
		m, err := ParseMask([]byte(text))
		if (err == nil) != (says == "") || (m == nil) != (err != nil) || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%.80s: %v, want %q", text, err, says)
		}
	}
	if err := (&Mask{Rectangles: []Rectangle{{X: math.NaN(), Width: 1, Height: 1}}}).Check(); err == nil {
		t.Error("a rectangle at no place passes")
	}
}

// TestMaskSum: a mask that went through JSON has the sum it had, which is how
// the centre knows under which mask an agent's thumbnail was made; another one
// has another.
func TestMaskSum(t *testing.T) {
	share := rapid.Float64Range(0, 1)
	masks := rapid.Custom(func(t *rapid.T) *Mask {
		m := &Mask{}
		for range rapid.IntRange(0, 3).Draw(t, "rectangles") {
			x, y := rapid.Float64Range(0, 0.9).Draw(t, "x"), rapid.Float64Range(0, 0.9).Draw(t, "y")
			m.Rectangles = append(m.Rectangles, Rectangle{x, y, rapid.Float64Range(0.001, 1-x).Draw(t, "w"), rapid.Float64Range(0.001, 1-y).Draw(t, "h")})
		}
		for range rapid.IntRange(0, 3).Draw(t, "polygons") {
			p := []Point{{0, 0.5}, {0.5, 0}, {0.5, 0.25}} // an area, whatever follows
			for range rapid.IntRange(0, 4).Draw(t, "points") {
				p = append(p, Point{share.Draw(t, "px"), share.Draw(t, "py")})
			}
			m.Polygons = append(m.Polygons, p)
		}
		return m
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := masks.Draw(t, "a"), masks.Draw(t, "b")
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseMask(text)
		if (err != nil) != a.Empty() || err == nil && again.Sum() != a.Sum() {
			t.Fatalf("%s: %v, sum %s, was %s", text, err, again.Sum(), a.Sum())
		}
		if (a.Sum() == 0) != a.Empty() {
			t.Fatalf("%s has the sum %q", text, a.Sum())
		}
		other, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		if (string(text) == string(other)) != (a.Sum() == b.Sum()) {
			t.Fatalf("%s and %s have the sums %s and %s", text, other, a.Sum(), b.Sum())
		}
		var back MaskSum
		word, _ := a.Sum().MarshalText()
		if err := back.UnmarshalText(word); err != nil || back != a.Sum() {
			t.Fatalf("%s is read as %s: %v", word, back, err)
		}
	})
}

// TestMaskSumIsFixed: sums lie in stores and on the wire.
func TestMaskSumIsFixed(t *testing.T) {
	m, err := ParseMask([]byte(`{"rectangles":[{"x":0.5,"y":0.5,"width":0.5,"height":0.5}],"polygons":[[{"x":0,"y":0},{"x":0.25,"y":0},{"x":0,"y":0.25}]]}`))
	if err != nil || m.Sum().String() != "056d1d3c196c6fe3" {
		t.Errorf("%v: %s", err, m.Sum())
	}
}

func FuzzParseMask(f *testing.F) {
	f.Add([]byte(`{"rectangles":[{"x":0.5,"y":0.5,"width":0.5,"height":0.5}],"polygons":[[{"x":0,"y":0},{"x":0.25,"y":0},{"x":0,"y":0.25}]]}`))
	f.Add([]byte(`{"polygons":[[{"x":-0,"y":1e-320},{"X":1}]]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseMask(text)
		if err != nil {
			return
		}
		if m.Empty() || m.Check() != nil {
			t.Fatalf("%q is taken as %+v: %v", text, m, m.Check())
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseMask(b); err == nil && again.Sum() != m.Sum() {
			t.Fatalf("%q: sum %s, then %s", text, m.Sum(), again.Sum())
		}
	})
}

func TestMaskJoin(t *testing.T) {
	r := func(x float64) Rectangle { return Rectangle{X: x, Width: 0.1, Height: 1} }
	p := func(x float64) []Point { return []Point{{X: x}, {X: 1}, {Y: 1}} }
	a := &Mask{Rectangles: []Rectangle{r(0), r(0.2)}, Polygons: [][]Point{p(0)}}
	b := &Mask{Rectangles: []Rectangle{r(0.2), r(0.4)}, Polygons: [][]Point{p(0), p(0.5)}}
	all := &Mask{Rectangles: []Rectangle{r(0), r(0.2), r(0.4)}, Polygons: [][]Point{p(0), p(0.5)}}
	was := a.Sum()
	for _, c := range []struct{ x, y, want *Mask }{{a, b, all}, {a, a, a}, {all, a, all}, {nil, b, b}, {a, nil, a}, {nil, &Mask{}, nil}} {
		if got := c.x.Join(c.y); got.Sum() != c.want.Sum() || got.Empty() != c.want.Empty() {
			t.Errorf("%+v and %+v hide %+v together, want %+v", c.x, c.y, got, c.want)
		}
	}
	if a.Sum() != was {
		t.Error("a joined mask changed")
	}
}
