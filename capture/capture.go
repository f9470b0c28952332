// Package capture reads a frame: what it shows, without knowing when or where.
//
//	Frame ──codec──► luma ──┬─ 64x64 ──► PDQ, its quality, pHash
//	                        ├─ one pass ──► quality scores
//	                        └─ box filter, with chroma ──► thumbnail
//
// No clock, no network, no disk. The fingerprints are computed from luma at
// full size, so that they equal the references' bit for bit.
package capture

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"image"
	stdjpeg "image/jpeg"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/capture/codec/worker"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/capture/phash"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options configure a Reader.
type Options struct {
	ThumbnailWidth   int // default 320; negative: no thumbnails
	ThumbnailQuality int // JPEG, default 78
	Worker           worker.Options
}

// Reader reads frames. It is safe for concurrent use.
type Reader struct {
	opts   Options
	worker *worker.Worker
}

// New returns a reader. It looks for FFmpeg once.
func New(o Options) *Reader {
	o.ThumbnailWidth = cmp.Or(o.ThumbnailWidth, 320)
	o.ThumbnailQuality = cmp.Or(o.ThumbnailQuality, 78)
	return &Reader{opts: o, worker: worker.New(o.Worker)}
}

// Codecs lists what can be decoded here.
func (r *Reader) Codecs() []fleet.Codec {
	cs := []fleet.Codec{fleet.JPEG, fleet.PNG, fleet.PGM}
	if r.worker.Available() {
		cs = append(cs, fleet.H264, fleet.H265)
	}
	return cs
}

// Read computes all of a reading. Its errors are *fleet.CameraError: corrupt,
// too-large, unsupported-codec, or deadline when ctx ends.
func (r *Reader) Read(ctx context.Context, f fleet.Frame) (fleet.Reading, error) {
	img, err := r.decode(ctx, f)
	if err != nil {
		return fleet.Reading{}, err
	}
	res := fleet.Reading{
		Width: uint16(img.Y.Width), Height: uint16(img.Y.Height), Codec: f.Codec, Bytes: uint32(len(f.Data)), SHA256: sha256.Sum256(f.Data),
		Quality: quality.Measure(img.Y),
	}
	var plane pdq.Buffer64
	if img.Exact != nil {
		pdq.ReduceExact(img.Exact, img.Y.Width, img.Y.Height, &plane)
	} else {
		pdq.Reduce(img.Y, &plane)
	}
	res.Fingerprint = fleet.Fingerprint{PDQ: plane.Hash(), PDQQuality: plane.Quality(), PHash: phash.Sum((*[64 * 64]float32)(&plane))}
	if r.opts.ThumbnailWidth > 0 {
		res.Thumbnail = r.thumbnail(img)
	}
	return res, nil
}

func (r *Reader) decode(ctx context.Context, f fleet.Frame) (*codec.Image, error) {
	switch f.Codec {
	case fleet.JPEG:
		o := jpeg.Options{}
		if r.opts.ThumbnailWidth > 0 {
			o.Chroma = r.chromaScale(f.Data)
		}
		return jpeg.Decode(f.Data, o)
	case fleet.PNG:
		return codec.PNG(f.Data)
	case fleet.PGM:
		return codec.PGM(f.Data)
	}
	return r.worker.Decode(ctx, f.Codec, f.Data)
}

// chromaScale returns how far chroma may be scaled down while it still has half
// the thumbnail's width; cameras halve it once already.
func (r *Reader) chromaScale(data []byte) int {
	w, _, err := jpeg.Size(data)
	if err != nil {
		return 0 // decoding says what is wrong
	}
	scale := 1
	for scale < 8 && w/2/(scale*2) >= r.opts.ThumbnailWidth/2 {
		scale *= 2
	}
	return scale
}

// thumbnail makes a small JPEG. A picture that is smaller stays as it is.
func (r *Reader) thumbnail(img *codec.Image) []byte {
	w := min(r.opts.ThumbnailWidth, img.Y.Width)
	h := max(1, img.Y.Height*w/img.Y.Width)
	out := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	shrink(img.Y, codec.Plane{Pix: out.Y, Width: w, Height: h, Stride: out.YStride})
	if img.Studio { // a thumbnail is for eyes, and JPEG has the full range
		for i, v := range out.Y {
			out.Y[i] = uint8(min(max((int(v)-16)*255/219, 0), 255))
		}
	}
	cw, ch := (w+1)/2, (h+1)/2
	for dst, src := range map[*[]byte]codec.Plane{&out.Cb: img.Cb, &out.Cr: img.Cr} {
		if src.Width == 0 {
			for i := range *dst {
				(*dst)[i] = 128
			}
			continue
		}
		shrink(src, codec.Plane{Pix: *dst, Width: cw, Height: ch, Stride: out.CStride})
		if img.Studio {
			for i, v := range *dst {
				(*dst)[i] = uint8(min(max((int(v)-128)*255/224+128, 0), 255))
			}
		}
	}
	var b bytes.Buffer
	if stdjpeg.Encode(&b, out, &stdjpeg.Options{Quality: r.opts.ThumbnailQuality}) != nil {
		return nil // a bytes.Buffer does not fail; without a thumbnail all else stands
	}
	return b.Bytes()
}

// shrink averages src into dst's size; where dst is larger it repeats samples.
func shrink(src, dst codec.Plane) {
	sums := make([]uint32, dst.Width)
	for y := range dst.Height {
		y0 := y * src.Height / dst.Height
		y1 := max((y+1)*src.Height/dst.Height, y0+1)
		clear(sums)
		for sy := y0; sy < y1; sy++ {
			row := src.Row(sy)
			for x := range sums {
				x0 := x * src.Width / dst.Width
				x1 := max((x+1)*src.Width/dst.Width, x0+1)
				var s uint32
				for _, v := range row[x0:x1] {
					s += uint32(v)
				}
				sums[x] += s / uint32(x1-x0)
			}
		}
		out := dst.Row(y)
		for x, s := range sums {
			out[x] = uint8(s / uint32(y1-y0))
		}
	}
}
