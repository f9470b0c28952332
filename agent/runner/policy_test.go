package runner_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// street is a Grabber whose frames cost some time, and keeps when each began.
type street struct {
	cost time.Duration
	fail func(n int) error // what the n-th grab ends with, from 0

	mu    sync.Mutex
	began []time.Time
	order []fleet.CameraID
	cut   int // grabs whose context ended
}

func (s *street) grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	s.mu.Lock()
	n := len(s.began)
	s.began = append(s.began, time.Now())
	s.order = append(s.order, t.Camera)
	s.mu.Unlock()
	select {
	case <-time.After(s.cost):
	case <-ctx.Done():
		s.mu.Lock()
		s.cut++
		s.mu.Unlock()
		return fleet.Frame{}, fleet.Errorf(fleet.CauseTimeout, "%w", ctx.Err())
	}
	if s.fail != nil {
		if err := s.fail(n); err != nil {
			return fleet.Frame{}, err
		}
	}
	return healthy(ctx, t)
}

// at returns an order of camera 1 that starts in the given time from the next
// full second but one.
func at(schedule fleet.ScheduleID, start, deadline time.Duration) fleet.Order {
	n := fleet.At(time.Now().Truncate(time.Second)).Add(2*time.Second + start)
	return fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: schedule, Nominal: n}, Deadline: n.Add(deadline)}
}

// ends reads an outcome the way the tests spell it.
func ends(c fleet.Capture) string { return fmt.Sprintf("%v(%v)", c.Outcome, c.Cause) }

// TestOneFrameForASecond: orders whose starts lie in the same second share one
// frame, taken at the latest start; each keeps its own delay.
func TestOneFrameForASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{cost: 200 * time.Millisecond}
		b := newRunner(t, s.grab, runner.Options{})
		a1, a2, a3, other := at(1, 100*time.Millisecond, 5*time.Second), at(2, 950*time.Millisecond, 5*time.Second), at(3, 0, 5*time.Second), at(4, time.Second, 5*time.Second)
		a3.Nominal -= 4000 // moved: its start counts
		a3.NotBefore = a3.Nominal + 4700
		elsewhere := at(1, 0, 5*time.Second)
		elsewhere.Camera = 2
		var outs []fleet.Capture
		for _, ch := range []<-chan fleet.Capture{b.submit(a1, nil), b.submit(a2, nil), b.submit(a3, nil), b.submit(other, nil), b.submit(elsewhere, nil)} {
			outs = append(outs, <-ch)
		}
		if len(s.began) != 3 {
			t.Fatalf("%d frames were taken, want 3", len(s.began))
		}
		for i, want := range []struct{ delay, frame int64 }{{850, 1150}, {0, 1150}, {4950, 1150}, {150, 1350}, {0, 200}} {
			o := outs[i]
			base := a1.Nominal - 100
			if o.Outcome != fleet.Captured || o.Delay.Milliseconds() != want.delay || o.At != base+fleet.Instant(want.frame) || o.Reading.Width != 640 || o.Attempts != 1 {
				t.Errorf("order %d: %v after %v, at +%v, want %v ms and +%v ms", i, ends(o), o.Delay, o.At.Sub(base), want.delay, want.frame)
			}
		}
	})
}

