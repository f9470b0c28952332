package scheduler

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// job is one `capture now`. To the books it is a schedule of its own with one
// occurrence for each camera: orders, outcomes and the audit need no other way.
type job struct {
	Job
	schedule fleet.ScheduleID
	counted  bool // Books is up to date; else it is counted when somebody asks
}

// jobPrefix begins the names of jobs' schedules. No other schedule may use it.
const jobPrefix = "now."

const (
	defaultJobDeadline = time.Minute
	maxJobDeadline     = 24 * time.Hour
	maxJobs            = 1000 // that are remembered
)

// jobBody is what the store keeps of a job beside its cameras.
type jobBody struct {
	By       string        `json:"by,omitempty"`
	Selector string        `json:"selector,omitempty"`
	Asked    fleet.Instant `json:"asked"`
	Deadline fleet.Instant `json:"deadline"`
}

func (s *Scheduler) restoreJobs(rows []store.Job) error {
	for _, row := range rows {
		var b jobBody
		if err := json.Unmarshal(row.Body, &b); err != nil {
			return fmt.Errorf("stored job %s: %w", row.ID, err)
		}
		j := &job{Job: Job{ID: row.ID, By: b.By, Selector: b.Selector, Asked: b.Asked, Deadline: b.Deadline}, schedule: fleet.ScheduleIDOf(jobPrefix + row.ID)}
		s.jobs[row.ID] = j
		if ident, ok := s.idents[j.schedule]; ok {
			s.revs[s.latest[ident]].job = j
		}
	}
	s.force()
	return nil
}

