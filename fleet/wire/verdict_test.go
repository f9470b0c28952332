package wire_test

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

func faults() []fleet.Fault {
	return []fleet.Fault{
		fleet.FaultBlack, fleet.FaultOverExposed, fleet.FaultUnderExposed, fleet.FaultFlat, fleet.FaultBlurred,
		fleet.FaultCovered, fleet.FaultMoved, fleet.FaultFrozen, fleet.FaultNoisy, fleet.FaultCorrupt,
	}
}

func TestVerdictsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var v fleet.Verdict
		if rapid.Bool().Draw(t, "judged") {
			v.Fault = fleet.FaultNone
			v.Learning = rapid.Bool().Draw(t, "learning")
			v.Lasting = rapid.SampledFrom(append(faults(), "")).Draw(t, "lasting")
		}
		if v.Fault != "" && rapid.Bool().Draw(t, "bad") {
			number := rapid.Float32Range(-1e6, 1e6)
			v.Fault, v.Metric = rapid.SampledFrom(faults()).Draw(t, "fault"), rapid.SampledFrom([]string{"", "dark", "rows of one level"}).Draw(t, "metric")
			v.Score, v.Value, v.Usual, v.Limit = number.Draw(t, "score"), number.Draw(t, "value"), number.Draw(t, "usual"), number.Draw(t, "limit")
			if rapid.Bool().Draw(t, "shifted") {
				v.ShiftX, v.ShiftY = number.Draw(t, "x"), number.Draw(t, "y")
			}
		}
		c := frame()
		c.Reading.Verdict = v
		c.Reading.Fingerprint.Rules = fleet.Rules(rapid.Byte().Draw(t, "rules"))
		got, err := wire.ParseCaptures(wire.AppendCapture(nil, c))
		if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], c) {
			t.Fatalf("%v: got\n%+v\nwant\n%+v", err, got, c)
		}
	})
}

// TestVerdictsAreSmall: a frame without a fault pays two bytes for its rules
// and its verdict, and one with a fault stays below 64 more.
func TestVerdictsAreSmall(t *testing.T) {
	c := frame()
	c.Reading.Verdict = fleet.Verdict{Fault: fleet.FaultNone, Learning: true}
	fine := len(wire.AppendCapture(nil, c))
	if old := len(olderRecord(c, 2)); fine != old+2 {
		t.Errorf("a frame without a fault takes %d bytes, %d before there were verdicts", fine, old)
	}
	c.Reading.Verdict = fleet.Verdict{
		Fault: fleet.FaultMoved, Lasting: fleet.FaultMoved, Score: 0.75, Metric: "correlation", Value: 0.4, Usual: 1, Limit: 0.75, ShiftX: 0.1, ShiftY: -0.02,
	}
	if n := len(wire.AppendCapture(nil, c)) - fine; n > 64 {
		t.Errorf("a fault takes %d bytes more", n)
	}
}

// olderRecord is the record of a frame as builds of that layout wrote it:
// layout 2 had neither rules nor verdict, layout 1 no retakes either.
func olderRecord(c fleet.Capture, layout byte) []byte {
	c.Reading.Fingerprint.Rules, c.Reading.Verdict = 0, fleet.Verdict{}
	b := wire.AppendCapture(nil, c)
	b = b[:len(b)-2]
	b[2] = layout
	if layout == 1 {
		b = append(b[:5], b[6:]...)
	}
	n := len(b) - 2
	b[0], b[1] = byte(n)|0x80, byte(n>>7)
	return b
}

func TestOlderCapturesAreRead(t *testing.T) {
	want := frame()
	want.Reading.Verdict = fleet.Verdict{Fault: fleet.FaultNone}
	for _, layout := range []byte{1, 2} {
		b := olderRecord(want, layout)
		got, n, err := wire.ParseCapture(b)
		plain := frame()
		if err != nil || n != len(b) || !reflect.DeepEqual(got, plain) {
			t.Errorf("layout %d: %v, %d of %d bytes: %+v", layout, err, n, len(b), got)
		}
		if o, outcome, n, err := wire.PeekCapture(b); err != nil || n != len(b) || o != want.Occurrence || outcome != want.Outcome {
			t.Errorf("layout %d: a peek sees %v %v, %v", layout, o, outcome, err)
		}
	}
	b := wire.AppendCapture(nil, want)
	if o, outcome, n, err := wire.PeekCapture(b); err != nil || n != len(b) || o != want.Occurrence || outcome != want.Outcome {
		t.Errorf("a peek sees %v %v, %v", o, outcome, err)
	}
}

func TestMalformedVerdicts(t *testing.T) {
	c := frame()
	c.Reading.Verdict = fleet.Verdict{Fault: fleet.FaultNone}
	ok := wire.AppendCapture(nil, c)
	for name, flags := range map[string]byte{"nobody looked and found something": 2, "a shift of nothing": 5, "a flag of the future": 33} {
		b := append([]byte{}, ok...)
		b[len(b)-1] = flags
		if _, err := wire.ParseCaptures(b); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, number := range []float32{float32(math.NaN()), float32(math.Inf(1))} { // no JSON could say them
		c.Reading.Verdict = fleet.Verdict{Fault: fleet.FaultBlack, Value: number}
		if _, err := wire.ParseCaptures(wire.AppendCapture(nil, c)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%v: %v", number, err)
		}
	}
}
