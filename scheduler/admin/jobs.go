package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// NewJob asks for a picture of each named camera now.
type NewJob struct {
	Cameras  []string `json:"cameras,omitempty" maxItems:"10000" doc:"by id; or select"`
	Select   string   `json:"select,omitempty" maxLength:"4000" doc:"a selector over labels, as in schedules; * means all approved cameras" example:"site=store-*,!retired"`
	Deadline string   `json:"deadline,omitempty" maxLength:"40" doc:"how long a picture is wanted; default 60s" example:"30s"`
	Priority string   `json:"priority,omitempty" enum:"low,normal,high,urgent" doc:"default normal"`
}

type newJobInput struct {
	OnceHeader
	DryRun bool `query:"dry_run" doc:"only say how many cameras it would photograph"`
	Body   NewJob
}

type jobOutput struct {
	Status   int
	Location string `header:"Location" doc:"where its outcomes are"`
	Replayed string `header:"Idempotent-Replayed" doc:"true when this answer was given before, for the same Idempotency-Key"`
	Body     Job
}

type showJobInput struct {
	ID    string `path:"id" maxLength:"100"`
	After string `query:"after" doc:"cursor: the next of the page before"`
	Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

type showJobOutput struct {
	Link string `header:"Link" doc:"the next page, as RFC 8288 has it"`
	Body JobDetail
}

func (a *Server) registerJobs() {
	op := operation(scheduler.RoleOperator, "capture-now", http.MethodPost, "/jobs", "jobs", "Photograph cameras now")
	op.Description += " The answer is the job; what comes of each camera, show-job tells. With dry_run the answer is 200 and nothing is photographed."
	op.DefaultStatus = http.StatusCreated
	op.Errors = []int{http.StatusNotFound, http.StatusUnprocessableEntity}
	register(a, op, func(ctx context.Context, in *newJobInput) (*jobOutput, error) {
		n, err := newJob(ctx, in.Body)
		if err != nil {
			return nil, err
		}
		if in.DryRun {
			j, err := a.jobPlan(ctx, n)
			return &jobOutput{Status: http.StatusOK, Body: j}, err
		}
		j, replayed, err := asOnce(ctx, a, op.OperationID, in.OnceHeader, in.Body, func(ctx context.Context) (Job, error) { return a.captureNow(ctx, n) })
		return &jobOutput{Status: http.StatusCreated, Location: apiBase + "/jobs/" + j.ID, Replayed: replayed, Body: j}, err
	})

	register(a, operation(scheduler.RoleViewer, "list-jobs", http.MethodGet, "/jobs", "jobs", "List jobs, newest first"),
		func(ctx context.Context, _ *struct{}) (*listOutput[Job], error) {
			v, err := a.s.Jobs(ctx)
			return listOf(each(v, jobOf)), err
		})

	op = operation(scheduler.RoleViewer, "show-job", http.MethodGet, "/jobs/{id}", "jobs", "Show a job, and what came of each of its cameras by id")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, a.showJob)
}

func newJob(ctx context.Context, in NewJob) (n scheduler.NewJob, err error) {
	n = scheduler.NewJob{Selector: in.Select, By: visitorOf(ctx).Name}
	switch {
	case len(in.Cameras) > 0 && in.Select != "":
		return n, invalid("select", "give cameras or select, not both")
	case len(in.Cameras) == 0 && in.Select == "":
		return n, invalid("cameras", "name at least one camera, or select some; `*` selects all approved ones")
	}
	seen := make(map[fleet.CameraID]bool, len(in.Cameras))
	for _, text := range in.Cameras {
		id, err := cameraID("cameras", text)
		if err != nil {
			return n, err
		}
		if !seen[id] {
			n.Cameras = append(n.Cameras, id)
		}
		seen[id] = true
	}
	if in.Select != "" {
		if _, err := fleet.ParseSelector(in.Select); err != nil {
			return n, invalid("select", "%v", err)
		}
	}
	if in.Deadline != "" {
		d, err := calendar.ParseDuration(in.Deadline)
		if err != nil {
			return n, invalid("deadline", "%v", err)
		}
		n.Deadline = time.Duration(d)
	}
	if n.Priority, err = fleet.ParsePriority(in.Priority); err != nil {
		return n, invalid("priority", "%v", err)
	}
	return n, nil
}

