//go:build gocv

package capture_test

import (
	"bytes"
	"errors"
	"image/jpeg"
	"os"
	"testing"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestOpenCVReadsTheRest: a JPEG that the decoder here refuses is OpenCV's, and
// gives what its twin gives that both read.
func TestOpenCVReadsTheRest(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("codec/jpeg/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	r := reader(t, capture.Options{Worker: withoutFFmpeg(t), Width: 1})
	got, err := r.Inspect(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: read("arithmetic.jpg")}, capture.Probe{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := r.Inspect(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: read("progressive420.jpg")}, capture.Probe{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Decoder != "opencv" || want.Decoder != "jpeg" {
		t.Errorf("decoded by %q and %q", got.Decoder, want.Decoder)
	}
	if got.Fingerprint != want.Fingerprint || got.Quality != want.Quality {
		t.Errorf("%+v %+v, want %+v %+v", got.Fingerprint, got.Quality, want.Fingerprint, want.Quality)
	}
	img, err := jpeg.Decode(bytes.NewReader(got.Thumbnail))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := jpeg.Decode(bytes.NewReader(want.Thumbnail))
	if err != nil {
		t.Fatal(err)
	}
	// OpenCV's colors have been to RGB and back, which cuts the strongest.
	if off := colorOff(img, theirs); off > 6 {
		t.Errorf("the thumbnail's colors are %.1f levels away", off)
	}
}

// TestOpenCVReadsFiles: the same numbers, whatever file a picture lies in.
func TestOpenCVReadsFiles(t *testing.T) {
	m := street(320, 240)
	var asBMP, asTIFF bytes.Buffer
	if err := errors.Join(bmp.Encode(&asBMP, m), tiff.Encode(&asTIFF, m, nil)); err != nil {
		t.Fatal(err)
	}
	r := reader(t, capture.Options{Worker: withoutFFmpeg(t), Width: 1})
	want, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, m)})
	if err != nil {
		t.Fatal(err)
	}
	for c, data := range map[fleet.Codec][]byte{codec.BMP: asBMP.Bytes(), codec.TIFF: asTIFF.Bytes()} {
		if sniffed, _ := codec.Sniff(data); sniffed != c {
			t.Errorf("%s is taken for %q", c, sniffed)
		}
		got, err := r.Inspect(t.Context(), fleet.Frame{Codec: c, Data: data}, capture.Probe{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Decoder != "opencv" || got.Fingerprint != want.Fingerprint || got.Quality != want.Quality || !bytes.Equal(got.Thumbnail, want.Thumbnail) {
			t.Errorf("%s by %s: %+v %+v, want %+v %+v", c, got.Decoder, got.Fingerprint, got.Quality, want.Fingerprint, want.Quality)
		}
	}
}

// TestOpenCVLeavesBrokenOnesBroken: what is no JPEG does not become one, and the
// advice for a kind that nobody reads is the decoder's here.
func TestOpenCVLeavesBrokenOnesBroken(t *testing.T) {
	r := reader(t, capture.Options{Worker: withoutFFmpeg(t), Width: 1})
	sound := jpegOf(t, street(64, 48))
	at := bytes.Index(sound, []byte{0xFF, 0xC0})
	deep := bytes.Clone(sound)
	deep[at+4] = 12
	for name, c := range map[string]struct {
		data []byte
		want fleet.Cause
	}{"cut off": {sound[:len(sound)/2], fleet.CauseCorrupt}, "12 bits": {deep, fleet.CauseUnsupportedCodec}} {
		_, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: c.data})
		if got := cause(err); got != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}
