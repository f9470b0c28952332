package jpeg_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"image"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// digest is the SHA-256 of a plane's samples without its padding.
func digest(p codec.Plane) string {
	h := sha256.New()
	for y := range p.Height {
		h.Write(p.Row(y))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func cause(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

// TestKinds decodes each kind of JPEG to the very samples of libjpeg.
func TestKinds(t *testing.T) {
	rows, err := csv.NewReader(bytes.NewReader(read(t, "luma.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var d jpeg.Decoder
	var pic codec.Picture
	for _, r := range rows[1:] {
		name := r[0]
		data := read(t, name)
		if err := d.Decode(t.Context(), data, jpeg.Options{}, &pic); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if pic.HasChroma() {
			t.Errorf("%s: chroma came unasked", name)
		}
		if name == "rgb.jpg" { // its luma is mixed here, with roundings of our own
			if pic.Y.Width != 97 || pic.Y.Height != 61 {
				t.Errorf("%s: %dx%d", name, pic.Y.Width, pic.Y.Height)
			}
			if err := d.Decode(t.Context(), data, jpeg.Options{Chroma: 320}, &pic); err != nil || !pic.HasChroma() {
				t.Errorf("%s: no chroma: %v", name, err)
			}
			continue
		}
		if got := digest(pic.Y); got != r[3] {
			t.Errorf("%s: luma is not libjpeg's: %s", name, got)
		}
		switch name {
		case "progressive-gray.jpg", "gray.jpg": // no chroma
		case "progressive422-restart.jpg": // the standard library refuses it
		default:
			want := oracle(t, data)
			if err := d.Decode(t.Context(), data, jpeg.Options{Chroma: 1 << 16}, &pic); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if worst, _ := differ(t, pic.Cb, want.Cb); worst > 1 {
				t.Errorf("%s: Cb differs by up to %d", name, worst)
			}
			if worst, _ := differ(t, pic.Cr, want.Cr); worst > 1 {
				t.Errorf("%s: Cr differs by up to %d", name, worst)
			}
		}
		if err := d.Decode(t.Context(), data, jpeg.Options{Scale: 8}, &pic); err != nil {
			t.Errorf("%s at 1/8: %v", name, err)
		} else if got := digest(pic.Y); got != r[4] {
			t.Errorf("%s: luma at 1/8 is not libjpeg's: %s", name, got)
		}
	}
}

// TestScales holds reduced planes against box means of the full one.
func TestScales(t *testing.T) {
	var d jpeg.Decoder
	var full, small codec.Picture
	for _, data := range [][]byte{encode(t, color(640, 360), 85), encode(t, color(321, 201), 85), read(t, "progressive420.jpg")} {
		if err := d.Decode(t.Context(), data, jpeg.Options{}, &full); err != nil {
			t.Fatal(err)
		}
		for _, scale := range []int{2, 4, 8} {
			if err := d.Decode(t.Context(), data, jpeg.Options{Scale: scale}, &small); err != nil {
				t.Fatal(err)
			}
			w, h := full.Y.Width/scale, full.Y.Height/scale
			if got := small.Y; got.Width != (full.Y.Width+scale-1)/scale || got.Height != (full.Y.Height+scale-1)/scale {
				t.Fatalf("1/%d of %dx%d is %dx%d", scale, full.Y.Width, full.Y.Height, got.Width, got.Height)
			}
			sum := 0
			for y := range h {
				for x := range w {
					box := 0
					for dy := range scale {
						for _, v := range full.Y.Row(y*scale + dy)[x*scale : (x+1)*scale] {
							box += int(v)
						}
					}
					diff := int(small.Y.Row(y)[x]) - box/(scale*scale)
					sum += max(diff, -diff)
				}
			}
			if mean := float64(sum) / float64(w*h); mean > 3 {
				t.Errorf("1/%d of %dx%d is %.2f away from the box means", scale, full.Y.Width, full.Y.Height, mean)
			}
		}
	}
}

// without removes all segments of a marker.
func without(data []byte, marker byte) []byte {
	out := append([]byte{}, data[:2]...)
	for pos := 2; ; {
		n := 2 + int(binary.BigEndian.Uint16(data[pos+2:]))
		if data[pos+1] == 0xDA {
			return append(out, data[pos:]...)
		}
		if data[pos+1] != marker {
			out = append(out, data[pos:pos+n]...)
		}
		pos += n
	}
}

func TestMissingHuffmanTables(t *testing.T) {
	data := encode(t, color(64, 48), 75) // the standard library writes the standard tables
	var d jpeg.Decoder
	var a, b codec.Picture
	if err := d.Decode(t.Context(), data, jpeg.Options{}, &a); err != nil {
		t.Fatal(err)
	}
	// A frame with tables of its own in between must leave nothing behind.
	if err := d.Decode(t.Context(), read(t, "restart-rows-optimised.jpg"), jpeg.Options{}, &b); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(t.Context(), without(data, 0xC4), jpeg.Options{}, &b); err != nil {
		t.Fatal(err)
	}
	if digest(a.Y) != digest(b.Y) {
		t.Error("the plane differs without the tables")
	}
}

func TestRefusals(t *testing.T) {
	sound := encode(t, color(64, 48), 75)
	at := bytes.Index(sound, []byte{0xFF, 0xC0})
	resized := func(w, h uint16) []byte {
		b := bytes.Clone(sound)
		binary.BigEndian.PutUint16(b[at+5:], h)
		binary.BigEndian.PutUint16(b[at+7:], w)
		return b
	}
	changed := func(i int, v byte) []byte { b := bytes.Clone(sound); b[i] = v; return b }
	for _, c := range []struct {
		name string
		data []byte
		opts jpeg.Options
		want fleet.Cause
	}{
		{"empty", nil, jpeg.Options{}, fleet.CauseCorrupt},
		{"text", []byte("<html>login</html>"), jpeg.Options{}, fleet.CauseCorrupt},
		{"start alone", []byte{0xFF, 0xD8}, jpeg.Options{}, fleet.CauseCorrupt},
		{"start and end", []byte{0xFF, 0xD8, 0xFF, 0xD9}, jpeg.Options{}, fleet.CauseCorrupt},
		{"no height", resized(64, 0), jpeg.Options{}, fleet.CauseCorrupt},
		{"32768 a side", resized(32768, 32768), jpeg.Options{}, fleet.CauseTooLarge},
		{"large and short", resized(8192, 4320), jpeg.Options{}, fleet.CauseCorrupt},
		{"twice as high", resized(64, 96), jpeg.Options{}, fleet.CauseCorrupt},
		{"12 bits", changed(at+4, 12), jpeg.Options{}, fleet.CauseUnsupportedCodec},
		{"4 components", changed(at+9, 4), jpeg.Options{}, fleet.CauseCorrupt},
		{"arithmetic", read(t, "arithmetic.jpg"), jpeg.Options{}, fleet.CauseUnsupportedCodec},
		{"lossless", changed(at+1, 0xC3), jpeg.Options{}, fleet.CauseUnsupportedCodec},
		{"no quantisers", without(sound, 0xDB), jpeg.Options{}, fleet.CauseCorrupt},
		{"no frame header", without(sound, 0xC0), jpeg.Options{}, fleet.CauseCorrupt},
		{"beyond the bytes", sound, jpeg.Options{Limits: codec.Limits{Bytes: 100}}, fleet.CauseTooLarge},
		{"beyond the pixels", sound, jpeg.Options{Limits: codec.Limits{Pixels: 3071}}, fleet.CauseTooLarge},
		{"beyond the scans", read(t, "progressive420.jpg"), jpeg.Options{Limits: codec.Limits{Scans: 3}}, fleet.CauseTooLarge},
		{"another begins", append(bytes.Clone(sound[:len(sound)-2]), sound...), jpeg.Options{}, fleet.CauseCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d jpeg.Decoder
			var pic codec.Picture
			err := d.Decode(t.Context(), c.data, c.opts, &pic)
			if cause(err) != c.want {
				t.Errorf("Decode: %v (%s), want %s", err, cause(err), c.want)
			}
		})
	}
}

// TestCutAnywhere cuts sound pictures at every byte: none is still one.
func TestCutAnywhere(t *testing.T) {
	var d jpeg.Decoder
	var pic codec.Picture
	for _, name := range []string{"baseline420.jpg", "progressive420.jpg", "restart-blocks.jpg", "one-scan-each.jpg"} {
		data := read(t, name)
		for n := range data {
			if err := d.Decode(t.Context(), data[:n], jpeg.Options{}, &pic); cause(err) != fleet.CauseCorrupt {
				t.Fatalf("%s cut to %d of %d bytes: %v (%s), want corrupt", name, n, len(data), err, cause(err))
			}
		}
	}
}

// TestClaimedSizeCostsNothing feeds a few hundred bytes that claim large pictures.
func TestClaimedSizeCostsNothing(t *testing.T) {
	sound := encode(t, image.NewGray(image.Rect(0, 0, 8, 8)), 75)
	progressive := read(t, "progressive-q5.jpg")
	for _, size := range [][2]uint16{{32768, 32768}, {65535, 65535}, {8192, 4320}, {65535, 540}, {4096, 2160}} {
		for _, data := range [][]byte{sound, progressive} {
			data = bytes.Clone(data)
			for _, m := range []byte{0xC0, 0xC2} {
				if at := bytes.Index(data, []byte{0xFF, m, 0x00}); at > 0 {
					binary.BigEndian.PutUint16(data[at+5:], size[1])
					binary.BigEndian.PutUint16(data[at+7:], size[0])
				}
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var d jpeg.Decoder
			var pic codec.Picture
			err := d.Decode(t.Context(), data, jpeg.Options{Chroma: 320}, &pic)
			runtime.ReadMemStats(&after)
			if c := cause(err); c != fleet.CauseTooLarge && c != fleet.CauseCorrupt {
				t.Errorf("%v in %d bytes: %v", size, len(data), err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
				t.Errorf("%v in %d bytes took %d bytes of memory", size, len(data), got)
			}
		}
	}
}

func TestContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var d jpeg.Decoder
	var pic codec.Picture
	for _, name := range []string{"baseline420.jpg", "progressive420.jpg"} {
		if err := d.Decode(ctx, read(t, name), jpeg.Options{}, &pic); cause(err) != fleet.CauseTimeout || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want the context's end", name, err)
		}
	}
}

func TestSecondFrameAllocatesNothing(t *testing.T) {
	for _, name := range []string{"baseline420.jpg", "progressive420.jpg"} {
		data := read(t, name)
		var d jpeg.Decoder
		var pic codec.Picture
		decode := func() {
			if err := d.Decode(t.Context(), data, jpeg.Options{Chroma: 320}, &pic); err != nil {
				t.Fatal(err)
			}
		}
		decode()
		if n := testing.AllocsPerRun(10, decode); n != 0 {
			t.Errorf("%s: %v allocations a frame, want none", name, n)
		}
	}
}

// FuzzDecode looks for panics, for errors without a cause, and for pictures
// that the standard library decodes to another size.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.jpg"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		f.Add(read(f, filepath.Base(name)), uint8(0))
	}
	f.Add(encode(f, color(17, 9), 50), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, how uint8) {
		o := jpeg.Options{Scale: 1 << (how & 3), Limits: codec.Limits{Pixels: 1 << 20, Scans: 20}}
		if how&4 != 0 {
			o.Chroma = 1 << (how >> 3 & 15)
		}
		if how&32 != 0 {
			o.Partial = true
		}
		if how&128 != 0 {
			o.Detail = new(jpeg.Detail)
		}
		if how&64 != 0 {
			o.Width = 1 << (how >> 2 & 15)
		}
		var d jpeg.Decoder
		var pic codec.Picture
		for range 2 { // the second time over what the first one left
			err := d.Decode(t.Context(), data, o, &pic)
			if err != nil {
				if cause(err) == "" {
					t.Fatalf("an error without a cause: %v", err)
				}
				continue
			}
			if pic.Missing < 0 || pic.Missing > 0.5 || pic.Missing > 0 && !o.Partial {
				t.Fatalf("%v of the picture is missing", pic.Missing)
			}
			if !pic.Y.Valid() {
				t.Fatalf("a broken plane: %dx%d in %d bytes of stride %d", pic.Y.Width, pic.Y.Height, len(pic.Y.Pix), pic.Y.Stride)
			}
		}
	})
}
