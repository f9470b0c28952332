package jpeg

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// TestForward holds the transform with its quantiser against T.81 A.3.3 by its
// letter: all coefficients are the nearest ones, give or take a rounding.
func TestForward(t *testing.T) {
	var cos [8][8]float64
	for u := range 8 {
		for x := range 8 {
			cos[u][x] = math.Cos(float64((2*x+1)*u)*math.Pi/16) / 2
		}
		if u == 0 {
			cos[u] = [8]float64{}
			for x := range 8 {
				cos[u][x] = 1 / math.Sqrt(8)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		sample := rapid.SampledFrom([]*rapid.Generator[byte]{
			rapid.Byte(), rapid.SampledFrom([]byte{0, 255}), rapid.ByteRange(120, 130), rapid.Just(byte(255)),
		}).Draw(t, "kind")
		p := codec.Plane{Width: 8, Height: 8, Stride: 8, Pix: rapid.SliceOfN(sample, 64, 64).Draw(t, "samples")}
		quality := rapid.IntRange(1, 100).Draw(t, "quality")
		var e Encoder
		e.prepare(quality)
		dc := e.block(p, 0, 0, 0, 0)
		e.w.finish()

		var d Decoder
		std, err := standard()
		if err != nil {
			t.Fatal(err)
		}
		c := component{dcTable: std[0], acTab: std[2]}
		c.acTab.fillSkips()
		for k := range c.quant {
			c.quant[k] = 1
		}
		d.r.data = e.w.out
		d.r.start(0)
		var got block
		c.dcTable.fillDiffs()
		w, _, ok := d.baseline(&c, d.r.fill(d.r.window), &got, 63)
		if d.r.window = w; !ok || d.r.overrun() || got[0] != dc {
			t.Fatalf("the block cannot be read: level %d, coded %d", got[0], dc)
		}
		for k := range 64 {
			v, u := int(zigzag[k])/8, int(zigzag[k])%8
			sum := 0.0
			for i, s := range p.Pix {
				sum += (float64(s) - 128) * cos[v][i/8] * cos[u][i%8]
			}
			step := float64(e.quant[0].steps[k])
			if off := math.Abs(float64(got[zigzag[k]]) - sum/step); off > 0.5+0.2/step {
				t.Fatalf("coefficient %d is %d, exactly %.3f", k, got[zigzag[k]], sum/step)
			}
		}
	})
}
