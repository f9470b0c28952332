package pdq_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// The model is the published algorithm as it reads, in float64: filter the
// whole picture, twice, keep 64x64 points, transform by the formula, sort.

// box is the reference's filter along one line, by its definition: the mean of
// a window, cut at the ends. The sums up to each sample make it quick.
func box(out, upTo []float64, win int) {
	half := (win + 2) / 2
	for o := range out {
		from, until := max(0, o+half-win), min(len(out), o+half)
		out[o] = (upTo[until] - upTo[from]) / float64(until-from)
	}
}

// plain reduces a picture as the reference does.
func plain(p codec.Plane) (g [64 * 64]float64) {
	w, h := p.Width, p.Height
	m := make([]float64, w*h)
	for y := range h {
		for x, v := range p.Row(y) {
			m[y*w+x] = float64(v)
		}
	}
	upTo, out := make([]float64, max(w, h)+1), make([]float64, max(w, h))
	along := func(start, step, n, win int) {
		for i := range n {
			upTo[i+1] = upTo[i] + m[start+i*step]
		}
		box(out[:n], upTo, win)
		for i, v := range out[:n] {
			m[start+i*step] = v
		}
	}
	for range 2 {
		if w == 64 && h == 64 {
			break // small enough as it is
		}
		for y := range h {
			along(y*w, 1, w, (w+127)/128)
		}
		for x := range w {
			along(x, w, h, (h+127)/128)
		}
	}
	for i := range 64 {
		for j := range 64 {
			g[i*64+j] = m[int((float64(i)+0.5)*float64(h)/64)*w+int((float64(j)+0.5)*float64(w)/64)]
		}
	}
	return g
}

// modelled is what the model says of one picture.
type modelled struct {
	hash                 fleet.PDQ
	gap                  float64 // from the median coefficient to its nearest neighbor
	qualityLo, qualityHi int     // they differ where a gradient is a whole percent up to rounding
}

// model hashes by the rule, from a reduced picture.
func model(g *[64 * 64]float64) (m modelled) {
	var basis, part [16][64]float64
	for i := range 16 {
		for k := range 64 {
			d := math.Sqrt(2.0/64) * math.Cos(math.Pi/128*float64(i+1)*float64(2*k+1))
			basis[i][k] = d
			for j := range 64 {
				part[i][j] += d * g[k*64+j]
			}
		}
	}
	var c [256]float64
	for j := range 16 {
		for k := range 64 {
			for i := range 16 {
				c[i*16+j] += basis[j][k] * part[i][k]
			}
		}
	}
	sorted := slices.Clone(c[:])
	slices.Sort(sorted)
	m.gap = min(sorted[127]-sorted[126], sorted[128]-sorted[127])
	for k, v := range c {
		if v > sorted[127] {
			m.hash[31-k/8] |= 1 << (k % 8)
		}
	}
	lo, hi := 0, 0
	add := func(u, v float64) {
		percent := math.Abs(u-v) * 100 / 255
		lo += int(max(0, percent-1e-4))
		hi += int(percent + 1e-4)
	}
	for i := range 64 {
		for j := range 64 {
			if i < 63 {
				add(g[i*64+j], g[(i+1)*64+j])
			}
			if j < 63 {
				add(g[i*64+j], g[i*64+j+1])
			}
		}
	}
	m.qualityLo, m.qualityHi = min(100, lo/90), min(100, hi/90)
	return m
}

const (
	firm      = 0.004 // the gap from which on the reference's own builds agree on every bit
	undefined = 1e-6  // below it coefficients are equal up to rounding, in threes and more
)

