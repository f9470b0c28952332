package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/agent/standing"
	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// pictures returns how many pictures were taken.
func (c *cams) pictures() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range c.taken {
		n += len(at)
	}
	return n
}

// occurrences returns what calendar.Next says of tasks in [from, until).
func occurrences(t testing.TB, specs []calendar.Spec, tasks []wire.Task, until fleet.Instant) (all []fleet.Order) {
	t.Helper()
	for _, task := range tasks {
		for _, s := range specs {
			if fleet.ScheduleIDOf(s.Name) != task.Schedule {
				continue
			}
			c, err := s.Compile()
			must(t, err)
			for at, ok := c.Next(calendar.Task{Camera: task.Camera}, task.From-1); ok && at < until; at, ok = c.Next(calendar.Task{Camera: task.Camera}, at) {
				all = append(all, fleet.Order{Occurrence: fleet.Occurrence{Camera: task.Camera, Schedule: task.Schedule, Nominal: at}, Deadline: at.Add(c.Deadline()), Retries: c.Retry().Attempts})
			}
		}
	}
	return all
}

// TestStandingOrdersAreTheCentresOccurrences: an agent with standing orders is
// cut off, and restarted now and then. What it begins is what calendar.Next
// says, but for what was over before a restart; each has one outcome, whatever
// orders come before the cut or after it.
func TestStandingOrdersAreTheCentresOccurrences(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var specs []calendar.Spec
		for n := range rapid.IntRange(1, 3).Draw(rt, "schedules") {
			s := calendar.Spec{Name: fmt.Sprint("s", n), Select: "*", Deadline: calendar.Duration(rapid.IntRange(2, 12).Draw(rt, "deadline")) * calendar.Duration(time.Second)}
			switch rapid.IntRange(0, 2).Draw(rt, "kind") {
			case 0:
				s.Every = calendar.Duration(rapid.IntRange(3, 60).Draw(rt, "every")) * calendar.Duration(300*time.Millisecond)
			case 1:
				s.Cron = calendar.List{rapid.SampledFrom([]string{"*/5 * * * * *", "1,2,59 * * * * *", "* * * * *"}).Draw(rt, "cron")}
			default:
				s.Every, s.Spread = calendar.Duration(6*time.Second), calendar.Duration(5*time.Second)
			}
			s.Overlap = rapid.SampledFrom([]string{"", "skip", "replace"}).Draw(rt, "overlap")
			specs = append(specs, s)
		}
		cameras := rapid.IntRange(1, 4).Draw(rt, "cameras")
		ordered := rapid.IntRange(0, 3).Draw(rt, "ordered") // one in so many occurrences has its order before the cut
		span := time.Duration(rapid.IntRange(5, 60).Draw(rt, "span")) * time.Second
		type stop struct{ run, off time.Duration }
		var stops []stop
		for range rapid.IntRange(0, 3).Draw(rt, "stops") {
			stops = append(stops, stop{time.Duration(rapid.IntRange(1, 20_000).Draw(rt, "run")) * time.Millisecond, time.Duration(rapid.IntRange(1, 20_000).Draw(rt, "off")) * time.Millisecond})
		}
		synctest.Test(t, func(t *testing.T) {
			w := newTown(t)
			w.cams.cost = 40 * time.Millisecond
			cut := w.serve()
			_, s, halt := w.boot()
			w.await("it is connected", func(s uplinktest.State) bool { return s.Connected && s.Probes > 2 })
			start := fleet.At(time.Now())
			until := start.Add(span)
			var tasks []wire.Task
			for c := range cameras {
				for n := range specs {
					tasks = append(tasks, wire.Task{Camera: fleet.CameraID(c + 1), Schedule: fleet.ScheduleIDOf(fmt.Sprint("s", n)), From: start + 500})
				}
			}
			all := occurrences(t, specs, tasks, until)
			var some []fleet.Order
			for i, o := range all {
				if ordered > 0 && i%ordered == 0 {
					some = append(some, o)
				}
			}
			w.Push(uplinktest.Cameras(cameras))
			w.Push(uplinktest.Standing(5, until, specs, tasks...))
			w.Push(uplinktest.Orders(some...))
			w.await("it has them", stored)
			cut()
			over := make(map[fleet.Occurrence]bool) // nobody was there before its deadline
			may := make(map[fleet.Occurrence]bool)  // it stopped a moment before
			for _, stop := range stops {
				time.Sleep(stop.run)
				halt()
				stopped := time.Now()
				time.Sleep(stop.off)
				boot := fleet.At(time.Now())
				_, s, halt = w.boot()
				for _, o := range all {
					if o.Nominal > fleet.At(stopped) && o.Deadline <= boot && !over[o.Occurrence] {
						over[o.Occurrence] = true
						may[o.Occurrence] = o.Nominal <= standing.Horizon(stopped)
					}
				}
			}
			time.Sleep(max(0, time.Until(until.Time())) + 15*time.Second)
			held, _, _ := s.Counts()
			if held != 0 {
				t.Errorf("%d orders are held at the end", held)
			}
			cut = w.serve()
			time.Sleep(time.Minute) // the line comes back by itself
			w.await("all is reported", func(u uplinktest.State) bool {
				_, _, pending := s.Counts()
				return u.Connected && pending == 0
			})
			st := w.State()
			for _, o := range all {
				_, ok := st.Outcomes[o.Occurrence]
				want := !over[o.Occurrence]
				for i := range some {
					want = want || some[i].Occurrence == o.Occurrence
				}
				if ok != want && !may[o.Occurrence] {
					t.Errorf("%v has an outcome: %v, and it should: %v", o.Occurrence, ok, want)
				}
			}
			// The centre sends all of its orders again: what was over gets its
			// outcome, nothing else happens.
			taken := w.cams.pictures()
			w.Push(uplinktest.Orders(all...))
			st = w.await("the rest is told", func(s uplinktest.State) bool { return len(s.Outcomes) == len(all) && stored(s) })
			time.Sleep(20 * time.Second)
			if st = w.State(); st.Duplicates != 0 || len(st.Outcomes) != len(all) || w.cams.pictures() != taken {
				t.Errorf("%d duplicates, %d outcomes of %d, %d pictures and %d before", st.Duplicates, len(st.Outcomes), len(all), w.cams.pictures(), taken)
			}
			for _, o := range all {
				c := st.Outcomes[o.Occurrence]
				switch {
				case over[o.Occurrence] && (c.Cause != fleet.CauseAgentLost || !strings.Contains(c.Detail, "was not running when it was due")):
					t.Errorf("%v was over: %v(%v) %s", o.Occurrence, c.Outcome, c.Cause, c.Detail)
				case c.Outcome == fleet.Captured && (c.At < o.Nominal || c.At > o.Deadline):
					t.Errorf("%v was taken at %v", o.Occurrence, c.At)
				}
			}
			halt()
			cut()
		})
	})
}

