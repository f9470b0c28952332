//go:build gocv

package opencv

import (
	"context"
	"image/color"

	"gocv.io/x/gocv"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Options say how far to decode.
type Options struct {
	Limits codec.Limits

	// Chroma asks for the color planes, at the smallest scale that leaves them at
	// least so many samples wide, or at the picture's size. 0 asks for none. Of a
	// JPEG they take a second decoding.
	Chroma int
}

// Decode reads one still into pic, using its memory again. It may be called by
// several goroutines at a time, each with a picture of its own. What fails is a
// *fleet.CameraError: corrupt, too-large, unsupported-codec, and timeout for a ctx
// that ended before: once OpenCV has begun, it ends by itself.
//
// Luma of a JPEG is the coded plane; of one in RGB or CMYK it is what libjpeg and
// OpenCV mix of them. Color pictures of other formats get Exact. A picture is not
// turned by what its Exif data says of the camera.
func Decode(ctx context.Context, data []byte, o Options, pic *codec.Picture) error {
	h, err := inspect(data, o.Limits)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fleet.Errorf(fleet.CauseTimeout, "decode by OpenCV: %w", context.Cause(ctx))
	}
	*pic = codec.Picture{Y: pic.Y, Cb: codec.Plane{Pix: pic.Cb.Pix}, Cr: codec.Plane{Pix: pic.Cr.Pix}}
	if h.gray {
		err = decode(data, gocv.IMReadGrayScale, h.width, h.height, 1, func(gray []byte) {
			pic.Y.Resize(h.width, h.height, h.width)
			copy(pic.Y.Pix, gray)
		})
		if err != nil || o.Chroma <= 0 || !h.scales {
			return err
		}
	}
	flags, scale := gocv.IMReadColor, 1
	if h.scales {
		flags, scale = reduced(h.width, o.Chroma)
	}
	w, ht := (h.width+scale-1)/scale, (h.height+scale-1)/scale
	return decode(data, flags, w, ht, 3, func(bgr []byte) {
		if !h.gray {
			luma(bgr, w, ht, pic)
		}
		if o.Chroma > 0 {
			chroma(bgr, w, ht, pic)
		}
	})
}

// reduced is how OpenCV is asked for colors of at least so many samples a row.
func reduced(width, wanted int) (flags gocv.IMReadFlag, scale int) {
	switch {
	case (width+7)/8 >= wanted:
		return gocv.IMReadReducedColor8, 8
	case (width+3)/4 >= wanted:
		return gocv.IMReadReducedColor4, 4
	case (width+1)/2 >= wanted:
		return gocv.IMReadReducedColor2, 2
	}
	return gocv.IMReadColor, 1
}

// decode has OpenCV decode data to a picture of the size, and shows its samples,
// which are OpenCV's and gone when take returns.
func decode(data []byte, flags gocv.IMReadFlag, width, height, channels int, take func([]byte)) error {
	m := gocv.NewMat()
	defer func() { _ = m.Close() }() // it has no error to give
	// Into a picture that is new each time: of data that OpenCV does not read it
	// would leave the one before.
	if err := gocv.IMDecodeIntoMat(data, flags|gocv.IMReadIgnoreOrientation, &m); err != nil {
		return codec.Corrupt("decode by OpenCV: %w", err)
	}
	if m.Empty() {
		return codec.Corrupt("OpenCV found no picture in the data")
	}
	if m.Cols() != width || m.Rows() != height || m.Channels() != channels {
		return codec.Corrupt("OpenCV made %dx%d of %d channels of a picture that claims %dx%d", m.Cols(), m.Rows(), m.Channels(), width, height)
	}
	pix, err := m.DataPtrUint8()
	if err != nil || len(pix) != width*height*channels {
		return fleet.Errorf(fleet.CauseInternal, "take OpenCV's picture: %d bytes, %w", len(pix), err)
	}
	take(pix)
	return nil
}

// luma mixes the luma of colors that were not coded as luma.
func luma(bgr []byte, width, height int, pic *codec.Picture) {
	pic.Y.Resize(width, height, width)
	pic.Exact = make([]float32, width*height)
	for i := range pic.Exact {
		v := codec.Luma(bgr[3*i+2], bgr[3*i+1], bgr[3*i])
		pic.Exact[i] = v
		pic.Y.Pix[i] = byte(v + 0.5)
	}
}

func chroma(bgr []byte, width, height int, pic *codec.Picture) {
	pic.Cb.Resize(width, height, width)
	pic.Cr.Resize(width, height, width)
	for i := range pic.Cb.Pix {
		_, pic.Cb.Pix[i], pic.Cr.Pix[i] = color.RGBToYCbCr(bgr[3*i+2], bgr[3*i+1], bgr[3*i])
	}
}