// TestSharedFrameKeepsEachOnesTerms: deadlines and tries are each order's own.
func TestSharedFrameKeepsEachOnesTerms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &street{cost: 5 * time.Second}
		b := newRunner(t, slow.grab, runner.Options{})
		short, long := b.submit(at(1, 0, 3*time.Second), nil), b.submit(at(2, 0, 30*time.Second), nil)
		began := time.Now().Truncate(time.Second).Add(2 * time.Second)
		if c := <-short; ends(c) != "failed(timeout)" || time.Since(began) != 3*time.Second {
			t.Errorf("the shorter: %v after %v", ends(c), time.Since(began))
		}
		if c := <-long; c.Outcome != fleet.Captured || len(slow.began) != 1 {
			t.Errorf("the longer: %v in %d grabs", ends(c), len(slow.began))
		}
		once := &street{cost: time.Millisecond, fail: func(n int) error {
			if n == 0 {
				return fleet.Errorf(fleet.CauseRefused, "no")
			}
			return nil
		}}
		b = newRunner(t, once.grab, runner.Options{})
		x, y := <-b.submit(at(1, 0, 30*time.Second), nil), fleet.Capture{}
		if ends(x) != "failed(refused)" || x.Attempts != 1 {
			t.Errorf("without tries: %v after %d", ends(x), x.Attempts)
		}
		once.began = nil
		again := at(2, 0, 30*time.Second)
		again.Retries = 2
		p, q := b.submit(at(1, 0, 30*time.Second), nil), b.submit(again, nil)
		x, y = <-p, <-q
		if ends(x) != "failed(refused)" || x.Attempts != 1 || y.Outcome != fleet.Captured || y.Attempts != 2 || len(once.began) != 2 {
			t.Errorf("without tries: %v after %d; with two: %v after %d", ends(x), x.Attempts, ends(y), y.Attempts)
		}
	})
}

// TestLateComerIsOnItsOwn: an order of the same second that comes when the
// frame is being taken gets another one.
func TestLateComerIsOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{cost: 500 * time.Millisecond}
		b := newRunner(t, s.grab, runner.Options{})
		late := at(2, 400*time.Millisecond, 5*time.Second)
		first := b.submit(at(1, 0, 5*time.Second), nil)
		time.Sleep(time.Until(late.Nominal.Time()) - 100*time.Millisecond)
		second := b.submit(late, nil)
		if a, c := <-first, <-second; a.Outcome != fleet.Captured || c.Outcome != fleet.Captured || len(s.began) != 2 || c.Delay != 100*time.Millisecond {
			t.Errorf("%v and %v after %v in %d grabs", ends(a), ends(c), c.Delay, len(s.began))
		}
	})
}

// TestHighestClassOfASharedFrame: a shared frame goes with the highest class
// among its orders.
func TestHighestClassOfASharedFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{cost: time.Second}
		b := newRunner(t, s.grab, runner.Options{Width: 1})
		var outs []<-chan fleet.Capture
		give := func(camera fleet.CameraID, schedule fleet.ScheduleID, p fleet.Priority) {
			o := at(schedule, 0, time.Minute)
			o.Camera, o.Priority = camera, p
			outs = append(outs, b.submit(o, nil))
		}
		give(1, 1, fleet.PriorityUrgent) // takes the turn
		give(2, 1, fleet.PriorityHigh)
		give(3, 1, fleet.PriorityLow)
		give(3, 2, fleet.PriorityUrgent)
		give(4, 1, fleet.PriorityNormal)
		for _, ch := range outs {
			if c := <-ch; c.Outcome != fleet.Captured {
				t.Errorf("%v: %v", c.Camera, ends(c))
			}
		}
		if want := []fleet.CameraID{1, 3, 2, 4}; !slices.Equal(s.order, want) {
			t.Errorf("the cameras' order is %v, want %v", s.order, want)
		}
	})
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		overlap string
		want    []string
		delays  []time.Duration // of those that are captured
		cut     int
	}{
		// Each frame takes 25 s, an occurrence comes every 10 s, with 60 s to
		// the deadline: 0 10 20 30 s.
		{"skip", []string{"captured()", "skipped(overlap)", "skipped(overlap)", "captured()"}, []time.Duration{0, 0}, 0},
		{"queue-one", []string{"captured()", "skipped(overlap)", "captured()", "captured()"}, []time.Duration{0, 5, 20}, 0},
		{"replace", []string{"skipped(replaced)", "skipped(replaced)", "skipped(replaced)", "captured()"}, []time.Duration{0}, 3},
		{"unknown", []string{"captured()", "captured()", "captured()", "failed(timeout)"}, []time.Duration{0, 15, 30}, 1},
	} {
		t.Run(c.overlap, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &street{cost: 25 * time.Second}
				b := newRunner(t, s.grab, runner.Options{})
				var plan *calendar.Schedule
				if c.overlap != "unknown" {
					plan = schedule(t, func(s *calendar.Spec) { s.Overlap = c.overlap })
				}
				var outs []<-chan fleet.Capture
				for n := range 4 {
					outs = append(outs, b.submit(at(1, time.Duration(n)*10*time.Second, time.Minute), plan))
				}
				var delays []time.Duration
				for n, ch := range outs {
					o := <-ch
					if ends(o) != c.want[n] {
						t.Errorf("occurrence %d: %v %q, want %v", n, ends(o), o.Detail, c.want[n])
					}
					if o.Outcome == fleet.Captured {
						delays = append(delays, o.Delay/time.Second)
					}
				}
				if !slices.Equal(delays, c.delays) || s.cut != c.cut {
					t.Errorf("delays %v, %d connections cut, want %v and %d", delays, s.cut, c.delays, c.cut)
				}
			})
		})
	}
}

