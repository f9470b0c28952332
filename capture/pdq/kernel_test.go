package pdq

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// agree compares each level with plain Go: the grid to the bit, the coefficients
// to the bit, the quality.
func agree(t interface{ Fatalf(string, ...any) }, p codec.Plane) {
	plain := Hasher{level: codec.PlainGo}
	var want codec.Grid
	if !plain.Reduce(p, &want) {
		t.Fatalf("%dx%d is not reduced", p.Width, p.Height)
	}
	hash, quality := plain.SumGrid(&want), plain.Quality(&want)
	for _, l := range codec.Levels()[1:] {
		h := Hasher{level: l}
		var got codec.Grid
		if !h.Reduce(p, &got) || got != want {
			t.Fatalf("%dx%d: the grid of %v is not that of plain Go", p.Width, p.Height, l)
		}
		if s, q := h.SumGrid(&got), h.Quality(&got); s != hash || q != quality || h.coef != plain.coef {
			t.Fatalf("%dx%d at %v: %s %d, in plain Go %s %d", p.Width, p.Height, l, s, q, hash, quality)
		}
	}
}

func TestKernelsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		side := func(label string) int {
			if rapid.IntRange(0, 9).Draw(t, "far") == 0 {
				return rapid.IntRange(1000, 4200).Draw(t, label)
			}
			return rapid.IntRange(5, 300).Draw(t, label)
		}
		w, h := side("w"), side("h")
		if w*h > 1<<20 {
			h = 5 + h%200
		}
		agree(t, codectest.Filled(w, h, w+rapid.IntRange(0, 40).Draw(t, "slack"), rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "pix")))
	})
}

// TestKernelsAtExtremes: white pictures drive the sums as far as they go, and
// tall and wide ones leave the narrow ways.
func TestKernelsAtExtremes(t *testing.T) {
	for _, size := range [][2]int{{64, 64}, {64, 65}, {31, 9}, {32, 32}, {33, 2048}, {100, 2049}, {40, 34000}, {20000, 40}, {1920, 1080}, {3840, 2160}, {2161, 3841}} {
		agree(t, codectest.Filled(size[0], size[1], size[0], []byte{255}))
		p := codec.Plane{Pix: make([]byte, size[0]*size[1]), Width: size[0], Height: size[1], Stride: size[0]}
		for i := range p.Pix {
			p.Pix[i] = 255
		}
		agree(t, p)
	}
}

func FuzzKernelsAgree(f *testing.F) {
	f.Add(uint16(33), uint16(7), uint8(3), []byte{1, 200, 7})
	f.Add(uint16(1930), uint16(9), uint8(0), []byte{255, 0})
	f.Add(uint16(70), uint16(2100), uint8(0), []byte{255, 0})
	f.Fuzz(func(t *testing.T, w, h uint16, slack uint8, pix []byte) {
		if w < 5 || w > 5000 || h < 5 || int(w)*int(h) > 1<<20 || len(pix) == 0 {
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
				h := Hasher{level: l}
				h.Sum(p)
				b.ReportAllocs()
				for b.Loop() {
					h.Sum(p)
				}
			})
		}
	}
}

func BenchmarkSumGrid(b *testing.B) {
	p := codectest.Plane("clouds", 640, 360, 640)
	for _, l := range codec.Levels() {
		b.Run(l.String(), func(b *testing.B) {
			h := Hasher{level: l}
			var g codec.Grid
			h.Reduce(p, &g)
			for b.Loop() {
				h.SumGrid(&g)
				h.Quality(&g)
			}
		})
	}
}
