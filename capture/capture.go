// Package capture reads one frame: what it shows in a few numbers, how to know
// it again, and a small picture of it. It has no clock, no network, no disk.
//
//	Frame ──decode──► luma ──┬─ 64x64 grid ──► PDQ-256 + quality
//	   │                     ├─ 32x32 ───────► pHash-64
//	   │                     ├─ one pass ────► scores ──Judge──► verdict
//	   │                     └─ 320 wide ────► thumbnail (with the chroma)
//	   └─ SHA-256
//
// Fingerprints and scores come from the luma plane at full resolution, because
// that alone keeps PDQ equal to its reference bit for bit: a plane decoded at a
// reduced scale has been filtered once more. Color pictures that were not coded
// as luma (PNG) are hashed from unrounded luma, as the reference does it.
package capture

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/h264"
	"github.com/shutterfleet/shutterfleet/capture/codec/h265"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/capture/codec/worker"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/capture/phash"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options configure a Reader.
type Options struct {
	Width          int            // frames read at a time; default the number of processors
	Limits         codec.Limits   // what one frame may cost
	Worker         *worker.Worker // decodes what is not decoded here; default one with worker.Options{Limits: Limits}
	NoThumbnail    bool
	MaskExactly    bool // masks hide samples and not the blocks that they were coded in: for pictures that were scaled since
	ThumbnailWidth int  // at most; default 320
}

// A Reader turns frames into readings, several at a time.
type Reader struct {
	opts Options
	free chan *desk // one for each frame that may be read at a time; nil is one to be made

	planes sync.Pool // *codec.Plane, what the worker's frames come in
}

// desk is the memory that reading one frame takes, used again for the next.
type desk struct {
	jpeg    jpeg.Decoder
	h264    h264.Decoder
	h265    h265.Checker
	pic     codec.Picture
	grid    codec.Grid
	scores  quality.Scores
	pdq     pdq.Hasher
	phash   phash.Hasher
	quality quality.Meter
	shrink  shrinker
	veil    veil
	studio  bool // pic's luma is said to be of 16..235
}

// New returns a Reader. It refuses on a machine or in a build that computes
// other fingerprints than the rest of the fleet.
func New(o Options) (*Reader, error) {
	if err := errors.Join(pdq.Check(), phash.Check()); err != nil {
		return nil, fmt.Errorf("capture: fingerprints would not compare with others': %w", err)
	}
	o.Width = cmp.Or(o.Width, runtime.GOMAXPROCS(0))
	o.ThumbnailWidth = cmp.Or(o.ThumbnailWidth, 320)
	o.Limits = o.Limits.WithDefaults()
	if o.Width < 0 || o.ThumbnailWidth < 16 || o.ThumbnailWidth > 4096 {
		return nil, fmt.Errorf("capture: width %d, thumbnails of %d pixels", o.Width, o.ThumbnailWidth)
	}
	if o.Worker == nil {
		w, err := worker.New(worker.Options{Limits: o.Limits})
		if err != nil {
			return nil, fmt.Errorf("capture: %w", err)
		}
		o.Worker = w
	}
	r := &Reader{opts: o, free: make(chan *desk, o.Width)}
	for range o.Width {
		r.free <- nil
	}
	return r, nil
}

// Codecs returns what this Reader can read on this machine.
func (r *Reader) Codecs() []fleet.Codec {
	all := []fleet.Codec{fleet.JPEG, fleet.PNG, fleet.PGM, fleet.H264}
	for _, c := range r.opts.Worker.Codecs() {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	return all
}

// A Judge says what is wrong with a frame that was just read. What the sample
// points to is the Reader's, and another frame's when Judge returns. Its time
// is the frame's, in the frame's own zone.
type Judge func(res *fleet.Reading, x quality.Sample) fleet.Verdict

// Read decodes f and computes all that a capture remembers of it but the
// verdict, which takes the camera's past. The frame's data is not kept. Errors
// are *fleet.CameraError: corrupt, too-large and unsupported-codec speak of the
// frame, timeout of a ctx that ended first.
func (r *Reader) Read(ctx context.Context, f fleet.Frame) (fleet.Reading, error) {
	return r.ReadJudged(ctx, f, nil, nil)
}

// ReadJudged is Read under a mask, which may be nil and has passed Check, and
// has judge say the verdict, while the scores and the grid that it takes are at
// hand. A picture too small to hash is not judged, nor one of which less than a
// quarter is seen. One that is cut off or damaged, and of which half or more
// can be shown, is judged by what is missing and has no fingerprint; to Read it
// is corrupt.
func (r *Reader) ReadJudged(ctx context.Context, f fleet.Frame, m *fleet.Mask, judge Judge) (fleet.Reading, error) {
	return r.read(ctx, f, &Probe{Mask: m, Judge: judge}, &Inspection{})
}

func (r *Reader) read(ctx context.Context, f fleet.Frame, p *Probe, in *Inspection) (fleet.Reading, error) {
	spare := false // FFmpeg may know the kinds that the decoder here does not
	switch f.Codec {
	case fleet.PNG, fleet.PGM, codec.BMP, codec.TIFF:
	case fleet.JPEG, fleet.H264:
		spare = len(r.opts.Worker.Codecs()) > 0
	default:
		return r.readByWorker(ctx, f, p, in)
	}
	res, err := r.readHere(ctx, f, p, in)
	if spare && unsupported(err) {
		var second error
		if res, second = r.readByWorker(ctx, f, p, in); f.Codec == fleet.JPEG && is(second, fleet.CauseCorrupt) {
			// FFmpeg says so of kinds that it does not know either: that the frame is
			// of one is known, and what to do about it.
			return fleet.Reading{}, err
		}
		return res, second
	}
	return res, err
}

// unsupported says that another decoder may know what one did not.
func unsupported(err error) bool { return is(err, fleet.CauseUnsupportedCodec) }

func is(err error, c fleet.Cause) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	return ok && ce.Cause == c
}

