//go:build !race

package quality_test

import (
	"math"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// clocked writes a clock over a picture, as most cameras do.
func clocked(p codec.Plane, n int) codec.Plane {
	for y := 4; y < 12; y++ {
		for x := 6; x < 66; x++ {
			p.Row(y)[x] = 15
			if (x/3*7+y/2*5+n)%3 == 0 {
				p.Row(y)[x] = 240
			}
		}
	}
	return p
}

// TestClockHidesNothing: the sharp digits of a clock over a picture that is
// blurred, or that is a blank screen, do not make it a good one.
func TestClockHidesNothing(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		s := newScene(1000 + seed)
		var c camera
		c.at = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		for i := range 20 {
			if v := c.judge(clocked(s.draw(light(false)), i)); v.Kind != quality.Ok {
				t.Fatalf("scene %d, frame %d: %+v", seed, i, v)
			}
		}
		for want, o := range map[quality.Kind]view{quality.Blurred: {gain: 1, noise: 2, blur: 5}, quality.Flat: {gain: 1, haze: 1, hazeLevel: 110, noise: 1}} {
			k := camera{at: c.at, state: c.state}
			if v := k.judge(clocked(s.draw(o), 99)); v.Kind != want {
				t.Errorf("scene %d is %+v, want %s", seed, v, want)
			}
		}
	}
}

// TestRowsLost: rows that repeat the last good one are lost ones; a mask that is
// there from the first frame on is none.
func TestRowsLost(t *testing.T) {
	s := newScene(31)
	mask := func(p codec.Plane) codec.Plane {
		for y := sceneHeight * 5 / 6; y < sceneHeight; y++ {
			row := p.Row(y)
			for x := range row {
				row[x] = 128
			}
		}
		return p
	}
	smear := func(p codec.Plane, from int) codec.Plane {
		for y := from; y < sceneHeight; y++ {
			copy(p.Row(y), p.Row(from-1))
		}
		return p
	}
	var open, masked camera
	open.learn(t, s, false)
	for i := range 20 {
		if v := masked.judge(mask(s.draw(light(false)))); v.Kind != quality.Ok {
			t.Fatalf("frame %d behind a mask: %+v", i, v)
		}
	}
	for _, from := range []int{sceneHeight / 2, sceneHeight * 3 / 4, sceneHeight * 7 / 8} {
		k := camera{at: open.at, state: open.state}
		if v := k.judge(smear(s.draw(light(false)), from)); v.Kind != quality.Corrupt {
			t.Errorf("smeared from row %d: %+v", from, v)
		}
	}
	if v := masked.judge(smear(mask(s.draw(light(false))), sceneHeight/2)); v.Kind != quality.Corrupt {
		t.Errorf("half is lost beside the mask: %+v", v)
	}
}

// TestLitNight: a street whose nights are as bright as others' days, and show
// other windows, is learned in a day without an alarm, and both its looks are
// known from then on.
func TestLitNight(t *testing.T) {
	t.Parallel()
	day, night := newScene(41), newScene(42)
	draw := func(share float64) codec.Plane { // of the night
		a, b := day.draw(light(false)), night.draw(view{gain: 0.75, noise: 2})
		for i := range a.Pix {
			a.Pix[i] = uint8(float64(a.Pix[i])*(1-share) + float64(b.Pix[i])*share)
		}
		return a
	}
	var c camera
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 2 * 96 {
		hour := math.Mod(float64(i)/4, 24)
		c.at = begin.Add(time.Duration(i)*15*time.Minute - time.Minute)
		share := min(1, max(0, math.Abs(hour-12.5)-5.5)) // dusk and dawn take an hour
		if v := c.judge(draw(share)); v.Kind != quality.Ok {
			t.Fatalf("day %d, %.2f h: %+v", i/96, hour, v)
		}
	}
	for _, hour := range []int{13, 1} {
		for want, p := range map[quality.Kind]codec.Plane{
			quality.Ok:      draw(map[int]float64{13: 0, 1: 1}[hour]),
			quality.Moved:   newScene(43).draw(light(false)),
			quality.Covered: faults()["hand"].do(day, light(false)),
		} {
			k := camera{at: begin.AddDate(0, 0, 2).Add(time.Duration(hour) * time.Hour), state: c.state}
			v := k.judge(p)
			if v.Kind != want {
				t.Errorf("at %d h: %+v, want %s", hour, v, want)
			}
			if v.Kind == quality.Moved && (v.Shift.X != 0 || v.Shift.Y != 0) {
				t.Errorf("another scene altogether is shifted by %+v", v.Shift)
			}
		}
	}
}

