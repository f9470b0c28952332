package capture

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// BenchmarkNumbers is all that is computed from a decoded 1080p plane: PDQ with
// its quality, pHash and all scores.
func BenchmarkNumbers(b *testing.B) {
	d := desk{pic: codec.Picture{Y: codectest.Plane("clouds", 1920, 1080, 1920)}}
	d.fingerprint()
	d.quality.Score(d.pic.Y)
	b.ReportAllocs()
	for b.Loop() {
		d.fingerprint()
		d.quality.Score(d.pic.Y)
	}
}
