package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/child"
	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/cmd/internal/seed"
	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
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

// fleetBench is one run.
type fleetBench struct {
	o        fleetOptions
	progress io.Writer
	dir      string // the scheduler's
	seeded   seed.Seeded

	began     time.Time    // of the scheduler's process
	listening func() error // called before the agents are told where to connect, if set
	scheduler *child.Process
	agents    *child.Process
	api       *client.Client
	sent      chan swarm.Sent // capacity 1: samples that find the observer busy are dropped

	mu    sync.Mutex
	stats swarm.Stats
}

// aheadOf is how long before the first nominal time seeding ends: the scheduler
// has to start and the agents to connect. A handshake and the first list of
// cameras cost some milliseconds of processor time on either side; 40 µs per camera is what a start may take at
// most to be of use.
func (o *fleetOptions) aheadOf() time.Duration {
	return 3*time.Second + time.Duration(o.cameras)*40*time.Microsecond + time.Duration(o.agents)*10*time.Millisecond
}

func runFleet(ctx context.Context, o fleetOptions, progress io.Writer) (res *fleetResult, err error) {
	work := o.data
	if work == "" {
		if work, err = os.MkdirTemp("", "shutterfleet-bench-"); err != nil {
			return nil, err
		}
		if o.keep {
			fmt.Fprintln(progress, "the run's files are in", work)
		} else {
			defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
		}
	}
	b := &fleetBench{o: o, progress: progress, dir: filepath.Join(work, "centre"), sent: make(chan swarm.Sent, 1)}
	fmt.Fprintf(progress, "seeding %d cameras and %d agents ...\n", o.cameras, o.agents)
	t := time.Now()
	b.seeded, err = seed.Write(ctx, b.dir, seed.Plan{
		Cameras: o.cameras, Sites: o.sites, Agents: o.agents, Every: o.interval, Lead: o.lead, Deadline: o.deadline, Ahead: o.aheadOf(), For: o.duration,
	})
	if err != nil {
		return nil, err
	}
	roster := filepath.Join(work, "roster.json")
	if err := b.seeded.Roster.Write(roster); err != nil {
		return nil, err
	}
	before, err := diskUse(b.dir)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(progress, "seeded in %.1f s; first due in %.1f s\n", time.Since(t).Seconds(), time.Until(b.seeded.From.Time()).Seconds())

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop, err := b.start(roster, cancel) //nolint:contextcheck // processes end in order, also when ctx has ended
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	res, err = b.measure(ctx)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	if err = errors.Join(err, stop()); err != nil {
		return nil, err
	}
	after, err := diskUse(b.dir)
	if err != nil {
		return nil, err
	}
	if n := res.Issued; n > 0 {
		res.DiskBytes = round(float64(after-before)/float64(n), 1)
	}
	return res, nil
}

// start runs both processes. stop ends them, also when start failed.
func (b *fleetBench) start(roster string, cancel context.CancelCauseFunc) (stop func() error, err error) {
	exe, err := os.Executable()
	stop = func() error { return nil }
	if err != nil {
		return stop, err
	}
	// The agents' process reads its roster while the scheduler starts.
	args := []string{"bench", "swarm", "--roster", roster, "--from", fmt.Sprint(int64(b.seeded.From)), "--until", fmt.Sprint(int64(b.seeded.Measured))}
	if b.o.trusting {
		args = append(args, "--trusting")
	}
	if b.agents, err = child.Start(&lineReader{line: b.heard}, b.progress, exe, args...); err != nil {
		return stop, err
	}
	stop = func() error {
		if err := b.agents.CloseInput(); err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), stopWait)
		defer cancel()
		if b.agents.Wait(ctx) != nil && ctx.Err() != nil {
			return b.agents.Stop(time.Second)
		}
		return b.agents.Err()
	}
	type listening struct{ Msg, Agents, Page string }
	up := make(chan listening, 1)
	var last ring
	logs := &lineReader{line: func(line []byte) {
		var m listening
		if json.Unmarshal(line, &m) == nil && m.Msg == "scheduler started" {
			up <- m
		}
		last.add(line)
	}}
	b.began = time.Now()
	args = []string{"scheduler", "--data", b.dir, "--agents-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--machine-listen", ""}
	if b.o.profile != "" {
		args = append(args, "--cpu-profile", b.o.profile)
	}
	if b.scheduler, err = child.Start(io.Discard, logs, exe, args...); err != nil {
		return stop, err
	}
	stopAgents := stop
	stopping := make(chan struct{})
	stop = func() error {
		close(stopping)
		err := stopAgents()
		if serr := b.scheduler.Stop(stopWait); serr != nil {
			err = errors.Join(err, fmt.Errorf("scheduler: %w\n%s", serr, last.text()))
		}
		return err
	}
	for name, p := range map[string]*child.Process{"scheduler": b.scheduler, "agents": b.agents} {
		go func() {
			select {
			case <-stopping:
			case <-p.Done():
				cancel(fmt.Errorf("the %s process ended: %w\n%s", name, cmpErr(p.Err()), last.text()))
			}
		}()
	}
	var at listening
	select {
	case at = <-up:
	case <-b.scheduler.Done():
		return stop, fmt.Errorf("the scheduler did not start: %w", cmpErr(b.scheduler.Err()))
	case <-time.After(startWait):
		return stop, fmt.Errorf("the scheduler did not start within %v", startWait)
	}
	if b.listening != nil {
		if err := b.listening(); err != nil {
			return stop, err
		}
	}
	if err := b.agents.Say(at.Agents + "\n"); err != nil {
		return stop, err
	}
	b.api, err = client.New(client.Options{Server: at.Page, TokenFile: filepath.Join(b.dir, "admin.token")})
	return stop, err
}