// CaptureNow asks for a picture of each selected camera at once. All of them
// are in the books when it returns.
func (s *Scheduler) CaptureNow(ctx context.Context, n NewJob) (Job, error) {
	n.Deadline = cmp.Or(n.Deadline, defaultJobDeadline)
	if n.Deadline < time.Second || n.Deadline > maxJobDeadline {
		return Job{}, invalid("deadline", "want between 1s and %s", calendar.Duration(maxJobDeadline))
	}
	if n.Priority < fleet.PriorityLow || n.Priority > fleet.PriorityUrgent {
		return Job{}, invalid("priority", "want low, normal, high or urgent")
	}
	ids, err := s.jobCameras(n)
	if err != nil {
		return Job{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return Job{}, err
	}
	id := newID("job")
	spec := calendar.Spec{
		Name: jobPrefix + id, Select: "*", Once: now.String(), Deadline: calendar.Duration(n.Deadline), Priority: n.Priority.String(),
	}
	cal, err := spec.Compile()
	if err != nil {
		return Job{}, fmt.Errorf("capture now: %w", err)
	}
	raw, err := json.Marshal(cal.Spec())
	if err != nil {
		return Job{}, fmt.Errorf("capture now: %w", err)
	}
	j := &job{Job: Job{ID: id, By: clip(n.By, maxName), Selector: n.Selector, Asked: now, Deadline: now.Add(n.Deadline)}, schedule: cal.ID(), counted: true}
	body, err := json.Marshal(jobBody{By: j.By, Selector: j.Selector, Asked: j.Asked, Deadline: j.Deadline})
	if err != nil {
		return Job{}, fmt.Errorf("capture now: %w", err)
	}
	row := store.Schedule{ID: cal.ID(), Name: spec.Name, Revision: 1, Spec: raw, Applied: now, Removed: now}
	ch := change{Batch: store.Batch{Schedules: []store.Schedule{row}, Through: now}}
	// Its revision is made now, for orders refer to it; nothing else does, so
	// that a refusal of the store leaves no trace that matters.
	rev := s.addRevision(row, cal)
	s.revs[rev].job = j
	var cameras []byte
	for _, id := range ids {
		slot := s.cams.byID[id]
		if slot == 0 || !s.cams.slots.at(slot).approved {
			continue // it went meanwhile
		}
		at := s.targetOf(slot)
		at.since = now // nobody takes it without being told
		cameras = binary.BigEndian.AppendUint64(cameras, uint64(id))
		ch.OpenSpans = append(ch.OpenSpans, store.Span{Camera: id, Schedule: row.ID, Revision: 1, From: now, Until: now, Enabled: now, Place: s.places[at.site.place].text})
		s.issue(&ch, at, rev, now, now)
		j.Books.InFlight++
	}
	j.Books.InFlight -= uint64(len(ch.Captures)) // without room: perform counts their outcome
	ch.Jobs = []store.Job{{ID: id, Asked: now, Body: body, Cameras: cameras}}
	s.jobs[id] = j
	ch.tell(Event{Kind: "job"})
	if err := s.apply(ctx, &ch); err != nil {
		delete(s.jobs, id)
		return Job{}, err
	}
	s.forgetJobs()
	return j.view(), nil
}

// jobCameras lists the approved cameras that n names.
func (s *Scheduler) jobCameras(n NewJob) ([]fleet.CameraID, error) {
	if (len(n.Cameras) > 0) == (n.Selector != "") {
		return nil, invalid("cameras", `want either cameras or a selector; "*" selects all`)
	}
	if len(n.Cameras) > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, id := range n.Cameras {
			slot := s.cams.byID[id]
			switch {
			case slot == 0:
				return nil, fmt.Errorf("camera %s: %w", id, ErrNotFound)
			case !s.cams.slots.at(slot).approved:
				return nil, invalid("cameras", "camera %s is not approved: approve it first", id)
			}
		}
		ids := slices.Clone(n.Cameras)
		slices.Sort(ids)
		return slices.Compact(ids), nil
	}
	sel, err := fleet.ParseSelector(n.Selector)
	if err != nil {
		return nil, invalid("select", "%v", err)
	}
	var ids []fleet.CameraID
	s.eachCamera(func(k uint32) {
		slot := s.cams.slots.at(k)
		if !slot.approved {
			return
		}
		if n.Selector != "*" {
			if c := s.cams.get(k); !sel.Match(c.LabelSet()) {
				return
			}
		}
		ids = append(ids, slot.id)
	})
	if len(ids) == 0 {
		return nil, invalid("select", "%q matches no approved camera: try `shutterfleet cameras ls --select`", n.Selector)
	}
	slices.Sort(ids)
	return ids, nil
}

func (j *job) view() Job {
	v := j.Job
	b := &v.Books
	b.Issued = b.Captured + b.Failed + b.Missed + b.Skipped + b.InFlight
	return v
}

// forgetJobs keeps the newest jobs in memory; older ones stay in the books and
// among the captures.
func (s *Scheduler) forgetJobs() {
	for len(s.jobs) > maxJobs {
		var oldest *job
		for _, j := range s.jobs {
			if oldest == nil || j.Asked < oldest.Asked || j.Asked == oldest.Asked && j.ID < oldest.ID {
				oldest = j
			}
		}
		delete(s.jobs, oldest.ID)
	}
}

// countJob enters an outcome into the books of its job, if it has one.
func (s *Scheduler) countJob(c *fleet.Capture, inFlight bool) {
	ident, ok := s.idents[c.Schedule]
	if !ok {
		return
	}
	if j := s.revs[s.latest[ident]].job; j != nil && j.counted {
		enter(&j.Books, c.Outcome)
		if inFlight {
			j.Books.InFlight--
		}
	}
}

