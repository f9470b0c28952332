//go:build !race

package quality_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// flakes lays n discs of so many levels over a picture, each of a radius of 1 to
// 3 samples.
func flakes(p codec.Plane, n int, level float64, rng *rand.Rand) codec.Plane {
	for range n {
		cx, cy, r := rng.Float64()*sceneWidth, rng.Float64()*sceneHeight, 1+2*rng.Float64()*rng.Float64()
		for y := int(max(0, cy-r)); y < min(sceneHeight, int(cy+r)+1); y++ {
			for x := int(max(0, cx-r)); x < min(sceneWidth, int(cx+r)+1); x++ {
				if math.Hypot(float64(x)-cx, float64(y)-cy) <= r {
					v := &p.Row(y)[x]
					*v = uint8(0.2*float64(*v) + 0.8*level)
				}
			}
		}
	}
	return p
}

// impulses makes a share of the samples white or black: a bad line, or a sensor
// that is dying.
func impulses(p codec.Plane, share float64, rng *rand.Rand) codec.Plane {
	for i := range p.Pix {
		if rng.Float64() < share {
			p.Pix[i] = uint8(255 * rng.IntN(2))
		}
	}
	return p
}

// TestSnowIsNoNoise: snow has as much noise to Immerkær's measure as a sensor
// that is called noisy, and is not called so. Noise is, by whatever
// distribution, in a plain scene and in one full of fine texture.
func TestSnowIsNoNoise(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		for _, night := range []bool{false, true} {
			for _, textured := range []bool{false, true} {
				s := newScene(1000 + seed)
				if textured {
					for i := range s.pix {
						if (i%canvasWidth/3+i/canvasWidth/3)%2 == 0 {
							s.pix[i] *= 0.65
						}
					}
				}
				var c camera
				c.learn(t, s, night)
				rng := rand.New(rand.NewPCG(seed, 5))
				usual := quality.Score(s.draw(light(night))).Noise
				o := light(night)
				noisier := o
				noisier.noise = 2.5*float64(usual) + 6
				for _, x := range []struct {
					name string
					want quality.Kind
					p    codec.Plane
				}{
					{"snow", quality.Ok, flakes(s.draw(o), 150, 240, rng)},
					{"more of it", quality.Ok, flakes(s.draw(o), 400, 90+150*o.gain, rng)},
					{"noise", quality.Noisy, s.draw(noisier)},
					{"wrong samples", quality.Noisy, impulses(s.draw(o), 0.03+0.004*float64(usual), rng)},
				} {
					k := camera{at: c.at, state: c.state}
					if v := k.judge(x.p); v.Kind != x.want {
						t.Errorf("scene %d, night %v, textured %v: %s with noise of %.1f, usually %.1f, is %+v", seed, night, textured, x.name, quality.Score(x.p).Noise, usual, v)
					}
				}
			}
		}
	}
}
