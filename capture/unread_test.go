//go:build !gocv

package capture_test

import (
	"os"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestReadArithmeticJPEG: of a kind of JPEG that neither the decoder here nor
// FFmpeg reads, the error says which it is and what to do, and not, as FFmpeg
// does, that it is damaged. Builds with the tag gocv read it by OpenCV.
func TestReadArithmeticJPEG(t *testing.T) {
	data, err := os.ReadFile("codec/jpeg/testdata/arithmetic.jpg")
	if err != nil {
		t.Fatal(err)
	}
	f := fleet.Frame{Codec: fleet.JPEG, Data: data}
	r := reader(t, capture.Options{})
	if _, err := r.Read(t.Context(), f); cause(err) != fleet.CauseUnsupportedCodec || !strings.Contains(err.Error(), "set the camera to baseline JPEG") {
		t.Errorf("read: %v (%s)", err, cause(err))
	}
	for _, m := range []*fleet.Mask{nil, corner()} {
		if _, err := r.Thumbnail(t.Context(), f, m); cause(err) != fleet.CauseUnsupportedCodec {
			t.Errorf("its thumbnail: %v (%s)", err, cause(err))
		}
	}
}
