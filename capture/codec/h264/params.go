package h264

import (
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// scaling holds the lists that intra macroblocks use, in zigzag order: Y, Cb
// and Cr of 4x4 blocks, Y of 8x8 blocks (7.4.2.1.1.1, Table 7-2).
type scaling struct {
	m4 [3][16]uint8
	m8 [64]uint8
}

// Default_4x4_Intra and Default_8x8_Intra, Tables 7-3 and 7-4.
var defaultScaling = scaling{
	m4: [3][16]uint8{default4, default4, default4},
	m8: [64]uint8{
		6, 10, 10, 13, 11, 13, 16, 16, 16, 16, 18, 18, 18, 18, 18, 23,
		23, 23, 23, 23, 23, 25, 25, 25, 25, 25, 25, 25, 27, 27, 27, 27,
		27, 27, 27, 27, 29, 29, 29, 29, 29, 29, 29, 31, 31, 31, 31, 31,
		31, 33, 33, 33, 33, 33, 36, 36, 36, 36, 38, 38, 38, 40, 40, 42,
	},
}

var default4 = [16]uint8{6, 13, 13, 20, 20, 20, 28, 28, 28, 28, 32, 32, 32, 37, 37, 42}

// flatScaling is Flat_4x4_16 and Flat_8x8_16.
func flatScaling() (s scaling) {
	for i := range s.m8 {
		s.m8[i] = 16
		s.m4[i>>4%3][i&15] = 16
	}
	return s
}

// scalingLists reads n lists. Those that are absent follow fallback, which is
// the default (rule A) or the sequence's (rule B).
func (r *bitReader) scalingLists(n int, fallback *scaling) scaling {
	s := *fallback
	for i := range n {
		var list, def, inherit []uint8
		switch {
		case i < 3:
			list, def, inherit = s.m4[i][:], default4[:], fallback.m4[0][:]
			if i > 0 {
				inherit = s.m4[i-1][:]
			}
		case i == 6:
			list, def, inherit = s.m8[:], defaultScaling.m8[:], fallback.m8[:]
		case i < 6:
			list = make([]uint8, 16) // inter: read, not used
		default:
			list = make([]uint8, 64)
		}
		if !r.Flag() {
			copy(list, inherit)
			continue
		}
		if r.scalingList(list) {
			copy(list, def)
		}
	}
	return s
}

// scalingList is scaling_list() of 7.3.2.1.1.1. It says whether the default is
// to be used.
func (r *bitReader) scalingList(list []uint8) (useDefault bool) {
	last, next := 8, 8
	for j := range list {
		if next != 0 {
			next = (last + r.SE() + 256) & 255
			if j == 0 && next == 0 {
				return true
			}
		}
		if next != 0 {
			last = next
		}
		list[j] = uint8(last)
	}
	return false
}

// sps is the part of a sequence parameter set that intra pictures need (7.3.2.1.1).
type sps struct {
	chromaFormat  int // chroma_format_idc: 0 monochrome, 1 4:2:0
	mbW, mbH      int // a frame's size in macroblocks
	frameMbsOnly  bool
	mbaff         bool
	frameNumBits  int
	pocType       int
	pocLsbBits    int
	deltaPOCZero  bool
	left, top     int // cropping, in luma samples
	width, height int // what remains
	fullRange     bool
	hasMatrix     bool
	matrix        scaling
}

// highProfile says whether profile_idc has the fields of the High profiles.
func highProfile(profile uint32) bool {
	switch profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		return true
	}
	return false
}

// maxFrameMbs and maxSideMbs are MaxFS of the highest level, 6.2, and the side
// that A.3.1 allows with it: the root of 8 times as much.
const (
	maxFrameMbs = 139264
	maxSideMbs  = 1055
)

// parseSPS reads a sequence parameter set and refuses what is not decoded.
func parseSPS(r *bitReader, limits codec.Limits) (*sps, error) {
	s := &sps{chromaFormat: 1, matrix: flatScaling()}
	profile := r.U(8)
	r.Skip(16) // constraint flags, level_idc
	if r.UE() > 31 {
		return nil, codec.Corrupt("the H.264 sequence parameter set has a number beyond 31")
	}
	if highProfile(profile) {
		if err := s.high(r); err != nil {
			return nil, err
		}
	}
	frameNum := r.UE()
	s.pocType = int(r.UE())
	var lsb uint32
	switch s.pocType {
	case 0:
		lsb = r.UE()
	case 1:
		s.deltaPOCZero = r.Flag()
		r.SE()
		r.SE()
		n := r.UE()
		if n > 255 {
			return nil, codec.Corrupt("the H.264 sequence parameter set has %d offsets in a cycle", n)
		}
		for range n {
			r.SE()
		}
	}
	if frameNum > 12 || s.pocType > 2 || lsb > 12 {
		return nil, codec.Corrupt("the H.264 sequence parameter set is broken")
	}
	s.frameNumBits, s.pocLsbBits = int(frameNum)+4, int(lsb)+4
	r.UE() // max_num_ref_frames
	r.U(1)
	w, h := r.UE(), r.UE()
	s.frameMbsOnly = r.Flag()
	if !s.frameMbsOnly {
		s.mbaff = r.Flag()
	}
	r.U(1) // direct_8x8_inference_flag
	if w >= 1<<16 || h >= 1<<16 {
		return nil, tooLarge(w, h)
	}
	s.mbW, s.mbH = int(w)+1, int(h)+1
	if !s.frameMbsOnly {
		s.mbH *= 2
	}
	if err := limits.CheckSize(16*s.mbW, 16*s.mbH); err != nil {
		return nil, err
	}
	if s.mbW > maxSideMbs || s.mbH > maxSideMbs || s.mbW*s.mbH > maxFrameMbs {
		return nil, tooLarge(w, h)
	}
	if err := s.crop(r); err != nil {
		return nil, err
	}
	s.usability(r)
	return s, nil
}

