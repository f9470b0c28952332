package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// album writes pictures into a folder and returns their names by kind.
func album(t *testing.T) map[string]string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"none": filepath.Join(dir, "none.jpg")}
	write := func(name string, data []byte) {
		files[name] = filepath.Join(dir, name)
		if err := os.WriteFile(files[name], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const w, h = 640, 360
	gray := func(name string) *image.Gray {
		return &image.Gray{Pix: codectest.Gen(name, w, h), Stride: w, Rect: image.Rect(0, 0, w, h)}
	}
	for name, quality := range map[string]int{"good.jpg": 90, "poor.jpg": 30} {
		var b bytes.Buffer
		if err := jpeg.Encode(&b, gray("checker"), &jpeg.Options{Quality: quality}); err != nil {
			t.Fatal(err)
		}
		write(name, b.Bytes())
	}
	for _, scene := range []string{"checker", "clouds", "flat"} {
		write(scene+".pgm", append(fmt.Appendf(nil, "P5\n%d %d\n255\n", w, h), codectest.Gen(scene, w, h)...))
	}
	write("black.pgm", append(fmt.Appendf(nil, "P5\n%d %d\n255\n", w, h), make([]byte, w*h)...))
	write("tiny.pgm", []byte("P5\n4 3\n255\nabcdefghijkl"))
	write("page.html", []byte("<html>log in</html>"))
	for name, args := range map[string][]string{
		"video.h264": {"-c:v", "libx264", "-f", "h264"},
		"video.h265": {"-c:v", "libx265", "-x265-params", "log-level=none", "-f", "hevc"},
		"video.mp4":  {"-c:v", "libx264", "-f", "mp4"},
	} {
		files[name] = filepath.Join(dir, name)
		args = append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180", "-frames:v", "12", "-g", "5", "-pix_fmt", "yuv420p"}, append(args, files[name])...)
		if out, err := exec.CommandContext(t.Context(), "ffmpeg", args...).CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg %s (the tests need it): %v: %s", args, err, out)
		}
	}
	return files
}

func fingerprint(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"fingerprint"}, args...), &out, &errs)
	return code, out.String(), errs.String()
}

func TestFingerprint(t *testing.T) {
	files := album(t)
	kinds := []string{"good.jpg", "checker.pgm", "video.h264", "video.h265", "video.mp4", "none", "page.html", "flat.pgm"}
	args := []string{"-o", "json"}
	for _, k := range kinds {
		args = append(args, files[k])
	}
	code, stdout, stderr := fingerprint(t, args...)
	if code != 1 {
		t.Errorf("exit code %d with files that cannot be read, want 1: %s", code, stderr)
	}
	var got []map[string]any
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || len(got) != len(kinds) {
		t.Fatalf("%d objects, %v: %s", len(got), err, stdout)
	}
	for i, o := range got {
		if o["file"] != files[kinds[i]] {
			t.Errorf("object %d is of %v, want %s", i, o["file"], kinds[i])
		}
		if kinds[i] == "none" || kinds[i] == "page.html" {
			if text, _ := o["error"].(string); text == "" || o["pdq"] != nil || o["width"] != nil {
				t.Errorf("%s: %v, want an error alone", kinds[i], o)
			}
			continue
		}
		for _, k := range []string{"width", "height", "codec", "pdq", "pdq_quality", "phash", "sha256", "quality", "verdict", "ms"} {
			if o[k] == nil {
				t.Errorf("%s: no %s in %v", kinds[i], k, o)
			}
		}
		want := "ok"
		if kinds[i] == "flat.pgm" {
			want = "flat"
		}
		if o["error"] != nil || o["verdict"] != want {
			t.Errorf("%s: error %v, verdict %v, want %s", kinds[i], o["error"], o["verdict"], want)
		}
		ms, _ := o["ms"].(map[string]any)
		for _, stage := range []string{"decode", "fingerprint", "quality", "total"} {
			if _, ok := ms[stage].(float64); !ok {
				t.Errorf("%s: no time of %s in %v", kinds[i], stage, ms)
			}
		}
	}
	// All three hold the same first picture, though coded differently.
	if got[2]["pdq"] == nil || got[2]["pdq"] != got[4]["pdq"] {
		t.Errorf("the stream has %v, the file of the same pictures %v", got[2]["pdq"], got[4]["pdq"])
	}

	code, stdout, stderr = fingerprint(t, files["good.jpg"], files["none"])
	if code != 1 || !strings.Contains(stdout, "640x360") || !strings.Contains(stderr, "none.jpg") || strings.Contains(stdout, "none.jpg") {
		t.Errorf("table: exit code %d\n%s\n%s", code, stdout, stderr)
	}
	code, stdout, _ = fingerprint(t, "-o", "json", files["none"])
	if err := json.Unmarshal([]byte(stdout), &got); code != 1 || err != nil || len(got) != 1 {
		t.Errorf("one missing file: exit code %d, %s", code, stdout)
	}
}

