package jpeg_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// picture draws something with edges, ramps and noise.
func picture(w, h int, noise int) *image.RGBA {
	rng := rand.New(rand.NewPCG(uint64(w), uint64(h)))
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := 128 + 90*math.Sin(float64(x)/17)*math.Cos(float64(y)/11)
			if (x/40+y/32)%5 == 0 {
				v = 20
			}
			n := float64(rng.IntN(noise + 1))
			img.SetRGBA(x, y, color.RGBA{uint8(min(max(v+n, 0), 255)), uint8(min(max(255-v+n, 0), 255)), uint8(x * 255 / w), 255})
		}
	}
	return img
}

func encode(t testing.TB, img image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, img, &stdjpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// luma is the oracle: the standard library's Y plane.
func luma(t testing.TB, data []byte) (pix []byte, w, h int) {
	t.Helper()
	img, err := stdjpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	b := img.Bounds()
	w, h = b.Dx(), b.Dy()
	for y := range h {
		switch m := img.(type) {
		case *image.YCbCr:
			pix = append(pix, m.Y[y*m.YStride:][:w]...)
		case *image.Gray:
			pix = append(pix, m.Pix[y*m.Stride:][:w]...)
		default:
			t.Fatalf("oracle made a %T", img)
		}
	}
	return pix, w, h
}

// compare says how far two planes are apart.
func compare(a codec.Plane, b []byte) (most int, mean float64) {
	sum := 0
	for y := range a.Height {
		for x, v := range a.Row(y) {
			d := int(v) - int(b[y*a.Width+x])
			if d < 0 {
				d = -d
			}
			most, sum = max(most, d), sum+d
		}
	}
	return most, float64(sum) / float64(a.Width*a.Height)
}

func samples(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{
		"odd":   encode(t, picture(333, 217, 10), 85),
		"tiny":  encode(t, picture(17, 16, 3), 50),
		"noisy": encode(t, picture(640, 480, 120), 98),
		"gray": func() []byte {
			g := image.NewGray(image.Rect(0, 0, 211, 113))
			for i := range g.Pix {
				g.Pix[i] = uint8(i * 7)
			}
			return encode(t, g, 90)
		}(),
	}
	return out
}

// made runs FFmpeg and cjpeg-like settings that the standard encoder lacks.
func made(t *testing.T) map[string][]byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("ffmpeg is needed: run `make test-deps`")
	}
	dir := t.TempDir()
	out := map[string][]byte{}
	for name, args := range map[string][]string{
		"420":     {"-pix_fmt", "yuvj420p"},
		"422":     {"-pix_fmt", "yuvj422p"},
		"444":     {"-pix_fmt", "yuvj444p"},
		"gray":    {"-pix_fmt", "gray"},
		"huffman": {"-pix_fmt", "yuvj420p", "-huffman", "default"},
	} {
		file := filepath.Join(dir, name+".jpg")
		cmd := exec.Command("ffmpeg", append(append([]string{"-v", "error", "-f", "lavfi", "-i", "mandelbrot=size=500x331"}, args...), "-frames:v", "1", "-q:v", "3", "-c:v", "mjpeg", file)...)
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg %s: %v\n%s", name, err, msg)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = data
	}
	return out
}

func progressive(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/progressive.jpg")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestOracle(t *testing.T) {
	files := samples(t)
	for k, v := range made(t) {
		files["ffmpeg-"+k] = v
	}
	files["progressive"] = progressive(t)
	for name, data := range files {
		want, w, h := luma(t, data)
		img, err := jpeg.Decode(data, jpeg.Options{Chroma: 1})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if img.Y.Width != w || img.Y.Height != h {
			t.Errorf("%s: %v, want %dx%d", name, &img.Y, w, h)
			continue
		}
		if most, mean := compare(img.Y, want); most > 2 || mean > 0.06 {
			t.Errorf("%s: up to %d from the oracle, %.3f in the mean", name, most, mean)
		}
	}
}