// TestReplaceLeavesOthersTheirFrame: of a shared frame only the replaced
// occurrence ends, and the new one takes its own after it.
func TestReplaceLeavesOthersTheirFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{cost: 15 * time.Second}
		b := newRunner(t, s.grab, runner.Options{})
		plan := schedule(t, func(s *calendar.Spec) { s.Overlap = "replace" })
		old, other, young := b.submit(at(1, 0, time.Minute), plan), b.submit(at(2, 0, time.Minute), nil), b.submit(at(1, 10*time.Second, time.Minute), plan)
		if c := <-old; ends(c) != "skipped(replaced)" || c.Attempts != 1 || c.Took != 10*time.Second {
			t.Errorf("the old one: %v after %d tries, %v", ends(c), c.Attempts, c.Took)
		}
		if c := <-other; c.Outcome != fleet.Captured || c.Took != 15*time.Second {
			t.Errorf("the other: %v after %v", ends(c), c.Took)
		}
		if c := <-young; c.Outcome != fleet.Captured || c.Delay != 5*time.Second || s.cut != 0 {
			t.Errorf("the new one: %v after %v, %d cut", ends(c), c.Delay, s.cut)
		}
	})
}

// film is a Reader that gives one verdict after another.
type film struct {
	mu     sync.Mutex
	frames []string
}

func (f *film) Read(context.Context, fleet.Frame) (fleet.Reading, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	frame := f.frames[0]
	f.frames = f.frames[1:]
	switch frame {
	case "corrupt":
		return fleet.Reading{}, fleet.Errorf(fleet.CauseCorrupt, "cut short")
	case "partial":
		return fleet.Reading{Width: 4, Quality: fleet.Quality{Contrast: 50, Sharpness: 400}, Verdict: fleet.Verdict{Fault: fleet.FaultCorrupt}}, nil
	case "black":
		return fleet.Reading{Width: 1, Quality: fleet.Quality{Dark: 1}, Verdict: fleet.Verdict{Fault: fleet.FaultBlack}}, nil
	case "blurred":
		return fleet.Reading{Width: 2, Quality: fleet.Quality{Contrast: 50, Sharpness: 3}, Verdict: fleet.Verdict{Fault: fleet.FaultBlurred}}, nil
	}
	return fleet.Reading{Width: 3, Quality: fleet.Quality{Contrast: 50, Sharpness: 500}, Verdict: fleet.Verdict{Fault: fleet.FaultNone}}, nil
}

// judging is a film as a Judge: it notes of which frames it was told that they
// count.
type judging struct {
	*film
	kept []uint16 // their widths
}

