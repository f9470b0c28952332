package scheduler_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

func addCameras(t *testing.T, s *scheduler.Scheduler, site fleet.SiteID, n int) (ids []fleet.CameraID) {
	t.Helper()
	for i := range n {
		v := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: site, URL: fmt.Sprintf("http://192.0.2.%d/snapshot.jpg?%d", i%250+1, i)}))
		ids = append(ids, v.ID)
	}
	return ids
}

// work runs the robot until the returned function is called.
func work(t *testing.T, r *robot) func() {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.run(ctx, t) })
	return func() { cancel(); wg.Wait() }
}

func newRobot(s *scheduler.Scheduler, id fleet.AgentID) *robot {
	return &robot{s: s, id: id, held: map[fleet.Occurrence]fleet.Order{}}
}

func allCaptures(t *testing.T, s *scheduler.Scheduler) (out []fleet.Capture) {
	t.Helper()
	for after := ""; ; {
		page, next, err := s.Captures(t.Context(), scheduler.CaptureQuery{After: after, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		if out = append(out, page...); next == "" {
			return out
		}
		after = next
	}
}

// sound checks the books from outside and from inside. The scheduler may run
// meanwhile: what the audit finds lies between the books before and after it.
func sound(t *testing.T, s *scheduler.Scheduler) fleet.Books {
	t.Helper()
	settled := func(b fleet.Books) uint64 { return b.Captured + b.Failed + b.Missed + b.Skipped }
	before, rep, b := books(t, s), audit(t, s), books(t, s)
	if n := uint64(rep.Stored); rep.MissingOutcome != 0 || rep.Unexpected != 0 || n < settled(before) || n > settled(b) {
		t.Errorf("audit %+v\nbooks %+v", rep, b)
	}
	return b
}

// TestMisfire stops the scheduler for an hour: each policy takes what it says of
// the twelve occurrences that were not issued, and the rest is missed.
func TestMisfire(t *testing.T) {
	for policy, want := range map[string]int{"": 0, "skip": 0, "latest": 1, "all(max 5, within 1d)": 5, "all(max 500, within 32m)": 7} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s, stop := open(t, dir)
				spec := every("quick", 5*time.Minute)
				spec.Misfire = policy
				phase := calendar.Offset(0)
				spec.AtPhase = &phase
				apply(t, s, spec)
				a := enrol(t, s, "lab")
				addCameras(t, s, "lab", 1)
				rest := work(t, newRobot(s, a.ID))
				time.Sleep(7 * time.Minute)
				rest()
				before := books(t, s)
				stop()
				time.Sleep(time.Hour)
				s, stop = open(t, dir)
				defer stop()
				rest = work(t, newRobot(s, a.ID))
				time.Sleep(time.Minute)
				rest()
				b := sound(t, s)
				if got := int(b.Captured - before.Captured); got != want || b.Captured+b.Missed-before.Captured != 12 {
					t.Errorf("%d captured late, want %d; %+v", got, want, b)
				}
				for _, c := range allCaptures(t, s) {
					if c.Outcome == fleet.Missed && c.Cause != fleet.CauseSchedulerDown {
						t.Errorf("%s: %s(%s)", c.Occurrence, c.Outcome, c.Cause)
					}
				}
			})
		})
	}
}

