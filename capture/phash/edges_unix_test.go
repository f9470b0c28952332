//go:build unix

package phash

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// TestEdges: no level reads beside the plane.
func TestEdges(t *testing.T) {
	codectest.EachEdge(t, 5, func(p codec.Plane) { agree(t, p) })
}
