package capture_test

import (
	"bytes"
	"os/exec"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestLoopFilterIsAskedFor: what is fingerprinted is H.264 without the loop
// filter, and what is asked for with it is FFmpeg's plane.
func TestLoopFilterIsAskedFor(t *testing.T) {
	ffmpeg := func(stdin []byte, args ...string) []byte {
		cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error"}, args...)...)
		cmd.Stdin = bytes.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("ffmpeg (the tests need it, with libx264): %v", err)
		}
		return out
	}
	data := ffmpeg(nil, "-f", "lavfi", "-i", "testsrc2=size=320x180", "-frames:v", "1", "-c:v", "libx264", "-qp", "40", "-pix_fmt", "yuv420p", "-f", "h264", "-")
	r, err := capture.New(capture.Options{NoThumbnail: true})
	if err != nil {
		t.Fatal(err)
	}
	for deblock, skip := range map[bool]string{false: "all", true: "none"} {
		want := ffmpeg(data, "-skip_loop_filter", skip, "-f", "h264", "-i", "-", "-frames:v", "1", "-f", "rawvideo", "-")[:320*180]
		var got []byte
		in, err := r.Inspect(t.Context(), fleet.Frame{Data: data, Codec: fleet.H264}, capture.Probe{Deblock: deblock, Luma: func(p codec.Plane) error {
			for y := range p.Height {
				got = append(got, p.Row(y)...)
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if in.Deblocked != deblock || !bytes.Equal(got, want) {
			t.Errorf("asked %v, done %v: FFmpeg's plane with -skip_loop_filter %s: %v", deblock, in.Deblocked, skip, bytes.Equal(got, want))
		}
	}
}
