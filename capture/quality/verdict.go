package quality

import "math"

// The limits that hold for any camera: what these frames show is no picture.
const (
	blackShare  = 0.98 // of samples at the sensor's floor; ffmpeg's blackdetect has the same share
	whiteShare  = 0.85 // of samples blown out
	flatSpread  = 2.5  // levels: a blank screen's, with an encoder's noise
	flatEntropy = 3.2  // bits: a gray card with noise of 2 levels has 3
	madeUpRows  = 8    // rows of the grid, an eighth of the picture, of one level: what decoders fill in
)

// The limits against a camera's usual value, as ratios. Those of focus follow
// the rule that below 30 to 50 % of its own median a picture is blurred.
const (
	blurRatio   = 0.45
	edgeRatio   = 0.6
	darkRatio   = 1.0 / 3
	darkShare   = 0.5 // and so many samples at the floor
	brightShare = 0.3 // of samples blown out, beyond
	brightRatio = 3   // times the usual share
	noiseRatio  = 2.2
	noiseLevels = 3.0 // and so many levels above
	// still is the ratio of cells that changed: a tenth of what noise changes.
	still      = 0.1
	leastLive  = 0.01 // a camera that usually changes fewer cells cannot be told from a frozen one
	lostShare  = 0.5  // of the blocks that have structure
	lostSpread = 4.0  // levels: a block's structure
	lostRatio  = 0.6  // of it left, and
	lostAlike  = 0.6  // correlation of what is there instead
	sameScene  = 0.75 // correlation with the background above which nothing has moved
	movedScene = 0.6  // that moving back has to bring, and 0.15 more than without
	movedGain  = 0.15
	movedLeast = 1.0 / 64 // of the picture: one cell
	// slack is by how much a verdict that lasts holds on to its limits.
	slack = 1.2
)

// frame is one frame on the way to its verdict.
type frame struct {
	Sample
	state  *State
	plane  *Plane
	hour   int
	change Change
	values [metrics]float64
}

// slack is how much easier a verdict is to keep than to get.
func (f *frame) slack(k Kind) float64 {
	if f.state.lasting == k {
		return slack
	}
	return 1
}

// judge asks from the surest fault to the least sure.
func (f *frame) judge() Verdict {
	_, known := f.state.normal(light, f.hour)
	for _, ask := range []func() (Verdict, bool){f.corrupt, f.black, f.overExposed, f.frozen, f.flat, f.underExposed, f.moved, f.covered, f.blurred, f.noisy} {
		if v, ok := ask(); ok {
			v.Learning = !known
			return v
		}
	}
	return Verdict{Score: 1, Learning: !known}
}

// above makes the verdict when value is over limit, below when it is under.
func above(k Kind, metric string, value, usual, limit float64) (Verdict, bool) {
	if !(value >= limit) {
		return Verdict{}, false
	}
	return Verdict{Kind: k, Score: float32(1 - limit/(2*max(value, 1e-9))), Evidence: Evidence{metric, float32(value), float32(usual), float32(limit)}}, true
}

func below(k Kind, metric string, value, usual, limit float64) (Verdict, bool) {
	if !(value <= limit) {
		return Verdict{}, false
	}
	return Verdict{Kind: k, Score: float32(1 - max(value, 0)/(2*max(limit, 1e-9))), Evidence: Evidence{metric, float32(value), float32(usual), float32(limit)}}, true
}

// corrupt: the decoder said so, or the picture ends in rows of one level that
// the background does not have.
func (f *frame) corrupt() (Verdict, bool) {
	if f.Missing > 0 {
		return above(Corrupt, "missing", float64(f.Missing), 0, 0)
	}
	rows := madeUp(f.plane)
	if rows >= side {
		return Verdict{}, false // all of one level: flat or black
	}
	usual := 0
	for i, n := range f.state.seen {
		if n > 0 {
			usual = max(usual, madeUp(&f.state.background[i]))
		}
	}
	if usual >= madeUpRows/2 {
		return Verdict{}, false // a mask or a bar that is always there
	}
	return above(Corrupt, "rows of one level", float64(rows), float64(usual), madeUpRows)
}

// madeUp counts the rows at the bottom that have one level, which is neither
// black, for black bars are letterboxes, nor blown out.
func madeUp(p *Plane) (rows int) {
	level := p[cells-1]
	if level <= darkest || level >= brightest {
		return 0
	}
	for i := cells - 1; i >= 0; i-- {
		if p[i] != level {
			return (cells - 1 - i) / side
		}
	}
	return side
}

func (f *frame) black() (Verdict, bool) {
	return above(Black, "dark", float64(f.Scores.Dark), 0, blackShare/f.slack(Black))
}

