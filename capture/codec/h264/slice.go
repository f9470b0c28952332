package h264

import "github.com/shutterfleet/shutterfleet/capture/codec"

// sliceHeader is what intra pictures need of slice_header(), 7.3.3.
type sliceHeader struct {
	firstMB    int
	kind       uint32 // slice_type modulo 5
	pps        *pps
	sps        *sps
	redundant  bool
	qp         int // SliceQPY
	noDeblock  int // disable_deblocking_filter_idc
	alpha      int // FilterOffsetA
	beta       int // FilterOffsetB
	pictureKey     // tells one primary coded picture from the next
}

// pictureKey holds what differs between the slices of two pictures, 7.4.1.2.4.
type pictureKey struct {
	pps, frameNum, idrID, pocLsb uint32
	pocBottom, poc0, poc1        int
	idr, reference               bool
}

// The slice types of Table 7-6.
const (
	sliceP  = 0
	sliceB  = 1
	sliceI  = 2
	sliceSP = 3
	sliceSI = 4
)

// sliceHeader reads a slice's header from r. For other slices than I it stops
// when it knows which picture the slice belongs to.
func (d *Decoder) sliceHeader(r *bitReader, nalType, refIdc byte) (h sliceHeader, err error) {
	h.firstMB = int(r.UE())
	kind := r.UE()
	if kind > 9 {
		return h, codec.Corrupt("an H.264 slice has type %d", kind)
	}
	h.kind = kind % 5
	if h.kind == sliceSP || h.kind == sliceSI {
		return h, refuse(SwitchingSlice)
	}
	h.pictureKey.pps = r.UE()
	if h.pps, h.sps, err = d.activate(h.pictureKey.pps); err != nil {
		return h, err
	}
	h.frameNum = r.U(h.sps.frameNumBits)
	h.idr, h.reference = nalType == nalIDR, refIdc != 0
	if !h.sps.frameMbsOnly {
		if r.Flag() {
			return h, refuse(FieldPictures)
		}
		if h.sps.mbaff {
			return h, refuse(MBAFF)
		}
	}
	if h.idr {
		h.idrID = r.UE()
	}
	switch {
	case h.sps.pocType == 0:
		h.pocLsb = r.U(h.sps.pocLsbBits)
		if h.pps.bottomPOC {
			h.pocBottom = r.SE()
		}
	case h.sps.pocType == 1 && !h.sps.deltaPOCZero:
		h.poc0 = r.SE()
		if h.pps.bottomPOC {
			h.poc1 = r.SE()
		}
	}
	if h.pps.redundant {
		h.redundant = r.UE() > 0
	}
	if h.kind != sliceI {
		return h, nil
	}
	if h.reference {
		skipMarking(r, h.idr)
	}
	h.qp = h.pps.initQP + r.SE()
	if h.pps.deblockControl {
		h.noDeblock = int(r.UE())
		if h.noDeblock != 1 {
			h.alpha, h.beta = 2*r.SE(), 2*r.SE()
		}
	}
	if r.Overrun() || h.qp < 0 || h.qp > 51 || h.noDeblock > 2 || !offsetOK(h.alpha) || !offsetOK(h.beta) {
		return h, codec.Corrupt("an H.264 slice header is broken")
	}
	return h, nil
}

// skipMarking passes over dec_ref_pic_marking(), 7.3.3.3.
func skipMarking(r *bitReader, idr bool) {
	if idr {
		r.U(2)
		return
	}
	if !r.Flag() {
		return
	}
	for !r.Overrun() {
		switch r.UE() {
		case 0:
			return
		case 3:
			r.UE()
			r.UE()
		case 1, 2, 4, 6:
			r.UE()
		}
	}
}

// activate returns the parameter sets that a slice names, read when first used
// because the sequence's may come after the picture's.
func (d *Decoder) activate(id uint32) (*pps, *sps, error) {
	if id > 255 || d.ppsNAL[id] == nil {
		return nil, nil, codec.Corrupt("an H.264 slice names picture parameter set %d, which is missing", id)
	}
	if d.pps != nil && d.ppsID == id {
		return d.pps, d.sps, nil
	}
	p, s, err := parsePPS(d.open(d.ppsNAL[id]), func(id uint32) (*sps, error) {
		if id > 31 || d.spsNAL[id] == nil {
			return nil, codec.Corrupt("H.264 sequence parameter set %d is missing", id)
		}
		var own bitReader
		own.Open(d.spsNAL[id][1:])
		return parseSPS(&own, d.opts.Limits)
	})
	if err != nil {
		return nil, nil, err
	}
	d.pps, d.sps, d.ppsID = p, s, id
	return p, s, nil
}

// open returns a reader of a small NAL unit's RBSP.
func (d *Decoder) open(nal []byte) *bitReader {
	d.params.Open(nal[1:])
	return &d.params
}
