//go:build !race

package quality_test

import (
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// van stands before the left of the picture: too much is as it was for a fault,
// too little for the same look.
func van(width int) func(x, y int, v float64) float64 {
	return func(x, y int, v float64) float64 {
		switch {
		case x >= width || y < 8:
			return v
		case x%60 > 20 && x%60 < 45 && y > 40 && y < 80, y > 150 && x/30%3 == 1: // windows and wheels
			return 35
		}
		return 150 + float64(y)/10
	}
}

// vanWidth makes one frame in a hundred of the van a fault.
const vanWidth = sceneWidth * 54 / 100

// parked is a camera that has learned its scene and the frames after it.
type parked struct {
	camera
	t     *testing.T
	scene *scene
}

func (c *parked) frame(at time.Time, o view) quality.Verdict {
	c.at = at.Add(-time.Minute)
	return c.judge(c.scene.draw(o))
}

// ordinary fails the test when a frame is taken for a fault.
func (c *parked) ordinary(what string, at time.Time, o view) {
	c.t.Helper()
	if v := c.frame(at, o); v.Kind != quality.Ok {
		c.t.Errorf("%s at %s is %+v", what, at.Format("Mon 15:04"), v)
	}
}

// told fails the test unless a hand is told from now on, and a turn; the camera
// goes on as if there had been none.
func (c *parked) told(when string, at time.Time, o view) {
	c.t.Helper()
	turned, covered := o, o
	turned.dx, turned.dy = 40, 10
	covered.paint = func(x, y int, _ float64) float64 { return (60 + float64(x)/12 + float64(y)/20) * max(0.4, o.gain) }
	for want, o := range map[quality.Kind]view{quality.Moved: turned, quality.Covered: covered} {
		k := *c
		if v := k.frame(at, o); v.Kind != want {
			c.t.Errorf("%s, at %s: %s is called %+v", when, at.Format("Mon 15:04"), want, v)
		}
	}
}

// TestOddFrames: what stands before a camera for a while does not blind it. A
// hand over the lens is told while the van is there and once it has left, on the
// first day and on others.
func TestOddFrames(t *testing.T) {
	t.Parallel()
	day := light(false)
	with := day
	with.paint = van(vanWidth)
	for _, days := range []int{0, 2} {
		for seed := range uint64(6) {
			c := parked{t: t, scene: newScene(1000 + seed)}
			at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
			step := 2 * time.Minute
			if days > 0 {
				step = 20 * time.Minute
			}
			for range max(20, days*72) {
				c.ordinary("an ordinary frame", at, day)
				at = at.Add(step)
			}
			c.told("once it is known", at, day)
			for n := range 12 {
				c.ordinary("the van", at, with)
				at = at.Add(time.Minute)
				c.told("beside the van", at, day)
				if n > 4 {
					hidden := with
					hidden.paint = func(x, y int, _ float64) float64 { return 60 + float64(x)/12 + float64(y)/20 }
					k := c
					if v := k.frame(at, hidden); v.Kind != quality.Covered {
						t.Errorf("day %d, scene %d: with a hand over it the van is %+v", days, seed, v)
					}
				}
			}
			for range 3 {
				c.ordinary("the van has left", at, day)
				at = at.Add(time.Minute)
				c.told("once the van has left", at, day)
			}
		}
	}
}

// nights are other pictures than days: what lamps show, from another side.
func nights(day, night *scene) func(hour int) codec.Plane {
	return func(hour int) codec.Plane {
		if hour >= 7 && hour < 19 {
			return day.draw(light(false))
		}
		return night.draw(light(true))
	}
}

// TestHourly: a camera that takes a frame an hour has eleven of each night, and
// learns what its nights look like over several. No day in between makes it
// forget, nothing is told of the nights, and faults by day are told from the
// second day on.
func TestHourly(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		c := parked{t: t, scene: newScene(1000 + seed)}
		draw := nights(c.scene, newScene(2000+seed))
		at := time.Date(2026, 3, 1, 7, 0, 0, 0, time.UTC)
		for i := range 5 * 24 {
			k := parked{camera: c.camera, t: t, scene: c.scene}
			if h := at.Hour(); i > 24 && h > 11 && h < 18 {
				k.told("by day", at, light(false))
			}
			c.at = at.Add(-time.Minute)
			if v := c.judge(draw(at.Hour())); v.Kind != quality.Ok {
				t.Errorf("scene %d, %s is %+v", seed, at.Format("Mon 15:04"), v)
			}
			if i > 3*24 && (at.Hour() < 7 || at.Hour() >= 19) {
				k := c
				if v := k.judge(newScene(3000 + seed).draw(light(true))); v.Kind != quality.Moved {
					t.Errorf("scene %d, another picture at %s is %+v", seed, at.Format("Mon 15:04"), v)
				}
			}
			at = at.Add(time.Hour)
		}
	}
}

