package quality

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// TestSameBitsEverywhere: scores and shifts have the bits that they had on amd64.
func TestSameBitsEverywhere(t *testing.T) {
	h := sha256.New()
	var before Plane
	for _, name := range codectest.Names() {
		s := Score(codectest.Plane(name, 333, 222, 340))
		_ = binary.Write(h, binary.LittleEndian, []float32{s.Mean, s.Contrast, s.Dark, s.Bright, s.Entropy, s.Sharpness, s.Tenengrad, s.Noise})
		_ = binary.Write(h, binary.LittleEndian, &s.Edges)
		p := Plane(codectest.Gen(name, side, side))
		_ = binary.Write(h, binary.LittleEndian, &s.Bands)
		_ = binary.Write(h, binary.LittleEndian, values(&s, &p))
		_ = binary.Write(h, binary.LittleEndian, Compare(&before, &p))
		_ = binary.Write(h, binary.LittleEndian, MeasureShift(&before, &p))
		before = p
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != "e51ecffc59f32c98" {
		t.Errorf("the digest is %s: this build computes other bits", got)
	}
}
