package jpeg_test

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestPartialCut cuts sound pictures at every byte of their data. What came is
// as it was, the rest is gray; of the first half there is no picture.
func TestPartialCut(t *testing.T) {
	for _, name := range []string{"baseline420.jpg", "baseline444.jpg", "gray.jpg", "rgb.jpg", "restart-blocks.jpg", "restart-rows-optimised.jpg"} {
		data := read(t, name)
		for _, o := range []jpeg.Options{{Partial: true}, {Partial: true, Chroma: 1 << 16}, {Partial: true, Scale: 8}} {
			var d jpeg.Decoder
			var whole, pic codec.Picture
			if err := d.Decode(t.Context(), data, o, &whole); err != nil || whole.Missing != 0 {
				t.Fatalf("%s: %v, %v of the whole is missing", name, err, whole.Missing)
			}
			shown, before := 0, float32(1)
			for n := 2; n < len(data)-2; n++ {
				if err := d.Decode(t.Context(), data[:n], o, &pic); err != nil {
					if cause(err) != fleet.CauseCorrupt || shown > 0 {
						t.Fatalf("%s cut to %d of %d bytes: %v (%s)", name, n, len(data), err, cause(err))
					}
					continue
				}
				shown++
				if pic.Missing < 0 || pic.Missing > 0.5 || pic.Missing > before || pic.Y.Width != whole.Y.Width || pic.Y.Height != whole.Y.Height {
					t.Fatalf("%s cut to %d of %d bytes: %v is missing of %dx%d, and %v with less", name, n, len(data), pic.Missing, pic.Y.Width, pic.Y.Height, before)
				}
				before = pic.Missing
				for i, p := range []codec.Plane{pic.Y, pic.Cb, pic.Cr} {
					if !p.Valid() {
						continue // not asked for
					}
					same, other := 0, 0
					for y := range p.Height {
						want := []codec.Plane{whole.Y, whole.Cb, whole.Cr}[i].Row(y)
						for x, v := range p.Row(y) {
							switch v {
							case want[x]:
								same++
							case 128:
							default:
								other++
							}
						}
					}
					// The whole MCUs at the right and lower edge are not all shown.
					if share := float32(same) / float32(same+other+1); other > 0 || float32(same)/float32(p.Width*p.Height+1) < 1-pic.Missing-0.2 {
						t.Fatalf("%s cut to %d of %d bytes, %v missing: plane %d has %v right, %d wrong", name, n, len(data), pic.Missing, i, share, other)
					}
				}
			}
			if shown < len(data)/10 {
				t.Errorf("%s, %+v: shown at %d lengths of %d", name, o, shown, len(data))
			}
		}
	}
}

// TestPartialIntervals loses restart intervals, by damage and with their
// markers: what is behind them is found again.
func TestPartialIntervals(t *testing.T) {
	const name = "restart-rows-optimised.jpg" // an interval is a row of MCUs
	data := read(t, name)
	var marks []int
	for i := bytes.LastIndex(data, []byte{0xFF, 0xDA}) + 2; i+1 < len(data); i++ {
		if data[i] == 0xFF && data[i+1] >= 0xD0 && data[i+1] <= 0xD7 {
			marks = append(marks, i)
		}
	}
	rows := len(marks) + 1
	if rows < 4 {
		t.Fatalf("%s has %d intervals", name, rows)
	}
	var d jpeg.Decoder
	var whole, pic codec.Picture
	if err := d.Decode(t.Context(), data, jpeg.Options{}, &whole); err != nil {
		t.Fatal(err)
	}
	for first := 0; first+2 <= rows; first++ { // intervals first+1 .. last-1 go, with their markers
		for last := first + 2; last <= rows; last++ {
			from, to := len(data), len(data)
			if first < len(marks) {
				from = marks[first]
			}
			if last <= len(marks) {
				to = marks[last-1]
			}
			lost := append(bytes.Clone(data[:from]), data[to:]...)
			if err := d.Decode(t.Context(), lost, jpeg.Options{}, &pic); cause(err) != fleet.CauseCorrupt {
				t.Errorf("without intervals %d to %d, whole pictures wanted: %v", first+1, last-1, err)
			}
			err := d.Decode(t.Context(), lost, jpeg.Options{Partial: true}, &pic)
			gone := last - 1 - first
			if 2*gone > rows {
				if cause(err) != fleet.CauseCorrupt {
					t.Errorf("without intervals %d to %d of %d: %v", first+1, last-1, rows, err)
				}
				continue
			}
			if want := float64(gone) / float64(rows); err != nil || math.Abs(float64(pic.Missing)-want) > 1e-6 {
				t.Errorf("without intervals %d to %d of %d: %v, %v is missing", first+1, last-1, rows, err, pic.Missing)
				continue
			}
			side := (whole.Y.Height + rows - 1) / rows
			side = (side + 7) / 8 * 8
			for y := range pic.Y.Height {
				want := whole.Y.Row(y)
				if i := y / side; i > first && i < last {
					want = bytes.Repeat([]byte{128}, pic.Y.Width)
				}
				if !bytes.Equal(pic.Y.Row(y), want) {
					t.Fatalf("without intervals %d to %d: row %d differs", first+1, last-1, y)
				}
			}
		}
	}
	broken := bytes.Clone(data)
	for i := marks[0] + 6; i < marks[1]-1; i++ {
		broken[i] = 0xFE // no code
	}
	if err := d.Decode(t.Context(), broken, jpeg.Options{Partial: true}, &pic); err != nil || pic.Missing <= 0 || pic.Missing > 1/float32(rows) {
		t.Errorf("one interval of %d is damaged: %v, %v is missing", rows, err, pic.Missing)
	}
}

