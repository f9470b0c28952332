package main

import (
	"time"

	"github.com/RussellLuo/timingwheel"
	"github.com/antlabs/timer"

	"github.com/shutterfleet/shutterfleet/scheduler/wheel/wheelbench"
)

// Each task of a peer is a record in an array made beforehand: the handle to
// cancel it, and the instant it is due at, which its callback is not told. The
// bench adds nothing that is due within the call, so the handle is in its
// record before the callback runs.

// stdlib is time.AfterFunc, armed again by Reset.
type stdlib struct {
	env   wheelbench.Env
	tasks []stdTask
}

type stdTask struct {
	timer *time.Timer
	at    int64
}

func newStdlib(e wheelbench.Env) wheelbench.Subject {
	return &stdlib{env: e, tasks: make([]stdTask, e.Tasks)}
}

func (s *stdlib) Add(key uint32, at int64) {
	t := &s.tasks[key]
	t.at = at
	t.timer = time.AfterFunc(s.env.Clock.Until(at), func() { s.fire(key) })
}

func (s *stdlib) fire(key uint32) {
	t := &s.tasks[key]
	if next := s.env.Fire(key, t.at); next >= 0 {
		t.at = next
		t.timer.Reset(s.env.Clock.Until(next))
	}
}

func (s *stdlib) Cancel(key uint32) bool { return s.tasks[key].timer.Stop() }

func (s *stdlib) Close() {
	for i := range s.tasks {
		s.tasks[i].timer.Stop()
	}
}

// russellLuo is github.com/RussellLuo/timingwheel with ticks of 1 ms, its
// finest, and 512 slots: 60 and less deadlock under load, as its issues tell.
// A task is its own timingwheel.Scheduler: Next is called in the goroutine of
// the callback, right before it, and saves a new timer per fire.
type russellLuo struct {
	env   wheelbench.Env
	wheel *timingwheel.TimingWheel
	tasks []russellLuoTask
}

type russellLuoTask struct {
	owner *russellLuo
	timer *timingwheel.Timer
	at    int64
	key   uint32
	added bool // and so fired when Next is called again
}

func newRussellLuo(e wheelbench.Env) wheelbench.Subject {
	r := &russellLuo{env: e, wheel: timingwheel.NewTimingWheel(time.Millisecond, 512), tasks: make([]russellLuoTask, e.Tasks)}
	r.wheel.Start()
	return r
}

func (r *russellLuo) Add(key uint32, at int64) {
	t := &r.tasks[key]
	*t = russellLuoTask{owner: r, key: key, at: at}
	t.timer = r.wheel.ScheduleFunc(t, func() {})
}

// Next returns when the task runs; by the second call it runs now.
func (t *russellLuoTask) Next(time.Time) time.Time {
	if !t.added {
		t.added = true
	} else if t.at = t.owner.env.Fire(t.key, t.at); t.at < 0 {
		return time.Time{}
	}
	return t.owner.env.Clock.Time(t.at).UTC()
}

func (r *russellLuo) Cancel(key uint32) bool { return r.tasks[key].timer.Stop() }
func (r *russellLuo) Close()                 { r.wheel.Stop() }

// antlabs is the time wheel of github.com/antlabs/timer, whose ticks are 10 ms,
// armed again by AfterFunc: its Reset says of itself that it is not stable.
type antlabs struct {
	env   wheelbench.Env
	wheel timer.Timer
	tasks []antlabsTask
}

type antlabsTask struct {
	node timer.TimeNoder
	fire func()
	at   int64
}

func newAntlabs(e wheelbench.Env) wheelbench.Subject {
	a := &antlabs{env: e, wheel: timer.NewTimer(timer.WithTimeWheel()), tasks: make([]antlabsTask, e.Tasks)}
	go a.wheel.Run()
	return a
}

func (a *antlabs) Add(key uint32, at int64) {
	t := &a.tasks[key]
	t.at = at
	t.fire = func() { a.fire(key) }
	t.node = a.wheel.AfterFunc(a.env.Clock.Until(at), t.fire)
}

// fire does not keep the new handle, a saving for this peer: what has fired is
// not cancelled here, and an overdue task may fire before AfterFunc returns.
func (a *antlabs) fire(key uint32) {
	t := &a.tasks[key]
	if next := a.env.Fire(key, t.at); next >= 0 {
		t.at = next
		// A negative duration would wrap round to years.
		a.wheel.AfterFunc(max(0, a.env.Clock.Until(next)), t.fire)
	}
}

func (a *antlabs) Cancel(key uint32) bool { return a.tasks[key].node.Stop() }
func (a *antlabs) Close()                 { a.wheel.Stop() }