// TestPause pauses one schedule, one camera, one site and all, with and without
// an end, through a restart: exactly what lies in a pause is skipped.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		slow := every("slow", 10*time.Second)
		slow.Lead = calendar.Duration(time.Minute)
		apply(t, s, every("quick", 10*time.Second), slow)
		lab, shop := enrol(t, s, "lab"), enrol(t, s, "shop")
		ids := append(addCameras(t, s, "lab", 2), addCameras(t, s, "shop", 2)...)
		r1, r2 := newRobot(s, lab.ID), newRobot(s, shop.ID)
		rest1, rest2 := work(t, r1), work(t, r2)
		type interval struct {
			scheduler.Pause
			until fleet.Instant
		}
		var done []interval
		pause := func(n scheduler.NewPause, d time.Duration, resume bool) {
			t.Helper()
			if !resume {
				n.Until = fleet.At(time.Now().Add(d))
			}
			p := must[scheduler.Pause](t)(s.Pause(t.Context(), n))
			time.Sleep(d)
			if resume {
				if err := s.Resume(t.Context(), p.ID); err != nil {
					t.Error(err)
				}
			}
			if ps := must[[]scheduler.Pause](t)(s.Pauses(t.Context())); len(ps) != 0 {
				t.Errorf("%d pauses in force after the end", len(ps))
			}
			done = append(done, interval{p, fleet.At(time.Now())})
			time.Sleep(30 * time.Second)
		}
		time.Sleep(2 * time.Minute)
		pause(scheduler.NewPause{Schedule: "slow", By: "me", Reason: "wash"}, time.Minute, true)
		pause(scheduler.NewPause{Camera: ids[0]}, time.Minute, false)
		pause(scheduler.NewPause{Site: "shop", Schedule: "quick"}, 15*time.Second, true)
		pause(scheduler.NewPause{}, 45*time.Second, false)
		p := must[scheduler.Pause](t)(s.Pause(t.Context(), scheduler.NewPause{Site: "lab"}))
		time.Sleep(20 * time.Second)
		rest1()
		rest2()
		stop()
		s, stop = open(t, dir)
		defer stop()
		r1.s, r2.s = s, s
		rest1, rest2 = work(t, r1), work(t, r2)
		time.Sleep(20 * time.Second)
		if err := s.Resume(t.Context(), p.ID); err != nil {
			t.Fatal(err)
		}
		done = append(done, interval{p, fleet.At(time.Now())})
		time.Sleep(time.Minute)
		rest1()
		rest2()
		names := map[fleet.ScheduleID]string{fleet.ScheduleIDOf("quick"): "quick", fleet.ScheduleIDOf("slow"): "slow"}
		skipped := 0
		for _, c := range allCaptures(t, s) {
			site := fleet.SiteID("lab")
			if slices.Index(ids, c.Camera) > 1 {
				site = "shop"
			}
			within := slices.ContainsFunc(done, func(v interval) bool {
				return (v.Site == "" || v.Site == site) && (v.Camera == 0 || v.Camera == c.Camera) && (v.Schedule == "" || v.Schedule == names[c.Schedule]) &&
					c.Nominal >= v.From && c.Nominal < v.until
			})
			// What is due in the very millisecond of an operator's word may go either way.
			edge := slices.ContainsFunc(done, func(v interval) bool { return c.Nominal == v.From || c.Nominal == v.until })
			got := c.Outcome == fleet.Skipped && c.Cause == fleet.CausePaused
			if got != within && !edge {
				t.Errorf("%s %s at %s: %s(%s), in a pause: %v", site, names[c.Schedule], c.Nominal, c.Outcome, c.Cause, within)
			}
			if got {
				skipped++
			}
		}
		if b := sound(t, s); b.Skipped != uint64(skipped) || skipped < 50 {
			t.Errorf("%d skipped, %+v", skipped, b)
		}
		var invalid *scheduler.InvalidError
		if _, err := s.Pause(t.Context(), scheduler.NewPause{Until: 1}); !errors.As(err, &invalid) || invalid.Field != "until" {
			t.Errorf("a pause in the past: %v", err)
		}
		for _, n := range []scheduler.NewPause{{Site: "nowhere"}, {Camera: 5}, {Schedule: "none"}} {
			if _, err := s.Pause(t.Context(), n); !errors.Is(err, scheduler.ErrNotFound) {
				t.Errorf("%+v: %v", n, err)
			}
		}
		if err := s.Resume(t.Context(), p.ID); !errors.Is(err, scheduler.ErrNotFound) {
			t.Errorf("resumed twice: %v", err)
		}
	})
}