// TestStandingOrdersAreChanged: what is recalled is not begun while the orders
// that said it hold, what is paused is not begun nor reported, and new orders
// replace the old ones at once.
func TestStandingOrdersAreChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		w.cams.cost = 40 * time.Millisecond
		cut := w.serve()
		_, _, halt := w.boot()
		w.await("it is connected", func(s uplinktest.State) bool { return s.Connected && s.Probes > 2 })
		zero := calendar.Offset(0)
		spec := calendar.Spec{Name: "s", Select: "*", Every: calendar.Duration(10 * time.Second), AtPhase: &zero}
		second := spec
		second.Name, second.Every = "t", calendar.Duration(20*time.Second)
		start := fleet.At(time.Now().Truncate(time.Minute).Add(time.Minute))
		of := func(name string, s int) fleet.Order {
			at := start + fleet.Instant(s)*1000
			return fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: fleet.ScheduleIDOf(name), Nominal: at}, Deadline: at + 10_000}
		}
		task := wire.Task{Camera: 1, Schedule: fleet.ScheduleIDOf("s"), From: start}
		w.Push(uplinktest.Cameras(1))
		in := uplinktest.Standing(1, start+3_600_000, []calendar.Spec{spec}, task)
		in.GetStanding().Pauses = []*wire.StandingPause{{Camera: 1, FromMs: int64(start) + 40_000, UntilMs: int64(start) + 60_000}}
		w.Push(in)
		w.Push(uplinktest.Orders(of("s", 10)))
		w.Push(uplinktest.Recall(of("s", 10), of("s", 20))) // the one is held, the other not yet
		w.await("it has them", stored)
		cut()
		time.Sleep(time.Until(start.Time()) + 5*time.Second)
		halt() // what was recalled is known after a restart
		_, _, halt = w.boot()
		time.Sleep(50 * time.Second) // 0, 30: 10 and 20 were recalled, 40 and 50 are paused
		cut = w.serve()
		time.Sleep(20 * time.Second) // 60, 70
		tasks := []wire.Task{{Camera: 1, Schedule: fleet.ScheduleIDOf("t"), From: start + 70_000}}
		w.Push(uplinktest.Standing(2, start+3_600_000, []calendar.Spec{spec, second}, tasks...))
		time.Sleep(30 * time.Second) // 80, 100
		w.Push(uplinktest.Standing(3, 0, nil))
		time.Sleep(time.Minute)
		var got []string
		for _, o := range w.State().Arrival {
			name := "s"
			if o.Schedule == fleet.ScheduleIDOf("t") {
				name = "t"
			}
			got = append(got, fmt.Sprint(name, int(o.Nominal.Sub(start).Seconds())))
		}
		slices.Sort(got)
		if want := []string{"s0", "s30", "s60", "s70", "t100", "t80"}; !slices.Equal(got, want) {
			t.Errorf("outcomes %v, want %v", got, want)
		}
		halt()
		cut()
	})
}

