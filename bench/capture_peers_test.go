package bench_test

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
)

// build compiles the capture peers with the libraries given.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "peers")
	args := append([]string{"-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-o", path, "shutterfleet-bench-capture-peers/main.c"}, flags...)
	if out, err := exec.CommandContext(t.Context(), "cc", args...).CombinedOutput(); err != nil {
		t.Fatalf("cc %s: %v: %s", args, err, out)
	}
	return path
}

func ask(t *testing.T, path, requests string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Stdin = strings.NewReader(requests)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

func TestCapturePeersWithoutLibraries(t *testing.T) {
	got := ask(t, build(t), "peers\ndecode libavcodec 1 jpeg /dev/null\ndecode x 1 jpeg /nonexistent\nnonsense\n")
	want := []string{"", "error no such peer", "error the file cannot be opened", "error no such request"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("answers %q, want %q", got, want)
	}
}

// TestCapturePeers holds libjpeg-turbo's luma against our own, where the
// library's development files are installed (make bench-peers).
func TestCapturePeers(t *testing.T) {
	flags, err := exec.CommandContext(t.Context(), "pkg-config", "--cflags", "--libs", "libturbojpeg").Output()
	if err != nil {
		t.Skip("libturbojpeg's development files are not installed: make bench-peers installs them")
	}
	peers := build(t, append([]string{"-DWITH_TURBOJPEG"}, strings.Fields(string(flags))...)...)
	file, err := filepath.Abs("../capture/codec/jpeg/testdata/baseline420.jpg")
	if err != nil {
		t.Fatal(err)
	}
	progressive := filepath.Join(t.TempDir(), "progressive.jpg")
	got := ask(t, peers, fmt.Sprintf("peers\nprogressive 80 %s %s\ndecode libjpeg-turbo 1 jpeg %s\ndecode libjpeg-turbo 8 jpeg %[2]s\n", file, progressive, file))
	if len(got) != 5 || got[0] != "libjpeg-turbo" || got[2] != "ok 0 0 0 0 0000000000000000" {
		t.Fatalf("answers %q", got)
	}
	if data, err := os.ReadFile(progressive); err != nil || !bytes.Contains(data, []byte{0xFF, 0xC2}) {
		t.Errorf("the JPEG that was coded anew is not progressive: %v", err)
	}
	for i, c := range []struct {
		file  string
		scale int
	}{{file, 1}, {progressive, 8}} {
		data, err := os.ReadFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		var d jpeg.Decoder
		var pic codec.Picture
		if err := d.Decode(t.Context(), data, jpeg.Options{Scale: c.scale}, &pic); err != nil {
			t.Fatal(err)
		}
		h := fnv.New64a()
		for y := range pic.Y.Height {
			_, _ = h.Write(pic.Y.Row(y))
		}
		if want := fmt.Sprintf("%d %d %016x", pic.Y.Width, pic.Y.Height, h.Sum64()); !strings.HasSuffix(got[3+i], want) {
			t.Errorf("1/%d: %q, want %s", c.scale, got[3+i], want)
		}
	}
}
