package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

func captureCommand() *cobra.Command {
	var d door
	return d.join(noun("capture", "Photograph cameras beside their schedules", captureNow(&d, waiting{every: 250 * time.Millisecond, grace: 15 * time.Second})))
}

func captureNow(d *door, w waiting) *cobra.Command {
	var in admin.NewJob
	var wait, dryRun bool
	c := &cobra.Command{
		Use: "now CAMERA... | --select SELECTOR", Short: "Photograph cameras now",
		Long:    "Photograph cameras now. With --wait it ends once nothing is in flight, prints what came of each\ncamera, and exits with 1 if any was not captured.",
		Example: "  shutterfleet capture now cam-0r4k2m7q1x0ab --wait\n  shutterfleet capture now --select \"site=store-*,!retired\" --deadline 30s",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (in.Select != "") == (len(args) > 0) {
				return usage("capture now wants cameras by id, or --select SELECTOR (\"*\" for all approved ones)")
			}
			for _, id := range args {
				if _, err := cameraPath(id); err != nil {
					return err
				}
			}
			in.Cameras = args
			if in.Select != "" {
				if _, err := fleet.ParseSelector(in.Select); err != nil {
					return usage("--select: %w", err)
				}
			}
			if err := span("deadline", in.Deadline); err != nil {
				return err
			}
			if _, err := fleet.ParsePriority(in.Priority); err != nil {
				return usage("--priority: %w", err)
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var j admin.Job
			if err := api.Create(cmd.Context(), "jobs", planning(dryRun), in, &j); err != nil {
				return err
			}
			switch {
			case dryRun:
				sayDryRun(d, cmd, dryRun)
				return d.print(cmd, j, func(w *bytes.Buffer) { fmt.Fprintf(w, "would photograph %d cameras\n", j.Books.Issued) })
			case !wait:
				if d.output == "table" {
					cmd.PrintErrf("`shutterfleet jobs show %s` tells what came of it; --wait waits for it\n", plain(j.ID))
				}
				return d.print(cmd, j, rows(cmd, []admin.Job{j}, "", jobHeader, jobRow))
			}
			done, err := w.job(cmd, api, j)
			if err != nil {
				return err
			}
			all, err := readJob(cmd.Context(), api, j.ID)
			if err != nil {
				return err
			}
			if err := printJob(d, cmd, all); err != nil {
				return err
			}
			switch b := all.Books; {
			case !done && !all.Done:
				return fmt.Errorf("%d of %d cameras are in flight long after the deadline: their agent does not report; `shutterfleet jobs show %s` tells later", b.InFlight, b.Issued, plain(j.ID))
			case b.Captured < b.Issued:
				return fmt.Errorf("%d of %d cameras were not captured", b.Issued-b.Captured, b.Issued)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&in.Select, "select", "", `cameras by labels, for example "site=store-*,gate"; "*" for all approved ones`)
	f.StringVar(&in.Deadline, "deadline", "", "how long a picture is wanted, for example 30s (default 60s)")
	f.StringVar(&in.Priority, "priority", "", "low, normal, high or urgent (default normal)")
	f.BoolVar(&wait, "wait", false, "wait for the outcomes, and exit with 1 if any camera was not captured")
	f.BoolVar(&dryRun, "dry-run", false, "only say how many cameras it would photograph")
	return c
}

// waiting says how a job is waited for.
type waiting struct {
	every time.Duration // between two looks
	grace time.Duration // after the deadline: an agent's report has a way to go
}

// job waits until nothing of j is in flight, and reports false when that did
// not happen in time: an order at an agent that nobody hears of stays in flight
// for days. It tells its progress on stderr.
func (w waiting) job(cmd *cobra.Command, api *client.Client, j admin.Job) (done bool, err error) {
	ctx := cmd.Context()
	patience := time.NewTimer(j.Deadline.Sub(j.Asked) + w.grace)
	defer patience.Stop()
	look := time.NewTicker(w.every)
	defer look.Stop()
	terminal := false
	if f, ok := cmd.ErrOrStderr().(*os.File); ok {
		terminal = isTerminal(f)
	}
	said := ""
	say := func() {
		b := j.Books
		text := fmt.Sprintf("%d of %d done: %d captured, %d failed, %d missed, %d skipped", b.Issued-b.InFlight, b.Issued, b.Captured, b.Failed, b.Missed, b.Skipped)
		if text == said {
			return
		}
		if said = text; terminal {
			cmd.PrintErr("\r\033[K" + text)
		} else {
			cmd.PrintErrln(text)
		}
	}
	defer func() {
		if terminal {
			cmd.PrintErrln()
		}
	}()
	for {
		if say(); j.Done {
			return true, nil
		}
		select {
		case <-patience.C:
			return false, nil
		case <-look.C:
		case <-ctx.Done():
			return false, fmt.Errorf("no longer waiting, the job goes on: `shutterfleet jobs show %s` tells what came of it", plain(j.ID))
		}
		var now admin.Job // its page of one camera is not looked at
		if err := api.Get(ctx, "jobs/"+url.PathEscape(j.ID), url.Values{"limit": {"1"}}, &now); err != nil {
			if ctx.Err() != nil {
				continue
			}
			return false, err
		}
		j = now
	}
}

// --- jobs ------------------------------------------------------------------------

func jobsCommand() *cobra.Command {
	var d door
	return d.join(noun("jobs", "List what was captured beside the schedules, and what came of it",
		list(&d, "List jobs, newest first", "jobs", "no jobs: `shutterfleet capture now` makes one", jobHeader, jobRow),
		jobsShow(&d)))
}

const jobHeader = "ID ASKED BY SELECT CAMERAS CAPTURED FAILED MISSED SKIPPED IN-FLIGHT"

func jobRow(j admin.Job) []any {
	b := j.Books
	return []any{j.ID, when(&j.Asked), j.By, j.Select, b.Issued, b.Captured, b.Failed, b.Missed, b.Skipped, b.InFlight}
}

func jobsShow(d *door) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show what came of each camera of a job", Args: wantArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := d.client()
			if err != nil {
				return err
			}
			j, err := readJob(cmd.Context(), api, args[0])
			if err != nil {
				return err
			}
			return printJob(d, cmd, j)
		},
	}
}

