//go:build !gocv

package capture_test

import (
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestFilesWithoutOpenCV: a build without says what to do.
func TestFilesWithoutOpenCV(t *testing.T) {
	r := reader(t, capture.Options{Worker: withoutFFmpeg(t), Width: 1})
	for _, c := range []fleet.Codec{codec.BMP, codec.TIFF} {
		_, err := r.Read(t.Context(), fleet.Frame{Codec: c, Data: []byte("II*\x00")})
		if cause(err) != fleet.CauseUnsupportedCodec || !strings.Contains(err.Error(), "convert it to PNG") {
			t.Errorf("%s: %v", c, err)
		}
	}
}
