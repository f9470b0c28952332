// Package h264 decodes the intra pictures of H.264 streams: key frames, which
// is all that a still needs. It is written from ITU-T Rec. H.264 (08/2021), to
// whose clauses and tables the comments refer.
//
//	Annex B ──NAL units──► parameter sets
//	                  └──► I slices ──CAVLC or CABAC──► macroblocks ──┬─ predict + transform ──► planes
//	                                                                  └─ deblock, on request, at the end
//
// Read are frame pictures of Constrained Baseline, Main and High: 8 bits, 4:2:0
// or monochrome, all intra macroblocks, 8x8 transform and scaling lists, slices
// in any order. What else there is in H.264 is a [Tool], refused by name.
//
// Intra prediction reads samples as they are before deblocking, so a picture
// without it differs from the standard's by the filter alone: nothing drifts.
// Chroma is walked over, and decoded only on request.
package h264

import (
	"context"
	"errors"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options say how far to decode.
type Options struct {
	Limits  codec.Limits
	Chroma  bool // also the color planes, at half the size; a monochrome picture has none
	Deblock bool // apply the loop filter of 8.7, which fingerprints can do without
}

// A Decoder holds the memory that decoding takes, so that a stream of similar
// frames allocates next to nothing. The zero Decoder is ready. It serves one
// caller at a time.
type Decoder struct {
	opts   Options
	size   int // of the stream, in bytes
	spsNAL [32][]byte
	ppsNAL [256][]byte
	pps    *pps // the active ones
	sps    *sps
	ppsID  uint32
	small  []byte // RBSP of a parameter set
	params bitReader

	started bool // a picture is being decoded
	skipped bool // the picture that key tells is not intra
	key     pictureKey
	left    int // macroblocks that did not come yet
	mbW     int
	mbH     int
	planes  [3][]byte // at stride[i], whole macroblocks; chroma nil unless wanted
	stride  [3]int
	mbs     []mbInfo
	slices  []sliceInfo
	rbsp    []byte
	br      bitReader
	cabac   cabac
	vlc     *vlcTables
	quant   quantisers
	mb      macroblock
	work    canvas
}

// sliceInfo is what deblocking needs to know of a slice.
type sliceInfo struct {
	noDeblock    int
	alpha, beta  int
	chromaOffset [2]int
}

// Decode reads the first picture of an Annex B stream that consists of I slices
// into pic, using its memory again. What fails is a *fleet.CameraError: corrupt
// for data that is broken or cut off, too-large for a picture beyond the limits,
// timeout when ctx ended first, and unsupported-codec around a Tool or
// ErrNotIntra for what is not decoded here. Samples are those of the standard,
// bit for bit, when Deblock is set. No memory is taken for a picture that the
// stream is too short to hold.
func (d *Decoder) Decode(ctx context.Context, data []byte, o Options, pic *codec.Picture) error {
	o.Limits = o.Limits.WithDefaults()
	if err := o.Limits.CheckBytes(len(data)); err != nil {
		return err
	}
	d.opts, d.size = o, len(data)
	d.pps, d.sps = nil, nil
	d.started, d.skipped = false, false
	defer func() {
		clear(d.spsNAL[:])
		clear(d.ppsNAL[:])
	}()
	units := 0
	for rest := data; ; units++ {
		var nal []byte
		if nal, rest = nextNAL(rest); nal == nil {
			break
		}
		if err := ctxError(ctx); err != nil {
			return err // a stream may have millions of units that bring nothing
		}
		done, err := d.unit(ctx, nal, pic)
		if err != nil {
			return err
		}
		if done {
			d.finish(pic)
			return ctxError(ctx)
		}
	}
	switch {
	case units == 0:
		return codec.Corrupt("not an H.264 stream: it has no start code")
	case d.started:
		return d.cutOff()
	case d.skipped:
		return codec.Unsupported("%w", ErrNotIntra)
	}
	return codec.Corrupt("the H.264 stream has no picture")
}

func ctxError(ctx context.Context) error {
	if ctx.Err() != nil {
		return fleet.Errorf(fleet.CauseTimeout, "decode h264: %w", context.Cause(ctx))
	}
	return nil
}

func (d *Decoder) cutOff() error {
	return codec.Corrupt("the H.264 picture is cut off: %d of %d macroblocks are missing", d.left, len(d.mbs))
}

// unit reads one NAL unit. It says whether the picture is complete.
func (d *Decoder) unit(ctx context.Context, nal []byte, pic *codec.Picture) (done bool, err error) {
	if nal[0]&0x80 != 0 {
		return false, nil // forbidden_zero_bit
	}
	kind, refIdc := nal[0]&31, nal[0]>>5&3
	switch kind {
	case nalSPS, nalPPS:
		if d.started {
			return false, d.cutOff()
		}
		return false, d.keep(kind, nal)
	case nalAUD, nalSEI:
		if d.started {
			return false, d.cutOff()
		}
		d.skipped = false
		return false, nil
	case nalPartition, nalPartition + 1, nalPartition + 2:
		return false, refuse(DataPartitions)
	case nalSlice, nalIDR:
		return d.slice(ctx, nal, kind, refIdc, pic)
	}
	return false, nil
}

// keep remembers a parameter set under its number.
func (d *Decoder) keep(kind byte, nal []byte) error {
	head := nal[:min(len(nal), 16)]
	r := d.open(head)
	if kind == nalSPS {
		r.skip(24)
	}
	switch id := r.ue(); {
	case kind == nalSPS && id <= 31:
		d.spsNAL[id] = nal
	case kind == nalPPS && id <= 255:
		d.ppsNAL[id] = nal
	default:
		return codec.Corrupt("an H.264 parameter set has number %d", id)
	}
	d.pps, d.sps = nil, nil // read again, with what is new
	return nil
}

// slice decodes one slice, unless it is of a picture that is passed over.
func (d *Decoder) slice(ctx context.Context, nal []byte, kind, refIdc byte, pic *codec.Picture) (done bool, err error) {
	var n int
	d.rbsp, n = unescape(d.rbsp[:0], nal[1:])
	d.br.reset(d.rbsp, n)
	h, err := d.sliceHeader(&d.br, kind, refIdc)
	if err != nil {
		if ce, _ := errors.AsType[*fleet.CameraError](err); ce != nil && ce.Cause == fleet.CauseCorrupt && !d.started && kind != nalIDR {
			return false, nil // a stream may begin in the middle: what it refers to came before
		}
		return false, err
	}
	if h.redundant {
		return false, nil
	}
	same := h.pictureKey == d.key
	switch {
	case d.skipped && same:
		return false, nil
	case d.started && !same:
		return false, d.cutOff()
	}
	if h.kind != sliceI {
		if kind == nalIDR {
			return false, codec.Corrupt("an H.264 key frame has a slice that is not intra")
		}
		d.started, d.skipped, d.key = false, true, h.pictureKey
		return false, nil
	}
	if !d.started {
		if h.sps.mbW*h.sps.mbH > mbsPerByte*d.size {
			return false, codec.Corrupt("the H.264 stream of %d bytes is too short for %dx%d macroblocks", d.size, h.sps.mbW, h.sps.mbH)
		}
		d.begin(&h, pic)
	}
	if err := d.decodeSlice(ctx, &h); err != nil {
		return false, err
	}
	return d.left == 0, nil
}

// mbsPerByte is more macroblocks than a byte can hold. The least one is
// Intra_16x16 with nothing coded: at least six decisions, which cost 0.0256 bits
// or more each in the most certain state of Table 9-45, and two terminating bins.
const mbsPerByte = 64

// begin takes the memory for a picture.
func (d *Decoder) begin(h *sliceHeader, pic *codec.Picture) {
	d.started, d.skipped, d.key = true, false, h.pictureKey
	d.mbW, d.mbH = h.sps.mbW, h.sps.mbH
	n := d.mbW * d.mbH
	if cap(d.mbs) < n {
		d.mbs = make([]mbInfo, n)
	}
	d.mbs = d.mbs[:n]
	for i := range d.mbs {
		d.mbs[i].slice = 0
	}
	d.left, d.slices = n, d.slices[:0]
	pic.Exact = nil
	pic.Y.Resize(16*d.mbW, 16*d.mbH, 16*d.mbW)
	d.planes = [3][]byte{pic.Y.Pix}
	d.stride = [3]int{16 * d.mbW, 8 * d.mbW, 8 * d.mbW}
	for i, p := range []*codec.Plane{&pic.Cb, &pic.Cr} {
		if d.opts.Chroma && h.sps.chromaFormat == 1 {
			p.Resize(8*d.mbW, 8*d.mbH, 8*d.mbW)
			d.planes[i+1] = p.Pix
		} else {
			*p = codec.Plane{Pix: p.Pix[:0]}
		}
	}
}

// finish filters and crops the picture.
func (d *Decoder) finish(pic *codec.Picture) {
	if d.opts.Deblock {
		d.deblock()
	}
	s := d.sps
	crop(&pic.Y, s.left, s.top, s.width, s.height)
	if len(d.planes[1]) > 0 {
		crop(&pic.Cb, s.left/2, s.top/2, s.width/2, s.height/2)
		crop(&pic.Cr, s.left/2, s.top/2, s.width/2, s.height/2)
	}
	d.planes = [3][]byte{}
}

// crop moves the rectangle to the plane's origin.
func crop(p *codec.Plane, left, top, width, height int) {
	if left > 0 || top > 0 {
		for y := range height {
			copy(p.Pix[y*p.Stride:y*p.Stride+width], p.Pix[(y+top)*p.Stride+left:])
		}
	}
	p.Width, p.Height = width, height
}
