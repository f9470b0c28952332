package labelled

import (
	"math"
	"math/rand/v2"

	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// Strength is how bad a fault is.
type Strength uint8

// The strengths.
const (
	Weak Strength = iota
	Middle
	Strong
	Strengths
)

// String returns its word.
func (s Strength) String() string {
	return [...]string{"weak", "middle", "strong", "strengths"}[min(s, Strengths)]
}

// Fault is one way in which a picture is wrong, in physical terms.
type Fault struct {
	Kind    quality.Kind
	Variant string             // what it is by; empty where there is one way only
	Unit    string             // what Levels are numbers of
	Levels  [Strengths]float64 // weak, middle, strong
	Night   [Strengths]float64 // by night, where they are others

	do func(t *take, level float64, rng *rand.Rand)
}

func (f *Fault) level(s Strength, night bool) float64 {
	if night && f.Night != [Strengths]float64{} {
		return f.Night[s]
	}
	return f.Levels[s]
}

// midLevel is the mean of a picture that is exposed well: 18 % gray.
const midLevel = 118

// stops is by what factor so many EV change levels, which follow the light to
// the power of 1/2.2.
func stops(ev float64) float64 { return math.Exp2(ev / 2.2) }

// Faults returns all of them.
func Faults() []Fault {
	share := [Strengths]float64{0.3, 0.6, 0.9}
	rows := [Strengths]float64{1. / 8, 1. / 4, 1. / 2}
	return []Fault{
		{Kind: quality.Black, Unit: "level of the black, with noise of 1.5 levels", Levels: [3]float64{11, 7, 2}, do: func(t *take, l float64, _ *rand.Rand) {
			t.flat, t.keep, t.noise = l, 0, 1.5
		}},
		{Kind: quality.OverExposed, Unit: "EV above 18 % gray", Levels: [3]float64{2, 3, 4}, do: func(t *take, l float64, _ *rand.Rand) {
			t.mean = midLevel * stops(l)
		}},
		{Kind: quality.UnderExposed, Unit: "EV below what is ordinary", Levels: [3]float64{3, 4.5, 6}, Night: [3]float64{1, 2, 3}, do: func(t *take, l float64, _ *rand.Rand) {
			t.gain = stops(-l)
		}},
		{Kind: quality.Flat, Unit: "share of the contrast that is left", Levels: [3]float64{0.06, 0.03, 0}, do: func(t *take, l float64, rng *rand.Rand) {
			t.flat, t.keep, t.noise = 60+100*rng.Float64(), l, 0.7
		}},
		{Kind: quality.Blurred, Unit: "standard deviation of the blur, as a share of the width", Levels: [3]float64{0.002, 0.006, 0.016}, do: func(t *take, l float64, _ *rand.Rand) {
			t.blur = l
		}},
		{Kind: quality.Covered, Variant: "hand", Unit: "share of the picture", Levels: share, do: hand},
		{Kind: quality.Covered, Variant: "bag", Unit: "share of the picture", Levels: share, do: bag},
		{Kind: quality.Covered, Variant: "spray", Unit: "share of the picture", Levels: share, do: spray},
		{Kind: quality.Covered, Variant: "leaf", Unit: "share of the picture", Levels: share, do: leaf},
		{Kind: quality.Moved, Variant: "shift", Unit: "share of the width", Levels: [3]float64{0.03, 0.08, 0.2}, do: func(t *take, l float64, rng *rand.Rand) {
			t.move.x, t.move.y = aside(l, rng)
		}},
		{Kind: quality.Moved, Variant: "roll", Unit: "degrees", Levels: [3]float64{3, 8, 20}, do: func(t *take, l float64, rng *rand.Rand) {
			t.move.roll = l * math.Pi / 180 * float64(2*rng.IntN(2)-1)
		}},
		{Kind: quality.Moved, Variant: "zoom", Unit: "times as near", Levels: [3]float64{1.1, 1.3, 1.8}, do: func(t *take, l float64, _ *rand.Rand) {
			t.move.zoom = l
		}},
		{Kind: quality.Moved, Variant: "askew", Unit: "times as near, turned by 10 degrees for each 0.5 of it and shifted by a tenth of the width", Levels: [3]float64{1.1, 1.3, 1.8}, do: func(t *take, l float64, rng *rand.Rand) {
			t.move.x, t.move.y = aside(0.2*(l-1)+0.02, rng)
			t.move.zoom, t.move.roll = l, (l-1)*20*math.Pi/180*float64(2*rng.IntN(2)-1)
		}},
		{Kind: quality.Moved, Variant: "away", Unit: "1: a third of the width aside, 2: so and turned by 15 degrees and 1.3 times as near, 3: to another scene", Levels: [3]float64{1, 2, 3}, do: func(t *take, l float64, rng *rand.Rand) {
			t.move.x = 0.33 * frameWidth * float64(2*rng.IntN(2)-1)
			if l > 1 {
				t.move.zoom, t.move.roll = 1.3, 15*math.Pi/180*float64(2*rng.IntN(2)-1)
			}
			t.other = l > 2
		}},
		{Kind: quality.Frozen, Unit: "1: but for the clock, 2: coded anew, 3: the same bytes", Levels: [3]float64{1, 2, 3}, do: func(t *take, l float64, _ *rand.Rand) {
			t.again, t.clock = coded, l == 1
			if l == 3 {
				t.again = sameBytes
			}
		}},
		{Kind: quality.Noisy, Unit: "standard deviation of the noise, in levels", Levels: [3]float64{8, 14, 24}, do: func(t *take, l float64, _ *rand.Rand) {
			t.noise = l
		}},
		{Kind: quality.Corrupt, Variant: "gray", Unit: "share of the rows, gray", Levels: rows, do: lostRows(func(pix []uint8, from int) {
			for i := from * frameWidth; i < len(pix); i++ {
				pix[i] = 128
			}
		})},
		{Kind: quality.Corrupt, Variant: "smear", Unit: "share of the rows, all as the last good one", Levels: rows, do: lostRows(func(pix []uint8, from int) {
			for y := from; y < frameHeight; y++ {
				copy(pix[y*frameWidth:][:frameWidth], pix[(from-1)*frameWidth:])
			}
		})},
		{Kind: quality.Corrupt, Variant: "torn", Unit: "share of the coded bytes that did not come", Levels: rows, do: func(t *take, l float64, _ *rand.Rand) {
			t.tear = func(b []byte) []byte { return b[:int(float64(len(b))*(1-l))] }
		}},
		{Kind: quality.Corrupt, Variant: "flipped", Unit: "bits of the coded bytes that are wrong", Levels: [3]float64{1, 4, 16}, do: func(t *take, l float64, rng *rand.Rand) {
			t.tear = flip(int(l), rng.Uint64())
		}},
	}
}

// aside is a shift by a share of the width, mostly sideways.
func aside(share float64, rng *rand.Rand) (x, y float64) {
	a := (rng.Float64() - 0.5) * math.Pi / 2
	if rng.IntN(2) == 0 {
		a += math.Pi
	}
	return share * frameWidth * math.Cos(a), share * frameWidth * math.Sin(a)
}

// lostRows spoils the rows from a multiple of 16 on, as blocks are lost.
func lostRows(spoil func(pix []uint8, from int)) func(*take, float64, *rand.Rand) {
	return func(t *take, l float64, _ *rand.Rand) {
		from := int(math.Round(frameHeight*(1-l)/16)) * 16
		t.rows = func(pix []uint8) { spoil(pix, from) }
	}
}

// flip turns so many bits of what is coded, past the headers.
func flip(n int, seed uint64) func([]byte) []byte {
	return func(b []byte) []byte {
		rng := rand.New(rand.NewPCG(seed, 4))
		for range n {
			i := len(b)/5 + rng.IntN(len(b)-len(b)/5)
			b[i] ^= 1 << rng.IntN(8)
		}
		return b
	}
}

// lit is how bright things before the camera are beside their look by day.
func lit(t *take) float64 { return t.day + (1-t.day)*0.3 }

// hand is a pale one with its fingers spread, from one side.
func hand(t *take, share float64, rng *rand.Rand) {
	cx, cy := rng.Float64()*0.3-0.5, (rng.Float64()-0.5)*0.5
	side := float64(2*rng.IntN(2) - 1)
	skin, fingers := (140+50*rng.Float64())*lit(t), 5+3*rng.Float64()
	if t.day < 1 && rng.IntN(2) == 0 {
		skin = 190 // in the light of the camera's own lamp
	}
	cover(t, share, 0.05, func(x, y float64) float64 {
		x *= side
		a := math.Atan2(y-cy, x-cx)
		return math.Hypot((x-cx)*0.8, y-cy) * (1 + 0.18*math.Cos(fingers*a))
	}, func(x, y float64) float64 { return skin * (0.85 + 0.2*x*side + 0.1*math.Cos(7*y+3*x)) })
}

// bag is dark cloth with folds, and light comes in from a side.
func bag(t *take, share float64, rng *rand.Rand) {
	a, fold := rng.Float64()*2*math.Pi, 9+6*rng.Float64()
	dark := (20 + 14*rng.Float64()) * lit(t)
	sin, cos := math.Sincos(a)
	cover(t, share, 0.04, func(x, y float64) float64 { return x*cos + y*sin + 0.04*math.Sin(9*(x*sin-y*cos)) }, func(x, y float64) float64 {
		return dark * (1 + 0.3*math.Sin(fold*(x*sin-y*cos)+2*math.Sin(4*x)))
	})
}

// spray is paint in blotches.
func spray(t *take, share float64, rng *rand.Rand) {
	paint := []float64{25, 120, 215}[rng.IntN(3)] * lit(t)
	f := blotches(rng, 9)
	fine := blotches(rng, 40)
	cover(t, share, 0.015, func(x, y float64) float64 { return f(x, y) + 0.25*fine(x, y) }, func(x, y float64) float64 { return paint * (1 + 0.06*fine(x, y)) })
}

// leaf hangs before the lens, out of focus, and the wind moves it.
func leaf(t *take, share float64, rng *rand.Rand) {
	cx, cy := (rng.Float64()-0.5)*0.4, (rng.Float64()-0.5)*0.2
	sin, cos := math.Sincos(rng.Float64() * math.Pi)
	cx += 0.015 * float64(t.part)
	green := (60 + 40*rng.Float64()) * lit(t)
	cover(t, share, 0.08, func(x, y float64) float64 {
		u, v := (x-cx)*cos+(y-cy)*sin, (y-cy)*cos-(x-cx)*sin
		return math.Hypot(u*0.6, v)
	}, func(x, y float64) float64 {
		return green * (1 - 0.35*math.Exp(-math.Abs((y-cy)*cos-(x-cx)*sin)*60) + 0.1*math.Sin(5*x))
	})
}

// cover paints where the field is lowest, as much of the picture as share says.
// The edge is soft by a share of the width. Coordinates are shares of the width,
// from the middle.
func cover(t *take, share, soft float64, field, paint func(x, y float64) float64) {
	const step = 8
	var all []float64
	for y := step / 2; y < frameHeight; y += step {
		for x := step / 2; x < frameWidth; x += step {
			all = append(all, field(position(x, y)))
		}
	}
	limit := quantile(all, share)
	slope := soft * (quantile(all, min(1, share+0.1)) - quantile(all, share-0.1)) / 0.2 * 2
	t.lens = func(p picture) {
		for y := range frameHeight {
			for x := range frameWidth {
				u, v := position(x, y)
				a := smooth((limit-field(u, v))/max(slope, 1e-6) + 0.5)
				if a > 0 {
					i := y*frameWidth + x
					p[i] += float32(a) * (float32(paint(u, v)) - p[i])
				}
			}
		}
	}
}

func position(x, y int) (u, v float64) {
	return (float64(x) - frameWidth/2) / frameWidth, (float64(y) - frameHeight/2) / frameWidth
}

// blotches is smooth noise of about n blotches a width, -1..1.
func blotches(rng *rand.Rand, n int) func(x, y float64) float64 {
	side := n + 3
	grid := make([]float64, side*side)
	for i := range grid {
		grid[i] = 2*rng.Float64() - 1
	}
	return func(x, y float64) float64 {
		x, y = (x+0.5)*float64(n), (y+0.5)*float64(n)
		ix, iy := int(x), int(y)
		fx, fy := smooth(x-float64(ix)), smooth(y-float64(iy))
		at := func(x, y int) float64 { return grid[min(max(y, 0), side-1)*side+min(max(x, 0), side-1)] }
		top := at(ix, iy) + (at(ix+1, iy)-at(ix, iy))*fx
		low := at(ix, iy+1) + (at(ix+1, iy+1)-at(ix, iy+1))*fx
		return top + (low-top)*fy
	}
}
