package capture_test

import (
	"bytes"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestMaskForgetsTheFrameBefore: which blocks are hidden does not depend on what
// was read before in the same memory.
func TestMaskForgetsTheFrameBefore(t *testing.T) {
	data := pngOf(t, street(320, 180))
	gray := append([]byte("P5 320 180 255\n"), bytes.Repeat([]byte{90, 120, 200}, 320*180/3)...)
	for _, f := range []fleet.Frame{{Codec: fleet.PNG, Data: data}, {Codec: fleet.PGM, Data: gray}} {
		want, err := reader(t, capture.Options{Width: 1}).Inspect(t.Context(), f, capture.Probe{Mask: corner()})
		if err != nil {
			t.Fatal(err)
		}
		r := reader(t, capture.Options{Width: 1})
		if _, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, street(1000, 700))}); err != nil {
			t.Fatal(err)
		}
		got, err := r.Inspect(t.Context(), f, capture.Probe{Mask: corner()})
		if err != nil || got.Fingerprint != want.Fingerprint || got.Quality != want.Quality || !bytes.Equal(got.Thumbnail, want.Thumbnail) {
			t.Errorf("%s behind a JPEG of another size: %+v, %v: want %+v", f.Codec, got.Fingerprint, err, want.Fingerprint)
		}
	}
}
