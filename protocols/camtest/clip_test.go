package camtest

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "draw and code the clips anew (needs ffmpeg)")

func TestClips(t *testing.T) {
	for scene, camera := range clipScenes {
		if *update {
			makeClip(t, scene, camera)
		}
		b, err := os.ReadFile(clipFile(scene))
		if err != nil {
			t.Fatal(err)
		}
		k, err := parseClip(b)
		if err != nil {
			t.Fatalf("%s: %v", scene, err)
		}
		if len(k.units) != clipFrames || len(b) > 100<<10 {
			t.Errorf("%s: %d frames in %d bytes, want %d in less than 100 KiB", scene, len(k.units), len(b), clipFrames)
		}
		for i := range k.units {
			if k.key(i) != (i%clipGOP == 0) {
				t.Errorf("%s: frame %d: key frame is %v", scene, i, k.key(i))
			}
		}
	}
}

func makeClip(t *testing.T, s Scene, camera string) {
	t.Helper()
	v, _ := newView(s, seedOf(camera), clipWidth, clipHeight)
	var raw bytes.Buffer
	start := time.Date(2026, 3, 1, 10, 0, 12, 0, time.UTC)
	for i := range clipFrames {
		raw.Write(v.draw(start.Add(time.Duration(i) * frameEvery)).img.Pix)
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgba", "-s", "640x360", "-r", "4", "-i", "-",
		"-pix_fmt", "yuv420p", "-c:v", "libx264", "-profile:v", "main", "-preset", "veryslow", "-crf", "35", "-bf", "0", "-g", "4", "-keyint_min", "4",
		"-sc_threshold", "0", "-threads", "1", "-x264-params", "slices=1:repeat-headers=1", "-bitexact", "-f", "h264", clipFile(s))
	cmd.Stdin = &raw
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v\n%s", err, out)
	}
}