// TestVanTakesNoNight: what stood before the camera for long on its first day
// leaves the place of a look to the night.
func TestVanTakesNoNight(t *testing.T) {
	t.Parallel()
	with := light(false)
	with.paint = van(vanWidth)
	for seed := range uint64(6) {
		c := parked{t: t, scene: newScene(1000 + seed)}
		draw := nights(c.scene, newScene(2000+seed))
		at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		for range 30 {
			c.ordinary("an ordinary frame", at, light(false))
			at = at.Add(time.Minute)
		}
		for range 40 {
			c.ordinary("the van", at, with)
			at = at.Add(time.Minute)
		}
		at = time.Date(2026, 3, 1, 14, 0, 0, 0, time.UTC)
		for at.Before(time.Date(2026, 3, 3, 14, 0, 0, 0, time.UTC)) {
			c.at = at.Add(-time.Minute)
			if v := c.judge(draw(at.Hour())); v.Kind != quality.Ok {
				t.Fatalf("scene %d, %s is %+v", seed, at.Format("Mon 15:04"), v)
			}
			at = at.Add(15 * time.Minute)
		}
		c.told("in the end", at, light(false))
	}
}

// TestFirstDawn: a camera that was learned by night, whose day is another
// picture, sees its first day begin in the middle of an hour.
func TestFirstDawn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		var c camera
		night, day := newScene(2000+seed), newScene(1000+seed)
		for i := range 40 {
			c.at = time.Date(2026, 3, 1, 0, 15*i-1, 0, 0, time.UTC)
			p := night.draw(light(true))
			if i >= 4*7+2 {
				p = day.draw(light(false))
			}
			if v := c.judge(p); v.Kind != quality.Ok {
				t.Errorf("scene %d, at %s: %+v", seed, c.at.Format("15:04"), v)
			}
		}
	}
}

// TestMovedOnTheFirstDay: what is known to be moved stays so in hours of which
// nothing is known yet, and the same picture elsewhere is a move at any hour. It
// ends when the camera is turned back.
func TestMovedOnTheFirstDay(t *testing.T) {
	t.Parallel()
	turned := light(false)
	turned.dx, turned.dy = 40, 10
	for seed := range uint64(3) {
		for name, other := range map[string]bool{"another view": true, "turned": false} {
			c := parked{t: t, scene: newScene(1000 + seed)}
			at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
			for range 20 { // until a quarter to three
				c.ordinary("an ordinary frame", at, light(false))
				at = at.Add(15 * time.Minute)
			}
			if other {
				at = at.Add(-27 * time.Minute) // known for two frames before the hour ends
			}
			away := newScene(5000 + seed).draw
			for range 12 {
				c.at = at.Add(-time.Minute)
				p := c.scene.draw(turned)
				if other {
					p = away(light(false))
				}
				if v := c.judge(p); v.Kind != quality.Moved {
					t.Errorf("scene %d, %s at %s: %+v", seed, name, at.Format("15:04"), v)
				}
				at = at.Add(10 * time.Minute)
			}
			for range 3 {
				c.ordinary("the view of before", at, light(false))
				at = at.Add(10 * time.Minute)
			}
			if c.state.Lasting() != quality.Ok {
				t.Errorf("scene %d, %s: turned back it is still %s", seed, name, c.state.Lasting())
			}
		}
	}
}
