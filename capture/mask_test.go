package capture_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"math"
	"os/exec"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// corner hides the lower right quarter and a triangle at the upper left.
func corner() *capture.Mask {
	return &capture.Mask{
		Rectangles: []capture.Rectangle{{X: 0.5, Y: 0.5, Width: 0.5, Height: 0.5}},
		Polygons:   [][]capture.Point{{{X: 0, Y: 0}, {X: 0.25, Y: 0}, {X: 0, Y: 0.25}}},
	}
}

// twin is a picture that differs from street within corner's rectangle alone.
func twin(w, h int) *image.RGBA {
	m := street(w, h)
	draw.Draw(m, image.Rect(w/2, h/2, w, h), image.NewUniform(color.RGBA{250, 10, 10, 255}), image.Point{}, draw.Src)
	return m
}

func gray(m image.Image) *image.Gray {
	g := image.NewGray(m.Bounds())
	draw.Draw(g, g.Rect, m, image.Point{}, draw.Src)
	return g
}

func pgmFrom(g *image.Gray) []byte {
	return append([]byte("P5 640 384 255\n"), g.Pix...)
}

// TestMaskHides reads two frames that differ behind the mask alone: nothing
// that is computed of them may tell one from the other.
func TestMaskHides(t *testing.T) {
	r := reader(t, capture.Options{Width: 1})
	const w, h = 640, 384 // whole blocks of JPEG on either side of the mask
	a, b := street(w, h), twin(w, h)
	for _, c := range []struct {
		name string
		a, b fleet.Frame
	}{
		{"PNG", fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, a)}, fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, b)}},
		{"gray PNG", fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, gray(a))}, fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, gray(b))}},
		{"JPEG", fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, a)}, fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, b)}},
		{"PGM", fleet.Frame{Codec: fleet.PGM, Data: pgmFrom(gray(a))}, fleet.Frame{Codec: fleet.PGM, Data: pgmFrom(gray(b))}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := sha256.Sum256(c.a.Data)
			plain, err := r.Read(t.Context(), c.a)
			if err != nil {
				t.Fatal(err)
			}
			var got [2]capture.Inspection
			for i, f := range []fleet.Frame{c.a, c.b} {
				if got[i], err = r.Inspect(t.Context(), f, capture.Probe{Mask: corner()}); err != nil {
					t.Fatal(err)
				}
				alone, err := r.Thumbnail(t.Context(), f, corner())
				if err != nil {
					t.Fatal(err)
				}
				checkThumbnail(t, alone)
			}
			x, y := got[0], got[1]
			if x.Fingerprint != y.Fingerprint || x.Quality != y.Quality || !bytes.Equal(x.Thumbnail, y.Thumbnail) {
				t.Errorf("what is hidden shows:\n%+v %+v\n%+v %+v", x.Fingerprint, x.Quality, y.Fingerprint, y.Quality)
			}
			checkThumbnail(t, x.Thumbnail)
			if x.Fingerprint == plain.Fingerprint || x.Fingerprint.PDQQuality < 50 {
				t.Errorf("the mask leaves the hash as it is, or nothing of it: quality %d", x.Fingerprint.PDQQuality)
			}
			if math.Abs(float64(x.Quality.Mean-plain.Quality.Mean)) > 40 || x.SHA256 == y.SHA256 {
				t.Errorf("mean %.1f, without mask %.1f", x.Quality.Mean, plain.Quality.Mean)
			}
			if again, err := r.Read(t.Context(), c.a); err != nil || again.Fingerprint != plain.Fingerprint || sha256.Sum256(c.a.Data) != before {
				t.Errorf("the mask stays with the frame: %v", err)
			}
		})
	}
}

