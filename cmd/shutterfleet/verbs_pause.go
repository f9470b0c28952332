package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// planning returns the query of a write that only plans.
func planning(dryRun bool) url.Values {
	if !dryRun {
		return nil
	}
	return url.Values{"dry_run": {"true"}}
}

// sayDryRun tells who reads the table that nothing was changed.
func sayDryRun(d *door, cmd *cobra.Command, dryRun bool) {
	if dryRun && d.output == "table" {
		cmd.PrintErrln("nothing was changed: this was a dry run")
	}
}

// mayHave takes one argument, or none.
func mayHave(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return usage("%s takes one %s at most: see `%s --help`", cmd.Name(), name, cmd.CommandPath())
		}
		return nil
	}
}

// span checks a duration flag, so that a slip is wrong usage and not a failure.
func span(flag, text string) error {
	if text == "" {
		return nil
	}
	if _, err := calendar.ParseDuration(text); err != nil {
		return usage("--%s: %w", flag, err)
	}
	return nil
}

func schedulesPause(d *door) *cobra.Command {
	var in admin.NewPause
	var dryRun bool
	c := &cobra.Command{
		Use: "pause [NAME] [--camera C] [--site S] | --all", Short: "Pause a schedule, a camera, a site, what they name together, or all",
		Long:    "Pause from now on. Occurrences whose time comes meanwhile end as skipped(paused). Without --for and\n--until it lasts until `shutterfleet schedules resume`.",
		Example: "  shutterfleet schedules pause shelf --site store-12 --for 2h --reason cleaning\n  shutterfleet schedules pause --camera cam-0r4k2m7q1x0ab --until 2027-03-01T18:00:00Z",
		Args:    mayHave("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				in.Schedule = args[0]
			}
			switch some := in.Schedule != "" || in.Camera != "" || in.Site != ""; {
			case in.All && some:
				return usage("--all pauses everything: leave it out to pause only what is named")
			case !in.All && !some:
				return usage("schedules pause: what? Name a schedule, --camera, --site, or --all")
			case in.For != "" && in.Until != "":
				return usage("give --for or --until, not both")
			}
			if in.Camera != "" {
				if _, err := cameraPath(in.Camera); err != nil {
					return err
				}
			}
			if err := span("for", in.For); err != nil {
				return err
			}
			if in.Until != "" {
				var i fleet.Instant
				if err := i.UnmarshalText([]byte(in.Until)); err != nil {
					return usage("--until %s: want a time such as 2027-03-01T18:00:00Z; --for takes a length such as 2h", in.Until)
				}
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var p admin.Pause
			if err := api.Create(cmd.Context(), "pauses", planning(dryRun), in, &p); err != nil {
				return err
			}
			sayDryRun(d, cmd, dryRun)
			return d.print(cmd, p, func(w *bytes.Buffer) {
				end := "until it is resumed"
				if p.Until != nil {
					end = "until " + when(p.Until)
				}
				if p.DryRun {
					n := 0
					if p.Cameras != nil {
						n = *p.Cameras
					}
					fmt.Fprintf(w, "would pause %s %s: %d cameras\n", plain(subject(p)), end, n)
					return
				}
				fmt.Fprintf(w, "paused %s %s; `shutterfleet schedules resume %s` ends it\n", plain(subject(p)), end, plain(p.ID))
			})
		},
	}
	f := c.Flags()
	f.StringVar(&in.Camera, "camera", "", "of this camera only, by id")
	f.StringVar(&in.Site, "site", "", "at this site only")
	f.BoolVar(&in.All, "all", false, "everything")
	f.StringVar(&in.For, "for", "", "how long, for example 90m, 2h or 1d")
	f.StringVar(&in.Until, "until", "", "when it ends, for example 2027-03-01T18:00:00Z")
	f.StringVar(&in.Reason, "reason", "", "why, for who wonders later")
	f.BoolVar(&dryRun, "dry-run", false, "only say what it would be, and how many cameras it would concern")
	return c
}

// subject says what a pause pauses.
func subject(p admin.Pause) string {
	var parts []string
	if p.Schedule != "" {
		parts = append(parts, "schedule "+p.Schedule)
	}
	if p.Camera != nil {
		parts = append(parts, "camera "+p.Camera.String())
	}
	if p.Site != "" {
		parts = append(parts, "site "+string(p.Site))
	}
	if len(parts) == 0 {
		return "all"
	}
	return strings.Join(parts, ", ")
}

const (
	pauseHeader = "ID PAUSES FROM UNTIL BY REASON"
	noPauses    = "nothing is paused"
)

func pauseRow(p admin.Pause) []any {
	return []any{p.ID, subject(p), when(&p.From), when(p.Until), p.By, p.Reason}
}

func schedulesPauses(d *door) *cobra.Command {
	c := list(d, "List the pauses in force, oldest first", "pauses", noPauses, pauseHeader, pauseRow)
	c.Use = "pauses"
	return c
}

func schedulesResume(d *door) *cobra.Command {
	var all, dryRun bool
	c := &cobra.Command{
		Use: "resume ID|NAME | --all", Short: "End a pause, all pauses of a schedule, or all there are",
		Args: mayHave("ID|NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usage("schedules resume wants a pause's id, a schedule's name, or --all")
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			pauses, err := client.All[admin.Pause](cmd.Context(), api, "pauses")
			if err != nil {
				return err
			}
			if !all {
				if pauses = named(pauses, args[0]); len(pauses) == 0 {
					return fmt.Errorf("no pause in force has the id %s or names a schedule so: `shutterfleet schedules pauses` lists them", plain(args[0]))
				}
			}
			for _, p := range pauses {
				if dryRun {
					break
				}
				err := api.Send(cmd.Context(), http.MethodDelete, "pauses/"+url.PathEscape(p.ID), nil, nil)
				if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusNotFound {
					continue // it ended by itself meanwhile
				}
				if err != nil {
					return err
				}
			}
			sayDryRun(d, cmd, dryRun)
			return d.print(cmd, pauses, func(w *bytes.Buffer) {
				if len(pauses) == 0 {
					cmd.PrintErrln(noPauses)
				}
				verb := "resumed"
				if dryRun {
					verb = "would resume"
				}
				for _, p := range pauses {
					fmt.Fprintf(w, "%s %s (%s)\n", verb, plain(subject(p)), plain(p.ID))
				}
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every pause in force")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say which would end")
	return c
}

// named returns the pause of an id, or else those that name a schedule.
func named(pauses []admin.Pause, name string) []admin.Pause {
	if i := slices.IndexFunc(pauses, func(p admin.Pause) bool { return p.ID == name }); i >= 0 {
		return pauses[i : i+1]
	}
	return slices.DeleteFunc(slices.Clone(pauses), func(p admin.Pause) bool { return p.Schedule != name })
}
