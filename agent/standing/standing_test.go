package standing_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/agent/standing"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

func encode(t testing.TB, version uint64, until fleet.Instant, specs []calendar.Spec, tasks []wire.Task, pauses ...*wire.StandingPause) []byte {
	t.Helper()
	m := &wire.Standing{Version: version, UntilMs: int64(until), Places: []string{`{"tz":"Europe/Paris","lat":43.7,"lon":7.26}`}, Pauses: pauses}
	for _, s := range specs {
		m.Schedules = append(m.Schedules, &wire.StandingSchedule{Id: uint64(fleet.ScheduleIDOf(s.Name)), Revision: 1, Spec: []byte(s.JSON())})
	}
	for _, task := range tasks {
		m.Tasks = wire.AppendTask(m.Tasks, task)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, raw []byte) *standing.Plan {
	t.Helper()
	p, err := standing.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func every(name string, d time.Duration) calendar.Spec {
	return calendar.Spec{Name: name, Select: "*", Every: calendar.Duration(d)}
}

func task(camera fleet.CameraID, name string, from fleet.Instant) wire.Task {
	return wire.Task{Camera: camera, Schedule: fleet.ScheduleIDOf(name), Revision: 1, From: from}
}

func Example() {
	zero := calendar.Offset(0)
	shelf := calendar.Spec{Name: "shelf", Select: "*", Every: calendar.Duration(5 * time.Minute), AtPhase: &zero, Deadline: calendar.Duration(30 * time.Second)}
	m := &wire.Standing{Version: 1, Schedules: []*wire.StandingSchedule{{Id: uint64(fleet.ScheduleIDOf("shelf")), Revision: 1, Spec: []byte(shelf.JSON())}}}
	m.Tasks = wire.AppendTask(nil, wire.Task{Camera: 7, Schedule: fleet.ScheduleIDOf("shelf"), Revision: 1})
	raw, err := proto.Marshal(m)
	if err != nil {
		fmt.Println(err)
		return
	}
	plan, err := standing.Parse(raw)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := fleet.At(time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC))
	plan.Seek(now, now)
	for _, o := range plan.Due(nil, now.Add(10*time.Minute), now) {
		fmt.Println(o.Nominal, o.Deadline.Sub(o.Nominal))
	}
	// Output:
	// 2027-03-01T06:05:00.000Z 30s
	// 2027-03-01T06:10:00.000Z 30s
}

func TestWhatIsNotUnderstoodIsLeftOut(t *testing.T) {
	if _, err := standing.Parse([]byte{0xff}); err == nil {
		t.Error("noise was taken for standing orders")
	}
	if _, err := standing.Parse(append(encode(t, 1, 0, nil, nil), 0x2a, 1, 9)); err == nil { // field 5, one byte
		t.Error("cut tasks were taken")
	}
	unknown := calendar.Spec{Name: "new", Select: "*"}
	far := task(2, "good", 0)
	far.Place = 9
	p := parse(t, encode(t, 4, 0, []calendar.Spec{every("good", time.Minute), unknown}, []wire.Task{task(1, "good", 0), task(1, "new", 0), task(1, "nobody", 0), far}))
	if p.Tasks() != 1 || p.Faults() == nil || p.Version() != 4 || p.Schedule(fleet.ScheduleIDOf("good")) == nil || p.Schedule(fleet.ScheduleIDOf("new")) != nil {
		t.Errorf("%d tasks, faults %v", p.Tasks(), p.Faults())
	}
}

// TestPausesUntilAndFrom: what is paused, before a task is the agent's, after
// the orders end, or too old, is not begun.
func TestPausesUntilAndFrom(t *testing.T) {
	zero := calendar.Offset(0)
	spec := every("s", 10*time.Second)
	spec.AtPhase = &zero
	tasks := []wire.Task{task(1, "s", 0), task(2, "s", 55_000), task(3, "s", 0)}
	p := parse(t, encode(t, 1, 100_000, []calendar.Spec{spec}, tasks,
		&wire.StandingPause{Camera: 1, FromMs: 30_000, UntilMs: 50_000},
		&wire.StandingPause{Schedule: uint64(fleet.ScheduleIDOf("s")), FromMs: 70_000, UntilMs: 80_000},
		&wire.StandingPause{Camera: 3, FromMs: 40_000}))
	p.Seek(9_999, 25_000) // deadline 10 s: 10 s is too old, and 20 s is not
	got := map[fleet.CameraID][]int64{}
	for _, o := range p.Due(nil, math.MaxInt64, 25_000) {
		got[o.Camera] = append(got[o.Camera], int64(o.Nominal)/1000)
	}
	for camera, want := range map[fleet.CameraID][]int64{1: {20, 50, 60, 80, 90}, 2: {60, 80, 90}, 3: {20, 30}} {
		if !slices.Equal(got[camera], want) {
			t.Errorf("camera %d: %v, want %v", camera, got[camera], want)
		}
	}
	if _, ok := p.Next(); ok {
		t.Error("there is a next time after the end")
	}
}

// TestFollow: after a change, known tasks go on at the frontier, and new ones
// begin with what is still in time.
func TestFollow(t *testing.T) {
	zero := calendar.Offset(0)
	spec := every("s", 10*time.Second)
	spec.AtPhase, spec.Deadline = &zero, calendar.Duration(time.Minute)
	old := parse(t, encode(t, 1, 0, []calendar.Spec{spec}, []wire.Task{task(1, "s", 0)}))
	p := parse(t, encode(t, 2, 0, []calendar.Spec{spec}, []wire.Task{task(1, "s", 0), task(2, "s", 75_000)}))
	p.Follow(old, 100_999, 100_500)
	var got []string
	for _, o := range p.Due(nil, 110_000, 100_500) {
		got = append(got, fmt.Sprintf("%v %d", o.Camera == 1, int64(o.Nominal)/1000))
	}
	if want := []string{"false 80", "false 90", "false 100", "true 110", "false 110"}; !slices.Equal(got, want) {
		t.Errorf("due are %v, want %v", got, want)
	}
}

func TestHorizon(t *testing.T) {
	for _, c := range []struct{ now, horizon int64 }{{5_000, 5_999}, {5_850, 5_999}, {5_900, 6_999}, {5_999, 6_999}, {-150, -1}, {-50, 999}} {
		if h := standing.Horizon(time.UnixMilli(c.now)); int64(h) != c.horizon {
			t.Errorf("Horizon(%d ms) = %d, want %d", c.now, h, c.horizon)
		}
	}
	for _, n := range []int64{0, 1, 999, 1000, -1, -1000} {
		at := standing.Wake(fleet.Instant(n))
		if standing.Horizon(at) < fleet.Instant(n) || standing.Horizon(at.Add(-time.Millisecond)) >= fleet.Instant(n) {
			t.Errorf("Wake(%d ms) = %v is not the first moment", n, at)
		}
	}
}

// drawSpec draws schedules of all kinds.
func drawSpec(t *rapid.T, name string) calendar.Spec {
	s := calendar.Spec{Name: name, Select: "*"}
	switch rapid.SampledFrom([]string{"every", "phase", "cron", "sun", "once", "window"}).Draw(t, "kind") {
	case "every":
		s.Every = calendar.Duration(rapid.IntRange(1, 40).Draw(t, "every")) * calendar.Duration(700*time.Millisecond)
	case "phase":
		o := calendar.Offset(rapid.IntRange(0, 4999).Draw(t, "phase")) * calendar.Offset(time.Millisecond)
		s.Every, s.AtPhase = calendar.Duration(5*time.Second), &o
	case "cron":
		s.Cron = calendar.List{rapid.SampledFrom([]string{"* * * * *", "*/7 * * * * *", "30 2 * * *", "0 0 1 * *"}).Draw(t, "cron")}
	case "sun":
		s.Sun = calendar.List{"sunrise+30m", "noon"}
	case "once":
		s.Once = time.UnixMilli(base + int64(rapid.IntRange(-30, 90).Draw(t, "once"))*1000).UTC().Format(time.RFC3339)
	case "window":
		s.Every, s.Exclude = calendar.Duration(3*time.Second), calendar.List{"2027-03-29"}
		s.Spread = calendar.Duration(2 * time.Second)
	}
	return s
}

// base is 45 s before Paris' clocks go forward.
const base = 1806281955000 // 2027-03-28T00:59:15Z

// TestTheSameAsTheCentre: over any schedules, in steps of any width, the
// occurrences are those of calendar.Next, each once.
func TestTheSameAsTheCentre(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		var specs []calendar.Spec
		for n := range rapid.IntRange(1, 4).Draw(t, "schedules") {
			specs = append(specs, drawSpec(t, fmt.Sprint("s", n)))
		}
		var tasks []wire.Task
		want := make(map[fleet.Occurrence]bool)
		const span = 120_000
		lat, lon := 43.7, 7.26
		for n := range rapid.IntRange(1, 8).Draw(t, "tasks") {
			s := rapid.SampledFrom(specs).Draw(t, "spec")
			w := task(fleet.CameraID(n+1), s.Name, base+fleet.Instant(rapid.IntRange(-5000, span).Draw(t, "from")))
			tasks = append(tasks, w)
			c, err := s.Compile()
			if err != nil {
				t.Fatal(err)
			}
			for at := max(w.From-1, base); ; {
				next, ok := c.Next(calendar.Task{Camera: w.Camera, Place: calendar.Place{TZ: "Europe/Paris", Lat: &lat, Lon: &lon}}, at)
				if !ok || next > base+span {
					break
				}
				want[fleet.Occurrence{Camera: w.Camera, Schedule: w.Schedule, Nominal: next}] = true
				at = next
			}
		}
		raw := encode(outer, 1, 0, specs, tasks)
		p, err := standing.Parse(raw)
		if err != nil || p.Faults() != nil {
			t.Fatal(err, p.Faults())
		}
		p.Seek(base, base)
		got := 0
		for now := fleet.Instant(base); now < base+span; {
			until := min(now+fleet.Instant(rapid.IntRange(1, 9000).Draw(t, "step")), base+span)
			for _, o := range p.Due(nil, until, now) {
				if !want[o.Occurrence] || o.Nominal > until {
					t.Fatalf("%v is not the centre's, or came twice", o.Occurrence)
				}
				delete(want, o.Occurrence)
				got++
			}
			now = until
		}
		if len(want) > 0 {
			t.Fatalf("%d came, these did not: %v", got, want)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(encode(f, 1, 0, []calendar.Spec{every("s", time.Minute)}, []wire.Task{task(1, "s", 0)}, &wire.StandingPause{Camera: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := standing.Parse(b)
		if err != nil {
			return
		}
		p.Seek(base, base)
		for n := range 3 {
			until := fleet.Instant(base) + fleet.Instant(n)*1000
			for _, o := range p.Due(nil, until, until-1000) {
				if o.Nominal > until || o.Deadline <= until-1000 {
					t.Errorf("%+v is due at %v", o, until)
				}
			}
		}
	})
}

// BenchmarkDue passes an hour of 5,000 tasks at one occurrence in a minute.
func BenchmarkDue(b *testing.B) {
	var tasks []wire.Task
	for n := range 5000 {
		tasks = append(tasks, task(fleet.CameraID(n), "s", 0))
	}
	raw := encode(b, 1, 0, []calendar.Spec{every("s", time.Minute)}, tasks)
	var dst []fleet.Order
	due := 0
	b.ReportAllocs()
	for b.Loop() {
		p := parse(b, raw)
		p.Seek(base, base)
		for now := fleet.Instant(base); now < base+3_600_000; now += 1000 {
			dst = p.Due(dst[:0], now+999, now)
			due += len(dst)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(due), "ns/occurrence")
}