// TestLitDawn: the first day of a camera whose nights are as bright, and show
// other windows, comes within 39 minutes and is there before an hour ends: that
// is no move. Another picture at once is one.
func TestLitDawn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		day, night, away := newScene(41+3*seed), newScene(42+3*seed), newScene(43+3*seed)
		for _, begin := range []float64{6.65, 6.7, 6.75} {
			var c camera
			for i := range 40 {
				c.at = time.Date(2026, 3, 1, 0, 15*i-1, 0, 0, time.UTC)
				share := min(1, max(0, (float64(i)/4-begin)/0.65))
				p, q := night.draw(view{gain: 0.75, noise: 2}), day.draw(light(false))
				for k := range p.Pix {
					p.Pix[k] = uint8(float64(p.Pix[k])*(1-share) + float64(q.Pix[k])*share)
				}
				if share == 0 && i > 20 && i%4 > 1 {
					k := c
					if v := k.judge(away.draw(light(false))); v.Kind != quality.Moved {
						t.Errorf("scene %d, another picture at %s: %+v", seed, c.at.Format("15:04"), v)
					}
				}
				if v := c.judge(p); v.Kind != quality.Ok {
					t.Errorf("scene %d, dawn from %.2f h, at %s: %+v", seed, begin, c.at.Format("15:04"), v)
				}
			}
		}
	}
}

// TestPlainView: a wall with a few pipes, in the light of the hour, is what a
// camera was moved to; a hand that leaves as much of the scene at its rim is none.
func TestPlainView(t *testing.T) {
	t.Parallel()
	wall := func(x, y int, _ float64) float64 {
		if x%84 == 40 || x%84 == 42 {
			return 30
		}
		return 95 + float64(x)/9
	}
	hand := func(x, y int, v float64) float64 {
		if x > 290 {
			return v
		}
		return 95 + float64(x)/9
	}
	for seed := range uint64(10) {
		s := newScene(1000 + seed)
		var c camera
		c.learn(t, s, false)
		for _, x := range []struct {
			paint func(x, y int, v float64) float64
			want  quality.Kind
		}{{wall, quality.Moved}, {hand, quality.Covered}} {
			o := light(false)
			o.paint = x.paint
			k := camera{at: c.at, state: c.state}
			if v := k.judge(clocked(s.draw(o), 0)); v.Kind != x.want {
				t.Errorf("scene %d, want %s: %+v", seed, x.want, v)
			}
		}
	}
}

// TestNightByDay: a camera that shows at noon what its nights look like, for a
// filter that stuck or a storm, is not under-exposed; with less than that it is.
func TestNightByDay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		s := newScene(1000 + seed)
		var c camera
		c.learn(t, s, false)
		dim := func(share float64) quality.Verdict {
			o := light(true)
			o.gain = 0.16 * share
			return c.judge(s.draw(o))
		}
		noon := c.at
		c.at = noon.Add(11 * time.Hour)
		for i := range 20 {
			if v := dim(1 + 0.05*math.Sin(float64(i))); v.Kind != quality.Ok {
				t.Fatalf("scene %d, frame %d of the night: %+v", seed, i, v)
			}
		}
		c.at = noon.Add(24 * time.Hour)
		if v := dim(1); v.Kind != quality.Ok {
			t.Errorf("scene %d, as by night: %+v", seed, v)
		}
		if v := dim(0.6); v.Kind != quality.UnderExposed {
			t.Errorf("scene %d, darker than that: %+v", seed, v)
		}
	}
}

// TestDarkByLitNight: nights that are lit count as days, so that no ordinary
// frame was ever as dark as what covers such a camera by night, and it is told
// all the same; so it is where they are nights since the first day has come, of
// which there were few yet. In an hour after which none is known it may be the
// first night.
func TestDarkByLitNight(t *testing.T) {
	t.Parallel()
	folds := func(x, y int, _ float64) float64 { return 18 + 5*math.Sin(float64(x)/23+float64(y)/31) }
	for _, lit := range []struct{ night, day float64 }{{57, 100}, {92, 180}} { // mean levels
		for seed := range uint64(4) {
			c := parked{t: t, scene: newScene(1000 + seed)}
			unit := mean(c.scene.draw(view{}))
			night, day := view{gain: lit.night / unit, noise: 2}, view{gain: lit.day / unit, noise: 2}
			hidden := night
			hidden.paint = folds
			at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
			for range 96 {
				o := night
				if h := at.Hour(); h >= 7 && h < 23 {
					o = day
				}
				if k := c; at.Hour() == 5 && lit.night < 65 && k.frame(at, hidden).Kind != quality.Ok {
					t.Errorf("scene %d, nights of %.0f levels: dark for the first time, and after that hour none is known", seed, lit.night)
				}
				c.ordinary("an ordinary frame", at, o)
				at = at.Add(15 * time.Minute)
			}
			at = at.Add(2 * time.Hour)
			for n := range 3 {
				k := c
				if v := k.frame(at, hidden); v.Kind != quality.Covered {
					t.Errorf("scene %d, nights of %.0f levels, after %d frames of the second: cloth is %+v", seed, lit.night, n, v)
				}
				c.ordinary("an ordinary frame", at, night)
				at = at.Add(15 * time.Minute)
			}
		}
	}
}

// mean is the mean luma of a picture, in levels.
func mean(p codec.Plane) float64 {
	sum := 0
	for _, v := range p.Pix {
		sum += int(v)
	}
	return float64(sum) / float64(len(p.Pix))
}
