package wire_test

import (
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// TestMaskedCaptures: a masked frame's record says under which mask it was
// taken, eight bytes behind the rules; that of any other frame is as it was, so
// that a centre that knows no masks reads it.
func TestMaskedCaptures(t *testing.T) {
	plain, masked := frame(), frame()
	plain.Reading.Fingerprint.Rules, masked.Reading.Fingerprint.Rules = fleet.RulesFirst, fleet.RulesFirst
	masked.Reading.Fingerprint.Mask = 0x056d1d3c196c6fe3
	masked.Reading.Verdict = fleet.Verdict{Fault: fleet.FaultNone}
	p, m := wire.AppendCapture(nil, plain), wire.AppendCapture(nil, masked)
	if p[2] != 3 || m[2] != 4 || len(m) != len(p)+8 {
		t.Errorf("layouts %d and %d, %d and %d bytes", p[2], m[2], len(p), len(m))
	}
	const tail = "01" + "056d1d3c196c6fe3" + "01" // rules, mask, a verdict's flags
	if got := hex.EncodeToString(m[len(m)-10:]); got != tail {
		t.Errorf("a masked record ends with %s, want %s", got, tail)
	}
	got, err := wire.ParseCaptures(append(append([]byte{}, p...), m...))
	if err != nil || !reflect.DeepEqual(got, []fleet.Capture{plain, masked}) {
		t.Errorf("%v\n%+v", err, got)
	}
	if o, outcome, n, err := wire.PeekCapture(m); err != nil || n != len(m) || o != masked.Occurrence || outcome != fleet.Captured {
		t.Errorf("a peek sees %v %v, %v", o, outcome, err)
	}
	failed := failure()
	failed.Reading.Fingerprint.Mask = 1 // there is no frame
	if b := wire.AppendCapture(nil, failed); b[2] != 3 {
		t.Errorf("a failure has layout %d", b[2])
	}
	none := append([]byte{}, m...)
	copy(none[len(none)-9:], make([]byte, 8))
	if _, err := wire.ParseCaptures(none); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a masked record without a mask: %v", err)
	}
}
