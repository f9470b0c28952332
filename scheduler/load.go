package scheduler

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

const (
	defaultLoadWindow = time.Hour
	maxLoadWindow     = 24 * time.Hour
	maxLoadBuckets    = 86_400
)

// Load tells how many captures are due in each step of a coming window, and
// when they would start as bursts are shaped: a herd is seen before it happens.
func (s *Scheduler) Load(ctx context.Context, q LoadQuery) (LoadView, error) {
	q.Window, q.Step = cmp.Or(q.Window, defaultLoadWindow), cmp.Or(q.Step, time.Second)
	switch {
	case q.Window < time.Second || q.Window > maxLoadWindow:
		return LoadView{}, invalid("window", "want between 1s and %s", calendar.Duration(maxLoadWindow))
	case q.Step < time.Second || q.Step > q.Window || q.Step%time.Millisecond != 0:
		return LoadView{}, invalid("step", "want between 1s and the window, %s", calendar.Duration(q.Window))
	case q.Window/q.Step > maxLoadBuckets:
		return LoadView{}, invalid("step", "gives %d steps, want at most %d", q.Window/q.Step, maxLoadBuckets)
	}
	if q.From == 0 {
		q.From = fleet.At(time.Now().Truncate(q.Step))
	}
	var extra []*calendar.Schedule
	for _, spec := range q.Specs {
		c, err := spec.Compile()
		if err != nil {
			return LoadView{}, invalid("schedules", "%v", err)
		}
		extra = append(extra, c)
	}
	s.mu.Lock()
	if q.Site != "" && s.siteIDs[q.Site] == nil {
		s.mu.Unlock()
		return LoadView{}, invalid("site", "%s is unknown: see `shutterfleet sites ls`", q.Site)
	}
	global := s.burst.rate
	s.mu.Unlock()
	h := newHistogram(q)
	s.eachCamera(func(n uint32) {
		slot := s.cams.slots.at(n)
		at := s.sites[slot.site-1]
		if q.Site != "" && at.ID != q.Site || !slot.approved || ctx.Err() != nil {
			return
		}
		for key := slot.task; key != 0; key = s.tasks.at(key).sibling {
			t := s.tasks.at(key)
			r := s.revs[t.rev]
			if slices.ContainsFunc(extra, func(c *calendar.Schedule) bool { return c.ID() == r.ID }) {
				continue // what is asked about takes its place
			}
			h.add(at, r.cal, s.calendarTask(t))
		}
		if len(extra) == 0 {
			return
		}
		c := s.cams.get(n)
		labels := c.LabelSet()
		for _, e := range extra {
			if e.Selector().Match(labels) {
				h.add(at, e, calendar.Task{Camera: slot.id, Enabled: c.Enabled, Place: s.places[at.place].Place})
			}
		}
	})
	if err := ctx.Err(); err != nil {
		return LoadView{}, err
	}
	return h.view(global), nil
}

// histogram counts captures by step, and by second for the sites that have a
// bound.
type histogram struct {
	from, until fleet.Instant
	step        fleet.Instant
	due         []uint32
	free        []uint32           // by second, of sites without a bound
	bounded     map[*site][]uint32 // by second
	rates       map[*site]float64
}

func newHistogram(q LoadQuery) *histogram {
	n := int((q.Window + q.Step - 1) / q.Step)
	step := fleet.Instant(q.Step.Milliseconds())
	h := &histogram{from: q.From, until: q.From + fleet.Instant(n)*step, step: step, due: make([]uint32, n), bounded: map[*site][]uint32{}, rates: map[*site]float64{}}
	h.free = make([]uint32, h.seconds())
	return h
}

func (h *histogram) seconds() int { return int((h.until-h.from)/1000) + 1 }

func (h *histogram) add(at *site, cal *calendar.Schedule, t calendar.Task) {
	seconds := h.free
	if at.Burst > 0 {
		if h.bounded[at] == nil {
			h.bounded[at], h.rates[at] = make([]uint32, h.seconds()), at.Burst
		}
		seconds = h.bounded[at]
	}
	for n, ok := cal.Next(t, h.from-1); ok && n < h.until; n, ok = cal.Next(t, n) {
		h.due[(n-h.from)/h.step]++
		seconds[(n-h.from)/1000]++
	}
}

// view shapes first by site, then over all.
func (h *histogram) view(global float64) LoadView {
	v := LoadView{From: h.from, Step: time.Duration(h.step) * time.Millisecond, Due: h.due, Shaped: make([]uint32, len(h.due))}
	total := slices.Clone(h.free)
	for at, due := range h.bounded {
		for i, n := range v.carry(due, h.rates[at]) {
			total[i] += n
		}
	}
	if global > 0 {
		total = v.carry(total, global)
	}
	for i, n := range total {
		if k := i * 1000 / int(h.step); k < len(v.Shaped) {
			v.Shaped[k] += n
		}
	}
	for i, n := range h.due {
		if n > v.Peak {
			v.Peak, v.PeakAt = n, h.from+fleet.Instant(i)*h.step
		}
	}
	return v
}

// carry lets at most rate of due through in each second, the oldest first, and
// notes what that delays. What is left at the end is counted as delayed and
// lies beyond the window.
func (v *LoadView) carry(due []uint32, rate float64) []uint32 {
	out := make([]uint32, len(due))
	type waiting struct {
		second int
		n      uint32
	}
	var queue []waiting
	room := 0.0
	for i, n := range due {
		if n > 0 {
			queue = append(queue, waiting{i, n})
		}
		room = min(room+rate, max(rate, 1))
		for len(queue) > 0 && room >= 1 {
			w := &queue[0]
			k := min(w.n, uint32(room))
			out[i] += k
			room -= float64(k)
			if late := time.Duration(i-w.second) * time.Second; late > 0 {
				v.Delayed += int(k)
				v.Longest = max(v.Longest, late)
			}
			if w.n -= k; w.n == 0 {
				queue = queue[1:]
			}
		}
	}
	for _, w := range queue {
		v.Delayed += int(w.n)
		v.Longest = max(v.Longest, time.Duration(len(due)-w.second)*time.Second)
	}
	return out
}