func (f *frame) overExposed() (Verdict, bool) {
	if v, ok := above(OverExposed, "bright", float64(f.Scores.Bright), 0, whiteShare); ok {
		return v, true
	}
	usual, ok := f.state.normal(bright, f.hour)
	if !ok {
		return Verdict{}, false
	}
	return above(OverExposed, "bright", f.values[bright], usual, max(brightShare, brightRatio*usual)/f.slack(OverExposed))
}

func (f *frame) underExposed() (Verdict, bool) {
	usual, ok := f.state.usualOfEitherLight(light)
	if !ok || float64(f.Scores.Dark) < darkShare/f.slack(UnderExposed) {
		return Verdict{}, false
	}
	return below(UnderExposed, "mean", f.values[light], usual, darkRatio*usual*f.slack(UnderExposed))
}

// usualOfEitherLight is the usual value by this light, or by the other one
// while this one is not known: a camera that was never dark is.
func (s *State) usualOfEitherLight(m metric) (float64, bool) {
	first, second := dayBin, nightBin
	if s.night {
		first, second = second, first
	}
	for _, b := range []int{first, second} {
		if s.counts[b] >= learned {
			return math.Exp2(float64(s.usual[b][m])/256) - floors[m], true
		}
	}
	return 0, false
}

func (f *frame) flat() (Verdict, bool) {
	if float64(f.Scores.Entropy) > flatEntropy*f.slack(Flat) {
		return Verdict{}, false
	}
	return below(Flat, "contrast", float64(f.Scores.Contrast), 0, flatSpread*f.slack(Flat))
}

func (f *frame) frozen() (Verdict, bool) {
	usual, ok := f.state.normal(live, f.hour)
	if !ok || !f.state.hasBefore || usual < leastLive {
		return Verdict{}, false
	}
	return below(Frozen, "change", float64(f.change.Changed), usual, still*usual*f.slack(Frozen))
}

// background is what the camera looks at by this light.
func (f *frame) background() (*Plane, bool) {
	i := byDay
	if f.state.night {
		i = byNight
	}
	return &f.state.background[i], f.state.seen[i] >= learned
}

// darkerBackground is the one by night where none is known by day: more light
// takes no structure away, a hand before the camera's own lamp does.
func (f *frame) darkerBackground() (*Plane, bool) {
	if bg, ok := f.background(); ok || f.state.night {
		return bg, ok
	}
	return &f.state.background[byNight], f.state.seen[byNight] >= learned
}

// moved: the picture is that of the background once it is moved back.
func (f *frame) moved() (Verdict, bool) {
	bg, ok := f.background()
	if !ok {
		return Verdict{}, false
	}
	here := Compare(bg, f.plane).Correlation
	if float64(here) >= sameScene*f.slack(Moved) {
		return Verdict{}, false
	}
	s := MeasureShift(bg, f.plane)
	if s.Correlation < movedScene || s.Correlation < here+movedGain || math.Hypot(float64(s.X), float64(s.Y)) < movedLeast {
		return Verdict{}, false
	}
	v, ok := below(Moved, "correlation", float64(here), 1, sameScene*f.slack(Moved))
	v.Shift = s
	return v, ok
}

// covered: most blocks that have structure in the background have lost it, and
// what they show instead is something else.
func (f *frame) covered() (Verdict, bool) {
	bg, ok := f.darkerBackground()
	if !ok {
		return Verdict{}, false
	}
	const n = side / Blocks
	structured, lost := 0.0, 0.0
	for y := 0; y < side; y += n {
		for x := 0; x < side; x += n {
			was := spread(bg, x, y, x+n, y+n)
			if was < lostSpread {
				continue
			}
			structured++
			is := spread(f.plane, x, y, x+n, y+n)
			if is < lostRatio*was && correlation(bg, f.plane, 0, 0, x, y, x+n, y+n) < lostAlike {
				lost++
			}
		}
	}
	if structured < Blocks {
		return Verdict{}, false // a wall: nothing to lose
	}
	return above(Covered, "blocks lost", lost/structured, 0, lostShare/f.slack(Covered))
}

// blurred: the gradients are weak for the contrast there is, and edges are gone.
func (f *frame) blurred() (Verdict, bool) {
	usual, ok := f.state.normal(focus, f.hour)
	usualEdges, _ := f.state.normal(edges, f.hour)
	if !ok || f.values[edges] > edgeRatio*usualEdges*f.slack(Blurred) {
		return Verdict{}, false
	}
	return below(Blurred, "focus", f.values[focus], usual, blurRatio*usual*f.slack(Blurred))
}

func (f *frame) noisy() (Verdict, bool) {
	usual, ok := f.state.normal(noise, f.hour)
	if !ok {
		return Verdict{}, false
	}
	return above(Noisy, "noise", f.values[noise], usual, max(noiseRatio*usual, usual+noiseLevels)/f.slack(Noisy))
}
