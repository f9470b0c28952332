package quality

import "math"

// covered: most of what had structure has lost it, and nothing came instead.
func (f *frame) covered() (Verdict, bool) {
	if !f.sure || f.sight.lost < coveredLost/f.slack(Covered) {
		return Verdict{}, false
	}
	hold, empty := f.slack(Covered), f.sight.empty
	_, plain := around(f.plane, 2*flatSpread, 12)
	_, paint := around(f.plane, flatSpread, 8)
	least := coveredPlain
	if f.sight.alike >= movedAlike {
		least = coveredPart
	}
	switch {
	case f.sight.alike < movedAlike && f.dimmer(coveredDark),
		empty >= coveredEmpty/hold, paint >= paintShare/hold, empty >= coveredHalf/hold && empty+plain >= least/hold:
	default:
		return Verdict{}, false
	}
	if f.sight.alike < movedAlike && !f.dimmer(coveredDim) && !f.lit() && !(empty >= coveredBare && plain >= coveredHalf) && f.rest(plain) < coveredRest/hold {
		return Verdict{}, false
	}
	return above(Covered, "blocks lost", f.sight.lost, 0, coveredLost/f.slack(Covered))
}

// rest is how much speaks for a cover where the light is as it was: that the
// picture is plain, and that what else is seen stands where it did, past the
// rim of what covers. A plain view that a camera was moved to has edges, and
// they are new.
func (f *frame) rest(plain float64) float64 {
	b := &f.met[f.best]
	return plain + float64(restWeight*b.rest()) - float64(newWeight*math.Sqrt(b.fresh(&f.Scores.Edges)))
}

// dimmer says whether there is less than that share of the light of this hour,
// which is none of the night: a camera that was moved finds as much elsewhere,
// one under a cloth does not.
func (f *frame) dimmer(share float64) bool {
	usual, ok := f.state.lightAt(f.hour)
	return ok && usual >= dawn && f.values[light] < share*usual
}

// lit says whether there is more light than another view has at this hour.
func (f *frame) lit() bool {
	usual, ok := f.state.lightAt(f.hour)
	return ok && f.values[light] > coveredLit*usual
}

// moved: another picture, with as much in it as before. At an hour of which no
// ordinary frame is known it may be the first morning, and in an hour after which
// none is known, by the light of a day that nobody has seen: then it is a move if
// it is known to have been moved already, or is the same picture elsewhere. So is
// what came by degrees: where lamps make nights as bright as days, dawn brings no
// light that nobody has seen.
func (f *frame) moved() (Verdict, bool) {
	if !f.sure || f.sight.alike >= shiftedAlike {
		return Verdict{}, false
	}
	bin, _ := f.state.light()
	unseen := f.state.counts[f.hour] == 0 || bin == dayBin && f.state.counts[bin] < learned && f.state.counts[(f.hour+1)%24] == 0
	unseen = unseen || f.state.counts[(f.hour+1)%24] == 0 && f.gradual()
	var then structure
	then.fill(&f.state.background[f.best])
	s := measureShift((*[cells]int16)(&then), (*[cells]int16)(&f.now))
	limit := movedAlike
	if far := math.Hypot(float64(s.X), float64(s.Y)) > 1.0/side; far && s.Correlation >= shiftSure {
		limit = shiftedAlike
	} else if unseen && f.state.lasting != Moved {
		return Verdict{}, false
	}
	v, ok := below(Moved, "alike", f.sight.alike, 1, limit*f.slack(Moved))
	if ok && s.Correlation >= shiftAlike {
		v.Shift = s
	}
	return v, ok
}

// gradual says that the frame shows much of what the one before did, which was
// as it should be: daylight takes longer to come than a camera to be turned.
func (f *frame) gradual() bool {
	if !f.state.hasBefore || f.state.candidate != Ok {
		return false
	}
	var before structure
	before.fill(&f.state.before)
	var met blocks
	met.compare(&before, &f.now)
	s := met.meet(nil)
	return s.enough() && s.alike >= otherLook
}

// shiftAlike is the correlation of the structures that moving back has to bring
// for the shift to be told: cameras that were turned by a fifth of the width have
// 0.35 to 0.85, those that show something else up to 0.22.
const shiftAlike = 0.3

// shiftSure is the correlation that leaves no doubt: what is long and level, as
// shelves and streets are, stays more alike than other scenes when it is moved
// along itself, up to shiftedAlike, and is the same picture once it is moved back.
const (
	shiftSure    = 0.6
	shiftedAlike = 0.6
)