// count brings the books of a job from before a restart up to date, from its
// rows and orders.
func (s *Scheduler) count(ctx context.Context, j *job) error {
	s.mu.Lock()
	known := j.counted
	s.mu.Unlock()
	if known {
		return nil
	}
	_, cameras, err := s.store.Job(ctx, j.ID)
	if err != nil {
		return err
	}
	// Millions of rows are read without holding up the fleet; what ends
	// meanwhile is looked at again.
	ended := make(map[fleet.CameraID]fleet.Outcome, len(cameras)/8)
	for pass := range 2 {
		if pass == 1 {
			s.mu.Lock()
			defer s.mu.Unlock()
			if j.counted {
				return nil
			}
		}
		for at := cameras; len(at) >= 8; at = at[8:] {
			o := fleet.Occurrence{Camera: fleet.CameraID(binary.BigEndian.Uint64(at)), Schedule: j.schedule, Nominal: j.Asked}
			if _, ok := ended[o.Camera]; ok {
				continue
			}
			if pass == 0 {
				s.mu.Lock()
			}
			busy := s.flightOf(o) != 0
			if pass == 0 {
				s.mu.Unlock()
			}
			if busy {
				continue
			}
			c, err := s.outcomeOf(ctx, o)
			if err != nil {
				return err
			}
			if c != nil {
				ended[o.Camera] = c.Outcome
			}
		}
	}
	var b fleet.Books
	b.InFlight = uint64(len(cameras)/8 - len(ended))
	for _, outcome := range ended {
		enter(&b, outcome)
	}
	j.Books, j.counted = b, true
	return nil
}

// outcomeOf finds the outcome of an occurrence that is not in flight; nil when
// it has aged out.
func (s *Scheduler) outcomeOf(ctx context.Context, o fleet.Occurrence) (*fleet.Capture, error) {
	for e, err := range s.store.History(ctx, o.Camera, 0) {
		if err != nil {
			return nil, err
		}
		if e.Occurrence == o {
			return &e.Capture, nil
		}
		if e.Capture.At.Add(shaped) < o.Nominal {
			break // everything further back is older
		}
	}
	return nil, nil //nolint:nilnil // its file has aged out
}

// Jobs lists the jobs that are remembered, newest first.
func (s *Scheduler) Jobs(ctx context.Context) ([]Job, error) {
	s.mu.Lock()
	var all []*job
	for _, j := range s.jobs {
		all = append(all, j)
	}
	s.mu.Unlock()
	for _, j := range all {
		if err := s.count(ctx, j); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Job
	for _, j := range all {
		out = append(out, j.view())
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Or(cmp.Compare(b.Asked, a.Asked), strings.Compare(a.ID, b.ID)) })
	return out, nil
}

// maxJobPage bounds a page of a job's cameras.
const maxJobPage = 1001

// Job returns a job and a page of its cameras with what came of each, by id,
// beginning after the given one.
func (s *Scheduler) Job(ctx context.Context, id string, after fleet.CameraID, limit int) (Job, []JobCamera, error) {
	limit = min(cmp.Or(limit, defaultPage), maxJobPage)
	s.mu.Lock()
	j := s.jobs[id]
	s.mu.Unlock()
	if j == nil {
		return Job{}, nil, fmt.Errorf("job %s: %w", id, ErrNotFound)
	}
	if err := s.count(ctx, j); err != nil {
		return Job{}, nil, err
	}
	s.mu.Lock()
	view := j.view() // before the outcomes are looked up: a job that is done then has all of them
	s.mu.Unlock()
	_, cameras, err := s.store.Job(ctx, id)
	if err != nil {
		return Job{}, nil, err
	}
	var page []JobCamera
	for ; len(cameras) >= 8 && len(page) < limit; cameras = cameras[8:] {
		c := fleet.CameraID(binary.BigEndian.Uint64(cameras))
		if c <= after {
			continue
		}
		o := fleet.Occurrence{Camera: c, Schedule: j.schedule, Nominal: j.Asked}
		s.mu.Lock()
		busy := s.flightOf(o) != 0
		s.mu.Unlock()
		var got *fleet.Capture
		if !busy {
			if got, err = s.outcomeOf(ctx, o); err != nil {
				return Job{}, nil, err
			}
		}
		page = append(page, JobCamera{Camera: c, Capture: got})
	}
	return view, page, nil
}
