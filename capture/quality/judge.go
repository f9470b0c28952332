package quality

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Kind is what is wrong with a picture.
type Kind uint8

// The kinds. Their numbers are part of a packed State.
const (
	Ok Kind = iota
	Black
	OverExposed
	UnderExposed
	Flat
	Blurred
	Covered
	Moved
	Frozen
	Noisy
	Corrupt
	kinds
)

var kindText = [kinds]string{"ok", "black", "over-exposed", "under-exposed", "flat", "blurred", "covered", "moved", "frozen", "noisy", "corrupt"}

// String returns the word used on the API and in logs.
func (k Kind) String() string {
	if k < kinds {
		return kindText[k]
	}
	return fmt.Sprintf("verdict-%d", uint8(k))
}

// MarshalText writes the word.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the word.
func (k *Kind) UnmarshalText(b []byte) error {
	for i, s := range kindText {
		if s == string(b) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("verdict %q: want one of %v", b, kindText)
}

// Verdict is what is said of one frame.
type Verdict struct {
	Kind     Kind
	Score    float32 // how far beyond its limit, 0.5 at the limit .. 1; 1 for Ok
	Evidence Evidence
	Shift    Shift // of Moved

	Before     Change // since the frame before; zero for the first one
	Background Change // against the picture of the camera's that it is most like; zero until one is known

	Lasting  Kind // what has been so for long enough; Ok when nothing has
	Learning bool // the camera is not known yet by this light: only what is wrong for any camera is said
}

// Record returns what a capture keeps of v.
func (v Verdict) Record() fleet.Verdict {
	r := fleet.Verdict{Fault: fleet.Fault(v.Kind.String()), Learning: v.Learning}
	if v.Lasting != Ok {
		r.Lasting = fleet.Fault(v.Lasting.String())
	}
	if v.Kind == Ok {
		return r
	}
	r.Score, r.Metric, r.Value, r.Usual, r.Limit = v.Score, v.Evidence.Metric, v.Evidence.Value, v.Evidence.Usual, v.Evidence.Limit
	if v.Kind == Moved {
		r.ShiftX, r.ShiftY = v.Shift.X, v.Shift.Y
	}
	return r
}

// Evidence is the number that decided.
type Evidence struct {
	Metric string  // as in the documentation; empty for Ok
	Value  float32 // of this frame
	Usual  float32 // of this camera, at this hour or by this light; 0 when none is known
	Limit  float32 // what Value had to pass
}

// Sample is one frame to be judged.
type Sample struct {
	Scores  *Scores
	Grid    *codec.Grid
	At      time.Time // in the camera's zone: its hour matters
	Missing float32   // share of the picture that did not come: the decoder made it up
	Studio  bool      // the stream says, or lets understand, that luma is of 16..235, as most video is
}

// Options configure Judge. The zero Options are the defaults.
type Options struct {
	Frames   int           // in a row with one verdict before it lasts; default 2
	Duration time.Duration // and at least so long; default 30 s
	Calm     int           // frames without it before it ends; default 3
}

func (o Options) withDefaults() Options {
	if o.Frames == 0 {
		o.Frames = 2
	}
	if o.Duration == 0 {
		o.Duration = 30 * time.Second
	}
	if o.Calm == 0 {
		o.Calm = 3
	}
	return o
}

// Judge says what is wrong with a frame of the camera that s remembers, and
// returns what is remembered now. It has no clock and keeps nothing. The limits
// are the camera's own where it is known, and let a verdict that lasts go later
// than it came. Frames with a fault teach nothing: a covered lens does not become
// usual. Frames of one camera are judged in their order.
func Judge(o Options, s State, x Sample) (Verdict, State) {
	o = o.withDefaults()
	plane := Reduced(x.Grid)
	hour := x.At.Hour()
	f := frame{Sample: x, state: &s, plane: &plane, hour: hour, values: values(x.Scores, &plane)}
	f.measure()
	s.night = s.isNight(f.values[light])
	f.look()
	if s.hasBefore {
		f.change = Compare(&s.before, &plane)
		f.values[live] = float64(f.change.Changed)
	}
	v := f.judge()
	v.Before = f.change
	if f.known {
		v.Background = Compare(&s.background[f.best], &plane)
	}
	if v.Kind == Ok {
		if !s.hasBefore { // it has no change that one could learn
			f.values[live] = max(f.values[live], 0.05)
		}
		s.learn(&f)
	}
	s.before, s.hasBefore = plane, true
	s.follow(o, v.Kind, x.At)
	v.Lasting = s.lasting
	return v, s
}

// Below dusk it is night, and above dawn it is none, for a camera whose hours
// are not known yet, or are all alike.
const dusk, dawn = 50, 65

// nightBelow is the light that parts a camera's nights from its days: halfway in
// octaves between its darkest and its brightest hour. A street that is lit has
// nights that others would call days.
func (s *State) nightBelow() (float64, bool) {
	const least = 230 // of 1/256 octave between the two: nearly twice the light
	darkest, brightest := int16(math.MaxInt16), int16(math.MinInt16)
	for h, n := range s.counts[:24] {
		if n >= 2 {
			darkest, brightest = min(darkest, s.usual[h][light]), max(brightest, s.usual[h][light])
		}
	}
	if int(brightest)-int(darkest) < least {
		return 0, false
	}
	return math.Exp2((float64(darkest)+float64(brightest))/512) - floors[light], true
}

// isNight holds between two levels of light what it was.
func (s *State) isNight(mean float64) bool {
	low, high := float64(dusk), float64(dawn)
	if mid, ok := s.nightBelow(); ok {
		low, high = 0.9*mid, 1.1*mid
	}
	if s.night {
		return mean < high
	}
	return mean < low
}

// The levels that darkest and brightest become where luma is of 16..235.
const (
	studioDarkest   = 16 + darkest*219/255
	studioBrightest = 16 + brightest*219/255
)

// measure takes light, and what is lost at the ends of the range, from the range
// that the picture has. Of 16..235 nothing is beyond darkest or brightest. There
// cells are counted in place of samples, which makes no difference where so many
// are lost that it matters. Cameras that send all levels do not all say so: one
// that has shown a level that studio range has not is believed no more. Encoders
// make a few levels more or less.
func (f *frame) measure() {
	f.floor, f.ceiling, f.dark = darkest, brightest, float64(f.Scores.Dark)
	if !f.Studio || f.state.wide {
		return
	}
	if slices.Min(f.plane[:]) < 16-4 || slices.Max(f.plane[:]) > 235+5 {
		f.state.wide = true
		return
	}
	if !f.state.studio {
		f.state.studio = true
		f.state.counts = [bins]uint8{} // what was usual was measured otherwise
	}
	var low, high int
	for _, v := range f.plane {
		if v <= studioDarkest {
			low++
		}
		if v >= studioBrightest {
			high++
		}
	}
	f.floor, f.ceiling = studioDarkest, studioBrightest
	f.dark, f.values[bright] = float64(low)/cells, float64(high)/cells
	f.values[light] = max(0, float64(f.values[light]-16)*255/219)
}

func values(s *Scores, p *Plane) (v [metrics]float64) {
	v[contrast] = spread(p)
	v[light] = float64(s.Mean)
	v[bright] = float64(s.Bright)
	v[noise] = float64(s.Noise)
	return v
}

// follow keeps count of what lasts.
func (s *State) follow(o Options, k Kind, at time.Time) {
	s.since = min(s.since, at.Unix()) // the clock was set back meanwhile
	if k == Ok {
		if s.lasting != Ok {
			if s.calm++; int(s.calm) >= o.Calm {
				s.lasting, s.calm = Ok, 0
			}
		}
		s.candidate, s.pace, s.since = Ok, 0, at.Unix()
		return
	}
	if k != s.candidate {
		s.candidate, s.pace, s.since = k, 0, at.Unix()
	}
	s.calm = 0
	s.pace = uint8(min(255, int(s.pace)+1))
	if int(s.pace) >= o.Frames && at.Unix()-s.since >= int64(o.Duration/time.Second) {
		s.lasting = k
	}
}
