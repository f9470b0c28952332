package capture

import (
	"bytes"
	"context"
	"image"
	stdjpeg "image/jpeg"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// thumbnailQuality makes about 10 kB of a 320 pixels wide picture.
const thumbnailQuality = 75

// Thumbnail returns f as a JPEG of the reader's width, or nil from a reader with
// NoThumbnail. JPEG frames are decoded at the smallest scale that still is as
// wide, and nothing else is computed of them; others are read as Read does it.
// What the mask hides is black; it may be nil. Errors are those of Read.
func (r *Reader) Thumbnail(ctx context.Context, f fleet.Frame, m *fleet.Mask) ([]byte, error) {
	if r.opts.NoThumbnail {
		return nil, nil
	}
	if f.Codec != fleet.JPEG {
		in, err := r.Inspect(ctx, f, Probe{Mask: m})
		return in.Thumbnail, err
	}
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
	small   [3]codec.Plane
	columns codec.Columns
	parts   []span // of a row: which samples make one
	out     bytes.Buffer
}

// encode returns pic as a JPEG of at most the width. Chroma goes at half the
// size, as JPEG commonly has it; a picture without becomes a gray one. A sample
// into which something goes that v hides is black; v may be nil.
func (s *shrinker) encode(pic *codec.Picture, width int, v *veil) ([]byte, error) {
	w := min(width, pic.Y.Width)
	h := max(1, (pic.Y.Height*w+pic.Y.Width/2)/pic.Y.Width)
	rect := image.Rect(0, 0, w, h)
	s.reduce(pic.Y, w, h, &s.small[0])
	if v != nil {
		v.shade(s.small[0], pic.Y, v.luma, 0)
	}
	var img image.Image = &image.Gray{Pix: s.small[0].Pix, Stride: w, Rect: rect}
	if pic.HasChroma() {
		cw, ch := (w+1)/2, (h+1)/2
		s.reduce(pic.Cb, cw, ch, &s.small[1])
		s.reduce(pic.Cr, cw, ch, &s.small[2])
		if v != nil {
			v.shade(s.small[1], pic.Cb, v.chroma, 128)
			v.shade(s.small[2], pic.Cr, v.chroma, 128)
		}
		img = &image.YCbCr{
			Y: s.small[0].Pix, Cb: s.small[1].Pix, Cr: s.small[2].Pix,
			YStride: w, CStride: cw, SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: rect,
		}
	}
	s.out.Reset()
	if err := stdjpeg.Encode(&s.out, img, &stdjpeg.Options{Quality: thumbnailQuality}); err != nil {
		return nil, err
	}
	return bytes.Clone(s.out.Bytes()), nil
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
	for y := range h {
		top, bottom := part(y, h, src.Height)
		s.columns.Reset(src.Width)
		for k := top; k < bottom; k++ {
			s.columns.Add(src.Row(k), 1)
		}
		sums, out, rows := s.columns.Sums(), dst.Row(y), uint32(bottom-top)
		for x, p := range s.parts {
			// All columns' weights together stay below 2^24: 255 times as much fits.
			t := uint32(0)
			for _, v := range sums[p.a:p.b] {
				t += v
			}
			n := rows * uint32(p.b-p.a)
			out[x] = byte((t + n/2) / n)
		}
	}
}

// part returns the samples of an axis that belong to sample i of n.
func part(i, n, size int) (from, until int) {
	from = i * size / n
	return from, max(from+1, (i+1)*size/n)
}
