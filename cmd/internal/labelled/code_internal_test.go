package labelled

import (
	"bytes"
	"image"
	"math"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestCoders: what comes back is the picture that was given, not the one before,
// and a picture that is coded anew has other bytes.
func TestCoders(t *testing.T) {
	r, err := capture.New(capture.Options{Width: 1, NoThumbnail: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, codec := range []fleet.Codec{fleet.JPEG, fleet.H264} {
		var coders [2]coder
		for i := range coders {
			if coders[i], err = newCoder(t.Context(), codec, i == 1); err != nil {
				t.Fatalf("%s (the tests need ffmpeg): %v", codec, err)
			}
		}
		img := image.NewGray(image.Rect(0, 0, frameWidth, frameHeight))
		for _, level := range []int{40, 200, 90, 91, 160} {
			for i := range img.Pix {
				img.Pix[i] = uint8(level + (i*i/977+i/frameWidth)%23)
			}
			var last []byte
			for _, c := range coders {
				data, err := c.code(img)
				if err != nil {
					t.Fatalf("%s: %v", codec, err)
				}
				res, err := r.Read(t.Context(), fleet.Frame{Codec: codec, Data: data})
				if err != nil {
					t.Fatalf("%s of level %d: %v", codec, level, err)
				}
				want := float64(level) + 11
				if codec == fleet.H264 {
					want = 16 + want*219/255 // FFmpeg makes studio range of it
				}
				if got := float64(res.Quality.Mean); math.Abs(got-want) > 0.7 {
					t.Errorf("%s of level %.1f has a mean of %.1f", codec, want, got)
				}
				if bytes.Equal(data, last) {
					t.Errorf("%s: coded anew it is the same", codec)
				}
				last = bytes.Clone(data)
			}
		}
		for _, c := range coders {
			if err := c.Close(); err != nil {
				t.Errorf("%s: %v", codec, err)
			}
		}
	}
}
