//go:build gocv

package quality_test

import (
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"gocv.io/x/gocv"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// oracle computes scores by OpenCV's calls.
type oracle struct {
	t testing.TB
}

func (o oracle) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// mat is OpenCV's view of a plane, without what lies between its rows.
func (o oracle) mat(p codec.Plane) gocv.Mat {
	pix := make([]byte, 0, p.Width*p.Height)
	for y := range p.Height {
		pix = append(pix, p.Row(y)...)
	}
	m, err := gocv.NewMatFromBytes(p.Height, p.Width, gocv.MatTypeCV8UC1, pix)
	o.must(err)
	o.t.Cleanup(func() { m.Close() })
	return m
}

func (o oracle) fresh() gocv.Mat {
	m := gocv.NewMat()
	o.t.Cleanup(func() { m.Close() })
	return m
}

// inner is a filter's answer without the samples for which it had to make up
// neighbors: at the border OpenCV mirrors the picture.
func (o oracle) inner(m gocv.Mat) gocv.Mat {
	r := m.Region(image.Rect(1, 1, m.Cols()-1, m.Rows()-1))
	o.t.Cleanup(func() { r.Close() })
	return r
}

func (o oracle) meanAndDeviation(m gocv.Mat) (mean, deviation float64) {
	a, b := o.fresh(), o.fresh()
	o.must(gocv.MeanStdDev(m, &a, &b))
	return a.GetDoubleAt(0, 0), b.GetDoubleAt(0, 0)
}

func (o oracle) laplacian(m gocv.Mat) gocv.Mat {
	l := o.fresh()
	o.must(gocv.Laplacian(m, &l, gocv.MatTypeCV16S, 1, 1, 0, gocv.BorderDefault))
	return l
}

func (o oracle) sobel(m gocv.Mat) (gx, gy gocv.Mat) {
	gx, gy = o.fresh(), o.fresh()
	o.must(gocv.Sobel(m, &gx, gocv.MatTypeCV16S, 1, 0, 3, 1, 0, gocv.BorderDefault))
	o.must(gocv.Sobel(m, &gy, gocv.MatTypeCV16S, 0, 1, 3, 1, 0, gocv.BorderDefault))
	return gx, gy
}

// immerkaer is what his kernel gives.
func (o oracle) immerkaer(m gocv.Mat) gocv.Mat {
	k := o.fresh()
	ones := gocv.NewMatWithSize(3, 3, gocv.MatTypeCV32F)
	defer ones.Close()
	for i, v := range []float32{1, -2, 1, -2, 4, -2, 1, -2, 1} {
		ones.SetFloatAt(i/3, i%3, v)
	}
	o.must(gocv.Filter2D(m, &k, gocv.MatTypeCV16S, ones, image.Pt(-1, -1), 0, gocv.BorderDefault))
	return k
}

func noise(in gocv.Mat) float64 {
	return math.Sqrt(math.Pi/2) / 6 * gocv.Norm(in, gocv.NormL1) / float64(in.Total())
}

func tenengrad(ix, iy gocv.Mat) float64 {
	return (gocv.Norm(ix, gocv.NormL2Sqr) + gocv.Norm(iy, gocv.NormL2Sqr)) / float64(ix.Total())
}

func (o oracle) histogram(m gocv.Mat) (h [256]float64) {
	out := o.fresh()
	o.must(gocv.CalcHist([]gocv.Mat{m}, []int{0}, o.fresh(), &out, []int{256}, []float64{0, 256}, false))
	for v := range h {
		h[v] = float64(out.GetFloatAt(v, 0))
	}
	return h
}

func bitsOf(h [256]float64) (bits float64) {
	n := 0.0
	for _, c := range h {
		n += c
	}
	for _, c := range h {
		if c > 0 {
			bits -= c / n * math.Log2(c/n)
		}
	}
	return bits
}

// everyRow is the plane of the rows that the entropy is taken of.
func everyRow(p codec.Plane, step int) codec.Plane {
	q := codec.Plane{Width: p.Width, Height: (p.Height + step - 1) / step, Stride: p.Width}
	for y := 0; y < p.Height; y += step {
		q.Pix = append(q.Pix, p.Row(y)...)
	}
	return q
}

func (o oracle) score(p codec.Plane) (s quality.Scores) {
	m := o.mat(p)
	n := float64(p.Width * p.Height)
	mean, deviation := o.meanAndDeviation(m)
	s.Mean, s.Contrast = float32(mean), float32(deviation)
	for v, c := range o.histogram(m) {
		if v <= 16 {
			s.Dark += float32(c / n)
		}
		if v >= 240 {
			s.Bright += float32(c / n)
		}
	}
	s.Entropy = float32(bitsOf(o.histogram(o.mat(everyRow(p, max(1, p.Height/256))))))
	_, deviation = o.meanAndDeviation(o.inner(o.laplacian(m)))
	s.Sharpness = float32(deviation * deviation)
	gx, gy := o.sobel(m)
	fine := o.immerkaer(m)
	s.Tenengrad = float32(tenengrad(o.inner(gx), o.inner(gy)))
	s.Noise = float32(noise(o.inner(fine)))
	for b := range s.Bands {
		// The first row of a band is the first that the division gives to it.
		rows := image.Rect(1, max(1, (b*p.Height+quality.Blocks-1)/quality.Blocks), p.Width-1, min(p.Height-1, ((b+1)*p.Height+quality.Blocks-1)/quality.Blocks))
		part := func(m gocv.Mat) gocv.Mat {
			r := m.Region(rows)
			o.t.Cleanup(func() { r.Close() })
			return r
		}
		s.Bands[b] = quality.Band{Tenengrad: float32(tenengrad(part(gx), part(gy))), Noise: float32(noise(part(fine)))}
	}
	var edges, all [quality.Blocks * quality.Blocks]float32
	for y := 1; y < p.Height-1; y++ {
		for x := 1; x < p.Width-1; x++ {
			b := y*quality.Blocks/p.Height*quality.Blocks + x*quality.Blocks/p.Width
			all[b]++
			if u, v := int(gx.GetShortAt(y, x)), int(gy.GetShortAt(y, x)); max(u, -u)+max(v, -v) > 96 {
				edges[b]++
			}
		}
	}
	for b, n := range all {
		if n > 0 {
			s.Edges[b] = edges[b] / n
		}
	}
	return s
}

// frames are the drawn pictures, and what cameras send with a sensor's noise.
func frames(t testing.TB) map[string]codec.Plane {
	t.Helper()
	all := map[string]codec.Plane{}
	for _, name := range codectest.Names() {
		for _, size := range [][2]int{{64, 48}, {321, 179}, {640, 601}} {
			all[fmt.Sprintf("%s %v", name, size)] = codectest.Plane(name, size[0], size[1], size[0]+5)
		}
	}
	rng := rand.New(rand.NewPCG(5, 7))
	for _, scene := range camtest.Scenes() {
		for _, size := range [][2]int{{640, 360}, {1920, 1080}} {
			img, err := camtest.Draw(scene, 3, size[0], size[1], time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			p := codec.Plane{Pix: make([]byte, size[0]*size[1]), Width: size[0], Height: size[1], Stride: size[0]}
			for i := range p.Pix {
				r, g, b, _ := img.At(i%p.Width, i/p.Width).RGBA()
				v := float64(codec.Luma(byte(r>>8), byte(g>>8), byte(b>>8)))
				p.Pix[i] = byte(max(0, min(255, v+2*rng.NormFloat64()+0.5)))
			}
			all[fmt.Sprintf("%s %v", scene, size)] = p
		}
	}
	return all
}

// TestScoreAgainstOpenCV: the scores are those of OpenCV's calls, to the
// precision of float32, over the samples that have all their neighbors.
func TestScoreAgainstOpenCV(t *testing.T) {
	for name, p := range frames(t) {
		t.Run(name, func(t *testing.T) {
			if got, want := quality.Score(p), (oracle{t}).score(p); !same(got, want) {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

// TestScoreAgainstOpenCVsHabits: how far the scores are from what people compute
// with OpenCV in one line, who take the border with its made-up neighbors, and the
// histogram of all rows.
func TestScoreAgainstOpenCVsHabits(t *testing.T) {
	var sharpest, entropies float64
	for name, p := range frames(t) {
		if p.Width < 640 {
			continue // of small pictures the border is a large part
		}
		o := oracle{t}
		m := o.mat(p)
		got := quality.Score(p)
		_, deviation := o.meanAndDeviation(o.laplacian(m))
		off := math.Abs(deviation*deviation-float64(got.Sharpness)) / max(10, float64(got.Sharpness))
		// Two rows and two columns of 640x360 are 0.9 % of its samples, and at the
		// mirrored border a step counts twice. Below 10 there is rounding alone.
		if off > 0.02 {
			t.Errorf("%s: sharpness %v, OpenCV's with the border %v", name, got.Sharpness, deviation*deviation)
		}
		bits := math.Abs(bitsOf(o.histogram(m)) - float64(got.Entropy))
		if bits > 0.05 {
			t.Errorf("%s: entropy is %v bits from that of all rows", name, bits)
		}
		sharpest, entropies = max(sharpest, off), max(entropies, bits)
	}
	t.Logf("at most: sharpness %.2f %% from that with the border, entropy %.4f bits from that of all rows", 100*sharpest, entropies)
}

// TestChangeAgainstOpenCV: the change of two planes is the mean of OpenCV's absdiff.
func TestChangeAgainstOpenCV(t *testing.T) {
	o := oracle{t}
	var planes []quality.Plane
	for _, p := range frames(t) {
		var h pdq.Hasher
		var g codec.Grid
		if !h.Reduce(p, &g) {
			t.Fatal("not reduced")
		}
		planes = append(planes, quality.Reduced(&g))
	}
	grid := func(p *quality.Plane) gocv.Mat {
		return o.mat(codec.Plane{Pix: p[:], Width: codec.GridSize, Height: codec.GridSize, Stride: codec.GridSize})
	}
	for i := range planes[1:] {
		a, b := &planes[i], &planes[i+1]
		diff := o.fresh()
		o.must(gocv.AbsDiff(grid(a), grid(b), &diff))
		got := quality.Compare(a, b)
		if want := float32(diff.Mean().Val1); !near(got.Mean, want) {
			t.Errorf("planes %d and %d: change %v, want %v", i, i+1, got.Mean, want)
		}
		if want := float32(gocv.CountNonZero(diff)) / codec.GridSize / codec.GridSize; !near(got.Changed, want) {
			t.Errorf("planes %d and %d: %v changed, want %v", i, i+1, got.Changed, want)
		}
	}
}
