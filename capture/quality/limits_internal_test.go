package quality

import "testing"

// TestLimits holds the limits of verdicts to what docs/fingerprints.md says of
// them: just this side nothing is said, just that side the verdict, and one that
// lasts is held a fifth longer.
func TestLimits(t *testing.T) {
	const hour = 12
	for name, c := range map[string]struct {
		kind       Kind
		usual      map[metric]float64
		set        func(f *frame, v float64)
		ask        func(f *frame) (Verdict, bool)
		good, bad  float64
		kept, gone float64 // while it lasts; 0 where there is no slack
	}{
		"black": {
			Black, nil,
			func(f *frame, v float64) { f.dark = v }, (*frame).black, 0.975, 0.985, 0.82, 0.81,
		},
		"blown out": {
			OverExposed, nil,
			func(f *frame, v float64) { f.values[bright] = v }, (*frame).overExposed, 0.84, 0.86, 0, 0,
		},
		"blown out, beyond what is usual": {
			OverExposed, map[metric]float64{bright: 0.2},
			func(f *frame, v float64) { f.values[bright] = v }, (*frame).overExposed, 0.595, 0.605, 0.51, 0.49,
		},
		"blown out, where little is usual": {
			OverExposed, map[metric]float64{bright: 0.01},
			func(f *frame, v float64) { f.values[bright] = v }, (*frame).overExposed, 0.345, 0.355, 0.295, 0.285,
		},
		"frozen": {
			Frozen, map[metric]float64{live: 0.2},
			func(f *frame, v float64) { f.change.Changed = float32(v) }, (*frame).frozen, 0.0205, 0.0195, 0.0235, 0.0245,
		},
		"less light": {
			UnderExposed, map[metric]float64{light: 100},
			func(f *frame, v float64) { f.values[light] = v }, (*frame).underExposed, 48.5, 47.5, 57, 58.2,
		},
		"noise": {
			Noisy, map[metric]float64{noise: 5},
			func(f *frame, v float64) { f.values[noise], f.Scores.Noise = v, float32(v) }, (*frame).noisy, 10.9, 11.1, 9.25, 9.1,
		},
		"noise of a quiet camera": {
			Noisy, map[metric]float64{noise: 1},
			func(f *frame, v float64) { f.values[noise], f.Scores.Noise = v, float32(v) }, (*frame).noisy, 3.95, 4.05, 3.4, 3.3,
		},
		"gradients": {
			Blurred, map[metric]float64{contrast: 40},
			func(f *frame, v float64) {
				f.values[contrast] = 40
				for i := range f.bands {
					f.bands[i] = 1000 * v
					f.state.bands[byDay][i] = octaves(1000, bandFloor)
				}
			}, (*frame).blurred, 0.303, 0.297, 0.355, 0.365,
		},
	} {
		ask := func(v float64, lasting Kind) bool {
			s := &State{hasBefore: true, lasting: lasting}
			if c.usual != nil {
				s.counts[dayBin] = learned
			}
			for m, v := range c.usual {
				s.usual[dayBin][m] = octaves(v, floors[m])
			}
			f := &frame{Sample: Sample{Scores: &Scores{}}, state: s, hour: hour}
			c.set(f, v)
			verdict, ok := c.ask(f)
			if ok && verdict.Kind != c.kind {
				t.Errorf("%s at %v: %v", name, v, verdict.Kind)
			}
			return ok
		}
		if ask(c.good, Ok) || !ask(c.bad, Ok) {
			t.Errorf("%s: at %v %v, at %v %v", name, c.good, ask(c.good, Ok), c.bad, ask(c.bad, Ok))
		}
		if c.kept != 0 && (!ask(c.kept, c.kind) || ask(c.gone, c.kind)) {
			t.Errorf("%s, while it lasts: at %v %v, at %v %v", name, c.kept, ask(c.kept, c.kind), c.gone, ask(c.gone, c.kind))
		}
	}
}

// TestNeverFrozen: a camera whose picture hardly changes is never called frozen.
func TestNeverFrozen(t *testing.T) {
	for usual, want := range map[float64]bool{0.009: false, 0.011: true} {
		s := &State{hasBefore: true}
		s.counts[dayBin] = learned
		s.usual[dayBin][live] = octaves(usual, floors[live])
		f := &frame{Sample: Sample{Scores: &Scores{}}, state: s, hour: 12}
		if _, ok := f.frozen(); ok != want {
			t.Errorf("of %v usually: %v", usual, ok)
		}
	}
}