// TestModel proves the model on the reference's numbers.
func TestModel(t *testing.T) {
	for _, r := range rows(t, "pdq_synthetic.csv") {
		w, h := number(t, r["w"]), number(t, r["h"])
		if r["class"] == "tiny" || w*h > 1920*1080 {
			continue // no rule but a definition; and no rule that 1080p has not
		}
		g := plain(codectest.Plane(r["name"], w, h, w))
		m := model(&g)
		if q := number(t, r["quality"]); q < m.qualityLo || q > m.qualityHi {
			t.Errorf("%s %dx%d: quality %d..%d, want %d", r["name"], w, h, m.qualityLo, m.qualityHi, q)
		}
		if r["class"] != "undefined" && m.hash.String() != r["pdq"] {
			t.Errorf("%s %dx%d: %s, want %s", r["name"], w, h, m.hash, r["pdq"])
		}
		if r["class"] == "firm" != (m.gap >= firm) {
			t.Errorf("%s %dx%d is %s, and its gap is %v", r["name"], w, h, r["class"], m.gap)
		}
	}
}

// sizes draws sizes that the vectors do not have: most small, some beside the
// steps of the window, a few with windows beyond 16, where narrow sums spill.
func sizes(rng *rand.Rand) (w, h int) {
	side := func() int {
		switch rng.IntN(8) {
		case 0:
			return 64*(1+rng.IntN(6)) + rng.IntN(3) - 1
		case 1:
			return 5 + rng.IntN(60)
		}
		return 40 + rng.IntN(160)
	}
	w, h = side(), side()
	switch rng.IntN(400) {
	case 0:
		w = 2040 + rng.IntN(600)
	case 1:
		h = 2040 + rng.IntN(600)
	}
	return w, h
}

// TestAgainstModel holds hash and quality against the long way on frames that
// no vector has. Where the median coefficient nearly ties, one pair of bits may
// change places, as between the reference's own builds; a picture eight samples
// wide has equal coefficients by the dozen, and only its quality is one number.
func TestAgainstModel(t *testing.T) {
	const frames = 5000
	rng := rand.New(rand.NewPCG(5, 9))
	names := slices.DeleteFunc(codectest.Names(), func(n string) bool { return n == "flat" || n == "ramp" }) // noise up to rounding
	const side = 800
	drawn := map[string][]byte{}
	for _, name := range names {
		drawn[name] = codectest.Gen(name, side, side)
	}
	var h pdq.Hasher
	firmOnes := 0
	for range frames {
		name := names[rng.IntN(len(names))]
		w, ht := sizes(rng)
		p := codec.Plane{Pix: drawn[name], Width: w, Height: ht, Stride: side}
		if w > side || ht > side {
			p = codectest.Plane(name, w, ht, w+rng.IntN(9))
		} else { // a part of it, so that no two frames are alike
			p.Pix = p.Pix[rng.IntN(side-ht+1)*side+rng.IntN(side-w+1):]
		}
		var g codec.Grid
		if !h.Reduce(p, &g) {
			t.Fatalf("%s %dx%d is not reduced", name, w, ht)
		}
		want := plain(p)
		for i, v := range want {
			if got := float64(g.Pix[i]); math.Abs(got-v) > 1e-4 {
				t.Fatalf("%s %dx%d: point %d,%d is %v, want %v", name, w, ht, i%64, i/64, got, v)
			}
		}
		m := model(&want)
		got, q := h.SumGrid(&g), pdq.Quality(&g)
		if int(q) < m.qualityLo || int(q) > m.qualityHi {
			t.Errorf("%s %dx%d: quality %d, want %d..%d", name, w, ht, q, m.qualityLo, m.qualityHi)
		}
		if m.gap >= firm {
			firmOnes++
		}
		if d := distance(got, m.hash); d > 2 && m.gap >= undefined || d > 0 && m.gap >= firm {
			t.Errorf("%s %dx%d: %d bits from the model, gap %v", name, w, ht, d, m.gap)
		}
	}
	if firmOnes < frames/2 {
		t.Errorf("only %d of %d frames have one right hash", firmOnes, frames)
	}
}

// peer is the published algorithm in float32 with running sums, as one writes
// it down: what Hasher's speed is measured against. Its memory is kept.
type peer struct{ a, b []float32 }

