package opencv

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func bmpOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := bmp.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tiffOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := tiff.Encode(&b, m, &tiff.Options{Compression: tiff.Deflate}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestInspect(t *testing.T) {
	for name, data := range kindsOfJPEG(t) {
		if h, err := inspect(data, codec.Limits{}); err != nil || h.width != 97 || h.height != 61 || !h.gray {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	gray := image.NewGray(image.Rect(0, 0, 33, 21))
	for name, data := range map[string][]byte{
		"png": pngOf(t, drawing(33, 21)), "gray png": pngOf(t, gray),
		"bmp": bmpOf(t, drawing(33, 21)), "gray bmp": bmpOf(t, gray),
		"tiff": tiffOf(t, drawing(33, 21)), "gray tiff": tiffOf(t, gray),
	} {
		if h, err := inspect(data, codec.Limits{}); err != nil || h.width != 33 || h.height != 21 || h.gray != (name == "gray png") {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

func TestInspectRefuses(t *testing.T) {
	sound := coded(t, drawing(64, 48), 75)
	at := bytes.Index(sound, []byte{0xFF, 0xC0})
	changed := func(i int, v byte) []byte { b := bytes.Clone(sound); b[at+i] = v; return b }
	resized := func(w, h uint16) []byte {
		b := bytes.Clone(sound)
		binary.BigEndian.PutUint16(b[at+5:], h)
		binary.BigEndian.PutUint16(b[at+7:], w)
		return b
	}
	arithmetic := kindsOfJPEG(t)["arithmetic.jpg"]
	tif := tiffOf(t, drawing(64, 48))
	put32 := func(b []byte, at int, v uint32) []byte {
		b = bytes.Clone(b)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	directory := int(binary.LittleEndian.Uint32(tif[4:]))
	for _, c := range []struct {
		name   string
		data   []byte
		limits codec.Limits
		want   fleet.Cause
	}{
		{"empty", nil, codec.Limits{}, fleet.CauseCorrupt},
		{"text", []byte("<html>login</html>"), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"webp", []byte("RIFF\x24\x00\x00\x00WEBPVP8 \x18\x00\x00\x00"), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"openexr", []byte("\x76\x2f\x31\x01\x02\x00\x00\x00"), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"start alone", []byte{0xFF, 0xD8}, codec.Limits{}, fleet.CauseCorrupt},
		{"no scan", []byte{0xFF, 0xD8, 0xFF, 0xD9}, codec.Limits{}, fleet.CauseCorrupt},
		{"cut off", arithmetic[:len(arithmetic)-2], codec.Limits{}, fleet.CauseCorrupt},
		{"cut in the header", arithmetic[:100], codec.Limits{}, fleet.CauseCorrupt},
		{"no height", resized(64, 0), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"no width", resized(0, 48), codec.Limits{}, fleet.CauseCorrupt},
		{"65535 a side", resized(65535, 65535), codec.Limits{}, fleet.CauseTooLarge},
		{"within the pixels, beyond the memory", resized(8192, 4320), codec.Limits{}, fleet.CauseTooLarge},
		{"12 bits", changed(4, 12), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"two components", changed(9, 2), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"lossless", changed(1, 0xC3), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"hierarchical", changed(1, 0xC5), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"two frame headers", append(bytes.Clone(sound[:at+19]), sound[at:]...), codec.Limits{}, fleet.CauseCorrupt},
		{"beyond the bytes", sound, codec.Limits{Bytes: 100}, fleet.CauseTooLarge},
		{"beyond the pixels", sound, codec.Limits{Pixels: 3071}, fleet.CauseTooLarge},
		{"beyond the scans", kindsOfJPEG(t)["progressive420.jpg"], codec.Limits{Scans: 3}, fleet.CauseTooLarge},
		{"short bmp", bmpOf(t, drawing(64, 48))[:5000], codec.Limits{}, fleet.CauseCorrupt},
		{"bmp of nothing", []byte("BM"), codec.Limits{}, fleet.CauseCorrupt},
		{"packed bmp", put32(bmpOf(t, drawing(64, 48)), 30, 1), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"tiff without directory", put32(tif, 4, 1<<31), codec.Limits{}, fleet.CauseCorrupt},
		{"tiff of 16 bits", tiffOf(t, image.NewGray16(image.Rect(0, 0, 8, 8))), codec.Limits{}, fleet.CauseUnsupportedCodec},
		{"wide tiff", put32(put32(tif, directory+2, 256|4<<16), directory+2+8, 1<<20), codec.Limits{}, fleet.CauseTooLarge},
		{"tiff with a huge tile", hugeTile(tif, directory), codec.Limits{}, fleet.CauseUnsupportedCodec},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := inspect(c.data, c.limits); cause(err) != c.want {
				t.Errorf("inspect: %v (%s), want %s", err, cause(err), c.want)
			}
		})
	}
}

// hugeTile makes a tile's width of the first entry that says nothing of sizes.
func hugeTile(tif []byte, directory int) []byte {
	b := bytes.Clone(tif)
	for i := range int(binary.LittleEndian.Uint16(b[directory:])) {
		e := b[directory+2+12*i:]
		if binary.LittleEndian.Uint16(e) == 259 { // compression
			binary.LittleEndian.PutUint16(e, 322)
			binary.LittleEndian.PutUint16(e[2:], 4)
			binary.LittleEndian.PutUint32(e[4:], 1)
			binary.LittleEndian.PutUint32(e[8:], 1<<24)
			return b
		}
	}
	return nil
}

// FuzzInspect looks for panics, errors without a cause, and pictures that claim
// more than the limits.
func FuzzInspect(f *testing.F) {
	for _, data := range kindsOfJPEG(f) {
		f.Add(data)
	}
	f.Add(flat(16, 8, 2, component{1, 1, 1, gradient}, component{2, 1, 1, gradient}, component{3, 1, 1, gradient}, component{4, 1, 1, gradient}))
	f.Add(bmpOf(f, drawing(5, 4)))
	f.Add(tiffOf(f, drawing(5, 4)))
	f.Add(pngOf(f, drawing(5, 4)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := codec.Limits{Pixels: 1 << 20, Scans: 20}
		h, err := inspect(data, l)
		switch {
		case err != nil && cause(err) == "":
			t.Fatalf("an error without a cause: %v", err)
		case err == nil && (h.width <= 0 || h.height <= 0 || h.width*h.height > l.Pixels):
			t.Fatalf("a picture of %dx%d passes", h.width, h.height)
		}
	})
}

// gradient is a level for each block.
func gradient(block int) int { return 20 + block*7%200 }
