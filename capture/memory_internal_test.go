package capture

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestLargeFrameIsNotKept: the memory of a frame beyond keepPixels is given back,
// also where its chroma alone came.
func TestLargeFrameIsNotKept(t *testing.T) {
	// An RGB JPEG of 4096x2400 whose first scan is of one color, and the only one.
	head := append([]byte{0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0}, make([]byte, 64)...)
	head = append(head, 0xFF, 0xC0, 0, 17, 8, 2400>>8, 2400&0xFF, 4096>>8, 0, 3, 'R', 0x11, 0, 'G', 0x11, 0, 'B', 0x11, 0)
	for _, color := range []byte("RGB") {
		data := append(head[:len(head):len(head)], 0xFF, 0xDA, 0, 8, 1, color, 0, 0, 63, 0)
		data = append(data, make([]byte, 4096/8*2400/8)...) // more than the least that it takes
		r, err := New(Options{Width: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: data}); err == nil {
			t.Fatalf("%c alone is a picture", color)
		}
		if d := <-r.free; d != nil {
			t.Errorf("after %c alone, planes of %d, %d and %d bytes are kept", color, cap(d.pic.Y.Pix), cap(d.pic.Cb.Pix), cap(d.pic.Cr.Pix))
		}
	}
}
