package capture

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// TestReduce holds reduced planes against means taken sample by sample.
func TestReduce(t *testing.T) {
	var s shrinker // one for all: sizes change under it
	rapid.Check(t, func(t *rapid.T) {
		src := codec.Plane{Width: rapid.IntRange(1, 70).Draw(t, "width"), Height: rapid.IntRange(1, 40).Draw(t, "height")}
		src.Stride = src.Width + rapid.IntRange(0, 3).Draw(t, "padding")
		src.Pix = rapid.SliceOfN(rapid.Byte(), src.Stride*src.Height, src.Stride*src.Height).Draw(t, "samples")
		w, h := rapid.IntRange(1, 80).Draw(t, "w"), rapid.IntRange(1, 50).Draw(t, "h")
		var got codec.Plane
		s.reduce(src, w, h, &got)
		for y := range h {
			for x := range w {
				sum, n := 0, 0
				for sy := y * src.Height / h; sy < max(y*src.Height/h+1, (y+1)*src.Height/h); sy++ {
					for sx := x * src.Width / w; sx < max(x*src.Width/w+1, (x+1)*src.Width/w); sx++ {
						sum, n = sum+int(src.Pix[sy*src.Stride+sx]), n+1
					}
				}
				if want := byte((sum + n/2) / n); got.Row(y)[x] != want {
					t.Fatalf("sample %d, %d is %d, want %d", x, y, got.Row(y)[x], want)
				}
			}
		}
	})
}

// TestDivideBy: multiplying is dividing, for all that a part's samples can sum up to.
func TestDivideBy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1<<rapid.IntRange(0, 24).Draw(t, "bits")).Draw(t, "samples")
		mean, off := rapid.IntRange(0, 255).Draw(t, "mean"), rapid.IntRange(-1, n-1).Draw(t, "off")
		d := divideBy(n)
		for _, sum := range []int{min(max(0, mean*n-n/2+off), 255*n), 255 * n, max(0, mean*n-n/2-1), max(0, mean*n-n/2)} {
			if got, want := byte(uint64(uint32(sum)+d.half)*d.scale>>56), byte((sum+n/2)/n); got != want {
				t.Fatalf("%d by %d is %d, want %d", sum, n, got, want)
			}
		}
	})
}
