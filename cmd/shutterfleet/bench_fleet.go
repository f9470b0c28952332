package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/fleet"
)

type fleetOptions struct {
	cameras, agents, sites int
	interval, duration     time.Duration
	lead, deadline         time.Duration
	peak                   bool
	rate                   float64
	data                   string
	keep                   bool
	trusting               bool
	profile                string
	format                 string
}

// fleetResult is what `bench fleet` prints. Processor times, rates and shares
// are of the window: --for, from the first nominal time on. Orders leave ahead of
// time, so the schedule goes on for that lead after the window: throughout, as
// many orders are issued as outcomes come in.
type fleetResult struct {
	Cameras   int     `json:"cameras"`
	Sites     int     `json:"sites"`
	Agents    int     `json:"agents"`
	IntervalS float64 `json:"interval_s"`
	WindowS   float64 `json:"window_s"`
	OfferedPS float64 `json:"offered_per_s"`  // what the schedule asks for
	CapturedS float64 `json:"captures_per_s"` // durable at the centre, by its books
	OutcomesS float64 `json:"outcomes_per_s"` // with those that were failed, missed or skipped

	CPUMicros      float64 `json:"cpu_us_per_capture"`       // of the scheduler's process
	AgentCPUMicros float64 `json:"agent_cpu_us_per_capture"` // of the agents' process
	CPUShare       struct {
		Scheduler float64 `json:"scheduler"`
		Agents    float64 `json:"agents"`
	} `json:"cpu_share"` // of all processors
	RSSMB float64 `json:"rss_mb"` // of the scheduler's process, its peak before the audit

	StartS float64 `json:"start_s,omitempty"` // scheduler's process start to the first order at an agent; absent when none was due by then

	DelayMS       swarm.Quantiles `json:"delay_ms"`        // nominal time to capture
	AckMS         swarm.Quantiles `json:"ack_ms"`          // report sent to ReportStored
	StateUpdateMS swarm.Quantiles `json:"state_update_ms"` // report sent to the API's view of that camera, sampled
	HistoryMS     swarm.Quantiles `json:"history_ms"`      // a camera's last hour through the API, sampled while running
	HistoryIdleMS swarm.Quantiles `json:"history_idle_ms"` // and after

	DiskBytes float64 `json:"disk_bytes_per_capture"` // growth of the whole directory, after a clean stop
	MaxFlying uint64  `json:"in_flight_max"`          // sampled

	fleet.Books
	Expected    int `json:"expected"`    // by the calendar, before the run
	Unaccounted int `json:"unaccounted"` // by the audit, after it

	Peak *peakResult `json:"peak,omitempty"`
}

// peakResult is what --peak adds: the other fields are of the best step.
type peakResult struct {
	CapturesPS float64    `json:"captures_per_s"` // highest that was sustained
	HighestPS  float64    `json:"highest_per_s"`  // highest in any step, sustained or not
	Steps      []peakStep `json:"steps"`
}

type peakStep struct {
	OfferedPS   float64 `json:"offered_per_s"`
	CapturesPS  float64 `json:"captures_per_s"`
	DelayP99MS  float64 `json:"delay_p99_ms"`
	CPUMicros   float64 `json:"cpu_us_per_capture"`
	MaxFlying   uint64  `json:"in_flight_max"`
	Missed      uint64  `json:"missed"`
	Failed      uint64  `json:"failed"`
	Unaccounted int     `json:"unaccounted"`
	Sustained   bool    `json:"sustained"`
}

