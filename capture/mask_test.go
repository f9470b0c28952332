package capture_test

import (
	"bytes"
	"crypto/sha256"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"math"
	"os/exec"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// corner hides the lower right quarter and a triangle at the upper left.
func corner() *fleet.Mask {
	return &fleet.Mask{
		Rectangles: []fleet.Rectangle{{X: 0.5, Y: 0.5, Width: 0.5, Height: 0.5}},
		Polygons:   [][]fleet.Point{{{X: 0, Y: 0}, {X: 0.25, Y: 0}, {X: 0, Y: 0.25}}},
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
			if colored := colorful(t, x.Thumbnail); colored != (c.name == "PNG" || c.name == "JPEG") {
				t.Errorf("the thumbnail has colors: %v", colored)
			}
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

// colorful says whether a JPEG is not gray.
func colorful(t *testing.T, thumb []byte) bool {
	t.Helper()
	m, err := jpeg.Decode(bytes.NewReader(thumb))
	if err != nil {
		t.Fatal(err)
	}
	_, gray := m.(*image.Gray)
	return !gray
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

// TestMostlyMasked: of a picture of which too little is seen, nothing is said.
func TestMostlyMasked(t *testing.T) {
	r := reader(t, capture.Options{Width: 1})
	f := fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, street(64, 64))}
	for hidden, judged := range map[float64]bool{0.5: true, 0.75: true, 0.77: false, 0.95: false, 1: false} {
		m := &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 1, Height: hidden}}}
		asked := false
		got, err := r.ReadJudged(t.Context(), f, m, func(*fleet.Reading, quality.Sample) fleet.Verdict {
			asked = true
			return fleet.Verdict{Fault: fleet.FaultNone}
		})
		if err != nil || asked != judged || (got.Verdict.Fault == fleet.FaultNone) != judged || got.Fingerprint.Mask != m.Sum() {
			t.Errorf("%v is hidden: %v: judged %v, %+v", hidden, err, asked, got.Fingerprint)
		}
		if hidden == 1 && (got.Fingerprint.PDQQuality != 0 || got.Quality.Mean != 128 || got.Quality.Contrast != 0) {
			t.Errorf("%+v %+v", got.Fingerprint, got.Quality)
		}
	}
}

func BenchmarkThumbnail(b *testing.B) {
	data := jpegOf(b, street(1920, 1080))
	for name, m := range map[string]*fleet.Mask{"1080p": nil, "1080p-masked": corner()} {
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