func TestFingerprintReadsStdin(t *testing.T) {
	data, err := os.ReadFile(album(t)["checker.pgm"])
	if err != nil {
		t.Fatal(err)
	}
	root := rootCommand()
	var out bytes.Buffer
	root.SetArgs([]string{"fingerprint", "-", "-o", "json"})
	root.SetIn(bytes.NewReader(data))
	root.SetOut(&out)
	if err := root.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), `"file": "-"`) {
		t.Errorf("%v: %s", err, &out)
	}
}

func TestFingerprintCompare(t *testing.T) {
	files := album(t)
	for _, c := range []struct {
		a, b  string
		match bool
		says  string
	}{
		{"good.jpg", "good.jpg", true, "byte for byte"},
		{"good.jpg", "poor.jpg", true, "the same picture"},
		{"good.jpg", "checker.pgm", true, "the same picture"},
		{"checker.pgm", "clouds.pgm", false, "different pictures"},
		{"checker.pgm", "flat.pgm", false, "unknown"},
		{"checker.pgm", "black.pgm", false, "quality below 50"},
		{"checker.pgm", "tiny.pgm", false, "less than 5x5"},
	} {
		code, stdout, stderr := fingerprint(t, "--compare", files[c.a], files[c.b], "-o", "json")
		var d pictureDistance
		if err := json.Unmarshal([]byte(stdout), &d); err != nil || code != 0 {
			t.Fatalf("%s %s: exit code %d, %v: %s%s", c.a, c.b, code, err, stdout, stderr)
		}
		if d.Match != c.match || !strings.Contains(d.Meaning, c.says) || c.match && d.PDQ > pdqMatch {
			t.Errorf("%s %s: %d and %d bits, %v: %s", c.a, c.b, d.PDQ, d.PHash, d.Match, d.Meaning)
		}
		if _, stdout, _ := fingerprint(t, "--compare", files[c.a], files[c.b]); !strings.Contains(stdout, c.says) || !strings.Contains(stdout, "of 256 bits") {
			t.Errorf("%s %s: %s", c.a, c.b, stdout)
		}
	}
	if code, _, stderr := fingerprint(t, "--compare", files["good.jpg"], files["none"]); code != 1 || !strings.Contains(stderr, "none.jpg") {
		t.Errorf("a missing file: exit code %d, %s", code, stderr)
	}
}

func TestFingerprintDumpsLuma(t *testing.T) {
	files := album(t)
	dump := filepath.Join(t.TempDir(), "luma.pgm")
	if code, _, stderr := fingerprint(t, "--dump-luma", dump, files["checker.pgm"]); code != 0 {
		t.Fatal(stderr)
	}
	want, err := os.ReadFile(files["checker.pgm"])
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dump); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the plane of a PGM is another: %d bytes, %v", len(got), err)
	}
	// A stream's plane, filtered, is what FFmpeg makes of its first picture.
	if code, _, stderr := fingerprint(t, "--dump-luma", dump, "--deblock", files["video.h264"]); code != 0 {
		t.Fatal(stderr)
	}
	raw, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-i", files["video.h264"], "-frames:v", "1", "-f", "rawvideo", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	var pic codec.Picture
	if err := codec.DecodePGM(data, codec.Limits{}, &pic); err != nil || !bytes.Equal(pic.Y.Pix, raw[:320*180]) {
		t.Errorf("the plane of the stream is not FFmpeg's: %v", err)
	}
	if _, _, stderr := fingerprint(t, "--deblock", files["good.jpg"]); !strings.Contains(stderr, "changes nothing") {
		t.Errorf("--deblock with a JPEG: %q", stderr)
	}
}

func TestFingerprintUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"--compare", "a"}, {"--dump-luma", "x", "a", "b"}, {"-o", "xml", "a"}, {"--camera", "--compare", "a", "b"}, {"--every", "1m", "a"}, {"--camera", "--every", "0s", "a"}} {
		if code, _, stderr := fingerprint(t, args...); code != 2 || stderr == "" {
			t.Errorf("%q: exit code %d, %s", args, code, stderr)
		}
	}
}
