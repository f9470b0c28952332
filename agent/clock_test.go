package agent_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// TestWrongClocks: a box is 90 minutes wrong from the start, or its clock is
// set while the agent runs, while it is stopped, or while the box is. Orders and
// standing orders, with and without the line, are taken within 50 ms and the
// bound that the outcome states, of the right moment.
func TestWrongClocks(t *testing.T) {
	const wrong = 90 * time.Minute
	for _, c := range []struct {
		name                       string
		first, running, off, other time.Duration // what the box's clock is wrong by, from then on
		boots                      bool          // the box boots while the agent is off
		bound                      time.Duration // the stated bound is not above it, after the restart
	}{
		{"right", 0, 0, 0, 0, false, 2 * time.Second},
		{"fast", wrong, wrong, wrong, wrong, false, 2 * time.Second},
		{"slow", -wrong, -wrong, -wrong, -wrong, false, 2 * time.Second},
		{"set forward while it runs", 0, wrong, wrong, wrong, false, 2 * time.Second},
		{"set back while it runs", 0, -wrong, -wrong, -wrong, false, 2 * time.Second},
		{"set right while it runs", wrong, 0, 0, 0, false, 2 * time.Second},
		{"set forward while it is off", 0, 0, wrong, wrong, false, 2 * time.Second},
		{"set right while it is off", -wrong, -wrong, 0, 0, false, 2 * time.Second},
		{"set back, and forward again after the start", 0, -wrong, -wrong, wrong, false, 2 * time.Second},
		{"still wrong after a boot", wrong, wrong, wrong, wrong, true, wrong + 2*time.Second},
		{"set right by a boot", wrong, wrong, 0, 0, true, wrong + 2*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t)
				w.cams.cost = 10 * time.Millisecond
				began := time.Now()
				var err atomic.Int64 // what the box's clock is wrong by, ns
				var boot atomic.Pointer[string]
				set := func(wrong time.Duration, name string) {
					err.Store(int64(wrong))
					boot.Store(&name)
				}
				set(c.first, "first")
				w.wall = func() time.Time { return time.Now().Add(time.Duration(err.Load())) }
				w.since = func() (string, time.Duration, bool) {
					return *boot.Load(), time.Since(began).Truncate(10 * time.Millisecond), true
				}
				cut := w.serve()
				_, _, halt := w.boot()
				w.await("the clock is measured", func(s uplinktest.State) bool { return s.Probes > 3 })
				start := fleet.At(time.Now())
				until := start.Add(4 * time.Minute)
				zero := calendar.Offset(0)
				spec := calendar.Spec{Name: "s", Select: "*", Every: calendar.Duration(7 * time.Second), AtPhase: &zero, Deadline: calendar.Duration(6 * time.Second)}
				tasks := []wire.Task{{Camera: 1, Schedule: fleet.ScheduleIDOf("s"), From: start + 1000}}
				standing := occurrences(t, []calendar.Spec{spec}, tasks, until)
				var orders []fleet.Order
				for n := range 40 {
					at := start.Add(time.Duration(n)*6*time.Second + 2310*time.Millisecond)
					orders = append(orders, fleet.Order{Occurrence: fleet.Occurrence{Camera: 2, Schedule: 9, Nominal: at}, Deadline: at + 5000})
				}
				w.Push(uplinktest.Cameras(2))
				w.Push(uplinktest.Standing(1, until, []calendar.Spec{spec}, tasks...))
				w.Push(uplinktest.Orders(orders...))
				w.await("it has them", stored)
				time.Sleep(20 * time.Second)
				set(c.running, "first")
				time.Sleep(20 * time.Second)
				cut()
				time.Sleep(30 * time.Second)
				halt()
				offFrom := fleet.At(time.Now())
				name := "first"
				if c.boots {
					name = "second"
				}
				set(c.off, name)
				time.Sleep(10 * time.Second)
				offUntil := fleet.At(time.Now())
				_, _, halt = w.boot()
				time.Sleep(20 * time.Second)
				set(c.other, name)
				time.Sleep(20 * time.Second)
				cut = w.serve()
				back := fleet.At(time.Now()).Add(30 * time.Second) // the line is there by then
				time.Sleep(3 * time.Minute)
				st := w.State()
				w.cams.mu.Lock()
				taken := map[fleet.CameraID][]fleet.Instant{}
				for id, ats := range w.cams.taken {
					for _, at := range ats {
						taken[id] = append(taken[id], fleet.At(at))
					}
				}
				w.cams.mu.Unlock()
				seen := 0
				for _, o := range append(orders, standing...) {
					out, ok := st.Outcomes[o.Occurrence]
					if !ok {
						if o.Deadline < offFrom || o.Nominal > offUntil+fleet.Instant(out.Bound.Milliseconds()) && !c.boots {
							t.Errorf("%v has no outcome", o.Occurrence)
						}
						continue
					}
					if out.Outcome != fleet.Captured {
						if o.Deadline < offFrom || o.Nominal > offUntil && !c.boots {
							t.Errorf("%v: %v(%v) %s", o.Occurrence, out.Outcome, out.Cause, out.Detail)
						}
						continue
					}
					seen++
					if o.Nominal > offUntil && out.Bound > c.bound || o.Nominal < offFrom && out.Bound > time.Second {
						t.Errorf("%v: the bound is %v", o.Occurrence, out.Bound)
					}
					if o.Nominal <= offUntil && o.Nominal >= offFrom {
						continue
					}
					// The picture that was taken nearest to the right moment.
					near := time.Duration(1 << 62)
					for _, at := range taken[o.Camera] {
						if d := at.Sub(o.Nominal); d.Abs() < near.Abs() {
							near = d
						}
					}
					if c.boots && o.Nominal > offFrom && o.Nominal < back && near > 0 {
						// The clock was found to be behind when the line came
						// back: it is late, and says so.
						if off := near - out.Delay; off.Abs() > 50*time.Millisecond+out.Bound {
							t.Errorf("%v was taken %v after its moment, and says %v", o.Occurrence, near, out.Delay)
						}
						continue
					}
					if near < -out.Bound || near > 50*time.Millisecond+out.Bound {
						t.Errorf("%v was taken %v after its moment, the bound is %v", o.Occurrence, near, out.Bound)
					}
				}
				if seen < 20 {
					t.Errorf("%d pictures: %s", seen, fmt.Sprint(len(st.Outcomes)))
				}
				halt()
				cut()
			})
		})
	}
}
