package codec_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/png"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func cause(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var pgms = []struct {
	name string
	data string
	want fleet.Cause // none: 2x3 samples "abcdef"
}{
	{"plain", "P5\n2 3\n255\nabcdef", ""},
	{"comments", "P5 # a\n#b\n2#c\n 3 # d\r255 abcdef", ""},
	{"more behind", "P5\t2\v3\f255\rabcdefgh", ""},
	{"empty", "", fleet.CauseCorrupt},
	{"P alone", "P", fleet.CauseCorrupt},
	{"text", "P2\n2 3\n255\n1 2 3 4 5 6", fleet.CauseUnsupportedCodec},
	{"color", "P6\n2 3\n255\n", fleet.CauseUnsupportedCodec},
	{"cut in the header", "P5\n2 3", fleet.CauseCorrupt},
	{"no space after the header", "P5\n2 3\n255", fleet.CauseCorrupt},
	{"cut in the samples", "P5\n2 3\n255\nabcde", fleet.CauseCorrupt},
	{"16 bits", "P5\n2 3\n65535\nabcdefabcdef", fleet.CauseUnsupportedCodec},
	{"no width", "P5\n0 3\n255\n", fleet.CauseCorrupt},
	{"long number", "P5\n99999999999999999999 3\n255\n", fleet.CauseCorrupt},
	{"large", "P5\n60000 60000\n255\n", fleet.CauseTooLarge},
	{"digits joined to the type", "P52 3\n255\nabcdef", fleet.CauseCorrupt},
}

func TestDecodePGM(t *testing.T) {
	for _, c := range pgms {
		var pic codec.Picture
		err := codec.DecodePGM([]byte(c.data), codec.Limits{}, &pic)
		if cause(err) != c.want {
			t.Errorf("%s: %v (%s), want %q", c.name, err, cause(err), c.want)
		}
		if err == nil && (pic.Y.Width != 2 || pic.Y.Height != 3 || string(pic.Y.Pix) != "abcdef") {
			t.Errorf("%s: %+v", c.name, pic.Y)
		}
	}
}

func FuzzDecodePGM(f *testing.F) {
	for _, c := range pgms {
		f.Add([]byte(c.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var pic codec.Picture
		if err := codec.DecodePGM(data, codec.Limits{}, &pic); err != nil {
			if cause(err) == "" {
				t.Fatalf("an error without a cause: %v", err)
			}
			return
		}
		again := append(fmt.Appendf(nil, "P5 %d %d 255\n", pic.Y.Width, pic.Y.Height), pic.Y.Pix...)
		var second codec.Picture
		if err := codec.DecodePGM(again, codec.Limits{}, &second); err != nil || !bytes.Equal(pic.Y.Pix, second.Y.Pix) {
			t.Fatalf("written again it differs: %v", err)
		}
	})
}

// TestDecodePNG reads the same colors from each kind of PNG.
func TestDecodePNG(t *testing.T) {
	const w, h = 33, 21
	r, g, b := codectest.Gen("clouds", w, h), codectest.Gen("noise", w, h), codectest.Gen("sines", w, h)
	opaque, clear, deep := image.NewRGBA(image.Rect(0, 0, w, h)), image.NewNRGBA(image.Rect(0, 0, w, h)), image.NewNRGBA64(image.Rect(0, 0, w, h))
	for i := range w * h {
		x, y := i%w, i/w
		opaque.SetRGBA(x, y, color.RGBA{r[i], g[i], b[i], 255})
		clear.SetNRGBA(x, y, color.NRGBA{r[i], g[i], b[i], byte(i)})
		deep.SetNRGBA64(x, y, color.NRGBA64{uint16(r[i])<<8 | 0x77, uint16(g[i])<<8 | 0x77, uint16(b[i])<<8 | 0x77, 0xffff})
	}
	for name, m := range map[string]image.Image{"opaque": opaque, "transparent": clear, "16 bits": deep} {
		for _, chroma := range []bool{false, true} {
			var pic codec.Picture
			if err := codec.DecodePNG(pngOf(t, m), codec.Limits{}, chroma, &pic); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if pic.HasChroma() != chroma || len(pic.Exact) != w*h {
				t.Errorf("%s: chroma %v, %d exact samples", name, pic.HasChroma(), len(pic.Exact))
			}
			for i := range w * h {
				want := codec.Luma(r[i], g[i], b[i])
				if name == "transparent" && byte(i) == 0 {
					continue // fully transparent colors are not kept by every encoder
				}
				if pic.Exact[i] != want || pic.Y.Pix[i] != byte(want+0.5) {
					t.Fatalf("%s: sample %d is %v and %d, want %v", name, i, pic.Exact[i], pic.Y.Pix[i], want)
				}
			}
		}
	}
	gray := &image.Gray{Pix: r, Stride: w, Rect: image.Rect(0, 0, w, h)}
	var pic codec.Picture
	if err := codec.DecodePNG(pngOf(t, gray), codec.Limits{}, true, &pic); err != nil {
		t.Fatal(err)
	}
	if pic.Exact != nil || pic.HasChroma() || !bytes.Equal(pic.Y.Pix, r) {
		t.Error("a gray PNG is not taken as it is")
	}
	// A palette's colors are as they are stored, however transparent.
	colors := slices.Clone(palette.WebSafe)
	for i := range colors {
		if c, _ := color.NRGBAModel.Convert(colors[i]).(color.NRGBA); i%2 == 0 {
			c.A = byte(i) & 0x7C // 0 of four
			colors[i] = c
		}
	}
	paletted := image.NewPaletted(image.Rect(0, 0, w, h), colors)
	for i := range paletted.Pix {
		paletted.Pix[i] = byte(i % len(colors))
	}
	if err := codec.DecodePNG(pngOf(t, paletted), codec.Limits{}, true, &pic); err != nil || !pic.HasChroma() {
		t.Fatalf("a PNG with a palette: %v", err)
	}
	for i, entry := range paletted.Pix {
		c, _ := color.NRGBAModel.Convert(palette.WebSafe[entry]).(color.NRGBA)
		_, cb, cr := color.RGBToYCbCr(c.R, c.G, c.B)
		if want := codec.Luma(c.R, c.G, c.B); pic.Exact[i] != want || pic.Cb.Pix[i] != cb || pic.Cr.Pix[i] != cr {
			t.Fatalf("sample %d of the palette's color %d is %v, %d, %d, want %v, %d, %d", i, entry, pic.Exact[i], pic.Cb.Pix[i], pic.Cr.Pix[i], want, cb, cr)
		}
	}
}

func TestDecodePNGRefusals(t *testing.T) {
	sound := pngOf(t, image.NewGray(image.Rect(0, 0, 64, 64)))
	var pic codec.Picture
	for n := range len(sound) - 12 { // the last 12 bytes end the file and say nothing
		if err := codec.DecodePNG(sound[:n], codec.Limits{}, false, &pic); cause(err) != fleet.CauseCorrupt {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(sound), err)
		}
	}
	// The header claims 5000x5000 pixels of 8 bytes.
	bomb := bytes.Clone(sound)
	binary.BigEndian.PutUint32(bomb[16:], 5000)
	binary.BigEndian.PutUint32(bomb[20:], 5000)
	bomb[24], bomb[25] = 16, 6
	binary.BigEndian.PutUint32(bomb[29:], crc32.ChecksumIEEE(bomb[12:29]))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := codec.DecodePNG(bomb, codec.Limits{}, false, &pic)
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; cause(err) != fleet.CauseTooLarge || got > 1<<20 {
		t.Errorf("200 MB of samples in %d bytes: %v, %d bytes of memory", len(bomb), err, got)
	}
}

