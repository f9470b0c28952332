package jpeg

import (
	"context"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// whole says whether the picture is there without its end marker, and that is
// enough. Of a progressive one nobody knows whether more was to come.
func (d *Decoder) whole() bool {
	if !d.opts.Partial || !d.frame || d.progressive {
		return false
	}
	for i := range d.used {
		if d.used[i].wanted && !d.used[i].seen {
			return false
		}
	}
	return true
}

// finish checks that all came, transforms what was only collected, and mixes
// the luma of pictures that have none.
func (d *Decoder) finish(ctx context.Context, pic *codec.Picture) error {
	if !d.frame {
		return codec.Corrupt("the JPEG has no frame header")
	}
	for i := range d.used {
		c := &d.used[i]
		if !c.wanted {
			continue
		}
		if !c.seen {
			return codec.Corrupt("the JPEG ends before its component %d", i)
		}
		if d.progressive {
			if err := d.transform(ctx, c); err != nil {
				return err
			}
		}
	}
	if d.opts.Detail != nil {
		*d.opts.Detail = d.detail
	}
	pic.Exact, pic.Missing = nil, d.missing
	y := &d.used[0]
	pic.Blocks = codec.Blocks{Width: d.width, Height: d.height, X: 8 * d.hmax, Y: 8 * d.vmax, Luma: [2]int{y.h * y.side, y.v * y.side}}
	if c := &d.used[len(d.used)-1]; c.wanted {
		pic.Blocks.Chroma = [2]int{c.h * c.side, c.v * c.side}
	}
	if d.rgb {
		d.mix(pic)
	}
	if len(d.used) == 1 || d.opts.Chroma <= 0 {
		pic.Cb, pic.Cr = codec.Plane{Pix: pic.Cb.Pix[:0]}, codec.Plane{Pix: pic.Cr.Pix[:0]}
	}
	return nil
}

// mix replaces the planes of an RGB picture by luma and color differences.
func (d *Decoder) mix(pic *codec.Picture) {
	for i, r := range pic.Y.Pix {
		if i >= len(pic.Cb.Pix) || i >= len(pic.Cr.Pix) {
			break
		}
		pic.Y.Pix[i], pic.Cb.Pix[i], pic.Cr.Pix[i] = ycc(r, pic.Cb.Pix[i], pic.Cr.Pix[i])
	}
}
