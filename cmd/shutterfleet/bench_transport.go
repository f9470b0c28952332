package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/child"
	"github.com/shutterfleet/shutterfleet/cmd/internal/seed"
	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/cmd/internal/transport"
	"github.com/shutterfleet/shutterfleet/scheduler/gateway"
)

type transportOptions struct {
	streams, window, batch, rounds int
	slice                          time.Duration
	idle                           int
	settle                         time.Duration
	format                         string
}

// transportResult is what `bench transport` prints.
type transportResult struct {
	BatchRecords int `json:"batch_records"`
	BatchBytes   int `json:"batch_bytes"`
	Streams      int `json:"streams"`
	Window       int `json:"window"`
	Cores        int `json:"cores"`

	Ours  lineResult `json:"ours"`
	Raw   lineResult `json:"raw"`
	Ratio float64    `json:"ratio"` // ours to raw, captures per processor second: median of the rounds

	Idle *idleResult `json:"idle,omitempty"`
}

type lineResult struct {
	CapturesPerCore float64 `json:"captures_per_core_s"` // both ends' processor time
	CapturesPS      float64 `json:"captures_per_s"`
	CPUMicros       float64 `json:"cpu_us_per_batch"`
}

// idleResult tells what connected agents without work cost the scheduler's
// process.
type idleResult struct {
	Agents     int     `json:"agents"`
	KBPerAgent float64 `json:"rss_kb_per_agent"`
	BaseMB     float64 `json:"rss_mb_without"`
	RSSMB      float64 `json:"rss_mb"`
	ConnectS   float64 `json:"connect_s"`     // until all had connected
	CPUShare   float64 `json:"cpu_of_a_core"` // while idle: heartbeats
}

