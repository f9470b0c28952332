//go:build gocv

package opencv

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	ownjpeg "github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

func decoded(t testing.TB, data []byte, o Options) codec.Picture {
	t.Helper()
	var pic codec.Picture
	if err := Decode(t.Context(), data, o, &pic); err != nil {
		t.Fatal(err)
	}
	return pic
}

func ours(t testing.TB, data []byte) codec.Plane {
	t.Helper()
	var d ownjpeg.Decoder
	var pic codec.Picture
	if err := d.Decode(t.Context(), data, ownjpeg.Options{}, &pic); err != nil {
		t.Fatal(err)
	}
	return pic.Y
}

// differ is the largest difference of two planes, and how many samples differ.
func differ(t testing.TB, a, b codec.Plane) (worst, count int) {
	t.Helper()
	if a.Width != b.Width || a.Height != b.Height {
		t.Fatalf("%dx%d beside %dx%d", a.Width, a.Height, b.Width, b.Height)
	}
	for y := range a.Height {
		for x, v := range a.Row(y) {
			if d := int(v) - int(b.Row(y)[x]); d != 0 {
				worst, count = max(worst, d, -d), count+1
			}
		}
	}
	return worst, count
}

// TestGrayIsCodedLuma: OpenCV's gray picture of a JPEG is what the decoder here
// makes of it, sample by sample.
func TestGrayIsCodedLuma(t *testing.T) {
	frames := kindsOfJPEG(t)
	arithmetic := frames["arithmetic.jpg"]
	delete(frames, "arithmetic.jpg") // which the other does not read
	for i, scene := range []camtest.Scene{camtest.StreetDay, camtest.StreetNight, camtest.Parking} {
		for _, size := range [][2]int{{640, 360}, {1283, 721}, {1920, 1080}} {
			img, err := camtest.Draw(scene, uint64(i), size[0], size[1], time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range []int{20, 75, 95} {
				frames[string(scene)+" "+strconv.Itoa(size[0])+" q"+strconv.Itoa(q)] = coded(t, img, q)
			}
		}
	}
	for name, data := range frames {
		worst, count := differ(t, decoded(t, data, Options{}).Y, ours(t, data))
		limit := 0
		if name == "rgb.jpg" {
			limit = 1 // mixed, with roundings of their own
		}
		if worst > limit {
			t.Errorf("%s: %d samples differ by up to %d", name, count, worst)
		}
	}
	// The same coefficients, coded by the other entropy coder.
	if _, count := differ(t, decoded(t, arithmetic, Options{}).Y, ours(t, frames["progressive420.jpg"])); count != 0 {
		t.Errorf("arithmetic coding: %d samples differ", count)
	}
}

// TestKindsOnlyOpenCVReads decodes what the decoder here refuses.
func TestKindsOnlyOpenCVReads(t *testing.T) {
	level := func(v int) func(int) int { return func(int) int { return v } }
	for _, c := range []struct {
		name string
		data []byte
		want int // level of all samples
	}{
		// Adobe stores inks inverted, 255 is none; and of YCCK, the luma of the inks.
		{"CMYK", flat(32, 16, 0, component{1, 1, 1, level(200)}, component{2, 1, 1, level(200)}, component{3, 1, 1, level(200)}, component{4, 1, 1, level(255)}), 200},
		{"CMYK with key", flat(32, 16, 0, component{1, 1, 1, level(255)}, component{2, 1, 1, level(255)}, component{3, 1, 1, level(255)}, component{4, 1, 1, level(100)}), 100},
		{"YCCK", flat(32, 16, 2, component{1, 1, 1, level(200)}, component{2, 1, 1, level(128)}, component{3, 1, 1, level(128)}, component{4, 1, 1, level(255)}), 55},
		{"luma coarser than chroma", flat(32, 16, -1, component{1, 1, 1, level(77)}, component{2, 2, 2, level(128)}, component{3, 2, 2, level(128)}), 77},
		{"RGB subsampled", flat(32, 16, 0, component{1, 2, 1, level(90)}, component{2, 1, 1, level(90)}, component{3, 1, 1, level(90)}), 90},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d ownjpeg.Decoder
			var pic codec.Picture
			if err := d.Decode(t.Context(), c.data, ownjpeg.Options{}, &pic); cause(err) != fleet.CauseUnsupportedCodec {
				t.Errorf("the decoder here: %v, want unsupported", err)
			}
			p := decoded(t, c.data, Options{}).Y
			if p.Width != 32 || p.Height != 16 {
				t.Fatalf("%dx%d", p.Width, p.Height)
			}
			for y := range p.Height {
				for x, v := range p.Row(y) {
					if d := int(v) - c.want; max(d, -d) > 1 {
						t.Fatalf("sample %d, %d is %d, want %d", x, y, v, c.want)
					}
				}
			}
		})
	}
}

