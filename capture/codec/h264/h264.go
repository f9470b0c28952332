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
	"cmp"
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

	// Partial takes a picture of which half or more came and decodes: what is
	// missing, by slices that never came or from where a slice is damaged, is mid
	// gray, Picture.Missing says how much, and the loop filter is left out.
	Partial bool
}

// A Decoder holds the memory that decoding takes, so that a stream of similar
// frames allocates next to nothing. The zero Decoder is ready. It serves one
// caller at a time.
type Decoder struct {
	opts   Options
	size   int // of the stream from the present NAL unit on, in bytes
	pic    *codec.Picture
	spsNAL [32][]byte
	ppsNAL [256][]byte
	pps    *pps // the active ones
	sps    *sps
	ppsID  uint32
	params bitReader

	started   bool // a picture is being decoded
	skipped   bool // the picture that key tells is not intra
	key       pictureKey
	shape     *sps  // of the picture: another one may be active once it ends
	fullRange bool  // of the picture that was begun last
	damage    error // what was wrong with a slice first
	broken    int   // slices of this stream with which something was wrong
	total     int   // macroblocks of the picture
	left      int   // of them did not come yet
	mbW       int
	mbH       int
	planes    [3][]byte // at stride[i], whole macroblocks; chroma nil unless wanted
	stride    [3]int
	mbs       []mbInfo // of the rows that memory was taken for, as planes are
	slices    []sliceInfo
	br        bitReader // of a slice
	cabac     cabacReader
	vlc       *vlcTables
	quant     quantisers
	mb        macroblock
	work      canvas
}

// FullRange says whether the stream of the last picture declares luma of 0..255.
// If it says nothing, luma is of 16..235 (E.2.1), though not all cameras know.
func (d *Decoder) FullRange() bool { return d.fullRange }

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
// stream is too short to hold, and for others as macroblocks come.
func (d *Decoder) Decode(ctx context.Context, data []byte, o Options, pic *codec.Picture) error {
	o.Limits = o.Limits.WithDefaults()
	if err := o.Limits.CheckBytes(len(data)); err != nil {
		return err
	}
	d.opts, d.pic = o, pic
	d.pps, d.sps = nil, nil
	d.started, d.skipped = false, false
	defer func() {
		clear(d.spsNAL[:])
		clear(d.ppsNAL[:])
		d.pic, d.shape, d.damage, d.broken = nil, nil, nil, 0
		d.planes = [3][]byte{}
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
		d.size = len(nal) + len(rest)
		done, err := d.unit(ctx, nal)
		if err != nil {
			return err
		}
		if done {
			return d.finish(ctx)
		}
	}
	switch {
	case units == 0:
		return codec.Corrupt("not an H.264 stream: it has no start code")
	case d.started:
		return d.finish(ctx)
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

// unit reads one NAL unit. It says whether the picture has ended: complete, or
// because another one begins.
func (d *Decoder) unit(ctx context.Context, nal []byte) (done bool, err error) {
	if nal[0]&0x80 != 0 {
		return false, nil // forbidden_zero_bit
	}
	kind, refIdc := nal[0]&31, nal[0]>>5&3
	switch kind {
	case nalSPS, nalPPS:
		if d.started {
			return true, nil // 7.4.1.2.3: it comes before the next picture
		}
		return false, d.keep(kind, nal)
	case nalAUD, nalSEI:
		d.skipped = false
		return d.started, nil
	case nalPartition, nalPartition + 1, nalPartition + 2:
		return false, refuse(DataPartitions)
	case nalSlice, nalIDR:
		return d.slice(ctx, nal, kind, refIdc)
	}
	return false, nil // of other layers and views, of alpha planes, fillers
}

// keep remembers a parameter set under its number.
func (d *Decoder) keep(kind byte, nal []byte) error {
	head := nal[:min(len(nal), 16)]
	r := d.open(head)
	if kind == nalSPS {
		r.Skip(24)
	}
	switch id := r.UE(); {
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
func (d *Decoder) slice(ctx context.Context, nal []byte, kind, refIdc byte) (done bool, err error) {
	d.br.Open(nal[1:])
	h, err := d.sliceHeader(&d.br, kind, refIdc)
	if err != nil {
		if !isCorrupt(err) || !d.started && kind == nalIDR {
			return false, err
		}
		if !d.started {
			return false, nil // a stream may begin in the middle: what it refers to came before
		}
		return false, d.damaged(err)
	}
	if h.redundant {
		return false, nil
	}
	same := h.pictureKey == d.key
	switch {
	case d.skipped && same:
		return false, nil
	case d.started && !same:
		return true, nil
	}
	if h.kind != sliceI {
		if kind == nalIDR {
			return false, codec.Corrupt("an H.264 key frame has a slice that is not intra")
		}
		d.started, d.skipped, d.key = false, true, h.pictureKey
		return false, nil
	}
	if !d.started {
		if n := h.sps.mbW * h.sps.mbH; n > mostMBs(d.size, h.pps.cabac, h.sps.chromaFormat == 1) {
			return false, codec.Corrupt("the H.264 stream of %d bytes is too short for %dx%d macroblocks", d.size, h.sps.mbW, h.sps.mbH)
		}
		d.begin(&h)
	}
	if err := d.decodeSlice(ctx, &h); err != nil {
		if !isCorrupt(err) {
			return false, err
		}
		return false, d.damaged(err)
	}
	return d.left == 0, nil
}

func isCorrupt(err error) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	return ok && ce.Cause == fleet.CauseCorrupt
}

// mostBroken is how many slices may be damaged before a stream is given up: four
// for each row of macroblocks of a 1080p picture. Nothing else bounds what they
// cost, for they may bring the same macroblock again and again.
const mostBroken = 272

// damaged says what becomes of a picture with a damaged slice: it is given up,
// or the other slices are waited for.
func (d *Decoder) damaged(err error) error {
	if d.broken++; !d.opts.Partial || d.broken > mostBroken {
		return err
	}
	d.damage = cmp.Or(d.damage, err)
	return nil
}
