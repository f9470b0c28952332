package h264

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// decoded is the luma of a stream.
func decoded(t *testing.T, data []byte) []byte {
	t.Helper()
	var d Decoder
	var pic codec.Picture
	if err := d.Decode(t.Context(), data, Options{Deblock: true}, &pic); err != nil {
		t.Fatal(err)
	}
	var luma []byte
	for y := range pic.Y.Height {
		luma = append(luma, pic.Y.Row(y)...)
	}
	return luma
}

// TestUnitsOfOthers decodes key frames among what cameras send with them: units
// of other layers and views, fillers, and bytes between units.
func TestUnitsOfOthers(t *testing.T) {
	for _, params := range []string{"slices=3:qp=24", "slices=3:qp=24:cabac=0"} {
		all := units(x264(t, "yuv420p", params, "1"))
		want := decoded(t, bytes.Join(all, nil))
		code := []byte{0, 0, 1}
		unit := func(b ...byte) []byte { return append(code[:3:3], b...) }
		for name, c := range map[string]struct{ before, after []byte }{ // each slice
			"prefix units (SVC, MVC)":      {unit(0x6e, 0x40, 0x80, 0x07, 0x2f), nil},
			"slices of another view (MVC)": {nil, unit(0x74, 0x40, 0x80, 0x07, 0x88, 0x84, 0x21)},
			"slices of a depth view":       {nil, unit(0x75, 0x40, 0x80, 0x07, 0x88, 0x84, 0x21)},
			"an auxiliary picture":         {nil, unit(0x33, 0x88, 0x84, 0x21)},
			"a subset parameter set":       {unit(0x6f, 0x53, 0x00, 0x1e, 0xac), nil},
			"fillers":                      {nil, unit(12, 0xff, 0xff, 0xff, 0x80)},
			"reserved and private units":   {unit(0x16, 1, 2, 3), unit(0x78, 0xff)},
			"a unit that is broken":        {unit(0xe5, 0x88), nil},
			"empty units":                  {code, code},
			"trailing zeros":               {nil, make([]byte, 40)},
			"long start codes":             {[]byte{0}, nil},
		} {
			var data []byte
			for _, u := range all {
				if u[3]&31 != nalIDR {
					data = append(data, u...)
					continue
				}
				data = append(append(append(data, c.before...), u...), c.after...)
			}
			if !bytes.Equal(decoded(t, data), want) {
				t.Errorf("%s, %s: another picture", params, name)
			}
		}
		// Whole pictures have more around them: a delimiter, SEI, an end.
		data := slices.Concat(make([]byte, 7), unit(9, 0x10), all[0], all[1], unit(0x6d, 0x80), unit(6, 5, 1, 0xff, 0x80), bytes.Join(all[2:], nil), unit(10), unit(11))
		if !bytes.Equal(decoded(t, data), want) {
			t.Errorf("%s: another picture with a delimiter, SEI and an end", params)
		}
		if data = slices.Concat([]byte("not video"), bytes.Join(all, nil)); !bytes.Equal(decoded(t, data), want) {
			t.Errorf("%s: another picture behind bytes that are no stream", params)
		}
	}
	// cabac_zero_words behind each slice, 7.4.2.10.
	all := units(x264(t, "yuv420p", "slices=3:qp=24", "1"))
	var data []byte
	for _, u := range all {
		data = append(data, u...)
		if u[3]&31 == nalIDR {
			data = append(data, bytes.Repeat([]byte{0, 0, 3}, 9)...)
		}
	}
	if !bytes.Equal(decoded(t, data), decoded(t, bytes.Join(all, nil))) {
		t.Error("another picture with cabac_zero_words")
	}
}

// sequence is a sequence parameter set of what cameras vary. The zero one has
// frame_num of 4 bits and no picture order count, and fits stream.header.
type sequence struct {
	id, w, h int
	mono     bool    // High profile without color
	cycle    []int   // offsets of pic_order_cnt_type 1
	refs     uint32  // max_num_ref_frames
	crop     [4]uint // left, right, top, bottom, in units
	junk     int     // bytes of noise as VUI
}

