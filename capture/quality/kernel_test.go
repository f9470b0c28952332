package quality

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
)

// agree compares each level with plain Go, to the bit.
func agree(t interface{ Fatalf(string, ...any) }, p codec.Plane) {
	plain := Meter{level: codec.PlainGo}
	want := plain.Score(p)
	for _, l := range codec.Levels()[1:] {
		m := Meter{level: l}
		for range 2 { // the second time in used memory
			if got := m.Score(p); got != want {
				t.Fatalf("%dx%d at %v: %+v, in plain Go %+v", p.Width, p.Height, l, got, want)
			}
		}
	}
}

func TestKernelsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(1, 300).Draw(t, "w"), rapid.IntRange(1, 60).Draw(t, "h")
		if rapid.IntRange(0, 9).Draw(t, "far") == 0 {
			w = rapid.IntRange(1000, 13000).Draw(t, "w")
		}
		agree(t, codectest.Filled(w, h, w+rapid.IntRange(0, 40).Draw(t, "slack"), rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "pix")))
	})
}

// TestKernelsAtExtremes: rows and columns of black and white drive every sum as
// far as it goes, in rows as long as one call may take and longer.
func TestKernelsAtExtremes(t *testing.T) {
	for _, w := range []int{33, 34, 35, 4097, 4098, 4099, 4129, 4130, 8191, 20000} {
		for period := 1; period <= 4; period++ {
			for _, across := range []bool{true, false} {
				p := codec.Plane{Pix: make([]byte, 9*w), Width: w, Height: 9, Stride: w}
				for i := range p.Pix {
					k := i / w
					if across {
						k = i % w
					}
					if k/period%2 == 0 {
						p.Pix[i] = 255
					}
				}
				agree(t, p)
			}
		}
		agree(t, codectest.Filled(w, 3, w, []byte{255}))
	}
}

func FuzzKernelsAgree(f *testing.F) {
	f.Add(uint16(33), uint8(7), uint8(3), []byte{1, 200, 7})
	f.Add(uint16(1930), uint8(9), uint8(0), []byte{255, 0})
	f.Fuzz(func(t *testing.T, w uint16, h, slack uint8, pix []byte) {
		if w == 0 || w > 9000 || h == 0 || len(pix) == 0 {
			return
		}
		agree(t, codectest.Filled(int(w), int(h), int(w)+int(slack), pix))
	})
}

func BenchmarkScore(b *testing.B) {
	for _, size := range [][2]int{{640, 360}, {1920, 1080}} {
		p := codectest.Plane("clouds", size[0], size[1], size[0])
		for _, l := range codec.Levels() {
			b.Run(fmt.Sprintf("%dx%d/%v", size[0], size[1], l), func(b *testing.B) {
				m := Meter{level: l}
				m.Score(p)
				b.ReportAllocs()
				for b.Loop() {
					m.Score(p)
				}
			})
		}
	}
}
