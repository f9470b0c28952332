package phash_test

import (
	"encoding/csv"
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/capture/phash"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func grid(t testing.TB, p codec.Plane) *codec.Grid {
	t.Helper()
	var h pdq.Hasher
	var g codec.Grid
	if !h.Reduce(p, &g) {
		t.Fatal("the picture was not reduced")
	}
	return &g
}

func distance(a, b fleet.PHash) int { return bits.OnesCount64(uint64(a ^ b)) }

// patterns are pictures whose finest detail aliases in the grid or in Lanczos:
// the two hashes then read different frequencies.
var patterns = map[string]bool{"noise": true, "rampnoise": true, "glyphs": true, "sines": true}

// TestImagehash holds the hash near that of Python's imagehash.
func TestImagehash(t *testing.T) {
	f, err := os.Open("testdata/phash64_imagehash.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var h phash.Hasher // one for all: grids change under it
	ordinary, near, far := 0, 0, 0
	for _, r := range rows[1:] {
		name := r[0]
		if name == "flat" || name == "ramp" {
			continue // their coefficients are zero up to rounding
		}
		w, errW := strconv.Atoi(r[1])
		ht, errH := strconv.Atoi(r[2])
		want, errP := strconv.ParseUint(r[3], 16, 64)
		if errW != nil || errH != nil || errP != nil {
			t.Fatal(r)
		}
		d := distance(h.Sum(grid(t, codectest.Plane(name, w, ht, w+3))), fleet.PHash(want))
		t.Logf("%s %dx%d: %d bits", name, w, ht, d)
		far = max(far, d)
		if patterns[name] {
			continue
		}
		ordinary++
		if d <= 2 {
			near++
		}
	}
	if near < ordinary-1 || far > 20 {
		t.Errorf("%d of %d ordinary pictures are at most 2 bits away, the farthest of all %d", near, ordinary, far)
	}
}

// TestStable holds the hash still where a fixed camera's picture hardly changes.
func TestStable(t *testing.T) {
	for _, name := range []string{"clouds", "blocks", "letterbox", "zone"} {
		p := codectest.Plane(name, 1280, 720, 1280)
		want := phash.Sum(grid(t, p))
		for i, n := range codectest.Gen("noise", p.Width, p.Height) {
			p.Pix[i] = byte(min(255, int(p.Pix[i])+int(n)/64)) // a little light, a little noise
		}
		if d := distance(phash.Sum(grid(t, p)), want); d > 2 {
			t.Errorf("%s: %d bits from a little noise", name, d)
		}
	}
}

func TestFirstBitIsDC(t *testing.T) {
	if h := phash.Sum(grid(t, codectest.Plane("clouds", 640, 360, 640))); h>>63 != 1 {
		t.Errorf("%s: the mean is not above the median", h)
	}
}

func ExampleSum() {
	var reduce pdq.Hasher
	var g codec.Grid
	reduce.Reduce(codectest.Plane("clouds", 1280, 720, 1280), &g)
	fmt.Println(phash.Sum(&g))
	// Output: a1f80c995bd2479d
}

func BenchmarkSum(b *testing.B) {
	g := grid(b, codectest.Plane("clouds", 1920, 1080, 1920))
	var h phash.Hasher
	b.ReportAllocs()
	for b.Loop() {
		h.Sum(g)
	}
}
