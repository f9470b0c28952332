package portable_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet/portable"
)

var functions = []struct {
	name     string
	f, model func(float64) float64
	min, max float64
	error    float64 // from the model, which is wrong in its last bits itself
	digest   string  // of the results, on every processor
}{
	{"sin", portable.Sin, math.Sin, -1000, 1000, 2e-16, "a4b0ab700dc7ba41"},
	{"cos", portable.Cos, math.Cos, -1000, 1000, 2e-16, "83e3a73b83bbd2b4"},
	{"atan", portable.Atan, math.Atan, -20, 20, 1e-15, "1fc468755b399792"},
	{"asin", portable.Asin, math.Asin, -1, 1, 3e-14, "26be1c31bd9c46a7"},
	{"acos", portable.Acos, math.Acos, -1, 1, 3e-14, "b389d43a8e8640b4"},
	{"log2", portable.Log2, math.Log2, 1e-9, 1e9, 1e-14, "04433d7306424d1e"},
}

// TestLikeMath: the functions are those of math, but for last bits.
func TestLikeMath(t *testing.T) {
	for _, f := range functions {
		rapid.Check(t, func(t *rapid.T) {
			x := rapid.Float64Range(f.min, f.max).Draw(t, "x")
			if got, want := f.f(x), f.model(x); !(math.Abs(got-want) <= f.error) {
				t.Errorf("%s(%v) = %v, want %v", f.name, x, got, want)
			}
		})
		for _, x := range []float64{0, math.Copysign(0, -1), 1, -1, 2, math.Inf(1), math.Inf(-1), math.NaN()} {
			got, want := f.f(x), f.model(x)
			if !(math.Abs(got-want) <= f.error) && got != want && !(math.IsNaN(got) && math.IsNaN(want)) {
				t.Errorf("%s(%v) = %v, want %v", f.name, x, got, want)
			}
		}
	}
}

// TestSameBits: the digests were taken on amd64 and hold for every build.
func TestSameBits(t *testing.T) {
	for _, f := range functions {
		h := sha256.New()
		const n = 1 << 17
		for i := range n {
			x := f.min + float64((f.max-f.min)*(float64(i)+0.5)/n)
			_ = binary.Write(h, binary.LittleEndian, f.f(x))
		}
		if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != f.digest {
			t.Errorf("%s: the digest of %d results is %s, want %s: this build computes other bits", f.name, n, got, f.digest)
		}
	}
}

func TestPoly(t *testing.T) {
	if got := portable.Poly(2, 3, 0, 5); got != 17 {
		t.Errorf("3x²+5 at 2 is %v, want 17", got)
	}
	// A fused multiplication and addition would leave the rounding error, 2^-104.
	x := 1 + 0x1p-52
	if got := portable.Poly(x, x, -float64(x*x)); got != 0 {
		t.Errorf("x² - x², each rounded, is %v", got)
	}
}

func ExampleLog2() {
	fmt.Println(portable.Log2(4096), portable.Log2(0.125))
	// Output: 12 -3
}