// TestDrawnJPEG proves the coder of these tests by a picture that both read.
func TestDrawnJPEG(t *testing.T) {
	data := flat(40, 24, -1, component{1, 1, 1, gradient})
	p := ours(t, data)
	for y := range p.Height {
		for x, v := range p.Row(y) {
			if want := gradient(y/8*5 + x/8); int(v) != want {
				t.Fatalf("sample %d, %d is %d, want %d", x, y, v, want)
			}
		}
	}
	if worst, _ := differ(t, decoded(t, data, Options{}).Y, p); worst != 0 {
		t.Errorf("OpenCV's differs by %d", worst)
	}
}

// TestFiles holds PNG, BMP and TIFF against the reader of PNG here.
func TestFiles(t *testing.T) {
	m := drawing(97, 61)
	gray := image.NewGray(m.Bounds())
	draw.Draw(gray, gray.Rect, m, image.Point{}, draw.Src)
	deep := image.NewGray16(m.Bounds())
	draw.Draw(deep, deep.Rect, m, image.Point{}, draw.Src)
	palette := image.NewPaletted(m.Bounds(), color.Palette{color.Black, color.White, color.RGBA{200, 30, 60, 255}, color.RGBA{0, 90, 250, 255}})
	draw.Draw(palette, palette.Rect, m, image.Point{}, draw.Src)
	wide := image.NewRGBA64(m.Bounds())
	draw.Draw(wide, wide.Rect, m, image.Point{}, draw.Src)
	for name, c := range map[string]struct {
		data []byte
		of   image.Image
	}{
		"png": {pngOf(t, m), m}, "gray png": {pngOf(t, gray), gray}, "gray png of 16 bits": {pngOf(t, deep), deep},
		"png of 16 bits": {pngOf(t, wide), wide}, "png with a palette": {pngOf(t, palette), palette},
		"bmp": {bmpOf(t, m), m}, "gray bmp": {bmpOf(t, gray), gray}, "bmp with a palette": {bmpOf(t, palette), palette},
		"tiff": {tiffOf(t, m), m}, "gray tiff": {tiffOf(t, gray), gray},
	} {
		got := decoded(t, c.data, Options{Chroma: 50})
		var want codec.Picture
		if err := codec.DecodePNG(pngOf(t, c.of), codec.Limits{}, true, &want); err != nil {
			t.Fatal(err)
		}
		if worst, count := differ(t, got.Y, want.Y); worst > 0 {
			t.Errorf("%s: %d samples differ by up to %d", name, count, worst)
		}
		for i, v := range want.Exact {
			if got.Exact[i] != v {
				t.Errorf("%s: exact luma %v, want %v", name, got.Exact[i], v)
				break
			}
		}
		if want.HasChroma() {
			if cb, _ := differ(t, got.Cb, want.Cb); cb > 0 {
				t.Errorf("%s: Cb differs by up to %d", name, cb)
			}
		}
	}
}

// TestChroma asks for colors at the scales that thumbnails take.
func TestChroma(t *testing.T) {
	m := drawing(640, 360)
	data := coded(t, m, 90)
	for _, c := range []struct{ ask, width int }{{0, 0}, {1, 80}, {80, 80}, {81, 160}, {200, 320}, {321, 640}, {9999, 640}} {
		pic := decoded(t, data, Options{Chroma: c.ask})
		if pic.Cb.Width != c.width || pic.HasChroma() != (c.width > 0) {
			t.Errorf("asked for %d: chroma is %d wide, want %d", c.ask, pic.Cb.Width, c.width)
		}
		if pic.HasChroma() && (!pic.Cr.Valid() || pic.Y.Width != 640 || pic.Exact != nil) {
			t.Errorf("asked for %d: %+v", c.ask, pic.Cr)
		}
	}
	_, cb, cr := color.RGBToYCbCr(200, 60, 30)
	one := image.NewRGBA(image.Rect(0, 0, 64, 64))
	draw.Draw(one, one.Rect, image.NewUniform(color.RGBA{200, 60, 30, 255}), image.Point{}, draw.Src)
	pic := decoded(t, coded(t, one, 95), Options{Chroma: 32})
	if b, r := int(pic.Cb.Pix[99])-int(cb), int(pic.Cr.Pix[99])-int(cr); max(b, -b, r, -r) > 2 {
		t.Errorf("chroma %d, %d, want %d, %d", pic.Cb.Pix[99], pic.Cr.Pix[99], cb, cr)
	}
}

// TestIsNotTurned: a camera that hangs upside down says so in Exif; all decoders
// give the picture as it is coded.
func TestIsNotTurned(t *testing.T) {
	data := coded(t, drawing(64, 48), 90)
	exif := []byte("\xFF\xE1\x00\x22Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00")
	turned := append(append(bytes.Clone(data[:2]), exif...), data[2:]...)
	if _, count := differ(t, decoded(t, turned, Options{}).Y, ours(t, data)); count > 0 {
		t.Errorf("%d samples differ", count)
	}
}

