package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// judged runs fingerprint and returns its objects.
func judged(t *testing.T, args ...string) (out []fingerprinted, code int, stderr string) {
	t.Helper()
	code, stdout, stderr := fingerprint(t, append([]string{"-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(stdout), &out); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	return out, code, stderr
}

// TestFingerprintVerdict: of one picture is said what is wrong with it whatever
// the camera, with the number that decided.
func TestFingerprintVerdict(t *testing.T) {
	const w, h = 320, 180
	dir := t.TempDir()
	noise := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		verdict fleet.Fault
		metric  string
		level   func(i int) int
	}{
		{"ok", "", func(i int) int { return 40 + i%w/2 + noise.IntN(30) }},
		{"black", "dark", func(int) int { return noise.IntN(12) }},
		{"over-exposed", "bright", func(int) int { return 255 }},
		{"flat", "cells of one level", func(int) int { return 120 + noise.IntN(3) }},
		{"ok", "", func(i int) int { return noise.IntN(24) + i%w/12 }}, // dark: of a camera that one does not know that is no fault
	} {
		b := fmt.Appendf(nil, "P5 %d %d 255\n", w, h)
		for i := range w * h {
			b = append(b, byte(c.level(i)))
		}
		file := filepath.Join(dir, "x.pgm")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, code, stderr := judged(t, file)
		if code != 0 || out[0].Verdict != c.verdict || !out[0].Learning || out[0].Lasting != "" || out[0].Focus != "" {
			t.Errorf("%+v, exit code %d, want %s: %s", out[0].PictureVerdict, code, c.verdict, stderr)
		}
		switch e := out[0].Evidence; {
		case c.metric == "" && (e != nil || out[0].Score != 0):
			t.Errorf("%s: evidence %+v", c.verdict, e)
		case c.metric != "" && (e == nil || e.Metric != c.metric || e.Limit == 0 || out[0].Score < 0.5 || out[0].Score > 1):
			t.Errorf("%s: score %v, evidence %+v", c.verdict, out[0].Score, e)
		}
	}
}

// TestFingerprintCamera judges a folder of pictures as one camera's: it is known
// after 16 of them, and then it shows what no single picture does.
func TestFingerprintCamera(t *testing.T) {
	const w, h = 320, 180
	dir := t.TempDir()
	noon := time.Date(2027, 6, 1, 12, 0, 0, 0, time.UTC)
	var files []string
	draw := func(name string, minute int, change func(m *image.RGBA, x, y int) int) {
		m, err := camtest.Draw(camtest.Scenes()[0], 7, w, h, noon.Add(time.Duration(minute)*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		noise := rand.New(rand.NewPCG(uint64(minute), 3))
		b := fmt.Appendf(nil, "P5 %d %d 255\n", w, h)
		for y := range h {
			for x := range w {
				b = append(b, byte(min(max(change(m, x, y)+noise.IntN(5), 0), 255)))
			}
		}
		file := filepath.Join(dir, name+".pgm")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	at := func(m *image.RGBA, x, y int) int {
		p := m.Pix[m.PixOffset(min(max(x, 0), w-1), min(max(y, 0), h-1)):]
		return (int(p[0])*299 + int(p[1])*587 + int(p[2])*114) / 1000
	}
	soft := func(m *image.RGBA, x, y int) int {
		sum := 0
		for k := range 121 {
			sum += at(m, x+k/11-5, y+k%11-5)
		}
		return sum / 121
	}
	for i := range 20 {
		draw(fmt.Sprintf("frame-%02d", i), i, at)
	}
	draw("moved", 20, func(m *image.RGBA, x, y int) int { return at(m, x-40, y) })
	draw("covered", 21, func(_ *image.RGBA, x, y int) int { return 90 + x/16 })
	draw("covered-still", 22, func(_ *image.RGBA, x, y int) int { return 91 + x/16 })
	draw("blurred", 23, soft)

	out, code, stderr := judged(t, append([]string{"--camera"}, files...)...)
	if code != 0 || len(out) != 24 {
		t.Fatalf("exit code %d, %d objects: %s", code, len(out), stderr)
	}
	for i, o := range out[:20] {
		if o.Verdict != "ok" || o.Learning != (i < 16) {
			t.Errorf("frame %d: %+v", i, o.PictureVerdict)
		}
	}
	if o := out[20]; o.Verdict != "moved" || o.Shift == nil || o.Shift.X < 0.12 || o.Shift.X > 0.13 || o.Evidence == nil || o.Evidence.Metric != "alike" {
		t.Errorf("moved: %+v", o.PictureVerdict)
	}
	if a, b := out[21], out[22]; a.Verdict != "covered" || b.Verdict != "covered" || a.Lasting != "" || b.Lasting != "covered" {
		t.Errorf("covered: %+v, %+v", a.PictureVerdict, b.PictureVerdict)
	}
	if o := out[23]; o.Verdict != "blurred" || o.Evidence == nil || o.Evidence.Value == 0 || o.Score <= 0.5 {
		t.Errorf("blurred: %+v", o.PictureVerdict)
	}
	if _, table, _ := fingerprint(t, append([]string{"--camera"}, files...)...); strings.Count(table, "learning") != 16 || !strings.Contains(table, "moved +1") {
		t.Errorf("the table: %s", table)
	}
	// A second apart, nothing has been so for half a minute.
	if out, _, _ := judged(t, append([]string{"--camera", "--every", "1s"}, files...)...); out[22].Verdict != "covered" || out[22].Lasting != "" {
		t.Errorf("covered for a second: %+v", out[22].PictureVerdict)
	}
	if out, _, _ := judged(t, files[20:]...); out[0].Verdict != "ok" || out[3].Verdict != "ok" || !out[3].Learning {
		t.Errorf("each by itself: %+v", out)
	}
}

// TestFingerprintDamaged: of a JPEG that is cut off there is what it shows, an
// error, and no fingerprint; one that is sound says how sharp it is.
func TestFingerprintDamaged(t *testing.T) {
	good := album(t)["good.jpg"]
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	cut, stub := filepath.Join(t.TempDir(), "cut.jpg"), filepath.Join(t.TempDir(), "stub.jpg")
	for file, n := range map[string]int{cut: len(data) * 8 / 10, stub: len(data) / 5} {
		if err := os.WriteFile(file, data[:n], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, code, _ := judged(t, good, cut, stub)
	if code != 1 || out[0].Error != "" || out[0].Focus != "sharp" || out[0].Verdict != "ok" {
		t.Errorf("exit code %d, %+v %+v", code, out[0], out[0].PictureReading)
	}
	if o := out[1]; o.PictureReading == nil || o.Cause != fleet.CauseCorrupt || !strings.Contains(o.Error, "of the picture is missing") ||
		o.Verdict != "corrupt" || o.Evidence == nil || o.Evidence.Metric != "missing" || o.Evidence.Value <= 0 || o.Evidence.Value > 0.5 || o.PDQ != (fleet.PDQ{}) || o.Width != 640 {
		t.Errorf("cut off: %+v %+v", o, o.PictureReading)
	}
	if o := out[2]; o.PictureReading != nil || o.Cause != fleet.CauseCorrupt {
		t.Errorf("a stub: %+v", o)
	}
	_, stdout, _ := fingerprint(t, "-o", "json", cut)
	if strings.Contains(stdout, `"pdq"`) || strings.Contains(stdout, `"phash"`) {
		t.Errorf("a fingerprint of a part: %s", stdout)
	}
	code, stdout, stderr := fingerprint(t, cut)
	if code != 1 || !strings.Contains(stdout, "corrupt") || !strings.Contains(stderr, "is missing") || bytes.Count([]byte(stdout), []byte("\n")) != 2 {
		t.Errorf("table, exit code %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := fingerprint(t, "--compare", good, cut); code != 1 || !strings.Contains(stderr, "is missing") {
		t.Errorf("compared, exit code %d: %s", code, stderr)
	}
}
