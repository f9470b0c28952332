package uplink

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

var (
	// ErrNoPermits says that this centre grants no permits: it is older, and who
	// asks has its own budget alone.
	ErrNoPermits = errors.New("this centre grants no permits")
	// ErrNoAnswer says that the centre did not answer in time, connected or not.
	ErrNoAnswer = errors.New("the centre, which counts the logins of all agents, was not reached in time")
)

// DeniedError is the centre's refusal of a permit, with its reason.
type DeniedError struct {
	Reason string
	Soon   bool // another agent is at it right now: ask again in a moment
}

// Error returns the reason.
func (e *DeniedError) Error() string { return e.Reason }

// maxSettled bounds what waits for the line. What is dropped beyond it counts as
// refused at the centre, which errs on the camera's side.
const maxSettled = 4096

// permits are the questions that wait for their answer, and what is to be said.
type permits struct {
	queued chan struct{} // capacity 1: a signal

	mu      sync.Mutex
	known   chan struct{} // closed while a link is up that has had its welcome
	up      bool
	grants  bool
	waiting map[uint64]chan *wire.PermitAnswer
	queue   []*wire.FromAgent // PermitAsk and LoginSettled, oldest first
}

func newPermits() permits {
	return permits{queued: make(chan struct{}, 1), known: make(chan struct{}), waiting: make(map[uint64]chan *wire.PermitAnswer)}
}

// Permit asks the centre for leave to try the credentials of that version on
// the device once, and waits for the answer until ctx ends, through a cut of
// the line if need be. The permit it returns is to be settled, whatever comes
// of it. Errors are ErrNoPermits, ErrNoAnswer and *DeniedError.
func (u *Uplink) Permit(ctx context.Context, device string, version uint64, worked bool) (permit uint64, err error) {
	p := &u.permits
	permit = max(1, rand.Uint64())
	ask := &wire.FromAgent{Body: &wire.FromAgent_PermitAsk{PermitAsk: &wire.PermitAsk{Permit: permit, Device: device, Version: version, Worked: worked}}}
	answer := make(chan *wire.PermitAnswer, 1) // there is but one
	p.mu.Lock()
	for !p.up { // it may be lost again by the time it is heard of: that is no older centre
		known := p.known
		p.mu.Unlock()
		select {
		case <-known:
		case <-ctx.Done():
			return 0, ErrNoAnswer
		}
		p.mu.Lock()
	}
	if !p.grants {
		p.mu.Unlock()
		return 0, ErrNoPermits
	}
	p.waiting[permit] = answer
	p.queue = append(p.queue, ask)
	p.mu.Unlock()
	signal(p.queued)
	select {
	case a := <-answer:
		if !a.GetGranted() {
			return 0, &DeniedError{a.GetReason(), a.GetSoon()}
		}
		return permit, nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	delete(p.waiting, permit)
	unsent := slices.Index(p.queue, ask)
	if unsent >= 0 {
		p.queue = slices.Delete(p.queue, unsent, unsent+1)
	}
	p.mu.Unlock()
	if unsent < 0 { // it may have been granted: a permit that is not used is given back
		u.Settle(permit, device, version, fleet.LoginUnused)
	}
	return 0, ErrNoAnswer
}

// Settle says how a login ended; permit is 0 for one that was tried without. It
// does not wait: what cannot be said now is said when the line is back.
func (u *Uplink) Settle(permit uint64, device string, version uint64, a fleet.LoginAnswer) {
	p := &u.permits
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up && !p.grants {
		return
	}
	if len(p.queue) >= maxSettled {
		if i := slices.IndexFunc(p.queue, func(m *wire.FromAgent) bool { return m.GetLoginSettled() != nil }); i >= 0 {
			p.queue = slices.Delete(p.queue, i, i+1)
		}
	}
	p.queue = append(p.queue, &wire.FromAgent{Body: &wire.FromAgent_LoginSettled{LoginSettled: &wire.LoginSettled{
		Permit: permit, Device: device, Version: version, Answer: wire.LoginAnswer(a),
	}}})
	signal(p.queued)
}

// linked notes that a link has had its welcome, or has ended.
func (p *permits) linked(up, grants bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case up && !p.up:
		close(p.known)
	case !up && p.up:
		p.known = make(chan struct{})
	}
	p.up, p.grants = up, up && grants
}

func (p *permits) answered(a *wire.PermitAnswer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.waiting[a.GetPermit()]; ok {
		delete(p.waiting, a.GetPermit())
		c <- a
	}
}

// next takes what is to be said next; nil when there is nothing.
func (p *permits) next() *wire.FromAgent {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return nil
	}
	m := p.queue[0]
	p.queue = slices.Delete(p.queue, 0, 1)
	return m
}

// back puts what could not be said in front again, unless nobody waits for it.
func (p *permits) back(m *wire.FromAgent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ask := m.GetPermitAsk(); ask != nil && p.waiting[ask.GetPermit()] == nil {
		return
	}
	p.queue = slices.Insert(p.queue, 0, m)
}

// permits says what concerns logins. It has a goroutine of its own, so that a
// line that takes nothing holds up no login beyond its patience.
func (l *link) permits(ctx context.Context) error {
	p := &l.u.permits
	for {
		for m := p.next(); m != nil; m = p.next() {
			if err := l.say(m); err != nil {
				p.back(m)
				return fmt.Errorf("permits: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.queued:
		}
	}
}
