package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// Cameras lists the cameras that q selects, by id.
func (s *Scheduler) Cameras(ctx context.Context, q CameraQuery) ([]CameraView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*fleet.Camera
	for _, c := range s.cameras {
		if c.ID > q.After && (q.Site == "" || c.Site == q.Site) && (q.State == "" || c.State == q.State) && q.Selector.Match(c.LabelSet()) {
			found = append(found, c)
		}
	}
	slices.SortFunc(found, func(a, b *fleet.Camera) int { return cmp.Compare(a.ID, b.ID) })
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	out := make([]CameraView, 0, len(found))
	for _, c := range found {
		v, err := s.view(ctx, c)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// Camera returns one camera.
func (s *Scheduler) Camera(ctx context.Context, id fleet.CameraID) (CameraView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cameras[id]
	if c == nil {
		return CameraView{}, fmt.Errorf("camera %s: %w", id, ErrNotFound)
	}
	return s.view(ctx, c)
}

func (s *Scheduler) view(ctx context.Context, c *fleet.Camera) (CameraView, error) {
	last, err := s.store.Last(ctx, c.ID)
	if err != nil {
		return CameraView{}, err
	}
	v := CameraView{Camera: *c, Last: last, LastFrame: s.store.FrameAt(c.ID)}
	v.Labels = maps.Clone(c.Labels)
	v.Status = s.status(c, last)
	return v, nil
}

func (s *Scheduler) status(c *fleet.Camera, last *fleet.Capture) string {
	switch c.State {
	case fleet.Pending, fleet.Candidate, fleet.Quarantined:
		return StatusPending
	case fleet.Ignored:
		return StatusIgnored
	case fleet.Retired:
		return StatusRetired
	}
	online := false
	for _, l := range s.links {
		online = online || l.site == c.Site
	}
	switch {
	case !online:
		return StatusOffline
	case last != nil && (last.Cause == fleet.CauseUnauthorized || last.Cause == fleet.CauseLocked):
		return StatusNeedsCredentials
	case last == nil && c.DeviceState == fleet.DeviceNeedsCredentials:
		return StatusNeedsCredentials
	case last == nil:
		return StatusIdle
	case last.Outcome == fleet.Failed:
		return StatusFailed
	case last.Outcome == fleet.Missed:
		return StatusMissed
	case last.Outcome == fleet.Captured && last.Delay > lateAfter:
		return StatusLate
	case last.Outcome == fleet.Captured:
		return StatusOK
	}
	return StatusIdle
}

// Books returns the counts behind the promise Accounted.
func (s *Scheduler) Books(context.Context) (BooksReport, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := BooksReport{Sites: maps.Clone(s.books)}
	for _, b := range s.books {
		r.Total.Issued += b.Issued
		r.Total.Captured += b.Captured
		r.Total.Failed += b.Failed
		r.Total.Missed += b.Missed
		r.Total.Skipped += b.Skipped
		r.Total.InFlight += b.InFlight
		r.Total.Duplicates += b.Duplicates
	}
	return r, nil
}

// Thumbnail returns the camera's latest frame as a JPEG at most 320 pixels
// wide, and when it was taken.
func (s *Scheduler) Thumbnail(ctx context.Context, id fleet.CameraID) ([]byte, fleet.Instant, error) {
	b, at, err := s.store.Thumbnail(ctx, id)
	if err == nil && b == nil {
		err = fmt.Errorf("frame of camera %s: %w", id, ErrNotFound)
	}
	return b, at, err
}

// ScheduleName returns the name of a schedule, present or past.
func (s *Scheduler) ScheduleName(id fleet.ScheduleID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scheduleName(id)
}

func (s *Scheduler) scheduleName(id fleet.ScheduleID) string {
	if c := s.schedules[id]; c != nil {
		return c.Name
	}
	for k, c := range s.revisions {
		if k.schedule == id {
			return c.Name
		}
	}
	return id.String()
}

// The bounds of a page of captures.
const (
	defaultPage = 100
	maxPage     = 1000
)

// Captures returns a page of captures, newest arrival first, and the cursor of
// the next page; "" when this was the last.
func (s *Scheduler) Captures(ctx context.Context, q CaptureQuery) (page []fleet.Capture, next string, err error) {
	limit := min(cmp.Or(q.Limit, defaultPage), maxPage)
	var before int64
	if q.After != "" {
		if before, err = strconv.ParseInt(q.After, 36, 64); err != nil || before <= 0 {
			return nil, "", invalid("after", "is no cursor: use the one that came with the page before")
		}
	}
	schedule := fleet.ScheduleIDOf(q.Schedule)
	site := map[fleet.CameraID]bool{}
	if q.Site != "" {
		s.mu.Lock()
		for id, c := range s.cameras {
			site[id] = c.Site == q.Site
		}
		s.mu.Unlock()
	}
	entries := s.store.Recent(ctx, store.Position(before))
	if q.Camera != 0 {
		entries = s.store.History(ctx, q.Camera, store.Position(before))
	}
	var last store.Position
	for e, err := range entries {
		if err != nil {
			return nil, "", err
		}
		c := &e.Capture
		if q.Site != "" && !site[c.Camera] || q.Schedule != "" && c.Schedule != schedule || q.Outcome != 0 && c.Outcome != q.Outcome ||
			c.Nominal < q.From || q.Until != 0 && c.Nominal >= q.Until {
			continue
		}
		if len(page) == limit {
			return page, strconv.FormatInt(int64(last), 36), nil
		}
		page, last = append(page, e.Capture), e.At
	}
	return page, "", nil
}

// searchableQuality is the PDQ quality below which a frame is stored and not
// searched: its hash says too little (the PDQ paper's recommendation).
const searchableQuality = 50

// Match searches all stored frames for those that look like f, nearest first.
func (s *Scheduler) Match(ctx context.Context, f fleet.Fingerprint, o MatchOptions) ([]Match, error) {
	o.Radius, o.Limit = cmp.Or(o.Radius, 31), cmp.Or(o.Limit, 100)
	if o.Radius < 0 || o.Radius > 128 {
		return nil, invalid("radius", "want 0 to 128 bits; 31 is the usual bound for \"the same picture\"")
	}
	if f.PDQQuality < searchableQuality {
		return nil, invalid("image", "has too little detail to be searched for (PDQ quality %d, at least %d is needed)", f.PDQQuality, searchableQuality)
	}
	var out []Match
	err := s.store.Fingerprints(ctx, searchableQuality, func(oc fleet.Occurrence, at fleet.Instant, pdq *fleet.PDQ) {
		d := 0
		for i := range pdq {
			d += bits.OnesCount8(pdq[i] ^ f.PDQ[i])
		}
		if d <= o.Radius {
			out = append(out, Match{Occurrence: oc, Camera: oc.Camera, At: at, Distance: d})
		}
	})
	slices.SortFunc(out, func(a, b Match) int {
		return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(b.At, a.At), a.Occurrence.Compare(b.Occurrence))
	})
	return out[:min(len(out), o.Limit)], err
}

// Audit checks the books from outside for nominal times in [from, until]:
// calendar.Next over the spans says what should exist, the rows say what does.
func (s *Scheduler) Audit(ctx context.Context, from, until fleet.Instant) (AuditReport, error) {
	s.mu.Lock()
	until = min(until, s.through)
	revisions := maps.Clone(s.revisions)
	s.mu.Unlock()
	var r AuditReport
	note := func(format string, args ...any) {
		if len(r.Examples) < 20 {
			r.Examples = append(r.Examples, fmt.Sprintf(format, args...))
		}
	}
	const (
		expected = 1 << iota
		inFlight
		stored
	)
	found := map[fleet.Occurrence]uint8{}
	err := s.store.Spans(ctx, from, until, func(p store.Span) {
		c := revisions[revisionKey{p.Schedule, p.Revision}]
		if c == nil {
			note("span of %s refers to revision %d of schedule %s, which does not exist", p.Camera, p.Revision, p.Schedule)
			r.Unexpected++
			return
		}
		t := task{span: p, sched: c, place: parsePlace(p.Place)}
		end := until
		if p.Until != 0 {
			end = min(end, p.Until)
		}
		for n, ok := t.after(max(from, p.From) - 1); ok && n <= end; n, ok = t.after(n) {
			found[fleet.Occurrence{Camera: p.Camera, Schedule: p.Schedule, Nominal: n}] = expected
			r.Expected++
		}
	})
	if err != nil {
		return r, err
	}
	// Orders before rows: what is completed in between is found as a row.
	if err := s.store.Flights(ctx, func(o fleet.Occurrence) {
		if o.Nominal >= from && o.Nominal <= until {
			found[o] |= inFlight
		}
	}); err != nil {
		return r, err
	}
	for e, err := range s.store.Recent(ctx, 0) {
		if err != nil {
			return r, err
		}
		o := e.Occurrence
		if o.Nominal < from || o.Nominal > until {
			continue
		}
		switch state := found[o]; {
		case state&expected == 0:
			r.Unexpected++
			note("%s is stored as %s, and no schedule asked for it", o, e.Outcome)
		case state&stored != 0:
			r.Unexpected++
			note("%s is stored twice", o)
		default:
			r.Stored++
		}
		found[o] |= stored
	}
	for o, state := range found {
		if state&(expected|stored) == expected {
			if state&inFlight != 0 {
				r.InFlight++
			} else {
				r.MissingOutcome++
				note("%s has no outcome and no order", o)
			}
		}
	}
	return r, nil
}

// Delays returns the delay of each captured frame whose nominal time lies in
// [from, until]: what the demo's summary is made of.
func (s *Scheduler) Delays(ctx context.Context, from, until fleet.Instant) (delays []time.Duration, err error) {
	for e, err := range s.store.Recent(ctx, 0) {
		if err != nil {
			return nil, err
		}
		if e.Outcome == fleet.Captured && e.Nominal >= from && e.Nominal <= until {
			delays = append(delays, e.Delay)
		}
	}
	return delays, nil
}
