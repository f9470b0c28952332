package h264

import (
	"bytes"
	"context"
	"slices"

	"github.com/shutterfleet/shutterfleet/capture/codec"
)

// mostMBs is how many macroblocks so many bytes of slices can hold.
//
// The shortest is Intra_16x16 with nothing coded. In CAVLC that is mb_type in 3
// bits, and mb_qp_delta, coeff_token and, with color, intra_chroma_pred_mode in
// one each; I_NxN takes 9 or more.
//
// In CABAC it is 7 decisions, 8 with color, and two terminating bins; I_NxN has
// 10 decisions or more. A decision costs -log2(1 - 9/510) = 0.0257 bits or more,
// in the most certain state of Table 9-45 and the widest range, and a terminating
// bin -log2(1 - 2/510) = 0.0057: 0.191 bits together, or 0.217, of which 41.8 or
// 36.9 fit a byte.
func mostMBs(size int, cabac, color bool) int {
	switch {
	case cabac && color:
		return 37 * size
	case cabac:
		return 42 * size
	case color:
		return 8 * size / 6
	}
	return 8 * size / 5
}

// freeMBs is for how many macroblocks a byte of the stream takes memory before
// any has come. An ordinary key frame has one in 3 to 30 bytes, so that it takes
// all at once; one that claims more has to bring half of it before it gets the
// other half. A macroblock is 440 bytes with its colors.
const freeMBs = 4

// begin starts a picture.
func (d *Decoder) begin(h *sliceHeader) {
	d.started, d.skipped, d.key, d.damage = true, false, h.pictureKey, nil
	d.shape, d.mbW, d.mbH, d.fullRange = h.sps, h.sps.mbW, h.sps.mbH, h.sps.fullRange
	d.total = d.mbW * d.mbH
	d.left, d.slices, d.mbs = d.total, d.slices[:0], d.mbs[:0]
	d.stride = [3]int{16 * d.mbW, 8 * d.mbW, 8 * d.mbW}
	p := d.pic
	p.Exact, p.Missing = nil, 0
	p.Y = codec.Plane{Pix: p.Y.Pix[:0], Width: 16 * d.mbW, Height: 16 * d.mbH, Stride: 16 * d.mbW}
	d.planes = [3][]byte{p.Y.Pix}
	for _, c := range []*codec.Plane{&p.Cb, &p.Cr} {
		*c = codec.Plane{Pix: c.Pix[:0]}
		if d.opts.Chroma && h.sps.chromaFormat == 1 {
			c.Width, c.Height, c.Stride = 8*d.mbW, 8*d.mbH, 8*d.mbW
		}
	}
	d.grow(freeMBs * d.size)
}

// grow takes memory for the rows of n macroblocks, keeping what is there.
func (d *Decoder) grow(n int) {
	rows := min((n+d.mbW-1)/d.mbW, d.mbH)
	n, had := rows*d.mbW, len(d.mbs)
	if cap(d.mbs) < n {
		d.mbs = append(make([]mbInfo, 0, n), d.mbs...)
	}
	d.mbs = d.mbs[:n]
	for i := had; i < n; i++ {
		d.mbs[i].slice = 0
	}
	for i, p := range []*codec.Plane{&d.pic.Y, &d.pic.Cb, &d.pic.Cr} {
		size := p.Height / d.mbH * rows * p.Stride
		if cap(p.Pix) < size {
			p.Pix = append(make([]byte, 0, size), p.Pix...)
		}
		p.Pix = p.Pix[:size]
		d.planes[i] = p.Pix
	}
}

// reach takes the memory for macroblock addr. It says false when too few came
// yet for one so far down.
func (d *Decoder) reach(addr int) bool {
	if addr >= len(d.mbs) {
		n := 2 * (d.total - d.left)
		if addr >= n {
			return false
		}
		d.grow(n)
	}
	return true
}

// finish ends the picture: filtered, or with what is missing filled in, and
// cropped.
func (d *Decoder) finish(ctx context.Context) error {
	switch {
	case d.left == 0 && d.damage != nil:
		return d.damage // slices that go on, or come twice: whatever it shows
	case d.left > 0 && (!d.opts.Partial || 2*d.left > d.total):
		return d.cutOff()
	case d.left > 0:
		d.fill()
	case d.opts.Deblock:
		d.deblock()
	}
	s, pic := d.shape, d.pic
	pic.Blocks = codec.Blocks{Width: s.width, Height: s.height, Left: s.left, Top: s.top, X: 16, Y: 16, Luma: [2]int{16, 16}, Chroma: [2]int{8, 8}}
	crop(&pic.Y, s.left, s.top, s.width, s.height)
	if len(pic.Cb.Pix) > 0 {
		crop(&pic.Cb, s.left/2, s.top/2, s.width/2, s.height/2)
		crop(&pic.Cr, s.left/2, s.top/2, s.width/2, s.height/2)
	}
	return ctxError(ctx)
}

// cutOff is the error for a picture that did not come whole.
func (d *Decoder) cutOff() error {
	if d.damage != nil {
		return d.damage
	}
	rows := d.mbH - len(d.mbs)/d.mbW
	for row := range slices.Chunk(d.mbs, d.mbW) {
		if slices.ContainsFunc(row, func(m mbInfo) bool { return m.slice == 0 }) {
			rows++
		}
	}
	return codec.Corrupt("the H.264 picture is cut off: %d of %d rows of macroblocks are missing", rows, d.mbH)
}

// fill makes what did not come gray.
func (d *Decoder) fill() {
	d.pic.Missing = float32(d.left) / float32(d.total)
	d.grow(d.total)
	gray := bytes.Repeat([]byte{128}, 16)
	for addr := range d.mbs {
		if d.mbs[addr].slice != 0 {
			continue
		}
		for i, plane := range d.planes {
			if len(plane) == 0 {
				break
			}
			size := 16
			if i > 0 {
				size = 8
			}
			at := addr/d.mbW*size*d.stride[i] + addr%d.mbW*size
			for y := range size {
				copy(plane[at+y*d.stride[i]:][:size], gray)
			}
		}
	}
}

// crop moves the rectangle to the plane's origin.
func crop(p *codec.Plane, left, top, width, height int) {
	if left > 0 || top > 0 {
		for y := range height {
			copy(p.Pix[y*p.Stride:y*p.Stride+width], p.Pix[(y+top)*p.Stride+left:])
		}
	}
	p.Width, p.Height = width, height
}