const (
	// startWait is longer than any start that is worth measuring.
	startWait = 10 * time.Minute
	// stopWait is how long either process may take to end: open files of a
	// large fleet have to be written out.
	stopWait = time.Minute
)

func cmpErr(err error) error {
	if err == nil {
		return errors.New("in order, and too early")
	}
	return err
}

// heard takes one line of what the agents' process says.
func (b *fleetBench) heard(line []byte) {
	var m swarmSays
	if json.Unmarshal(line, &m) != nil {
		return
	}
	if m.Stats != nil {
		b.mu.Lock()
		b.stats = *m.Stats
		b.mu.Unlock()
	}
	if m.Sent != nil {
		select {
		case b.sent <- *m.Sent:
		default:
		}
	}
}

func (b *fleetBench) told() swarm.Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stats
}

func (b *fleetBench) books(ctx context.Context) (admin.AllBooks, error) {
	var books admin.AllBooks
	err := b.api.Get(ctx, "books", nil, &books)
	return books, err
}

// reading is all that is compared between the window's ends.
type reading struct {
	at                time.Time
	scheduler, agents child.Usage
	books             fleet.Books
}

func (b *fleetBench) read(ctx context.Context) (r reading, err error) {
	var berr, serr, aerr error
	var books admin.AllBooks
	books, berr = b.books(ctx)
	r.scheduler, serr = b.scheduler.Usage()
	r.agents, aerr = b.agents.Usage()
	r.books, r.at = books.Books, time.Now()
	return r, errors.Join(berr, serr, aerr)
}

