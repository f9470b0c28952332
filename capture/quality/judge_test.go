//go:build !race

package quality_test

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// camera feeds frames to Judge, one a minute.
type camera struct {
	at    time.Time
	state quality.State
	meter quality.Meter

	studio bool // what the stream says of the range
}

// reduce is a plain mean over the cells: Judge does not ask who made the grid.
func reduce(p codec.Plane) *codec.Grid {
	var g codec.Grid
	for i := range g.Pix {
		x, y := i%64, i/64
		x0, x1, y0, y1 := x*p.Width/64, max(x*p.Width/64+1, (x+1)*p.Width/64), y*p.Height/64, max(y*p.Height/64+1, (y+1)*p.Height/64)
		sum := 0
		for v := y0; v < y1; v++ {
			for _, b := range p.Row(v)[x0:x1] {
				sum += int(b)
			}
		}
		g.Pix[i] = float32(sum) / float32((x1-x0)*(y1-y0))
	}
	return &g
}

func (c *camera) judge(p codec.Plane) quality.Verdict {
	scores := c.meter.Score(p)
	c.at = c.at.Add(time.Minute)
	v, s := quality.Judge(quality.Options{}, c.state, quality.Sample{Scores: &scores, Grid: reduce(p), At: c.at, Studio: c.studio})
	c.state = s
	return v
}

// light is how a scene is seen by day or by night.
func light(night bool) view {
	if night {
		return view{gain: 0.25, noise: 3}
	}
	return view{gain: 1, noise: 2}
}

// learn shows the camera ordinary frames: the light wavers a little.
func (c *camera) learn(t *testing.T, s *scene, night bool) {
	t.Helper()
	c.at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 20 {
		o := light(night)
		o.gain *= 1 + 0.05*math.Sin(float64(i))
		if v := c.judge(s.draw(o)); v.Kind != quality.Ok {
			t.Errorf("ordinary frame %d (night: %v): %+v", i, night, v)
		}
	}
}

// fault is one thing that happens to a camera.
type fault struct {
	want quality.Kind
	do   func(s *scene, o view) codec.Plane
}

func faults() map[string]fault {
	painted := func(f func(x, y int, v float64) float64) func(*scene, view) codec.Plane {
		return func(s *scene, o view) codec.Plane {
			o.paint = f
			return s.draw(o)
		}
	}
	hand := func(x, y int, v float64) float64 { return 60 + float64(x)/12 + float64(y)/20 }
	return map[string]fault{
		"black": {quality.Black, func(s *scene, o view) codec.Plane { o.gain = 0.001; o.noise = 2; return s.draw(o) }},
		"white": {quality.OverExposed, func(s *scene, o view) codec.Plane { o.gain *= 40; return s.draw(o) }},
		"flat":  {quality.Flat, func(s *scene, o view) codec.Plane { o.haze, o.hazeLevel, o.noise = 1, 90, 1; return s.draw(o) }},
		"blur":  {quality.Blurred, func(s *scene, o view) codec.Plane { o.blur = 4; return s.draw(o) }},
		"hand":  {quality.Covered, painted(hand)},
		"hand over two thirds": {quality.Covered, painted(func(x, y int, v float64) float64 {
			if x < 220 {
				return hand(x, y, v)
			}
			return v
		})},
		"turned":        {quality.Moved, func(s *scene, o view) codec.Plane { o.dx, o.dy = 40, 10; return s.draw(o) }},
		"knocked":       {quality.Moved, func(s *scene, o view) codec.Plane { o.dx, o.dy = -25, -15; return s.draw(o) }},
		"noise":         {quality.Noisy, func(s *scene, o view) codec.Plane { o.noise = 14; return s.draw(o) }},
		"cut off below": {quality.Corrupt, painted(func(x, y int, v float64) float64 { return v })},
		// What is no fault.
		"fog": {quality.Ok, func(s *scene, o view) codec.Plane {
			o.haze, o.hazeLevel = 0.5, 170*o.gain
			return s.draw(o)
		}},
		"headlights": {quality.Ok, painted(func(x, y int, v float64) float64 {
			for _, cx := range []int{100, 150} {
				d := math.Hypot(float64(x-cx), float64(y-120))
				v += 400 * math.Exp(-d*d/300)
			}
			return v
		})},
		"rain": {quality.Ok, painted(func(x, y int, v float64) float64 {
			if (x*7+y*3)%97 == 0 && y%23 > 6 {
				v += 35
			}
			return v
		})},
		"truck": {quality.Ok, painted(func(x, y int, v float64) float64 {
			if x > 100 && x < 200 && y > 70 && y < 150 {
				return 140
			}
			return v
		})},
		"clouds": {quality.Ok, func(s *scene, o view) codec.Plane { o.gain *= 0.75; return s.draw(o) }},
	}
}

