package main

import (
	"bytes"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// verdict is the word for a table: the fault, and how far a picture moved to
// the right and downwards.
func verdict(v *admin.Verdict) string {
	switch {
	case v == nil:
		return ""
	case v.Shift != nil:
		return fmt.Sprintf("%s %+.0f%%,%+.0f%%", v.Fault, 100*v.Shift.X, 100*v.Shift.Y)
	case v.Fault == fleet.FaultNone && v.Learning:
		return "learning"
	}
	return string(v.Fault)
}

func camerasAccept(d *door) *cobra.Command {
	return &cobra.Command{
		Use: "accept ID", Short: "Accept how a camera looks now", Args: wantArgs("ID"),
		Long: "For a camera that was moved, or whose surroundings changed, on purpose: its agent forgets how it looked, and\nlearns it anew from its next 16 ordinary frames.",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := tellCamera[admin.Accepted](cmd, d, args[0], "accept")
			if err != nil {
				return err
			}
			return d.print(cmd, v, func(w *bytes.Buffer) {
				was := "nothing was wrong with it"
				if v.Lasting != "" {
					was = "it was " + plain(v.Lasting)
					if v.Since != nil {
						was += " since " + v.Since.UTC().Format("2006-01-02 15:04:05Z")
					}
				}
				fmt.Fprintf(w, "%s is accepted as it looks now (%s): %s learns it anew\n", v.Camera, was, plain(v.Agent))
			})
		},
	}
}
