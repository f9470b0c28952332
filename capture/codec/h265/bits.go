package h265

import "github.com/shutterfleet/shutterfleet/capture/codec/rbsp"

// bitReader reads the RBSP of a NAL unit in ints.
type bitReader struct{ rbsp.Reader }

// u reads u(n), at most 31 bits.
func (r *bitReader) u(n int) int { return int(r.U(n)) }

// tooLarge is more than any syntax element of meaning here may be, and so little
// that sums of some of it fit an int of 32 bits.
const tooLarge = 1<<28 - 1

// ue reads ue(v). What is larger comes out as tooLarge.
func (r *bitReader) ue() int { return int(min(r.UE(), tooLarge)) }

// se reads se(v). What is larger comes out as half of tooLarge.
func (r *bitReader) se() int { return min(max(r.SE(), -tooLarge/2), tooLarge/2+1) }
