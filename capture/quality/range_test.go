//go:build !race

package quality_test

import (
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// compressed is a picture of all levels in studio range.
func compressed(p codec.Plane) codec.Plane {
	for i, v := range p.Pix {
		p.Pix[i] = uint8(16 + (int(v)*219+127)/255)
	}
	return p
}

// TestStudioRange: of luma of 16..235 nothing is beyond the levels at which a
// sample of 0..255 is lost, and the same is said of it. A camera that sends all
// levels and does not say so is judged as one that does.
func TestStudioRange(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		for _, night := range []bool{false, true} {
			as := map[string]*camera{"all levels": {}, "studio range": {studio: true}, "all levels, unsaid": {studio: true}}
			dim := 0.1
			if night {
				dim = 0.42
			}
			draw := func(name string, s *scene, o view) codec.Plane {
				p := s.draw(o)
				switch name {
				case "studio range":
					return compressed(p)
				case "all levels, unsaid":
					for x := range p.Width / 16 { // a dark corner
						for y := range p.Height / 8 {
							p.Row(y)[x] = 3
						}
					}
				}
				return p
			}
			for name, c := range as {
				s := newScene(1000 + seed)
				o := light(night)
				for i := range 20 {
					if v := c.judge(draw(name, s, o)); v.Kind != quality.Ok {
						t.Errorf("%s, scene %d, night %v, frame %d: %+v", name, seed, night, i, v)
					}
				}
				for _, x := range []struct {
					want quality.Kind
					o    view
				}{
					{quality.Black, view{gain: 0.001, noise: 2}},
					{quality.Black, view{gain: 0.05 * o.gain, noise: 1}},
					{quality.OverExposed, view{gain: 40 * o.gain, noise: 2}},
					{quality.UnderExposed, view{gain: dim * o.gain, noise: 2}},
					{quality.Flat, view{gain: 1, haze: 1, hazeLevel: 90, noise: 1}},
					{quality.Ok, o},
				} {
					k := camera{at: c.at, state: c.state, studio: c.studio}
					if v := k.judge(draw(name, s, x.o)); v.Kind != x.want {
						t.Errorf("%s, scene %d, night %v: %s by a gain of %.3f is %+v", name, seed, night, x.want, x.o.gain, v)
					}
				}
			}
		}
	}
}

// TestRangeIsLearned: a camera that was learned before its range was told has a
// sky that is blown out now, and darker nights. Nothing is said of them, and
// faults are told once what is usual is known anew.
func TestRangeIsLearned(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		s := newScene(1000 + seed)
		draw := func(night bool) codec.Plane {
			o := light(night)
			if night {
				o.gain = 0.15
			}
			o.paint = func(_, y int, v float64) float64 {
				if y < sceneHeight*45/100 && !night {
					return 252
				}
				return v
			}
			return compressed(s.draw(o))
		}
		var c camera
		for _, studio := range []bool{false, true} {
			c.studio = studio
			for day := range 2 {
				for i := range 48 {
					c.at = time.Date(2026, 3, 1+day, i/2, i%2*30, 0, 0, time.UTC)
					if v := c.judge(draw(i < 14 || i >= 38)); v.Kind != quality.Ok || studio && day == 1 && v.Learning {
						t.Errorf("scene %d, studio range said: %v, day %d, %d:%d: %+v", seed, studio, day, i/2, i%2*30, v)
					}
				}
			}
		}
		c.at = c.at.Add(12 * time.Hour)
		o := light(false)
		o.gain = 40
		if v := c.judge(compressed(s.draw(o))); v.Kind != quality.OverExposed {
			t.Errorf("scene %d, blown out: %+v", seed, v)
		}
	}
}