// readJob reads a job with all of its cameras.
func readJob(ctx context.Context, api *client.Client, id string) (j admin.JobDetail, err error) {
	cameras := []admin.JobCamera{}
	q := url.Values{"limit": {"1000"}}
	for {
		var page admin.JobDetail
		if err := api.Get(ctx, "jobs/"+url.PathEscape(id), q, &page); err != nil {
			return page, err
		}
		cameras = append(cameras, page.Cameras...)
		if page.Next == "" || page.Next == q.Get("after") {
			page.Cameras, page.Next = cameras, ""
			return page, nil
		}
		q.Set("after", page.Next)
	}
}

func printJob(d *door, cmd *cobra.Command, j admin.JobDetail) error {
	return d.print(cmd, j, rows(cmd, j.Cameras, "no cameras", "CAMERA OUTCOME CAUSE DELAY TOOK FRAME DETAIL", func(c admin.JobCamera) []any {
		if c.Capture == nil {
			return []any{c.Camera, "in flight", "", "", "", "", ""}
		}
		frame := ""
		if c.Capture.Outcome == fleet.Captured {
			frame = fmt.Sprintf("%dx%d %s", c.Capture.Width, c.Capture.Height, c.Capture.Codec)
		}
		return []any{c.Camera, c.Capture.Outcome, c.Cause, fmt.Sprintf("%dms", c.Capture.DelayMS), fmt.Sprintf("%dms", c.Capture.TookMS), frame, c.Detail}
	}))
}
