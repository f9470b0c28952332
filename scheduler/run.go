package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// Run drives the wheel and takes in what agents report, until ctx ends. It
// returns early only when the store cannot go on.
func (s *Scheduler) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context) error{s.drive, s.sweep, s.takeIn} {
		wg.Go(func() {
			if err := loop(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	// The next start then has nothing to look through.
	if err := s.sumUp(context.WithoutCancel(ctx), true); err != nil && !errors.Is(err, store.ErrTorn) {
		s.log.WarnContext(ctx, "no checkpoint at the end: the next start takes longer", "err", err)
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("run scheduler: %w", err)
	}
	return nil
}

// driveTick is the least time between two looks at the wheel: orders leave their
// lead ahead, so a twentieth of a second costs nothing and shares a commit. A
// lead below a second shares less.
const (
	driveTick      = 50 * time.Millisecond
	shortDriveTick = 10 * time.Millisecond
)

// tickOf returns driveTick for the schedules in force.
func (s *Scheduler) tickOf() time.Duration {
	for _, n := range s.inForce {
		if s.revs[n].lead < 20*driveTick {
			return shortDriveTick
		}
	}
	return driveTick
}

func (s *Scheduler) drive(ctx context.Context) error {
	last := time.Now()
	for {
		now := time.Now()
		s.noteStep(ctx, last, now)
		last = now
		s.mu.Lock()
		err := s.advance(ctx, fleet.At(time.Now()))
		next, busy := s.wheel.Next()
		least := s.tickOf()
		s.mu.Unlock()
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end was wanted
		}
		wait := time.Hour
		switch {
		case errors.Is(err, store.ErrTorn):
			return err
		case err != nil: // a full disk, most likely: keep what is due, try again
			s.log.ErrorContext(ctx, "orders could not be stored", "err", err)
			wait = time.Second
		case busy:
			wait = max(time.Until(next.Time()), least)
		}
		timer := time.NewTimer(min(wait, time.Hour))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		}
	}
}

// clockStep is a step of the wall clock that operators are told of.
const clockStep = 2 * time.Second

// noteStep tells when the wall clock has been set: what follows is right, and
// looks odd.
func (s *Scheduler) noteStep(ctx context.Context, last, now time.Time) {
	step := now.Round(0).Sub(last.Round(0)) - now.Sub(last) // wall minus monotonic
	switch {
	case step > clockStep:
		s.log.WarnContext(ctx, "the clock was set forward: what was due in between follows its schedule's misfire", "step", step.Round(time.Millisecond))
	case step < -clockStep:
		s.log.WarnContext(ctx, "the clock was set back: nothing is asked for a second time, so orders go on when the clock has caught up", "step", step.Round(time.Millisecond))
	}
}

func (s *Scheduler) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sweepEvery is how often what has no timer of its own is looked at.
const sweepEvery = time.Second

func (s *Scheduler) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		s.mu.Lock()
		err := s.handOn(ctx, time.Now())
		again := s.unsettled
		s.mu.Unlock()
		if err == nil && again {
			err = s.settle(ctx)
		}
		if err == nil {
			err = s.sumUp(ctx, false)
		}
		if errors.Is(err, store.ErrTorn) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "the store refused a change: it is tried again", "err", err)
		}
		if n%600 == 0 {
			old := time.Now().Add(-s.opts.Keep)
			// The log still tells of orders whose outcomes age out: it begins
			// anew before they do.
			err := s.sumUp(ctx, true)
			dropped, gone := s.store.DropBefore(old)
			err = errors.Join(err, gone)
			err = errors.Join(err, s.store.Forget(ctx, fleet.At(old), fleet.At(time.Now().Add(-s.opts.GiveUp-25*time.Hour))))
			if err != nil || dropped > 0 {
				s.log.InfoContext(ctx, "captures aged out", "files", dropped, "err", err)
			}
		}
	}
}

// settle does again what ApplySchedules could not finish.
func (s *Scheduler) settle(ctx context.Context) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	if err := s.reconcile(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unsettled = false
	return nil
}

// sumUp writes a checkpoint when the log of orders has grown long, or anyway.
func (s *Scheduler) sumUp(ctx context.Context, anyway bool) error {
	s.mu.Lock()
	// While the wheel's changes wait for a store that failed, part of them may be
	// stored beyond through: a replay finds those among what came since.
	if len(s.held.issue)+len(s.held.Captures) > 0 || !anyway && !s.store.Due(s.slots.len()) {
		s.mu.Unlock()
		return nil
	}
	c := s.store.Begin()
	for n := uint32(1); n <= s.slots.used; n++ {
		if f := s.slots.at(n); f.camera != 0 {
			c.Add(s.stored(f))
		}
	}
	c.Books(s.booksBySite())
	s.mu.Unlock()
	return c.Write(context.WithoutCancel(ctx))
}
