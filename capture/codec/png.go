package codec

import (
	"bytes"
	"image"
	"image/color"
	"image/png"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// pngBytes bounds a PNG's decoded samples: deflate packs a thousand to one, so
// the length of the file says little. 64 MiB is a 16-megapixel picture with
// alpha; cameras that send PNG at all send far smaller ones.
const pngBytes = 64 << 20

// DecodePNG reads a PNG into pic, whose memory it uses again where it can. Gray
// pictures are taken as they are, color ones get Exact and a rounded Y, and
// chroma at full size when asked. Transparency is ignored.
func DecodePNG(data []byte, l Limits, chroma bool, pic *Picture) error {
	l = l.WithDefaults()
	if err := l.CheckBytes(len(data)); err != nil {
		return err
	}
	cfg, err := png.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return Corrupt("read PNG header: %w", err)
	}
	if err := l.CheckSize(cfg.Width, cfg.Height); err != nil {
		return err
	}
	raw := cfg.Width * cfg.Height * sampleBytes(cfg.ColorModel)
	if raw > pngBytes {
		return fleet.Errorf(fleet.CauseTooLarge, "the PNG holds %dx%d pixels in %d bytes: at most %d bytes are unpacked", cfg.Width, cfg.Height, raw, pngBytes)
	}
	// Deflate's longest match is 258 bytes for 2 bits: a shorter file cannot
	// hold the picture, and need not be given memory. 1 bit a pixel is the least.
	if len(data)*1040 < cfg.Width*cfg.Height/8 {
		return Corrupt("the PNG is cut off: %d bytes cannot hold %dx%d pixels", len(data), cfg.Width, cfg.Height)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return Corrupt("decode PNG: %w", err)
	}
	w, h := cfg.Width, cfg.Height
	if g, ok := img.(*image.Gray); ok {
		*pic = Picture{Y: Plane{Pix: g.Pix, Width: w, Height: h, Stride: g.Stride}}
		return nil
	}
	pic.Y.Resize(w, h, w)
	pic.Exact, pic.Missing = nil, 0
	pic.Cb, pic.Cr = Plane{Pix: pic.Cb.Pix}, Plane{Pix: pic.Cr.Pix}
	if g, ok := img.(*image.Gray16); ok {
		for y := range h {
			for x, row := 0, pic.Y.Row(y); x < w; x++ {
				row[x] = g.Pix[y*g.Stride+2*x] // the high byte
			}
		}
		return nil
	}
	pic.Exact = make([]float32, w*h)
	if chroma {
		pic.Cb.Resize(w, h, w)
		pic.Cr.Resize(w, h, w)
	}
	b := img.Bounds()
	at := rgbOf(img)
	for y := range h {
		for x := range w {
			r, g, bl := at(b.Min.X+x, b.Min.Y+y)
			v := Luma(r, g, bl)
			i := y*w + x
			pic.Exact[i] = v
			pic.Y.Pix[i] = byte(v + 0.5)
			if chroma {
				_, pic.Cb.Pix[i], pic.Cr.Pix[i] = color.RGBToYCbCr(r, g, bl)
			}
		}
	}
	return nil
}

// Luma is the luma of a color sample, by the weights of ITU-R BT.601 that PDQ
// and JPEG share, in float32 and not rounded.
func Luma(r, g, b byte) float32 {
	// The conversions keep compilers from fusing: all machines get the same sum.
	return float32(float32(0.299*float32(r))+float32(0.587*float32(g))) + float32(0.114*float32(b))
}

// rgbOf returns a reader of 8-bit color without alpha.
func rgbOf(img image.Image) func(x, y int) (r, g, b byte) {
	switch m := img.(type) {
	case *image.RGBA: // what image/png makes of opaque pictures
		return func(x, y int) (byte, byte, byte) {
			p := m.Pix[m.PixOffset(x, y):]
			return p[0], p[1], p[2]
		}
	case *image.NRGBA:
		return func(x, y int) (byte, byte, byte) {
			p := m.Pix[m.PixOffset(x, y):]
			return p[0], p[1], p[2]
		}
	case *image.Paletted: // whose entries may be transparent
		var colors [256][3]byte
		for i, c := range m.Palette {
			if p, ok := c.(color.NRGBA); ok {
				colors[i] = [3]byte{p.R, p.G, p.B}
			} else {
				r, g, b, _ := c.RGBA()
				colors[i] = [3]byte{byte(r >> 8), byte(g >> 8), byte(b >> 8)}
			}
		}
		return func(x, y int) (byte, byte, byte) {
			c := &colors[m.ColorIndexAt(x, y)]
			return c[0], c[1], c[2]
		}
	}
	return func(x, y int) (byte, byte, byte) {
		c, _ := color.NRGBA64Model.Convert(img.At(x, y)).(color.NRGBA64)
		return byte(c.R >> 8), byte(c.G >> 8), byte(c.B >> 8)
	}
}

// sampleBytes is what image/png takes for a pixel.
func sampleBytes(m color.Model) int {
	switch m {
	case color.GrayModel:
		return 1
	case color.Gray16Model:
		return 2
	case color.RGBAModel, color.NRGBAModel:
		return 4
	case color.RGBA64Model, color.NRGBA64Model:
		return 8
	}
	return 1 // a palette
}
