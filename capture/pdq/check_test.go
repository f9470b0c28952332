package pdq

import (
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

func TestCheck(t *testing.T) {
	if err := Check(); err != nil {
		t.Error(err)
	}
	for _, l := range codec.Levels() {
		if err := check(&Hasher{level: l}, golden); err != nil {
			t.Error(err)
		}
	}
}

// TestCheckSeesOneWrongWeight: a filter that is a little wrong is found.
func TestCheckSeesOneWrongWeight(t *testing.T) {
	h := Hasher{level: codec.PlainGo}
	h.rows.prepare(95)
	h.rows.points[20].norm *= 1.1
	if check(&h, golden) == nil {
		t.Error("the wrong filter passes")
	}
}

// TestCheckSeesOneWrongNumber: hash and quality of each picture are compared.
func TestCheckSeesOneWrongNumber(t *testing.T) {
	for i := range golden {
		for name, change := range map[string]func(*vector){
			"hash":    func(v *vector) { v.hash = v.hash[1:] + "0" },
			"quality": func(v *vector) { v.quality-- },
		} {
			wrong := slices.Clone(golden)
			change(&wrong[i])
			if check(new(Hasher), wrong) == nil {
				t.Errorf("picture %d: another %s passes", i, name)
			}
		}
	}
}
