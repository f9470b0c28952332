package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBenchCapture measures two rounds beside peers that answer from a script.
func TestBenchCapture(t *testing.T) {
	dir := t.TempDir()
	peer := `#!/bin/sh
while read -r verb a b c d; do
case "$verb $a" in
"peers ") printf 'libjpeg-turbo\nlibavcodec\n\n' ;;
"decode libjpeg-turbo") echo "ok 2000000 1000000 240 135 c0ffee" ;;
"decode libavcodec") echo "error it does not like it" ;;
"progressive "*) cp "$b" "$c"; echo "ok 0 0 0 0 0" ;;
*) echo "error no such request" ;;
esac
done
`
	if err := os.WriteFile(filepath.Join(dir, "shutterfleet-bench-capture-peers"), []byte(peer), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHUTTERFLEET_BENCH_PEERS", dir)
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"bench", "capture", "--rounds", "2", "--inputs", "progressive", "-o", "json"}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	var r captureReport
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || len(r.Inputs) != 1 {
		t.Fatalf("%v in %s", err, &stdout)
	}
	if in := r.Inputs[0]; in.Input != "jpeg-1080p-progressive" || in.Bytes < 80_000 || in.Bytes > 120_000 {
		t.Errorf("the input is %s of %d bytes", in.Input, in.Bytes)
	}
	own, turbo, std := 0, 0, 0
	for _, d := range r.Inputs[0].Decoders {
		switch d.Decoder {
		case "jpeg":
			own++
			if d.Ratio["libjpeg-turbo"] != d.CPUMS.P50 || d.Ratio["image/jpeg"] <= 0 || d.Ratio["ffmpeg process"] <= 0 {
				t.Errorf("1/%d of %.3f ms has the ratios %v to 1 ms", d.Scale, d.CPUMS.P50, d.Ratio)
			}
			if d.MBAlloc == nil || d.Allocs == nil || *d.Allocs > 20 || d.SameLuma == nil || *d.SameLuma {
				t.Errorf("1/%d: %v MB, %v objects, same luma %v", d.Scale, d.MBAlloc, d.Allocs, d.SameLuma)
			}
		case "libjpeg-turbo":
			turbo++
			if d.MS.P50 != 2 || d.CPUMS.P95 != 1 || d.Ratio != nil || d.MBAlloc != nil {
				t.Errorf("libjpeg-turbo: %+v", d)
			}
		case "image/jpeg":
			std++
			if d.MBAlloc == nil || *d.MBAlloc < 3 || d.MS.P95 < d.MS.P50 || d.MS.P50 <= 0 {
				t.Errorf("image/jpeg: %+v", d)
			}
		case "libavcodec":
			t.Errorf("a peer that failed has figures: %+v", d)
		}
	}
	if own != 4 || turbo != 4 || std != 1 {
		t.Errorf("%d, %d and %d decoders in %s", own, turbo, std, &stdout)
	}
	if len(r.Missing) != 1 || !strings.Contains(r.Missing[0], "libavcodec on jpeg-1080p-progressive: it does not like it") {
		t.Errorf("missing: %q", r.Missing)
	}

	t.Setenv("SHUTTERFLEET_BENCH_PEERS", filepath.Join(dir, "none"))
	stdout.Reset()
	if code := run(t.Context(), []string{"bench", "capture", "--rounds", "1", "--inputs", "progressive"}, &stdout, &stderr); code != 0 ||
		!strings.Contains(stderr.String(), "make bench-peers") || !strings.Contains(stderr.String(), "progressive JPEG is coded by") {
		t.Errorf("without peers: exit code %d\n%s\n%s", code, &stdout, &stderr)
	}
}

func TestBenchCaptureUsage(t *testing.T) {
	for _, args := range [][]string{{"--rounds", "0"}, {"--inputs", "gif"}, {"-o", "xml"}, {"more"}} {
		var stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"bench", "capture"}, args...), &bytes.Buffer{}, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%q: exit code %d, %s", args, code, stderr.String())
		}
	}
}

func TestNearestSize(t *testing.T) {
	for size, want := range map[int]int{0: 1, 49: 7, 50: 7, 60: 8, 1 << 20: 100} {
		b, setting, err := nearestSize(1, 100, size, func(s int) ([]byte, error) { return make([]byte, s*s), nil })
		if err != nil || setting != want || len(b) != want*want {
			t.Errorf("nearestSize(%d) = %d bytes by setting %d, %v, want setting %d", size, len(b), setting, err, want)
		}
	}
	broken := errors.New("broken")
	if _, _, err := nearestSize(1, 9, 5, func(int) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("a broken coder: %v", err)
	}
}

// TestCPUTime burns CPU for less than a tick of the kernel: a clock that is only
// brought up to date by ticks would show too little of it.
func TestCPUTime(t *testing.T) {
	sink := uint64(0)
	for _, n := range []int{1, 4} {
		// Others may have the processor meanwhile, but not each time.
		alike := false
		for tries := 0; !alike; tries++ {
			s, err := inProcess(func() error {
				for i := range n * 1_000_000 {
					sink = sink*31 + uint64(i)
				}
				return nil
			})
			alike = s.cpu >= s.wall/20 && s.cpu <= 2*s.wall
			if err != nil || s.cpu <= 0 || !alike && tries == 100 {
				t.Fatalf("%d million steps took %s, %s of CPU, %v", n, s.wall, s.cpu, err)
			}
		}
	}
	if sink == 0 {
		t.Error("nothing was computed")
	}
}
