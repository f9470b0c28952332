package wheelbench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// delays counts durations in buckets whose widths grow with them: 64 to each
// power of two, so that a quantile is right to 1.6 %. Goroutines may add at once.
type delays struct {
	max     atomic.Int64
	early   atomic.Int64
	buckets [octaves * perOctave]atomic.Int64
}

const (
	perOctave = 64
	octaves   = 36 // up to 2^36 µs, 19 hours
)

func (d *delays) add(x time.Duration) {
	if x < 0 {
		d.early.Add(1)
		x = 0
	}
	for old := d.max.Load(); int64(x) > old && !d.max.CompareAndSwap(old, int64(x)); {
		old = d.max.Load()
	}
	d.buckets[bucket(x.Microseconds())].Add(1)
}

// bucket returns where a number of microseconds belongs.
func bucket(us int64) int {
	if us < perOctave {
		return int(us)
	}
	e := bits.Len64(uint64(us)) - 7 // us>>e is 64 to 127
	return min((e+1)*perOctave+int(us>>e)-perOctave, octaves*perOctave-1)
}

// upper returns the largest microseconds that belong to bucket i.
func upper(i int) int64 {
	if i < perOctave {
		return int64(i)
	}
	e := i/perOctave - 1
	return int64(i%perOctave+perOctave+1)<<e - 1
}

// quantile returns milliseconds; 0 when nothing was added.
func (d *delays) quantile(q float64) float64 {
	rank := max(1, int64(q*float64(d.count())))
	seen := int64(0)
	for i := range d.buckets {
		if seen += d.buckets[i].Load(); seen >= rank {
			return min(float64(upper(i))/1e3, d.maximum())
		}
	}
	return d.maximum()
}

func (d *delays) count() (n int64) {
	for i := range d.buckets {
		n += d.buckets[i].Load()
	}
	return n
}

func (d *delays) maximum() float64 { return float64(d.max.Load()) / 1e6 }
