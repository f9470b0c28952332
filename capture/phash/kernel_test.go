package phash

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// agree compares the small picture, which says more than its hash.
func agree(t interface{ Fatalf(string, ...any) }, p codec.Plane) {
	s := shrinker{kernel: kernel{level: codec.PlainGo}}
	want := *s.shrink(p)
	for _, l := range codec.Levels()[1:] {
		v := shrinker{kernel: kernel{level: l}}
		if got := *v.shrink(p); got != want {
			t.Fatalf("%dx%d at level %v: %v, in plain Go %v", p.Width, p.Height, l, got, want)
		}
	}
}

func TestKernelsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(5, 400).Draw(t, "w"), rapid.IntRange(5, 90).Draw(t, "h")
		if rapid.IntRange(0, 9).Draw(t, "wide") == 0 {
			w = rapid.IntRange(1000, 4200).Draw(t, "w")
		}
		agree(t, codectest.Filled(w, h, w+rapid.IntRange(0, 40).Draw(t, "slack"), rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "pix")))
	})
}

// TestKernelsAtExtremes: black and white samples at the sharpest edges drive
// the sums as far as they go.
func TestKernelsAtExtremes(t *testing.T) {
	for _, w := range []int{5, 31, 32, 33, 64, 511, 512, 1023, 1024, 1920, 2048, 3840, 8192} {
		for _, period := range []int{1, 2, 3, w / 32, w / 16, w} {
			p := codec.Plane{Pix: make([]byte, 9*w), Width: w, Height: 9, Stride: w}
			for i := range p.Pix {
				if i/max(1, period)%2 == 0 {
					p.Pix[i] = 255
				}
			}
			agree(t, p)
		}
	}
}

// TestGoldenAtEachLevel: Check says the same of every level.
func TestGoldenAtEachLevel(t *testing.T) {
	for _, l := range codec.Levels() {
		h := Hasher{shrink: shrinker{kernel: kernel{level: l}}}
		for _, g := range golden {
			if got := h.Sum(codec.Golden(g.width, g.height)); got != g.hash {
				t.Errorf("%v: %dx%d has %s, want %s", l, g.width, g.height, got, g.hash)
			}
		}
	}
}

func FuzzKernelsAgree(f *testing.F) {
	f.Add(uint16(33), uint8(7), uint8(3), []byte{1, 200, 7})
	f.Add(uint16(1930), uint8(9), uint8(0), []byte{255, 0})
	f.Fuzz(func(t *testing.T, w uint16, h, slack uint8, pix []byte) {
		if w < 5 || w > 5000 || h < 5 || len(pix) == 0 {
			return
		}
		agree(t, codectest.Filled(int(w), int(h), int(w)+int(slack), pix))
	})
}

func BenchmarkSum(b *testing.B) {
	for _, size := range [][2]int{{640, 360}, {1920, 1080}, {3840, 2160}} {
		p := codectest.Plane("clouds", size[0], size[1], size[0])
		for _, l := range codec.Levels() {
			b.Run(fmt.Sprintf("%dx%d/%v", size[0], size[1], l), func(b *testing.B) {
				h := Hasher{shrink: shrinker{kernel: kernel{level: l}}}
				h.Sum(p)
				b.ReportAllocs()
				for b.Loop() {
					h.Sum(p)
				}
			})
		}
	}
}