// TestVerdicts shows each fault and each thing that is none to cameras that have
// learned their scene, by day and by night. The limits were chosen on the scenes
// with seeds below 40; these are others.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	const scenes, first = 20, 1000
	type tally struct{ right, shown int }
	recall := map[string]*tally{}
	said := map[quality.Kind]*tally{}
	for n := range scenes {
		for _, night := range []bool{false, true} {
			s := newScene(uint64(first + n))
			var taught camera
			taught.learn(t, s, night)
			all := faults()
			for _, name := range slices.Sorted(maps.Keys(all)) {
				f := all[name]
				c := camera{at: taught.at, state: taught.state}
				p := f.do(s, light(night))
				if f.want == quality.Corrupt {
					for y := sceneHeight * 2 / 3; y < sceneHeight; y++ {
						row := p.Row(y)
						for x := range row {
							row[x] = 128
						}
					}
				}
				v := c.judge(p)
				if recall[name] == nil {
					recall[name] = &tally{}
				}
				if said[v.Kind] == nil {
					said[v.Kind] = &tally{}
				}
				recall[name].shown++
				said[v.Kind].shown++
				if v.Kind == f.want {
					recall[name].right++
					said[v.Kind].right++
				} else {
					t.Logf("%s, scene %d, night %v: %+v", name, n, night, v)
				}
			}
		}
	}
	for name, r := range recall {
		t.Logf("%-22s recall %d of %d", name, r.right, r.shown)
		if float64(r.right) < 0.9*float64(r.shown) {
			t.Errorf("%s is known in %d of %d", name, r.right, r.shown)
		}
	}
	for k, r := range said {
		t.Logf("%-14s precision %d of %d", k, r.right, r.shown)
		if k != quality.Ok && float64(r.right) < 0.95*float64(r.shown) {
			t.Errorf("%s is right in %d of %d", k, r.right, r.shown)
		}
	}
}

// TestCloth: dark cloth with folds has as much structure as a scene, and is none.
func TestCloth(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		s := newScene(1000 + seed)
		var c camera
		c.learn(t, s, false)
		o := light(false)
		o.paint = func(x, y int, _ float64) float64 { return 14 + 12*float64((x+y/4)/16%2) }
		if v := c.judge(s.draw(o)); v.Kind != quality.Covered {
			t.Errorf("scene %d: %+v", seed, v)
		}
	}
}

// TestUnderExposed: a tenth of the light by day is a fault, and night is none.
func TestUnderExposed(t *testing.T) {
	t.Parallel()
	for seed := range uint64(10) {
		s := newScene(1000 + seed)
		var c camera
		c.learn(t, s, false)
		o := light(false)
		o.gain = 0.1
		v := c.judge(s.draw(o))
		if v.Kind != quality.UnderExposed || v.Evidence.Metric != "mean" || v.Evidence.Value >= v.Evidence.Limit || v.Evidence.Limit >= v.Evidence.Usual {
			t.Errorf("scene %d: %+v", seed, v)
		}
	}
}

