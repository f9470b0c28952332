package quality

import "github.com/shutterfleet/shutterfleet/capture/codec"

// accumulators are the fields of sums that the loops add up, in this order:
// laplacian, tenengrad, noise, squares, sum, dark, and those not bright.
const accumulators = 7

// kernel is the vector path. It holds three rows as 16-bit numbers, for the
// loops read each nine times.
type kernel struct {
	level   codec.Level
	wide    [3][]int16
	at      int // the row in wide[at%3] is the newest
	acc     [accumulators][8]uint64
	samples uint64
}

// longest is how many samples the loops may take before their 16-bit counts
// have to be stored: 257 vectors of 16 samples, the last one maybe twice.
const longest = 4096

// prepare gets ready for p, and says whether there is a vector path for it.
func (k *kernel) prepare(p codec.Plane, l codec.Level) bool {
	if l <= codec.PlainGo || p.Width < 2+shortest || p.Height < 3 {
		return false
	}
	k.level, k.acc, k.samples, k.at = l, [accumulators][8]uint64{}, 0, 0
	for i := range k.wide {
		if cap(k.wide[i]) < p.Width {
			k.wide[i] = make([]int16, p.Width)
		}
		k.wide[i] = k.wide[i][:p.Width]
	}
	codec.Widen(k.wide[0], p.Row(0), l)
	codec.Widen(k.wide[1], p.Row(1), l)
	k.at = 1
	return true
}

// shortest is the length that fills one vector.
const shortest = 32

// rows adds row y, which has one above and one below. Rows come in order.
func (k *kernel) rows(p codec.Plane, y int, plain []uint16, _ *sums) {
	k.at++
	above, row, below := k.wide[(k.at-2)%3], k.wide[(k.at-1)%3], k.wide[k.at%3]
	codec.Widen(below, p.Row(y+1), k.level)
	inner := p.Width - 2
	k.samples += uint64(inner)
	for x := 0; x < inner; {
		n := inner - x
		if n > longest {
			n = min(longest, n-shortest) // the rest fills a vector, too
		}
		// What the last whole vector has done, the one that ends the row leaves out.
		vector := 16
		if k.level == codec.AVX512 {
			vector = 32
		}
		var mask [32]int16
		for i := range n % vector {
			mask[vector-1-i] = -1
		}
		if k.level == codec.AVX512 {
			stencilAVX512(&above[x+1], &row[x+1], &below[x+1], n, &plain[x+1], &mask, &k.acc)
		} else {
			stencilAVX2(&above[x+1], &row[x+1], &below[x+1], n, &plain[x+1], &mask, &k.acc)
		}
		x += n
	}
}

// flush adds what was gathered to s.
func (k *kernel) flush(s *sums) {
	var t [accumulators]uint64
	for i := range k.acc {
		for _, v := range k.acc[i] {
			t[i] += v
		}
	}
	s.laplacian += t[0]
	s.tenengrad += t[1]
	s.noise += t[2]
	s.squares += t[3]
	s.sum += t[4]
	s.dark += t[5]
	s.bright += k.samples - t[6]
}

// stencilAVX512 adds up n samples of a row, 32 <= n <= longest, whose neighbors
// on all sides are there to be read. plain counts, for each, that it is no edge.
//
//go:noescape
func stencilAVX512(above, row, below *int16, n int, plain *uint16, mask *[32]int16, acc *[accumulators][8]uint64)

//go:noescape
func stencilAVX2(above, row, below *int16, n int, plain *uint16, mask *[32]int16, acc *[accumulators][8]uint64)
