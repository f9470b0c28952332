package admintest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// job is a job with the outcomes of its cameras, by id.
type job struct {
	scheduler.Job
	cameras []scheduler.JobCamera
}

// Pause makes a pause that lasts until Resume: the fleet's clock stands still.
func (f *Fleet) Pause(_ context.Context, n scheduler.NewPause) (scheduler.Pause, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Fails != nil {
		return scheduler.Pause{}, f.Fails
	}
	f.pauses++
	p := scheduler.Pause{
		ID: fmt.Sprintf("pause-%d", f.pauses), Site: n.Site, Camera: n.Camera, Schedule: n.Schedule,
		From: Epoch, Until: n.Until, By: n.By, Reason: n.Reason,
	}
	f.Paused = append(f.Paused, p)
	return p, nil
}

// Resume ends a pause.
func (f *Fleet) Resume(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, p := range f.Paused {
		if p.ID == id {
			f.Paused = slices.Delete(slices.Clone(f.Paused), i, i+1)
			return f.Fails
		}
	}
	return fmt.Errorf("pause %s: %w", id, scheduler.ErrNotFound)
}

// Pauses lists those in force.
func (f *Fleet) Pauses(context.Context) ([]scheduler.Pause, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.Paused), f.Fails
}

// CaptureNow makes a job whose cameras stay in flight until Land.
func (f *Fleet) CaptureNow(_ context.Context, n scheduler.NewJob) (scheduler.Job, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Fails != nil {
		return scheduler.Job{}, f.Fails
	}
	ids := slices.Clone(n.Cameras)
	if n.Selector != "" {
		sel, err := fleet.ParseSelector(n.Selector)
		if err != nil {
			return scheduler.Job{}, &scheduler.InvalidError{Field: "select", Problem: err.Error()}
		}
		for id, v := range f.ByID {
			if v.State == fleet.Approved && sel.Match(v.LabelSet()) {
				ids = append(ids, id)
			}
		}
		if len(ids) == 0 {
			return scheduler.Job{}, &scheduler.InvalidError{Field: "select", Problem: "matches no approved camera"}
		}
	}
	for _, id := range ids {
		v, ok := f.ByID[id]
		switch {
		case !ok:
			return scheduler.Job{}, fmt.Errorf("camera %s: %w", id, scheduler.ErrNotFound)
		case v.State != fleet.Approved:
			return scheduler.Job{}, &scheduler.InvalidError{Field: "cameras", Problem: "camera " + id.String() + " is " + string(v.State) + ": approve it first"}
		}
	}
	slices.Sort(ids)
	f.Asked = append(f.Asked, n)
	j := job{Job: scheduler.Job{
		ID: fmt.Sprintf("job-%d", len(f.Asked)), By: n.By, Selector: n.Selector, Asked: Epoch, Deadline: Epoch.Add(cmp.Or(n.Deadline, time.Minute)),
		Books: fleet.Books{Issued: uint64(len(ids)), InFlight: uint64(len(ids))},
	}}
	for _, id := range ids {
		j.cameras = append(j.cameras, scheduler.JobCamera{Camera: id})
	}
	f.jobs = append(f.jobs, j)
	return j.Job, nil
}

// Land ends the part of a job that one camera has: captured, or failed for a
// cause. It reports false when that is not in flight.
func (f *Fleet) Land(id string, camera fleet.CameraID, cause fleet.Cause) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.jobs {
		j := &f.jobs[i]
		for k := range j.cameras {
			if j.ID != id || j.cameras[k].Camera != camera || j.cameras[k].Capture != nil {
				continue
			}
			c := fleet.Capture{
				Occurrence: fleet.Occurrence{Camera: camera, Schedule: fleet.ScheduleIDOf(id), Nominal: Epoch},
				Outcome:    fleet.Captured, At: Epoch.Add(time.Second), Delay: 7 * time.Millisecond, Took: 90 * time.Millisecond,
				Attempts: 1, Agent: "agent-1", Protocol: fleet.RTSP, Reading: fleet.Reading{Width: 1280, Height: 720, Codec: fleet.H264, Bytes: 51_000},
			}
			j.Books.InFlight--
			if cause == "" {
				j.Books.Captured++
			} else {
				j.Books.Failed++
				c.Outcome, c.Cause, c.Detail, c.Protocol, c.Reading = fleet.Failed, cause, "it said no", "", fleet.Reading{}
			}
			j.cameras[k].Capture = &c
			return true
		}
	}
	return false
}

// Jobs lists the jobs, newest first.
func (f *Fleet) Jobs(context.Context) (out []scheduler.Job, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range slices.Backward(f.jobs) {
		out = append(out, j.Job)
	}
	return out, f.Fails
}

// Job shows one job.
func (f *Fleet) Job(_ context.Context, id string, after fleet.CameraID, limit int) (scheduler.Job, []scheduler.JobCamera, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, j := range f.jobs {
		if j.ID != id {
			continue
		}
		var page []scheduler.JobCamera
		for _, c := range j.cameras {
			if c.Camera > after && len(page) < limit {
				page = append(page, c)
			}
		}
		return j.Job, page, f.Fails
	}
	return scheduler.Job{}, nil, fmt.Errorf("job %s: %w", id, scheduler.ErrNotFound)
}

// Load is a herd: one capture in every second bucket, 40 more in the tenth, of
// which shaping leaves 10 in each of four buckets. Each schedule that is asked
// for besides adds 100 to the tenth.
func (f *Fleet) Load(_ context.Context, q scheduler.LoadQuery) (scheduler.LoadView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Loads = append(f.Loads, q)
	n := int(q.Window / q.Step)
	v := scheduler.LoadView{From: cmp.Or(q.From, Epoch), Step: q.Step, Due: make([]uint32, n), Shaped: make([]uint32, n)}
	if len(f.Planned) == 0 && len(q.Specs) == 0 {
		return v, f.Fails
	}
	for i := 0; i < n; i += 2 {
		v.Due[i], v.Shaped[i] = 1, 1
	}
	if n > 13 {
		herd := uint32(40 + 100*len(q.Specs))
		v.Due[10] += herd
		for i := range 4 {
			v.Shaped[10+i] += herd / 4
		}
		v.Delayed, v.Longest = int(herd-herd/4), 3*q.Step
	}
	for i, d := range v.Due {
		if d > v.Peak {
			v.Peak, v.PeakAt = d, v.From.Add(time.Duration(i)*q.Step)
		}
	}
	return v, f.Fails
}
