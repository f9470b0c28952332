package phash

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// TestCheckSeesOneWrongWeight: a filter that is a little wrong is found, at
// either of the sizes and on all ways through the code.
func TestCheckSeesOneWrongWeight(t *testing.T) {
	for _, l := range codec.Levels() {
		for i, g := range golden {
			h := Hasher{shrink: shrinker{kernel: kernel{level: l}}}
			if err := check(&h, golden); err != nil {
				t.Fatalf("%v: %v", l, err)
			}
			h = Hasher{shrink: shrinker{kernel: kernel{level: l}}}
			h.shrink.down.prepare(g.height, g.height, precision+1)
			d := &h.shrink.down
			d.weights[4*d.taps+d.taps/2] *= 2
			if check(&h, golden[i:]) == nil {
				t.Errorf("%v: the wrong filter for %d rows passes", l, g.height)
			}
		}
	}
}