func (j *judging) Judge(ctx context.Context, c fleet.CameraID, f fleet.Frame) (fleet.Reading, func(), error) {
	if c != 1 || f.At.IsZero() {
		return fleet.Reading{}, nil, fleet.Errorf(fleet.CauseInternal, "a frame of camera %s at %s", c, f.At)
	}
	r, err := j.Read(ctx, f)
	if err != nil {
		return r, nil, err
	}
	return r, func() { j.kept = append(j.kept, r.Width) }, nil
}

func TestRetake(t *testing.T) {
	for _, c := range []struct {
		on      string
		most    uint8
		frames  string
		end     string
		width   uint16 // tells which frame won
		retakes uint8
	}{
		{"corrupt blurred black", 3, "good", "captured()", 3, 0},
		{"corrupt blurred black", 3, "black blurred corrupt good", "captured()", 3, 3},
		{"corrupt blurred black", 2, "black blurred corrupt", "captured()", 2, 2},
		{"corrupt blurred black", 2, "black blurred black", "captured()", 2, 2},
		{"black", 2, "blurred", "captured()", 2, 0},
		{"black", 2, "black blurred", "captured()", 2, 1},
		{"corrupt", 2, "corrupt corrupt corrupt", "failed(corrupt)", 0, 2},
		{"corrupt", 2, "corrupt black", "captured()", 1, 1},
		{"", 0, "black", "captured()", 1, 0},
		{"", 0, "corrupt good", "captured()", 3, 0}, // a retry, as ever
		{"", 0, "partial good", "captured()", 3, 0},
		{"", 0, "partial corrupt", "captured()", 4, 0},
		{"", 0, "corrupt partial", "captured()", 4, 0},
		{"", 0, "partial partial", "captured()", 4, 0},
		{"corrupt", 2, "partial corrupt good", "captured()", 3, 2},
		{"corrupt", 1, "corrupt partial", "captured()", 4, 1},
	} {
		t.Run(fmt.Sprintf("%s of %d on %s", c.frames, c.most, c.on), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, f := &street{cost: 100 * time.Millisecond}, &film{frames: strings.Fields(c.frames)}
				judge := &judging{film: f}
				b := newReader(t, s.grab, nil, runner.Options{Judge: judge})
				plan := schedule(t, func(s *calendar.Spec) {
					if c.on != "" {
						s.Retake = &calendar.Retake{On: strings.Fields(c.on), Max: c.most}
					}
				})
				o := at(1, 0, 20*time.Second)
				o.Retries = 1
				got := <-b.submit(o, plan)
				if ends(got) != c.end || got.Reading.Width != c.width || got.Retakes != c.retakes || len(f.frames) != 0 || len(s.began) != len(strings.Fields(c.frames)) {
					t.Errorf("%v of width %d, %d retakes, %d frames left over, %d grabs", ends(got), got.Reading.Width, got.Retakes, len(f.frames), len(s.began))
				}
				// Of several frames only the one that counts is remembered.
				if want := []uint16{c.width}; c.width == 0 && judge.kept != nil || c.width != 0 && !slices.Equal(judge.kept, want) {
					t.Errorf("the frames of width %v were kept, want %v", judge.kept, want)
				}
			})
		})
	}
}

// TestPartOfAPictureIsKept: another try that brings nothing takes nothing away,
// whether it is refused or has no time left.
func TestPartOfAPictureIsKept(t *testing.T) {
	for name, second := range map[string]func(ctx context.Context) error{
		"refused": func(context.Context) error { return fleet.Errorf(fleet.CauseRefused, "no") },
		"silent": func(ctx context.Context) error {
			<-ctx.Done()
			return fleet.Errorf(fleet.CauseTimeout, "%w", ctx.Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				judge := &judging{film: &film{frames: []string{"partial"}}}
				b := newReader(t, func(ctx context.Context, target fleet.Target) (fleet.Frame, error) {
					if tries++; tries > 1 {
						return fleet.Frame{}, second(ctx)
					}
					return healthy(ctx, target)
				}, nil, runner.Options{Judge: judge})
				o := at(1, 0, 20*time.Second)
				o.Retries = 1
				c := <-b.submit(o, nil)
				if c.Outcome != fleet.Captured || c.Reading.Width != 4 || c.Attempts != 2 || tries != 2 || c.At > o.Deadline {
					t.Errorf("%v of width %d after %d tries, taken %v after the deadline", ends(c), c.Reading.Width, c.Attempts, c.At.Sub(o.Deadline))
				}
				if !slices.Equal(judge.kept, []uint16{4}) {
					t.Errorf("the frames of width %v were kept", judge.kept)
				}
			})
		})
	}
}

