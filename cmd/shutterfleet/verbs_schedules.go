package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

func schedulesApply(d *door) *cobra.Command {
	var file string
	var dryRun, prune bool
	c := &cobra.Command{
		Use: "apply -f FILE", Short: "Apply a schedules file, or with --dry-run say what would change", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usage("schedules apply wants -f FILE (- reads stdin)")
			}
			text, err := readFile(cmd, file, maxScheduleFile)
			if err != nil {
				return err
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			q := url.Values{}
			for k, on := range map[string]bool{"dry_run": dryRun, "prune": prune} {
				if on {
					q.Set(k, "true")
				}
			}
			kind := "application/yaml"
			if namesCalendars(text) {
				// The scheduler reads no files of this machine.
				specs, err := parseSchedules(file, text, time.Now())
				if err != nil {
					return err
				}
				if text, err = json.Marshal(map[string]any{"schedules": specs}); err != nil {
					return err
				}
				kind = "application/json"
			}
			var p admin.Plan
			if err := api.Post(cmd.Context(), "schedules/apply", q, kind, text, &p); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			return d.print(cmd, p, func(w *bytes.Buffer) {
				for _, c := range p.Changes {
					fmt.Fprintf(w, "%s\t%s\t%d cameras\n", c.Action, plain(c.Name), c.Cameras)
					for line := range strings.Lines(c.Diff) {
						fmt.Fprintln(w, "  "+plain(strings.TrimRight(line, "\n")))
					}
				}
				for _, warning := range p.Warnings {
					fmt.Fprintln(w, "warning: "+plain(warning))
				}
				if p.DryRun {
					fmt.Fprintln(w, "nothing was changed: this was a dry run")
				}
			})
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "the file, - for stdin")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would change")
	c.Flags().BoolVar(&prune, "prune", false, "remove schedules that the file does not name")
	return c
}

// maxCalendarFile is what a calendar may hold, and a byte: ics says what to do
// about more.
const maxCalendarFile = 1<<20 + 1

// namesCalendars reports whether a schedules file may name iCalendar files.
func namesCalendars(text []byte) bool { return bytes.Contains(text, []byte("ics")) }

// parseSchedules reads a schedules file as the scheduler does at now, and the
// calendars it names, whose paths begin where the file lies.
func parseSchedules(file string, text []byte, now time.Time) ([]calendar.Spec, error) {
	r := scheduler.ScheduleReader{Now: now, Open: func(name string) ([]byte, error) {
		if file != "-" && !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
		return readLimited(name)
	}}
	specs, err := r.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return specs, nil
}

