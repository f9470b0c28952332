package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/scheduler/wheel/wheelbench"
)

// wheelReport is what `bench wheel` prints: the wheel's figures, and those of
// each peer.
type wheelReport struct {
	Tasks  int     `json:"tasks"`
	Rate   int     `json:"rate"`  // fires per second of the live part
	ForS   float64 `json:"for_s"` // its length
	Rounds int     `json:"rounds"`
	CPUs   int     `json:"cpus"`
	Go     string  `json:"go"`
	wheelbench.Figures
	Peers map[string]wheelbench.Figures `json:"peers"`
}

type benchWheel struct {
	d      door
	cfg    wheelbench.Config
	rounds int
	peers  string
	self   wheelbench.Program // measures the wheel, in a process of its own
}

func benchWheelCommand() *cobra.Command {
	var b benchWheel
	cmd := &cobra.Command{
		Use: "wheel", Short: "Measure the timing wheel, beside other timers", Args: noArgs,
		Long: `Measure the timing wheel: memory, adding, cancelling, the garbage collector's
work, lateness and CPU at --rate fires per second, the most fires per second of
CPU, and a herd due at one instant. Every round runs the wheel and each peer
in processes of their own, one after the other; a figure is the median of the
rounds. The peers are a program of their own: make bench-peers.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return err
			}
			b.self = wheelbench.Program{Path: self, Args: []string{"bench", "wheel", "measure"}}
			return b.run(cmd)
		},
	}
	f := cmd.Flags()
	f.IntVar(&b.cfg.Tasks, "tasks", 1_000_000, "how many recurring tasks")
	f.IntVar(&b.cfg.Rate, "rate", 40_000, "fires per second of the live part: a task recurs every tasks/rate seconds")
	f.DurationVar(&b.cfg.For, "for", 5*time.Second, "length of the live part")
	f.IntVar(&b.rounds, "rounds", 3, "how often everything is measured")
	f.StringVar(&b.peers, "peers", "all", "which peers to measure: all, none, or names with commas between")
	f.StringVarP(&b.d.output, "output", "o", "table", "table, json or yaml")
	cmd.AddCommand(&cobra.Command{
		Use: "measure", Short: "Measure in this process; `bench wheel` starts it", Hidden: true, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return wheelbench.Serve(cmd.Context(), []wheelbench.Kind{wheelbench.Own()}, args, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	})
	return cmd
}

func (b *benchWheel) run(cmd *cobra.Command) error {
	if !slices.Contains([]string{"table", "json", "yaml"}, b.d.output) {
		return usage("-o %s: want table, json or yaml", b.d.output)
	}
	if err := b.cfg.Check(); err != nil {
		return usage("--tasks, --rate, --for: %w", err)
	}
	if b.rounds < 1 {
		return usage("--rounds %d: want at least 1", b.rounds)
	}
	type runner struct {
		program wheelbench.Program
		kind    string
		rounds  []wheelbench.Figures
	}
	runners := []*runner{{program: b.self, kind: wheelbench.Own().Name}}
	peers, names, err := b.findPeers(cmd)
	if err != nil {
		return err
	}
	for _, name := range names {
		runners = append(runners, &runner{program: peers, kind: name})
	}
	began := time.Now()
	for round := range b.rounds {
		for _, r := range runners {
			cmd.PrintErrf("%6s round %d of %d: %s\n", time.Since(began).Round(time.Second), round+1, b.rounds, r.kind)
			figures, err := r.program.Run(cmd.Context(), r.kind, b.cfg)
			if err != nil {
				return fmt.Errorf("bench wheel: %w", err)
			}
			for _, note := range figures.Notes {
				cmd.PrintErrf("%6s %s: %s\n", "", r.kind, note)
			}
			r.rounds = append(r.rounds, figures)
		}
	}
	report := wheelReport{
		Tasks: b.cfg.Tasks, Rate: b.cfg.Rate, ForS: b.cfg.For.Seconds(), Rounds: b.rounds, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Figures: wheelbench.Median(runners[0].rounds), Peers: map[string]wheelbench.Figures{},
	}
	for _, r := range runners[1:] {
		report.Peers[r.kind] = wheelbench.Median(r.rounds)
	}
	if report.FiresPerS == nil {
		return fmt.Errorf("bench wheel: the wheel could not be measured: %s", strings.Join(report.Notes, "; "))
	}
	return b.d.print(cmd, report, func(w *bytes.Buffer) { report.table(w, names) })
}

// findPeers returns the peers' program and which of its kinds to run; without
// one a line on stderr says how to get it.
func (b *benchWheel) findPeers(cmd *cobra.Command) (p wheelbench.Program, names []string, err error) {
	if b.peers == "none" {
		return p, nil, nil
	}
	path, ok := benchPeers("wheel")
	if !ok {
		cmd.PrintErrf("no peers to compare with: there is no %s; build it with `make bench-peers`\n", path)
		return p, nil, nil
	}
	p.Path = path
	if names, err = p.Kinds(cmd.Context()); err != nil {
		return p, nil, fmt.Errorf("bench wheel: %w; build it anew with `make bench-peers`", err)
	}
	if b.peers == "all" {
		return p, names, nil
	}
	wanted := strings.Split(b.peers, ",")
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return p, nil, usage("--peers %s: there is no %q; there are: %s", b.peers, w, strings.Join(names, ", "))
		}
	}
	return p, wanted, nil
}

// table writes a line per figure and a column per kind.
func (r wheelReport) table(w *bytes.Buffer, names []string) {
	columns := []wheelbench.Figures{r.Figures}
	fmt.Fprintf(w, "%d tasks\t%s", r.Tasks, wheelbench.Own().Name)
	for _, n := range names {
		columns = append(columns, r.Peers[n])
		fmt.Fprintf(w, "\t%s", n)
	}
	fmt.Fprintln(w)
	row := func(name, format string, get func(*wheelbench.Figures) *float64) {
		fmt.Fprint(w, name)
		for i := range columns {
			if v := get(&columns[i]); v != nil {
				fmt.Fprintf(w, "\t"+format, *v)
			} else {
				fmt.Fprint(w, "\t-")
			}
		}
		fmt.Fprintln(w)
	}
	delay := func(get func(*wheelbench.Delay) *float64) func(*wheelbench.Figures) *float64 {
		return func(f *wheelbench.Figures) *float64 {
			if f.DelayMS == nil {
				return nil
			}
			return get(f.DelayMS)
		}
	}
	row("bytes per task", "%.1f", func(f *wheelbench.Figures) *float64 { return f.BytesPerTask })
	row("heap, MB", "%.0f", func(f *wheelbench.Figures) *float64 { return f.HeapMB })
	row("resident, MB", "%.0f", func(f *wheelbench.Figures) *float64 { return f.RSSMB })
	row("add, ns of CPU", "%.0f", func(f *wheelbench.Figures) *float64 { return f.AddNS })
	row("cancel, ns of CPU", "%.0f", func(f *wheelbench.Figures) *float64 { return f.CancelNS })
	row("one GC, ms of CPU", "%.2f", func(f *wheelbench.Figures) *float64 { return f.GCCPUMS })
	row(fmt.Sprintf("at %d fires/s, %% of a core", r.Rate), "%.1f", func(f *wheelbench.Figures) *float64 { return f.CPUShare })
	row("  fires/s reached", "%.0f", func(f *wheelbench.Figures) *float64 { return f.FiresPerS })
	row("  delay p50, ms", "%.2f", delay(func(d *wheelbench.Delay) *float64 { return &d.P50 }))
	row("  delay p99, ms", "%.2f", delay(func(d *wheelbench.Delay) *float64 { return &d.P99 }))
	row("  delay p99.9, ms", "%.2f", delay(func(d *wheelbench.Delay) *float64 { return &d.P999 }))
	row("  delay max, ms", "%.2f", delay(func(d *wheelbench.Delay) *float64 { return &d.Max }))
	row("early fires", "%.0f", func(f *wheelbench.Figures) *float64 { return f.Early })
	row("most fires/s per core", "%.0f", func(f *wheelbench.Figures) *float64 { return f.FiresPerSCore })
	row("herd drained in, ms", "%.1f", func(f *wheelbench.Figures) *float64 { return f.HerdDrainMS })
	row("  extra resident, MB", "%.0f", func(f *wheelbench.Figures) *float64 { return f.HerdRSSMB })
	row("simulated fires/s per core", "%.0f", func(f *wheelbench.Figures) *float64 { return f.SimFiresPerSCore })
	row("  64 ticks take p99, ms", "%.2f", func(f *wheelbench.Figures) *float64 {
		if f.StallMS == nil {
			return nil
		}
		return &f.StallMS.P99
	})
}
