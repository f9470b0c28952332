package phash

import (
	"math"

	"github.com/shutterfleet/shutterfleet/fleet/portable"
)

// small is the side of the picture that is transformed.
const small = 32

const (
	lobes = 3 // of the Lanczos filter

	// enoughCells is how fine an axis has to be cut: neighboring samples are added
	// up before they are weighted as long as this many sums remain. With 512, all
	// pictures of the parity table stay within two bits; with 256, four do not.
	enoughCells = 512

	// precision is Pillow's: bits behind the point of a weight.
	precision = 22
)

// axis is Pillow's antialiased Lanczos filter along one axis, for 32 outputs.
// Output o is the sum of weight times cell from From[o] on, rounded after shift
// bits. A cell is the sum of bin neighboring samples, the last one of fewer.
type axis struct {
	size  int
	bin   int // a power of two
	cells int
	shift uint
	taps  int // for each output, the unused ones zero
	from  [small]int32
	// weights has taps numbers for each output. |weight| < 2^limit, and all of
	// one output together, times 255, stay below 2^31.
	weights []int32
	share   []float64 // of the cells in one output, while the weights are made
}

// prepare fills a for size samples and weights of at most the bits; the second
// time with the same size costs nothing.
func (a *axis) prepare(size, cells int, bits uint) {
	if a.size == size {
		return
	}
	a.size, a.bin = size, 1
	for size/(2*a.bin) >= cells {
		a.bin *= 2
	}
	a.cells = (size + a.bin - 1) / a.bin
	scale := float64(size) / small
	stretch := max(scale, 1)
	reach := float64(lobes * stretch) // rounded before it is added to something, on every processor
	a.taps = min(a.cells, int(2*reach)/a.bin+3)
	a.shift = precision
	for a.shift > 0 && math.Ldexp(1, int(a.shift)) > (math.Ldexp(1, int(bits))-1)*stretch*0.9 {
		a.shift-- // the largest weight is about 1/stretch, at the edges a little more
	}
	if cap(a.weights) < small*a.taps {
		a.weights = make([]int32, small*a.taps)
	}
	if cap(a.share) < a.taps {
		a.share = make([]float64, a.taps)
	}
	a.weights = a.weights[:small*a.taps]
	for o := range small {
		centre := float64((float64(o) + 0.5) * scale)
		first, until := max(0, int(centre-reach+0.5)), min(size, int(centre+reach+0.5))
		from := min(first/a.bin, a.cells-a.taps)
		a.from[o] = int32(from)
		share := a.share[:a.taps]
		clear(share)
		var sum float64
		for x := first; x < until; x++ {
			w := lanczos((float64(x) - centre + 0.5) / stretch)
			share[x/a.bin-from] += w
			sum += w
		}
		for k, w := range share {
			n := min(a.bin, size-(from+k)*a.bin)
			a.weights[o*a.taps+k] = int32(math.Round(w / sum / float64(n) * math.Ldexp(1, int(a.shift))))
		}
	}
}

func lanczos(x float64) float64 {
	if x <= -lobes || x >= lobes {
		return 0
	}
	return float64(sinc(x) * sinc(x/lobes))
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return portable.Sin(math.Pi*x) / (math.Pi * x)
}
