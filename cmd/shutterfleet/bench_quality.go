package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/cmd/internal/labelled"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// qualityReport is what `bench quality` prints.
type qualityReport struct {
	Scenes int           `json:"scenes"`
	Half   labelled.Half `json:"half"`
	Seed   uint64        `json:"seed"`
	Codec  fleet.Codec   `json:"codec"`
	CPUs   int           `json:"cpus"`
	Go     string        `json:"go"`
	labelled.Report
}

type benchQuality struct {
	d    door
	set  labelled.Set
	half string
	code string
}

func benchQualityCommand() *cobra.Command {
	var b benchQuality
	cmd := &cobra.Command{
		Use: "quality", Short: "Measure how well is told what is wrong with a picture", Args: noArgs,
		Long: `Measure the verdicts on frames of which it is known what is wrong with them.

Each scene is a camera that learns a day of ordinary frames, one every quarter of
an hour, by day and by night. Then everything that can happen to it happens, each
time as if nothing else had: every fault at three strengths, and what looks like
a fault and is none. Frames are drawn, coded as JPEG or as key frames of H.264
(which takes an FFmpeg with libx264), and read as agents read them.

For each verdict and strength: recall is the share of its faults that are called
so; precision is the share of those called so that are, among the faults of that
strength and all frames of what is no fault. In brackets is the interval that
holds the true share at 95 % (Wilson). Single is what is said of a fault's first
frame, lasting what is so after its second, a minute later. A frame that cannot be
read at all counts as corrupt: its capture fails as that. Of what is no fault, the
frames called one are told per 1,000.

The limits were chosen on the tuning half of the scenes, and are reported on the
other.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.run(cmd) },
	}
	f := cmd.Flags()
	f.IntVar(&b.set.Scenes, "scenes", 40, "how many scenes")
	f.StringVar(&b.half, "half", string(labelled.Reporting), "which scenes: reporting, or tuning for those that the limits were chosen on")
	f.Uint64Var(&b.set.Seed, "seed", 0, "draw other scenes")
	f.StringVar(&b.code, "codec", string(fleet.JPEG), "what frames are coded as: jpeg or h264")
	f.StringVarP(&b.d.output, "output", "o", "table", "table, json or yaml")
	return cmd
}

func (b *benchQuality) run(cmd *cobra.Command) error {
	if err := b.d.checkOutput(); err != nil {
		return err
	}
	if b.set.Scenes < 1 {
		return usage("--scenes %d: want at least 1", b.set.Scenes)
	}
	b.set.Half, b.set.Width = labelled.Half(b.half), runtime.GOMAXPROCS(0)
	if !slices.Contains([]labelled.Half{labelled.Tuning, labelled.Reporting}, b.set.Half) {
		return usage("--half %s: want tuning or reporting", b.half)
	}
	b.set.Codec = fleet.Codec(b.code)
	if !slices.Contains([]fleet.Codec{fleet.JPEG, fleet.H264}, b.set.Codec) {
		return usage("--codec %s: want jpeg or h264", b.code)
	}
	var tally labelled.Tally
	began, done := time.Now(), 0
	err := b.set.Shoot(cmd.Context(), func(r *labelled.Reel) error {
		r.Judge(quality.Options{}, tally.Add)
		done++
		cmd.PrintErrf("%6s scene %d of %d\n", time.Since(began).Round(time.Second), done, b.set.Scenes)
		return nil
	})
	if err != nil {
		return fmt.Errorf("bench quality: %w", err)
	}
	report := qualityReport{Scenes: b.set.Scenes, Half: b.set.Half, Seed: b.set.Seed, Codec: b.set.Codec, CPUs: runtime.NumCPU(), Go: runtime.Version(), Report: tally.Report()}
	return b.d.print(cmd, report, report.table)
}

func (r qualityReport) table(w *bytes.Buffer) {
	fmt.Fprintln(w, "VERDICT\tSTRENGTH\tN\tRECALL\tPRECISION\tLASTING RECALL\tPRECISION\tCALLED INSTEAD")
	for _, v := range r.Verdicts {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", v.Verdict, v.Strength, v.Single.Recall.Of,
			interval(v.Single.Recall), interval(v.Single.Precision), interval(v.Lasting.Recall), interval(v.Lasting.Precision), counted(v.Single.Instead))
	}
	fmt.Fprintln(w, "\nNO FAULT\tFRAMES\tFALSE / 1000\tLASTING / 1000\tCALLED")
	for _, n := range append([]labelled.NegativeFigures{r.All}, r.Negatives...) {
		fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%s\n", n.Name, n.Frames, n.FalsePer1000, n.LastingPer1000, counted(n.As))
	}
}

func interval(s labelled.Share) string {
	if s.Of == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", s.Value, s.Low, s.High)
}

// counted lists what was counted, most first.
func counted(m map[string]int) string {
	names := slices.SortedFunc(maps.Keys(m), func(a, b string) int { return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b)) })
	for i, n := range names {
		names[i] = fmt.Sprintf("%s %d", n, m[n])
	}
	return strings.Join(names, ", ")
}