// readLimited reads a calendar, and no more than ics takes of it.
func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := io.Copy(&b, io.LimitReader(f, maxCalendarFile)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// maxPreview bounds how many occurrences are listed.
const maxPreview = 100_000

// preview is the command line of schedules preview.
type preview struct {
	door               *door
	file, camera       string
	from, until        string
	count              int
	siteTZ             string
	lat, lon           float64
	placed, haveSiteTZ bool
}

func schedulesPreview(d *door) *cobra.Command {
	p := preview{door: d}
	c := &cobra.Command{
		Use: "preview NAME", Short: "Say when a schedule happens", Args: wantArgs("NAME"),
		Long: `List the nominal times of a schedule in [from, until), in its time zone: of the one that the
scheduler has under that name, or, with -f, of one in a file, for which no scheduler is needed.

Without --camera, every counts from the Unix epoch, and there is neither phase nor spread. With
it, the times are that camera's. iCalendar files that exclude names are read around the year of
--from. A schedule without tz or at takes those of the camera's site;
--site-tz, --lat and --lon say them where no scheduler does.`,
		Example: `  shutterfleet schedules preview gate-at-night --count 5
  shutterfleet schedules preview field-dawn -f schedules.yaml --from 2027-03-01 --until 2027-04-01 -o json
  shutterfleet schedules preview shelf --camera cam-0000000000001 --until 2h`,
		RunE: func(cmd *cobra.Command, args []string) error {
			f := cmd.Flags()
			p.placed, p.haveSiteTZ = f.Changed("lat"), f.Changed("site-tz")
			switch {
			case f.Changed("lat") != f.Changed("lon"):
				return usage("schedules preview wants both --lat and --lon, in degrees")
			case f.Changed("until") && f.Changed("count"):
				return usage("schedules preview wants --until or --count, not both")
			case p.count < 1 || p.count > maxPreview:
				return usage("--count %d: want 1 to %d", p.count, maxPreview)
			}
			return p.run(cmd, args[0], time.Now())
		},
	}
	f := c.Flags()
	f.StringVarP(&p.file, "file", "f", "", "take the schedule from this file, - for stdin")
	f.StringVar(&p.from, "from", "", "first moment: RFC 3339, or a date in the schedule's zone (default now)")
	f.StringVar(&p.until, "until", "", "end, not included: RFC 3339, a date, or a duration after from such as 36h or 7d")
	f.IntVar(&p.count, "count", 10, "how many occurrences")
	f.StringVar(&p.camera, "camera", "", "of this camera, by its id, with its phase and spread")
	f.StringVar(&p.siteTZ, "site-tz", "", "the site's time zone, for a schedule without tz")
	f.Float64Var(&p.lat, "lat", 0, "the site's degrees north, for a schedule without at")
	f.Float64Var(&p.lon, "lon", 0, "the site's degrees east")
	return c
}

func (p *preview) run(cmd *cobra.Command, name string, now time.Time) error {
	task := calendar.Task{Aligned: p.camera == ""}
	var err error
	if p.camera != "" {
		if task.Camera, err = fleet.ParseCameraID(p.camera); err != nil {
			return usage("--camera %s: %w", p.camera, err)
		}
	}
	if err := p.door.checkOutput(); err != nil {
		return err
	}
	spec, known, err := p.find(cmd, name, now, &task)
	if err != nil {
		return err
	}
	if p.haveSiteTZ {
		if err := calendar.CheckZone(p.siteTZ); err != nil {
			return usage("--site-tz %w", err)
		}
		task.Place.TZ = p.siteTZ
	}
	if p.placed {
		// The same check as for a schedule's own.
		if _, err := (calendar.Spec{Name: "x", Select: "*", Once: "approval", At: &calendar.Coordinates{Lat: p.lat, Lon: p.lon}}).Compile(); err != nil {
			return usage("--lat %v --lon %v: want -90 to 90 degrees north and -180 to 180 east", p.lat, p.lon)
		}
		task.Place.Lat, task.Place.Lon = &p.lat, &p.lon
	}
	s, err := spec.Compile()
	if err != nil {
		return err
	}
	loc := s.Location(task.Place)
	from := now
	if p.from != "" {
		if from, err = moment(p.from, loc); err != nil {
			return usage("--from %w", err)
		}
	}
	var until time.Time
	if p.until != "" {
		if d, err := calendar.ParseDuration(p.until); err == nil {
			until = from.Add(time.Duration(d))
		} else if until, err = moment(p.until, loc); err != nil {
			return usage("--until %w, or a duration such as 36h or 7d", err)
		}
		if !from.Before(until) {
			return usage("--until %s is not after --from %s", until.Format(time.RFC3339), from.Format(time.RFC3339))
		}
	}
	switch {
	case s.Lacks(task.Place):
		cmd.PrintErrf("%s goes by the sun, and nothing says where: give it at: {lat: …, lon: …}, or here --lat and --lon\n", plain(name))
	case spec.Once == "approval" && !known:
		cmd.PrintErrf("%s happens once for each camera, as it is approved: --camera, without -f, says when\n", plain(name))
	}
	times := []string{}
	if spec.Once != "approval" || known {
		if !known {
			task.Enabled = ceil(from)
		}
		if times, err = p.list(s, task, loc, from, until); err != nil {
			return err
		}
	}
	return p.door.print(cmd, times, rows(cmd, times, "no occurrence", "NOMINAL DAY", func(text string) []any {
		t, _ := time.Parse(time.RFC3339, text)
		return []any{text, t.Weekday().String()[:3]}
	}))
}

// list returns the occurrences in [from, until), or as many as were asked for.
func (p *preview) list(s *calendar.Schedule, task calendar.Task, loc *time.Location, from, until time.Time) ([]string, error) {
	times := []string{}
	for after := ceil(from) - 1; ; {
		n, ok := s.Next(task, after)
		switch {
		case !ok, p.until != "" && !n.Time().Before(until), p.until == "" && len(times) == p.count:
			return times, nil
		case len(times) == maxPreview:
			return nil, fmt.Errorf("more than %d occurrences until %s: want an earlier --until", maxPreview, until.Format(time.RFC3339))
		}
		// Milliseconds only where there are any.
		times = append(times, n.Time().In(loc).Format("2006-01-02T15:04:05.999Z07:00"))
		after = n
	}
}

// find returns the schedule of that name, from the file or from the scheduler;
// the latter also knows where the camera is, and since when it is approved.
func (p *preview) find(cmd *cobra.Command, name string, now time.Time, task *calendar.Task) (spec calendar.Spec, approved bool, err error) {
	var specs []calendar.Spec
	where, fix := "the scheduler", "apply it, or name its file with -f."
	if p.file != "" {
		text, err := readFile(cmd, p.file, maxScheduleFile)
		if err != nil {
			return spec, false, err
		}
		// As if it were applied in the year that is asked for.
		if year, err := time.Parse("2006", p.from[:min(4, len(p.from))]); err == nil {
			now = year
		}
		if specs, err = parseSchedules(p.file, text, now); err != nil {
			return spec, false, err
		}
		where, fix = p.file, "is it in another file?"
	} else {
		api, err := p.door.client()
		if err != nil {
			return spec, false, err
		}
		all, err := client.All[admin.Schedule](cmd.Context(), api, "schedules")
		if err != nil {
			return spec, false, err
		}
		for _, s := range all {
			specs = append(specs, s.Spec)
		}
		if p.camera != "" {
			if approved, err = located(cmd, api, task); err != nil {
				return spec, false, err
			}
		}
	}
	i := slices.IndexFunc(specs, func(s calendar.Spec) bool { return s.Name == name })
	if i < 0 {
		var names []string
		for _, s := range specs {
			names = append(names, s.Name)
		}
		there := "none"
		if len(names) > 0 {
			slices.Sort(names)
			there = strings.Join(names[:min(len(names), 20)], ", ")
		}
		return spec, false, fmt.Errorf("no schedule %q in %s: %s There are: %s", name, where, fix, plain(there))
	}
	return specs[i], approved, nil
}

// located asks the scheduler for a camera's place and the time of its approval.
func located(cmd *cobra.Command, api *client.Client, task *calendar.Task) (approved bool, err error) {
	var c admin.Camera
	if err := api.Get(cmd.Context(), "cameras/"+task.Camera.String(), nil, &c); err != nil {
		return false, err
	}
	sites, err := client.All[admin.Site](cmd.Context(), api, "sites")
	if err != nil {
		return false, err
	}
	for _, s := range sites {
		if s.ID == c.Site {
			task.Place = calendar.Place{TZ: s.TZ, Lat: s.Lat, Lon: s.Lon}
		}
	}
	if c.Enabled == nil {
		cmd.PrintErrf("%s is not approved: these would be its times\n", task.Camera)
		return false, nil
	}
	task.Enabled = *c.Enabled
	return true, nil
}

// moment reads RFC 3339, or a date as its first moment in loc.
func moment(text string, loc *time.Location) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, text, loc)
	if err != nil {
		return t, fmt.Errorf("%s: want a time such as 2027-03-01T06:00:00Z, or a date such as 2027-03-01", text)
	}
	return t, nil
}

// ceil returns the first instant that is not before t.
func ceil(t time.Time) fleet.Instant { return fleet.At(t.Add(time.Millisecond - 1)) }
