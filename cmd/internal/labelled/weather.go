package labelled

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Negative is something that looks like a fault and is none.
type Negative struct {
	Name string
	What string // in physical terms

	do func(t *take, rng *rand.Rand)
}

// Negatives returns all of them, the ordinary frame first.
func Negatives() []Negative {
	return []Negative{
		{Ordinary, "the light wavers, things move, other hours than were learned last", func(*take, *rand.Rand) {}},
		{"fog", "30, 50 and 70 % of the contrast gone into gray", fog},
		{"rain", "400 streaks and a sixth of the contrast", rain},
		{"snow", "500 flakes of 1 to 4 pixels", snow(500)},
		{"heavy-snow", "1,500 of them", snow(1500)},
		{"headlights", "two glows, by night a fifth more light on everything", headlights},
		{"truck", "one that covers 40 % of the width and half of the height", truck},
		{"people", "three, half as tall as the picture", people},
		{"clouds", "1 EV less light", func(t *take, _ *rand.Rand) { t.gain = stops(-1) }},
		{"ir-switch", "night's light by day, and day's by night", func(t *take, _ *rand.Rand) { t.day = 1 - t.day }},
		{"still", "nothing moves and the light stands: the sensor's noise alone", func(t *take, _ *rand.Rand) {
			t.since = t.at.Add(-time.Duration(t.part+1) * time.Minute)
		}},
		{"twilight", "half an hour of sunset, or of sunrise", twilight},
	}
}

// Ordinary is the name of the frames that nothing happens in.
const Ordinary = "ordinary"

func fog(t *take, _ *rand.Rand) {
	haze := float32([]float64{0.3, 0.5, 0.7}[t.part%3])
	level := float32(175 * lit(t))
	t.air = func(p picture) {
		for i, v := range p {
			p[i] = v*(1-haze) + level*haze
		}
	}
}

func rain(t *take, rng *rand.Rand) {
	slant, bright := 0.3*(rng.Float64()-0.5), float32(50*lit(t))
	seed := rng.Uint64()
	part := t.part
	t.air = func(p picture) {
		rng := rand.New(rand.NewPCG(seed, uint64(part))) // other drops in each frame
		for i, v := range p {
			p[i] = v*0.84 + 0.16*100*bright/50
		}
		for range 400 {
			x, y, n := rng.Float64()*frameWidth, rng.IntN(frameHeight), 12+rng.IntN(28)
			for i := range n {
				if u := int(x + slant*float64(i)); y+i < frameHeight && u >= 0 && u < frameWidth {
					p[(y+i)*frameWidth+u] += bright
				}
			}
		}
	}
}

func snow(flakes int) func(*take, *rand.Rand) {
	return func(t *take, rng *rand.Rand) {
		seed, part, white := rng.Uint64(), t.part, float32(230*lit(t))
		t.air = func(p picture) {
			rng := rand.New(rand.NewPCG(seed, uint64(part)))
			for range flakes {
				disc(p, rng.Float64()*frameWidth, rng.Float64()*frameHeight, 1+3*rng.Float64()*rng.Float64(), white, 0.8)
			}
		}
	}
}

func disc(p picture, cx, cy, r float64, level, opacity float32) {
	for y := int(max(0, cy-r)); y < min(frameHeight, int(cy+r)+1); y++ {
		for x := int(max(0, cx-r)); x < min(frameWidth, int(cx+r)+1); x++ {
			if math.Hypot(float64(x)-cx, float64(y)-cy) <= r {
				i := y*frameWidth + x
				p[i] += opacity * (level - p[i])
			}
		}
	}
}

func headlights(t *take, rng *rand.Rand) {
	cx, cy := frameWidth*(0.25+0.4*rng.Float64()), frameHeight*(0.4+0.4*rng.Float64())
	r := 12 + 6*float64(t.part)
	more := float32(1 + 0.2*(1-t.day))
	t.air = func(p picture) {
		for i, v := range p {
			x, y := float64(i%frameWidth), float64(i/frameWidth)
			v *= more
			for _, u := range []float64{cx - 2.2*r, cx + 2.2*r} {
				d := ((x-u)*(x-u) + (y-cy)*(y-cy)) / (r * r)
				if d < 60 {
					v += float32(420*math.Exp(-d/2) + 60*math.Exp(-d/20))
				}
			}
			p[i] = v
		}
	}
}

func truck(t *take, rng *rand.Rand) {
	l := lit(t)
	body, stripe := float32((60+150*rng.Float64())*l), float32((30+200*rng.Float64())*l)
	left := int(frameWidth * (0.05 + 0.25*float64(t.part)))
	top := frameHeight/4 + rng.IntN(frameHeight/6)
	t.air = func(p picture) {
		fill(p, left, top, 256, 180, func(x, y int) float32 {
			switch {
			case y > 150 && (x/40)%3 == 0: // wheels
				return 20 * float32(l)
			case y > 70 && y < 90, x < 50 && y > 40 && y < 80:
				return stripe
			}
			return body * (1 - 0.1*float32(y)/180)
		})
	}
}

func people(t *take, rng *rand.Rand) {
	type one struct {
		x, y       int
		coat, legs float32
	}
	l := lit(t)
	var all []one
	for range 3 {
		all = append(all, one{rng.IntN(frameWidth-120) + 25*t.part, frameHeight/4 + rng.IntN(frameHeight/4), float32((30 + 180*rng.Float64()) * l), float32((20 + 80*rng.Float64()) * l)})
	}
	t.air = func(p picture) {
		for _, o := range all {
			disc(p, float64(o.x+35), float64(o.y+14), 15, float32(160*l), 1)
			fill(p, o.x+8, o.y+30, 54, 75, func(x, _ int) float32 { return o.coat * (1 - 0.2*float32(x)/54) })
			fill(p, o.x+14, o.y+105, 40, 75, func(x, _ int) float32 { return o.legs * (1 + 0.4*float32(x/20)) })
		}
	}
}

// fill paints a rectangle as far as it is in the picture.
func fill(p picture, left, top, w, h int, level func(x, y int) float32) {
	for y := max(0, top); y < min(frameHeight, top+h); y++ {
		for x := max(0, left); x < min(frameWidth, left+w); x++ {
			p[y*frameWidth+x] = level(x-left, y-top)
		}
	}
}

// twilight has three frames ten minutes apart while the light goes, or comes.
func twilight(t *take, _ *rand.Rand) {
	y, m, d := t.at.Date()
	begin := time.Date(y, m, d, 18, 42, 0, 0, t.at.Location())
	if t.night {
		begin = time.Date(y, m, d, 6, 30, 0, 0, t.at.Location())
	}
	t.at = begin.Add(time.Duration(t.part) * 10 * time.Minute)
	t.day = daylight(t.at)
}

// quantile is the value that a share of v lies below.
func quantile(v []float64, share float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[max(0, min(len(s)-1, int(share*float64(len(s)))))]
}