// TestOrdersAndStandingOrdersShareFrames: an order and an occurrence that the
// agent begins itself, of the same second, are one picture, and the order of
// what is begun takes none.
func TestOrdersAndStandingOrdersShareFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t)
		cut := w.serve()
		_, _, halt := w.boot()
		w.await("it is connected", func(s uplinktest.State) bool { return s.Connected && s.Probes > 2 })
		phase := calendar.Offset(800 * time.Millisecond)
		spec := calendar.Spec{Name: "s", Select: "*", Every: calendar.Duration(10 * time.Second), AtPhase: &phase}
		start := fleet.At(time.Now().Truncate(time.Minute).Add(time.Minute))
		w.Push(uplinktest.Cameras(1))
		w.Push(uplinktest.Standing(1, start+5_000, []calendar.Spec{spec}, wire.Task{Camera: 1, Schedule: fleet.ScheduleIDOf("s"), From: start}))
		o := fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: 9, Nominal: start + 100}, Deadline: start + 9000}
		w.Push(uplinktest.Orders(o))
		w.await("it has them", stored)
		time.Sleep(time.Until(start.Time()) + 900*time.Millisecond) // it is being taken
		own := fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: fleet.ScheduleIDOf("s"), Nominal: start + 800}, Deadline: start + 10_800}
		w.Push(uplinktest.Orders(own))
		time.Sleep(10 * time.Second)
		w.Push(uplinktest.Orders(own)) // it was reported and acknowledged
		time.Sleep(10 * time.Second)
		st := w.State()
		a, b := st.Outcomes[o.Occurrence], st.Outcomes[own.Occurrence]
		if w.cams.pictures() != 1 || a.Outcome != fleet.Captured || b.Outcome != fleet.Captured || a.At != b.At || a.Delay-b.Delay != 700*time.Millisecond || b.Delay > 50*time.Millisecond || st.Duplicates != 0 {
			t.Errorf("%d pictures, %d duplicates: %+v and %+v", w.cams.pictures(), st.Duplicates, a, b)
		}
		halt()
		cut()
	})
}
