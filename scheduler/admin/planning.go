package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// chartTime bounds what a page waits for its chart: without it the page is
// still good.
const chartTime = 3 * time.Second

type scheduleRow struct {
	Schedule
	When   string
	Paused *pauseRow // a pause of all of it
}

type pauseRow struct {
	Pause
	What string
}

// choice is one entry of a select.
type choice struct{ Value, Text string }

// pauseLengths are what the page offers; the API takes any.
var pauseLengths = []choice{{"15m", "15 minutes"}, {"1h", "1 hour"}, {"4h", "4 hours"}, {"1d", "1 day"}, {"", "until resumed"}}

type schedulesData struct {
	page
	Schedules []scheduleRow
	Sites     []string
	Pauses    []pauseRow
	Lengths   []choice
	Chart     *chart
	NoChart   string // why there is none
}

func (a *Server) schedulesPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	d := schedulesData{page: a.page(r, "schedules", false), Lengths: pauseLengths}
	schedules, err := a.s.Schedules(ctx)
	if err != nil {
		return err
	}
	pauses, err := a.s.Pauses(ctx)
	if err != nil {
		return err
	}
	if d.Sites, err = contextSites(ctx, a.s); err != nil {
		return err
	}
	whole := map[string]*pauseRow{}
	for _, p := range pauses {
		row := pauseRow{pauseOf(p), pauseSubject(p)}
		d.Pauses = append(d.Pauses, row)
		if p.Site == "" && p.Camera == 0 {
			whole[p.Schedule] = &row
		}
	}
	for _, v := range schedules {
		d.Schedules = append(d.Schedules, scheduleRow{scheduleOf(v), when(v), cmp.Or(whole[""], whole[v.Name])})
	}
	if len(schedules) > 0 {
		d.Chart, d.NoChart = a.chart(ctx)
	}
	a.show(w, r, http.StatusOK, "schedules", "layout", d)
	return nil
}

// chart draws the next hour, or says why it cannot.
func (a *Server) chart(ctx context.Context) (*chart, string) {
	ctx, cancel := context.WithTimeout(ctx, chartTime)
	defer cancel()
	v, err := a.countLoad(ctx, scheduler.LoadQuery{Window: time.Hour, Step: time.Second})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, "The next hour's load takes too long to count for a page: shutterfleet schedules load shows it."
	case err != nil:
		a.log.ErrorContext(ctx, "load failed", "err", err)
		return nil, "The next hour's load could not be counted; the scheduler's log says why."
	}
	c := chartOf(loadOf(v))
	return &c, ""
}

// pauseSubject says what a pause pauses.
func pauseSubject(p scheduler.Pause) string {
	var parts []string
	if p.Schedule != "" {
		parts = append(parts, "schedule "+p.Schedule)
	}
	if p.Camera != 0 {
		parts = append(parts, "camera "+p.Camera.String())
	}
	if p.Site != "" {
		parts = append(parts, "site "+string(p.Site))
	}
	return cmp.Or(strings.Join(parts, ", "), "everything")
}

// when says a schedule's timing in a few words.
func when(v scheduler.ScheduleView) string {
	var s string
	switch {
	case v.Every != 0:
		s = "every " + v.Every.String()
	case len(v.Cron) > 0:
		s = "cron " + strings.Join(v.Cron, ", ")
	case len(v.Sun) > 0:
		s = strings.Join(v.Sun, ", ")
	case v.Once != "":
		s = "once, at " + v.Once
	default:
		s = "by its file"
	}
	if v.TZ != "" {
		s += ", " + v.TZ
	}
	return s
}

// --- forms -------------------------------------------------------------------------

// localTime is how browsers send a datetime-local field; seconds are there when
// they are not zero. The page says that it is UTC.
const localTime = "2006-01-02T15:04"

func (a *Server) pauseForm(w http.ResponseWriter, r *http.Request) error {
	f := r.PostForm
	in := NewPause{Schedule: f.Get("schedule"), Site: f.Get("site"), For: f.Get("for"), Reason: strings.TrimSpace(f.Get("reason"))}
	if until := f.Get("until"); until != "" {
		t, err := time.Parse(localTime, until)
		if err != nil {
			if t, err = time.Parse(localTime+":05", until); err != nil {
				return invalid("until", "%q: want a time such as 2027-03-01T18:00", until)
			}
		}
		in.For, in.Until = "", fleet.At(t).String()
	}
	if len(in.Reason) > 500 {
		return invalid("reason", "longer than 500 bytes")
	}
	switch what := f.Get("what"); {
	case what == "site" && in.Site == "":
		return invalid("site", "choose the site to pause")
	case what == "all" && in.Site != "":
		return invalid("site", "%s is chosen: press its own button, or choose none to pause everything", in.Site)
	case what == "all":
		in.All = true
	}
	if _, err := a.pause(r.Context(), in); err != nil {
		return err
	}
	http.Redirect(w, r, "/schedules", http.StatusSeeOther)
	return nil
}

// resumeForm ends a pause. One that ended by itself meanwhile is as good.
func (a *Server) resumeForm(w http.ResponseWriter, r *http.Request) error {
	if err := a.resume(r.Context(), r.PathValue("id")); err != nil && !errors.Is(err, scheduler.ErrNotFound) {
		return err
	}
	http.Redirect(w, r, "/schedules", http.StatusSeeOther)
	return nil
}

func (a *Server) captureForm(w http.ResponseWriter, r *http.Request) error {
	id, err := cameraID("id", r.PathValue("id"))
	if err != nil {
		return err
	}
	if _, err := a.camera(r.Context(), id); err != nil {
		return err
	}
	j, err := a.captureNow(r.Context(), scheduler.NewJob{Cameras: []fleet.CameraID{id}, Priority: fleet.PriorityHigh, By: visitorOf(r.Context()).Name})
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/cameras/"+id.String()+"?job="+url.QueryEscape(j.ID), http.StatusSeeOther) //nolint:gosec // an id has no slash
	return nil
}

// jobPart is one camera's part of a job, for its page.
type jobPart struct {
	Asked   moment
	Until   fleet.Instant
	Gone    bool        // the job is kept no longer
	Capture *captureRow // nil while it is in flight
	Advice  string
}

func (a *Server) jobPart(ctx context.Context, job string, camera fleet.CameraID) (*jobPart, error) {
	if job == "" {
		return nil, nil
	}
	j, cameras, err := a.job(ctx, job, camera-1, 1)
	if errors.Is(err, scheduler.ErrNotFound) || err == nil && (len(cameras) == 0 || cameras[0].Camera != camera) {
		return &jobPart{Gone: true}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("job %s: %w", job, err)
	}
	p := &jobPart{Asked: moment{j.Asked, fleet.At(a.o.Now())}, Until: j.Deadline}
	if c := cameras[0].Capture; c != nil {
		row := a.captureRow(*c)
		p.Capture, p.Advice = &row, advice[c.Cause]
	}
	return p, nil
}