// TestRetakeEndsWithTheDeadline: a bad frame in time is better than a good one
// too late.
func TestRetakeEndsWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{cost: 4 * time.Second}
		b := newReader(t, s.grab, &film{frames: strings.Fields("black black good")}, runner.Options{})
		plan := schedule(t, func(s *calendar.Spec) { s.Retake = &calendar.Retake{On: calendar.List{"black"}, Max: 5} })
		c := <-b.submit(at(1, 0, 10*time.Second), plan)
		if c.Outcome != fleet.Captured || c.Retakes != 1 || c.Reading.Width != 1 || c.Took > 10*time.Second {
			t.Errorf("%v of width %d after %d retakes and %v", ends(c), c.Reading.Width, c.Retakes, c.Took)
		}
	})
}

// TestRetryWaits: between tries lies a random part of a ceiling that doubles
// up to the schedule's, and no try begins after the deadline.
func TestRetryWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuse := func(int) error { return fleet.Errorf(fleet.CauseRefused, "no") }
		s := &street{cost: time.Millisecond, fail: refuse}
		var asked []time.Duration
		b := newRunner(t, s.grab, runner.Options{Failures: 1000, Rand: func(n int64) int64 {
			asked = append(asked, time.Duration(n-1))
			return n / 2
		}})
		plan := schedule(t, func(s *calendar.Spec) {
			s.Retry = &calendar.Retry{Attempts: 6, Backoff: calendar.Duration(time.Second), Cap: calendar.Duration(5 * time.Second)}
		})
		o := at(1, 0, 12*time.Second)
		o.Retries = 6
		c := <-b.submit(o, plan)
		want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second, 5 * time.Second}
		if ends(c) != "failed(refused)" || !slices.Equal(asked, want[:len(asked)]) || len(asked) < 5 {
			t.Errorf("%v after %d tries, ceilings %v", ends(c), c.Attempts, asked)
		}
		for i := 1; i < len(s.began); i++ {
			wait := s.began[i].Sub(s.began[i-1]) - time.Millisecond
			if off := wait - want[i-1]/2; off < 0 || off > 2*time.Millisecond {
				t.Errorf("wait %d is %v, want half of %v", i, wait, want[i-1])
			}
		}
		if int(c.Attempts) != len(s.began) || !s.began[len(s.began)-1].Before(o.Deadline.Time()) {
			t.Errorf("%d tries, the last at %v for a deadline of %v", c.Attempts, s.began[len(s.began)-1], o.Deadline)
		}
	})
}

// TestOthersGoBetweenTries: who waits for his next try holds no turn.
func TestOthersGoBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{cost: 10 * time.Millisecond, fail: func(n int) error {
			if n == 0 {
				return fleet.Errorf(fleet.CauseTimeout, "slow")
			}
			return nil
		}}
		b := newRunner(t, s.grab, runner.Options{Width: 1, Rand: func(n int64) int64 { return n - 1 }, Backoff: 5 * time.Second})
		o, p := at(1, 0, 30*time.Second), at(1, 0, 30*time.Second)
		o.Retries, o.Priority, p.Camera = 1, fleet.PriorityUrgent, 2
		x, y := b.submit(o, nil), b.submit(p, nil)
		if c := <-y; c.Outcome != fleet.Captured || c.Delay > 20*time.Millisecond {
			t.Errorf("the other: %v after %v", ends(c), c.Delay)
		}
		if c := <-x; c.Outcome != fleet.Captured || c.Attempts != 2 {
			t.Errorf("the second try: %v after %d", ends(c), c.Attempts)
		}
	})
}

