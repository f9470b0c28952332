// Package quality says how good one frame is, by its luma plane alone, and
// from that and the camera's own past what is wrong with it.
//
//	rows, three at a time ──► sums ────────► mean, contrast, dark, bright
//	                      ├─► Laplacian ───► sharpness
//	                      ├─► Sobel ───────► Tenengrad, by band too; edges by block
//	                      ├─► Immerkær ────► noise
//	                      └─► histogram ───► entropy
//	64x64 grid ── against the frame before and the background ──► change, shift
//	scores + change + State ──Judge──► Verdict, State
package quality

import (
	"math"
	"math/bits"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/portable"
)

// Below and above these a sample counts as dark or bright: the ends of the
// studio range, so that full-range and studio-range pictures agree on what is
// lost.
const (
	darkest   = 16
	brightest = 240
)

// edgeStep is how far Sobel's two gradients together go before a sample is an
// edge: a step of 24 levels has 4 times as much. Sensor noise of a standard
// deviation of 10 has 57 on average.
const edgeStep = 96

// Blocks is how many blocks a picture is cut into along each side.
const Blocks = 8

// histogramRows is about how many rows the histogram is taken of. A picture of
// 512 rows and more has every second one, and so on: 256 rows of a million
// samples have the entropy of all to a hundredth of a bit, at a quarter of the
// cost (and the histogram is the one part that has no vector path).
const histogramRows = 256

// Scores are all that one pass over a plane says.
type Scores struct {
	fleet.Quality

	// Tenengrad is the mean of the squared Sobel gradients, gx² + gy², over the
	// inner samples: 0..2,080,800 (Tenenbaum 1970; Krotkov, Focusing, 1987).
	Tenengrad float32

	// Noise is the standard deviation of the noise, in levels, by the mean
	// response to the difference of two Laplacians (Immerkær, Fast Noise Variance
	// Estimation, 1996). Fine texture counts as noise.
	Noise float32

	// Bands are Tenengrad and Noise again, of an eighth of the rows each, from the
	// top: a clock that is written over the picture is in one or two of them.
	Bands [Blocks]Band

	// Edges is the share of edges in each block, row by row, 0..1.
	Edges [Blocks * Blocks]float32
}

// Band is what the inner samples of one row of blocks say.
type Band struct {
	Tenengrad, Noise float32
}

// A Meter holds the memory that scoring takes, so that a stream of frames of
// one size allocates nothing. The zero Meter is ready. It serves one caller at
// a time.
type Meter struct {
	level  codec.Level // the processor's best unless it is set
	kernel kernel
	plain  []uint16 // by column, how many samples of the block row are no edge
	flat   []uint64 // the same in lanes, in plain Go
	hist   [4][256]uint32
	rest   [4][256]uint32 // in plain Go, of the rows that hist leaves out
}

// sums are what the pass adds up over the samples, all exact.
type sums struct {
	sum, squares, dark, bright  uint64 // over all samples
	laplacian, tenengrad, noise uint64 // over the inner ones
}

