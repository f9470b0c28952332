package quality

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// metric is one number whose usual value a camera has.
type metric int

const (
	contrast metric = iota // of the grid, on which a clock weighs nothing
	light                  // mean
	bright                 // share of bright samples
	noise
	live // share of cells that differ from the frame before
	metrics
)

// floors are added before logarithms are taken, so that a metric near nothing
// does not jump by octaves.
var floors = [metrics]float64{1, 2, 0.02, 0.5, 2e-3}

const (
	dayBin   = 24 // beside the 24 hours: all frames by day
	nightBin = 25
	bins     = 26
)

// By day and by night.
const (
	byDay = iota
	byNight
)

// looks is how many pictures a camera may have that are all as they should be:
// mostly one is by day and one by night. Where the structure is the same by both,
// one is all there is.
const looks = 2

// State is what is remembered of one camera: the usual value of each metric by
// hour of day and for day and night, the two pictures that it may show, the
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
	look       uint8                // the background that the last ordinary frame went into
	seen       [looks]uint8         // how many frames are in each background
	spans      [looks]span          // when they came, while it is being learned
	background [looks]Plane
	alike      [looks][Blocks * Blocks]uint8 // how alike each block is to the background's usually, in 1/255
	bands      [2][Blocks]int16              // the usual gradients of each band by day and by night, as usual is
	before     Plane
	hasBefore  bool
	studio     bool // what is usual was measured of luma of 16..235
	wide       bool // it says that its luma is of that range, and it is not
}

// StateBytes is how long a packed State is: always as long.
const StateBytes = 1 + 7 + 8 + 2 + looks*4 + bins + bins*int(metrics)*2 + 2*Blocks*2 + looks*Blocks*Blocks + (looks+1)*cells

// stateVersion is the first byte of a packed State. Version 1 knew no blocks and
// no bands: what was learned under it is learned anew. Version 2 knew no spans:
// what it had learned is kept, and a look that it was learning is begun again.
const (
	stateVersion = 3
	spanless     = 2

	spanlessBytes = StateBytes - looks*4
)

// MarshalBinary packs s into StateBytes bytes: version, flags, counts and the
// usual values in big-endian order, then blocks and three planes.
func (s *State) MarshalBinary() ([]byte, error) {
	return s.AppendBinary(make([]byte, 0, StateBytes))
}

// AppendBinary is MarshalBinary behind b.
func (s *State) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, stateVersion, flag(s.night), flag(s.hasBefore)|flag(s.wide)<<1|flag(s.studio)<<2, s.pace, s.calm, byte(s.lasting), byte(s.candidate), s.look)
	b = binary.BigEndian.AppendUint64(b, uint64(s.since))
	b = append(b, s.seen[:]...)
	for _, v := range s.spans {
		b = binary.BigEndian.AppendUint32(b, uint32(v))
	}
	b = append(b, s.counts[:]...)
	for i := range s.usual {
		for _, v := range s.usual[i] {
			b = binary.BigEndian.AppendUint16(b, uint16(v))
		}
	}
	for i := range s.bands {
		for _, v := range s.bands[i] {
			b = binary.BigEndian.AppendUint16(b, uint16(v))
		}
	}
	b = append(b, s.alike[0][:]...)
	b = append(b, s.alike[1][:]...)
	b = append(b, s.background[0][:]...)
	b = append(b, s.background[1][:]...)
	return append(b, s.before[:]...), nil
}

// CutState parts a packed State, of this version or the one before, from what
// somebody has put behind it. What is no State is all state, for UnmarshalBinary
// to refuse.
func CutState(b []byte) (state, rest []byte) {
	n := StateBytes
	if len(b) > 0 && b[0] == spanless {
		n = spanlessBytes
	}
	n = min(n, len(b))
	return b[:n:n], b[n:]
}

// UnmarshalBinary reads what MarshalBinary wrote, in this version or the one
// before. After an error s is unchanged; a camera whose state cannot be read is
// learned anew from the zero State.
func (s *State) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != stateVersion && b[0] != spanless {
		return fmt.Errorf("quality state has another version than %d: begin with an empty one", stateVersion)
	}
	want := StateBytes
	if b[0] == spanless {
		want = spanlessBytes
	}
	if len(b) != want {
		return fmt.Errorf("quality state has %d bytes, want %d: begin with an empty one", len(b), want)
	}
	if b[1] > 1 || b[2] > 7 || Kind(b[5]) >= kinds || Kind(b[6]) >= kinds || b[7] >= looks {
		return fmt.Errorf("quality state has impossible flags %x: begin with an empty one", b[1:8])
	}
	t := State{night: b[1] == 1, hasBefore: b[2]&1 == 1, wide: b[2]&2 != 0, studio: b[2]&4 != 0, pace: b[3], calm: b[4], lasting: Kind(b[5]), candidate: Kind(b[6]), look: b[7]}
	t.since = int64(binary.BigEndian.Uint64(b[8:]))
	version := b[0]
	b = b[16:]
	b = b[copy(t.seen[:], b):]
	for i := range t.spans {
		if version == spanless {
			break
		}
		if t.spans[i] = span(binary.BigEndian.Uint32(b)); t.spans[i] > allSpans {
			return fmt.Errorf("quality state has impossible spans %x: begin with an empty one", b[:4])
		}
		b = b[4:]
	}
	b = b[copy(t.counts[:], b):]
	for i := range t.usual {
		for k := range t.usual[i] {
			t.usual[i][k] = int16(binary.BigEndian.Uint16(b))
			b = b[2:]
		}
	}
	for i := range t.bands {
		for k := range t.bands[i] {
			t.bands[i][k] = int16(binary.BigEndian.Uint16(b))
			b = b[2:]
		}
	}
	b = b[copy(t.alike[0][:], b):]
	b = b[copy(t.alike[1][:], b):]
	b = b[copy(t.background[0][:], b):]
	b = b[copy(t.background[1][:], b):]
	copy(t.before[:], b)
	if version == spanless {
		t.dropYoung()
	}
	*s = t
	return nil
}

