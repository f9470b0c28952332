package capture

import (
	"bytes"
	"image"
	stdjpeg "image/jpeg"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// thumbnailQuality makes about 10 kB of a 320 pixels wide picture.
const thumbnailQuality = 75

// shrinker makes thumbnails, in memory that it keeps.
type shrinker struct {
	small   [3]codec.Plane
	columns codec.Columns
	out     bytes.Buffer
}

// encode returns pic as a JPEG of at most the width. Chroma goes at half the
// size, as JPEG commonly has it; a picture without becomes a gray one.
func (s *shrinker) encode(pic *codec.Picture, width int) ([]byte, error) {
	w := min(width, pic.Y.Width)
	h := max(1, (pic.Y.Height*w+pic.Y.Width/2)/pic.Y.Width)
	rect := image.Rect(0, 0, w, h)
	s.reduce(pic.Y, w, h, &s.small[0])
	var m image.Image = &image.Gray{Pix: s.small[0].Pix, Stride: w, Rect: rect}
	if pic.HasChroma() {
		cw, ch := (w+1)/2, (h+1)/2
		s.reduce(pic.Cb, cw, ch, &s.small[1])
		s.reduce(pic.Cr, cw, ch, &s.small[2])
		m = &image.YCbCr{
			Y: s.small[0].Pix, Cb: s.small[1].Pix, Cr: s.small[2].Pix,
			YStride: w, CStride: cw, SubsampleRatio: image.YCbCrSubsampleRatio420, Rect: rect,
		}
	}
	s.out.Reset()
	if err := stdjpeg.Encode(&s.out, m, &stdjpeg.Options{Quality: thumbnailQuality}); err != nil {
		return nil, err
	}
	return bytes.Clone(s.out.Bytes()), nil
}

// reduce writes src at w x h samples to dst: each the mean of the samples that
// fall into it, or the nearest one where src is the smaller picture.
func (s *shrinker) reduce(src codec.Plane, w, h int, dst *codec.Plane) {
	dst.Resize(w, h, w)
	for y := range h {
		top, bottom := part(y, h, src.Height)
		s.columns.Reset(src.Width)
		for k := top; k < bottom; k++ {
			s.columns.Add(src.Row(k), 1)
		}
		sums, out := s.columns.Sums(), dst.Row(y)
		for x := range out {
			left, right := part(x, w, src.Width)
			var t uint64
			for _, v := range sums[left:right] {
				t += uint64(v)
			}
			n := uint64((bottom - top) * (right - left))
			out[x] = byte((t + n/2) / n)
		}
	}
}

// part returns the samples of an axis that belong to sample i of n.
func part(i, n, size int) (from, until int) {
	from = i * size / n
	return from, max(from+1, (i+1)*size/n)
}
