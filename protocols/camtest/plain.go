package camtest

import (
	"image"
	"math/bits"
)

// plainKey codes a picture as a key frame of H.264 whose macroblocks are all
// samples as they are (I_PCM, ITU-T H.264, 7.3.5): large, exact, and nothing to
// get wrong. It is for what no recorded clip shows. id tells it from the key
// frame before (7.4.3). The size is the clips'.
func plainKey(img *image.RGBA, id uint) (units [][]byte) {
	width, height := img.Rect.Dx(), img.Rect.Dy()
	cols, rows := (width+15)/16, (height+15)/16
	y := planar{img: img}

	var sps bitWriter // 7.3.2.1.1
	sps.bits(8, 66)   // Baseline,
	sps.bits(8, 0xc0) // and Main
	sps.bits(8, 40)   // level 4
	sps.ue(0)         // its number
	sps.ue(0)         // 4 bits of frame_num
	sps.ue(2)         // pictures are shown in the order they come
	sps.ue(0)         // no reference frames
	sps.bits(1, 0)
	sps.ue(uint(cols - 1))
	sps.ue(uint(rows - 1))
	sps.bits(2, 3) // frames only; direct_8x8_inference_flag goes with that
	sps.bits(1, 1) // cropped
	sps.ue(0)
	sps.ue(uint(cols*16-width) / 2)
	sps.ue(0)
	sps.ue(uint(rows*16-height) / 2)
	sps.bits(1, 0) // no VUI: luma of 16 to 235
	sps.end()

	var pps bitWriter // 7.3.2.2
	pps.ue(0)
	pps.ue(0)
	pps.bits(2, 0) // CAVLC
	pps.ue(0)
	pps.ue(0)
	pps.ue(0)
	pps.bits(3, 0)
	pps.ue(0) // all quantisers as they are
	pps.ue(0)
	pps.ue(0)
	pps.bits(3, 4) // slices say whether they are filtered
	pps.end()

	s := bitWriter{b: make([]byte, 0, cols*rows*386+64)} // 7.3.3
	s.ue(0)
	s.ue(7) // all slices are I
	s.ue(0)
	s.bits(4, 0)
	s.ue(id & 1)
	s.bits(2, 0)
	s.ue(0)
	s.ue(1) // no loop filter
	for my := range rows {
		for mx := range cols {
			s.ue(25)
			s.align()
			for i := range 256 {
				s.b = append(s.b, y.luma(mx*16+i%16, my*16+i/16))
			}
			for c := range 2 {
				for i := range 64 {
					s.b = append(s.b, y.chroma(c, mx*8+i%8, my*8+i/8))
				}
			}
		}
	}
	s.end()
	return [][]byte{sps.unit(0x60 | nalSPS), pps.unit(0x60 | nalPPS), s.unit(0x60 | nalIDR)}
}

// planar reads a picture as Y'CbCr of BT.601 in 16..235 (8 bits of fraction),
// its last row and column repeated as far as one asks.
type planar struct{ img *image.RGBA }

func (p planar) at(x, y int) (r, g, b int) {
	o := p.img.PixOffset(min(x, p.img.Rect.Dx()-1), min(y, p.img.Rect.Dy()-1))
	return int(p.img.Pix[o]), int(p.img.Pix[o+1]), int(p.img.Pix[o+2])
}

func (p planar) luma(x, y int) byte {
	r, g, b := p.at(x, y)
	return byte(16 + (66*r+129*g+25*b+128)>>8)
}

// chroma is Cb or Cr of the upper left of the four samples that share it.
func (p planar) chroma(c, x, y int) byte {
	r, g, b := p.at(2*x, 2*y)
	if c == 0 {
		return byte(128 + (-38*r-74*g+112*b+128)>>8)
	}
	return byte(128 + (112*r-94*g-18*b+128)>>8)
}

// bitWriter writes a unit's syntax elements.
type bitWriter struct {
	b    []byte
	free int // bits of the last byte
}

func (w *bitWriter) bits(n int, v uint) {
	for n--; n >= 0; n-- {
		if w.free == 0 {
			w.b, w.free = append(w.b, 0), 8
		}
		w.free--
		w.b[len(w.b)-1] |= byte(v>>n&1) << w.free
	}
}

// ue writes an Exp-Golomb code (9.1).
func (w *bitWriter) ue(v uint) {
	n := bits.Len(v + 1)
	w.bits(n-1, 0)
	w.bits(n, v+1)
}

func (w *bitWriter) align() { w.free = 0 }

// end writes rbsp_trailing_bits.
func (w *bitWriter) end() {
	w.bits(1, 1)
	w.align()
}

// unit is what was written as a NAL unit, in which nothing looks like a start
// code (7.4.1.1).
func (w *bitWriter) unit(header byte) []byte {
	out := append(make([]byte, 0, len(w.b)+len(w.b)/64+8), header)
	zeros := 0
	for _, v := range w.b {
		if zeros >= 2 && v <= 3 {
			out, zeros = append(out, 3), 0
		}
		if zeros++; v != 0 {
			zeros = 0
		}
		out = append(out, v)
	}
	return out
}
