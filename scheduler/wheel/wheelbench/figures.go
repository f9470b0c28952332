package wheelbench

import "slices"

// Figures are what was measured of one kind. What could not be measured is nil
// and left out of the JSON; Notes say why.
type Figures struct {
	BytesPerTask *float64 `json:"bytes_per_task,omitempty"` // heap that arming a task adds
	HeapMB       *float64 `json:"heap_mb,omitempty"`        // 10^6 bytes with all tasks, the array of handles included
	RSSMB        *float64 `json:"rss_mb,omitempty"`         // resident, likewise, over the empty process
	AddNS        *float64 `json:"add_ns,omitempty"`         // CPU per Add, mean of all tasks
	CancelNS     *float64 `json:"cancel_ns,omitempty"`      // CPU per Cancel, mean of all tasks in random order
	GCCPUMS      *float64 `json:"gc_cpu_ms,omitempty"`      // CPU of one full collection with all tasks

	// The live part: all tasks recur, at the rate asked for.
	FiresPerS *float64 `json:"fires_per_s,omitempty"` // reached
	CPUShare  *float64 `json:"cpu_share,omitempty"`   // percent of one core
	DelayMS   *Delay   `json:"delay_ms,omitempty"`    // from a task's instant to its callback
	Early     *float64 `json:"early_fires,omitempty"` // callbacks before the instant, of all parts

	FiresPerSCore *float64 `json:"fires_per_s_core,omitempty"` // fires with re-arming per second of CPU, when up to a million tasks recur twice a second among all

	HerdDrainMS *float64 `json:"herd_drain_ms,omitempty"`     // from the instant shared by up to a million tasks to the last callback
	HerdRSSMB   *float64 `json:"herd_extra_rss_mb,omitempty"` // most resident during it over before

	// The simulated part: all tasks recur, and time moves by 1 ms as fast as
	// it can.
	SimFiresPerSCore *float64 `json:"sim_fires_per_s_core,omitempty"`
	StallMS          *Stall   `json:"stall_64_ticks_ms,omitempty"` // wall time that 64 ticks took

	Notes []string `json:"notes,omitempty"`
}

// Delay are quantiles in milliseconds.
type Delay struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Stall are quantiles in milliseconds.
type Stall struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Median returns each figure's median over the rounds that have it, the mean
// of the middle two when they are even in number. Early fires are added up
// instead: one is one too many.
func Median(rounds []Figures) (out Figures) {
	over(&out.BytesPerTask, rounds, func(f *Figures) *float64 { return f.BytesPerTask })
	over(&out.HeapMB, rounds, func(f *Figures) *float64 { return f.HeapMB })
	over(&out.RSSMB, rounds, func(f *Figures) *float64 { return f.RSSMB })
	over(&out.AddNS, rounds, func(f *Figures) *float64 { return f.AddNS })
	over(&out.CancelNS, rounds, func(f *Figures) *float64 { return f.CancelNS })
	over(&out.GCCPUMS, rounds, func(f *Figures) *float64 { return f.GCCPUMS })
	over(&out.FiresPerS, rounds, func(f *Figures) *float64 { return f.FiresPerS })
	over(&out.CPUShare, rounds, func(f *Figures) *float64 { return f.CPUShare })
	over(&out.FiresPerSCore, rounds, func(f *Figures) *float64 { return f.FiresPerSCore })
	over(&out.HerdDrainMS, rounds, func(f *Figures) *float64 { return f.HerdDrainMS })
	over(&out.HerdRSSMB, rounds, func(f *Figures) *float64 { return f.HerdRSSMB })
	over(&out.SimFiresPerSCore, rounds, func(f *Figures) *float64 { return f.SimFiresPerSCore })
	var delays []Delay
	var stalls []Stall
	for i := range rounds {
		r := &rounds[i]
		if r.DelayMS != nil {
			delays = append(delays, *r.DelayMS)
		}
		if r.StallMS != nil {
			stalls = append(stalls, *r.StallMS)
		}
		if r.Early != nil {
			if out.Early == nil {
				out.Early = new(float64)
			}
			*out.Early += *r.Early
		}
		for _, n := range r.Notes {
			if !slices.Contains(out.Notes, n) {
				out.Notes = append(out.Notes, n)
			}
		}
	}
	if len(delays) > 0 {
		out.DelayMS = &Delay{
			P50: middle(delays, func(d Delay) float64 { return d.P50 }), P99: middle(delays, func(d Delay) float64 { return d.P99 }),
			P999: middle(delays, func(d Delay) float64 { return d.P999 }), Max: middle(delays, func(d Delay) float64 { return d.Max }),
		}
	}
	if len(stalls) > 0 {
		out.StallMS = &Stall{
			P50: middle(stalls, func(s Stall) float64 { return s.P50 }),
			P99: middle(stalls, func(s Stall) float64 { return s.P99 }), Max: middle(stalls, func(s Stall) float64 { return s.Max }),
		}
	}
	return out
}

// over sets one figure to the median of the rounds that have it.
func over(out **float64, rounds []Figures, get func(*Figures) *float64) {
	var have []float64
	for i := range rounds {
		if v := get(&rounds[i]); v != nil {
			have = append(have, *v)
		}
	}
	if len(have) > 0 {
		*out = new(middle(have, func(v float64) float64 { return v }))
	}
}

// middle returns the median of a number of each item; there is at least one.
func middle[T any](items []T, get func(T) float64) float64 {
	vs := make([]float64, len(items))
	for i, it := range items {
		vs[i] = get(it)
	}
	slices.Sort(vs)
	n := len(vs)
	return (vs[(n-1)/2] + vs[n/2]) / 2
}
