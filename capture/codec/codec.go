// Package codec holds what all decoders share: the luma plane they make, and
// the limits they keep.
//
//	bytes ──jpeg, h264, worker, PNG, PGM──► Plane: luma as coded, 8 bit
//
// Luma is the coded Y plane, cropped as the stream says, its range never
// expanded: fingerprints of the same picture are then equal whatever decoded
// it. Colour PNG has no Y plane: 0.299 R + 0.587 G + 0.114 B.
package codec

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"strconv"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// The limits of one frame. An 8K camera has 33 million pixels.
const (
	MaxPixels = 8192 * 4320
	MaxBytes  = 16 << 20
	MinSide   = 16
)

// Plane is one plane of 8-bit samples.
type Plane struct {
	Pix           []byte
	Width, Height int
	Stride        int
}

// NewPlane returns a plane over buf if that is large enough, or a new one.
func NewPlane(w, h int, buf []byte) Plane {
	if n := w * h; cap(buf) >= n {
		buf = buf[:n]
	} else {
		buf = make([]byte, n)
	}
	return Plane{Pix: buf, Width: w, Height: h, Stride: w}
}

// Row returns row y.
func (p *Plane) Row(y int) []byte { return p.Pix[y*p.Stride : y*p.Stride+p.Width] }

// Image is what a decoder makes: luma, and chroma when it was asked for.
type Image struct {
	Y      Plane
	Cb, Cr Plane // empty for a gray picture, or smaller than Y
	Studio bool  // luma is 16..235 and not 0..255

	// Exact is luma that was computed from colours, before rounding; nil where
	// luma was coded.
	Exact []float32
}

// CheckSize refuses sizes that no camera has, before anything is allocated.
func CheckSize(w, h int) error {
	if w < MinSide || h < MinSide {
		return fleet.Errorf(fleet.CauseCorrupt, "the picture claims %dx%d pixels: no camera has that few", w, h)
	}
	if w > 1<<16-1 || h > 1<<16-1 || w*h > MaxPixels {
		return fleet.Errorf(fleet.CauseTooLarge, "the picture claims %dx%d pixels, at most %d million are read", w, h, MaxPixels/1_000_000)
	}
	return nil
}

// PNG decodes a PNG.
func PNG(data []byte) (*Image, error) {
	conf, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseCorrupt, "PNG: %v", err)
	}
	if err := CheckSize(conf.Width, conf.Height); err != nil {
		return nil, err
	}
	src, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fleet.Errorf(fleet.CauseCorrupt, "PNG: %v", err)
	}
	img := &Image{Y: NewPlane(conf.Width, conf.Height, nil)}
	if g, ok := src.(*image.Gray); ok {
		for y := range conf.Height {
			copy(img.Y.Row(y), g.Pix[y*g.Stride:])
		}
		return img, nil
	}
	// Thumbnails want colour; a quarter of it is enough.
	img.Cb, img.Cr = NewPlane((conf.Width+1)/2, (conf.Height+1)/2, nil), NewPlane((conf.Width+1)/2, (conf.Height+1)/2, nil)
	img.Exact = make([]float32, 0, conf.Width*conf.Height)
	b := src.Bounds()
	for y := range conf.Height {
		row := img.Y.Row(y)
		for x := range row {
			r16, g16, b16, _ := src.At(b.Min.X+x, b.Min.Y+y).RGBA()
			r, g, bl := uint8(r16>>8), uint8(g16>>8), uint8(b16>>8)
			v := 0.299*float32(r) + 0.587*float32(g) + 0.114*float32(bl)
			img.Exact = append(img.Exact, v)
			row[x] = uint8(v + 0.5)
			if x&1 == 0 && y&1 == 0 {
				_, cb, cr := color.RGBToYCbCr(r, g, bl)
				img.Cb.Row(y / 2)[x/2], img.Cr.Row(y / 2)[x/2] = cb, cr
			}
		}
	}
	return img, nil
}

// PGM decodes a binary PGM (P5) of 8 bits.
func PGM(data []byte) (*Image, error) {
	rest := data
	field := func() string {
		for len(rest) > 0 && (rest[0] <= ' ' || rest[0] == '#') {
			if rest[0] == '#' {
				i := bytes.IndexByte(rest, '\n')
				if i < 0 {
					rest = nil
					break
				}
				rest = rest[i:]
			}
			rest = rest[1:]
		}
		i := bytes.IndexAny(rest, " \t\r\n")
		if i < 0 || i > 8 {
			return ""
		}
		f := string(rest[:i])
		rest = rest[i:]
		return f
	}
	magic := field()
	w, err1 := strconv.Atoi(field())
	h, err2 := strconv.Atoi(field())
	most := field()
	if magic != "P5" || err1 != nil || err2 != nil || most != "255" || len(rest) == 0 {
		return nil, fleet.Errorf(fleet.CauseCorrupt, "PGM: want P5 with 8 bits")
	}
	if err := CheckSize(w, h); err != nil {
		return nil, err
	}
	if rest = rest[1:]; len(rest) < w*h {
		return nil, fleet.Errorf(fleet.CauseCorrupt, "PGM: %d bytes for %dx%d pixels", len(rest), w, h)
	}
	return &Image{Y: Plane{Pix: rest[:w*h], Width: w, Height: h, Stride: w}}, nil
}

// String tells the plane's size, for errors.
func (p *Plane) String() string { return fmt.Sprintf("%dx%d", p.Width, p.Height) }
