package main

import (
	"bytes"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

// wheelFigures are what the bench measured.
type wheelFigures struct {
	BytesPerTask float64 `json:"bytes_per_task"`
	AddNS        float64 `json:"add_ns"`
}

func benchWheelCommand() *cobra.Command {
	var d door
	tasks := 0
	cmd := &cobra.Command{
		Use: "wheel", Short: "Measure the timing wheel", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if tasks < 1 {
				return usage("--tasks %d: want at least 1", tasks)
			}
			began := time.Now()
			w := wheel.New(0)
			for k := range uint32(tasks) {
				w.Add(fleet.Instant(1+uint64(k)*2654435761%300_000), k)
			}
			f := wheelFigures{AddNS: float64(time.Since(began).Nanoseconds()) / float64(tasks), BytesPerTask: float64(w.Bytes()) / float64(tasks)}
			return d.print(cmd, f, func(b *bytes.Buffer) {
				fmt.Fprintf(b, "bytes per task\t%.1f\nadd\t%.0f ns\n", f.BytesPerTask, f.AddNS)
			})
		},
	}
	cmd.Flags().IntVar(&tasks, "tasks", 1_000_000, "how many tasks")
	cmd.Flags().StringVarP(&d.output, "output", "o", "table", "table, json or yaml")
	return cmd
}
