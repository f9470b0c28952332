package swarm

import (
	"encoding/json"
	"math/bits"
	"time"
)

// Histogram counts durations in buckets that are at most 1/32 of their value
// wide, from a microsecond to 2 h; what is longer counts as 2 h. Its zero value
// is empty. It is not safe for use by several goroutines at once.
type Histogram struct {
	n       uint64
	max     time.Duration
	buckets [histogramLen]uint64
}

// A bucket is an exponent of two and the five bits below it; values under 32 µs
// have one each.
const (
	subBits      = 5
	subs         = 1 << subBits
	maxExponent  = 33 // 2^33 µs is 2.4 h
	histogramLen = (maxExponent - subBits + 1) * subs
)

func bucketOf(us uint64) int {
	if us < subs {
		return int(us)
	}
	e := bits.Len64(us) - 1 // us is 2^e to 2^(e+1)-1
	return min((e-subBits+1)*subs+int(us>>(e-subBits))-subs, histogramLen-1)
}

// upper returns the largest value of the bucket.
func upper(i int) time.Duration {
	if i < subs {
		return time.Duration(i) * time.Microsecond
	}
	shift := i/subs - 1
	return time.Duration((uint64(i%subs)+subs+1)<<shift-1) * time.Microsecond
}

// Add counts d; a negative one as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.n++
	h.max = max(h.max, d)
	h.buckets[bucketOf(uint64(d.Microseconds()))]++
}

// Count returns how many were added.
func (h *Histogram) Count() uint64 { return h.n }

// At returns the value that the share q of all is not above, 0 when there are
// none: at most 1/32 above the true one.
func (h *Histogram) At(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	rank := uint64(q*float64(h.n-1)) + 1
	for i, seen := 0, uint64(0); i < histogramLen; i++ {
		if seen += h.buckets[i]; seen >= rank {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Quantiles are what a person reads of a Histogram.
type Quantiles struct {
	N             uint64
	P50, P99, Max time.Duration
}

// Quantiles returns them.
func (h *Histogram) Quantiles() Quantiles {
	return Quantiles{N: h.n, P50: h.At(0.5), P99: h.At(0.99), Max: h.max}
}

type quantilesJSON struct {
	N   uint64  `json:"n"`
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// MarshalJSON writes milliseconds.
func (q Quantiles) MarshalJSON() ([]byte, error) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return json.Marshal(quantilesJSON{q.N, ms(q.P50), ms(q.P99), ms(q.Max)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (q *Quantiles) UnmarshalJSON(b []byte) error {
	var j quantilesJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	d := func(ms float64) time.Duration { return time.Duration(ms*1000+0.5) * time.Microsecond }
	*q = Quantiles{j.N, d(j.P50), d(j.P99), d(j.Max)}
	return nil
}
