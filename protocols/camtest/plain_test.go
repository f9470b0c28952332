package camtest

import (
	"image"
	"math"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/h264"
)

// TestPlainKey: a decoder gives back each sample of a key frame that is drawn,
// among them runs of zeros, of any size.
func TestPlainKey(t *testing.T) {
	for _, size := range []image.Point{{clipWidth, clipHeight}, {32, 32}, {18, 34}} {
		img := image.NewRGBA(image.Rectangle{Max: size})
		for i := range img.Pix {
			img.Pix[i] = uint8(i * i >> 3)
		}
		var stream []byte
		for _, u := range plainKey(img, 1) {
			stream = append(append(stream, 0, 0, 0, 1), u...)
		}
		var pic codec.Picture
		var d h264.Decoder
		if err := d.Decode(t.Context(), stream, h264.Options{Chroma: true}, &pic); err != nil {
			t.Fatalf("%v: %v", size, err)
		}
		if pic.Y.Width != size.X || pic.Y.Height != size.Y {
			t.Fatalf("%dx%d, want %v", pic.Y.Width, pic.Y.Height, size)
		}
		for y := range size.Y {
			for x := range size.X {
				c := img.RGBAAt(x, y)
				r, g, b := float64(c.R), float64(c.G), float64(c.B)
				near := func(what string, got byte, want float64) {
					if math.Abs(float64(got)-want) > 1.2 {
						t.Fatalf("%v: %s at (%d, %d) is %d, want %.1f", size, what, x, y, got, want)
					}
				}
				near("luma", pic.Y.Row(y)[x], 16+219*(0.299*r+0.587*g+0.114*b)/255)
				if x%2 == 0 && y%2 == 0 {
					near("Cb", pic.Cb.Row(y / 2)[x/2], 128+224*(-0.168736*r-0.331264*g+0.5*b)/255)
					near("Cr", pic.Cr.Row(y / 2)[x/2], 128+224*(0.5*r-0.418688*g-0.081312*b)/255)
				}
			}
		}
	}
}