// usability reads the video usability information (E.1.1) as far as
// video_full_range_flag. Whether it is whole does not matter to the picture.
func (s *sps) usability(r *bitReader) {
	const extendedSAR = 255
	if !r.Flag() {
		return
	}
	if r.Flag() && r.U(8) == extendedSAR {
		r.Skip(32)
	}
	if r.Flag() { // overscan_info_present_flag
		r.Skip(1)
	}
	if r.Flag() { // video_signal_type_present_flag
		r.Skip(3) // video_format
		s.fullRange = r.Flag() && !r.Overrun()
	}
}

func tooLarge(widthMinus1, heightMinus1 uint32) error {
	return fleet.Errorf(fleet.CauseTooLarge, "the H.264 picture claims %dx%d macroblocks: no level has that many", uint64(widthMinus1)+1, uint64(heightMinus1)+1)
}

// high reads what the High profiles add.
func (s *sps) high(r *bitReader) error {
	format := r.UE()
	switch format {
	case 0, 1:
	case 2:
		return refuse(Chroma422)
	case 3:
		return refuse(Chroma444)
	default:
		return codec.Corrupt("the H.264 stream has chroma format %d", format)
	}
	s.chromaFormat = int(format)
	if luma, chroma := r.UE(), r.UE(); luma != 0 || chroma != 0 {
		return refuse(HighBitDepth)
	}
	if r.Flag() {
		return refuse(Lossless)
	}
	if s.hasMatrix = r.Flag(); s.hasMatrix {
		s.matrix = r.scalingLists(8, &defaultScaling)
	}
	return nil
}

// crop reads the cropping rectangle (7-19 to 7-22).
func (s *sps) crop(r *bitReader) error {
	s.width, s.height = 16*s.mbW, 16*s.mbH
	if r.Flag() {
		unitX, unitY := 1, 1
		if s.chromaFormat == 1 {
			unitX, unitY = 2, 2
		}
		if !s.frameMbsOnly {
			unitY *= 2
		}
		var n [4]int
		for i := range n {
			n[i] = int(min(r.UE(), 1<<16)) // more is more than any picture has
		}
		left, right, top, bottom := n[0]*unitX, n[1]*unitX, n[2]*unitY, n[3]*unitY
		if left+right >= s.width || top+bottom >= s.height {
			return codec.Corrupt("the H.264 stream crops its picture of %dx%d to nothing", s.width, s.height)
		}
		s.left, s.top = left, top
		s.width -= left + right
		s.height -= top + bottom
	}
	if r.Overrun() {
		return codec.Corrupt("the H.264 sequence parameter set is cut off")
	}
	return nil
}

// pps is the part of a picture parameter set that intra pictures need (7.3.2.2).
type pps struct {
	sps            uint32
	cabac          bool
	bottomPOC      bool // bottom_field_pic_order_in_frame_present_flag
	initQP         int
	chromaOffset   [2]int // Cb, Cr
	deblockControl bool
	redundant      bool
	transform8x8   bool
	matrix         scaling
}

// parsePPS reads a picture parameter set, for which it asks for the sequence's.
func parsePPS(r *bitReader, find func(id uint32) (*sps, error)) (*pps, *sps, error) {
	p := &pps{}
	r.UE() // its own number
	id := r.UE()
	s, err := find(id)
	if err != nil {
		return nil, nil, err
	}
	p.sps = id
	p.cabac = r.Flag()
	p.bottomPOC = r.Flag()
	if r.UE() > 0 {
		return nil, nil, refuse(SliceGroups)
	}
	r.UE()
	r.UE()
	r.U(3) // weighted prediction
	p.initQP = 26 + r.SE()
	r.SE()
	offset := r.SE()
	p.chromaOffset = [2]int{offset, offset}
	p.deblockControl = r.Flag()
	r.U(1) // constrained_intra_pred_flag: all is intra here
	p.redundant = r.Flag()
	p.matrix = s.matrix
	if r.More() {
		p.transform8x8 = r.Flag()
		if r.Flag() {
			n, fallback := 6, &defaultScaling
			if p.transform8x8 {
				n = 8
			}
			if s.hasMatrix {
				fallback = &s.matrix
			}
			p.matrix = r.scalingLists(n, fallback)
		}
		p.chromaOffset[1] = r.SE()
	}
	if r.Overrun() || p.initQP < 0 || p.initQP > 51 || !offsetOK(p.chromaOffset[0]) || !offsetOK(p.chromaOffset[1]) {
		return nil, nil, codec.Corrupt("the H.264 picture parameter set is broken")
	}
	return p, s, nil
}

func offsetOK(n int) bool { return n >= -12 && n <= 12 }
