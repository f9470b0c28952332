package jpeg_test

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
)

// TestKeepingLessChangesNothing: a scale takes a few coefficients of each block,
// and those alone are kept. Asking for Detail keeps all of them: the samples are
// the same, of damaged progressive pictures too, whose scans then refine what
// is not there.
func TestKeepingLessChangesNothing(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.jpg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var few, all jpeg.Decoder
	var a, b codec.Picture
	for _, name := range files {
		name = filepath.Base(name)
		sound := read(t, name)
		rounds, decoded := 1, 0
		if strings.HasPrefix(name, "progressive") {
			rounds = 100
		}
		for round := range rounds {
			data := bytes.Clone(sound)
			if round > 0 {
				data[len(data)/4+r.IntN(len(data)*3/4)] ^= 1 << r.IntN(8)
			}
			for _, scale := range []int{1, 2, 4, 8} {
				one := few.Decode(t.Context(), data, jpeg.Options{Scale: scale}, &a)
				other := all.Decode(t.Context(), data, jpeg.Options{Scale: scale, Detail: new(jpeg.Detail)}, &b)
				// To 1/8, scans of other coefficients are not looked into.
				if cause(one) != cause(other) && scale != 8 {
					t.Fatalf("%s at 1/%d, damaged %v: %v, and with all kept %v", name, scale, round > 0, one, other)
				}
				if one != nil || other != nil {
					continue
				}
				decoded++
				if digest(a.Y) != digest(b.Y) {
					t.Fatalf("%s at 1/%d, damaged %v: the samples differ from those with all kept", name, scale, round > 0)
				}
			}
		}
		if decoded < rounds && name != "arithmetic.jpg" {
			t.Errorf("%s: only %d pictures of %d rounds were compared", name, decoded, rounds)
		}
	}
}

// TestProgressiveIsBaseline: the same coefficients, coded either way, come out as
// the same samples at every scale.
func TestProgressiveIsBaseline(t *testing.T) {
	var d jpeg.Decoder
	var a, b codec.Picture
	for _, scale := range []int{1, 2, 4, 8} {
		o := jpeg.Options{Scale: scale}
		if err := d.Decode(t.Context(), read(t, "gray.jpg"), o, &a); err != nil {
			t.Fatal(err)
		}
		if err := d.Decode(t.Context(), read(t, "progressive-gray.jpg"), o, &b); err != nil {
			t.Fatal(err)
		}
		if worst, _ := differ(t, a.Y, b.Y); worst > 0 {
			t.Errorf("at 1/%d samples are up to %d apart", scale, worst)
		}
	}
}
