package pdq_test

import (
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// rows reads a table of testdata, whose expected numbers were computed by the
// reference implementation on pictures that codectest draws.
func rows(t testing.TB, name string) []map[string]string {
	t.Helper()
	return table(t, filepath.Join("testdata", name))
}

func table(t testing.TB, path string) []map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var out []map[string]string
	for _, r := range all[1:] {
		m := map[string]string{}
		for i, k := range all[0] {
			m[k] = r[i]
		}
		out = append(out, m)
	}
	return out
}

func number(t testing.TB, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func distance(a, b fleet.PDQ) (d int) {
	for i := range a {
		d += bits.OnesCount8(a[i] ^ b[i])
	}
	return d
}

func parse(t testing.TB, s string) (p fleet.PDQ) {
	t.Helper()
	if err := p.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return p
}

func sha(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }

func TestSynthetic(t *testing.T) {
	var h pdq.Hasher // one for all: sizes change under it
	for _, r := range rows(t, "pdq_synthetic.csv") {
		w, ht := number(t, r["w"]), number(t, r["h"])
		pix := codectest.Gen(r["name"], w, ht)
		if got := sha(pix); got != r["sha256_pixels"] {
			t.Fatalf("%s %dx%d: the picture itself differs: %s", r["name"], w, ht, got)
		}
		for _, stride := range []int{w, w + 13} {
			got, quality := h.Sum(codectest.Plane(r["name"], w, ht, stride))
			if int(quality) != number(t, r["quality"]) {
				t.Errorf("%s %dx%d: quality %d, want %s", r["name"], w, ht, quality, r["quality"])
			}
			if d := distance(got, parse(t, r["pdq"])); d != 0 && r["class"] != "undefined" {
				t.Errorf("%s %dx%d (%s): %d bits from the reference", r["name"], w, ht, r["class"], d)
			}
		}
	}
}

func TestSyntheticColour(t *testing.T) {
	var h pdq.Hasher
	for _, r := range rows(t, "pdq_synthetic_rgb.csv") {
		w, ht := number(t, r["w"]), number(t, r["h"])
		red, green, blue := codectest.Gen(r["r"], w, ht), codectest.Gen(r["g"], w, ht), codectest.Gen(r["b"], w, ht)
		luma := make([]float32, w*ht)
		for i := range luma {
			luma[i] = codec.Luma(red[i], green[i], blue[i])
		}
		var g codec.Grid
		if !h.ReduceExact(luma, w, ht, &g) {
			t.Fatal("not reduced")
		}
		if got := h.SumGrid(&g); got.String() != r["pdq"] {
			t.Errorf("%s/%s/%s %dx%d: %s, want %s", r["r"], r["g"], r["b"], w, ht, got, r["pdq"])
		}
		if got := pdq.Quality(&g); int(got) != number(t, r["quality"]) {
			t.Errorf("quality %d, want %s", got, r["quality"])
		}
	}
}

func TestDihedral(t *testing.T) {
	var h pdq.Hasher
	for _, r := range rows(t, "pdq_dihedral.csv") {
		var g codec.Grid
		w := number(t, r["w"])
		if !h.Reduce(codectest.Plane(r["name"], w, number(t, r["h"]), w), &g) {
			t.Fatal("not reduced")
		}
		d := h.SumDihedral(&g)
		for name, got := range map[string]fleet.PDQ{
			"original": d.Original, "rotate90": d.Rotate90, "rotate180": d.Rotate180, "rotate270": d.Rotate270,
			"flipx": d.FlipX, "flipy": d.FlipY, "flipplus1": d.FlipPlus1, "flipminus1": d.FlipMinus1,
		} {
			if got.String() != r[name] {
				t.Errorf("%s %s: %s, want %s", r["name"], name, got, r[name])
			}
		}
	}
}

// TestPhotos compares with the reference on pictures that are not part of this
// repository: PDQ_VECTORS names a folder with pdq_photos_gray.csv (columns
// file, w, h, sha256_pixels, pdq, quality, gap, class) and photos/*.pgm.
func TestPhotos(t *testing.T) {
	dir := os.Getenv("PDQ_VECTORS")
	if dir == "" {
		t.Skip("PDQ_VECTORS names no folder; the drawn pictures of TestSynthetic bear the parity")
	}
	var h pdq.Hasher
	for _, r := range table(t, filepath.Join(dir, "pdq_photos_gray.csv")) {
		data, err := os.ReadFile(filepath.Join(dir, "photos", r["file"]))
		if err != nil {
			t.Fatal(err)
		}
		var pic codec.Picture
		if err := codec.DecodePGM(data, codec.Limits{}.WithDefaults(), &pic); err != nil {
			t.Fatal(err)
		}
		got, quality := h.Sum(pic.Y)
		if int(quality) != number(t, r["quality"]) || got.String() != r["pdq"] {
			t.Errorf("%s (%s): %s with quality %d, want %s with %s", r["file"], r["class"], got, quality, r["pdq"], r["quality"])
		}
	}
}

func TestSumRefusesBrokenPlanes(t *testing.T) {
	for _, p := range []codec.Plane{
		{}, {Pix: make([]byte, 10), Width: 100, Height: 100, Stride: 100}, {Pix: make([]byte, 100), Width: 10, Height: 10, Stride: 5},
		{Pix: make([]byte, 16), Width: 4, Height: 4, Stride: 4},
	} {
		if got, q := pdq.Sum(p); got != (fleet.PDQ{}) || q != 0 {
			t.Errorf("Sum(%dx%d) = %s, %d: want the empty hash", p.Width, p.Height, got, q)
		}
	}
}

func TestSumAllocatesNothing(t *testing.T) {
	p := codectest.Plane("clouds", 640, 360, 640)
	var h pdq.Hasher
	h.Sum(p)
	if n := testing.AllocsPerRun(10, func() { h.Sum(p) }); n != 0 {
		t.Errorf("%v allocations a frame, want none", n)
	}
}

func ExampleHasher_Sum() {
	plane := codectest.Plane("clouds", 512, 512, 512)
	var h pdq.Hasher
	hash, quality := h.Sum(plane)
	fmt.Println(hash, quality)
	// Output: 3a0665fe7f4536c1060d516b8469768df7834b6e242e480e30de1987dd33df33 100
}
