package jpeg_test

import (
	"bytes"
	"context"
	"errors"
	"image"
	stdjpeg "image/jpeg"
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// segment is a marker segment.
func segment(marker byte, body ...byte) []byte {
	return append([]byte{0xFF, marker, byte((len(body) + 2) >> 8), byte(len(body) + 2)}, body...)
}

// named is a baseline picture whose components have other names.
func named(data []byte, ids string) []byte {
	data = bytes.Clone(data)
	sof, sos := bytes.Index(data, []byte{0xFF, 0xC0}), bytes.Index(data, []byte{0xFF, 0xDA})
	for k := range 3 {
		data[sof+10+3*k], data[sos+5+2*k] = ids[k], ids[k]
	}
	return data
}

// TestWhichColors holds what says whether a picture is YCbCr or RGB against the
// standard library: JFIF, then Adobe's segment, then the components' names.
func TestWhichColors(t *testing.T) {
	const rgbNames, names = "RGB", "\x01\x02\x03"
	sound := read(t, "baseline444.jpg")
	for i, jfif := range [][]byte{nil, segment(0xE0, []byte("JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")...), segment(0xE0, []byte("JFXX\x00\x10")...)} {
		for _, adobe := range []int{-1, 0, 1} {
			for _, ids := range []string{names, rgbNames} {
				data := named(without(without(sound, 0xE0), 0xEE), ids)
				var extra []byte
				if adobe >= 0 {
					extra = segment(0xEE, append([]byte("Adobe\x00\x64\x00\x00\x00\x00"), byte(adobe))...)
				}
				data = slices.Concat(data[:2], jfif, extra, data[2:])
				judged := data
				if adobe == 1 { // the names say nothing then: libjpeg holds it so, and the standard library not
					judged = named(data, names)
				}
				want, err := stdjpeg.Decode(bytes.NewReader(judged))
				if err != nil {
					t.Fatal(err)
				}
				var d jpeg.Decoder
				var pic codec.Picture
				if err := d.Decode(t.Context(), data, jpeg.Options{}, &pic); err != nil {
					t.Fatal(err)
				}
				coded := want
				if m, ok := want.(*image.YCbCr); ok {
					coded = &image.Gray{Pix: m.Y, Stride: m.YStride, Rect: m.Rect}
				}
				worst := 0
				for y := range pic.Y.Height {
					for x, v := range pic.Y.Row(y) {
						r, g, b, _ := coded.At(x, y).RGBA()
						e := int(v) - int((299*r+587*g+114*b)/1000>>8)
						worst = max(worst, e, -e)
					}
				}
				if worst > 2 {
					t.Errorf("application segment %d, Adobe %d, components %q: up to %d levels from the standard library's %T", i, adobe, ids, worst, want)
				}
			}
		}
	}
}

// asked is a context that ends once it was asked n times.
type asked struct {
	context.Context
	n int
}

func (a *asked) Err() error {
	if a.n--; a.n < 0 {
		return context.Canceled
	}
	return nil
}

// TestContextIsAskedEachRow: a context ends a picture at each row of MCUs.
func TestContextIsAskedEachRow(t *testing.T) {
	const rows = 4 // 61 lines of 16
	var d jpeg.Decoder
	var pic codec.Picture
	for _, name := range []string{"baseline420.jpg", "progressive420.jpg", "one-scan-each.jpg"} {
		for n := range rows {
			if err := d.Decode(&asked{t.Context(), n}, read(t, name), jpeg.Options{}, &pic); cause(err) != fleet.CauseTimeout {
				t.Errorf("%s: a context that ends at row %d: %v", name, n, err)
			}
		}
	}
}

// TestScansAreCounted: also those that nobody asked for, and 100 are enough
// unless the caller says otherwise.
func TestScansAreCounted(t *testing.T) {
	sound := read(t, "progressive420.jpg")
	end := bytes.LastIndex(sound, []byte{0xFF, 0xD9})
	// A scan of Cb's highest coefficients, of blocks without any.
	scan := slices.Concat(segment(0xDA, 1, 2, 0, 60, 63, 0), make([]byte, 64))
	var d jpeg.Decoder
	var pic codec.Picture
	for n, want := range map[int]fleet.Cause{0: "", 80: "", 101: fleet.CauseTooLarge, 5000: fleet.CauseTooLarge} {
		data := slices.Concat(sound[:end], bytes.Repeat(scan, n), sound[end:])
		if err := d.Decode(t.Context(), data, jpeg.Options{}, &pic); cause(err) != want || (err == nil) != (want == "") {
			t.Errorf("%d scans more: %v", n, err)
		}
	}
	if err := d.Decode(t.Context(), sound, jpeg.Options{Limits: codec.Limits{Scans: 2}}, &pic); cause(err) != fleet.CauseTooLarge {
		t.Errorf("at most two scans: %v", err)
	}
}

// TestOverfullTables refuses Huffman codes that begin one another.
func TestOverfullTables(t *testing.T) {
	sound := read(t, "baseline420.jpg")
	at := bytes.Index(sound, []byte{0xFF, 0xC4})
	for length, counts := range map[int][]byte{1: {3}, 2: {0, 5}, 3: {1, 2, 1}, 9: {0, 0, 0, 0, 0, 0, 0, 255, 3}} {
		table := make([]byte, 17, 17+256)
		table[0] = 0x10
		copy(table[1:], counts)
		n := 0
		for _, c := range counts {
			n += int(c)
		}
		for i := range n {
			table = append(table, byte(i))
		}
		data := slices.Concat(sound[:at], segment(0xC4, table...), sound[at:])
		var d jpeg.Decoder
		var pic codec.Picture
		err := d.Decode(t.Context(), data, jpeg.Options{}, &pic)
		if cause(err) != fleet.CauseCorrupt || errors.Is(err, context.Canceled) {
			t.Errorf("too many codes of %d bits: %v", length, err)
		}
	}
}

// TestBandsEnd: a scan of a progressive picture that brings coefficients beyond
// its own band is broken, for the first bits of them and for those that follow.
func TestBandsEnd(t *testing.T) {
	sound := read(t, "progressive444.jpg")
	var d jpeg.Decoder
	var pic codec.Picture
	first, more := 0, 0
	for at := range sound {
		if !bytes.HasPrefix(sound[at:], []byte{0xFF, 0xDA, 0, 8, 1}) || sound[at+7] == 0 {
			continue // no scan of one component's higher coefficients
		}
		data := bytes.Clone(sound)
		data[at+8] = data[at+7] // its band has one coefficient
		if err := d.Decode(t.Context(), data, jpeg.Options{Chroma: 1 << 16}, &pic); cause(err) != fleet.CauseCorrupt {
			t.Errorf("the scan at %d, coefficient %d alone: %v", at, data[at+7], err)
		}
		if data[at+9]>>4 == 0 {
			first++
		} else {
			more++
		}
	}
	if first < 3 || more < 3 {
		t.Errorf("%d first scans and %d that refine were tried", first, more)
	}
}