func (b *fleetBench) measure(ctx context.Context) (*fleetResult, error) {
	from, until := b.seeded.From.Time(), b.seeded.Measured.Time()
	first, err := b.firstOrder(ctx)
	if err != nil {
		return nil, err
	}
	if first.After(from) {
		fmt.Fprintf(b.progress, "the first order came %.1f s after it was due: the figures include that backlog\n", first.Sub(from).Seconds())
	}
	if err := sleepUntil(ctx, from); err != nil {
		return nil, err
	}
	if n := b.told().Agents; n < b.o.agents {
		fmt.Fprintf(b.progress, "only %d of %d agents were connected when the first cameras were due: the figures include that\n", n, b.o.agents)
	}
	r0, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	var watch observer
	wctx, stop := context.WithDeadline(ctx, until)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { watch.updates(wctx, b) })
	wg.Go(func() { watch.histories(wctx, b, 250*time.Millisecond, 0, &watch.history) })
	maxFlying := b.follow(wctx, r0)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r1, err := b.read(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(b.progress, "measured; the orders that are out end within %v\n", b.seeded.Lead)
	end, err := b.drain(ctx)
	if err != nil {
		return nil, err
	}
	watch.histories(ctx, b, 10*time.Millisecond, 100, &watch.idle)
	last, err := b.scheduler.Usage() // the audit's memory is its own
	if err != nil {
		return nil, err
	}
	audit, err := b.audit(ctx)
	if err != nil {
		return nil, err
	}

	st := b.told()
	window := r1.at.Sub(r0.at).Seconds()
	captured := float64(r1.books.Captured - r0.books.Captured)
	outcomes := float64((r1.books.Issued - r1.books.InFlight) - (r0.books.Issued - r0.books.InFlight))
	cpu := func(a, b child.Usage) float64 { return float64((b.CPU - a.CPU).Microseconds()) }
	sched, agents := cpu(r0.scheduler, r1.scheduler), cpu(r0.agents, r1.agents)
	res := &fleetResult{
		Cameras: b.o.cameras, Agents: b.o.agents, Sites: b.o.sites, IntervalS: b.o.interval.Seconds(), WindowS: round(window, 3),
		OfferedPS: round(float64(b.o.cameras)/b.o.interval.Seconds(), 1), CapturedS: round(captured/window, 1), OutcomesS: round(outcomes/window, 1),
		RSSMB: round(float64(last.Peak)/1e6, 1), DelayMS: st.Delay, AckMS: st.Ack,
		StateUpdateMS: watch.update.Quantiles(), HistoryMS: watch.history.Quantiles(), HistoryIdleMS: watch.idle.Quantiles(),
		MaxFlying: maxFlying, Books: end, Expected: b.seeded.Expected, Unaccounted: audit.Unaccounted,
	}
	if res.Sites == 0 {
		res.Sites = res.Agents
	}
	if captured > 0 {
		res.CPUMicros, res.AgentCPUMicros = round(sched/captured, 2), round(agents/captured, 2)
	}
	all := window * 1e6 * float64(runtime.NumCPU())
	res.CPUShare.Scheduler, res.CPUShare.Agents = round(sched/all, 4), round(agents/all, 4)
	if !b.began.Before(from.Add(-b.seeded.Lead)) {
		res.StartS = round(first.Sub(b.began).Seconds(), 3)
	}
	if !end.Balanced() || end.Issued != uint64(b.seeded.Expected) || audit.Expected != b.seeded.Expected {
		// The audit's own idea of what should exist is checked as well.
		fmt.Fprintf(b.progress, "the books do not agree: the calendar yields %d, the audit expects %d, the books say %+v\n", b.seeded.Expected, audit.Expected, end)
		res.Unaccounted = max(res.Unaccounted, abs(b.seeded.Expected-int(end.Issued)), abs(b.seeded.Expected-audit.Expected), 1)
	}
	return res, nil
}

func abs(n int) int { return max(n, -n) }

func (b *fleetBench) firstOrder(ctx context.Context) (time.Time, error) {
	tick := time.NewTicker(statsEvery / 4)
	defer tick.Stop()
	next := time.Now().Add(progressEvery)
	for {
		st := b.told()
		if st.FirstOrder != 0 {
			return time.Unix(0, st.FirstOrder), nil
		}
		select {
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		case now := <-tick.C:
			if now.After(b.seeded.Until.Time()) {
				return time.Time{}, fmt.Errorf("no order came, and the schedule is over: %d of %d agents are connected", st.Agents, b.o.agents)
			}
			if now.After(next) {
				next = now.Add(progressEvery)
				fmt.Fprintf(b.progress, "%d of %d agents connected, no order yet\n", st.Agents, b.o.agents)
			}
		}
	}
}

const progressEvery = 5 * time.Second

// follow tells how it goes until ctx ends, and returns the most orders that
// were in flight.
func (b *fleetBench) follow(ctx context.Context, before reading) (most uint64) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	most = before.books.InFlight
	for {
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
		now, err := b.read(ctx)
		if err != nil {
			if ctx.Err() == nil {
				fmt.Fprintln(b.progress, "books:", err)
			}
			continue
		}
		st := b.told()
		most = max(most, now.books.InFlight)
		fmt.Fprintf(b.progress, "%3.0f s: %.0f captures/s, %d in flight, %d missed; %d agents; scheduler %.0f %% of a core, %.0f MB; agents %.0f %%\n",
			now.at.Sub(before.at).Seconds(), float64(now.books.Captured-before.books.Captured)/now.at.Sub(before.at).Seconds(), now.books.InFlight, now.books.Missed, st.Agents,
			100*(now.scheduler.CPU-before.scheduler.CPU).Seconds()/now.at.Sub(before.at).Seconds(), float64(now.scheduler.RSS)/1e6,
			100*(now.agents.CPU-before.agents.CPU).Seconds()/now.at.Sub(before.at).Seconds())
	}
}