func (s *stream) sequence(q sequence, rng *rand.Rand) {
	if q.mono {
		s.u(8, 100)
	} else {
		s.u(8, 66)
	}
	s.u(16, 40)
	s.ue(uint32(q.id))
	if q.mono {
		s.ue(0)
		s.ue(0)
		s.ue(0)
		s.u(2, 0)
	}
	s.ue(0)
	if q.cycle == nil {
		s.ue(2)
	} else {
		s.ue(1)
		s.u(1, 1) // delta_pic_order_always_zero_flag
		s.se(1<<31 - 1)
		s.se(-1<<31 + 1)
		s.ue(uint32(len(q.cycle)))
		for _, v := range q.cycle {
			s.se(v)
		}
	}
	s.ue(q.refs)
	s.u(1, 0)
	s.ue(uint32(q.w - 1))
	s.ue(uint32(q.h - 1))
	s.u(2, 3)
	cropped := q.crop != [4]uint{}
	s.u(1, bit(cropped))
	for _, v := range q.crop {
		if cropped {
			s.ue(uint32(v))
		}
	}
	s.u(1, bit(q.junk > 0))
	for range q.junk {
		s.u(8, rng.Uint32()&0xff)
	}
	s.nal(0x67, true)
}

// picture writes a picture parameter set of Baseline.
func (s *stream) picture(id, sequence int, redundant bool) {
	s.ue(uint32(id))
	s.ue(uint32(sequence))
	s.u(2, 0)
	s.ue(0)
	s.ue(0)
	s.ue(0)
	s.u(3, 0)
	s.se(0)
	s.se(0)
	s.se(0)
	s.u(2, 0)
	s.u(1, bit(redundant))
	s.nal(0x68, true)
}

// pcmSlice writes a slice of n I_PCM macroblocks from first on, whose samples
// are all one level. number is redundant_pic_cnt, or below 0 for none.
func (s *stream) pcmSlice(set, first, n, number int, level byte, mono bool) {
	s.ue(uint32(first))
	s.ue(7)
	s.ue(uint32(set))
	s.u(4, 0)
	s.ue(0)
	if number >= 0 {
		s.ue(uint32(number))
	}
	s.u(2, 0)
	s.se(0)
	for range n {
		s.ue(25)
		s.align(0)
		for range map[bool]int{false: 384, true: 256}[mono] {
			s.u(8, uint32(level))
		}
	}
	s.nal(0x65, true)
}

// TestSequences decodes under sequence parameter sets that x264 does not write.
func TestSequences(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	for name, q := range map[string]sequence{
		"plain":                    {w: 3, h: 2},
		"the last number":          {w: 3, h: 2, id: 31},
		"noise as VUI":             {w: 3, h: 2, junk: 60},
		"a cycle of order counts":  {w: 3, h: 2, cycle: []int{2, -7, 1<<31 - 1}},
		"an empty cycle":           {w: 3, h: 2, cycle: []int{}},
		"the longest cycle":        {w: 3, h: 2, cycle: make([]int, 255)},
		"16 reference frames":      {w: 3, h: 2, refs: 16},
		"a count of references":    {w: 3, h: 2, refs: 1<<31 - 3},
		"cropped at the end":       {w: 3, h: 2, crop: [4]uint{0, 3, 0, 4}},
		"cropped on all sides":     {w: 3, h: 2, crop: [4]uint{1, 2, 3, 4}},
		"gray":                     {w: 3, h: 2, mono: true},
		"gray, cropped to be odd":  {w: 3, h: 2, mono: true, crop: [4]uint{1, 2, 3, 5}},
		"cropped to one sample":    {w: 3, h: 2, mono: true, crop: [4]uint{40, 7, 20, 11}},
		"cropped to two by two":    {w: 3, h: 2, crop: [4]uint{3, 20, 1, 14}},
		"noise as VUI, with edges": {w: 3, h: 2, junk: 200, crop: [4]uint{0, 1, 0, 1}},
	} {
		s := &stream{}
		s.sequence(q, rng)
		s.picture(255, q.id, false)
		for i := range 6 {
			s.pcmSlice(255, i, 1, -1, byte(10+i), q.mono)
		}
		var want []byte
		unit := uint(2)
		if q.mono {
			unit = 1
		}
		for y := q.crop[2] * unit; y < 32-q.crop[3]*unit; y++ {
			for x := q.crop[0] * unit; x < 48-q.crop[1]*unit; x++ {
				want = append(want, byte(10+y/16*3+x/16))
			}
		}
		var d Decoder
		var pic codec.Picture
		if err := d.Decode(t.Context(), s.out, Options{}, &pic); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []byte
		for y := range pic.Y.Height {
			got = append(got, pic.Y.Row(y)...)
		}
		if pic.Y.Width != int(48-(q.crop[0]+q.crop[1])*unit) || !bytes.Equal(got, want) {
			t.Errorf("%s: another picture, of %dx%d", name, pic.Y.Width, pic.Y.Height)
		}
	}
}