// TestOverload: a box that can take 4 pictures in a second gets 400 orders for
// 20 seconds. The highest class is taken, the lowest is shed at once when the
// rate is known, and all that had no turn say why.
func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &street{cost: time.Second}
		b := newRunner(t, s.grab, runner.Options{Width: 4, Unproven: 4})
		type given struct {
			o  fleet.Order
			ch <-chan fleet.Capture
		}
		var all []given
		for n := range 400 {
			o := at(1, 0, 20*time.Second)
			o.Camera, o.Priority = fleet.CameraID(n+1), []fleet.Priority{fleet.PriorityLow, fleet.PriorityNormal, fleet.PriorityUrgent, fleet.PriorityLow}[n%4]
			if n%4 == 2 && n >= 160 { // 40 urgent ones
				o.Priority = fleet.PriorityLow
			}
			all = append(all, given{o, b.submit(o, nil)})
		}
		start := all[0].o.Nominal
		count := map[string]int{}
		for _, g := range all {
			c := <-g.ch
			count[fmt.Sprint(g.o.Priority, " ", ends(c))]++
			if c.Attempts > 0 { // it had its turn, some of them with the deadline
				continue
			}
			if c.Cause != fleet.CauseOverload || c.Outcome != fleet.Missed || c.Detail == "" {
				t.Fatalf("%v: %v %q", c.Occurrence, ends(c), c.Detail)
			}
			if g.o.Priority == fleet.PriorityLow && c.At > start+5_000 {
				t.Errorf("a low one was shed after %v", c.At.Sub(start))
			}
		}
		if count["urgent captured()"] != 40 || count["urgent missed(overload)"] != 0 {
			t.Errorf("outcomes %v", count)
		}
		// Nothing is given up for nothing: 20 s at 4 a second.
		done := 0
		for k, n := range count {
			if strings.HasSuffix(k, "captured()") {
				done += n
			}
		}
		if done < 60 || done > 84 {
			t.Errorf("%d pictures in 20 s at 4 a second: %v", done, count)
		}
		if _, _, _, rate := b.Load(); rate < 3 || rate > 5 {
			t.Errorf("the measured capacity is %.1f/s, want about 4", rate)
		}
	})
}

// TestWhyNotItsTurn: the queue is blamed only when it was the queue.
func TestWhyNotItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRunner(t, silent, runner.Options{Width: 2, Unproven: 1})
		first := b.submit(at(1, 0, 20*time.Second), nil)
		sameCamera := b.submit(at(1, 2*time.Second, 10*time.Second), nil)
		o := at(1, 0, 10*time.Second)
		o.Camera = 2
		kind := b.submit(o, nil)
		for ch, want := range map[<-chan fleet.Capture]string{sameCamera: "missed(deadline) another capture of this camera", kind: "missed(deadline) cameras that do not answer", first: "failed(timeout) silent"} {
			c := <-ch
			if got := ends(c) + " " + c.Detail; !strings.HasPrefix(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		full := newRunner(t, silent, runner.Options{Width: 1, Unproven: 1})
		p, q := at(1, 0, 20*time.Second), at(1, 0, 10*time.Second)
		q.Camera = 2
		p.Priority = fleet.PriorityUrgent
		full.submit(p, nil)
		if c := <-full.submit(q, nil); ends(c) != "missed(overload)" {
			t.Errorf("%v %q", ends(c), c.Detail)
		}
		late := at(1, -time.Minute, time.Second)
		late.Camera = 3
		if c := <-full.submit(late, nil); ends(c) != "missed(deadline)" || c.Detail != "its order came after its deadline" {
			t.Errorf("%v %q", ends(c), c.Detail)
		}
	})
}