// checkThumbnail looks for black where corner hides, and for light elsewhere.
func checkThumbnail(t *testing.T, thumb []byte) {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(thumb))
	if err != nil {
		t.Fatal(err)
	}
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	if w != 320 || h != 192 {
		t.Fatalf("thumbnail of %dx%d", w, h)
	}
	level := func(x, y int) int { return int(color.GrayModel.Convert(m.At(x, y)).(color.Gray).Y) }
	for _, at := range [][2]int{{w/2 + 4, h/2 + 4}, {w - 1, h - 1}, {w * 3 / 4, h * 3 / 4}, {3, 3}} {
		if v := level(at[0], at[1]); v > 12 {
			t.Errorf("the thumbnail shows %d at %v, want black", v, at)
		}
	}
	bright := 0
	for y := range h / 3 {
		for x := w / 2; x < w; x++ {
			if level(x, y) > 30 {
				bright++
			}
		}
	}
	if bright < w/2*(h/3)*3/4 {
		t.Errorf("the thumbnail is dark where nothing is hidden: %d bright samples", bright)
	}
}

// TestMaskOverFFmpeg masks a frame that FFmpeg decodes.
func TestMaskOverFFmpeg(t *testing.T) {
	r := reader(t, capture.Options{Width: 1})
	data, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x384", "-frames:v", "1",
		"-c:v", "libx265", "-x265-params", "log-level=none", "-pix_fmt", "yuv420p", "-f", "hevc", "-").Output()
	if err != nil {
		t.Fatalf("encode (the tests need ffmpeg): %v", err)
	}
	got, err := r.Inspect(t.Context(), fleet.Frame{Codec: fleet.H265, Data: data}, capture.Probe{Mask: corner()})
	if err != nil {
		t.Fatal(err)
	}
	checkThumbnail(t, got.Thumbnail)
}

func TestWhollyMasked(t *testing.T) {
	r := reader(t, capture.Options{Width: 1})
	all := &capture.Mask{Rectangles: []capture.Rectangle{{Width: 1, Height: 1}}}
	got, err := r.Inspect(t.Context(), fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, street(64, 64))}, capture.Probe{Mask: all})
	if err != nil || got.Fingerprint.PDQQuality != 0 || got.Quality.Mean != 128 || got.Quality.Contrast != 0 {
		t.Errorf("%v: %+v %+v", err, got.Fingerprint, got.Quality)
	}
}

func TestMaskCheck(t *testing.T) {
	for text, says := range map[string]string{
		`{}`: "",
		`{"rectangles": [{"x":0.7,"y":0,"width":0.3,"height":1}]}`:                    "",
		`{"polygons": [[{"x":0,"y":0},{"x":1,"y":0},{"x":1,"y":1}]]}`:                 "",
		`{"rectangles": [{"x":0.7,"y":0,"width":0.4,"height":1}]}`:                    "rectangle 0",
		`{"rectangles": [{"x":0.7,"y":0,"width":0,"height":1}]}`:                      "rectangle 0",
		`{"rectangles": [{"x":-0.1,"y":0,"width":0.4,"height":1}]}`:                   "rectangle 0",
		`{"polygons": [[{"x":0,"y":0},{"x":1,"y":0}]]}`:                               "2 points",
		`{"polygons": [[{"x":0,"y":0},{"x":1,"y":0},{"x":1,"y":640}]]}`:               "point 2 of polygon 0",
		`{"polygons": [` + strings.Repeat(`[],`, 64) + `[]]}`:                         "65 shapes",
		`{"polygons": [[` + strings.Repeat(`{"x":0,"y":0},`, 64) + `{"x":0,"y":0}]]}`: "65 points",
	} {
		var m capture.Mask
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		if err := m.Check(); (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
	if err := (&capture.Mask{Rectangles: []capture.Rectangle{{X: math.NaN(), Width: 1, Height: 1}}}).Check(); err == nil {
		t.Error("a rectangle at no place passes")
	}
}

func BenchmarkThumbnail(b *testing.B) {
	data := jpegOf(b, street(1920, 1080))
	for name, m := range map[string]*capture.Mask{"1080p": nil, "1080p-masked": corner()} {
		b.Run(name, func(b *testing.B) {
			r := reader(b, capture.Options{})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Thumbnail(b.Context(), fleet.Frame{Codec: fleet.JPEG, Data: data}, m); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
