package quality

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// metric is one number whose usual value a camera has.
type metric int

const (
	focus    metric = iota // Tenengrad without noise by contrast squared: what fog leaves alone
	edges                  // share of edges
	contrast               // contrast
	light                  // mean
	bright                 // share of bright samples
	noise
	live // share of cells that differ from the frame before
	metrics
)

// floors are added before logarithms are taken, so that a metric near nothing
// does not jump by octaves.
var floors = [metrics]float64{1e-3, 2e-3, 1, 2, 0.02, 0.5, 2e-3}

const (
	dayBin   = 24 // beside the 24 hours: all frames by day
	nightBin = 25
	bins     = 26
)

// The two backgrounds.
const (
	byDay = iota
	byNight
)

// State is what is remembered of one camera: the usual value of each metric by
// hour of day and for day and night, what it looks at by day and by night, the
// frame before, and the verdict that lasts. The zero State knows nothing. It is
// a value: Judge returns a new one and leaves the old alone.
type State struct {
	night      bool
	pace       uint8 // how many frames the running verdict has been seen for
	calm       uint8 // how many frames without it
	lasting    Kind  // the verdict that lasts; Ok when none does
	candidate  Kind
	since      int64 // when candidate was first seen, Unix seconds
	counts     [bins]uint8
	usual      [bins][metrics]int16 // log2, in 1/256
	seen       [2]uint8             // how many frames are in each background
	background [2]Plane
	before     Plane
	hasBefore  bool
}

// StateBytes is how long a packed State is: always as long.
const StateBytes = 1 + 7 + 8 + 2 + bins + bins*int(metrics)*2 + 3*cells

// stateVersion is the first byte of a packed State.
const stateVersion = 1

// MarshalBinary packs s into StateBytes bytes: version, flags, counts and the
// usual values in big-endian order, then three planes.
func (s *State) MarshalBinary() ([]byte, error) {
	return s.AppendBinary(make([]byte, 0, StateBytes))
}

// AppendBinary is MarshalBinary behind b.
func (s *State) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, stateVersion, flag(s.night), flag(s.hasBefore), s.pace, s.calm, byte(s.lasting), byte(s.candidate), 0)
	b = binary.BigEndian.AppendUint64(b, uint64(s.since))
	b = append(b, s.seen[:]...)
	b = append(b, s.counts[:]...)
	for i := range s.usual {
		for _, v := range s.usual[i] {
			b = binary.BigEndian.AppendUint16(b, uint16(v))
		}
	}
	b = append(b, s.background[0][:]...)
	b = append(b, s.background[1][:]...)
	return append(b, s.before[:]...), nil
}

// UnmarshalBinary reads what MarshalBinary wrote. After an error s is unchanged;
// a camera whose state cannot be read is learned anew from the zero State.
func (s *State) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != stateVersion {
		return fmt.Errorf("quality state has another version than %d: begin with an empty one", stateVersion)
	}
	if len(b) != StateBytes {
		return fmt.Errorf("quality state has %d bytes, want %d: begin with an empty one", len(b), StateBytes)
	}
	if b[1] > 1 || b[2] > 1 || Kind(b[5]) >= kinds || Kind(b[6]) >= kinds || b[7] != 0 {
		return fmt.Errorf("quality state has impossible flags %x: begin with an empty one", b[1:8])
	}
	t := State{night: b[1] == 1, hasBefore: b[2] == 1, pace: b[3], calm: b[4], lasting: Kind(b[5]), candidate: Kind(b[6])}
	t.since = int64(binary.BigEndian.Uint64(b[8:]))
	b = b[16:]
	b = b[copy(t.seen[:], b):]
	b = b[copy(t.counts[:], b):]
	for i := range t.usual {
		for k := range t.usual[i] {
			t.usual[i][k] = int16(binary.BigEndian.Uint16(b))
			b = b[2:]
		}
	}
	b = b[copy(t.background[0][:], b):]
	b = b[copy(t.background[1][:], b):]
	copy(t.before[:], b)
	*s = t
	return nil
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// Relearned returns a State that has forgotten how the camera looked and what
// was usual for it: for after an operator has accepted that it moved.
func (s State) Relearned() State {
	return State{night: s.night, before: s.before, hasBefore: s.hasBefore}
}

// Lasting is the verdict that holds for the camera and not for one frame alone.
func (s *State) Lasting() Kind { return s.lasting }

// Since is when the frames began to have the verdict that they have now.
func (s *State) Since() time.Time { return time.Unix(s.since, 0) }

const (
	learned = 16 // frames that make a usual value or a background
	perHour = 8  // frames that make an hour's own
)

// normal returns the usual value of a metric at an hour; false when the camera
// is not yet known by this light.
func (s *State) normal(m metric, hour int) (float64, bool) {
	b := dayBin
	if s.night {
		b = nightBin
	}
	if s.counts[b] < learned {
		return 0, false
	}
	if s.counts[hour] >= perHour {
		b = hour
	}
	return math.Exp2(float64(s.usual[b][m])/256) - floors[m], true
}

// learn moves the usual values towards those of a frame. Each is a running
// median: a step up for a larger value, down for a smaller one (Ma,
// Muthukrishnan and Sandler, Frugal Streaming, 2013), in octaves, with steps
// that shrink from one octave to a sixteenth while the bin is new.
func (s *State) learn(v *[metrics]float64, hour int, p *Plane) {
	light := dayBin
	plane := byDay
	if s.night {
		light, plane = nightBin, byNight
	}
	for _, b := range [2]int{hour, light} {
		n := int(s.counts[b])
		for m := range v {
			x := int(math.Round(256 * math.Log2(max(0, v[m])+floors[m])))
			if n == 0 {
				s.usual[b][m] = int16(max(-32768, min(32767, x)))
				continue
			}
			step := max(16, 256/n)
			d := max(-step, min(step, x-int(s.usual[b][m])))
			s.usual[b][m] = int16(max(-32768, min(32767, int(s.usual[b][m])+d)))
		}
		s.counts[b] = uint8(min(255, n+1))
	}
	s.absorb(plane, p)
}

// absorb moves a background one level towards p, cell by cell (Manzanera and
// Richefeu 2004); the first frames move it by their share.
func (s *State) absorb(plane int, p *Plane) {
	n := int(s.seen[plane]) + 1
	bg := &s.background[plane]
	for i, v := range p {
		d := int(v) - int(bg[i])
		if n <= learned {
			d = int(math.Round(float64(d) / float64(n)))
		}
		bg[i] = uint8(int(bg[i]) + clampStep(d, n))
	}
	s.seen[plane] = uint8(min(255, n))
}

func clampStep(d, n int) int {
	if n <= learned {
		return d
	}
	return max(-1, min(1, d))
}
