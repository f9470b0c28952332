package phash_test

import (
	"encoding/csv"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/phash"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func distance(a, b fleet.PHash) int { return bits.OnesCount64(uint64(a ^ b)) }

// table reads expected hashes: name, w, h, phash under the columns' offset.
func table(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}

func parse(t *testing.T, s string) fleet.PHash {
	t.Helper()
	var h fleet.PHash
	if err := h.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return h
}

// TestImagehash holds the hash to that of Python's imagehash: most are equal, and
// none is more than a pair of bits away. What is left of a difference is the
// weights' 15 bits beside Pillow's 22.
func TestImagehash(t *testing.T) {
	var h phash.Hasher // one for all: sizes change under it
	rows, equal := 0, 0
	for _, r := range table(t, "testdata/phash64_imagehash.csv") {
		name := r[0]
		if name == "flat" || name == "ramp" {
			continue // their coefficients are zero up to rounding
		}
		w, errW := strconv.Atoi(r[1])
		ht, errH := strconv.Atoi(r[2])
		if errW != nil || errH != nil {
			t.Fatal(r)
		}
		d := distance(h.Sum(codectest.Plane(name, w, ht, w+3)), parse(t, r[3]))
		if d > 2 {
			t.Errorf("%s %dx%d: %d bits from imagehash", name, w, ht, d)
		}
		rows++
		if d == 0 {
			equal++
		}
	}
	t.Logf("%d of %d are equal", equal, rows)
	if equal < rows*8/10 {
		t.Errorf("only %d of %d hashes are equal to those of imagehash", equal, rows)
	}
}

// TestPhotos compares on pictures that are not part of this repository:
// PDQ_VECTORS names a folder with phash64_imagehash.csv (kind, name, w, h,
// phash, ...) and photos/*.pgm.
func TestPhotos(t *testing.T) {
	dir := os.Getenv("PDQ_VECTORS")
	if dir == "" {
		t.Skip("PDQ_VECTORS names no folder; the drawn pictures of TestImagehash bear the parity")
	}
	for _, r := range table(t, filepath.Join(dir, "phash64_imagehash.csv")) {
		if r[0] != "photo" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, "photos", r[1]))
		if err != nil {
			t.Fatal(err)
		}
		var pic codec.Picture
		if err := codec.DecodePGM(data, codec.Limits{}.WithDefaults(), &pic); err != nil {
			t.Fatal(err)
		}
		if got := phash.Sum(pic.Y); distance(got, parse(t, r[4])) > 2 {
			t.Errorf("%s: %s, want %s", r[1], got, r[4])
		}
	}
}

// TestStable holds the hash still where a fixed camera's picture hardly changes.
func TestStable(t *testing.T) {
	for _, name := range []string{"clouds", "blocks", "letterbox", "zone"} {
		p := codectest.Plane(name, 1280, 720, 1280)
		want := phash.Sum(p)
		for i, n := range codectest.Gen("noise", p.Width, p.Height) {
			p.Pix[i] = byte(min(255, int(p.Pix[i])+int(n)/64)) // a little light, a little noise
		}
		if d := distance(phash.Sum(p), want); d > 2 {
			t.Errorf("%s: %d bits from a little noise", name, d)
		}
	}
}

func TestFirstBitIsDC(t *testing.T) {
	if h := phash.Sum(codectest.Plane("clouds", 640, 360, 640)); h>>63 != 1 {
		t.Errorf("%s: the mean is not above the median", h)
	}
}

func TestSumRefusesBrokenPlanes(t *testing.T) {
	for _, p := range []codec.Plane{
		{}, {Pix: make([]byte, 10), Width: 100, Height: 100, Stride: 100}, {Pix: make([]byte, 100), Width: 10, Height: 10, Stride: 5},
		{Pix: make([]byte, 16), Width: 4, Height: 4, Stride: 4},
	} {
		if got := phash.Sum(p); got != 0 {
			t.Errorf("Sum(%dx%d) = %s, want the empty hash", p.Width, p.Height, got)
		}
	}
}

func TestSumAllocatesNothing(t *testing.T) {
	p := codectest.Plane("clouds", 640, 360, 640)
	var h phash.Hasher
	h.Sum(p)
	if n := testing.AllocsPerRun(10, func() { h.Sum(p) }); n != 0 {
		t.Errorf("%v allocations a frame, want none", n)
	}
}

func ExampleSum() {
	fmt.Println(phash.Sum(codectest.Plane("clouds", 1280, 720, 1280)))
	// Output: a1f84c995bd2439d
}

// TestCheck: the build under test is sound.
func TestCheck(t *testing.T) {
	if err := phash.Check(); err != nil {
		t.Error(err)
	}
}