// TestEachOrderEndsOnce: whatever orders come, with whatever policies and
// however the cameras behave, each ends once, none begins early or after its
// deadline, and no camera is asked twice at once.
func TestEachOrderEndsOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type one struct {
			wait, start, deadline time.Duration
			camera, schedule      int
			retries               uint8
			priority              fleet.Priority
		}
		n := rapid.IntRange(1, 40).Draw(rt, "orders")
		var ones []one
		for range n {
			ones = append(ones, one{time.Duration(rapid.IntRange(0, 3000).Draw(rt, "wait")) * time.Millisecond, time.Duration(rapid.IntRange(-2000, 9000).Draw(rt, "start")) * time.Millisecond,
				time.Duration(rapid.IntRange(1, 12).Draw(rt, "deadline")) * time.Second, rapid.IntRange(1, 4).Draw(rt, "camera"), rapid.IntRange(0, 3).Draw(rt, "schedule"),
				uint8(rapid.IntRange(0, 2).Draw(rt, "retries")), fleet.Priority(rapid.IntRange(-1, 2).Draw(rt, "priority"))})
		}
		acts := rapid.SliceOfN(rapid.IntRange(0, 6), 1, 20).Draw(rt, "acts")
		width := rapid.IntRange(1, 4).Draw(rt, "width")
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			busy := map[fleet.CameraID]bool{}
			grabs := 0
			grab := func(ctx context.Context, tg fleet.Target) (fleet.Frame, error) {
				mu.Lock()
				if busy[tg.Camera] {
					t.Errorf("camera %v is asked twice at once", tg.Camera)
				}
				busy[tg.Camera] = true
				act := acts[grabs%len(acts)]
				grabs++
				mu.Unlock()
				defer func() { mu.Lock(); busy[tg.Camera] = false; mu.Unlock() }()
				switch act {
				case 0:
					return silent(ctx, tg)
				case 1:
					return fleet.Frame{}, fleet.Errorf(fleet.CauseRefused, "no")
				}
				time.Sleep(time.Duration(act*act) * 100 * time.Millisecond)
				return healthy(ctx, tg)
			}
			b := newRunner(t, grab, runner.Options{Width: width})
			schedules := []*calendar.Schedule{nil}
			for _, o := range []string{"skip", "queue-one", "replace"} {
				schedules = append(schedules, schedule(t, func(s *calendar.Spec) { s.Overlap = o }))
			}
			type given struct {
				o  fleet.Order
				ch <-chan fleet.Capture
			}
			var all []given
			seen := map[fleet.Occurrence]bool{}
			for _, w := range ones {
				time.Sleep(w.wait)
				start := fleet.At(time.Now().Add(w.start))
				o := fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(w.camera), Schedule: fleet.ScheduleID(w.schedule + 1), Nominal: start}, Deadline: start.Add(w.deadline), Retries: w.retries, Priority: w.priority}
				if !seen[o.Occurrence] {
					seen[o.Occurrence] = true
					all = append(all, given{o, b.submit(o, schedules[w.schedule])})
				}
			}
			for _, g := range all {
				var c fleet.Capture
				select {
				case c = <-g.ch:
				case <-time.After(time.Minute):
					t.Fatalf("%+v has no outcome", g.o)
				}
				if c.Occurrence != g.o.Occurrence || c.Outcome == 0 || c.Delay < 0 || c.Outcome == fleet.Captured && (c.At < g.o.Start() || c.At > g.o.Deadline) || (c.Outcome == fleet.Captured) != (c.Cause == "") {
					t.Errorf("%+v ended as %+v", g.o, c)
				}
			}
			// A camera that was asked for an order that another replaced may still be
			// answering, for 3.6 s at most: these cameras heed no context.
			time.Sleep(4 * time.Second)
			synctest.Wait()
			if capturing, queue, decoding, _ := b.Load(); capturing+queue+decoding != 0 {
				t.Errorf("at the end %d capture, %d wait, %d are decoded", capturing, queue, decoding)
			}
		})
	})
}