// TestMovedByHowMuch holds the measured shift to the true one.
func TestMovedByHowMuch(t *testing.T) {
	s := newScene(5)
	var c camera
	c.learn(t, s, false)
	for _, d := range [][2]int{{40, 0}, {-30, 20}, {13, -27}} {
		o := light(false)
		o.dx, o.dy = d[0], d[1]
		k := camera{at: c.at, state: c.state}
		v := k.judge(s.draw(o))
		x, y := -float64(v.Shift.X)*sceneWidth, -float64(v.Shift.Y)*sceneHeight
		if v.Kind != quality.Moved || math.Abs(x-float64(d[0])) > 3 || math.Abs(y-float64(d[1])) > 3 {
			t.Errorf("turned by %v: %s by %.1f, %.1f", d, v.Kind, x, y)
		}
	}
}

// TestFrozen: the same frame again, from a camera whose frames never are the same.
func TestFrozen(t *testing.T) {
	for _, night := range []bool{false, true} {
		s := newScene(9)
		var c camera
		c.learn(t, s, night)
		p := s.draw(light(night))
		if v := c.judge(p); v.Kind != quality.Ok {
			t.Errorf("the first of them: %+v", v)
		}
		for i := range 3 {
			v := c.judge(p)
			if v.Kind != quality.Frozen || v.Before.Mean != 0 || v.Before.Changed != 0 || v.Background.Correlation < 0.9 {
				t.Errorf("night %v, repetition %d: %+v", night, i, v)
			}
			if lasts := v.Lasting == quality.Frozen; lasts != (i >= 1) {
				t.Errorf("repetition %d lasts: %v", i, lasts)
			}
		}
		if v := c.judge(s.draw(light(night))); v.Kind != quality.Ok {
			t.Errorf("awake again: %+v", v)
		}
	}
}

// TestNightFalls: another light is another picture and no fault.
func TestNightFalls(t *testing.T) {
	s := newScene(3)
	var c camera
	c.learn(t, s, false)
	for i := range 40 {
		o := light(true)
		o.paint = func(x, y int, v float64) float64 { return v * (1.3 - math.Abs(float64(x-160))/200) } // the camera's own lamp
		if v := c.judge(s.draw(o)); v.Kind != quality.Ok {
			t.Fatalf("night frame %d: %+v", i, v)
		}
	}
}

// TestRelearn: after a move was accepted, where it points now is how it stands.
func TestRelearn(t *testing.T) {
	s := newScene(7)
	var c camera
	c.learn(t, s, false)
	turned := light(false)
	turned.dx = 45
	for range 3 {
		if v := c.judge(s.draw(turned)); v.Kind != quality.Moved {
			t.Fatalf("turned: %+v", v)
		}
	}
	if c.state.Lasting() != quality.Moved {
		t.Fatal("it does not last")
	}
	c.state = c.state.Relearned()
	for i := range 30 {
		if v := c.judge(s.draw(turned)); v.Kind != quality.Ok || v.Lasting != quality.Ok {
			t.Fatalf("frame %d after it was accepted: %+v", i, v)
		}
	}
	if v := c.judge(s.draw(light(false))); v.Kind != quality.Moved {
		t.Errorf("turned back: %+v", v)
	}
}

// TestLasting: a fault lasts after its frames and its time, and ends after calm ones.
func TestLasting(t *testing.T) {
	s := newScene(11)
	var c camera
	c.learn(t, s, false)
	blur := light(false)
	blur.blur = 5
	for i, step := range []struct {
		bad     bool
		lasting quality.Kind
	}{{true, quality.Ok}, {false, quality.Ok}, {true, quality.Ok}, {true, quality.Blurred}, {false, quality.Blurred}, {false, quality.Blurred}, {true, quality.Blurred}, {false, quality.Blurred}, {false, quality.Blurred}, {false, quality.Ok}} {
		o := light(false)
		if step.bad {
			o = blur
		}
		if v := c.judge(s.draw(o)); (v.Kind == quality.Blurred) != step.bad || v.Lasting != step.lasting {
			t.Errorf("step %d: %s, lasting %s, want %s", i, v.Kind, v.Lasting, step.lasting)
		}
	}
}

