package h265

import "github.com/shutterfleet/shutterfleet/capture/codec"

// sps holds what is followed of a sequence parameter set, 7.3.2.2.
type sps struct {
	width, height      int
	left, top          int // of the conformance window
	log2MinCB, log2CTB int
	log2MinTB          int
	log2MaxTB          int
	intraDepth         int // max_transform_hierarchy_depth_intra
	bitDepth           [2]int
	sao                bool
	log2POC            int
	rpsCount           int   // num_short_term_ref_pic_sets
	rpsDeltas          []int // NumDeltaPocs of each
	longTerm           bool
	longTermCount      int
	temporalMVP        bool
	ctbWidth, ctbs     int
}

// pps holds what is followed of a picture parameter set, 7.3.2.3.
type pps struct {
	sps                int
	dependentSlices    bool
	outputFlag         bool
	extraBits          int
	signHiding         bool
	initQP             int
	transformSkip      bool
	qpDelta            bool
	qpDeltaDepth       int
	chromaOffsets      bool
	transquantBypass   bool
	rowSync            bool // entropy_coding_sync_enabled_flag
	acrossSlices       bool
	deblockingOverride bool
	deblockingOff      bool
	headerExtension    bool
	tiles              bool
}

// parseSPS reads a sequence parameter set. The range extensions profile, 4, is
// that of x265's streams of key pictures alone: it is followed as far as it has
// no extension.
func parseSPS(r *bitReader, l codec.Limits) (id int, s sps, err error) {
	r.Skip(4)
	layers := r.u(3)
	r.Skip(1)
	profile := profileTierLevel(r, layers)
	id = r.ue()
	chroma := r.ue()
	if chroma == 3 {
		r.Skip(1)
	}
	s.width, s.height = r.ue(), r.ue()
	if r.Flag() { // conformance window, in samples of chroma
		s.left = 2 * r.ue()
		r.ue()
		s.top = 2 * r.ue()
		r.ue()
	}
	s.bitDepth = [2]int{8 + r.ue(), 8 + r.ue()}
	s.log2POC = 4 + r.ue()
	first := layers
	if r.Flag() {
		first = 0
	}
	for range layers - first + 1 {
		r.ue()
		r.ue()
		r.ue()
	}
	s.log2MinCB = 3 + r.ue()
	s.log2CTB = s.log2MinCB + r.ue()
	s.log2MinTB = 2 + r.ue()
	s.log2MaxTB = s.log2MinTB + r.ue()
	r.ue() // max_transform_hierarchy_depth_inter
	s.intraDepth = r.ue()
	if r.Flag() { // scaling lists, which may be these
		if r.Flag() {
			scalingLists(r)
		}
	}
	r.Skip(1) // asymmetric partitions
	s.sao = r.Flag()
	pcm := r.Flag()
	switch {
	case r.Overrun() || id > 15:
		return 0, s, codec.Corrupt("the H.265 sequence parameter set is broken")
	case profile < 1 || profile > 4 || chroma != 1 || s.bitDepth[0] > 10 || s.bitDepth[1] > 10:
		return 0, s, codec.Unsupported("H.265 of profile %d, chroma format %d, is not followed", profile, chroma)
	case pcm:
		return 0, s, codec.Unsupported("H.265 with PCM blocks is not followed")
	case s.log2CTB > 6 || s.log2CTB < 4 || s.log2MinTB >= s.log2MinCB || s.log2MaxTB > min(s.log2CTB, 5) || s.log2POC > 16 || s.intraDepth > 4 ||
		s.width&(1<<s.log2MinCB-1) != 0 || s.height&(1<<s.log2MinCB-1) != 0:
		return 0, s, codec.Corrupt("the H.265 sequence parameter set is broken")
	}
	if err := l.CheckSize(s.width, s.height); err != nil {
		return 0, s, err
	}
	round := 1<<s.log2CTB - 1
	s.ctbWidth = (s.width + round) >> s.log2CTB
	s.ctbs = s.ctbWidth * ((s.height + round) >> s.log2CTB)
	if s.rpsCount = r.ue(); s.rpsCount > 64 {
		return 0, s, codec.Corrupt("the H.265 sequence parameter set is broken")
	}
	for i := 0; i < s.rpsCount && !r.Overrun(); i++ {
		s.rpsDeltas = append(s.rpsDeltas, refPicSet(r, i, s.rpsCount, s.rpsDeltas))
	}
	if s.longTerm = r.Flag(); s.longTerm {
		s.longTermCount = r.ue()
		if s.longTermCount > 32 {
			return 0, s, codec.Corrupt("the H.265 sequence parameter set is broken")
		}
		r.Skip(s.longTermCount * (s.log2POC + 1))
	}
	s.temporalMVP = r.Flag()
	r.Skip(1) // strong_intra_smoothing_enabled_flag
	extended := false
	if timed := r.Flag() && usability(r); !timed {
		extended = r.Flag()
	} else if profile == 4 {
		extended = true // for all that is known
	}
	switch {
	case r.Overrun():
		return 0, s, codec.Corrupt("the H.265 sequence parameter set is cut off")
	case extended:
		return 0, s, codec.Unsupported("H.265 with extensions is not followed")
	}
	return id, s, nil
}

