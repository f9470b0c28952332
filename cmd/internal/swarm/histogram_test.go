package swarm

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestHistogram holds quantiles against a sorted slice: never below the true
// value, and at most 1/32 and a microsecond above it.
func TestHistogram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ds := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(-5, 1<<rapid.IntRange(1, 42).Draw(t, "bits")).Draw(t, "ns"))
		}), 1, 200).Draw(t, "durations")
		var h Histogram
		for i, d := range ds {
			h.Add(d)
			ds[i] = max(d, 0)
		}
		slices.Sort(ds)
		for _, q := range []float64{0, 0.01, 0.5, 0.99, 1} {
			want := ds[int(q*float64(len(ds)-1))]
			got := h.At(q)
			if got < want.Truncate(time.Microsecond) || got > want+want/32+time.Microsecond {
				t.Fatalf("At(%v) = %v, want %v", q, got, want)
			}
		}
		if h.Count() != uint64(len(ds)) || h.Quantiles().Max != ds[len(ds)-1] {
			t.Fatalf("%d values, max %v: want %d, %v", h.Count(), h.Quantiles().Max, len(ds), ds[len(ds)-1])
		}
	})
}

func TestHistogramEnds(t *testing.T) {
	var h Histogram
	if h.At(0.5) != 0 || h.Quantiles() != (Quantiles{}) {
		t.Error("an empty histogram has quantiles")
	}
	h.Add(100 * time.Hour) // beyond the last bucket
	if got := h.Quantiles(); got.Max != 100*time.Hour || got.P50 <= 2*time.Hour {
		t.Errorf("%+v", got)
	}
}

func TestQuantilesJSON(t *testing.T) {
	in := Quantiles{N: 7, P50: 1500 * time.Microsecond, P99: 2 * time.Second, Max: time.Hour}
	b, err := json.Marshal(in)
	if want := `{"n":7,"p50":1.5,"p99":2000,"max":3600000}`; err != nil || string(b) != want {
		t.Errorf("%s, %v, want %s", b, err, want)
	}
	var out Quantiles
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("%+v, %v, want %+v", out, err, in)
	}
}