func (a *Server) captureNow(ctx context.Context, n scheduler.NewJob) (Job, error) {
	j, err := a.s.CaptureNow(ctx, n)
	if errors.Is(err, scheduler.ErrNotFound) {
		err = fmt.Errorf("%w: `shutterfleet cameras ls` lists all cameras", err)
	}
	return jobOf(j), err
}

// defaultJobDeadline is the scheduler's, for plans.
const defaultJobDeadline = time.Minute

// jobPlan says how many cameras a job would photograph.
func (a *Server) jobPlan(ctx context.Context, n scheduler.NewJob) (Job, error) {
	count := len(n.Cameras)
	for _, id := range n.Cameras {
		v, err := a.camera(ctx, id)
		if err != nil {
			return Job{}, err
		}
		if v.State != fleet.Approved {
			return Job{}, invalid("cameras", "camera %s is %s: approve it first", id, v.State)
		}
	}
	if n.Selector != "" {
		sel, err := fleet.ParseSelector(n.Selector)
		if err != nil {
			return Job{}, invalid("select", "%v", err)
		}
		found, err := a.s.Cameras(ctx, scheduler.CameraQuery{Selector: sel, State: fleet.Approved})
		if err != nil {
			return Job{}, err
		}
		count = len(found)
	}
	if count == 0 {
		return Job{}, invalid("select", "%q matches no approved camera: `shutterfleet cameras ls --select` shows what a selector matches", n.Selector)
	}
	if n.Deadline == 0 {
		n.Deadline = defaultJobDeadline
	}
	now := fleet.At(a.o.Now())
	j := jobOf(scheduler.Job{By: n.By, Selector: n.Selector, Asked: now, Deadline: now.Add(n.Deadline), Books: fleet.Books{Issued: uint64(count), InFlight: uint64(count)}})
	j.DryRun = true
	return j, nil
}

func (a *Server) job(ctx context.Context, id string, after fleet.CameraID, limit int) (scheduler.Job, []scheduler.JobCamera, error) {
	j, cameras, err := a.s.Job(ctx, id, after, limit)
	if errors.Is(err, scheduler.ErrNotFound) {
		err = fmt.Errorf("job %s: %w: `shutterfleet jobs ls` lists those that are kept", id, scheduler.ErrNotFound)
	}
	return j, cameras, err
}

func (a *Server) showJob(ctx context.Context, in *showJobInput) (*showJobOutput, error) {
	var after fleet.CameraID
	if in.After != "" {
		var err error
		if after, err = cameraID("after", in.After); err != nil {
			return nil, err
		}
	}
	j, cameras, err := a.job(ctx, in.ID, after, in.Limit+1)
	if err != nil {
		return nil, err
	}
	out := &showJobOutput{Body: JobDetail{Job: jobOf(j)}}
	if len(cameras) > in.Limit {
		cameras = cameras[:in.Limit]
		out.Body.Next = cameras[in.Limit-1].Camera.String()
		out.Link = nextLink("/jobs/"+in.ID, "limit", fmt.Sprint(in.Limit), "after", out.Body.Next)
	}
	out.Body.Cameras = each(cameras, a.jobCamera)
	return out, nil
}

func (a *Server) jobCamera(c scheduler.JobCamera) JobCamera {
	out := JobCamera{Camera: c.Camera}
	if c.Capture != nil {
		full := a.capture(*c.Capture)
		out.Outcome, out.Cause, out.Detail, out.Capture = &full.Outcome, full.Cause, full.Detail, &full
	}
	return out
}
