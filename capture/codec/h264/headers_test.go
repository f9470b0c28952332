package h264

import (
	"bytes"
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// heading is a slice header with what cameras vary, and the sets it is read by.
// The zero one is of a key frame in one slice.
type heading struct {
	pocType   int  // pic_order_cnt_type 0 or 1, of lsb bits or deltas
	bottom    bool // bottom_field_pic_order_in_frame_present_flag
	initQP    int  // pic_init_qp_minus26
	cr        int  // chroma_qp_index_offset
	inter     bool // no IDR picture: nal_unit_type 1
	unneeded  bool // nal_ref_idc 0
	frameNum  uint32
	id        uint32 // idr_pic_id
	lsb       uint32
	deltas    [2]int
	marking   []uint32 // memory_management_control_operation and operands, of other pictures than IDR
	qpDelta   int
	deblock   uint32 // disable_deblocking_filter_idc
	offsets   [2]int
	sliceType uint32
}

func (s *stream) sets(h heading, w, high int) {
	s.u(8, 66)
	s.u(16, 40)
	s.ue(0)
	s.ue(0)
	s.ue(uint32(h.pocType))
	if h.pocType == 0 {
		s.ue(2) // 6 bits
	} else {
		s.u(1, 0) // delta_pic_order_always_zero_flag
		s.se(-3)
		s.se(3)
		s.ue(2)
		s.se(-1)
		s.se(1)
	}
	s.ue(1)
	s.u(1, 0)
	s.ue(uint32(w - 1))
	s.ue(uint32(high - 1))
	s.u(4, 0xc)
	s.nal(0x67, true)

	s.ue(0)
	s.ue(0)
	s.u(1, 0)
	s.u(1, bit(h.bottom))
	s.ue(0)
	s.ue(0)
	s.ue(0)
	s.u(3, 0)
	s.se(h.initQP)
	s.se(0)
	s.se(h.cr)
	s.u(3, 4) // deblocking_filter_control_present_flag
	s.nal(0x68, true)
}

// slice writes a slice of n I_PCM macroblocks of one level.
func (s *stream) slice(h heading, first, n int, level byte) {
	s.ue(uint32(first))
	s.ue(h.sliceType)
	s.ue(0)
	s.u(4, h.frameNum)
	if !h.inter {
		s.ue(h.id)
	}
	if h.pocType == 0 {
		s.u(6, h.lsb)
		if h.bottom {
			s.se(h.deltas[0])
		}
	} else {
		s.se(h.deltas[0])
		if h.bottom {
			s.se(h.deltas[1])
		}
	}
	header := byte(0x65)
	switch {
	case h.inter && h.unneeded:
		header = 0x01
	case h.inter:
		header = 0x61
		s.u(1, bit(h.marking != nil))
		for _, v := range h.marking {
			s.ue(v)
		}
	default:
		s.u(2, 0)
	}
	s.se(h.qpDelta)
	s.ue(h.deblock)
	if h.deblock != 1 {
		s.se(h.offsets[0])
		s.se(h.offsets[1])
	}
	for range n {
		s.ue(25)
		s.align(0)
		for range 384 {
			s.u(8, uint32(level))
		}
	}
	s.nal(header, true)
}

// TestSliceHeaders reads headers with all that may stand in them. A field that
// is passed over wrongly leaves no picture behind it.
func TestSliceHeaders(t *testing.T) {
	for name, c := range map[string]struct {
		h    heading
		want fleet.Cause
	}{
		"plain":                             {heading{sliceType: 7}, ""},
		"one I slice of several kinds":      {heading{sliceType: 2}, ""},
		"order count":                       {heading{sliceType: 7, lsb: 63}, ""},
		"order count of two fields":         {heading{sliceType: 7, bottom: true, deltas: [2]int{-900}}, ""},
		"order by cycles":                   {heading{sliceType: 7, pocType: 1, deltas: [2]int{300}}, ""},
		"order by cycles, of two fields":    {heading{sliceType: 7, pocType: 1, bottom: true, deltas: [2]int{-300, 77}}, ""},
		"an I picture":                      {heading{sliceType: 7, inter: true}, ""},
		"an I picture that none refers to":  {heading{sliceType: 7, inter: true, unneeded: true}, ""},
		"marking: nothing":                  {heading{sliceType: 7, inter: true, marking: []uint32{0}}, ""},
		"marking: all operations":           {heading{sliceType: 7, inter: true, marking: []uint32{1, 9, 2, 8, 3, 1, 6, 4, 5, 5, 6, 3, 0}}, ""},
		"marking: operands of 0":            {heading{sliceType: 7, inter: true, marking: []uint32{3, 0, 1, 3, 1, 0, 2, 0, 4, 0, 6, 0, 0}}, ""},
		"deblocking: off":                   {heading{sliceType: 7, deblock: 1}, ""},
		"deblocking: offsets":               {heading{sliceType: 7, offsets: [2]int{-6, 6}}, ""},
		"deblocking: within the slice":      {heading{sliceType: 7, deblock: 2, offsets: [2]int{5, -5}}, ""},
		"the lowest quantiser":              {heading{sliceType: 7, initQP: -26}, ""},
		"the highest quantiser":             {heading{sliceType: 7, initQP: -26, qpDelta: 51}, ""},
		"the largest chroma offsets":        {heading{sliceType: 7, cr: -12}, ""},
		"no such kind of slice":             {heading{sliceType: 10}, fleet.CauseCorrupt},
		"no such deblocking":                {heading{sliceType: 7, deblock: 3}, fleet.CauseCorrupt},
		"an offset beyond 6":                {heading{sliceType: 7, offsets: [2]int{7, 0}}, fleet.CauseCorrupt},
		"an offset below -6":                {heading{sliceType: 7, offsets: [2]int{0, -7}}, fleet.CauseCorrupt},
		"a quantiser beyond 51":             {heading{sliceType: 7, qpDelta: 26}, fleet.CauseCorrupt},
		"a quantiser below 0":               {heading{sliceType: 7, qpDelta: -27}, fleet.CauseCorrupt},
		"a first quantiser beyond 51":       {heading{sliceType: 7, initQP: 26, qpDelta: -26}, fleet.CauseCorrupt},
		"a first quantiser below 0":         {heading{sliceType: 7, initQP: -27, qpDelta: 26}, fleet.CauseCorrupt},
		"a chroma offset beyond 12":         {heading{sliceType: 7, cr: 13}, fleet.CauseCorrupt},
		"marking that does not end":         {heading{sliceType: 7, inter: true, marking: slices.Repeat([]uint32{5}, 9000)}, fleet.CauseCorrupt},
		"a key frame of the Extended kinds": {heading{sliceType: 4}, fleet.CauseUnsupportedCodec},
	} {
		s := &stream{}
		s.sets(c.h, 2, 2)
		s.slice(c.h, 0, 4, 70)
		var d Decoder
		var pic codec.Picture
		err := d.Decode(t.Context(), s.out, Options{}, &pic)
		if cause(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v (%s), want %q", name, err, cause(err), c.want)
		}
		if err == nil && !bytes.Equal(pic.Y.Pix, bytes.Repeat([]byte{70}, 1024)) {
			t.Errorf("%s: another picture", name)
		}
	}
}

// TestPicturesApart has the upper half of one picture and the lower half of the
// next, which differ in one thing (7.4.1.2.4): no picture comes of them.
func TestPicturesApart(t *testing.T) {
	for name, c := range map[string]struct {
		h, next heading
		one     bool
	}{
		"frame_num":             {heading{sliceType: 7}, heading{sliceType: 7, frameNum: 1}, false},
		"idr_pic_id":            {heading{sliceType: 7}, heading{sliceType: 7, id: 1}, false},
		"lsb":                   {heading{sliceType: 7}, heading{sliceType: 7, lsb: 2}, false},
		"bottom":                {heading{sliceType: 7, bottom: true}, heading{sliceType: 7, bottom: true, deltas: [2]int{1}}, false},
		"the first delta":       {heading{sliceType: 7, pocType: 1}, heading{sliceType: 7, pocType: 1, deltas: [2]int{1}}, false},
		"the second delta":      {heading{sliceType: 7, pocType: 1, bottom: true}, heading{sliceType: 7, pocType: 1, bottom: true, deltas: [2]int{0, 1}}, false},
		"IDR":                   {heading{sliceType: 7}, heading{sliceType: 7, inter: true}, false},
		"whether it is needed":  {heading{sliceType: 7, inter: true}, heading{sliceType: 7, inter: true, unneeded: true}, false},
		"nothing: one picture":  {heading{sliceType: 7}, heading{sliceType: 7}, true},
		"only how it is coded":  {heading{sliceType: 7}, heading{sliceType: 7, qpDelta: 3, deblock: 1}, true},
		"only whether all is I": {heading{sliceType: 7}, heading{sliceType: 2}, true},
	} {
		s := &stream{}
		s.sets(c.h, 2, 2)
		s.slice(c.h, 0, 2, 70)
		s.slice(c.next, 2, 2, 70)
		var d Decoder
		var pic codec.Picture
		if err := d.Decode(t.Context(), s.out, Options{}, &pic); (err == nil) != c.one || !c.one && cause(err) != fleet.CauseCorrupt {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNoLevelHasSoMany refuses what the largest level does not hold, whatever
// the caller's own limit is.
func TestNoLevelHasSoMany(t *testing.T) {
	for _, c := range []struct {
		w, h int
		want fleet.Cause
	}{
		{1055, 132, fleet.CauseCorrupt}, // 139,260 macroblocks, of which none comes
		{132, 1055, fleet.CauseCorrupt},
		{1056, 10, fleet.CauseTooLarge},
		{10, 1056, fleet.CauseTooLarge},
		{1055, 133, fleet.CauseTooLarge},
		{400, 400, fleet.CauseTooLarge},
	} {
		s := &stream{}
		s.sets(heading{}, c.w, c.h)
		s.slice(heading{sliceType: 7}, 0, 0, 0)
		var d Decoder
		var pic codec.Picture
		if err := d.Decode(t.Context(), s.out, Options{Limits: codec.Limits{Pixels: 1 << 30}}, &pic); cause(err) != c.want {
			t.Errorf("%dx%d macroblocks: %v (%s), want %s", c.w, c.h, err, cause(err), c.want)
		}
	}
}
