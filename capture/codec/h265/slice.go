package h265

import (
	"math/bits"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// slice is what is followed of a slice segment header, 7.3.6.1.
type slice struct {
	*sps
	*pps
	first     bool
	address   int
	qp        int
	saoLuma   bool
	saoChroma bool
}

// parseSlice reads the header of a key picture's slice segment.
func (c *Checker) parseSlice(r *bitReader, kind int) (s slice, err error) {
	broken := codec.Corrupt("a slice header of the H.265 picture is broken")
	s.first = r.Flag()
	r.Skip(1) // no_output_of_prior_pics_flag
	id := r.ue()
	if id >= len(c.pps) || c.pps[id] == nil || c.sps[c.pps[id].sps] == nil {
		return s, broken
	}
	s.pps = c.pps[id]
	s.sps = c.sps[s.pps.sps]
	if !s.first {
		if s.dependentSlices && r.Flag() {
			return s, codec.Unsupported("H.265 with dependent slices is not followed")
		}
		s.address = r.u(bits.Len(uint(s.ctbs - 1)))
	}
	r.Skip(s.extraBits)
	if r.ue() != 2 || s.address >= s.ctbs { // an I slice
		return s, broken
	}
	if s.outputFlag {
		r.Skip(1)
	}
	if kind != nalIDR && kind != nalIDRWithoutLeading {
		s.references(r)
	}
	if s.sao {
		s.saoLuma, s.saoChroma = r.Flag(), r.Flag()
	}
	s.qp = s.initQP + r.se()
	if s.chromaOffsets {
		r.se()
		r.se()
	}
	off := s.deblockingOff
	if s.deblockingOverride && r.Flag() {
		if off = r.Flag(); !off {
			r.se()
			r.se()
		}
	}
	if s.acrossSlices && (s.saoLuma || s.saoChroma || !off) {
		r.Skip(1)
	}
	if s.rowSync {
		if n := r.ue(); n > s.ctbs {
			return s, broken
		} else if n > 0 {
			each := 1 + r.ue()
			if each > 32 {
				return s, broken
			}
			r.Skip(n * each)
		}
	}
	if s.headerExtension {
		r.Skip(8 * min(r.ue(), 256))
	}
	if !r.Flag() { // byte_alignment()
		return s, broken
	}
	r.Align()
	if r.Overrun() {
		return s, broken
	}
	return s, nil
}

// references reads what a key picture that is no IDR picture says of others.
func (s *slice) references(r *bitReader) {
	r.Skip(s.log2POC)
	if !r.Flag() {
		refPicSet(r, s.rpsCount, s.rpsCount, s.rpsDeltas)
	} else if s.rpsCount > 1 {
		r.Skip(bits.Len(uint(s.rpsCount - 1)))
	}
	if s.longTerm {
		known := 0
		if s.longTermCount > 0 {
			known = r.ue()
		}
		n := known + r.ue()
		for i := 0; i < n && !r.Overrun(); i++ {
			if i < known {
				if s.longTermCount > 1 {
					r.Skip(bits.Len(uint(s.longTermCount - 1)))
				}
			} else {
				r.Skip(s.log2POC + 1)
			}
			if r.Flag() {
				r.ue()
			}
		}
	}
	if s.temporalMVP {
		r.Skip(1)
	}
}
