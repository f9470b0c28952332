package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// A chart is chartWidth by chartHeight of its own units; the page stretches it.
// 360 columns of an hour are 10 seconds each, and about 6 kB at worst.
const (
	chartWidth  = 360
	chartHeight = 100
)

// chart is a histogram as SVG paths, with what it says in words.
type chart struct {
	Width, Height int
	Bars, Line    string // captures as asked, and as they start where that differs
	Title, Says   string
	Top           uint32   // captures per second that the highest line means
	Marks         []string // times below it, at equal distances
}

// chartOf draws a load whose buckets are seconds.
func chartOf(l Load) chart {
	c := chart{Width: chartWidth, Height: chartHeight, Top: max(l.Peak, 1)}
	length := time.Duration(len(l.Due)) * time.Duration(l.StepMS) * time.Millisecond
	c.Title = fmt.Sprintf("Captures per second, %s to %s UTC", hour(l.From), hour(l.From.Add(length)))
	for i := range 5 {
		c.Marks = append(c.Marks, hour(l.From.Add(length/4*time.Duration(i))))
	}
	if l.Total == 0 {
		c.Says = "Nothing is due: no schedule selects an approved camera then."
		return c
	}
	c.Says = fmt.Sprintf("Peak %s per second at %s, mean %s, %s captures in all.",
		num(l.Peak), l.PeakAt.Time().Format(time.TimeOnly), strconv.FormatFloat(l.MeanPerS, 'g', 3, 64), num(l.Total))
	due := heights(l.Due, c.Top)
	var b strings.Builder
	for i := 0; i < len(due); {
		n := run(due[i:])
		if due[i] > 0 {
			fmt.Fprintf(&b, "M%d %dv-%dh%dv%dz", i, chartHeight, due[i], n, due[i])
		}
		i += n
	}
	c.Bars = b.String()
	if l.Delayed > 0 {
		c.Says += fmt.Sprintf(" Shaping bursts delays %s of them, by %s at most: the peak is then %s (the line).",
			num(l.Delayed), calendar.Duration(time.Duration(l.LongestMS)*time.Millisecond), num(l.ShapedPeak))
		shaped := heights(l.Shaped, c.Top)
		b.Reset()
		for i := 0; i < len(shaped); {
			n := run(shaped[i:])
			command := "V%dh%d"
			if i == 0 {
				command = "M0 %dh%d"
			}
			fmt.Fprintf(&b, command, chartHeight-shaped[i], n)
			i += n
		}
		c.Line = b.String()
	}
	return c
}

func hour(i fleet.Instant) string { return i.Time().Format("15:04") }

// run returns how many values at the start of v are alike.
func run(v []int) int {
	for i := range v {
		if v[i] != v[0] {
			return i
		}
	}
	return len(v)
}

// heights folds buckets into columns: each is as high as the highest of its
// buckets, and what is not zero is seen, however small.
func heights(buckets []uint32, top uint32) []int {
	out := make([]int, chartWidth)
	for i := range out {
		from := i * len(buckets) / chartWidth
		for _, n := range buckets[from:max(from+1, (i+1)*len(buckets)/chartWidth)] {
			h := (uint64(n)*chartHeight + uint64(top) - 1) / uint64(top)
			out[i] = max(out[i], int(min(h, chartHeight)))
		}
	}
	return out
}