func benchFleetCommand() *cobra.Command {
	var o fleetOptions
	cmd := &cobra.Command{
		Use: "fleet", Short: "Run a scheduler under the load of a whole fleet", Args: noArgs,
		Long: `Start a real scheduler process on a store that holds a whole fleet, and simulated agents in another process
that speak to it as real ones do (gRPC, mutual TLS, signed orders, batched reports), and measure both.

The agents capture each order at its nominal time, or at once when it comes later. Their cameras answer at
once; nothing reads frames, so what is measured is the way of an order out and of its outcome in, durable.
Orders leave ahead of time (--lead). After --for the schedule goes on for that long, unmeasured, so that
issuing never stops while outcomes are counted; then it ends by itself, all orders get their outcome, and the
books are checked against the calendar as ` + "`dev`" + ` does.

With --peak the interval is made shorter step by step, half as much again per second each time, until the
scheduler falls behind. A step is sustained when nothing was missed or failed, captures kept up with what was
due (97 %), and 99 of 100 were taken within a second of their nominal time. The load is open: orders are due
whether or not those before are done, and what comes too late ends as missed. About --lead (there 5s by
default) times the rate are in flight.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			var res *fleetResult
			var err error
			progress := &sharedWriter{w: cmd.ErrOrStderr()}
			if o.peak {
				res, err = fleetPeak(cmd.Context(), o, progress)
			} else {
				res, err = runFleet(cmd.Context(), o, progress)
			}
			if err != nil {
				return err
			}
			return res.print(cmd.OutOrStdout(), o.format)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.cameras, "cameras", 10_000, "how many cameras")
	f.DurationVar(&o.interval, "interval", 5*time.Minute, "each is photographed this often")
	f.IntVar(&o.agents, "agents", 200, "how many simulated agents")
	f.IntVar(&o.sites, "sites", 0, "over how many sites; default one per agent")
	f.DurationVar(&o.duration, "for", time.Minute, "how long")
	f.DurationVar(&o.lead, "lead", 0, "orders leave this much ahead; default the schedule's, 60s")
	f.DurationVar(&o.deadline, "deadline", 0, "after this a capture is missed; default the schedule's")
	f.BoolVar(&o.peak, "peak", false, "find the highest rate instead; --interval is not used")
	f.Float64Var(&o.rate, "rate", 2000, "with --peak: captures per second of the first step")
	f.StringVar(&o.data, "data", "", "directory for the run, which must be empty; default a temporary one")
	f.BoolVar(&o.keep, "keep", false, "keep the temporary directory")
	f.BoolVar(&o.trusting, "trusting", false, "agents do not verify signatures")
	f.StringVar(&o.profile, "cpu-profile", "", "write a CPU profile of the scheduler to this file")
	f.StringVarP(&o.format, "output", "o", "table", "table or json")
	return cmd
}

func (o *fleetOptions) check() error {
	switch {
	case o.format != "table" && o.format != "json":
		return usage("-o %s: want table or json", o.format)
	case o.cameras < 1 || o.agents < 1 || o.sites < 0 || o.sites > o.agents:
		return usage("want at least one camera and one agent, and no more sites than agents")
	case o.interval <= 0 || o.duration <= 0 || o.lead < 0 || o.deadline < 0 || o.rate <= 0:
		return usage("--interval, --for and --rate want more than zero")
	case o.peak && o.data != "":
		return usage("--peak makes a fresh directory for each step: leave out --data")
	case runtime.GOOS != "linux":
		return usage("bench fleet reads what processes cost from /proc: it runs on Linux only")
	}
	return nil
}

func (r *fleetResult) print(w io.Writer, format string) error {
	var err error
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		_, err = fmt.Fprintf(w, "%d cameras, %d agents: %.0f captures/s for %.0f s; scheduler %.1f µs of processor each, %.1f %% of all, %.0f MB; "+
			"delay p99 %v, acknowledged p99 %v.\nOf %d pictures asked for, %d came, %d failed, %d were missed, %d skipped; %d unaccounted.\n",
			r.Cameras, r.Agents, r.CapturedS, r.WindowS, r.CPUMicros, 100*r.CPUShare.Scheduler, r.RSSMB,
			r.DelayMS.P99, r.AckMS.P99, r.Issued, r.Captured, r.Failed, r.Missed, r.Skipped, r.Unaccounted)
		if p := r.Peak; p != nil && err == nil {
			_, err = fmt.Fprintf(w, "Peak: %.0f captures/s sustained, %.0f at most.\n", p.CapturesPS, p.HighestPS)
		}
	}
	if r.Unaccounted != 0 && err == nil {
		return unaccountedError(r.Unaccounted)
	}
	return err
}

// fleetPeak runs steps until one is not sustained.
func fleetPeak(ctx context.Context, o fleetOptions, progress io.Writer) (*fleetResult, error) {
	var best, last *fleetResult
	var p peakResult
	o.lead = cmp.Or(o.lead, peakLead)
	for rate := o.rate; ; rate *= 1.5 {
		o.interval = time.Duration(float64(o.cameras) / rate * float64(time.Second)).Round(time.Millisecond)
		if o.interval < minInterval {
			fmt.Fprintf(progress, "peak: no schedule is quicker than every %v: give more --cameras to go on\n", minInterval)
			break
		}
		r, err := runFleet(ctx, o, progress)
		if err != nil {
			return nil, err
		}
		step := peakStep{
			OfferedPS: r.OfferedPS, CapturesPS: r.CapturedS, DelayP99MS: float64(r.DelayMS.P99.Microseconds()) / 1000, CPUMicros: r.CPUMicros,
			MaxFlying: r.MaxFlying, Missed: r.Missed, Failed: r.Failed, Unaccounted: r.Unaccounted,
			Sustained: r.Missed+r.Failed == 0 && r.CapturedS >= 0.97*r.OfferedPS && r.DelayMS.P99 <= time.Second && r.Unaccounted == 0,
		}
		p.Steps = append(p.Steps, step)
		p.HighestPS = max(p.HighestPS, r.CapturedS)
		fmt.Fprintf(progress, "peak: %.0f/s offered, %.0f/s captured, sustained: %v\n", step.OfferedPS, step.CapturesPS, step.Sustained)
		last = r
		if !step.Sustained {
			break
		}
		best, p.CapturesPS = r, r.CapturedS
	}
	if best == nil {
		best = last
	}
	if best == nil {
		return nil, usage("--rate %.0f is more than %d cameras can be asked for: give more --cameras", o.rate, o.cameras)
	}
	best.Peak = &p
	for _, s := range p.Steps {
		best.Unaccounted = max(best.Unaccounted, s.Unaccounted)
	}
	return best, nil
}

// peakLead keeps the orders in flight to a few seconds' worth, so that a step is
// about a rate and not about memory.
const peakLead = 5 * time.Second

// minInterval is the schedule language's shortest `every`.
const minInterval = 100 * time.Millisecond