func benchTransportCommand() *cobra.Command {
	var o transportOptions
	cmd := &cobra.Command{
		Use: "transport", Short: "Compare the agents' stream with plain frames over TLS, and weigh idle agents", Args: noArgs,
		Long: `Carry batches of capture records over the agents' stream (gRPC, mutual TLS, the gateway's own server) and over
the least that could work (frames with their length over the same TLS), in turns in one process, and compare
captures per second of processor time, of both ends together. Nothing is packed, parsed or stored.

Then connect idle agents to a real scheduler process, and tell how much memory each takes there.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case o.format != "table" && o.format != "json":
				return usage("-o %s: want table or json", o.format)
			case o.streams < 1 || o.window < 1 || o.batch < 1 || o.rounds < 1 || o.slice <= 0 || o.idle < 0 || o.settle < 0:
				return usage("--streams, --window, --batch, --rounds and --slice want at least one")
			case o.idle > 0 && runtime.GOOS != "linux":
				return usage("memory is read from /proc: on this system give --idle 0")
			}
			res, err := runTransport(cmd.Context(), o, &sharedWriter{w: cmd.ErrOrStderr()})
			if err != nil {
				return err
			}
			return res.print(cmd.OutOrStdout(), o.format)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.streams, "streams", 4, "how many connections")
	f.IntVar(&o.window, "window", 4, "batches in flight on each, as agents have")
	f.IntVar(&o.batch, "batch", 64, "captures in a batch, as agents send")
	f.IntVar(&o.rounds, "rounds", 10, "how often each has its turn")
	f.DurationVar(&o.slice, "slice", 500*time.Millisecond, "how long a turn takes")
	f.IntVar(&o.idle, "idle", 10_000, "how many idle agents to weigh; 0 for none")
	f.DurationVar(&o.settle, "settle", 30*time.Second, "how long they are idle before they are weighed")
	f.StringVarP(&o.format, "output", "o", "table", "table or json")
	return cmd
}

func (r *transportResult) print(w io.Writer, format string) error {
	if format == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	_, err := fmt.Fprintf(w, "Batches of %d: %.0f captures per core and second on the agents' stream, %.0f as plain frames: %.2f times.\n", r.BatchRecords, r.Ours.CapturesPerCore, r.Raw.CapturesPerCore, r.Ratio)
	if i := r.Idle; i != nil && err == nil {
		_, err = fmt.Fprintf(w, "%d idle agents: %.1f kB each at the scheduler.\n", i.Agents, i.KBPerAgent)
	}
	return err
}

func runTransport(ctx context.Context, o transportOptions, progress io.Writer) (res *transportResult, err error) {
	dir, err := os.MkdirTemp("", "shutterfleet-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	res = &transportResult{Streams: o.streams, Window: o.window, BatchRecords: o.batch, Cores: runtime.GOMAXPROCS(0)}
	if err := compareLines(ctx, o, filepath.Join(dir, "lines"), res, progress); err != nil {
		return nil, err
	}
	if o.idle > 0 {
		if res.Idle, err = weighIdle(ctx, o, filepath.Join(dir, "idle"), progress); err != nil {
			return nil, err
		}
	}
	return res, nil
}

// turn is what one line did in one slice.
type turn struct {
	batches   uint64
	took, cpu time.Duration
}

func compareLines(ctx context.Context, o transportOptions, dir string, res *transportResult, progress io.Writer) (err error) {
	seeded, err := seed.Write(ctx, dir, seed.Plan{Agents: o.streams})
	if err != nil {
		return err
	}
	pki, err := gateway.LoadPKI(dir)
	if err != nil {
		return err
	}
	lo := transport.Options{PKI: pki, Roster: seeded.Roster, Payload: transport.Batch(o.batch), Window: o.window}
	res.BatchBytes = len(lo.Payload)
	ours, err := transport.Ours(ctx, lo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ours.Close()) }()
	raw, err := transport.Raw(ctx, lo)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, raw.Close()) }()
	lines := []transport.Line{ours, raw}
	for _, l := range lines { // handshakes, and the first growth of buffers
		if _, err := l.Run(ctx, o.slice/2); err != nil {
			return err
		}
	}
	sum := [2]turn{}
	var ratios []float64
	for i := range o.rounds {
		var round [2]turn
		for k := range lines {
			k = (k + i) % 2 // either begins in turn
			if round[k], err = takeTurn(ctx, lines[k], o.slice); err != nil {
				return err
			}
			sum[k].batches += round[k].batches
			sum[k].took += round[k].took
			sum[k].cpu += round[k].cpu
		}
		ratios = append(ratios, round[0].perCore()/round[1].perCore())
		fmt.Fprintf(progress, "round %d: ours %.0f, raw %.0f batches per core and second\n", i+1, round[0].perCore(), round[1].perCore())
	}
	slices.Sort(ratios)
	res.Ratio = round3(ratios[len(ratios)/2])
	res.Ours, res.Raw = sum[0].result(o.batch), sum[1].result(o.batch)
	return ctx.Err()
}

func round3(x float64) float64 { return round(x, 3) }

func takeTurn(ctx context.Context, l transport.Line, d time.Duration) (t turn, err error) {
	began, cpu := time.Now(), processorTime()
	t.batches, err = l.Run(ctx, d)
	t.took, t.cpu = time.Since(began), processorTime()-cpu
	return t, err
}

func (t turn) perCore() float64 { return float64(t.batches) / max(t.cpu.Seconds(), 1e-9) }

func (t turn) result(records int) lineResult {
	n := float64(t.batches)
	return lineResult{
		CapturesPerCore: round(t.perCore()*float64(records), 0), CapturesPS: round(n*float64(records)/t.took.Seconds(), 0),
		CPUMicros: round(float64(t.cpu.Microseconds())/max(n, 1), 2),
	}
}

// processorTime is what this process has used, user and system.
func processorTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// weighIdle connects agents that have nothing to do to a scheduler process.
func weighIdle(ctx context.Context, o transportOptions, dir string, progress io.Writer) (res *idleResult, err error) {
	b := &fleetBench{o: fleetOptions{agents: o.idle}, progress: progress, dir: filepath.Join(dir, "centre"), sent: make(chan swarm.Sent, 1)}
	sites := max(o.idle/100, 1)
	fmt.Fprintf(progress, "seeding %d agents ...\n", o.idle)
	if b.seeded, err = seed.Write(ctx, b.dir, seed.Plan{Agents: o.idle, Sites: sites}); err != nil {
		return nil, err
	}
	roster := filepath.Join(dir, "roster.json")
	if err := b.seeded.Roster.Write(roster); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var base child.Usage
	b.listening = func() (err error) {
		base, err = b.scheduler.Usage()
		return err
	}
	stop, err := b.start(roster, cancel) //nolint:contextcheck // processes end in order, also when ctx has ended
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	defer func() {
		if err != nil && context.Cause(ctx) != nil {
			err = context.Cause(ctx)
		}
		err = errors.Join(err, stop())
	}()
	began := time.Now()
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	for next := began.Add(progressEvery); b.told().Agents < o.idle; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case now := <-tick.C:
			if now.After(next) {
				next = now.Add(progressEvery)
				fmt.Fprintf(progress, "%d of %d agents connected\n", b.told().Agents, o.idle)
			}
		}
	}
	connected := time.Now()
	fmt.Fprintf(progress, "all connected; weighing them in %v\n", o.settle)
	u0, err := b.scheduler.Usage()
	if err != nil {
		return nil, err
	}
	if err := sleepUntil(ctx, connected.Add(o.settle)); err != nil {
		return nil, err
	}
	u1, err := b.scheduler.Usage()
	if err != nil {
		return nil, err
	}
	if n := b.told().Agents; n != o.idle {
		return nil, fmt.Errorf("only %d of %d agents stayed connected", n, o.idle)
	}
	return &idleResult{
		Agents: o.idle, KBPerAgent: round((float64(u1.RSS)-float64(base.RSS))/1e3/float64(o.idle), 1),
		BaseMB: round(float64(base.RSS)/1e6, 1), RSSMB: round(float64(u1.RSS)/1e6, 1), ConnectS: round(connected.Sub(began).Seconds(), 1),
		CPUShare: round((u1.CPU-u0.CPU).Seconds()/max(o.settle.Seconds(), 1e-9), 4),
	}, nil
}
