//go:build gocv

package phash

import (
	"encoding/binary"
	"fmt"
	"image"
	"math"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"gocv.io/x/gocv"
	"gocv.io/x/gocv/contrib"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

func frames(t *testing.T) map[string]codec.Plane {
	t.Helper()
	all := map[string]codec.Plane{}
	for _, name := range codectest.Names() {
		for _, size := range [][2]int{{97, 61}, {640, 360}, {1280, 720}} {
			all[fmt.Sprintf("%s %v", name, size)] = codectest.Plane(name, size[0], size[1], size[0])
		}
	}
	for _, scene := range camtest.Scenes() {
		for seed := range uint64(4) {
			const w, h = 640, 360
			img, err := camtest.Draw(scene, seed, w, h, time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC))
			if err != nil {
				t.Fatal(err)
			}
			p := codec.Plane{Pix: make([]byte, w*h), Width: w, Height: h, Stride: w}
			for i := range p.Pix {
				r, g, b, _ := img.At(i%w, i/w).RGBA()
				p.Pix[i] = byte(codec.Luma(byte(r>>8), byte(g>>8), byte(b>>8)) + 0.5)
			}
			all[fmt.Sprintf("%s %d", scene, seed)] = p
		}
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// transform is cv::dct of a 32x32 picture, its lowest coefficients.
func transform(t *testing.T, pix gocv.Mat) (coef [side * side]float64) {
	t.Helper()
	in, out := gocv.NewMat(), gocv.NewMat()
	defer in.Close()
	defer out.Close()
	must(t, pix.ConvertTo(&in, gocv.MatTypeCV32F))
	must(t, gocv.DCT(in, &out, gocv.DftForward))
	for i := range coef {
		coef[i] = float64(out.GetFloatAt(i/side, i%side))
	}
	return coef
}

// TestTransformAgainstOpenCV: the coefficients are cv::dct's, whose are normalised
// so that the transform is orthonormal, to a thousandth of one level or of their own
// size: its samples are float32.
func TestTransformAgainstOpenCV(t *testing.T) {
	var s shrinker
	worst := 0.0
	for name, p := range frames(t) {
		pix := s.shrink(p)
		var flat []byte
		for y := range pix {
			flat = append(flat, pix[y][:]...)
		}
		m, err := gocv.NewMatFromBytes(small, small, gocv.MatTypeCV8UC1, flat)
		must(t, err)
		want := transform(t, m)
		m.Close()
		for i, v := range lowest(pix) {
			v *= 2.0 / small // sqrt(2/N) along each axis
			if i/side == 0 {
				v /= math.Sqrt2
			}
			if i%side == 0 {
				v /= math.Sqrt2
			}
			off := math.Abs(v-want[i]) / max(1, math.Abs(want[i]))
			worst = max(worst, off)
			if off > 1e-3 {
				t.Errorf("%s: coefficient %d is %v, cv::dct's %v", name, i, v, want[i])
			}
		}
	}
	t.Logf("at most %.2g apart", worst)
}

// theirs is the rule of OpenCV's img_hash::PHash, step by step: 32x32 by bilinear
// samples, the lowest 8x8 coefficients with the mean in the place of the first,
// which is zero, and bits in the order of their bytes, the first lowest.
func theirs(t *testing.T, m gocv.Mat) (h uint64) {
	t.Helper()
	const linearExact = gocv.InterpolationFlags(5) // cv::INTER_LINEAR_EXACT
	tiny := gocv.NewMat()
	defer tiny.Close()
	must(t, gocv.Resize(m, &tiny, image.Pt(small, small), 0, 0, linearExact))
	coef := transform(t, tiny)
	coef[0] = 0
	mean := 0.0
	for _, v := range coef {
		mean += v / float64(len(coef))
	}
	for i, v := range coef {
		if v > mean {
			h |= 1 << i
		}
	}
	return h
}

// TestBesideOpenCVsRule says how the two hashes relate that both are called pHash.
// OpenCV's is reproduced from its parts, so its rule is known; it is another one
// (no anti-aliasing, the mean, no DC), and the two must not be compared: the
// distances are printed, and held to nothing but being large somewhere.
func TestBesideOpenCVsRule(t *testing.T) {
	var drawn, scenes, weights []int
	var h Hasher
	for name, p := range frames(t) {
		m, err := gocv.NewMatFromBytes(p.Height, p.Width, gocv.MatTypeCV8UC1, p.Pix[:p.Width*p.Height])
		must(t, err)
		out := gocv.NewMat()
		contrib.PHash{}.Compute(m, &out)
		data, err := out.DataPtrUint8()
		must(t, err)
		hash := binary.LittleEndian.Uint64(data)
		// A coefficient that is the mean up to rounding may fall on either side.
		if d := bits.OnesCount64(hash ^ theirs(t, m)); d > 1 {
			t.Errorf("%s: OpenCV's hash is %016x, by its parts %016x: %d bits", name, hash, theirs(t, m), d)
		}
		out.Close()
		m.Close()
		// In our order: row by row, the first highest.
		d := bits.OnesCount64(bits.Reverse64(hash) ^ uint64(h.Sum(p)))
		if slices.ContainsFunc(camtest.Scenes(), func(s camtest.Scene) bool { return strings.HasPrefix(name, string(s)) }) {
			scenes = append(scenes, d)
		} else {
			drawn = append(drawn, d)
		}
		weights = append(weights, bits.OnesCount64(hash))
	}
	summary := func(s []int) string {
		slices.Sort(s)
		at := func(q float64) int { return s[int(q*float64(len(s)-1))] }
		return fmt.Sprintf("min %d, median %d, p90 %d, max %d of %d", at(0), at(.5), at(.9), at(1), len(s))
	}
	t.Logf("distance to OpenCV's pHash: scenes %s; drawn %s; bits set in OpenCV's: %s", summary(scenes), summary(drawn), summary(weights))
	if drawn[len(drawn)-1] <= 8 {
		t.Error("the two hashes have come so near that the documentation is wrong: it says never to compare them")
	}
}
