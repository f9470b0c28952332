package h264

import (
	"bytes"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestPartial decodes key frames without some of their slices, of which each is
// a row of macroblocks here.
func TestPartial(t *testing.T) {
	const w, h, rows = 128, 96, 6
	for _, params := range []string{"slices=6:qp=24", "slices=6:qp=20:cabac=0"} {
		all := units(x264(t, "yuv420p", params, "1"))
		first := len(all) - rows
		var d Decoder
		var whole, pic codec.Picture
		if err := d.Decode(t.Context(), bytes.Join(all, nil), Options{Chroma: true, Partial: true}, &whole); err != nil || whole.Missing != 0 {
			t.Fatalf("%s: %v of the whole is missing, %v", params, whole.Missing, err)
		}
		next := &stream{} // another picture behind it, of another size
		next.params(layout{w: 3, h: 1})
		next.header(layout{}, 0, 7, false)
		next.nal(0x65, true)
		for _, c := range []struct {
			lost []int
			says string // with Partial; empty when it decodes
		}{
			{[]int{0}, ""},
			{[]int{3}, ""},
			{[]int{5}, ""},
			{[]int{0, 2, 5}, ""},
			{[]int{3, 4, 5}, ""},
			{[]int{1, 2, 3, 4}, "4 of 6 rows of macroblocks are missing"},
			{[]int{0, 1, 2, 3, 4}, "5 of 6 rows of macroblocks are missing"},
		} {
			gone := [rows]bool{}
			for _, i := range c.lost {
				gone[i] = true
			}
			var data []byte
			for i, u := range all {
				if i < first || !gone[i-first] {
					data = append(data, u...)
				}
			}
			if err := d.Decode(t.Context(), data, Options{}, &pic); cause(err) != fleet.CauseCorrupt || !strings.Contains(err.Error(), "of 6 rows of macroblocks are missing") {
				t.Errorf("%s without %v, whole pictures wanted: %v", params, c.lost, err)
			}
			for _, tail := range [][]byte{nil, next.out} {
				err := d.Decode(t.Context(), append(bytes.Clone(data), tail...), Options{Chroma: true, Deblock: true, Partial: true}, &pic)
				if c.says != "" {
					if cause(err) != fleet.CauseCorrupt || !strings.Contains(err.Error(), c.says) {
						t.Errorf("%s without %v: %v", params, c.lost, err)
					}
					continue
				}
				if want := float32(len(c.lost)) / rows; err != nil || pic.Missing != want || pic.Y.Width != w || pic.Y.Height != h || !pic.HasChroma() {
					t.Errorf("%s without %v: %v, %dx%d, %v is missing, want %v", params, c.lost, err, pic.Y.Width, pic.Y.Height, pic.Missing, want)
					continue
				}
				for i, p := range []codec.Plane{pic.Y, pic.Cb, pic.Cr} {
					ref := []codec.Plane{whole.Y, whole.Cb, whole.Cr}[i]
					for y := range p.Height {
						want := ref.Row(y)
						if gone[y*rows/p.Height] {
							want = bytes.Repeat([]byte{128}, p.Width)
						}
						if !bytes.Equal(p.Row(y), want) {
							t.Fatalf("%s without %v: row %d of plane %d differs", params, c.lost, y, i)
						}
					}
				}
			}
		}
	}
}

// TestPartialDamage cuts a single slice short, and breaks one of several.
func TestPartialDamage(t *testing.T) {
	for _, params := range []string{"qp=24", "qp=20:cabac=0"} {
		sound := x264(t, "yuv420p", params, "1")
		var d Decoder
		var whole, pic codec.Picture
		if err := d.Decode(t.Context(), sound, Options{}, &whole); err != nil {
			t.Fatal(err)
		}
		before := float32(1)
		decodes := 0
		for _, keep := range []int{30, 50, 70, 80, 90, 99} {
			err := d.Decode(t.Context(), sound[:len(sound)*keep/100], Options{Partial: true}, &pic)
			if err != nil {
				if cause(err) != fleet.CauseCorrupt {
					t.Errorf("%s, %d %% of it: %v", params, keep, err)
				}
				continue
			}
			if decodes++; pic.Missing <= 0 || pic.Missing > 0.5 || pic.Missing > before {
				t.Errorf("%s, %d %% of it: %v is missing, and %v of less", params, keep, pic.Missing, before)
			}
			before = pic.Missing
			// What came before the cut is right: but for the few macroblocks that
			// zeros behind it make, and the row that they are in.
			good := int((1-pic.Missing)*6)*16 - 32
			for y := range good {
				if !bytes.Equal(pic.Y.Row(y), whole.Y.Row(y)) {
					t.Fatalf("%s, %d %% of it, %v missing: row %d differs", params, keep, pic.Missing, y)
				}
			}
		}
		if decodes < 2 {
			t.Errorf("%s: %d cut pictures were shown", params, decodes)
		}
	}
	all := units(x264(t, "yuv420p", "slices=3:qp=24:cabac=0", "1"))
	broken := all[len(all)-2]
	for i := len(broken) / 2; i < len(broken)-1; i++ {
		broken[i] = 0xff
	}
	var d Decoder
	var pic codec.Picture
	if err := d.Decode(t.Context(), bytes.Join(all, nil), Options{Partial: true}, &pic); err != nil || pic.Missing <= 0 || pic.Missing >= 1./3 {
		t.Errorf("a slice broken in its middle: %v, %v is missing", err, pic.Missing)
	}
	if err := d.Decode(t.Context(), bytes.Join(all, nil), Options{}, &pic); cause(err) != fleet.CauseCorrupt || !strings.Contains(err.Error(), "damaged at macroblock") {
		t.Errorf("a slice broken in its middle, whole pictures wanted: %v", err)
	}
}

// TestManyBrokenSlices: a stream that brings one slice again and again is given
// up, before it costs what its bytes would allow: two seconds and 185 MB for 8 MB.
func TestManyBrokenSlices(t *testing.T) {
	for _, params := range []string{"slices=6:qp=24", "slices=6:qp=20:cabac=0"} {
		all := units(x264(t, "yuv420p", params, "1"))
		most := bytes.Join(all[:len(all)-1], nil)
		again := all[len(all)-6][:14]
		var d Decoder
		var pic codec.Picture
		for n, ok := range map[int]bool{0: true, 1: true, mostBroken: true, mostBroken + 1: false, 100_000: false} {
			data := append(bytes.Clone(most), bytes.Repeat(again, n)...)
			err := d.Decode(t.Context(), data, Options{Partial: true}, &pic)
			if (err == nil) != ok || !ok && !isCorrupt(err) || ok && pic.Missing == 0 {
				t.Errorf("%s: with %d broken slices: %v, %v is missing", params, n, err, pic.Missing)
			}
			if cap(d.slices) > 2*(mostBroken+8) {
				t.Errorf("%s: with %d broken slices the decoder keeps room for %d", params, n, cap(d.slices))
			}
		}
	}
}
