package capture_test

import (
	"bytes"
	"image"
	"image/jpeg"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// sampled is a JPEG whose components have these sampling factors, as T.81 B.2.2
// writes them. Its blocks are all alike: a difference of 0 and an end of block, by
// the standard tables that it leaves out.
func sampled(w, h int, factors [3]byte) []byte {
	b := append([]byte{0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0}, bytes.Repeat([]byte{1}, 64)...)
	b = append(b, 0xFF, 0xC0, 0, 17, 8, byte(h>>8), byte(h), byte(w>>8), byte(w), 3, 1, factors[0], 0, 2, factors[1], 0, 3, factors[2], 0)
	b = append(b, 0xFF, 0xDA, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0)
	b = append(b, bytes.Repeat([]byte{0x28, 0xA2, 0x8A}, (w+64)*(h+64)/16)...)
	return append(b, 0xFF, 0xD9)
}

// TestMaskOverAnyChroma masks JPEGs of all kinds of sampling: with two planes of
// chroma whose samples show different parts of the frame, none can be hidden by the
// other's blocks, and both are lost.
func TestMaskOverAnyChroma(t *testing.T) {
	r, err := capture.New(capture.Options{})
	if err != nil {
		t.Fatal(err)
	}
	factors := []byte{0x11, 0x12, 0x21, 0x22, 0x33, 0x41, 0x42, 0x44}
	sizes := [][2]int{{1, 1}, {33, 7}, {333, 77}}
	kept, lost := 0, 0
	for _, y := range factors {
		for _, cb := range factors {
			for _, cr := range factors {
				if cb>>4 > y>>4 || cb&15 > y&15 || cr>>4 > y>>4 || cr&15 > y&15 {
					continue // refused
				}
				for _, size := range sizes {
					f := fleet.Frame{Codec: fleet.JPEG, Data: sampled(size[0], size[1], [3]byte{y, cb, cr})}
					thumb, err := r.Thumbnail(t.Context(), f, rectangle(0.5, 0.5, 0.3, 0.5))
					if err != nil {
						t.Fatalf("sampling %x, %x, %x of %v: %v", y, cb, cr, size, err)
					}
					m, err := jpeg.Decode(bytes.NewReader(thumb))
					if err != nil {
						t.Fatal(err)
					}
					switch _, colorless := m.(*image.Gray); {
					case !colorless:
						kept++
					case cb == cr:
						t.Errorf("sampling %x, %x, %x of %v lost its color", y, cb, cr, size)
					default:
						lost++
					}
				}
			}
		}
	}
	if kept == 0 || lost == 0 {
		t.Errorf("%d thumbnails kept their color, %d lost it", kept, lost)
	}
}
