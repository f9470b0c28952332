package quality

import (
	"math"
	"slices"
)

// The limits that hold for any camera: what these frames show is no picture.
const (
	blackShare  = 0.98 // of samples at the sensor's floor; ffmpeg's blackdetect has the same share
	whiteShare  = 0.85 // of samples blown out
	flatShare   = 0.95 // of cells of one level: a blank screen, on which there may be a clock
	flatSpread  = 3    // levels around it
	flatEntropy = 4.0  // bits: a blank screen with noise of 2 levels has 3, and a clock adds to it
	stuckRows   = 5    // rows of the grid: what decoders fill in for those that were lost
	stuckLevels = 0.05 // from one to the next: noise alone makes more
)

// The limits against a camera's usual value, as ratios. That of focus follows
// the rule that below 30 to 50 % of its own median a picture is blurred; the
// others were chosen on the tuning half of the labelled set.
const (
	blurRatio   = 0.3  // of the usual focus, in the band in the middle of all
	blurAlike   = 0.45 // and still so alike, at least to a blurred background
	blurGain    = 0.12 // or so much more alike to that one, where the rest of noise hides the gradients
	blurLess    = 0.8  // where so much is as it was, it is not asked
	finerRatio  = 0.27 // of the usual focus where it is: less light takes gradients too, and noise hides the rest
	dazzled     = 1.45 // times the light of this hour, focus tells nothing: lamps that shine into the lens hide gradients
	weakerFocus = 0.9  // and gradients at least not stronger,
	sameFocus   = 1.1  // or about as strong, where noise is all that they are
	blurPlainly = 0.2  // and it is so much more alike
	softer      = 0.04 // where the gradients are gone, so little more is enough,
	blurKnown   = 0.12 // if that is so much: two pictures that have nothing in common are no blur of one another
	dimRatio    = 0.48 // of the usual light of this kind
	unseenRatio = 0.19 // of the usual light of this hour: night has more,
	nightRatio  = 0.8  // or so much of its own, where it is known
	dimAlike    = 0.4
	brightShare = 0.35 // of samples blown out, beyond
	brightRatio = 3    // times the usual share
	noiseRatio  = 2.2
	noiseLevels = 3.0 // and so many levels above
	// Of noise the three are 0.9 to 1.6, 1.0 to 3.6 and -0.7 to 1.2, of snow that
	// would count as noise 3.6 to 6, 4.8 to 7 and 11 to 20.
	flakesOutlie = 2.4 // times what noise adds to the squared Laplacian: it is sparse
	flakesWide   = 3   // times what noise adds to the gradients for that: it is wider than a sample
	flakesCame   = 3   // times what noise adds to the gradients came to them
	// still is the ratio of cells that changed: a tenth of what noise changes.
	still     = 0.1
	leastLive = 0.01 // a camera that usually changes fewer cells cannot be told from a frozen one

	coveredLost  = 0.48 // share of the blocks with structure that lost it
	coveredEmpty = 0.85 // share of those that show nothing instead
	coveredHalf  = 0.5  // or so many, and
	coveredPlain = 1.28 // together with the share of all cells that are about as bright: what moves into view is neither
	coveredPart  = 1.1  // or that, where too much is as it was for a move
	coveredDark  = 0.28 // of the light of this hour, or less of it
	paintShare   = 0.82 // of cells of one level: paint, whose edges look like structure
	coveredBare  = 0.9  // of the lost blocks that show nothing, where half of the picture is plain: there is nothing to be moved to
	coveredRest  = 0.77 // else, by about the light of this hour: plain and what rests, less what is new, in these weights
	restWeight   = 2.5
	newWeight    = 0.3
	coveredDim   = 0.55 // of the light of this hour, by day: no other view has so little
	coveredLit   = 1.7  // times the light of this hour: something near the lens is lit, or white
	movedAlike   = 0.25 // of how alike pictures usually are: beneath it is another picture
	// slack is by how much a verdict that lasts holds on to its limits.
	slack = 1.2
)