func (r *Reader) readHere(ctx context.Context, f fleet.Frame, p *Probe, in *Inspection) (fleet.Reading, error) {
	d, err := r.sit(ctx)
	if err != nil {
		return fleet.Reading{}, err
	}
	defer r.leave(d)
	color := r.color()
	d.studio = false
	decoder := string(f.Codec)
	d.pic.Blocks = codec.Blocks{} // of the frame before
	switch f.Codec {
	case fleet.JPEG:
		err = d.jpeg.Decode(ctx, f.Data, jpeg.Options{Limits: r.opts.Limits, Chroma: color, Partial: true, Detail: p.Detail}, &d.pic)
		if hasOpenCV && unsupported(err) {
			if second := decodeByOpenCV(ctx, f.Data, r.opts.Limits, color, &d.pic); !unsupported(second) {
				decoder, err = openCV, second
			}
		}
	case fleet.H264:
		err = d.h264.Decode(ctx, f.Data, h264.Options{Limits: r.opts.Limits, Chroma: color > 0, Deblock: p.Deblock, Partial: true}, &d.pic)
		in.Deblocked = p.Deblock && d.pic.Missing == 0
		d.studio = !d.h264.FullRange()
	case fleet.PNG:
		err = codec.DecodePNG(f.Data, r.opts.Limits, color > 0, &d.pic)
	case codec.BMP, codec.TIFF:
		decoder, err = openCV, decodeByOpenCV(ctx, f.Data, r.opts.Limits, color, &d.pic)
	default:
		err = codec.DecodePGM(f.Data, r.opts.Limits, &d.pic)
		defer func() { d.pic = codec.Picture{} }() // its plane is the frame's own data
	}
	if err != nil {
		return fleet.Reading{}, err
	}
	if in.Missing = d.pic.Missing; in.Missing > 0 && p.Judge == nil {
		return fleet.Reading{}, damaged(in.Missing)
	}
	in.Decoder = decoder
	return r.reading(f, d, nil, p)
}

// mostMissing is how much of a picture may be missing that still is one, as the
// decoders here have it.
const mostMissing = 0.5

// damaged is the error for a picture of which a part is missing, where nobody
// could be told that it is.
func damaged(missing float32) error {
	return codec.Corrupt("the picture is damaged: %.1f %% of it is missing", 100*missing)
}

// readByWorker waits for its child without holding a desk, so that slow
// children hold up nobody but those who need them.
func (r *Reader) readByWorker(ctx context.Context, f fleet.Frame, p *Probe, in *Inspection) (fleet.Reading, error) {
	plane, _ := r.planes.Get().(*codec.Plane)
	if plane == nil {
		plane = new(codec.Plane)
	}
	defer r.planes.Put(plane)
	width := r.thumbnail()
	if !p.Mask.Empty() {
		width = 0 // the child's would show everything
	}
	thumb, err := r.opts.Worker.Decode(ctx, f.Codec, f.Data, width, plane)
	if err != nil {
		return fleet.Reading{}, err
	}
	d, err := r.sit(ctx)
	if err != nil {
		return fleet.Reading{}, err
	}
	defer r.leave(d)
	own := d.pic
	defer func() { d.pic = own }()
	d.pic, d.studio = codec.Picture{Y: *plane}, f.Codec != fleet.JPEG // the child does not say, and most video is
	if f.Codec == fleet.H265 {
		// FFmpeg makes up what it lacks and does not say so.
		d.pic.Missing, err = d.h265.Missing(ctx, f.Data, r.opts.Limits)
		if is(err, fleet.CauseTimeout) {
			return fleet.Reading{}, err
		}
		if in.Missing = d.pic.Missing; in.Missing > mostMissing || in.Missing > 0 && p.Judge == nil {
			return fleet.Reading{}, damaged(in.Missing)
		}
	}
	if f.Codec != fleet.JPEG {
		d.pic.Blocks = codec.Blocks{Width: plane.Width, Height: plane.Height, X: transform, Y: transform, Luma: [2]int{transform, transform}}
		if f.Codec == fleet.H265 {
			left, top := d.h265.Cropped()
			d.pic.Blocks.Left, d.pic.Blocks.Top = left%transform, top%transform
		}
	}
	// FFmpeg's decoders apply the filters of the stream.
	in.Decoder, in.Deblocked = "ffmpeg", f.Codec != fleet.JPEG
	return r.reading(f, d, thumb, p)
}