// TestLastingOverClocks: a clock that is set back while there is a fault is no
// reason to wait until it is as late as it was.
func TestLastingOverClocks(t *testing.T) {
	s := newScene(11)
	var c camera
	c.learn(t, s, false)
	blur := light(false)
	blur.blur = 5
	c.judge(s.draw(blur))
	c.at = c.at.Add(-15 * time.Minute)
	for i, want := range []quality.Kind{quality.Ok, quality.Blurred} {
		if v := c.judge(s.draw(blur)); v.Kind != quality.Blurred || v.Lasting != want || c.state.Since().After(c.at) {
			t.Errorf("frame %d: %s, lasting %s since %s, at %s", i, v.Kind, v.Lasting, c.state.Since(), c.at)
		}
	}
}

// TestFaultsTeachNothing: an hour under a hand leaves the limits where they were.
func TestFaultsTeachNothing(t *testing.T) {
	s := newScene(13)
	var c camera
	c.learn(t, s, false)
	for range 60 {
		if v := c.judge(faults()["hand"].do(s, light(false))); v.Kind == quality.Ok {
			t.Fatalf("covered: %+v", v)
		}
	}
	if v := c.judge(s.draw(light(false))); v.Kind != quality.Ok {
		t.Errorf("uncovered: %+v", v)
	}
}

// TestKindText: the words are the ones that retakes are asked for by.
func TestKindText(t *testing.T) {
	for k := quality.Ok; k <= quality.Corrupt; k++ {
		b, err := k.MarshalText()
		var got quality.Kind
		if err != nil || got.UnmarshalText(b) != nil || got != k {
			t.Errorf("%s becomes %s", k, got)
		}
	}
	var k quality.Kind
	if k.UnmarshalText([]byte("fine")) == nil {
		t.Error("fine is taken for a verdict")
	}
}

// TestShiftProperty: a plane moved around its edges is found again.
func TestShiftProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		var from, to quality.Plane
		for i := range from {
			from[i] = byte(rng.IntN(256))
		}
		dx, dy := rapid.IntRange(-12, 12).Draw(t, "dx"), rapid.IntRange(-12, 12).Draw(t, "dy")
		for i := range to {
			to[i] = from[(i/64-dy+64)%64*64+(i%64-dx+64)%64]
		}
		s := quality.MeasureShift(&from, &to)
		if math.Abs(float64(s.X)*64-float64(dx)) > 0.6 || math.Abs(float64(s.Y)*64-float64(dy)) > 0.6 || s.Correlation < 0.99 {
			t.Fatalf("moved by %d, %d: %+v in cells %.2f, %.2f", dx, dy, s, s.X*64, s.Y*64)
		}
	})
}

func TestJudgeAllocatesNothing(t *testing.T) {
	s := newScene(21)
	p := s.draw(light(false))
	scores, grid := quality.Score(p), reduce(p)
	var state quality.State
	n := testing.AllocsPerRun(20, func() {
		_, state = quality.Judge(quality.Options{}, state, quality.Sample{Scores: &scores, Grid: grid, At: time.Unix(1e9, 0)})
	})
	if n != 0 {
		t.Errorf("%v allocations a frame, want none", n)
	}
}

// TestMissingIsCorrupt: a part that did not come is that, whatever the picture
// looks like with it.
func TestMissingIsCorrupt(t *testing.T) {
	for _, v := range []byte{0, 128, 255} {
		p := codec.Plane{Pix: bytes.Repeat([]byte{v}, 64*64), Width: 64, Height: 64, Stride: 64}
		scores := quality.Score(p)
		got, s := quality.Judge(quality.Options{}, quality.State{}, quality.Sample{Scores: &scores, Grid: reduce(p), At: time.Unix(0, 0), Missing: 0.25})
		if got.Kind != quality.Corrupt || got.Evidence.Metric != "missing" || got.Evidence.Value != 0.25 || s.Lasting() != quality.Ok {
			t.Errorf("level %d with a quarter missing: %+v", v, got)
		}
	}
}
