package jpeg_test

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// planes are those of a picture of the standard library.
func planes(m *image.YCbCr) codec.Picture {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	plane := func(pix []byte, stride, w, h int) codec.Plane {
		return codec.Plane{Pix: pix, Width: w, Height: h, Stride: stride}
	}
	return codec.Picture{
		Y:  plane(m.Y, m.YStride, w, h),
		Cb: plane(m.Cb, m.CStride, (w+1)/2, (h+1)/2), Cr: plane(m.Cr, m.CStride, (w+1)/2, (h+1)/2),
	}
}

// TestEncodeBesideStandardLibrary codes what the standard library codes: with the
// same headers, in as many bytes, and as near to the picture.
func TestEncodeBesideStandardLibrary(t *testing.T) {
	var e jpeg.Encoder
	for _, size := range [][2]int{{320, 180}, {320, 240}, {321, 181}, {17, 9}, {1, 1}, {16, 33}, {8, 8}} {
		for _, quality := range []int{1, 30, 75, 75, 95, 100} {
			m := color(size[0], size[1])
			pic := planes(m)
			gray := codec.Picture{Y: pic.Y}
			for name, c := range map[string]struct {
				pic codec.Picture
				std image.Image
			}{"color": {pic, m}, "gray": {gray, &image.Gray{Pix: m.Y, Stride: m.YStride, Rect: m.Rect}}} {
				want := encode(t, c.std, quality)
				got, err := e.Encode(nil, &c.pic, quality)
				if err != nil {
					t.Fatal(err)
				}
				start := bytes.Index(want, []byte{0xFF, 0xDA})
				// Its gray pictures bring chroma's quantiser along.
				if name == "color" && !bytes.HasPrefix(got, want[:start]) {
					t.Fatalf("%s %v at %d: the headers are\n%x, want\n%x", name, size, quality, got[:min(start, len(got))], want[:start])
				}
				if off := len(got) - len(want); off > 8+len(want)/200 || -off > 80+len(want)/200 {
					t.Errorf("%s %v at %d: %d bytes, the standard library has %d", name, size, quality, len(got), len(want))
				}
				ours, theirs := oracle(t, got), oracle(t, want)
				for i, p := range []codec.Plane{c.pic.Y, c.pic.Cb, c.pic.Cr} {
					if !p.Valid() {
						continue
					}
					_, off := differ(t, []codec.Plane{ours.Y, ours.Cb, ours.Cr}[i], p)
					_, its := differ(t, []codec.Plane{theirs.Y, theirs.Cb, theirs.Cr}[i], p)
					if off > its*1.01+0.05+4/float64(p.Width*p.Height) {
						t.Errorf("%s %v at %d: plane %d is %.3f off, the standard library's %.3f", name, size, quality, i, off, its)
					}
				}
			}
		}
	}
}

// TestEncodeAnything: whatever the samples and the size, the standard library
// reads a picture of that size, and nothing is read beyond the planes.
func TestEncodeAnything(t *testing.T) {
	var e jpeg.Encoder
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 40).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "height")
		plane := func(w, h int) codec.Plane {
			stride := w + rapid.IntRange(0, 3).Draw(t, "padding")
			n := stride*(h-1) + w
			sample := rapid.Byte()
			if rapid.Bool().Draw(t, "hard") {
				sample = rapid.SampledFrom([]byte{0, 255})
			}
			return codec.Plane{Pix: rapid.SliceOfN(sample, n, n).Draw(t, "samples"), Width: w, Height: h, Stride: stride}
		}
		pic := codec.Picture{Y: plane(w, h)}
		if rapid.Bool().Draw(t, "color") {
			pic.Cb, pic.Cr = plane((w+1)/2, (h+1)/2), plane((w+1)/2, (h+1)/2)
		}
		quality := rapid.IntRange(1, 100).Draw(t, "quality")
		before := []byte("before")
		out, err := e.Encode(before, &pic, quality)
		if err != nil || !bytes.HasPrefix(out, before) {
			t.Fatalf("Encode: %v", err)
		}
		m, err := stdjpeg.Decode(bytes.NewReader(out[len(before):]))
		if err != nil || m.Bounds() != image.Rect(0, 0, w, h) {
			t.Fatalf("it cannot be read: %v", err)
		}
		var d jpeg.Decoder
		var again codec.Picture
		if err := d.Decode(t.Context(), out[len(before):], jpeg.Options{Chroma: 1 << 16}, &again); err != nil {
			t.Fatal(err)
		}
		if again.HasChroma() != pic.HasChroma() {
			t.Errorf("color: %v, want %v", again.HasChroma(), pic.HasChroma())
		}
		if quality == 100 {
			for y := range h {
				for x, v := range again.Y.Row(y) {
					if off := int(v) - int(pic.Y.Row(y)[x]); max(off, -off) > 4 {
						t.Fatalf("sample %d, %d is %d, coded as %d", x, y, pic.Y.Row(y)[x], v)
					}
				}
			}
		}
	})
}

func TestEncodeRefusals(t *testing.T) {
	good := planes(color(20, 10))
	for name, c := range map[string]struct {
		pic     func(*codec.Picture)
		quality int
	}{
		"no picture":      {func(p *codec.Picture) { *p = codec.Picture{} }, 75},
		"samples missing": {func(p *codec.Picture) { p.Y.Pix = p.Y.Pix[:100] }, 75},
		"large chroma":    {func(p *codec.Picture) { p.Cb = p.Y }, 75},
		"too wide": {func(p *codec.Picture) {
			*p = codec.Picture{Y: codec.Plane{Pix: make([]byte, 65536), Width: 65536, Height: 1, Stride: 65536}}
		}, 75},
		"quality 0":   {func(*codec.Picture) {}, 0},
		"quality 101": {func(*codec.Picture) {}, 101},
	} {
		var e jpeg.Encoder
		pic := good
		c.pic(&pic)
		if _, err := e.Encode(nil, &pic, c.quality); cause(err) != fleet.CauseInternal {
			t.Errorf("%s: %v, want an internal error", name, err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	m := color(320, 180)
	copy(m.Cb, codectest.Gen("clouds", 160, 90))
	copy(m.Cr, codectest.Gen("clouds", 160, 90))
	pic := planes(m)
	b.Run("own", func(b *testing.B) {
		var e jpeg.Encoder
		var out []byte
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if out, err = e.Encode(out[:0], &pic, 75); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("standard-library", func(b *testing.B) {
		var out bytes.Buffer
		b.ReportAllocs()
		for b.Loop() {
			out.Reset()
			if err := stdjpeg.Encode(&out, m, &stdjpeg.Options{Quality: 75}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