// TestCaptureNow takes a picture of some cameras at once, beside schedules and
// through a restart; a camera whose agent is away has its outcome too.
func TestCaptureNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		apply(t, s, every("quick", 30*time.Second))
		lab, _ := enrol(t, s, "lab"), enrol(t, s, "shop")
		ids := append(addCameras(t, s, "lab", 3), addCameras(t, s, "shop", 2)...)
		r := newRobot(s, lab.ID)
		rest := work(t, r)
		time.Sleep(time.Minute)
		one := must[scheduler.Job](t)(s.CaptureNow(t.Context(), scheduler.NewJob{Cameras: []fleet.CameraID{ids[0], ids[0]}, By: "me"}))
		all := must[scheduler.Job](t)(s.CaptureNow(t.Context(), scheduler.NewJob{Selector: "*", Deadline: 10 * time.Second, Priority: fleet.PriorityUrgent}))
		if one.Books.Issued != 1 || all.Books.Issued != 5 || all.Books.InFlight != 5 || all.Deadline != all.Asked+10_000 {
			t.Errorf("%+v\n%+v", one, all)
		}
		time.Sleep(time.Second)
		j, page, err := s.Job(t.Context(), one.ID, 0, 0)
		if err != nil || len(page) != 1 || page[0].Camera != ids[0] || page[0].Capture == nil || page[0].Capture.Outcome != fleet.Captured || j.Books.InFlight != 0 || j.Books.Captured != 1 {
			t.Errorf("%+v %+v %v", j, page, err)
		}
		rest()
		stop()
		s, stop = open(t, dir)
		defer stop()
		time.Sleep(20 * time.Second)
		jobs := must[[]scheduler.Job](t)(s.Jobs(t.Context()))
		if len(jobs) != 2 || !slices.ContainsFunc(jobs, func(j scheduler.Job) bool { return j.ID == one.ID && j.By == "me" }) {
			t.Errorf("%+v", jobs)
		}
		outcomes := map[fleet.CameraID]fleet.Outcome{}
		var after fleet.CameraID
		for {
			j, page, err := s.Job(t.Context(), all.ID, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				if j.Books != (fleet.Books{Issued: 5, Captured: 3, Missed: 2}) {
					t.Errorf("%+v", j.Books)
				}
				break
			}
			for _, c := range page {
				if after = c.Camera; c.Capture != nil {
					outcomes[c.Camera] = c.Capture.Outcome
				}
			}
		}
		for i, id := range ids {
			want := fleet.Captured
			if i >= 3 {
				want = fleet.Missed
			}
			if outcomes[id] != want {
				t.Errorf("camera %d: %v, want %v", i, outcomes[id], want)
			}
		}
		sound(t, s)
		var invalid *scheduler.InvalidError
		for _, n := range []scheduler.NewJob{{}, {Selector: "*", Cameras: ids}, {Selector: "model=none"}, {Selector: "((("}, {Selector: "*", Deadline: time.Millisecond}, {Selector: "*", Priority: 9}} {
			if _, err := s.CaptureNow(t.Context(), n); !errors.As(err, &invalid) {
				t.Errorf("%+v: %v", n, err)
			}
		}
		if _, err := s.CaptureNow(t.Context(), scheduler.NewJob{Cameras: []fleet.CameraID{5}}); !errors.Is(err, scheduler.ErrNotFound) {
			t.Errorf("an unknown camera: %v", err)
		}
		if _, err := s.ApplySchedules(t.Context(), []calendar.Spec{every("now.mine", time.Minute)}, scheduler.ApplyOptions{}); !errors.As(err, &invalid) {
			t.Errorf("a schedule with a job's name: %v", err)
		}
		if views := must[[]scheduler.ScheduleView](t)(s.Schedules(t.Context())); len(views) != 1 {
			t.Errorf("jobs are listed as schedules: %+v", views)
		}
		apply(t, s, every("other", time.Minute)) // prunes
		if _, _, err := s.Job(t.Context(), one.ID, 0, 0); err != nil {
			t.Errorf("pruning took the job: %v", err)
		}
	})
}

