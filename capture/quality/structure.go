package quality

import "math"

// structure is what a plane shows beyond its own surroundings: each cell less
// the mean of the five by five around it, times 25. Shadows, lamps and weather,
// which change levels over wider parts, are not in it.
type structure [cells]int16

const window = 5

// fill takes the structure of p. At the border the window goes on as the border.
func (s *structure) fill(p *Plane) {
	const half = window / 2
	var rows [side]int // of each column, the sum over the rows of the window
	for x := range side {
		for y := -half; y <= half; y++ {
			rows[x] += int(p[max(y, 0)*side+x])
		}
	}
	for y := range side {
		sum := 0
		for x := -half; x <= half; x++ {
			sum += rows[max(x, 0)]
		}
		for x := range side {
			s[y*side+x] = int16(window*window*int(p[y*side+x]) - sum)
			sum += rows[min(x+half+1, side-1)] - rows[max(x-half, 0)]
		}
		for x := range side {
			rows[x] += int(p[min(y+half+1, side-1)*side+x]) - int(p[max(y-half, 0)*side+x])
		}
	}
}

// blocks is how a frame's structure meets the background's, block by block.
type blocks struct {
	alike [Blocks * Blocks]float32 // Pearson's correlation, around zero
	was   [Blocks * Blocks]float32 // root mean square of the background's, in levels
	is    [Blocks * Blocks]float32 // of the frame's
}

func (b *blocks) compare(bg, now *structure) {
	const n = side / Blocks
	for i := range b.alike {
		var uu, vv, uv int64
		first := i/Blocks*n*side + i%Blocks*n
		for y := first; y < first+n*side; y += side {
			for x := y; x < y+n; x++ {
				u, v := int64(bg[x]), int64(now[x])
				uu += u * u
				vv += v * v
				uv += u * v
			}
		}
		const scale = window * window * n
		b.was[i] = float32(math.Sqrt(float64(uu)) / scale)
		b.is[i] = float32(math.Sqrt(float64(vv)) / scale)
		b.alike[i] = 0
		if uu > 0 && vv > 0 {
			b.alike[i] = float32(float64(uv) / math.Sqrt(float64(uu)*float64(vv)))
		}
	}
}

// overlays is how many blocks may hold a clock or a name that is written over
// the picture: it stays where it is, whatever the camera is turned to.
const overlays = 2

// rest is how much of what the frame shows stands where it did, as a share of
// the structure's energy, but for the blocks of the overlays.
func (b *blocks) rest() float64 {
	var all, same float64
	var most [overlays]float64 // of same, largest first
	for i, v := range b.is {
		energy := float64(float64(v) * float64(v))
		s := float64(energy * max(0, float64(b.alike[i])))
		all += energy
		same += s
		for k := range most {
			if s > most[k] {
				s, most[k] = most[k], s
			}
		}
	}
	for _, s := range most {
		all -= s
		same -= s
	}
	if all <= 0 {
		return 0
	}
	return same / all
}

const (
	freshEdges = 0.01 // of a block's samples: it shows something sharp
	freshAlike = 0.4  // less, and that was not there before
)

// fresh is the share of blocks with edges that are not the background's.
func (b *blocks) fresh(edges *[Blocks * Blocks]float32) float64 {
	n := 0
	for i, v := range edges {
		if v > freshEdges && b.alike[i] < freshAlike {
			n++
		}
	}
	return float64(n) / (Blocks * Blocks)
}

const (
	leastStructure = 0.7 // levels: what a block has to show to be asked after
	leastAlike     = 0.5 // and how alike it has to be usually: leaves and crossings are not
	lostAlike      = 0.4 // below what is usual: its structure is gone
	emptyRatio     = 0.4 // of the structure there was: nothing came in its place
)

// sight is how a frame meets one background.
type sight struct {
	steady float64 // blocks that have a structure to be known again by
	lost   float64 // share of them that lost it
	empty  float64 // share of the lost that show nothing else instead
	alike  float64 // how alike the steady ones are, by how they are usually: 1 as ever, 0 another picture
}

// enough says whether there is something to be known again by.
func (s sight) enough() bool { return s.steady >= Blocks }

// meet sums blocks up, by how alike each is usually, 0..255; nil where nobody
// knows.
func (b *blocks) meet(usual *[Blocks * Blocks]uint8) (s sight) {
	var here, ever float64
	for i := range b.alike {
		was := 1.0
		if usual != nil {
			was = float64(usual[i]) / 255
		}
		if was < leastAlike || b.was[i] < leastStructure {
			continue
		}
		s.steady++
		here += float64(b.alike[i])
		ever += was
		if float64(b.alike[i]) < was-lostAlike {
			s.lost++
			if b.is[i] < emptyRatio*b.was[i] {
				s.empty++
			}
		}
	}
	if s.steady > 0 {
		s.empty /= max(1, s.lost)
		s.lost /= s.steady
		s.alike = here / ever
	}
	return s
}

// soften returns p blurred by about a cell sideways and two up and down, as a
// lens that is out of focus by a sixtieth of the width does.
func (p *Plane) soften() (to Plane) {
	for y := range side {
		for x := range side {
			sum, n := 0, 0
			for v := max(0, y-3); v <= min(side-1, y+3); v++ {
				for u := max(0, x-1); u <= min(side-1, x+1); u++ {
					w := 4 - max(y-v, v-y)
					sum += w * int(p[v*side+u])
					n += w
				}
			}
			to[y*side+x] = uint8((sum + n/2) / n)
		}
	}
	return to
}
