package camtest_test

import (
	"bytes"
	"flag"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

var update = flag.Bool("update", false, "make clip.h264 anew, with ffmpeg")

// TestClip makes the clip, or checks that the one here begins with a key frame.
func TestClip(t *testing.T) {
	if *update {
		dir := t.TempDir()
		begin := time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC)
		for i := range 20 {
			var b bytes.Buffer
			if err := jpeg.Encode(&b, camtest.Draw(camtest.Shelf, "aisle-3", 77, begin.Add(time.Duration(i)*100*time.Millisecond)), &jpeg.Options{Quality: 98}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.jpg", i)), b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command("ffmpeg", "-v", "error", "-y", "-framerate", "10", "-i", filepath.Join(dir, "%02d.jpg"), "-c:v", "libx264", "-profile:v", "main", "-pix_fmt", "yuv420p", "-crf", "32", "-g", "10",
			"-x264-params", "slices=1:threads=1:repeat-headers=1:aud=0:scenecut=0", "-bf", "0", "-bsf:v", "filter_units=remove_types=6", "-f", "h264", "clip.h264").CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	data, err := os.ReadFile("clip.h264")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(data, []byte{0, 0, 0, 1, 0x67}) || len(data) > 100_000 {
		t.Errorf("the clip has %d bytes and begins with % x", len(data), data[:8])
	}
}