// TestBurst lets a hundred cameras be due at once at a site that bears ten a
// second, and as many at one that bears all.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		burst := 10.0
		must[scheduler.SiteView](t)(s.SetSite(t.Context(), "lab", scheduler.SiteChange{Burst: &burst}))
		spec := every("herd", 5*time.Minute)
		phase := calendar.Offset(0)
		spec.AtPhase = &phase
		apply(t, s, spec)
		lab, shop := enrol(t, s, "lab"), enrol(t, s, "shop")
		addCameras(t, s, "lab", 100)
		addCameras(t, s, "shop", 100)
		v := must[scheduler.LoadView](t)(s.Load(t.Context(), scheduler.LoadQuery{Window: 10 * time.Minute}))
		if v.Peak != 200 || v.Delayed != 2*90 || v.Longest != 9*time.Second || v.PeakAt%300_000 != 0 {
			t.Errorf("peak %d at %s, %d delayed by at most %v", v.Peak, v.PeakAt, v.Delayed, v.Longest)
		}
		orders := map[fleet.SiteID][]fleet.Order{}
		for _, a := range []fleet.Agent{lab, shop} {
			l := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "", ""))
			for len(orders[a.Site]) < 100 {
				orders[a.Site] = append(orders[a.Site], must[scheduler.Instruction](t)(l.Next(t.Context())).Orders...)
			}
		}
		perSecond := map[fleet.Instant]int{}
		nominal := orders["lab"][0].Nominal
		for _, o := range orders["lab"] {
			if o.Nominal != nominal || o.Start() < o.Nominal || o.Deadline != o.Start()+60_000 {
				t.Errorf("%+v", o)
			}
			perSecond[o.Start()/1000]++
		}
		if len(perSecond) != 10 {
			t.Errorf("%d seconds are used, want 10: %v", len(perSecond), perSecond)
		}
		for _, n := range perSecond {
			if n != 10 {
				t.Errorf("%d starts in a second", n)
			}
		}
		for i, bucket := 0, fleet.Instant(0); i < len(v.Shaped); i++ {
			if bucket = v.From + fleet.Instant(i)*1000; bucket < nominal || bucket >= nominal+20_000 {
				continue
			}
			want := perSecond[bucket/1000]
			if bucket == nominal {
				want += 100 // the other site's
			}
			if int(v.Shaped[i]) != want {
				t.Errorf("second %s: %d foretold, %d given", bucket, v.Shaped[i], want)
			}
		}
		for _, o := range orders["shop"] {
			if o.NotBefore > o.Nominal {
				t.Errorf("a site without a bound was shaped: %+v", o)
			}
		}
		other := every("herd", time.Minute)
		w := must[scheduler.LoadView](t)(s.Load(t.Context(), scheduler.LoadQuery{Window: 10 * time.Minute, Step: time.Minute, Site: "shop", Specs: []calendar.Spec{other}}))
		for i, n := range w.Due {
			if n != 100 {
				t.Errorf("minute %d of the schedule as it would be: %d, want 100", i, n)
			}
		}
	})
}

// TestHolds cuts an agent off that holds standing orders, and stops the
// scheduler meanwhile: what the agent took by itself is counted when it comes
// back.
func TestHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		spec := every("quick", 10*time.Second)
		apply(t, s, spec)
		a := enrol(t, s, "lab")
		ids := addCameras(t, s, "lab", 2)
		r := newRobot(s, a.ID)
		r.stands = true
		rest := work(t, r)
		time.Sleep(time.Minute)
		rest()
		cut := fleet.At(time.Now())
		time.Sleep(10 * time.Minute) // cut off, the scheduler runs
		if b := books(t, s); b.Missed != 0 || b.InFlight < 100 {
			t.Errorf("orders of an agent with standing orders did not stay in flight: %+v", b)
		}
		stop()
		time.Sleep(10 * time.Minute) // neither runs
		s, stop = open(t, dir)
		defer stop()
		r.s = s
		// The agent captured all of it but the first minute.
		cal := must[*calendar.Schedule](t)(spec.Compile())
		var late []fleet.Capture
		back := fleet.At(time.Now())
		for _, id := range ids {
			v := must[scheduler.CameraView](t)(s.Camera(t.Context(), id))
			for n, ok := cal.Next(calendar.Task{Camera: id, Enabled: v.Enabled}, cut+60_000); ok && n <= back; n, ok = cal.Next(calendar.Task{Camera: id, Enabled: v.Enabled}, n) {
				late = append(late, fleet.Capture{Occurrence: fleet.Occurrence{Camera: id, Schedule: cal.ID(), Nominal: n}, Outcome: fleet.Captured, At: n})
			}
		}
		if err := s.Complete(t.Context(), a.ID, late); err != nil {
			t.Fatal(err)
		}
		rest = work(t, r)
		time.Sleep(time.Minute)
		rest()
		b := sound(t, s)
		if b.Duplicates != 0 || b.Missed != 0 || b.Captured < uint64(len(late)) || len(late) < 220 {
			t.Errorf("%d taken by itself; %+v", len(late), b)
		}
	})
}