// Score computes all scores in one pass over the plane. A plane that does not
// hold the samples it claims scores zero throughout. Sharpness is the variance
// of the Laplacian [0 1 0; 1 -4 1; 0 1 0] (Pech-Pacheco 2000) over all samples
// with four neighbors. A plane without inner samples has 0 for all that need
// neighbors. Entropy is of every row, or of every H/256th from 512 rows on.
func (m *Meter) Score(p codec.Plane) Scores {
	if !p.Valid() {
		return Scores{}
	}
	if m.level == 0 {
		m.level = codec.BestLevel()
	}
	if cap(m.plain) < p.Width {
		m.plain = make([]uint16, p.Width)
		m.flat = make([]uint64, p.Width/8*2)
	}
	m.plain = m.plain[:p.Width]
	m.flat = m.flat[:max(0, p.Width-2)/8*2]
	clear(m.plain)
	clear(m.flat)
	m.hist, m.rest = [4][256]uint32{}, [4][256]uint32{}

	var s sums
	var res Scores
	vector := m.kernel.prepare(p, m.level)
	inner := p.Width > 2 && p.Height > 2
	step := max(1, p.Height/histogramRows)
	top := 1 // of the block row, its first inner row
	var before sums
	for y := range p.Height {
		row := p.Row(y)
		switch {
		case y%step == 0:
			count(&m.hist, row)
		case !vector:
			count(&m.rest, row)
		}
		if !inner || y == 0 || y == p.Height-1 {
			if vector {
				s.add(row)
			}
			continue
		}
		if vector {
			s.add(row[:1])
			s.add(row[p.Width-1:])
			m.kernel.rows(p, y, m.plain, &s)
		} else {
			n := s.lanes(p.Row(y-1), row, p.Row(y+1), m.flat)
			s.stencil(p.Row(y - 1)[n:], row[n:], p.Row(y + 1)[n:], m.plain[n:])
		}
		if next := y + 1; next == p.Height-1 || block(next, p.Height) != block(y, p.Height) {
			b := block(y, p.Height)
			spill(m.plain, m.flat)
			m.fold(res.Edges[b*Blocks:][:Blocks], next-top)
			upTo := s
			if vector {
				m.kernel.flush(&upTo)
			}
			res.Bands[b] = band(before, upTo, (next-top)*(p.Width-2))
			before, top = upTo, next
		}
	}
	if vector {
		m.kernel.flush(&s)
	} else {
		s.fromHistogram(&m.hist)
		s.fromHistogram(&m.rest)
	}
	res.finish(p, &s)
	res.Entropy = entropy(&m.hist)
	return res
}

// Score scores one plane with a Meter of its own.
func Score(p codec.Plane) Scores {
	var m Meter
	return m.Score(p)
}

// block is which of the blocks along an axis sample i belongs to.
func block(i, size int) int { return i * Blocks / size }

// fold turns the counts of a block row of inner rows into shares, and empties them.
func (m *Meter) fold(edges []float32, rows int) {
	var flat, columns [Blocks]uint64
	for x := 1; x < len(m.plain)-1; x++ {
		b := block(x, len(m.plain))
		flat[b] += uint64(m.plain[x])
		columns[b]++
	}
	for b := range edges {
		if n := columns[b] * uint64(rows); n > 0 {
			edges[b] = float32(float64(n-flat[b]) / float64(n))
		}
	}
	clear(m.plain)
}

// add counts samples that the vector loops leave out.
func (s *sums) add(row []byte) {
	for _, b := range row {
		v := uint32(b)
		s.sum += uint64(v)
		s.squares += uint64(v * v)
		s.dark += uint64((v - darkest - 1) >> 31) // the sign: 1 below zero
		s.bright += 1 - uint64((v-brightest)>>31)
	}
}

// stencil adds up what the inner samples of one row say with their neighbors.
// Each column is read once: of the two to the left, sums and differences are
// kept. Their own sums come from histograms, which is the shorter way here.
func (s *sums) stencil(above, row, below []byte, plain []uint16) {
	n := len(row)
	above, below, plain = above[:n], below[:n], plain[:n]
	// Of a column: the middle, the three as 1 2 1 and as 1 -2 1, and as -1 0 1.
	column := func(x int) (c, smooth, bent, down int) {
		a, b := int(above[x]), int(below[x])
		c = int(row[x])
		outer := a + b
		return c, outer + 2*c, outer - 2*c, b - a
	}
	lc, lSmooth, lBent, lDown := column(0)
	c, smooth, bent, down := column(1)
	var laplacian, tenengrad, noise int64
	for x := 2; x < n; x++ {
		rc, rSmooth, rBent, rDown := column(x)
		lap := bent - 2*c + lc + rc
		gx := rSmooth - lSmooth
		gy := lDown + 2*down + rDown
		fine := lBent - 2*bent + rBent
		laplacian += int64(lap * lap)
		tenengrad += int64(gx*gx + gy*gy)
		noise += int64(abs(fine))
		plain[x-1] += uint16(uint(abs(gx)+abs(gy)-edgeStep-1) >> (bits.UintSize - 1))
		lc, lSmooth, lBent, lDown = c, smooth, bent, down
		c, smooth, bent, down = rc, rSmooth, rBent, rDown
	}
	s.laplacian += uint64(laplacian)
	s.tenengrad += uint64(tenengrad)
	s.noise += uint64(noise)
}

