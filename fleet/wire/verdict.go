package wire

import (
	"encoding/binary"
	"math"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// A verdict is one byte of flags, and behind it what they announce: a frame
// without a fault, of a camera without one, has nothing more.
//
//	verdict = flags [fault metric score value usual limit] [shift] [lasting]
const (
	hasVerdict  = 1 << iota // somebody looked
	hasFault                // and found something
	hasShift                // the picture moved: two numbers
	hasLasting              // a word
	hasLearning             // nothing follows
	allFlags    = hasLearning<<1 - 1
)

func appendVerdict(b []byte, v *fleet.Verdict) []byte {
	if v.Fault == fleet.NotJudged {
		return append(b, 0)
	}
	flags := byte(hasVerdict)
	if v.Bad() {
		flags |= hasFault
	}
	if v.Bad() && (v.ShiftX != 0 || v.ShiftY != 0) {
		flags |= hasShift
	}
	if v.Lasting != "" {
		flags |= hasLasting
	}
	if v.Learning {
		flags |= hasLearning
	}
	b = append(b, flags)
	if flags&hasFault != 0 {
		b = appendText(b, string(v.Fault))
		b = appendText(b, v.Metric)
		b = appendFloats(b, v.Score, v.Value, v.Usual, v.Limit)
	}
	if flags&hasShift != 0 {
		b = appendFloats(b, v.ShiftX, v.ShiftY)
	}
	if flags&hasLasting != 0 {
		b = appendText(b, string(v.Lasting))
	}
	return b
}

func appendFloats(b []byte, all ...float32) []byte {
	for _, v := range all {
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func (r *reader) verdict() (v fleet.Verdict) {
	flags := r.byte()
	if flags == 0 {
		return v
	}
	if flags&hasVerdict == 0 || flags > allFlags || flags&hasShift != 0 && flags&hasFault == 0 {
		r.fail("verdict with flags %#x", flags)
		return v
	}
	v.Fault, v.Learning = fleet.FaultNone, flags&hasLearning != 0
	if flags&hasFault != 0 {
		if v.Fault = fleet.Fault(r.word()); v.Fault == fleet.NotJudged || v.Fault == fleet.FaultNone {
			r.fail("fault %q", v.Fault)
		}
		v.Metric = r.word()
		r.floats(&v.Score, &v.Value, &v.Usual, &v.Limit)
	}
	if flags&hasShift != 0 {
		r.floats(&v.ShiftX, &v.ShiftY)
	}
	if flags&hasLasting != 0 {
		v.Lasting = fleet.Fault(r.word())
	}
	return v
}

// floats reads numbers that JSON can say, too.
func (r *reader) floats(all ...*float32) {
	for _, v := range all {
		b := r.bytes(4)
		if b == nil {
			return
		}
		if *v = math.Float32frombits(binary.BigEndian.Uint32(b)); math.IsNaN(float64(*v)) || math.IsInf(float64(*v), 0) {
			r.fail("number %v", *v)
		}
	}
}
