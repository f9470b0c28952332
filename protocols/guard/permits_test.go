package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// asked is who grants permits, and keeps what came of them.
type asked struct {
	deny error
	wait time.Duration
	log  []string
}

func (a *asked) Permit(ctx context.Context, device string, c fleet.Credentials) error {
	a.log = append(a.log, "ask "+device+" "+c.User)
	select {
	case <-time.After(a.wait):
		return a.deny
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *asked) Settled(device string, c fleet.Credentials, r fleet.LoginAnswer) {
	a.log = append(a.log, fmt.Sprint("settled ", device, " ", c.User, " ", r))
}

// TestPermits: what has not worked is asked for, each permit is settled once,
// and what works costs nothing.
func TestPermits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		b := newBudget(time.Now)
		b.AskFirst(a)
		v, w := fleet.Credentials{User: "v", Version: 1}, fleet.Credentials{User: "w", Version: 2}
		enter := func(c fleet.Credentials) func() {
			t.Helper()
			leave, err := b.Enter(t.Context(), "d", c)
			if err != nil {
				t.Fatal(err)
			}
			return leave
		}
		leave := enter(v)
		b.Refused("d", v)
		leave()
		leave()
		enter(w)() // nothing came back
		leave = enter(w)
		b.Accepted("d", w)
		leave()
		for range 3 { // it works: nobody is asked, and nobody told
			leave = enter(w)
			b.Accepted("d", w)
			leave()
		}
		b.Refused("d", w) // as guard books a kept session that ended
		want := []string{"ask d v", "settled d v 2", "ask d w", "settled d w 0", "ask d w", "settled d w 1", "settled d w 2"}
		if !slices.Equal(a.log, want) {
			t.Errorf("log %q\nwant %q", a.log, want)
		}

		a.deny = errors.New("two were refused")
		if _, err := b.Enter(t.Context(), "d", w); !isCause(err, fleet.CauseLocked) || !errors.Is(err, a.deny) {
			t.Errorf("denied: %v", err)
		}
		a.deny = fleet.Errorf(fleet.CauseDeadline, "no line")
		if _, err := b.Enter(t.Context(), "d", w); !isCause(err, fleet.CauseDeadline) {
			t.Errorf("not answered: %v", err)
		}
		// Who asks too slowly holds nobody up beyond the context, and leaves no turn taken.
		a.deny, a.wait = nil, time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Enter(ctx, "d", w); err == nil || isCause(err, fleet.CauseLocked) {
			t.Errorf("a slow answer: %v", err)
		}
		a.wait = 0
		enter(w)()
	})
}

func isCause(err error, c fleet.Cause) bool {
	ce, ok := errors.AsType[*fleet.CameraError](err)
	return ok && ce.Cause == c
}
