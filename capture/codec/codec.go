// Package codec is where frames become pictures: what all decoders share, and
// the two that are too small for a folder of their own.
//
//	JPEG ─── codec/jpeg ──┐
//	H.264 ── codec/h264 ──┼──► Picture: luma plane (+ chroma, + exact luma)
//	PNG, PGM ── codec ────┤
//	the rest ── worker ───┘
//
// Luma is the coded Y plane, cropped as the stream says. Its range is never
// expanded, so the same picture gives the same bytes whichever decoder read it.
package codec

import (
	"cmp"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Plane is one component of a picture, a byte per sample, row by row.
// Sample (x, y) is Pix[y*Stride+x]. Bytes beyond Width in a row, and beyond the
// last row, belong to the decoder and mean nothing.
type Plane struct {
	Pix           []byte
	Width, Height int
	Stride        int
}

// Row returns the samples of row y.
func (p Plane) Row(y int) []byte { return p.Pix[y*p.Stride : y*p.Stride+p.Width : y*p.Stride+p.Width] }

// Valid says whether Pix holds all the samples that the other fields promise.
func (p Plane) Valid() bool {
	return p.Width > 0 && p.Height > 0 && p.Stride >= p.Width && len(p.Pix) >= (p.Height-1)*p.Stride+p.Width
}

// Resize gives p the size, keeping its memory where that is large enough.
// The samples are undefined afterwards.
func (p *Plane) Resize(width, height, stride int) {
	n := stride * height
	if cap(p.Pix) < n {
		p.Pix = make([]byte, n)
	}
	*p = Plane{Pix: p.Pix[:n], Width: width, Height: height, Stride: stride}
}

// Picture is a decoded frame. Chroma planes are there when they were asked for
// and the frame has them; each covers the whole picture at its own size.
type Picture struct {
	Y      Plane
	Cb, Cr Plane

	// Exact is the luma before rounding, of color pictures that were not coded
	// as luma: 0.299 R + 0.587 G + 0.114 B, Y.Width samples a row. Nil otherwise.
	Exact []float32

	// Missing is the share of the picture that did not come, where a decoder was
	// allowed to go on without: those samples are made up. 0 for a whole picture.
	Missing float32

	// Blocks says how the frame was coded, where the decoder knows.
	Blocks Blocks
}

// Blocks are the parts in which a frame was coded. What is seen at one sample of
// a block has left its traces on all others of it, and in a JPEG on no others.
// The zero Blocks are those of a frame that was not coded in any, or of which
// the decoder does not tell.
type Blocks struct {
	Width, Height int    // of the frame, in samples of luma at full size
	Left, Top     int    // how many of these are cropped off the first block
	X, Y          int    // a block's size, in the same samples
	Luma, Chroma  [2]int // and across and down in samples of the Picture's planes
}

// HasChroma says whether the picture came with color.
func (p *Picture) HasChroma() bool { return p.Cb.Valid() && p.Cr.Valid() }

// GridSize is the side of a Grid.
const GridSize = 64

// Grid is a picture reduced to 64x64 luma samples: what all fingerprints of a
// frame are computed from.
type Grid struct {
	Pix  [GridSize * GridSize]float32 // row by row
	X, Y [GridSize]float32            // where each column and row has its centre, as a share of width and height
}

// Limits bound what one frame may cost. They are checked against what a frame
// claims before memory is taken for it.
type Limits struct {
	Pixels int // width times height; default 8192*4320, the largest H.264 level
	Bytes  int // of the coded frame; default 16 MiB
	Scans  int // of a progressive JPEG; default 100
}

// maxSide is what fleet.Reading can say, and what JPEG can.
const maxSide = 65535

// WithDefaults returns l with its zero fields filled.
func (l Limits) WithDefaults() Limits {
	l.Pixels = cmp.Or(l.Pixels, 8192*4320)
	l.Bytes = cmp.Or(l.Bytes, 16<<20)
	l.Scans = cmp.Or(l.Scans, 100)
	return l
}

// CheckBytes refuses a coded frame of n bytes that is empty or too long.
func (l Limits) CheckBytes(n int) error {
	if n == 0 {
		return fleet.Errorf(fleet.CauseCorrupt, "the frame is empty")
	}
	if n > l.Bytes {
		return fleet.Errorf(fleet.CauseTooLarge, "the frame has %d bytes: at most %d are read", n, l.Bytes)
	}
	return nil
}

// CheckSize refuses a picture without area and one beyond the limits.
func (l Limits) CheckSize(width, height int) error {
	if width <= 0 || height <= 0 {
		return fleet.Errorf(fleet.CauseCorrupt, "the picture claims a size of %dx%d", width, height)
	}
	if width > maxSide || height > maxSide || width > l.Pixels/height {
		return fleet.Errorf(fleet.CauseTooLarge, "the picture claims %dx%d pixels: at most %d are decoded", width, height, l.Pixels)
	}
	return nil
}

// Corrupt is the error for a frame that is not what it says it is.
func Corrupt(format string, args ...any) error {
	return fleet.Errorf(fleet.CauseCorrupt, format, args...)
}

// Unsupported is the error for a sound frame that the decoder does not read.
func Unsupported(format string, args ...any) error {
	return fleet.Errorf(fleet.CauseUnsupportedCodec, format, args...)
}
