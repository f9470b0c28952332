//go:build unix

package quality

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// TestEdges: no level reads beside the plane, before its first sample or behind
// its last.
func TestEdges(t *testing.T) {
	e := codectest.NewEdges(t, 1100*70)
	check := func(w, h, slack int) {
		e.Planes(plane(w, h, w+slack, codectest.Gen("noise", 64, 64)), func(p codec.Plane) { agree(t, p) })
	}
	for w := 1; w <= 140; w++ {
		check(w, 1+w%9, w%3)
		check(1000-w, 66, 0)
	}
}
