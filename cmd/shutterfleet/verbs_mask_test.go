package main

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

const halfMask = `{"rectangles": [{"x": 0, "y": 0, "width": 0.5, "height": 1}]}`

func TestCamerasMask(t *testing.T) {
	c := newTerminal(t, "operator")
	id, file := fleet.CameraID(1).String(), c.file("mask.json", halfMask)
	if code, out, errs := c.run("cameras", "mask", id); code != 0 || out != "nothing of "+id+" is hidden\n" {
		t.Errorf("%d %q %s", code, out, errs)
	}
	if code, out, errs := c.run("cameras", "mask", id, "--file", file, "--dry-run"); code != 0 || !strings.Contains(out, "nothing was set: rectangles 1") || len(c.f.Masks) != 0 {
		t.Errorf("%d %q %s", code, out, errs)
	}
	if code, out, errs := c.run("cameras", "mask", id, "--file", file); code != 0 || !strings.Contains(out, "rectangles 1, polygons 0 (revision 1, by the operator at 2027-03-01 06:00:00Z)") || !strings.Contains(out, "0.5 x 1") || !strings.Contains(out, "agent-1  held") {
		t.Errorf("%d %q %s", code, out, errs)
	}
	var m admin.Mask
	if c.json(&m, "cameras", "mask", id); m.Revision != 1 || len(m.Rectangles) != 1 || m.Sum == 0 {
		t.Errorf("%+v", m)
	}
	if code, out, _ := c.run("cameras", "show", id); code != 0 || !strings.Contains(out, "shapes 1, since 2027-03-01 06:00:00Z") {
		t.Errorf("cameras show: %d %q", code, out)
	}
	away := c.f.Masks[1]
	away.Agents[0].State = "away"
	c.f.Masks[1] = away
	if code, _, errs := c.run("cameras", "mask", id); code != 0 || !strings.Contains(errs, "agent-1 is not connected: it gets the mask when it comes") {
		t.Errorf("%d %q", code, errs)
	}
	if code, out, errs := c.run("cameras", "mask", id, "--clear"); code != 0 || !strings.Contains(out, "nothing of "+id+" is hidden (revision 2, by the operator") {
		t.Errorf("%d %q %s", code, out, errs)
	}
	away = c.f.Masks[1]
	away.Agents[0].State = "away"
	c.f.Masks[1] = away
	if code, _, errs := c.run("cameras", "mask", id); code != 0 || !strings.Contains(errs, "agent-1 is not connected: it goes on under the mask that it has until it comes") {
		t.Errorf("%d %q", code, errs)
	}
	wrong := c.file("wrong.json", `{"rectangle": []}`)
	if code, _, errs := c.run("cameras", "mask", id, "--file", wrong); code != 1 || !strings.Contains(errs, `unknown field "rectangle": want {"rectangles"`) {
		t.Errorf("%d %q", code, errs)
	}
	for _, args := range [][]string{{}, {id, "--file", file, "--clear"}, {id, "--dry-run"}, {id, "--preview", "x.jpg"}, {"gate"}} {
		if code, _, errs := c.run(append([]string{"cameras", "mask"}, args...)...); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
}

// TestMaskPreview: the newest thumbnail is black where the mask hides, and
// nothing is set.
func TestMaskPreview(t *testing.T) {
	c := newTerminal(t, "viewer")
	id, file, out := fleet.CameraID(1).String(), c.file("mask.json", halfMask), filepath.Join(t.TempDir(), "look.jpg")
	if code, _, errs := c.run("cameras", "mask", id, "--file", file, "--preview", out); code != 0 || len(c.f.Masks) != 0 {
		t.Fatalf("%d %s", code, errs)
	}
	m, err := jpeg.Decode(bytes.NewReader(must(os.ReadFile(out))))
	if err != nil {
		t.Fatal(err)
	}
	before := must(jpeg.Decode(bytes.NewReader(admintest.Picture())))
	level := func(x, y int) int { return int(color.GrayModel.Convert(m.At(x, y)).(color.Gray).Y) }
	seen := int(color.GrayModel.Convert(before.At(250, 90)).(color.Gray).Y)
	if m.Bounds() != before.Bounds() || level(10, 10) > 12 || level(140, 170) > 12 || level(250, 90) < seen-8 || level(250, 90) > seen+8 {
		t.Errorf("%v: %d and %d are hidden, %d is seen and was %d", m.Bounds(), level(10, 10), level(140, 170), level(250, 90), seen)
	}
	idle := fleet.CameraID(7).String() // without a frame
	if code, _, errs := c.run("cameras", "mask", idle, "--file", file, "--preview", out); code != 1 || !strings.Contains(errs, "capture now") {
		t.Errorf("%d %q", code, errs)
	}
}

// TestFingerprintUnderAMask: two pictures that differ behind the mask alone have
// one hash, which says what was hidden.
func TestFingerprintUnderAMask(t *testing.T) {
	c := newTerminal(t, "viewer")
	pgm := func(name string, left byte) string {
		b := []byte("P5 64 64 255\n")
		for i := range 64 * 64 {
			v := byte(40 + i%64*2 + i/64*(i%7))
			if i%64 < 32 {
				v = byte((i%64*int(left) + i/64*3) % 200)
			}
			b = append(b, v)
		}
		return c.file(name, string(b))
	}
	a, b, mask := pgm("a.pgm", 3), pgm("b.pgm", 17), c.file("mask.json", halfMask)
	read := func(args ...string) (out []struct {
		PDQ  string
		Mask string
	}) {
		c.json(&out, append([]string{"fingerprint", a, b}, args...)...)
		return out
	}
	if plain := read(); plain[0].PDQ == plain[1].PDQ || plain[0].Mask != "" {
		t.Errorf("%+v", plain)
	}
	m, err := fleet.ParseMask([]byte(halfMask))
	if err != nil {
		t.Fatal(err)
	}
	if under := read("--mask", mask); under[0].PDQ != under[1].PDQ || under[0].Mask != m.Sum().String() {
		t.Errorf("%+v", under)
	}
	if code, _, errs := c.run("match", a, "--mask", mask); code != 0 || len(c.f.Matched) != 1 || c.f.Matched[0].Mask != m.Sum() || c.f.Matched[0].PDQ.String() != read("--mask", mask)[0].PDQ {
		t.Errorf("match --mask: %d %s: %+v", code, errs, c.f.Matched)
	}
	var frame bytes.Buffer
	if err := jpeg.Encode(&frame, grid(), nil); err != nil {
		t.Fatal(err)
	}
	shot := c.file("shot.jpg", frame.String())
	for args, want := range map[string]bool{"": true, "--mask=" + mask: false} {
		var out []map[string]any
		c.json(&out, slices.DeleteFunc([]string{"fingerprint", shot, args}, func(v string) bool { return v == "" })...)
		if _, ok := out[0]["focus"]; ok != want {
			t.Errorf("%q: focus, which is of all of the picture, is told: %v, want %v", args, ok, want)
		}
	}
	if code, _, errs := c.run("fingerprint", a, "--mask", a); code != 1 || !strings.Contains(errs, "--mask") {
		t.Errorf("%d %q", code, errs)
	}
}

// grid is a sharp picture.
func grid() image.Image {
	m := image.NewGray(image.Rect(0, 0, 128, 128))
	for i := range m.Pix {
		m.Pix[i] = byte((i%128/5 + i/128/7) % 2 * 200)
	}
	return m
}

// TestPictureWithoutAHash: tables show no hash of a picture that has none, as one
// has of which a part is missing.
func TestPictureWithoutAHash(t *testing.T) {
	c := newTerminal(t, "viewer")
	none := fleet.PDQ{}.String()
	for _, partial := range []bool{false, true} {
		if partial {
			for i := range c.f.Taken {
				c.f.Taken[i].Reading.Fingerprint = fleet.Fingerprint{}
				c.f.Taken[i].Reading.Verdict = fleet.Verdict{Fault: fleet.FaultCorrupt, Metric: "missing"}
			}
		}
		code, out, errs := c.run("captures", "ls", "--outcome", "captured")
		if code != 0 || strings.Contains(out, none) || strings.Contains(out, "010203") == partial || strings.Contains(out, "corrupt") != partial {
			t.Errorf("partial %v: %d %s%s", partial, code, out, errs)
		}
	}
}
