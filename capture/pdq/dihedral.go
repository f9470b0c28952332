package pdq

import (
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Dihedral holds the hashes that a picture would have if it were turned or
// mirrored, under the reference's names.
type Dihedral struct {
	Original   fleet.PDQ
	Rotate90   fleet.PDQ // counter-clockwise
	Rotate180  fleet.PDQ
	Rotate270  fleet.PDQ
	FlipX      fleet.PDQ // top and bottom change places
	FlipY      fleet.PDQ // left and right change places
	FlipPlus1  fleet.PDQ // the upper left corner stays
	FlipMinus1 fleet.PDQ // the upper right corner stays
}

// SumDihedral returns all eight hashes from one transform: mirroring changes
// the signs of odd coefficients, turning transposes them. The hash of a picture
// that was really turned is near to these and not always equal, because the 64
// points of its grid lie a little elsewhere.
func (h *Hasher) SumDihedral(g *codec.Grid) Dihedral {
	h.transform(g)
	c := h.coef
	turned := func(transpose bool, rowSign, colSign float64) fleet.PDQ {
		var t [hashSize * hashSize]float64
		for i := range hashSize {
			for j := range hashSize {
				v := c[i*hashSize+j]
				if transpose {
					v = c[j*hashSize+i]
				}
				// Row 0 of the block is frequency 1: even indices are odd ones.
				if i%2 == 0 {
					v *= rowSign
				}
				if j%2 == 0 {
					v *= colSign
				}
				t[i*hashSize+j] = v
			}
		}
		return h.bits(&t)
	}
	return Dihedral{
		Original:   turned(false, 1, 1),
		Rotate90:   turned(true, -1, 1),
		Rotate180:  turned(false, -1, -1),
		Rotate270:  turned(true, 1, -1),
		FlipX:      turned(false, -1, 1),
		FlipY:      turned(false, 1, -1),
		FlipPlus1:  turned(true, 1, 1),
		FlipMinus1: turned(true, -1, -1),
	}
}