// frame is one frame on the way to its verdict.
type frame struct {
	Sample
	state          *State
	plane          *Plane
	hour           int
	change         Change
	floor, ceiling float32 // levels at which samples are lost
	dark           float64 // share of what is
	values         [metrics]float64
	bands          [Blocks]float64 // gradients of each
	now            structure
	met            [looks]blocks // with each background, as far as it was asked
	sights         [looks]sight
	asked          [looks]bool
	young          [looks]bool // it is like one of which there are few frames
	best           int         // the learned background that it is most like
	sight          sight       // how it meets that one
	known          bool        // that there is one
	due            bool        // it should be like that one, by its light and the time
	sure           bool        // and it is like no other that is being learned
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
	for _, ask := range []func() (Verdict, bool){f.missing, f.black, f.flat, f.corrupt, f.overExposed, f.frozen, f.underExposed, f.noisy, f.blurred, f.covered, f.moved} {
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

// bandFloor is what is added to a band's gradients before their logarithm is
// taken, in levels²: less is the rest of noise.
const bandFloor = 4

// gradients are of each band the Tenengrad that is not noise: noise of variance
// n adds 12 n to each of the squared gradients.
func gradients(s *Scores) (v [Blocks]float64) {
	for i, b := range s.Bands {
		v[i] = max(0, float64(b.Tenengrad)-float64(24*float64(b.Noise)*float64(b.Noise)))
	}
	return v
}

// missing: the decoder says that a part of the picture did not come.
func (f *frame) missing() (Verdict, bool) {
	if f.Missing == 0 {
		return Verdict{}, false
	}
	return above(Corrupt, "missing", float64(f.Missing), 0, 0)
}

// corrupt: the picture ends in rows that are all the
// same, a gray level or the last row that came, and the background does not: a
// privacy mask is always there.
func (f *frame) corrupt() (Verdict, bool) {
	rows := f.stuck()
	if !f.known || rows >= side-1 { // all of it: flat or black
		return Verdict{}, false
	}
	usual := 0
	for y := side - 1; y > 0; y-- {
		bg := &f.state.background[f.best]
		if [side]uint8(bg[y*side:]) != [side]uint8(bg[(y-1)*side:]) {
			break
		}
		usual++
	}
	return above(Corrupt, "rows alike", float64(rows), float64(usual), float64(usual+stuckRows))
}

// stuck counts the rows at the bottom that are as the one above them. Cells at
// the ends of the range, where all noise is lost, do not count, nor do rows
// that consist of them.
func (f *frame) stuck() (rows int) {
	g := f.Grid
	for y := side - 1; y > 0; y-- {
		live := 0
		for x := range side {
			v, above := g.Pix[y*side+x], g.Pix[(y-1)*side+x]
			if v <= f.floor || v >= f.ceiling {
				continue
			}
			if live++; v-above > stuckLevels || above-v > stuckLevels {
				return rows
			}
		}
		if live < side/2 {
			return rows
		}
		rows++
	}
	return rows
}

func (f *frame) black() (Verdict, bool) {
	return above(Black, "dark", f.dark, 0, blackShare/f.slack(Black))
}

func (f *frame) overExposed() (Verdict, bool) {
	if v, ok := above(OverExposed, "bright", f.values[bright], 0, whiteShare); ok {
		return v, true
	}
	usual, ok := f.state.normal(bright, f.hour)
	if !ok {
		return Verdict{}, false
	}
	return above(OverExposed, "bright", f.values[bright], usual, max(brightShare, brightRatio*usual)/f.slack(OverExposed))
}

// underExposed: the same picture, with much less light than there is usually by
// this light, or less than any night has at an hour that is none.
func (f *frame) underExposed() (Verdict, bool) {
	if f.known && f.sight.enough() && f.sight.alike < dimAlike {
		return Verdict{}, false
	}
	mean, hold := f.values[light], f.slack(UnderExposed)
	hours, timed := f.state.lightAt(f.hour)
	usual, known := f.state.normal(light, noHour)
	switch {
	case known && timed:
		usual = min(usual, hours) // a night that is lit as if it were day
	case !known && timed && f.state.roundTheClock():
		usual = f.state.darkestAt(f.hour) // its nights are no darker than that
	case !known && timed:
		usual = hours * unseenRatio / dimRatio // a night that nobody has seen
	case !known:
		return Verdict{}, false
	}
	if v, ok := below(UnderExposed, "mean", mean, usual, dimRatio*usual*hold); ok || !timed {
		return v, ok
	}
	limit := unseenRatio * hours
	if known { // night's light by day, as when a camera switches to its lamp
		limit = min(limit, nightRatio*usual)
	}
	return below(UnderExposed, "mean", mean, hours, limit*hold)
}

// flat: nearly all of the picture is of one level, neither black nor blown out.
func (f *frame) flat() (Verdict, bool) {
	if float64(f.Scores.Entropy) > flatEntropy*f.slack(Flat) {
		return Verdict{}, false
	}
	level, share := around(f.plane, flatSpread, 0)
	if float32(level) <= f.floor+flatSpread || float32(level) >= f.ceiling-flatSpread {
		return Verdict{}, false
	}
	return above(Flat, "cells of one level", share, 0, flatShare/f.slack(Flat))
}

// around returns the level that most cells lie near, within so many levels or so
// many percent of it, and how large a share of all they are.
func around(p *Plane, levels, percent int) (level int, share float64) {
	var upTo [257]int
	for _, v := range p {
		upTo[int(v)+1]++
	}
	for i := 1; i < len(upTo); i++ {
		upTo[i] += upTo[i-1]
	}
	most := 0
	for v := range 256 {
		d := max(levels, v*percent/100)
		if n := upTo[min(256, v+d+1)] - upTo[max(0, v-d)]; n > most {
			level, most = v, n
		}
	}
	return level, float64(most) / cells
}

func (f *frame) frozen() (Verdict, bool) {
	usual, ok := f.state.normal(live, f.hour)
	if !ok || !f.state.hasBefore || usual < leastLive {
		return Verdict{}, false
	}
	return below(Frozen, "change", float64(f.change.Changed), usual, still*usual*f.slack(Frozen))
}

// blurred: the gradients are weak nearly everywhere, also for the contrast there
// is, which fog takes and headlights add, and what is coarse is as it was.
func (f *frame) blurred() (Verdict, bool) {
	bin, plane := f.state.light()
	usual, ok := f.state.normal(contrast, f.hour)
	if !ok || f.state.counts[bin] < learned {
		return Verdict{}, false
	}
	var ratios [Blocks]float64
	n := 0
	for i, v := range f.bands {
		if usual := math.Exp2(float64(f.state.bands[plane][i])/256) - bandFloor; usual > 4*bandFloor {
			ratios[n] = v / usual
			n++
		}
	}
	if n < leastBands {
		return Verdict{}, false
	}
	slices.Sort(ratios[:n])
	now := f.values[contrast]
	ratio, limit := ratios[n/2]*max(1, (float64(usual*usual)+1)/(float64(now*now)+1)), blurRatio*f.slack(Blurred)
	if f.sure && f.sight.alike >= blurLess {
		limit = finerRatio * f.slack(Blurred)
	}
	if f.sure && ratio < sameFocus && f.sight.alike < blurLess {
		gain := blurGain / f.slack(Blurred)
		if ratio >= weakerFocus {
			gain = blurPlainly
		}
		if soft := f.alikeBlurred(); soft >= blurAlike && soft >= f.sight.alike+gain {
			return above(Blurred, "alike blurred", soft, f.sight.alike, blurAlike)
		}
	}
	if hours, ok := f.state.lightAt(f.hour); ratio > limit || ok && f.values[light] > dazzled*hours {
		return Verdict{}, false
	}
	if f.known && f.sight.enough() && f.sight.alike < blurAlike {
		if soft := f.alikeBlurred(); soft < blurAlike && (soft < blurKnown || soft < f.sight.alike+softer) {
			return Verdict{}, false
		}
	}
	return below(Blurred, "focus", ratio, 1, limit)
}

// leastBands is how many bands have to show something for the focus to be told.
const leastBands = 3

// alikeBlurred is how alike the frame is to a background that is blurred as well.
func (f *frame) alikeBlurred() (best float64) {
	for i := range f.state.background {
		if f.state.seen[i] < learned {
			continue
		}
		var then structure
		bg := f.state.background[i].soften()
		then.fill(&bg)
		var met blocks
		met.compare(&then, &f.now)
		if s := met.meet(&f.state.alike[i]); s.enough() {
			best = max(best, s.alike)
		}
	}
	return best
}

func (f *frame) noisy() (Verdict, bool) {
	usual, ok := f.state.normal(noise, f.hour)
	if !ok || f.flakes() {
		return Verdict{}, false
	}
	if hours, ok := f.state.atHour(noise, f.hour); ok {
		usual = max(usual, hours) // a night that lamps light up has the noise of nights
	}
	return above(Noisy, "noise", f.values[noise], usual, max(noiseRatio*usual, usual+noiseLevels)/f.slack(Noisy))
}

// flakes says that what looks like noise is snow: few samples that stand out by
// far, and each wider than a sample. Noise of variance n adds 20 n to the
// squared Laplacian and 24 n to the squared gradients, whatever its
// distribution; single wrong samples are as sparse as snow, and add as much to
// the one for the other. A scene of its own that has as much in it is no snow:
// what counts is what came to the gradients since.
func (f *frame) flakes() bool {
	n := float64(f.Scores.Noise) * float64(f.Scores.Noise)
	sharp, steep := float64(f.Scores.Sharpness), float64(f.Scores.Tenengrad)
	if sharp < flakesOutlie*20*n || steep < flakesWide*24/20*sharp {
		return false
	}
	_, light := f.state.light()
	came := 0.0
	for i, v := range f.bands {
		came += v - (math.Exp2(float64(f.state.bands[light][i])/256) - bandFloor)
	}
	return came/Blocks > flakesCame*24*n
}