// TestAble gives orders only to agents that can do them.
func TestAble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		apply(t, s, every("quick", 10*time.Second))
		var links []*scheduler.Link
		for _, able := range []fleet.Able{{Codecs: []fleet.Codec{fleet.JPEG}}, {Codecs: []fleet.Codec{fleet.JPEG, fleet.H264}, Tags: []string{"gpu"}}} {
			a := enrol(t, s, "lab")
			l := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "", ""))
			if err := s.Can(t.Context(), l, able); err != nil {
				t.Fatal(err)
			}
			links = append(links, l)
		}
		pictures := addCameras(t, s, "lab", 40)
		video := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "rtsp://192.0.2.1/a"}))
		tagged := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "http://192.0.2.1/b.jpg", Labels: map[string]string{"needs": "gpu"}}))
		never := must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "http://192.0.2.1/c.jpg", Labels: map[string]string{"needs": "infrared"}}))
		given := [2]map[fleet.CameraID]int{{}, {}}
		for i, l := range links {
			ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
			for {
				in, err := l.Next(ctx)
				if err != nil {
					break
				}
				for _, o := range in.Orders {
					given[i][o.Camera]++
				}
			}
			cancel()
		}
		if given[0][video.ID] != 0 || given[1][video.ID] == 0 || given[0][tagged.ID] != 0 || given[1][tagged.ID] == 0 || given[0][never.ID]+given[1][never.ID] != 0 {
			t.Errorf("video %d %d, tagged %d %d, never %d %d", given[0][video.ID], given[1][video.ID], given[0][tagged.ID], given[1][tagged.ID], given[0][never.ID], given[1][never.ID])
		}
		both := 0
		for _, id := range pictures {
			if given[0][id] > 0 && given[1][id] > 0 {
				both++
			}
		}
		if len(given[0]) < 8 || len(given[1]) < 8 || both > 0 {
			t.Errorf("%d and %d cameras, %d at both", len(given[0]), len(given[1]), both)
		}
	})
}

// TestElsewhere lets another agent of the site try what one has failed at, once.
func TestElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		spec := every("quick", 30*time.Second)
		spec.Retry = &calendar.Retry{Attempts: 1, Elsewhere: true}
		apply(t, s, spec)
		one, two := enrol(t, s, "lab"), enrol(t, s, "lab")
		addCameras(t, s, "lab", 20) // whose each is, is a hash of ids drawn at random: each has some of as many
		var links []*scheduler.Link
		for _, a := range []fleet.Agent{one, two} {
			links = append(links, must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "", "")))
		}
		var tried sync.Map
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, l := range links {
			wg.Go(func() {
				for {
					in, err := l.Next(ctx)
					if err != nil {
						return
					}
					for _, o := range in.Orders {
						outcome := fleet.Failed
						time.Sleep(time.Until(o.Start().Time()))
						if l.Agent() == two.ID {
							outcome = fleet.Captured
						}
						n, _ := tried.LoadOrStore(o.Occurrence, new(int))
						*n.(*int)++
						if err := s.Complete(ctx, l.Agent(), []fleet.Capture{{Occurrence: o.Occurrence, Outcome: outcome, Cause: "", At: o.Nominal}}); err != nil && ctx.Err() == nil {
							t.Error(err)
						}
					}
				}
			})
		}
		time.Sleep(5 * time.Minute)
		cancel()
		wg.Wait()
		b := sound(t, s)
		if b.Failed != 0 || b.Captured < 40 {
			t.Errorf("what the first agent failed at was not tried by the second: %+v", b)
		}
		twice := 0
		tried.Range(func(_, n any) bool {
			if *n.(*int) > 1 {
				twice++
			}
			if *n.(*int) > 2 {
				t.Errorf("tried %d times", *n.(*int))
			}
			return true
		})
		if twice == 0 {
			t.Error("nothing went to the second agent")
		}
	})
}
