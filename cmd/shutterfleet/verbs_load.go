package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

const (
	// chartHeight is how many lines the bars of a chart take.
	chartHeight = 8

	// defaultWidth and maxWidth bound a chart where a terminal does not.
	defaultWidth = 80
	minWidth     = 40
	maxWidth     = 500
)

func schedulesLoad(d *door) *cobra.Command {
	var window, step, site, from, file string
	c := &cobra.Command{
		Use: "load", Short: "Draw how many captures are due when; with -f, as if a file were applied", Args: noArgs,
		Example: "  shutterfleet schedules load --window 1h\n  shutterfleet schedules load -f schedules.yaml --site store-12",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for flag, text := range map[string]string{"window": window, "step": step} {
				if err := span(flag, text); err != nil {
					return err
				}
			}
			if from != "" {
				var i fleet.Instant
				if err := i.UnmarshalText([]byte(from)); err != nil {
					return usage("--from %s: want a time such as 2027-03-01T06:00:00Z", from)
				}
			}
			var text []byte
			if file != "" {
				var err error
				if text, err = readFile(cmd, file, maxScheduleFile); err != nil {
					return err
				}
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var l admin.Load
			q := values("window", window, "step", step, "site", site, "from", from)
			if file != "" {
				if err := api.Post(cmd.Context(), "load", q, "application/yaml", text, &l); err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
			} else if err := api.Get(cmd.Context(), "load", q, &l); err != nil {
				return err
			}
			return d.print(cmd, l, func(w *bytes.Buffer) { drawLoad(w, l, terminalWidth()) })
		},
	}
	f := c.Flags()
	f.StringVar(&window, "window", "", "how far to look, for example 12h; at most 24h (default 1h)")
	f.StringVar(&step, "step", "", "count captures per this long, for example 1m (default 1s)")
	f.StringVar(&site, "site", "", "of this site only")
	f.StringVar(&from, "from", "", "where to begin, for example 2027-03-01T06:00:00Z (default now)")
	f.StringVarP(&file, "file", "f", "", "a schedules file, - for stdin: the load as if it were applied")
	return c
}

// terminalWidth returns how many columns a chart may take: COLUMNS, as other
// programs heed it, or the terminal's own.
func terminalWidth() int {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	if err != nil || n <= 0 {
		n = columns(os.Stdout)
	}
	if n <= 0 {
		n = defaultWidth
	}
	return min(max(n, minWidth), maxWidth)
}

// drawLoad draws a histogram at most width columns wide.
func drawLoad(w *bytes.Buffer, l admin.Load, width int) {
	step := time.Duration(l.StepMS) * time.Millisecond
	per := "second"
	if step != time.Second {
		per = calendar.Duration(step).String()
	}
	until := l.From.Add(time.Duration(len(l.Due)) * step)
	fmt.Fprintf(w, "captures per %s, %s to %s", per, when(&l.From), when(&until))
	if l.Total == 0 {
		fmt.Fprintln(w, "\nnothing is due: no schedule selects an approved camera then")
		return
	}
	label := len(strconv.FormatUint(uint64(l.Peak), 10))
	bars := max(1, width-label-2)
	if n := len(l.Due); n <= bars {
		bars = bars / n * n // each bucket is as wide as the others
	} else {
		each := time.Duration(len(l.Due)) * step / time.Duration(bars)
		fmt.Fprintf(w, "; a column shows the highest of its %s", calendar.Duration(each.Round(time.Second)))
	}
	fmt.Fprintln(w)
	drawBars(w, l.Due, l.Peak, bars, label)
	drawAxis(w, l.From, until, bars, label)
	if l.Delayed > 0 {
		fmt.Fprintln(w, "as bursts are shaped")
		drawBars(w, l.Shaped, l.Peak, bars, label)
		drawAxis(w, l.From, until, bars, label)
	}
	fmt.Fprintf(w, "peak %d at %s, mean %s per second, %d captures in all\n", l.Peak, when(l.PeakAt), strconv.FormatFloat(l.MeanPerS, 'g', 3, 64), l.Total)
	if l.Delayed > 0 {
		fmt.Fprintf(w, "shaping delays %d captures, by %s at most: the peak is then %d\n", l.Delayed, calendar.Duration(time.Duration(l.LongestMS)*time.Millisecond), l.ShapedPeak)
	} else {
		fmt.Fprintln(w, "shaping delays nothing: no burst is reached (`shutterfleet sites set SITE --burst N` bounds a site)")
	}
}

// fold makes n columns of buckets: each shows the highest of its buckets.
func fold(buckets []uint32, n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		from := i * len(buckets) / n
		to := max(from+1, (i+1)*len(buckets)/n)
		for _, v := range buckets[from:to] {
			out[i] = max(out[i], v)
		}
	}
	return out
}

// eighths are the parts of a bar's last line, by eighths of its height.
var eighths = [...]string{" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"}

// drawBars draws one column for each of n, on a scale that ends at peak.
func drawBars(w *bytes.Buffer, buckets []uint32, peak uint32, n, label int) {
	columns := fold(buckets, n)
	for line := chartHeight - 1; line >= 0; line-- {
		mark := ""
		switch line {
		case chartHeight - 1:
			mark = strconv.FormatUint(uint64(peak), 10)
		case 0:
			mark = "0"
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%*s │", label, mark)
		for _, v := range columns {
			// What is not zero is seen, however small.
			full := int(math.Ceil(float64(v) / float64(max(peak, 1)) * chartHeight * 8))
			b.WriteString(eighths[min(max(full-line*8, 0), 8)])
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// drawAxis writes the bars' times below them.
func drawAxis(w *bytes.Buffer, from, until fleet.Instant, n, label int) {
	layout := "15:04"
	if until.Sub(from) < 20*time.Minute {
		layout = "15:04:05"
	}
	marks := 4
	for marks > 1 && n/marks < len(layout)+2 {
		marks /= 2
	}
	axis, times := []rune(strings.Repeat("─", n)), []rune(strings.Repeat(" ", n))
	for i := range marks {
		at := i * n / marks
		axis[at] = '┬'
		copy(times[at:], []rune(from.Add(until.Sub(from)/time.Duration(marks)*time.Duration(i)).Time().Format(layout)))
	}
	indent := strings.Repeat(" ", label)
	fmt.Fprintf(w, "%s └%s\n%s  %s\n", indent, string(axis), indent, strings.TrimRight(string(times), " "))
}
