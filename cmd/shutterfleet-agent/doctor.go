package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// check is a look's result as -o json prints it.
type check struct {
	Name   string           `json:"name"`
	Result fleet.RungResult `json:"result"`
	TookMS int64            `json:"took_ms"`
	Detail string           `json:"detail"`
	Fix    string           `json:"fix,omitempty"`
}

func doctor() *cobra.Command {
	var o edge.DoctorOptions
	var output string
	c := &cobra.Command{
		Use:   "doctor [--data DIR] [--server HOST:7443]",
		Short: "Look whether this box can be an agent: multicast, line, clock, disk, decoder, limits",
		Long:  "Looks at what an agent needs, and says what to do about what is missing. A running agent is not disturbed. Exits with 1 when something fails.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("-o %s: want table or json", output)
			}
			out := c.OutOrStdout()
			var lost error
			list := edge.Doctor(c.Context(), o, func(r fleet.Rung) {
				if output == "table" {
					lost = errors.Join(lost, printCheck(out, r))
				}
			})
			if output == "json" {
				checks := make([]check, len(list))
				for i, r := range list {
					checks[i] = check{r.Name, r.Result, r.Took.Milliseconds(), r.Detail, r.Fix}
				}
				e := json.NewEncoder(out)
				e.SetIndent("", "  ")
				lost = e.Encode(checks)
			}
			if lost != nil {
				return lost
			}
			failed := 0
			for _, r := range list {
				if r.Result == fleet.RungFailed {
					failed++
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d looks failed: what to do stands below each", failed, len(list))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.DataDir, "data", "", "the agent's folder: looks at its disk, and whether the centre is its own")
	f.StringVar(&o.Server, "server", "", "the centre's agents' door, HOST:PORT: looks at the line and the clock")
	f.StringVar(&o.FFmpeg, "ffmpeg", "", "the program that decodes H.264 (default: ffmpeg on PATH)")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

// printCheck writes one line, and its fix below it.
func printCheck(w io.Writer, r fleet.Rung) error {
	text := fmt.Sprintf("%-18s %-8s %7s  %s\n", r.Name, r.Result, r.Took.Round(time.Millisecond), r.Detail)
	if r.Fix != "" {
		text += fmt.Sprintf("%37s%s\n", "=> ", r.Fix)
	}
	_, err := io.WriteString(w, text)
	return err
}
