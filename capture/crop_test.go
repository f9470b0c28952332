package capture_test

import (
	"bytes"
	"image/color"
	"image/jpeg"
	"os/exec"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestMaskOverCroppedH265: the blocks of a picture that is cropped at its left and
// top begin outside of what is shown.
func TestMaskOverCroppedH265(t *testing.T) {
	const left, top, w, h = 10, 6, 310, 186
	data, err := exec.CommandContext(t.Context(), "sh", "-c", "ffmpeg -v error -f lavfi -i color=white:size=320x192 -frames:v 1 -c:v libx265 -x265-params log-level=none -pix_fmt yuv420p -f hevc - |"+
		"ffmpeg -v error -f hevc -i - -c copy -bsf:v hevc_metadata=crop_left=10:crop_top=6 -f hevc -").Output()
	if err != nil {
		t.Fatalf("encode (the tests need ffmpeg): %v", err)
	}
	r := reader(t, capture.Options{Width: 1, ThumbnailWidth: w})
	got, err := r.Inspect(t.Context(), fleet.Frame{Codec: fleet.H265, Data: data}, capture.Probe{Mask: rectangle(24./w, 28./h, 2./w, 2./h)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := jpeg.Decode(bytes.NewReader(got.Thumbnail))
	if err != nil || m.Bounds().Dx() != w || m.Bounds().Dy() != h {
		t.Fatalf("thumbnail %v: %v", m.Bounds(), err)
	}
	// One block of 32x32 is touched, the second one in both directions.
	for y := 4; y < 100; y += 3 {
		for x := 4; x < 100; x += 3 {
			want := (x+left)/32 == 1 && (y+top)/32 == 1
			if v := color.GrayModel.Convert(m.At(x, y)).(color.Gray).Y; (v < 128) != want {
				t.Fatalf("sample %d, %d is %d, hidden: %v", x, y, v, want)
			}
		}
	}
}