// TestWithoutEndMarker: a baseline picture whose data came is whole; of others
// nobody knows.
func TestWithoutEndMarker(t *testing.T) {
	var d jpeg.Decoder
	var whole, pic codec.Picture
	for _, c := range []struct {
		name string
		ok   bool
	}{{"baseline420.jpg", true}, {"one-scan-each.jpg", true}, {"restart-blocks.jpg", true}, {"progressive420.jpg", false}} {
		data := read(t, c.name)
		if err := d.Decode(t.Context(), data, jpeg.Options{}, &whole); err != nil {
			t.Fatal(err)
		}
		cut := data[:bytes.LastIndex(data, []byte{0xFF, 0xD9})]
		for behind, data := range map[string][]byte{"nothing": cut, "another picture": append(bytes.Clone(cut), data...)} {
			err := d.Decode(t.Context(), data, jpeg.Options{Partial: true}, &pic)
			if (err == nil) != c.ok || !c.ok && cause(err) != fleet.CauseCorrupt {
				t.Errorf("%s, %s behind: %v", c.name, behind, err)
			}
			if c.ok && (pic.Missing != 0 || digest(pic.Y) != digest(whole.Y)) {
				t.Errorf("%s, %s behind: another picture, %v is missing", c.name, behind, pic.Missing)
			}
			if err := d.Decode(t.Context(), data, jpeg.Options{}, &pic); cause(err) != fleet.CauseCorrupt {
				t.Errorf("%s, %s behind, to the letter: %v", c.name, behind, err)
			}
		}
	}
}

// TestDamageCostsNothing: a picture of very many restart intervals, of which half
// are empty, takes no memory for each: a camera may send one every second.
func TestDamageCostsNothing(t *testing.T) {
	var sound bytes.Buffer
	const side = 1024
	if err := stdjpeg.Encode(&sound, image.NewGray(image.Rect(0, 0, side, side)), nil); err != nil {
		t.Fatal(err)
	}
	head := sound.Bytes()
	sos := bytes.Index(head, []byte{0xFF, 0xDA})
	size := int(head[sos+2])<<8 | int(head[sos+3])
	head = slices.Concat(head[:sos], []byte{0xFF, 0xDD, 0, 4, 0, 1}, head[sos:sos+2+size]) // a restart behind each block
	for name, without := range map[string]bool{"empty intervals": false, "intervals without their markers": true} {
		data := bytes.Clone(head)
		for i := range side * side / 64 {
			bad := i%2 == 1
			if i > 0 && !(bad && without) {
				data = append(data, 0xFF, 0xD0+byte((i-1)%8))
			}
			if !bad {
				data = append(data, 0x2B) // no difference, end of block
			}
		}
		data = append(data, 0xFF, 0xD9)
		var d jpeg.Decoder
		var pic codec.Picture
		if err := d.Decode(t.Context(), data, jpeg.Options{Partial: true}, &pic); err != nil || pic.Missing != 0.5 {
			t.Fatalf("%s: %v, %v is missing", name, err, pic.Missing)
		}
		allocs := testing.AllocsPerRun(2, func() {
			if err := d.Decode(t.Context(), data, jpeg.Options{Partial: true}, &pic); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 20 {
			t.Errorf("%s: %v allocations for %d blocks", name, allocs, side*side/64)
		}
	}
	if err := new(jpeg.Decoder).Decode(t.Context(), head, jpeg.Options{}, new(codec.Picture)); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("without its data: %v", err)
	}
}
