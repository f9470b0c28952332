package capture

import (
	"bytes"
	"context"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// thumbnailQuality makes about 10 kB of a 320 pixels wide picture.
const thumbnailQuality = 75

// tallest is how many times its greatest width a thumbnail may be high: more than
// an upright 16:9. What is narrower still becomes so high and no wider, for the
// width alone bounds nothing: 320 columns of 16,000 rows of noise are 2.8 MB, and a
// picture may have 65,535 rows. A scheduler takes 256 kB.
const tallest = 2

// Thumbnail returns f as a JPEG of the reader's width, or nil from a reader with
// NoThumbnail. JPEG frames are decoded at the smallest scale that still is as
// wide, and nothing else is computed of them; others are read as Read does it.
// What the mask hides is black; it may be nil. Errors are those of Read.
func (r *Reader) Thumbnail(ctx context.Context, f fleet.Frame, m *fleet.Mask) ([]byte, error) {
	if r.opts.NoThumbnail {
		return nil, nil
	}
	if f.Codec == fleet.JPEG {
		if thumb, err := r.thumbnailOfJPEG(ctx, f, m); !unsupported(err) {
			return thumb, err
		}
	}
	in, err := r.Inspect(ctx, f, Probe{Mask: m})
	return in.Thumbnail, err
}

func (r *Reader) thumbnailOfJPEG(ctx context.Context, f fleet.Frame, m *fleet.Mask) ([]byte, error) {
	d, err := r.sit(ctx)
	if err != nil {
		return nil, err
	}
	defer r.leave(d)
	width := r.opts.ThumbnailWidth
	o := jpeg.Options{Limits: r.opts.Limits, Chroma: (width + 1) / 2, Width: width}
	if err := d.jpeg.Decode(ctx, f.Data, o, &d.pic); err != nil {
		return nil, err
	}
	var v *veil
	if !m.Empty() {
		v = &d.veil
		v.set(m, &d.pic, r.opts.MaskExactly)
		v.hide(&d.pic)
	}
	thumb, err := d.shrink.encode(&d.pic, width, v)
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseInternal, "make the thumbnail: %w", err)
	}
	return thumb, nil
}

// shrinker makes thumbnails, in memory that it keeps.
type shrinker struct {
	small   codec.Picture
	columns codec.Columns
	parts   []span   // of a row: which samples make one
	upTo    []uint32 // sums of all columns before each
	coder   jpeg.Encoder
	out     []byte
}

// encode returns pic as a JPEG of at most the width, and tallest times as high.
// Chroma goes at half the size, as JPEG commonly has it; a picture without becomes
// a gray one. A sample into which something goes that v hides is black; v may be
// nil.
func (s *shrinker) encode(pic *codec.Picture, width int, v *veil) ([]byte, error) {
	w, h := thumbnailSize(pic.Y, width)
	small := &s.small
	s.reduce(pic.Y, w, h, &small.Y)
	if v != nil {
		v.shade(small.Y, pic.Y, v.luma, 0)
	}
	small.Cb.Width, small.Cr.Width = 0, 0 // no chroma, but the memory stays
	if pic.HasChroma() {
		cw, ch := (w+1)/2, (h+1)/2
		s.reduce(pic.Cb, cw, ch, &small.Cb)
		s.reduce(pic.Cr, cw, ch, &small.Cr)
		if v != nil {
			v.shade(small.Cb, pic.Cb, v.chroma, 128)
			v.shade(small.Cr, pic.Cr, v.chroma, 128)
		}
	}
	var err error
	if s.out, err = s.coder.Encode(s.out[:0], small, thumbnailQuality); err != nil {
		return nil, err
	}
	return bytes.Clone(s.out), nil
}

// thumbnailSize returns the size at which p fits a thumbnail of the width.
func thumbnailSize(p codec.Plane, width int) (w, h int) {
	w = min(width, p.Width)
	if h = max(1, (p.Height*w+p.Width/2)/p.Width); h > tallest*width {
		h = tallest * width
		w = max(1, (p.Width*h+p.Height/2)/p.Height)
	}
	return w, h
}

// reduce writes src at w x h samples to dst: each the mean of the samples that
// fall into it, or the nearest one where src is the smaller picture.
func (s *shrinker) reduce(src codec.Plane, w, h int, dst *codec.Plane) {
	dst.Resize(w, h, w)
	s.parts = s.parts[:0]
	for x := range w {
		left, right := part(x, w, src.Width)
		s.parts = append(s.parts, span{left, right})
	}
	if cap(s.upTo) <= src.Width {
		s.upTo = make([]uint32, src.Width+1)
	}
	s.upTo = s.upTo[:src.Width+1]
	for y := range h {
		top, bottom := part(y, h, src.Height)
		s.columns.Reset(src.Width)
		for k := top; k < bottom; k++ {
			s.columns.Add(src.Row(k), 1)
		}
		out, upTo := dst.Row(y), s.upTo
		sum := uint32(0) // it may wrap, differences are right all the same
		for x, v := range s.columns.Sums() {
			sum += v
			upTo[x+1] = sum
		}
		// The widths of parts differ by one at most.
		narrow := max(1, src.Width/w)
		divs := [2]divisor{divideBy((bottom - top) * narrow), divideBy((bottom - top) * (narrow + 1))}
		for x, p := range s.parts {
			// All columns' weights together stay below 2^24: 255 times as much fits.
			d := &divs[(p.b-p.a-narrow)&1]
			out[x] = byte(uint64(upTo[p.b]-upTo[p.a]+d.half) * d.scale >> 56)
		}
	}
}

// divisor is a number of samples, to divide their sum by: multiplying by scale and
// dropping 56 bits. With n samples of at most 255, and half of n for the rounding,
// a sum times what scale is too large by stays below 2^56 for n up to 2^24, so the
// quotient is exact.
type divisor struct {
	scale uint64
	half  uint32
}

func divideBy(n int) divisor {
	return divisor{(1<<56 + uint64(n) - 1) / uint64(n), uint32(n) / 2}
}

// part returns the samples of an axis that belong to sample i of n.
func part(i, n, size int) (from, until int) {
	from = i * size / n
	return from, max(from+1, (i+1)*size/n)
}
