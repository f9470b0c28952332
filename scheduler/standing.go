package scheduler

import (
	"encoding/json"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Standing is what an agent captures by itself when no orders come.
type Standing struct {
	Version   uint64
	Until     fleet.Instant // nominal times before it
	Schedules []StandingSchedule
	Places    []string // JSON of calendar.Place
	Tasks     []StandingTask
	Pauses    []StandingPause
	Masks     []MaskNeeded // of the tasks' cameras
}

// StandingSchedule is one revision of a schedule.
type StandingSchedule struct {
	ID       fleet.ScheduleID
	Revision uint64
	Spec     json.RawMessage
}

// StandingTask is one of the agent's tasks. Place is an index into Places.
type StandingTask struct {
	Camera   fleet.CameraID
	Schedule fleet.ScheduleID
	Revision uint64
	From     fleet.Instant
	Enabled  fleet.Instant
	Place    uint32
}

// StandingPause takes occurrences out. 0 = all of the agent's.
type StandingPause struct {
	Camera      fleet.CameraID
	Schedule    fleet.ScheduleID
	From, Until fleet.Instant
}

// standingDelay is how long changes are gathered before agents are told: less
// than orders wait, for what a schedule says of overlaps and retakes comes with
// them. What ends is told sooner still: an agent goes on by itself until it knows.
const (
	standingDelay = 200 * time.Millisecond
	endingDelay   = 50 * time.Millisecond
)

// changed says that the tasks of the site's agents may be others now.
func (v *site) changed() { v.tellWithin(standingDelay) }

// ended says that they are fewer.
func (v *site) ended() { v.tellWithin(endingDelay) }

func (v *site) tellWithin(d time.Duration) {
	at := time.Now().Add(d)
	for _, l := range v.links {
		if l.standing.IsZero() || at.Before(l.standing) {
			l.standing = at
			l.wake()
		}
	}
}

// standing lists the tasks of the cameras that the agent takes.
func (s *Scheduler) standing(a *agent, version uint64) *Standing {
	// What was due before now is in the books, and with whoever had the camera
	// then.
	now := fleet.At(time.Now())
	out := &Standing{Version: version, Until: fleet.At(time.Now().Add(s.opts.GiveUp))}
	revs, places := map[uint32]bool{}, map[uint32]uint32{}
	for n := a.site.first; n != 0; n = s.cams.slots.at(n).next {
		slot := s.cams.slots.at(n)
		if slot.task == 0 || s.pick(s.targetOf(n), nil) != a {
			continue
		}
		if slot.masked {
			out.Masks = append(out.Masks, MaskNeeded{slot.id, s.maskFor(slot.id).Revision})
		}
		for key := slot.task; key != 0; key = s.tasks.at(key).sibling {
			t := s.tasks.at(key)
			r := s.revs[t.rev]
			if !revs[t.rev] {
				revs[t.rev] = true
				out.Schedules = append(out.Schedules, StandingSchedule{r.ID, r.Revision, r.Spec})
			}
			at, ok := places[t.place]
			if !ok {
				at = uint32(len(out.Places))
				places[t.place] = at
				out.Places = append(out.Places, s.places[t.place].text)
			}
			out.Tasks = append(out.Tasks, StandingTask{slot.id, r.ID, r.Revision, max(t.from, now), t.enabled, at})
		}
	}
	for i := range s.pauses {
		p := &s.pauses[i]
		if p.Site == "" || p.Site == a.Site {
			v := StandingPause{Camera: p.Camera, From: p.From, Until: p.Until}
			if p.Schedule != "" {
				v.Schedule = fleet.ScheduleIDOf(p.Schedule)
			}
			out.Pauses = append(out.Pauses, v)
		}
	}
	return out
}
