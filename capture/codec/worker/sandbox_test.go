package worker_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/worker"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestChildIsHeldShort looks at what a child is started with: one thread, no
// picture beyond the limit, nothing to open but its own pipes, and of our
// environment, where passwords may be, nothing.
func TestChildIsHeldShort(t *testing.T) {
	t.Setenv("SHUTTERFLEET_TEST_SECRET", "hunter2")
	path := script(t, `echo "$@" >"$0.args"; /usr/bin/env >"$0.env"; printf 'YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcd'`)
	w := open(t, worker.Options{Program: path, Limits: codec.Limits{Pixels: 54321}})
	for _, c := range []fleet.Codec{fleet.H264, fleet.H265, fleet.JPEG, codec.MP4} {
		for _, thumbnail := range []int{0, 160} {
			var plane codec.Plane
			if _, err := w.Decode(t.Context(), c, []byte{0, 0, 1}, thumbnail, &plane); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path + ".args")
			if err != nil {
				t.Fatal(err)
			}
			args := strings.Fields(string(b))
			input := slices.Index(args, "-i")
			protocols := "pipe"
			if c == codec.MP4 {
				protocols = "pipe,cache"
			}
			for flag, want := range map[string]string{"-max_pixels": "54321", "-threads": "1", "-protocol_whitelist": protocols, "-flags": "unaligned"} {
				if i := slices.Index(args, flag); i < 0 || i > input || args[i+1] != want {
					t.Errorf("%s, thumbnail %d: want %s %s for the input in %s", c, thumbnail, flag, want, b)
				}
			}
			if b, err = os.ReadFile(path + ".env"); err != nil || strings.Contains(string(b), "SECRET") || strings.Contains(string(b), "HOME=") {
				t.Errorf("%s: the child has %d bytes of environment, with some of ours in them (%v)", c, len(b), err)
			}
		}
	}
}
