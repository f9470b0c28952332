package capture

import (
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// How a mask is applied. A block of the coded picture that a shape touches at
// all is hidden:
//
//	frame ──► luma ──mean of what is seen──► fingerprints, scores
//	     └──► luma, chroma ──black──► thumbnail
//
// A sample beside a shape has traces of what the shape hides when both were
// coded in one block, so whole blocks are hidden, of 16x16 samples at least: in
// a JPEG nothing of what a shape hides is in any other. Video predicts a block
// from its neighbors, and corrects what it predicted as far as its quantiser
// goes: less than that is left of what is hidden in the blocks beside it.
//
// Hashes are taken over hidden samples set to the mean of those that are seen.
// Whatever happens behind the mask then changes no bit of them, and the mean is
// the level that adds least of the mask's own outline: black shapes would be the
// strongest edges of many a picture, and make hashes of one camera all alike.
// The hash of a masked picture is one of another picture: compare it with
// hashes under the same mask. SHA-256 stays that of the whole frame, and tells
// only whether two frames are the same.

const (
	// macroblock is the least that is hidden of a picture on either axis: what
	// most video is coded in, and a JPEG with the usual chroma. It is as much for
	// any other, so that hashes of one scene compare.
	macroblock = 16
	// transform is the largest that H.265 transforms at once (H.265, 7.4.3.2.1),
	// and a pair of H.264's field macroblocks (H.264, 6.4), which FFmpeg decodes.
	transform = 32
)

// veil is which blocks of a picture are hidden.
type veil struct {
	codec.Blocks
	luma, chroma cell
	cols, rows   int
	hidden       []bool // row by row

	spans     []span
	crossings []crossing
}

// cell is a block in samples of a plane, and how many of the first one's are
// cropped off.
type cell struct{ x, y, left, top int }

// set makes v the blocks of pic that the mask, which is not empty, touches:
// exactly, the smallest that the samples of all its planes make up, else those
// that it was coded in. A picture whose chroma cannot be hidden, because nobody
// knows which part of the frame its samples show, loses it.
func (v *veil) set(m *fleet.Mask, pic *codec.Picture, exactly bool) {
	b := pic.Blocks
	if b.X == 0 {
		b = codec.Blocks{Width: pic.Y.Width, Height: pic.Y.Height, X: 1, Y: 1, Luma: [2]int{1, 1}, Chroma: [2]int{1, 1}}
		if pic.HasChroma() && (pic.Cb.Width != b.Width || pic.Cb.Height != b.Height) {
			loseChroma(pic)
		}
	}
	// One cell serves both: planes of one size have one, or one block alone.
	if pic.HasChroma() && (pic.Cb.Width != pic.Cr.Width || pic.Cb.Height != pic.Cr.Height) {
		loseChroma(pic)
	}
	for i, side := range []*int{&b.X, &b.Y} {
		by, over := 1, 1
		if exactly {
			over = gcd(gcd(*side, b.Luma[i]), b.Chroma[i])
		} else {
			for *side*by%macroblock != 0 {
				by++
			}
		}
		*side, b.Luma[i], b.Chroma[i] = *side*by/over, b.Luma[i]*by/over, b.Chroma[i]*by/over
	}
	v.Blocks = b
	v.luma = cell{b.Luma[0], b.Luma[1], b.Left * b.Luma[0] / b.X, b.Top * b.Luma[1] / b.Y}
	v.chroma = cell{b.Chroma[0], b.Chroma[1], b.Left * b.Chroma[0] / b.X, b.Top * b.Chroma[1] / b.Y}
	v.cols, v.rows = (b.Left+b.Width+b.X-1)/b.X, (b.Top+b.Height+b.Y-1)/b.Y
	if n := v.cols * v.rows; cap(v.hidden) < n {
		v.hidden = make([]bool, n)
	} else {
		v.hidden = v.hidden[:n]
		clear(v.hidden)
	}
	v.cover(m, func(y int, hidden []span) {
		row := v.hidden[y*v.cols:][:v.cols]
		for _, s := range hidden {
			for x := s.a; x < s.b; x++ {
				row[x] = true
			}
		}
	})
}

func loseChroma(pic *codec.Picture) {
	pic.Cb, pic.Cr = codec.Plane{Pix: pic.Cb.Pix[:0]}, codec.Plane{Pix: pic.Cr.Pix[:0]}
}

// gcd is the greatest number that divides both; 0 is divided by any.
func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// row returns which blocks of a plane's row are hidden.
func (v *veil) row(c cell, y int) []bool {
	return v.hidden[(y+c.top)/c.y*v.cols:][:v.cols]
}

// parts calls f for the row's samples, block by block.
func (v *veil) parts(c cell, y, width int, f func(from, until int, hidden bool)) {
	for x, hidden := range v.row(c, y) {
		if from, until := max(0, x*c.x-c.left), min(width, (x+1)*c.x-c.left); from < until {
			f(from, until, hidden)
		}
	}
}

// fill sets the hidden samples of a plane.
func (v *veil) fill(p codec.Plane, c cell, to byte) {
	for y := range p.Height {
		row := p.Row(y)
		v.parts(c, y, p.Width, func(from, until int, hidden bool) {
			if hidden {
				part := row[from:until]
				for x := range part {
					part[x] = to
				}
			}
		})
	}
}

// shade sets the samples of a plane that was reduced from one with such cells,
// where something hidden goes into them.
func (v *veil) shade(small, from codec.Plane, c cell, to byte) {
	for y := range small.Height {
		top, bottom := part(y, small.Height, from.Height)
		row := small.Row(y)
		for x := range row {
			left, right := part(x, small.Width, from.Width)
			first, last := (left+c.left)/c.x, (right-1+c.left)/c.x
			for by := (top + c.top) / c.y; by <= (bottom-1+c.top)/c.y; by++ {
				for bx := first; bx <= last; bx++ {
					if v.hidden[by*v.cols+bx] {
						row[x] = to
					}
				}
			}
		}
	}
}

// hide sets the hidden samples of a picture to the mean of those seen, and its
// colors there to none. A picture that is hidden as a whole turns middle gray.
// No hidden sample enters the mean, not even by a rounding. It returns how much
// of the picture is seen, as a share of its samples.
func (v *veil) hide(pic *codec.Picture) float64 {
	p := pic.Y
	var sum, seen uint64
	var exact float64
	for y := range p.Height {
		row := p.Row(y)
		v.parts(v.luma, y, p.Width, func(from, until int, hidden bool) {
			if hidden {
				return
			}
			for _, s := range row[from:until] {
				sum += uint64(s)
			}
			if pic.Exact != nil {
				for _, s := range pic.Exact[y*p.Width+from : y*p.Width+until] {
					exact += float64(s)
				}
			}
			seen += uint64(until - from)
		})
	}
	mean, level := byte(128), float32(128)
	if seen > 0 {
		mean, level = byte((sum+seen/2)/seen), float32(exact/float64(seen))
	}
	v.fill(p, v.luma, mean)
	if pic.Exact != nil {
		for y := range p.Height {
			v.parts(v.luma, y, p.Width, func(from, until int, hidden bool) {
				for x := from; hidden && x < until; x++ {
					pic.Exact[y*p.Width+x] = level
				}
			})
		}
	}
	if pic.HasChroma() {
		v.fill(pic.Cb, v.chroma, 128)
		v.fill(pic.Cr, v.chroma, 128)
	}
	return float64(seen) / float64(p.Width*p.Height)
}

// leastSeen is the share of a picture that must be seen for a verdict. The
// hidden rest is of one level and never changes, and takes the contrast and the
// change of the whole picture along: ordinary frames come to be called flat and
// frozen. Of 1,280 ordinary ones, of 8 scenes under 4 masks each, so many were
// faulted: none where a half was seen, 3 at 0.3, 16 at a quarter, 48 at a fifth,
// 64 at 0.15, 135 at a tenth.
const leastSeen = 1.0 / 4
