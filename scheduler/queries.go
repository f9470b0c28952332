package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// Cameras lists the cameras that q selects, by id.
func (s *Scheduler) Cameras(ctx context.Context, q CameraQuery) ([]CameraView, error) {
	all := q.Selector.String() == "*"
	var ids []fleet.CameraID
	s.eachCamera(func(n uint32) {
		slot := s.cams.slots.at(n)
		if slot.id <= q.After || q.Site != "" && s.sites[slot.site-1].ID != q.Site || q.State == fleet.Approved && !slot.approved || q.State == fleet.Pending && !slot.pending {
			return
		}
		if !all || q.State != "" {
			c := s.cams.get(n)
			if q.State != "" && c.State != q.State || !all && !q.Selector.Match(c.LabelSet()) {
				return
			}
		}
		ids = append(ids, slot.id)
	})
	slices.Sort(ids)
	if q.Limit > 0 && len(ids) > q.Limit {
		ids = ids[:q.Limit]
	}
	out := make([]CameraView, 0, len(ids))
	for _, id := range ids {
		v, err := s.Camera(ctx, id)
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
	c := s.camera(id)
	s.mu.Unlock()
	if c == nil {
		return CameraView{}, fmt.Errorf("camera %s: %w", id, ErrNotFound)
	}
	last, err := s.store.Last(ctx, id)
	if err != nil {
		return CameraView{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.viewWith(c, last), nil
}

// view is Camera for a caller that holds s.mu.
func (s *Scheduler) view(ctx context.Context, c *fleet.Camera) (CameraView, error) {
	last, err := s.store.Last(ctx, c.ID)
	if err != nil {
		return CameraView{}, err
	}
	return s.viewWith(c, last), nil
}

func (s *Scheduler) viewWith(c *fleet.Camera, last *fleet.Capture) CameraView {
	return CameraView{Camera: *c, Last: last, LastFrame: s.store.FrameAt(c.ID, s.maskSum(c.ID)), Mask: s.briefOf(c.ID), Status: s.status(c, last)}
}

func (s *Scheduler) status(c *fleet.Camera, last *fleet.Capture) string {
	switch c.State {
	case fleet.Pending, fleet.Candidate:
		return StatusPending
	case fleet.Quarantined:
		return StatusQuarantined
	case fleet.Ignored:
		return StatusIgnored
	case fleet.Retired:
		return StatusRetired
	}
	switch {
	case len(s.siteNamed(c.Site).links) == 0:
		return StatusOffline
	case last != nil && (last.Cause == fleet.CauseUnauthorized || last.Cause == fleet.CauseLocked):
		return StatusNeedsCredentials
	case last == nil && (c.DeviceState == fleet.DeviceNeedsCredentials || c.DeviceState == fleet.DeviceLocked):
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
	r := BooksReport{Sites: s.booksBySite()}
	for _, b := range r.Sites {
		addBooks(&r.Total, b)
	}
	r.Shards = byShard(r.Sites)
	return r, nil
}

// Thumbnail returns the camera's latest frame as a JPEG at most 320 pixels
// wide, and when it was taken. One that was made under another mask than the
// camera has now is none.
func (s *Scheduler) Thumbnail(ctx context.Context, id fleet.CameraID) ([]byte, fleet.Instant, error) {
	b, f, err := s.store.Thumbnail(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	s.mu.Lock()
	now := s.maskSum(id)
	s.mu.Unlock()
	if b == nil || f.Mask != now {
		return nil, 0, fmt.Errorf("frame of camera %s: %w", id, ErrNotFound)
	}
	return b, f.At, nil
}

// ScheduleName returns the name of a schedule, present or past.
func (s *Scheduler) ScheduleName(id fleet.ScheduleID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scheduleName(id)
}

func (s *Scheduler) scheduleName(id fleet.ScheduleID) string {
	if ident, ok := s.idents[id]; ok {
		return s.revs[s.latest[ident]].Name
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
	ofSite := func(id fleet.CameraID) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.siteOf(id) == q.Site
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
		if q.Schedule != "" && c.Schedule != schedule || q.Outcome != 0 && c.Outcome != q.Outcome ||
			c.Nominal < q.From || q.Until != 0 && c.Nominal >= q.Until || q.Site != "" && !ofSite(c.Camera) {
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
	err := s.store.Fingerprints(ctx, searchableQuality, f.Mask, func(oc fleet.Occurrence, at fleet.Instant, pdq *fleet.PDQ) {
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