// dropYoung forgets the look that is being learned beside a learned one.
func (s *State) dropYoung() {
	for i, n := range s.seen {
		if other := looks - 1 - i; n < learned && s.seen[other] >= learned {
			s.forget(i)
			s.look = uint8(other)
		}
	}
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
	return State{night: s.night, before: s.before, hasBefore: s.hasBefore, wide: s.wide, studio: s.studio}
}

// Lasting is the verdict that holds for the camera and not for one frame alone.
func (s *State) Lasting() Kind { return s.lasting }

// Since is when the frames began to have the verdict that they have now.
func (s *State) Since() time.Time { return time.Unix(s.since, 0) }

const (
	learned = 16 // frames that make a usual value or a background
	perHour = 8  // frames that make an hour's own
)

// noHour asks for what is usual by this light at all hours.
const noHour = -1

// normal returns the usual value of a metric at an hour; false when the camera
// is not yet known by this light.
func (s *State) normal(m metric, hour int) (float64, bool) {
	b, _ := s.light()
	if s.counts[b] < learned {
		return 0, false
	}
	if hour != noHour && s.counts[hour] >= perHour {
		b = hour
	}
	return math.Exp2(float64(s.usual[b][m])/256) - floors[m], true
}

// light is by which light it is: the index of its counts and that of its bands.
func (s *State) light() (bin, plane int) {
	if s.night {
		return nightBin, byNight
	}
	return dayBin, byDay
}

// lightAt is how light it usually is around an hour, by whatever light.
func (s *State) lightAt(hour int) (float64, bool) { return s.atHour(light, hour) }

// atHour is what a metric usually is around an hour: over it and its neighbors,
// that a day or two of frames may tell. False when nobody knows.
func (s *State) atHour(m metric, hour int) (float64, bool) {
	sum, n := 0, 0
	for d := 23; d <= 25; d++ {
		b := (hour + d) % 24
		sum += int(s.counts[b]) * int(s.usual[b][m])
		n += int(s.counts[b])
	}
	if n < perHour/2 {
		return 0, false
	}
	return math.Exp2(float64(sum)/float64(n)/256) - floors[m], true
}

// framesAround is how many frames are known of an hour and its neighbors.
func (s *State) framesAround(hour int) (n int) {
	for d := 23; d <= 25; d++ {
		n += int(s.counts[(hour+d)%24])
	}
	return n
}

// darkestAt is how light it usually is in the darkest of an hour and its
// neighbors, of which all are known: at dusk that is night, and their mean is
// not.
func (s *State) darkestAt(hour int) float64 {
	least := s.usual[hour][light]
	for _, d := range [2]int{1, 23} {
		least = min(least, s.usual[(hour+d)%24][light])
	}
	return math.Exp2(float64(least)/256) - floors[light]
}

// roundTheClock says whether frames of all hours are known: what night is like
// then is known as well, even if none was dark enough to be called one.
func (s *State) roundTheClock() bool {
	return !slices.Contains(s.counts[:24], 0)
}

// octaves is a value as it is remembered: its logarithm, in 1/256.
func octaves(v, floor float64) int16 {
	return int16(max(-32768, min(32767, math.Round(256*math.Log2(max(0, v)+floor)))))
}

// towards is the next of a running median: a step up for a larger value, down
// for a smaller one (Ma, Muthukrishnan and Sandler, Frugal Streaming, 2013), in
// octaves, with steps that shrink from one octave to a sixteenth while it is new.
func towards(usual, x int16, n int) int16 {
	if n == 0 {
		return x
	}
	step := max(16, 256/n)
	return int16(int(usual) + max(-step, min(step, int(x)-int(usual))))
}

// learn moves what is usual towards a frame.
func (s *State) learn(f *frame) {
	bin, plane := s.light()
	for _, b := range [2]int{f.hour, bin} {
		n := int(s.counts[b])
		for m, v := range f.values {
			s.usual[b][m] = towards(s.usual[b][m], octaves(v, floors[m]), n)
		}
		if b == bin {
			for i, v := range f.bands {
				s.bands[plane][i] = towards(s.bands[plane][i], octaves(v, bandFloor), n)
			}
		}
		s.counts[b] = uint8(min(255, n+1))
	}
	look := f.place()
	if n := int(s.seen[look]) - blocksFrom; n >= 0 {
		for i, v := range f.met[look].alike {
			to := int(float32(255*max(0, v)) + 0.5)
			step := max(4, 255/(n+1))
			was := int(s.alike[look][i])
			s.alike[look][i] = uint8(was + max(-step, min(step, to-was)))
		}
	}
	s.absorb(look, f.plane)
	s.settle(look, f.hour)
}

// blocksFrom is how many frames a background has before blocks are held to it.
const blocksFrom = 4

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