func TestChroma(t *testing.T) {
	for name, data := range map[string][]byte{"baseline": encode(t, picture(320, 240, 4), 90), "progressive": progressive(t)} {
		m, err := stdjpeg.Decode(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		want := m.(*image.YCbCr)
		img, err := jpeg.Decode(data, jpeg.Options{Chroma: 1})
		if err != nil {
			t.Fatal(err)
		}
		for plane, p := range map[string]struct {
			got  codec.Plane
			want []byte
		}{"Cb": {img.Cb, want.Cb}, "Cr": {img.Cr, want.Cr}} {
			for y := range p.got.Height {
				for x, v := range p.got.Row(y) {
					if d := int(v) - int(p.want[y*want.CStride+x]); d < -2 || d > 2 {
						t.Fatalf("%s %s(%d,%d) = %d, want %d", name, plane, x, y, v, p.want[y*want.CStride+x])
					}
				}
			}
		}
	}
}

// TestScaled holds scaled decoding against box averages of the whole picture.
func TestScaled(t *testing.T) {
	for name, data := range map[string][]byte{"baseline": encode(t, picture(640, 480, 0), 92), "progressive": progressive(t)} {
		full, err := jpeg.Decode(data, jpeg.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, scale := range []int{2, 4, 8} {
			img, err := jpeg.Decode(data, jpeg.Options{Scale: scale})
			if err != nil {
				t.Fatal(err)
			}
			if w := (full.Y.Width + scale - 1) / scale; img.Y.Width != w {
				t.Fatalf("1/%d is %v of %v", scale, &img.Y, &full.Y)
			}
			sum, n := 0.0, 0
			for y := range full.Y.Height / scale {
				for x := range full.Y.Width / scale {
					s := 0
					for j := range scale {
						for i := range scale {
							s += int(full.Y.Row(y*scale + j)[x*scale+i])
						}
					}
					sum += math.Abs(float64(s)/float64(scale*scale) - float64(img.Y.Row(y)[x]))
					n++
				}
			}
			if mean := sum / float64(n); mean > 3 {
				t.Errorf("%s at 1/%d is %.2f from box averages in the mean", name, scale, mean)
			}
		}
	}
}

func TestMissingHuffmanTables(t *testing.T) {
	data := encode(t, picture(160, 120, 5), 75) // the standard encoder uses the standard tables
	var out []byte
	out = append(out, data[:2]...)
	for pos := 2; ; {
		n := int(data[pos+2])<<8 | int(data[pos+3])
		if data[pos+1] == 0xda {
			out = append(out, data[pos:]...)
			break
		}
		if data[pos+1] != 0xc4 {
			out = append(out, data[pos:pos+2+n]...)
		}
		pos += 2 + n
	}
	a, err := jpeg.Decode(data, jpeg.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := jpeg.Decode(out, jpeg.Options{})
	if err != nil {
		t.Fatalf("without tables: %v", err)
	}
	if !bytes.Equal(a.Y.Pix, b.Y.Pix) {
		t.Error("the picture differs without its tables")
	}
}

func cause(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return "none"
}

// bomb is a JPEG of a few hundred bytes that claims w x h pixels.
func bomb(t testing.TB, w, h int) []byte {
	data := encode(t, picture(32, 32, 0), 50)
	i := bytes.Index(data, []byte{0xff, 0xc0})
	data[i+5], data[i+6], data[i+7], data[i+8] = byte(h>>8), byte(h), byte(w>>8), byte(w)
	return data
}

func TestRefused(t *testing.T) {
	whole := encode(t, picture(320, 240, 20), 85)
	for name, c := range map[string]struct {
		data []byte
		want fleet.Cause
	}{
		"empty":             {nil, fleet.CauseCorrupt},
		"html":              {[]byte("<html>no picture</html>"), fleet.CauseCorrupt},
		"cut":               {whole[:len(whole)/2], fleet.CauseCorrupt},
		"cut in the header": {whole[:100], fleet.CauseCorrupt},
		"bomb":              {bomb(t, 32768, 32768), fleet.CauseTooLarge},
		"small bomb":        {bomb(t, 8000, 4000), fleet.CauseCorrupt},
		"tiny":              {bomb(t, 1, 1), fleet.CauseCorrupt},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := jpeg.Decode(c.data, jpeg.Options{})
		runtime.ReadMemStats(&after)
		if cause(err) != c.want {
			t.Errorf("%s: %v (%s), want %s", name, err, cause(err), c.want)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
			t.Errorf("%s: %d bytes were allocated before it was refused", name, used)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range samples(f) {
		f.Add(data, uint8(1))
	}
	f.Add(progressive(f), uint8(8))
	f.Add(bomb(f, 8000, 4000), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, scale uint8) {
		o := jpeg.Options{Scale: 1 << (scale & 3), Chroma: 8}
		img, err := jpeg.Decode(data, o)
		if err == nil && (img.Y.Width < 1 || len(img.Y.Pix) < img.Y.Stride*img.Y.Height) {
			t.Fatalf("%v with %d samples", &img.Y, len(img.Y.Pix))
		}
		if err != nil && cause(err) == "none" {
			t.Fatalf("%v is no camera error", err)
		}
	})
}

func BenchmarkDecode1080p(b *testing.B) {
	data := encode(b, picture(1920, 1080, 2), 75)
	b.Logf("%d bytes", len(data))
	for name, f := range map[string]func() error{
		"full":   func() error { _, err := jpeg.Decode(data, jpeg.Options{}); return err },
		"eighth": func() error { _, err := jpeg.Decode(data, jpeg.Options{Scale: 8}); return err },
		"std":    func() error { _, err := stdjpeg.Decode(bytes.NewReader(data)); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
