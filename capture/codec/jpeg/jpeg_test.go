package jpeg_test

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
)

// color draws a picture of three formulas in 4:2:0.
func color(w, h int) *image.YCbCr {
	m := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for y, p := 0, codectest.Plane("clouds", w, h, w); y < h; y++ {
		copy(m.Y[y*m.YStride:], p.Row(y))
	}
	cw, ch := (w+1)/2, (h+1)/2
	for y := range ch {
		copy(m.Cb[y*m.CStride:], codectest.Gen("blocks", cw, ch)[y*cw:(y+1)*cw])
		copy(m.Cr[y*m.CStride:], codectest.Gen("checker", cw, ch)[y*cw:(y+1)*cw])
	}
	return m
}

func encode(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := stdjpeg.Encode(&b, m, &stdjpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// differ returns the largest and the mean difference between two planes.
func differ(t testing.TB, a, b codec.Plane) (largest int, mean float64) {
	t.Helper()
	if a.Width != b.Width || a.Height != b.Height {
		t.Fatalf("size %dx%d, want %dx%d", a.Width, a.Height, b.Width, b.Height)
	}
	sum := 0
	for y := range a.Height {
		ra, rb := a.Row(y), b.Row(y)
		for x := range ra {
			d := int(ra[x]) - int(rb[x])
			if d < 0 {
				d = -d
			}
			largest = max(largest, d)
			sum += d
		}
	}
	return largest, float64(sum) / float64(a.Width*a.Height)
}

// oracle decodes with the standard library.
func oracle(t testing.TB, data []byte) codec.Picture {
	t.Helper()
	m, err := stdjpeg.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r := m.Bounds()
	switch m := m.(type) {
	case *image.Gray:
		return codec.Picture{Y: codec.Plane{Pix: m.Pix, Width: r.Dx(), Height: r.Dy(), Stride: m.Stride}}
	case *image.YCbCr:
		cw, ch := r.Dx(), r.Dy()
		switch m.SubsampleRatio {
		case image.YCbCrSubsampleRatio420:
			cw, ch = (cw+1)/2, (ch+1)/2
		case image.YCbCrSubsampleRatio422:
			cw = (cw + 1) / 2
		case image.YCbCrSubsampleRatio440:
			ch = (ch + 1) / 2
		case image.YCbCrSubsampleRatio411:
			cw = (cw + 3) / 4
		}
		return codec.Picture{
			Y:  codec.Plane{Pix: m.Y, Width: r.Dx(), Height: r.Dy(), Stride: m.YStride},
			Cb: codec.Plane{Pix: m.Cb, Width: cw, Height: ch, Stride: m.CStride},
			Cr: codec.Plane{Pix: m.Cr, Width: cw, Height: ch, Stride: m.CStride},
		}
	}
	t.Fatalf("the oracle gives %T", m)
	return codec.Picture{}
}

func TestAgainstStandardLibrary(t *testing.T) {
	var d jpeg.Decoder // one for all: sizes and tables change under it
	var pic codec.Picture
	for _, size := range [][2]int{{1, 1}, {7, 9}, {8, 8}, {16, 16}, {17, 31}, {320, 180}, {641, 359}} {
		for _, quality := range []int{10, 75, 100} {
			gray := &image.Gray{Pix: codectest.Gen("noise", size[0], size[1]), Stride: size[0], Rect: image.Rect(0, 0, size[0], size[1])}
			for _, m := range []image.Image{color(size[0], size[1]), gray} {
				data := encode(t, m, quality)
				want := oracle(t, data)
				if err := d.Decode(t.Context(), data, jpeg.Options{Chroma: 1 << 16}, &pic); err != nil {
					t.Fatalf("%v quality %d: %v", size, quality, err)
				}
				if worst, mean := differ(t, pic.Y, want.Y); worst > 1 || mean > 0.06 {
					t.Errorf("%v quality %d %T: luma differs by up to %d, %.4f on average", size, quality, m, worst, mean)
				}
				if _, ok := m.(*image.Gray); ok {
					if pic.HasChroma() {
						t.Errorf("%v: a gray picture has chroma", size)
					}
					continue
				}
				for i, p := range []codec.Plane{pic.Cb, pic.Cr} {
					if worst, mean := differ(t, p, []codec.Plane{want.Cb, want.Cr}[i]); worst > 1 || mean > 0.06 {
						t.Errorf("%v quality %d: chroma %d differs by up to %d, %.4f on average", size, quality, i, worst, mean)
					}
				}
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data := encode(b, color(1920, 1080), 80)
	for _, o := range []struct {
		name string
		opts jpeg.Options
	}{{"luma", jpeg.Options{}}, {"luma+chroma320", jpeg.Options{Chroma: 320}}, {"half", jpeg.Options{Scale: 2}}, {"quarter", jpeg.Options{Scale: 4}}, {"eighth", jpeg.Options{Scale: 8}}} {
		b.Run(o.name, func(b *testing.B) {
			var d jpeg.Decoder
			var pic codec.Picture
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := d.Decode(b.Context(), data, o.opts, &pic); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("standard-library", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := stdjpeg.Decode(bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestWidth asks for a width: the smallest scale that has it, or full size.
func TestWidth(t *testing.T) {
	data := encode(t, color(641, 359), 75)
	var d jpeg.Decoder
	var pic codec.Picture
	for want, got := range map[int]int{1: 81, 81: 81, 82: 161, 161: 161, 320: 321, 321: 321, 322: 641, 641: 641, 5000: 641} {
		if err := d.Decode(t.Context(), data, jpeg.Options{Width: want}, &pic); err != nil {
			t.Fatal(err)
		}
		if pic.Y.Width != got {
			t.Errorf("width %d gives %d, want %d", want, pic.Y.Width, got)
		}
	}
}

// TestDetail holds the energy of frequencies against the variance of samples,
// and looks that all scales tell the same and that blur shows.
func TestDetail(t *testing.T) {
	var d jpeg.Decoder
	var pic codec.Picture
	sharp := map[bool]float64{}
	for _, blurred := range []bool{false, true} {
		m := color(640, 360)
		copy(m.Y, codectest.Gen("glyphs", 640, 360))
		if blurred {
			m.Y = blur(m.Y, m.YStride)
		}
		for _, data := range [][]byte{encode(t, m, 92), read(t, "progressive420.jpg")} {
			var want jpeg.Detail
			if err := d.Decode(t.Context(), data, jpeg.Options{Detail: &want}, &pic); err != nil {
				t.Fatal(err)
			}
			samples, blocks := 0.0, 0
			for y := 0; y+8 <= pic.Y.Height; y += 8 {
				for x := 0; x+8 <= pic.Y.Width; x += 8 {
					sum, squares := 0.0, 0.0
					for k := range 64 {
						v := float64(pic.Y.Row(y + k/8)[x+k%8])
						sum, squares = sum+v, squares+v*v
					}
					samples += squares - sum*sum/64
					blocks++
				}
			}
			if pic.Y.Width%8 == 0 && pic.Y.Height%8 == 0 { // else the blocks at the edge hold more than the picture
				all := float64(want.Coarse + want.Medium + want.Fine)
				if want.Blocks != blocks || all < samples*0.97 || all > samples*1.03 {
					t.Errorf("%d blocks of energy %.0f, want %d of %.0f", want.Blocks, all, blocks, samples)
				}
				sharp[blurred] = want.Sharpness()
			}
			plain := digest(pic.Y)
			for _, scale := range []int{2, 4, 8} {
				var got jpeg.Detail
				if err := d.Decode(t.Context(), data, jpeg.Options{Scale: scale, Detail: &got}, &pic); err != nil || got != want {
					t.Errorf("at 1/%d the detail is %+v, at full size %+v: %v", scale, got, want, err)
				}
				with := digest(pic.Y)
				if err := d.Decode(t.Context(), data, jpeg.Options{Scale: scale}, &pic); err != nil || digest(pic.Y) != with {
					t.Errorf("at 1/%d the plane differs when detail is asked for: %v", scale, err)
				}
			}
			if err := d.Decode(t.Context(), data, jpeg.Options{}, &pic); err != nil || digest(pic.Y) != plain {
				t.Errorf("the plane differs when detail is asked for: %v", err)
			}
		}
	}
	if sharp[true] > sharp[false]*0.7 {
		t.Errorf("sharpness %.3f, blurred %.3f", sharp[false], sharp[true])
	}
	if (jpeg.Detail{}).Sharpness() != 0 {
		t.Error("no picture is sharp")
	}
}

// blur takes means of 5x5.
func blur(pix []byte, stride int) []byte {
	out := make([]byte, len(pix))
	for i := range pix {
		sum, n := 0, 0
		for k := range 25 {
			if j := i + (k/5-2)*stride + k%5 - 2; j >= 0 && j < len(pix) {
				sum, n = sum+int(pix[j]), n+1
			}
		}
		out[i] = byte(sum / n)
	}
	return out
}
