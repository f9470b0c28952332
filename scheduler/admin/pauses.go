package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// NewPause asks for a pause from now on.
type NewPause struct {
	Schedule string `json:"schedule,omitempty" maxLength:"200" doc:"by name"`
	Camera   string `json:"camera,omitempty" doc:"by id"`
	Site     string `json:"site,omitempty" maxLength:"100"`
	All      bool   `json:"all,omitempty" doc:"everything; instead of schedule, camera and site, which narrow it together"`
	For      string `json:"for,omitempty" maxLength:"40" doc:"how long, for example 90m, 2h or 1d; instead of until" example:"2h"`
	Until    string `json:"until,omitempty" format:"date-time" doc:"when it ends; with neither, it lasts until it is resumed"`
	Reason   string `json:"reason,omitempty" maxLength:"500" doc:"for who wonders later"`
}

type newPauseInput struct {
	OnceHeader
	DryRun bool `query:"dry_run" doc:"only say what it would be, and how many cameras it would concern"`
	Body   NewPause
}

type pauseOutput struct {
	Status   int
	Replayed string `header:"Idempotent-Replayed" doc:"true when this answer was given before, for the same Idempotency-Key"`
	Body     Pause
}

func (a *Server) registerPauses() {
	register(a, operation(scheduler.RoleViewer, "list-pauses", http.MethodGet, "/pauses", "schedules", "List the pauses in force, oldest first"),
		func(ctx context.Context, _ *struct{}) (*listOutput[Pause], error) {
			v, err := a.s.Pauses(ctx)
			return listOf(each(v, pauseOf)), err
		})

	op := operation(scheduler.RoleOperator, "pause", http.MethodPost, "/pauses", "schedules", "Pause a schedule, a camera, a site or all")
	op.Description += " Occurrences whose time comes meanwhile end as skipped(paused). With dry_run the answer is 200 and nothing changes."
	op.DefaultStatus = http.StatusCreated
	op.Errors = []int{http.StatusNotFound, http.StatusUnprocessableEntity}
	register(a, op, func(ctx context.Context, in *newPauseInput) (*pauseOutput, error) {
		if in.DryRun {
			p, err := a.pausePlan(ctx, in.Body)
			return &pauseOutput{Status: http.StatusOK, Body: p}, err
		}
		p, replayed, err := asOnce(ctx, a, op.OperationID, in.OnceHeader, in.Body, func(ctx context.Context) (Pause, error) { return a.pause(ctx, in.Body) })
		return &pauseOutput{Status: http.StatusCreated, Replayed: replayed, Body: p}, err
	})

	op = operation(scheduler.RoleOperator, "resume", http.MethodDelete, "/pauses/{id}", "schedules", "End a pause")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, func(ctx context.Context, in *struct {
		ID string `path:"id" maxLength:"100"`
	},
	) (*struct{}, error) {
		return nil, a.resume(ctx, in.ID)
	})
}

func (a *Server) pause(ctx context.Context, in NewPause) (Pause, error) {
	n, err := a.newPause(ctx, in)
	if err != nil {
		return Pause{}, err
	}
	p, err := a.s.Pause(ctx, n)
	return pauseOf(p), err
}

func (a *Server) resume(ctx context.Context, id string) error {
	err := a.s.Resume(ctx, id)
	if errors.Is(err, scheduler.ErrNotFound) {
		return fmt.Errorf("pause %s: %w: it may be over already; `shutterfleet schedules pauses` lists those in force", id, scheduler.ErrNotFound)
	}
	return err
}

// newPause reads a request: a misspelled name must not pause nothing and look
// as if it had.
func (a *Server) newPause(ctx context.Context, in NewPause) (n scheduler.NewPause, err error) {
	n = scheduler.NewPause{Site: fleet.SiteID(in.Site), Schedule: in.Schedule, By: visitorOf(ctx).Name, Reason: strings.TrimSpace(in.Reason)}
	switch some := in.Schedule != "" || in.Camera != "" || in.Site != ""; {
	case in.All && some:
		return n, invalid("all", "pauses everything: leave it out to pause only what schedule, camera and site name")
	case !in.All && !some:
		return n, invalid("schedule", "name a schedule, a camera or a site to pause; to pause everything, say all")
	}
	now := fleet.At(a.o.Now())
	switch {
	case in.For != "" && in.Until != "":
		return n, invalid("until", "give for or until, not both")
	case in.For != "":
		d, err := calendar.ParseDuration(in.For)
		if err != nil {
			return n, invalid("for", "%v", err)
		}
		n.Until = now.Add(time.Duration(d))
	case in.Until != "":
		if n.Until, err = instantOf("until", in.Until); err != nil {
			return n, err
		}
		if n.Until <= now {
			return n, invalid("until", "%s is past: it is %s now", n.Until, now)
		}
	}
	if in.Camera != "" {
		if n.Camera, err = cameraID("camera", in.Camera); err != nil {
			return n, err
		}
		v, err := a.camera(ctx, n.Camera)
		if err != nil {
			return n, err
		}
		if n.Site != "" && v.Site != n.Site {
			return n, invalid("site", "camera %s is at site %s", n.Camera, v.Site)
		}
	}
	if n.Site != "" {
		if err := a.siteExists(ctx, n.Site); err != nil {
			return n, err
		}
	}
	if n.Schedule != "" {
		_, err = a.schedule(ctx, n.Schedule)
	}
	return n, err
}

// siteExists refuses a site that nobody mentioned.
func (a *Server) siteExists(ctx context.Context, id fleet.SiteID) error {
	sites, err := a.s.Sites(ctx)
	if err != nil || slices.ContainsFunc(sites, func(v scheduler.SiteView) bool { return v.ID == id }) {
		return err
	}
	return invalid("site", "no site is called %q: `shutterfleet sites ls` lists all there are", id)
}

func (a *Server) schedule(ctx context.Context, name string) (scheduler.ScheduleView, error) {
	all, err := a.s.Schedules(ctx)
	if err != nil {
		return scheduler.ScheduleView{}, err
	}
	for _, v := range all {
		if v.Name == name {
			return v, nil
		}
	}
	return scheduler.ScheduleView{}, invalid("schedule", "no schedule is called %q: `shutterfleet schedules ls` lists all there are", name)
}

// pausePlan says what a pause would be.
func (a *Server) pausePlan(ctx context.Context, in NewPause) (Pause, error) {
	n, err := a.newPause(ctx, in)
	if err != nil {
		return Pause{}, err
	}
	q := scheduler.CameraQuery{Site: n.Site, State: fleet.Approved}
	if n.Schedule != "" {
		v, err := a.schedule(ctx, n.Schedule)
		if err != nil {
			return Pause{}, err
		}
		if q.Selector, err = fleet.ParseSelector(v.Select); err != nil {
			return Pause{}, fmt.Errorf("schedule %q: %w", v.Name, err) // it was checked when it was applied
		}
	}
	if n.Camera != 0 {
		q.After, q.Limit = n.Camera-1, 1
	}
	cameras, err := a.s.Cameras(ctx, q)
	if err != nil {
		return Pause{}, err
	}
	if n.Camera != 0 {
		cameras = slices.DeleteFunc(cameras, func(v scheduler.CameraView) bool { return v.ID != n.Camera })
	}
	p := pauseOf(scheduler.Pause{
		Site: n.Site, Camera: n.Camera, Schedule: n.Schedule, From: fleet.At(a.o.Now()), Until: n.Until, By: n.By, Reason: n.Reason,
	})
	count := len(cameras)
	p.DryRun, p.Cameras = true, &count
	return p, nil
}
