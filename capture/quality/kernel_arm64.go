package quality

import "github.com/shutterfleet/shutterfleet/capture/codec"

// accumulators are the fields of sums that the loop adds up, in this order:
// laplacian, tenengrad, noise, squares, sum, dark, bright, and one for nothing.
const accumulators = 8

// kernel is the vector path.
type kernel struct{ acc [accumulators]uint64 }

const (
	// vector is how many samples the loop takes at a time.
	vector = 16
	// longest is how many samples the loop may take before its sums have to be
	// stored: 128 vectors add 2*255 to each 16 bits of the samples' sum.
	longest = 128 * vector
)

// prepare gets ready for p, and says whether there is a vector path for it.
func (k *kernel) prepare(p codec.Plane, l codec.Level) bool {
	k.acc = [accumulators]uint64{}
	return l > codec.PlainGo && p.Width >= 2+vector && p.Height >= 3
}

// rows adds row y, which has one above and one below.
func (k *kernel) rows(p codec.Plane, y int, plain []uint16, s *sums) {
	above, row, below := p.Row(y-1), p.Row(y), p.Row(y+1)
	inner := p.Width - 2
	whole := inner / vector * vector
	for x := 0; x < whole; {
		n := min(longest, whole-x)
		stencilNEON(&above[x+1], &row[x+1], &below[x+1], n, &plain[x+1], &k.acc)
		x += n
	}
	if whole < inner {
		s.stencil(above[whole:], row[whole:], below[whole:], plain[whole:])
		s.add(row[whole+1 : inner+1])
	}
}

// flush adds what was gathered to s.
func (k *kernel) flush(s *sums) {
	s.laplacian += k.acc[0]
	s.tenengrad += k.acc[1]
	s.noise += k.acc[2]
	s.squares += k.acc[3]
	s.sum += k.acc[4]
	s.dark += k.acc[5]
	s.bright += k.acc[6]
}

// stencilNEON adds up n samples of a row, a multiple of 16 and at most longest,
// whose neighbors on all sides are there to be read. plain counts, for each, that
// it is no edge.
//
//go:noescape
func stencilNEON(above, row, below *byte, n int, plain *uint16, acc *[accumulators]uint64)