func FuzzDecodePNG(f *testing.F) {
	f.Add(pngOf(f, image.NewGray(image.Rect(0, 0, 8, 8))), false)
	f.Add(pngOf(f, image.NewNRGBA(image.Rect(0, 0, 8, 8))), true)
	f.Add(pngOf(f, image.NewGray16(image.Rect(0, 0, 8, 8))), true)
	f.Add(pngOf(f, image.NewPaletted(image.Rect(0, 0, 8, 8), palette.Plan9)), true)
	f.Fuzz(func(t *testing.T, data []byte, chroma bool) {
		var pic codec.Picture
		err := codec.DecodePNG(data, codec.Limits{Pixels: 1 << 18}, chroma, &pic)
		if err != nil && cause(err) == "" {
			t.Fatalf("an error without a cause: %v", err)
		}
		if err == nil && !pic.Y.Valid() {
			t.Fatalf("a broken plane: %+v", pic.Y)
		}
	})
}

func TestCheckSize(t *testing.T) {
	l := codec.Limits{}.WithDefaults()
	for _, c := range []struct {
		w, h int
		want fleet.Cause
	}{{1, 1, ""}, {8192, 4320, ""}, {8192, 4321, fleet.CauseTooLarge}, {65535, 540, ""}, {65536, 1, fleet.CauseTooLarge}, {0, 5, fleet.CauseCorrupt}, {5, -1, fleet.CauseCorrupt}} {
		if err := l.CheckSize(c.w, c.h); cause(err) != c.want {
			t.Errorf("CheckSize(%d, %d) = %v, want %q", c.w, c.h, err, c.want)
		}
	}
}

// TestColumns holds the sums against the plain way, across spills.
func TestColumns(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var c codec.Columns
	for i, width := range []int{40, 1, 7, 8, 9, 16, 333, 40, 1, 7, 8, 9, 16, 333} {
		if i >= 7 {
			c.Level = codec.PlainGo // after the best one
		}
		c.Reset(width)
		want := make([]uint32, width)
		row := make([]byte, width)
		for range 700 {
			weight := uint32(rng.IntN(258))
			for i := range row {
				row[i] = byte(max(rng.IntN(400)-100, 0))
				want[i] += uint32(row[i]) * weight
			}
			c.Add(row, weight)
		}
		for i, got := range c.Sums() {
			if got != want[i] {
				t.Fatalf("width %d: column %d is %d, want %d", width, i, got, want[i])
			}
		}
	}
}
