package pdq

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

func TestCheck(t *testing.T) {
	if err := Check(); err != nil {
		t.Error(err)
	}
	for _, l := range codec.Levels() {
		if err := check(&Hasher{level: l}); err != nil {
			t.Error(err)
		}
	}
}

// TestCheckSeesOneWrongWeight: a filter that is a little wrong is found.
func TestCheckSeesOneWrongWeight(t *testing.T) {
	h := Hasher{level: codec.PlainGo}
	h.rows.prepare(95)
	h.rows.points[20].norm *= 1.1
	if check(&h) == nil {
		t.Error("the wrong filter passes")
	}
}