func (s *peer) sum(p codec.Plane) (fleet.PDQ, int) {
	w, h := p.Width, p.Height
	if len(s.a) != w*h {
		s.a, s.b = make([]float32, w*h), make([]float32, w*h)
	}
	for y := range h {
		for x, v := range p.Row(y) {
			s.a[y*w+x] = float32(v)
		}
	}
	for range 2 {
		for y := range h {
			running(s.b[y*w:], s.a[y*w:], w, 1, (w+127)/128)
		}
		for x := range w {
			running(s.a[x:], s.b[x:], h, w, (h+127)/128)
		}
	}
	var g [64][64]float32
	for i := range g {
		for j := range g[i] {
			g[i][j] = s.a[int((float64(i)+0.5)*float64(h)/64)*w+int((float64(j)+0.5)*float64(w)/64)]
		}
	}
	quality := 0
	for i := range 64 {
		for j := range 64 {
			if i < 63 {
				quality += percent(g[i][j], g[i+1][j])
			}
			if j < 63 {
				quality += percent(g[i][j], g[i][j+1])
			}
		}
	}
	var d, part [16][64]float32
	for i := range d {
		for k := range 64 {
			d[i][k] = float32(math.Sqrt(2.0/64) * math.Cos(math.Pi/128*float64(i+1)*float64(2*k+1)))
			for j := range 64 {
				part[i][j] += d[i][k] * g[k][j]
			}
		}
	}
	var c [256]float32
	for i := range 16 {
		for j := range 16 {
			for k := range 64 {
				c[i*16+j] += part[i][k] * d[j][k]
			}
		}
	}
	sorted := c
	slices.Sort(sorted[:])
	var hash fleet.PDQ
	for k, v := range c {
		if v > sorted[127] {
			hash[31-k/8] |= 1 << (k % 8)
		}
	}
	return hash, min(100, quality/90)
}

func percent(u, v float32) int {
	d := int((u - v) * 100 / 255)
	return max(d, -d)
}

// running is the box along one line of n samples that lie step apart.
func running(out, in []float32, n, step, win int) {
	half := (win + 2) / 2
	var sum float32
	from, until := 0, 0
	for o := range n {
		for ; until < min(n, o+half); until++ {
			sum += in[until*step]
		}
		for ; from < o+half-win; from++ {
			sum -= in[from*step]
		}
		out[o*step] = sum / float32(until-from)
	}
}

// TestPeer proves that what the speed is compared with does the same work.
func TestPeer(t *testing.T) {
	var s peer
	for _, r := range rows(t, "pdq_synthetic.csv") {
		w, h := number(t, r["w"]), number(t, r["h"])
		if r["class"] != "firm" || w*h > 1<<20 || w == 64 && h == 64 {
			continue
		}
		got, q := s.sum(codectest.Plane(r["name"], w, h, w))
		if d := distance(got, parse(t, r["pdq"])); d > 2 || q < number(t, r["quality"])-1 || q > number(t, r["quality"])+1 {
			t.Errorf("%s %dx%d: %d bits away, quality %d, want %s", r["name"], w, h, d, q, r["quality"])
		}
	}
}

// BenchmarkPeer is the figure beside BenchmarkSum.
func BenchmarkPeer(b *testing.B) {
	p := codectest.Plane("clouds", 1920, 1080, 1920)
	var s peer
	for b.Loop() {
		s.sum(p)
	}
}

// TestGolden: the model says of the golden picture what Check wants of it.
func TestGolden(t *testing.T) {
	for _, size := range [][3]int{{64, 64, 0}, {161, 95, 0}, {1030, 67, 0}, {40, 2100, 0}, {64, 64, 2}, {161, 95, 1}, {1030, 67, 1}, {40, 2100, 1}} {
		p := codec.Golden(size[0], size[1])
		if size[2] > 0 {
			p = codec.FaintGolden(size[0], size[1], uint(size[2]))
		}
		g := plain(p)
		m := model(&g)
		if m.gap < firm {
			t.Errorf("%v: the golden picture has no firm hash: gap %v", size, m.gap)
		}
		if got, q := pdq.Sum(p); got != m.hash || int(q) < m.qualityLo || int(q) > m.qualityHi {
			t.Errorf("%v: %s %d, want %s %d..%d", size, got, q, m.hash, m.qualityLo, m.qualityHi)
		}
		t.Logf("%d,%d,%s,%d", size[0], size[1], m.hash, m.qualityLo)
	}
}
