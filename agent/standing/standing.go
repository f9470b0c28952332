// Package standing is what an agent captures by itself: the tasks of its
// standing orders, and for each the next nominal time, by the same
// calendar.Next as at the centre. It has no clock and no disk.
//
//	bytes ─ Parse ─► Plan ─ Seek(after) ─► next times ─ Due(until, now) ─► orders
//
// The next times lie in one heap without pointers: a task costs about 60 bytes,
// and what is due costs the logarithm of the number of tasks.
package standing

import (
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// Plan is one set of standing orders. Make it with Parse, then Seek. It is not
// for use by several goroutines at once, but for Schedule.
type Plan struct {
	version   uint64
	until     fleet.Instant
	schedules []compiled
	byID      map[fleet.ScheduleID]*calendar.Schedule // the newest revision of each
	places    []calendar.Place
	pauses    []pause
	tasks     []task
	heap      queue
	faults    error
}

type compiled struct {
	id       fleet.ScheduleID
	revision uint64
	*calendar.Schedule
}

type task struct {
	camera   fleet.CameraID
	from     fleet.Instant
	enabled  fleet.Instant
	schedule uint32 // index into schedules
	place    uint32
}

type pause struct {
	camera      fleet.CameraID
	schedule    fleet.ScheduleID
	from, until fleet.Instant
}

// Parse reads an encoded wire.Standing. A schedule that this build does not
// understand leaves its tasks out and is told by Faults; an error means that
// nothing can be made of the bytes.
func Parse(raw []byte) (*Plan, error) {
	m := &wire.Standing{}
	if err := proto.Unmarshal(raw, m); err != nil {
		return nil, fmt.Errorf("standing orders: %w", err)
	}
	records, err := wire.ParseTasks(m.GetTasks())
	if err != nil {
		return nil, fmt.Errorf("standing orders: tasks: %w", err)
	}
	p := &Plan{version: m.GetVersion(), until: fleet.Instant(m.GetUntilMs()), byID: make(map[fleet.ScheduleID]*calendar.Schedule, len(m.GetSchedules()))}
	type key struct {
		id       fleet.ScheduleID
		revision uint64
	}
	index := make(map[key]int, len(m.GetSchedules()))
	newest := make(map[fleet.ScheduleID]uint64)
	var faults []error
	for _, s := range m.GetSchedules() {
		var spec calendar.Spec
		if err := json.Unmarshal(s.GetSpec(), &spec); err != nil {
			faults = append(faults, fmt.Errorf("schedule %s: %w", fleet.ScheduleID(s.GetId()), err))
			continue
		}
		c, err := spec.Compile()
		if err != nil {
			faults = append(faults, err)
			continue
		}
		id := fleet.ScheduleID(s.GetId())
		if c.ID() != id {
			faults = append(faults, fmt.Errorf("schedule %q has the id %s, not %s", c.Name(), c.ID(), id))
			continue
		}
		index[key{id, s.GetRevision()}] = len(p.schedules)
		p.schedules = append(p.schedules, compiled{id, s.GetRevision(), c})
		if p.byID[id] == nil || s.GetRevision() >= newest[id] {
			p.byID[id], newest[id] = c, s.GetRevision()
		}
	}
	for n, text := range m.GetPlaces() {
		var place calendar.Place
		if err := json.Unmarshal([]byte(text), &place); err != nil {
			faults = append(faults, fmt.Errorf("place %d: %w", n, err))
		}
		p.places = append(p.places, place)
	}
	for _, s := range m.GetPauses() {
		until := fleet.Instant(s.GetUntilMs())
		if until == 0 {
			until = math.MaxInt64
		}
		p.pauses = append(p.pauses, pause{fleet.CameraID(s.GetCamera()), fleet.ScheduleID(s.GetSchedule()), fleet.Instant(s.GetFromMs()), until})
	}
	p.tasks = make([]task, 0, len(records))
	left := 0
	for _, t := range records {
		at, ok := index[key{t.Schedule, t.Revision}]
		if !ok || t.Place != 0 && int(t.Place) >= len(p.places) {
			left++
			continue
		}
		p.tasks = append(p.tasks, task{camera: t.Camera, from: t.From, enabled: t.Enabled, schedule: uint32(at), place: t.Place})
	}
	if left > 0 {
		faults = append(faults, fmt.Errorf("%d of %d tasks have no schedule or no place that this agent understands: they wait for the centre's orders", left, len(records)))
	}
	p.faults = errors.Join(faults...)
	return p, nil
}

// Faults tells what of the standing orders was not understood, or nil.
func (p *Plan) Faults() error { return p.faults }

// Version returns the version.
func (p *Plan) Version() uint64 { return p.version }

// Tasks returns how many tasks there are.
func (p *Plan) Tasks() int { return len(p.tasks) }

// Schedule returns the newest revision of a schedule, or nil when the agent
// does not know it.
func (p *Plan) Schedule(id fleet.ScheduleID) *calendar.Schedule { return p.byID[id] }

// Zones returns the time zone of each camera that has a task: its place's.
func (p *Plan) Zones() map[fleet.CameraID]*time.Location {
	known := make([]*time.Location, len(p.places))
	for i, place := range p.places {
		if known[i], _ = time.LoadLocation(place.TZ); known[i] == nil { // "" is UTC
			known[i] = time.UTC // of an unknown one the schedules complain
		}
	}
	zones := make(map[fleet.CameraID]*time.Location)
	for i := range p.tasks {
		if t := &p.tasks[i]; int(t.place) < len(known) {
			zones[t.camera] = known[t.place]
		}
	}
	return zones
}

// Seek goes to the occurrences after the frontier. Those whose deadline is not
// after now are left out: they are the centre's.
func (p *Plan) Seek(frontier, now fleet.Instant) {
	p.seek(now, func(*task) fleet.Instant { return frontier })
}

// Follow is Seek for standing orders that replace old ones while the agent
// runs: the frontier is not that of tasks which are new or changed, so these
// begin with what is still in time.
func (p *Plan) Follow(old *Plan, frontier, now fleet.Instant) {
	type key struct {
		camera   fleet.CameraID
		schedule fleet.ScheduleID
	}
	known := make(map[key]uint64, len(old.tasks))
	for i := range old.tasks {
		t := &old.tasks[i]
		s := &old.schedules[t.schedule]
		known[key{t.camera, s.id}] = s.revision
	}
	p.seek(now, func(t *task) fleet.Instant {
		s := &p.schedules[t.schedule]
		if r, ok := known[key{t.camera, s.id}]; ok && r == s.revision {
			return frontier
		}
		return math.MinInt64
	})
}

func (p *Plan) seek(now fleet.Instant, after func(*task) fleet.Instant) {
	p.heap = p.heap[:0]
	for i := range p.tasks {
		t := &p.tasks[i]
		if next, ok := p.next(t, max(after(t), p.tooOld(t, now), t.from-1)); ok {
			p.heap = append(p.heap, entry{next, int32(i)})
		}
	}
	heap.Init(&p.heap)
}

// tooOld returns the last nominal time whose deadline is not after now.
func (p *Plan) tooOld(t *task, now fleet.Instant) fleet.Instant {
	return now.Add(-p.schedules[t.schedule].Deadline())
}

// next returns t's first nominal time after after.
func (p *Plan) next(t *task, after fleet.Instant) (fleet.Instant, bool) {
	c := calendar.Task{Camera: t.camera, Enabled: t.enabled}
	if len(p.places) > 0 {
		c.Place = p.places[t.place]
	}
	at, ok := p.schedules[t.schedule].Next(c, after)
	return at, ok && (p.until == 0 || at < p.until)
}

// Next returns the earliest nominal time that Due has not passed; false when
// there is none.
func (p *Plan) Next() (fleet.Instant, bool) {
	if len(p.heap) == 0 {
		return 0, false
	}
	return p.heap[0].next, true
}

// Due appends to dst an order for each occurrence with a nominal time up to
// until that Due has not passed, in the order of these times, and passes them.
// Paused ones are left out, and those whose deadline is not after now.
func (p *Plan) Due(dst []fleet.Order, until, now fleet.Instant) []fleet.Order {
	for len(p.heap) > 0 && p.heap[0].next <= until {
		e := &p.heap[0]
		t := &p.tasks[e.task]
		s := &p.schedules[t.schedule]
		at := e.next
		if deadline := at.Add(s.Deadline()); deadline > now && !p.paused(t.camera, s.id, at) {
			dst = append(dst, fleet.Order{
				Occurrence: fleet.Occurrence{Camera: t.camera, Schedule: s.id, Nominal: at},
				Deadline:   deadline, Retries: s.Retry().Attempts, Priority: s.Priority(),
			})
		}
		next, ok := p.next(t, max(at, p.tooOld(t, now)))
		if !ok {
			heap.Remove(&p.heap, 0)
			continue
		}
		e.next = next
		heap.Fix(&p.heap, 0)
	}
	return dst
}

func (p *Plan) paused(c fleet.CameraID, s fleet.ScheduleID, at fleet.Instant) bool {
	for _, z := range p.pauses {
		if (z.camera == 0 || z.camera == c) && (z.schedule == 0 || z.schedule == s) && z.from <= at && at < z.until {
			return true
		}
	}
	return false
}

// Horizon is up to which nominal time occurrences are begun at now: the end of
// the second that now, or a moment later, lies in. A camera's occurrences of
// one second are one frame, so all of them have to be known when the first is.
func Horizon(now time.Time) fleet.Instant {
	second := now.Add(Early).Unix()
	return fleet.Instant(second*1000 + 999)
}

// Wake returns when Horizon reaches next.
func Wake(next fleet.Instant) time.Time {
	second := int64(next) / 1000
	if int64(next)%1000 < 0 {
		second--
	}
	return time.Unix(second, 0).Add(-Early)
}

// Early is how long before its second an occurrence is begun: the cost of a
// timer, of some goroutines and of making it durable, on a busy box. Nothing is
// captured early by it.
const Early = 100 * time.Millisecond

// entry is a task's next nominal time.
type entry struct {
	next fleet.Instant
	task int32
}

// queue is a heap of next times; equal ones go by task, so that the order is
// always the same.
type queue []entry

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].next != q[j].next {
		return q[i].next < q[j].next
	}
	return q[i].task < q[j].task
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(entry)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
