package pdq_test

import (
	"math/rand/v2"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
)

// box is the reference's filter along one line, by its definition.
func box(in []float64, win int) []float64 {
	out := make([]float64, len(in))
	half := (win + 2) / 2
	for o := range out {
		from, until := max(0, o+half-win), min(len(in), o+half)
		for _, v := range in[from:until] {
			out[o] += v
		}
		out[o] /= float64(until - from)
	}
	return out
}

// plain reduces a picture as the reference does: filter all of it, twice, and
// then keep 64x64 points.
func plain(p codec.Plane) (g [64 * 64]float64) {
	w, h := p.Width, p.Height
	m := make([][]float64, h)
	for y := range m {
		m[y] = make([]float64, w)
		for x, v := range p.Row(y) {
			m[y][x] = float64(v)
		}
	}
	for range 2 {
		for y := range m {
			m[y] = box(m[y], (w+127)/128)
		}
		column := make([]float64, h)
		for x := range w {
			for y := range m {
				column[y] = m[y][x]
			}
			for y, v := range box(column, (h+127)/128) {
				m[y][x] = v
			}
		}
	}
	for i := range 64 {
		for j := range 64 {
			g[i*64+j] = m[int((float64(i)+0.5)*float64(h)/64)][int((float64(j)+0.5)*float64(w)/64)]
		}
	}
	return g
}

// TestReduceAgainstModel holds the shortcut against the long way at sizes that
// the vectors do not have, the edges included.
func TestReduceAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 9))
	names := codectest.Names()
	var h pdq.Hasher
	for range 40 {
		name := names[rng.IntN(len(names))]
		w, ht := 5+rng.IntN(700), 5+rng.IntN(500)
		if rng.IntN(8) == 0 {
			w = 2100 + rng.IntN(500) // windows beyond 16: the narrow sums spill
		}
		p := codectest.Plane(name, w, ht, w+rng.IntN(9))
		var g codec.Grid
		if !h.Reduce(p, &g) {
			t.Fatalf("%s %dx%d is not reduced", name, w, ht)
		}
		for i, want := range plain(p) {
			if got := float64(g.Pix[i]); got-want > 1e-4 || want-got > 1e-4 {
				t.Fatalf("%s %dx%d: point %d,%d is %v, want %v", name, w, ht, i%64, i/64, got, want)
			}
		}
	}
}