// drain waits until nothing is in flight: the schedule is over.
func (b *fleetBench) drain(ctx context.Context) (fleet.Books, error) {
	ctx, cancel := context.WithDeadline(ctx, b.seeded.Until.Time().Add(b.seeded.Deadline+drainWait))
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		books, err := b.books(ctx)
		if err == nil && books.InFlight == 0 && books.Issued >= uint64(b.seeded.Expected) {
			return books.Books, nil
		}
		select {
		case <-ctx.Done():
			// Not an error of the run: it is what the figures have to say.
			fmt.Fprintf(b.progress, "%d of %d orders have no outcome after %v\n", books.InFlight, books.Issued, b.seeded.Deadline+drainWait)
			return books.Books, nil
		case <-tick.C:
		}
	}
}

// drainWait is how long after the last deadline outcomes may still come in.
const drainWait = 90 * time.Second

func (b *fleetBench) audit(ctx context.Context) (admin.Audit, error) {
	var a admin.Audit
	// The audit goes as far as the issue clock, which stands still while nothing
	// is due. A plan for a schedule brings it to the present and changes nothing.
	never := []byte(`schedules: [{name: never, select: "*", once: "2020-01-01T00:00:00Z"}]`)
	if err := b.api.Post(ctx, "schedules/apply", url.Values{"dry_run": {"true"}}, "application/yaml", never, nil); err != nil {
		return a, err
	}
	err := b.api.Get(ctx, "audit", url.Values{"from": {b.seeded.From.String()}, "until": {b.seeded.Until.String()}}, &a)
	for _, e := range a.Examples {
		fmt.Fprintln(b.progress, "unaccounted:", e)
	}
	return a, err
}

// observer looks at the fleet as an operator would.
type observer struct{ update, history, idle swarm.Histogram }

// updates measures how long a report takes to be seen.
func (w *observer) updates(ctx context.Context, b *fleetBench) {
	for {
		var s swarm.Sent
		select {
		case <-ctx.Done():
			return
		case s = <-b.sent:
		}
		for {
			var cam admin.Camera
			if err := b.api.Get(ctx, "cameras/"+s.Camera.String(), nil, &cam); err != nil {
				break
			}
			if cam.LastCapture != nil && cam.LastCapture.At >= s.At {
				w.update.Add(time.Since(time.Unix(0, s.Sent)))
				break
			}
			if sleepUntil(ctx, time.Now().Add(time.Millisecond)) != nil {
				break
			}
		}
	}
}

// histories reads cameras' last hours: one per pause, n of them or, when n is
// 0, until ctx ends.
func (w *observer) histories(ctx context.Context, b *fleetBench, pause time.Duration, n int, into *swarm.Histogram) {
	for i := 0; n == 0 || i < n; i++ {
		if sleepUntil(ctx, time.Now().Add(pause)) != nil {
			return
		}
		id := seed.Camera(rand.IntN(b.o.cameras))
		t := time.Now()
		var page admin.List[admin.Capture]
		err := b.api.Get(ctx, "captures", url.Values{"camera": {id.String()}, "from": {fleet.At(t.Add(-time.Hour)).String()}, "limit": {"1000"}}, &page)
		if err == nil {
			into.Add(time.Since(t))
		}
	}
}

func sleepUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// diskUse returns the size of all files in dir.
func diskUse(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := e.Info()
		if err == nil {
			total += st.Size()
		}
		return err
	})
	return total, err
}

func round(x float64, digits int) float64 {
	p := 1.0
	for range digits {
		p *= 10
	}
	return float64(int64(x*p+0.5)) / p
}

// sharedWriter lets us and the processes we run write to one place.
type sharedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (s *sharedWriter) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(p)
}

// lineReader hands on whole lines of what is written to it. Each goes to line
// during the call.
type lineReader struct {
	line func([]byte)
	rest []byte
}

func (r *lineReader) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			r.rest = append(r.rest, p...)
			return n, nil
		}
		r.line(slices.Concat(r.rest, p[:i]))
		r.rest, p = r.rest[:0], p[i+1:]
	}
}

// ring keeps the last lines that were added.
type ring struct {
	mu    sync.Mutex
	lines [][]byte
}

func (r *ring) add(line []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lines = append(r.lines, bytes.Clone(line)); len(r.lines) > 10 {
		r.lines = r.lines[1:]
	}
}

func (r *ring) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(bytes.Join(r.lines, []byte("\n")))
}