func TestRefusals(t *testing.T) {
	var pic codec.Picture
	sound := kindsOfJPEG(t)["arithmetic.jpg"]
	if err := Decode(t.Context(), sound[:len(sound)-2], Options{}, &pic); cause(err) != fleet.CauseCorrupt {
		t.Errorf("cut off: %v", err)
	}
	if err := Decode(t.Context(), sound, Options{Limits: codec.Limits{Pixels: 100}}, &pic); cause(err) != fleet.CauseTooLarge {
		t.Errorf("too large: %v", err)
	}
	noTables := bytes.Replace(coded(t, drawing(64, 48), 75), []byte{0xFF, 0xDB}, []byte{0xFF, 0xE9}, 1)
	if err := Decode(t.Context(), noTables, Options{}, &pic); cause(err) != fleet.CauseCorrupt {
		t.Errorf("no quantisers: %v", err)
	}
	broken := bytes.Clone(pngOf(t, drawing(64, 48)))
	for i := 200; i < len(broken)-100; i++ {
		broken[i] = 0
	}
	if err := Decode(t.Context(), broken, Options{}, &pic); cause(err) != fleet.CauseCorrupt {
		t.Errorf("broken PNG: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Decode(ctx, sound, Options{}, &pic); cause(err) != fleet.CauseTimeout || !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

// TestSurvivesDamage decodes pictures with some bytes changed. A fault of a
// library would end the process, and all that is left is a picture or a cause.
func TestSurvivesDamage(t *testing.T) {
	m := drawing(97, 61)
	sound := kindsOfJPEG(t)
	sound["png"], sound["bmp"], sound["tiff"] = pngOf(t, m), bmpOf(t, m), tiffOf(t, m)
	sound["cmyk"] = flat(32, 16, 2, component{1, 1, 1, gradient}, component{2, 1, 1, gradient}, component{3, 1, 1, gradient}, component{4, 1, 1, gradient})
	rng := rand.New(rand.NewPCG(11, 13))
	for name, data := range sound {
		read, refused := 0, 0
		for range 300 {
			b := bytes.Clone(data)
			for range 1 + rng.IntN(6) {
				at := rng.IntN(len(b))
				if rng.IntN(2) == 0 {
					at = rng.IntN(min(len(b), 700)) // headers more often
				}
				b[at] = byte(rng.IntN(256))
			}
			var pic codec.Picture
			err := Decode(t.Context(), b, Options{Chroma: 40, Limits: codec.Limits{Pixels: 1 << 20}}, &pic)
			switch {
			case err == nil && !pic.Y.Valid():
				t.Fatalf("%s: a broken plane: %+v", name, pic.Y)
			case err != nil && cause(err) == "":
				t.Fatalf("%s: an error without a cause: %v", name, err)
			case err != nil:
				refused++
			default:
				read++
			}
		}
		// A changed PNG is refused for its sums.
		if read == 0 && name != "png" || refused == 0 {
			t.Errorf("%s: %d read, %d refused: the damage tests nothing", name, read, refused)
		}
	}
}

// resident is the process's memory in bytes.
func resident(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// TestReturnsItsMemory decodes 10,000 sound pictures and as many broken ones:
// what one leaves behind would be 2 GB.
func TestReturnsItsMemory(t *testing.T) {
	sound := coded(t, drawing(320, 180), 75)
	broken := bytes.Replace(sound, []byte{0xFF, 0xDB}, []byte{0xFF, 0xE9}, 1)
	var pic codec.Picture
	round := func(n int) {
		for range n {
			if err := Decode(t.Context(), sound, Options{Chroma: 160}, &pic); err != nil {
				t.Fatal(err)
			}
			if err := Decode(t.Context(), broken, Options{}, &pic); cause(err) != fleet.CauseCorrupt {
				t.Fatal(err)
			}
		}
		runtime.GC()
	}
	round(200)
	before := resident(t)
	round(10_000)
	if grown := resident(t) - before; grown > 32<<20 {
		t.Errorf("10,000 pictures of 58 kB leave %d MB behind", grown>>20)
	}
}

// TestAtTheSameTime decodes different pictures in several goroutines.
func TestAtTheSameTime(t *testing.T) {
	frames := kindsOfJPEG(t)
	want := map[string]codec.Plane{}
	for name, data := range frames {
		want[name] = decoded(t, data, Options{}).Y
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var pic codec.Picture
			for range 20 {
				for name, data := range frames {
					if err := Decode(t.Context(), data, Options{Chroma: 40}, &pic); err != nil {
						t.Errorf("%s: %v", name, err)
						return
					}
					if !bytes.Equal(pic.Y.Pix, want[name].Pix) {
						t.Errorf("%s: another picture came", name)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