// usability is vui_parameters(), E.2.1, up to hrd_parameters(), of which it says
// whether they follow.
func usability(r *bitReader) (hrd bool) {
	if r.Flag() && r.u(8) == 255 { // aspect ratio
		r.Skip(32)
	}
	if r.Flag() { // overscan
		r.Skip(1)
	}
	if r.Flag() { // signal type
		r.Skip(4)
		if r.Flag() {
			r.Skip(24)
		}
	}
	if r.Flag() { // places of chroma
		r.ue()
		r.ue()
	}
	r.Skip(3)
	if r.Flag() { // default display window
		for range 4 {
			r.ue()
		}
	}
	if r.Flag() { // timing
		r.Skip(64)
		if r.Flag() {
			r.ue()
		}
		if r.Flag() {
			return true
		}
	}
	if r.Flag() { // restrictions
		r.Skip(3)
		for range 5 {
			r.ue()
		}
	}
	return false
}

// profileTierLevel is 7.3.3; it returns general_profile_idc.
func profileTierLevel(r *bitReader, layers int) int {
	r.Skip(3)
	profile := r.u(5)
	r.Skip(88)
	if layers == 0 {
		return profile
	}
	more := 0
	for i := range 8 {
		has, level := r.u(1), r.u(1)
		if i < layers {
			more += 88*has + 8*level
		}
	}
	r.Skip(more)
	return profile
}

// scalingLists is scaling_list_data(), 7.3.4. It changes no syntax.
func scalingLists(r *bitReader) {
	for size := range 4 {
		step := 1
		if size == 3 {
			step = 3
		}
		for m := 0; m < 6 && !r.Overrun(); m += step {
			if !r.Flag() {
				r.ue()
				continue
			}
			if size > 1 {
				r.se()
			}
			for i := 0; i < min(64, 1<<(4+2*size)) && !r.Overrun(); i++ {
				r.se()
			}
		}
	}
}

// refPicSet is st_ref_pic_set(), 7.3.7: it returns NumDeltaPocs, which is all that
// the next ones need.
func refPicSet(r *bitReader, i, count int, deltas []int) int {
	if i > 0 && r.Flag() {
		back := 1
		if i == count {
			back += r.ue()
		}
		r.Skip(1)
		r.ue()
		if back > i || r.Overrun() {
			r.Pos = r.End + 1
			return 0
		}
		n := 0
		for range deltas[i-back] + 1 {
			used := r.Flag()
			if used || r.Flag() {
				n++
			}
		}
		return n
	}
	n, p := r.ue(), r.ue()
	if n > 16 || p > 16 {
		r.Pos = r.End + 1
		return 0
	}
	for range n + p {
		r.ue()
		r.Skip(1)
	}
	return n + p
}

func parsePPS(r *bitReader) (id int, p pps, err error) {
	id, p.sps = r.ue(), r.ue()
	p.dependentSlices, p.outputFlag = r.Flag(), r.Flag()
	p.extraBits = r.u(3)
	p.signHiding = r.Flag()
	r.Skip(1)
	r.ue()
	r.ue()
	p.initQP = 26 + r.se()
	r.Skip(1)
	p.transformSkip = r.Flag()
	if p.qpDelta = r.Flag(); p.qpDelta {
		p.qpDeltaDepth = r.ue()
	}
	r.se()
	r.se()
	p.chromaOffsets = r.Flag()
	r.Skip(2)
	p.transquantBypass, p.tiles, p.rowSync = r.Flag(), r.Flag(), r.Flag()
	if p.tiles {
		return 0, p, codec.Unsupported("H.265 with tiles is not followed")
	}
	p.acrossSlices = r.Flag()
	if r.Flag() { // deblocking control
		p.deblockingOverride, p.deblockingOff = r.Flag(), r.Flag()
		if !p.deblockingOff {
			r.se()
			r.se()
		}
	}
	if r.Flag() {
		scalingLists(r)
	}
	r.Skip(1)
	r.ue()
	p.headerExtension = r.Flag()
	if r.Flag() {
		return 0, p, codec.Unsupported("H.265 with extensions is not followed")
	}
	if r.Overrun() || id > 63 || p.sps > 15 || p.qpDeltaDepth > 3 {
		return 0, p, codec.Corrupt("the H.265 picture parameter set is broken")
	}
	return id, p, nil
}
