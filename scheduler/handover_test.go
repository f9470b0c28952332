package scheduler_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// undue returns the orders that the robot holds with a nominal time after t.
func (r *robot) undue(t fleet.Instant) map[fleet.Occurrence]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[fleet.Occurrence]bool{}
	for o := range r.held {
		if o.Nominal > t {
			out[o] = true
		}
	}
	return out
}

// TestAgentDead has two agents at one site, of which one goes: with a word its
// undue orders are with the other at once; without one they stay for AgentDead,
// for most lines that break come back, and are with the other soon after it.
func TestAgentDead(t *testing.T) {
	const dead = time.Second
	for name, c := range map[string]struct {
		abrupt, stands bool
		silent         time.Duration // before the end: a cable that is pulled breaks no stream
		least, most    time.Duration // from the end of the stream until all of its orders are with the other
	}{
		// The centre looks for the silent once a second, and gathers what it sends for up to half of one.
		"clean":                 {most: 600 * time.Millisecond},
		"clean, stands by":      {stands: true, most: 600 * time.Millisecond},
		"without a word":        {abrupt: true, least: dead, most: dead + 1600*time.Millisecond},
		"silent before":         {abrupt: true, silent: dead, most: 1600 * time.Millisecond},
		"abrupt, and stands by": {abrupt: true, stands: true, least: dead, most: dead + 1600*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, stop := openWith(t, t.TempDir(), scheduler.Options{AgentDead: dead})
				defer stop()
				spec := every("quick", 10*time.Second)
				spec.Lead = calendar.Duration(time.Minute)
				apply(t, s, spec)
				goes, stays := newRobot(s, enrol(t, s, "lab").ID), newRobot(s, enrol(t, s, "lab").ID)
				goes.abrupt, goes.silent, goes.stands, stays.stands = c.abrupt, c.silent, c.stands, c.stands
				addCameras(t, s, "lab", 40)
				gone, rest := work(t, goes), work(t, stays)
				defer rest()
				time.Sleep(3*time.Minute + 137*time.Millisecond)

				gone()
				began := time.Now()
				moved := goes.undue(fleet.At(began.Add(c.most)))
				if len(moved) < 20 {
					t.Fatalf("only %d undue orders", len(moved))
				}
				var took time.Duration
				for left := len(moved); left > 0; {
					left = 0
					theirs := stays.undue(0)
					for o := range moved {
						if !theirs[o] {
							left++
						}
					}
					if took = time.Since(began); left > 0 && took > 10*time.Second {
						t.Fatalf("%d of %d undue orders are with nobody", left, len(moved))
					}
					if left < len(moved) && took < c.least {
						t.Fatalf("orders moved after %v", took)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if took < c.least || took > c.most {
					t.Errorf("%d orders were with the other after %v, want %v to %v", len(moved), took, c.least, c.most)
				}
				for _, a := range must[[]fleet.Agent](t)(s.Agents(t.Context())) {
					if a.Connected != (a.ID == stays.id) {
						t.Errorf("agent %s connected: %v", a.ID, a.Connected)
					}
				}

				// It comes back and reports all that it held: what went to the
				// other is counted once.
				time.Sleep(time.Minute)
				gone = work(t, goes)
				time.Sleep(time.Minute)
				defer gone()
				b := sound(t, s)
				if b.Missed+b.Failed != 0 || b.Duplicates < uint64(len(moved)) || b.Captured < 40*6*4 || b.InFlight > 40*8 {
					t.Errorf("%+v", b)
				}
			})
		})
	}
}

// TestStandingShrinks takes tasks away in each way there is: the agent's
// standing orders are sent again without them, or it would go on by itself.
func TestStandingShrinks(t *testing.T) {
	for name, take := range map[string]func(*testing.T, *scheduler.Scheduler, []fleet.CameraID){
		"the camera is ignored": func(t *testing.T, s *scheduler.Scheduler, ids []fleet.CameraID) {
			must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), ids[:1], fleet.Ignored))
		},
		"its labels do not match": func(t *testing.T, s *scheduler.Scheduler, ids []fleet.CameraID) {
			label := "yes"
			must[scheduler.CameraView](t)(s.SetCamera(t.Context(), ids[0], scheduler.CameraChange{Labels: map[string]*string{"off": &label}}))
		},
		"the schedule is gone": func(t *testing.T, s *scheduler.Scheduler, _ []fleet.CameraID) { apply(t, s) },
		"the scheduler ends": func(t *testing.T, s *scheduler.Scheduler, _ []fleet.CameraID) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_ = s.Stop(ctx) // orders without an outcome are none of this test
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, stop := open(t, t.TempDir())
				defer stop()
				spec := every("quick", 10*time.Second)
				spec.Select = "!off"
				apply(t, s, spec)
				ids := addCameras(t, s, "lab", 2)
				l := must[*scheduler.Link](t)(s.Connect(t.Context(), enrol(t, s, "lab").ID, "", ""))
				next := func() []scheduler.StandingTask {
					t.Helper()
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					for {
						if in := must[scheduler.Instruction](t)(l.Next(ctx)); in.Standing != nil {
							return in.Standing.Tasks
						}
					}
				}
				if tasks := next(); len(tasks) != 2 {
					t.Fatalf("%d tasks at first", len(tasks))
				}
				time.Sleep(time.Minute)
				take(t, s, ids)
				for _, task := range next() {
					if task.Camera == ids[0] {
						t.Errorf("a task that is no more: %+v", task)
					}
				}
			})
		})
	}
}
