package pdq_test

import (
	"encoding/csv"
	"fmt"
	"math"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/internal/synthetic"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func Example() {
	hash, quality := pdq.Sum(synthetic.Gray("clouds", 512, 512))
	fmt.Println(hash, quality)
	// Output: 3a0665fe7f4536c1060d516b8469768df7834b6e242e480e30de1987dd33df33 100
}

func rows(t *testing.T, file string) [][]string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return all[1:]
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func distance(a, b fleet.PDQ) (n int) {
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

// padded returns p with a stride larger than its width and bytes after it that
// must not be read.
func padded(p codec.Plane) codec.Plane {
	q := codec.Plane{Width: p.Width, Height: p.Height, Stride: p.Width + 13}
	q.Pix = slices.Repeat([]byte{0xaa}, q.Stride*p.Height)
	for y := range p.Height {
		copy(q.Pix[y*q.Stride:], p.Row(y))
	}
	return q
}

// check holds a hash against a row's class: firm rows are equal on every build
// of the reference, thin ones may swap one pair of bits, undefined ones are
// noise.
func check(t *testing.T, name, class string, got, want fleet.PDQ, q, wantQ uint8) {
	t.Helper()
	if q != wantQ {
		t.Errorf("%s: quality %d, want %d", name, q, wantQ)
	}
	most := map[string]int{"firm": 0, "tiny": 0, "thin": 2, "undefined": 256}[class]
	if d := distance(got, want); d > most {
		t.Errorf("%s (%s): %d bits off\n got %s\nwant %s", name, class, d, got, want)
	}
}

func parse(t *testing.T, text string) (h fleet.PDQ) {
	t.Helper()
	if err := h.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return h
}

func TestReference(t *testing.T) {
	for _, r := range rows(t, "testdata/synthetic.csv") {
		w, h := number(t, r[1]), number(t, r[2])
		name := fmt.Sprintf("%s %dx%d", r[0], w, h)
		p := synthetic.Gray(r[0], w, h)
		hash, q := pdq.Sum(p)
		check(t, name, r[3], hash, parse(t, r[5]), q, uint8(number(t, r[4])))
		if again, q2 := pdq.Sum(padded(p)); again != hash || q2 != q {
			t.Errorf("%s: another hash with another stride", name)
		}
	}
}

func TestReferenceColours(t *testing.T) {
	for _, r := range rows(t, "testdata/synthetic-rgb.csv") {
		w, h := number(t, r[3]), number(t, r[4])
		var c [3]codec.Plane
		for i := range c {
			c[i] = synthetic.Gray(r[i], w, h)
		}
		luma := make([]float32, w*h)
		for i := range luma {
			luma[i] = 0.299*float32(c[0].Pix[i]) + 0.587*float32(c[1].Pix[i]) + 0.114*float32(c[2].Pix[i])
		}
		var b pdq.Buffer64
		pdq.ReduceExact(luma, w, h, &b)
		check(t, r[0]+r[1]+r[2], r[5], b.Hash(), parse(t, r[7]), b.Quality(), uint8(number(t, r[6])))
	}
}

// plain is the published algorithm in float64, without any idea: filter the
// whole picture, then sample it.
func plain(p codec.Plane) (out [64][64]float64) {
	w, h := p.Width, p.Height
	img := make([]float64, w*h)
	for y := range h {
		for x, v := range p.Row(y) {
			img[y*w+x] = float64(v)
		}
	}
	box := func(n, stride, lines, step int) {
		win := (n + 127) / 128
		for l := range lines {
			in := make([]float64, n)
			for i := range in {
				in[i] = img[l*step+i*stride]
			}
			for o := range in {
				lo := max(0, o+(win+2)/2-win)
				hi := min(n, o+(win+2)/2-win+win)
				s := 0.0
				for _, v := range in[lo:hi] {
					s += v
				}
				img[l*step+o*stride] = s / float64(hi-lo)
			}
		}
	}
	if w != 64 || h != 64 {
		for range 2 {
			box(w, 1, h, w)
			box(h, w, w, 1)
		}
	}
	for i := range out {
		for j := range out[i] {
			out[i][j] = img[int((float64(i)+0.5)*float64(h)/64)*w+int((float64(j)+0.5)*float64(w)/64)]
		}
	}
	return out
}

func TestReduceAgainstPlain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, h := rapid.IntRange(5, 700).Draw(t, "w"), rapid.IntRange(5, 400).Draw(t, "h")
		p := synthetic.Gray(rapid.SampledFrom(synthetic.Names).Draw(t, "name"), w, h)
		want := plain(p)
		var b pdq.Buffer64
		pdq.Reduce(p, &b)
		for i := range want {
			for j, v := range want[i] {
				if d := math.Abs(v - float64(b[i*64+j])); d > 1e-4 {
					t.Fatalf("(%d,%d) = %v, want %v", i, j, b[i*64+j], v)
				}
			}
		}
	})
}

func BenchmarkSum1080p(b *testing.B) {
	p := synthetic.Gray("clouds", 1920, 1080)
	b.ReportAllocs()
	for b.Loop() {
		pdq.Sum(p)
	}
}