func abs(v int) int {
	m := v >> (bits.UintSize - 1)
	return (v ^ m) - m
}

// fromHistogram adds up what samples say by themselves.
func (s *sums) fromHistogram(hist *[4][256]uint32) {
	for v := range 256 {
		c := uint64(hist[0][v]) + uint64(hist[1][v]) + uint64(hist[2][v]) + uint64(hist[3][v])
		s.sum += uint64(v) * c
		s.squares += uint64(v*v) * c
		if v <= darkest {
			s.dark += c
		}
		if v >= brightest {
			s.bright += c
		}
	}
}

// band is what n inner samples have added.
func band(before, after sums, n int) Band {
	return Band{
		Tenengrad: float32(float64(after.tenengrad-before.tenengrad) / float64(n)),
		Noise:     float32(immerkaer * float64(after.noise-before.noise) / float64(n)),
	}
}

// immerkaer makes a standard deviation of the mean response to noise.
const immerkaer = 1.2533141373155003 / 6 // √(π/2)

// finish turns sums into scores, the same on every processor: products are
// rounded before they are added to something.
func (r *Scores) finish(p codec.Plane, s *sums) {
	n := float64(p.Width) * float64(p.Height)
	mean := float64(s.sum) / n
	r.Mean = float32(mean)
	r.Contrast = float32(math.Sqrt(max(0, float64(s.squares)/n-float64(mean*mean))))
	r.Dark = float32(float64(s.dark) / n)
	r.Bright = float32(float64(s.bright) / n)
	if p.Width <= 2 || p.Height <= 2 {
		return
	}
	n = float64(p.Width-2) * float64(p.Height-2)
	mean = float64(laplacianSum(p)) / n
	r.Sharpness = float32(max(0, float64(s.laplacian)/n-float64(mean*mean)))
	r.Tenengrad = float32(float64(s.tenengrad) / n)
	r.Noise = float32(immerkaer * float64(s.noise) / n)
}

// laplacianSum is the sum of the Laplacian over the inner samples: all but the
// steps across the border cancel out.
func laplacianSum(p codec.Plane) (sum int64) {
	w, h := p.Width, p.Height
	for y := 1; y < h-1; y++ {
		row := p.Row(y)
		sum += int64(row[0]) - int64(row[1]) + int64(row[w-1]) - int64(row[w-2])
	}
	r0, r1, r2, r3 := p.Row(0), p.Row(1), p.Row(h-2), p.Row(h-1)
	for x := 1; x < w-1; x++ {
		sum += int64(r0[x]) - int64(r1[x]) + int64(r3[x]) - int64(r2[x])
	}
	return sum
}

// count adds a row to four histograms, because neighbors are often equal and a
// counter that was just written is slow to read.
func count(hist *[4][256]uint32, row []byte) {
	h0, h1, h2, h3 := &hist[0], &hist[1], &hist[2], &hist[3]
	for len(row) >= 4 {
		h0[row[0]]++
		h1[row[1]]++
		h2[row[2]]++
		h3[row[3]]++
		row = row[4:]
	}
	for _, v := range row {
		h0[v]++
	}
}

// Histogram returns the levels of the rows that the last entropy was taken of.
func (m *Meter) Histogram() (h [256]uint32) {
	for v := range h {
		h[v] = m.hist[0][v] + m.hist[1][v] + m.hist[2][v] + m.hist[3][v]
	}
	return h
}

// entropy is in bits per sample, 0..8 (Shannon 1948).
func entropy(hist *[4][256]uint32) float32 {
	var n, bits float64
	for v := range 256 {
		if c := float64(hist[0][v]) + float64(hist[1][v]) + float64(hist[2][v]) + float64(hist[3][v]); c > 0 {
			n += c
			bits += float64(c * portable.Log2(c))
		}
	}
	return float32(max(0, portable.Log2(n)-bits/n))
}
