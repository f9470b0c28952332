//go:build gocv

package capture_test

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"gocv.io/x/gocv"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// streetPlane is a camera's frame: a drawn scene with a sensor's noise.
func streetPlane(t testing.TB, seed uint64, w, h int) codec.Plane {
	t.Helper()
	img, err := camtest.Draw(camtest.StreetDay, seed, w, h, time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 3))
	p := codec.Plane{Pix: make([]byte, w*h), Width: w, Height: h, Stride: w}
	for i := range p.Pix {
		r, g, b, _ := img.At(i%w, i/w).RGBA()
		p.Pix[i] = byte(max(0, min(255, float64(codec.Luma(byte(r>>8), byte(g>>8), byte(b>>8)))+2*rng.NormFloat64()+0.5)))
	}
	return p
}

// openCVScores are the scores of one frame by OpenCV's calls, the quickest that
// it has for each, in memory that is kept.
type openCVScores struct {
	gray, before, mean, deviation, filtered, across, down, none, hist, diff gocv.Mat

	lumaMean, contrast, sharpness, tenengrad, entropy, change float64
}

func newOpenCVScores(t testing.TB, p, before codec.Plane) *openCVScores {
	t.Helper()
	mat := func(p codec.Plane) gocv.Mat {
		m, err := gocv.NewMatFromBytes(p.Height, p.Width, gocv.MatTypeCV8UC1, p.Pix)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	s := &openCVScores{gray: mat(p), before: mat(before)}
	kept := []*gocv.Mat{&s.mean, &s.deviation, &s.filtered, &s.across, &s.down, &s.none, &s.hist, &s.diff}
	for _, m := range kept {
		*m = gocv.NewMat()
	}
	t.Cleanup(func() {
		for _, m := range append(kept, &s.gray, &s.before) {
			m.Close()
		}
	})
	return s
}

func (s *openCVScores) score(t testing.TB) {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(gocv.MeanStdDev(s.gray, &s.mean, &s.deviation))
	s.lumaMean, s.contrast = s.mean.GetDoubleAt(0, 0), s.deviation.GetDoubleAt(0, 0)
	must(gocv.Laplacian(s.gray, &s.filtered, gocv.MatTypeCV16S, 1, 1, 0, gocv.BorderDefault))
	must(gocv.MeanStdDev(s.filtered, &s.mean, &s.deviation))
	s.sharpness = s.deviation.GetDoubleAt(0, 0) * s.deviation.GetDoubleAt(0, 0)
	must(gocv.Sobel(s.gray, &s.across, gocv.MatTypeCV16S, 1, 0, 3, 1, 0, gocv.BorderDefault))
	must(gocv.Sobel(s.gray, &s.down, gocv.MatTypeCV16S, 0, 1, 3, 1, 0, gocv.BorderDefault))
	s.tenengrad = (gocv.Norm(s.across, gocv.NormL2Sqr) + gocv.Norm(s.down, gocv.NormL2Sqr)) / float64(s.gray.Total())
	must(gocv.CalcHist([]gocv.Mat{s.gray}, []int{0}, s.none, &s.hist, []int{256}, []float64{0, 256}, false))
	s.entropy = 0
	counts, err := s.hist.DataPtrFloat32()
	must(err)
	for _, c := range counts {
		if share := float64(c) / float64(s.gray.Total()); share > 0 {
			s.entropy -= share * math.Log2(share)
		}
	}
	must(gocv.AbsDiff(s.gray, s.before, &s.diff))
	s.change = s.diff.Mean().Val1
}

// ourScores are the same and what goes with them: PDQ with its quality, noise,
// edges by block, dark and bright shares.
type ourScores struct {
	meter  quality.Meter
	hasher pdq.Hasher
	grid   codec.Grid
	before quality.Plane
	scores quality.Scores
	change quality.Change
	hash   fleet.PDQ
}

func (s *ourScores) score(p codec.Plane) {
	s.scores = s.meter.Score(p)
	s.hasher.Reduce(p, &s.grid)
	now := quality.Reduced(&s.grid)
	s.change = quality.Compare(&s.before, &now)
	s.hash = s.hasher.SumGrid(&s.grid)
	s.hasher.Quality(&s.grid)
}

// BenchmarkBesideOpenCV measures the scores of a 1080p frame beside OpenCV's calls
// for the same ones on one thread: mean, contrast, sharpness, Tenengrad, entropy,
// change. Ours come with PDQ and its quality, noise, edges, dark and bright shares;
// they take the change from the 64x64 grid and the entropy from every fourth row,
// OpenCV's calls from whole frames. Both run in turn, and the shortest time of each
// counts: give it rounds, -benchtime 200x. GODEBUG=cpu.avx512f=off,cpu.avx2=off
// leaves ours without vector instructions, cpu.avx512f=off with AVX2; OpenCV's stay.
func BenchmarkBesideOpenCV(b *testing.B) {
	p, before := streetPlane(b, 1, 1920, 1080), streetPlane(b, 2, 1920, 1080)
	gocv.SetNumThreads(1)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	theirs, ours := newOpenCVScores(b, p, before), new(ourScores)
	ours.score(before)
	ours.before = quality.Reduced(&ours.grid)
	var shortest [2]time.Duration
	measure := func(i int, f func()) {
		began := time.Now()
		f()
		if took := time.Since(began); shortest[i] == 0 || took < shortest[i] {
			shortest[i] = took
		}
	}
	for b.Loop() {
		measure(0, func() { ours.score(p) })
		measure(1, func() { theirs.score(b) })
	}
	for name, pair := range map[string][2]float64{
		"mean":      {float64(ours.scores.Mean), theirs.lumaMean},
		"contrast":  {float64(ours.scores.Contrast), theirs.contrast},
		"sharpness": {float64(ours.scores.Sharpness), theirs.sharpness},
		"tenengrad": {float64(ours.scores.Tenengrad), theirs.tenengrad},
		"entropy":   {float64(ours.scores.Entropy), theirs.entropy},
	} {
		if off := math.Abs(pair[0]-pair[1]) / pair[1]; off > 0.01 {
			b.Errorf("%s is %v, OpenCV's %v: not the same work", name, pair[0], pair[1])
		}
	}
	b.ReportMetric(0, "ns/op") // of both together: it says nothing
	b.ReportMetric(shortest[0].Seconds()*1000, "ours-ms")
	b.ReportMetric(shortest[1].Seconds()*1000, "opencv-ms")
	b.ReportMetric(shortest[1].Seconds()/shortest[0].Seconds(), "opencv/ours")
}