// thumbnail is how wide the thumbnail may be: 0 when none is wanted.
func (r *Reader) thumbnail() int {
	if r.opts.NoThumbnail {
		return 0
	}
	return r.opts.ThumbnailWidth
}

// color is how wide chroma is needed: 0 when it is not.
func (r *Reader) color() int {
	return (r.thumbnail() + 1) / 2 // the thumbnail's own chroma is half as wide
}

// sit takes a desk.
func (r *Reader) sit(ctx context.Context) (*desk, error) {
	select {
	case d := <-r.free:
		if d == nil {
			d = new(desk)
		}
		return d, nil
	case <-ctx.Done():
		return nil, fleet.Errorf(fleet.CauseTimeout, "wait to read the frame: %w", context.Cause(ctx))
	}
}

// keepPixels is the largest picture whose memory is kept for the next one: a
// 4K frame. A single larger one must not hold its tens of megabytes forever.
const keepPixels = 4096 * 2304

func (r *Reader) leave(d *desk) {
	d.pic.Exact = nil
	// A frame that ends in the middle may have brought its chroma alone. The
	// decoders' own memory goes by the planes that they fill.
	if max(cap(d.pic.Y.Pix), cap(d.pic.Cb.Pix), cap(d.pic.Cr.Pix)) > keepPixels {
		d = nil
	}
	r.free <- d
}

// reading computes all numbers of the picture on the desk. A decoder may have
// brought the thumbnail.
func (r *Reader) reading(f fleet.Frame, d *desk, thumb []byte, probe *Probe) (fleet.Reading, error) {
	p := d.pic.Y
	if err := probe.decoded(p); err != nil {
		return fleet.Reading{}, err
	}
	seen := 1.0
	var v *veil
	if !probe.Mask.Empty() {
		if f.Codec == fleet.PGM {
			// Its plane is the frame's own data, which is the caller's.
			p.Pix = bytes.Clone(p.Pix)
			d.pic.Y = p
		}
		v = &d.veil
		v.set(probe.Mask, &d.pic, r.opts.MaskExactly)
		seen = v.hide(&d.pic)
	}
	res := fleet.Reading{
		Width: uint16(p.Width), Height: uint16(p.Height), // CheckSize keeps both in range
		Codec:     f.Codec,
		Bytes:     uint32(len(f.Data)),
		Thumbnail: thumb,
	}
	res.SHA256 = sha256.Sum256(f.Data)
	probe.done(StageSHA256)
	missing := d.pic.Missing
	hashed := d.reduce()
	if hashed && missing == 0 { // what a decoder made up must not be found again
		res.Fingerprint = d.fingerprint()
		if probe.Dihedral != nil {
			*probe.Dihedral = d.pdq.SumDihedral(&d.grid)
		}
	}
	res.Fingerprint.Mask = probe.Mask.Sum()
	probe.done(StageFingerprint)
	d.scores = d.quality.Score(p)
	res.Quality = d.scores.Quality
	probe.done(StageQuality)
	if len(thumb) == 0 && !r.opts.NoThumbnail {
		var err error
		if res.Thumbnail, err = d.shrink.encode(&d.pic, r.opts.ThumbnailWidth, v); err != nil {
			return fleet.Reading{}, fleet.Errorf(fleet.CauseInternal, "make the thumbnail: %w", err)
		}
	}
	probe.done(StageThumbnail)
	switch {
	case probe.Judge == nil:
	case hashed && seen >= leastSeen:
		res.Verdict = probe.Judge(&res, quality.Sample{Scores: &d.scores, Grid: &d.grid, At: f.At, Missing: missing, Studio: d.studio})
	case missing > 0:
		return fleet.Reading{}, damaged(missing)
	}
	return res, nil
}

// reduce makes the grid of d.pic; false when the picture is too small for one.
func (d *desk) reduce() bool {
	if p := d.pic.Y; d.pic.Exact != nil {
		return d.pdq.ReduceExact(d.pic.Exact, p.Width, p.Height, &d.grid)
	}
	return d.pdq.Reduce(d.pic.Y, &d.grid)
}

// fingerprint hashes d.pic and its grid.
func (d *desk) fingerprint() fleet.Fingerprint {
	return fleet.Fingerprint{PDQ: d.pdq.SumGrid(&d.grid), PDQQuality: d.pdq.Quality(&d.grid), PHash: d.phash.Sum(d.pic.Y), Rules: fleet.RulesFirst}
}