// TestSeveralSets has streams with parameter sets of several numbers, changed
// between pictures and given again.
func TestSeveralSets(t *testing.T) {
	s := &stream{}
	s.picture(7, 3, false) // before the sequence that it names
	s.sequence(sequence{id: 0, w: 9, h: 9}, nil)
	s.sequence(sequence{id: 3, w: 2, h: 1}, nil)
	s.picture(0, 0, false)
	s.sequence(sequence{id: 0, w: 8, h: 8}, nil)
	// A picture that is not intra, of the sets with number 0, which are read for it.
	s.ue(0)
	s.ue(5)
	s.ue(0)
	s.u(4, 3)
	s.nal(0x61, true)
	s.sequence(sequence{id: 0, w: 1, h: 2}, nil) // the stream changes its size
	s.picture(0, 0, false)
	middle := len(s.out)
	s.pcmSlice(0, 0, 2, -1, 77, false)
	end := len(s.out)
	s.pcmSlice(7, 0, 2, -1, 99, false)
	if got := decoded(t, s.out); !bytes.Equal(got, bytes.Repeat([]byte{77}, 512)) {
		t.Errorf("the set that was changed: %d samples of %d", len(got), got[0])
	}
	if got := decoded(t, slices.Delete(s.out, middle, end)); !bytes.Equal(got, bytes.Repeat([]byte{99}, 512)) {
		t.Errorf("another set: %d samples of %d", len(got), got[0])
	}
}

// TestRedundantPictures passes over them, whole ones and parts, 7.4.3.
func TestRedundantPictures(t *testing.T) {
	s := &stream{}
	s.sequence(sequence{w: 2, h: 2}, nil)
	s.picture(0, 0, true)
	s.pcmSlice(0, 0, 2, 0, 50, false)
	s.pcmSlice(0, 0, 4, 1, 200, false)
	s.pcmSlice(0, 0, 1, 127, 201, false)
	s.pcmSlice(0, 2, 2, 0, 50, false)
	if got := decoded(t, s.out); !bytes.Equal(got, bytes.Repeat([]byte{50}, 1024)) {
		t.Error("redundant slices show")
	}
}

// TestArbitraryOrder decodes slices of Baseline in all orders.
func TestArbitraryOrder(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		s := &stream{}
		s.sequence(sequence{w: 2, h: 3}, nil)
		s.picture(0, 0, false)
		var want []byte
		for i := range 3 {
			s.pcmSlice(0, 2*order[i], 2, -1, byte(60+order[i]), false)
			want = append(want, bytes.Repeat([]byte{byte(60 + i)}, 512)...)
		}
		if !bytes.Equal(decoded(t, s.out), want) {
			t.Errorf("order %v: another picture", order)
		}
	}
}

// TestFrameNumbers decodes key frames with whatever frame_num, as streams have
// whose count has come round, and of any idr_pic_id.
func TestFrameNumbers(t *testing.T) {
	for _, n := range []uint32{0, 1, 15} {
		for _, id := range []uint32{0, 1, 65535} {
			s := &stream{}
			s.params(layout{w: 1, h: 1})
			for _, level := range []uint32{80, 90} { // the first one is the picture
				s.ue(0)
				s.ue(2)
				s.ue(0)
				s.u(4, n)
				s.ue(id ^ level&1)
				s.u(2, 1) // long_term_reference_flag
				s.se(0)
				s.ue(25)
				s.align(0)
				for range 384 {
					s.u(8, level)
				}
				s.nal(0x25, true)
			}
			if !bytes.Equal(decoded(t, s.out), bytes.Repeat([]byte{80}, 256)) {
				t.Errorf("frame_num %d, idr_pic_id %d: another picture", n, id)
			}
		}
	}
}
