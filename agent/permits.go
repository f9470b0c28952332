package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// permitWait is how long a login waits for the centre's permit: a start needs
// less until its line is up, and a camera's deadline is longer.
const permitWait = 2 * time.Second

// askAgain is how long a login waits for another agent's: a login takes some
// tenths of a second.
const askAgain = 200 * time.Millisecond

// Permits asks the centre before logins are tried, and remembers across restarts
// which have worked. Credentials that have worked on the device and were not
// refused since need no permit; without the centre they are the only ones that
// are tried, within the budget of one agent. It is safe for use by several
// goroutines.
type Permits struct {
	store *store.Store
	line  *uplink.Uplink

	mu   sync.Mutex
	held map[login]uint64 // permits that are not settled
}

type login struct {
	device  string
	version uint64
}

// NewPermits returns the permits of an agent of these parts.
func NewPermits(s *store.Store, u *uplink.Uplink) *Permits {
	return &Permits{store: s, line: u, held: make(map[login]uint64)}
}

// Permit asks for leave to try c on the device once, for two seconds at most.
func (p *Permits) Permit(ctx context.Context, device string, c fleet.Credentials) error {
	known, ok := p.store.Login(device)
	worked := ok && c.Version != 0 && known.Version == c.Version
	if worked && len(known.Refused) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, permitWait)
	defer cancel()
	permit, err := p.ask(ctx, device, c.Version, worked)
	switch {
	case err == nil:
		p.mu.Lock()
		p.held[login{device, c.Version}] = permit
		p.mu.Unlock()
		return nil
	case errors.Is(err, uplink.ErrNoPermits):
		return nil
	case !errors.Is(err, uplink.ErrNoAnswer):
		return fleet.Errorf(fleet.CauseLocked, "%w", err)
	case !worked: // not locked: it is tried again as soon as anything is
		return fleet.Errorf(fleet.CauseDeadline,
			"the login of user %q has not worked on %s yet, so it waits for the centre's permit: %w: it is tried once the line is back", c.User, device, err)
	}
	if v := p.judge(known); !v.OK() {
		return fleet.Errorf(fleet.CauseLocked, "%s refused the login that worked before, and %w: next try at %s, or once the line is back", device, err, v.Free.UTC().Format(time.RFC3339))
	}
	return nil
}

// ask asks the centre, and again while another agent is at the same login.
func (p *Permits) ask(ctx context.Context, device string, version uint64, worked bool) (uint64, error) {
	for {
		permit, err := p.line.Permit(ctx, device, version, worked)
		if denied, ok := errors.AsType[*uplink.DeniedError](err); !ok || !denied.Soon {
			return permit, err
		}
		t := time.NewTimer(askAgain)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return 0, fmt.Errorf("%w: %w", uplink.ErrNoAnswer, err)
		}
	}
}

// judge decides on the login that worked last without the centre.
func (p *Permits) judge(l store.Login) fleet.LoginVerdict {
	refused := make([]fleet.LoginRefusal[uint64], len(l.Refused))
	for i, at := range l.Refused {
		refused[i] = fleet.LoginRefusal[uint64]{With: l.Version, At: at.Time()}
	}
	return fleet.JudgeLogin(refused, l.Version, true, p.line.Clock().Now())
}

// Settled takes in how a login ended: the centre is told, and what worked is
// remembered.
func (p *Permits) Settled(device string, c fleet.Credentials, a fleet.LoginAnswer) {
	k := login{device, c.Version}
	p.mu.Lock()
	permit := p.held[k]
	delete(p.held, k)
	p.mu.Unlock()
	known, ok := p.store.Login(device)
	now := fleet.At(p.line.Clock().Now())
	same := ok && known.Version == c.Version
	news := permit != 0 || a == fleet.LoginRefused
	switch {
	case c.Version == 0: // nobody gave it one: it cannot be told from another
	case a == fleet.LoginAccepted && (!same || len(known.Refused) > 0):
		p.store.SetLogin(device, store.Login{Version: c.Version, At: now})
		news = true
	case a == fleet.LoginRefused && same:
		refused := append(slices.Clone(known.Refused), now)
		known.Refused = refused[max(0, len(refused)-fleet.LoginTriesPerDevice):]
		p.store.SetLogin(device, known)
	}
	if news {
		p.line.Settle(permit, device, c.Version, a)
	}
}
