package jpeg

// Detail tells how the contrast within the 8x8 blocks of luma divides among
// their frequencies: sums of squared coefficients, in units of squared samples.
// The transform keeps sums of squares (Parseval), so that all three together are
// 64 times Blocks times the mean variance within a block, up to rounding.
//
// Of an RGB picture it is red's.
//
// Blur takes from Fine first and from Coarse last, which makes their ratio an
// estimate of it that costs no transform. So does a strong quantiser: compare
// pictures of one camera and one setting only.
type Detail struct {
	Blocks int
	Coarse int64 // coefficients 1 to 5 in coding order: up to one wave across a block
	Medium int64 // 6 to 20
	Fine   int64 // 21 to 63
}

// The last coefficients of a band: whole diagonals of a block, T.81 Figure A.6.
const (
	lastCoarse = 5
	lastMedium = 20
)

// Sharpness is the share of Medium and Fine in all detail, 0 for a picture
// without any.
func (d Detail) Sharpness() float64 {
	fine := float64(d.Medium) + float64(d.Fine)
	if fine == 0 {
		return 0
	}
	return fine / (fine + float64(d.Coarse))
}

// add takes up one block whose coefficients are set up to last.
func (d *Detail) add(b *block, last int) {
	d.Blocks++
	var sums [3]int64
	for k := 1; k <= last; k++ {
		// Coefficients beyond 32767 come from hostile tables only: what their
		// squares wrap to is no matter.
		v := int64(b[zigzag[k&63]])
		band := 0
		if k > lastMedium {
			band = 2
		} else if k > lastCoarse {
			band = 1
		}
		sums[band] += v * v
	}
	d.Coarse += sums[0]
	d.Medium += sums[1]
	d.Fine += sums[2]
}
