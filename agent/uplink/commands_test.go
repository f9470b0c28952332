package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/agent/uplink/uplinktest"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// doer counts what it does; the kind "wait" ends with its context alone, and
// "linger" some time after that.
type doer struct {
	linger chan struct{}

	mu   sync.Mutex
	done map[string]int // by argument
}

func (d *doer) Do(ctx context.Context, kind string, argument []byte, progress func([]byte)) ([]byte, error) {
	d.mu.Lock()
	d.done[string(argument)]++
	d.mu.Unlock()
	switch kind {
	case "echo":
		progress([]byte(`"half"`))
		return argument, nil
	case "wait":
		<-ctx.Done()
		return nil, fmt.Errorf("ended: %w", context.Cause(ctx))
	case "linger":
		<-ctx.Done()
		<-d.linger
		return nil, ctx.Err()
	case "large":
		return make([]byte, 2<<20), nil
	}
	return nil, uplink.ErrUnknownCommand
}

func (d *doer) times(argument string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.done[argument]
}

func command(id, kind, argument string, within time.Duration) *wire.Instruction {
	return &wire.Instruction{Body: &wire.Instruction_Command{Command: &wire.Command{
		Id: id, Kind: kind, Argument: []byte(argument), DeadlineMs: time.Now().Add(within).UnixMilli(),
	}}}
}

// ended returns the last result of a command.
func ended(s uplinktest.State, id string) *wire.CommandResult {
	for _, r := range s.Results {
		if r.GetId() == id && r.GetDone() {
			return r
		}
	}
	return nil
}

func cancel(id string) *wire.Instruction {
	return &wire.Instruction{Body: &wire.Instruction_Cancel{Cancel: &wire.CommandCancel{Id: id}}}
}

func awaitEnds(b *bench, ids ...string) uplinktest.State {
	b.t.Helper()
	return b.await("the end of "+strings.Join(ids, ", "), func(s uplinktest.State) bool {
		return !slices.ContainsFunc(ids, func(id string) bool { return ended(s, id) == nil })
	})
}

// TestCommands: a command is done once, told while it goes on, and ended by its
// deadline or when its asker leaves; too many, too large and unknown ones are
// refused, each with its reason.
func TestCommands(t *testing.T) {
	b := newBench(t)
	b.serve()
	d := &doer{done: map[string]int{}}
	b.connect(func(o *uplink.Options) { o.Commands = d })
	b.await("it is connected", func(s uplinktest.State) bool { return s.Connected })

	b.Push(command("c1", "echo", `"x"`, time.Minute))
	s := b.await("the echo", func(s uplinktest.State) bool { return ended(s, "c1") != nil })
	if first := s.Results[0]; first.GetDone() || string(first.GetResult()) != `"half"` {
		t.Errorf("the first result is %v, want progress", first)
	}
	if r := ended(s, "c1"); string(r.GetResult()) != `"x"` || r.GetError() != "" {
		t.Errorf("the result is %v", r)
	}
	b.Push(command("c1", "echo", `"x"`, time.Minute)) // under another nonce
	b.Push(command("late", "echo", `"late"`, -time.Second))
	b.Push(command("new", "dance", `"new"`, time.Minute))
	b.Push(command("large", "large", `"large"`, time.Minute))
	awaitEnds(b, "late", "new", "large")
	b.Push(command("left", "wait", `"left"`, time.Minute))
	for i := range 4 {
		b.Push(command(fmt.Sprint("many", i), "wait", `"many"`, time.Minute))
	}
	awaitEnds(b, "many3")
	for _, id := range []string{"left", "nobody", "many0", "many1", "many2"} {
		b.Push(cancel(id))
	}
	awaitEnds(b, "left", "many0", "many1", "many2")
	// On a busy machine it may take longer to come than it may last.
	short := ""
	for within := 300 * time.Millisecond; short == "" || strings.Contains(ended(s, short).GetError(), "after its deadline"); within *= 2 {
		short = "short" + within.String()
		b.Push(command(short, "wait", `"short"`, within))
		s = awaitEnds(b, short)
	}
	for id, want := range map[string]string{
		"late": "after its deadline", "new": "update it", "large": "at most", short: "deadline exceeded", "left": "canceled", "many0": "canceled", "many3": "busy",
	} {
		if r := ended(s, id); !strings.Contains(r.GetError(), want) || len(r.GetResult()) > 0 {
			t.Errorf("%s ended with %v, want %q", id, r, want)
		}
	}
	if n := d.times(`"x"`); n != 1 {
		t.Errorf("one id was done %d times", n)
	}
	if n := d.times(`"late"`); n != 0 {
		t.Error("a command was done after its deadline")
	}
	if s.Unstored != 0 {
		t.Errorf("%d instructions are not acknowledged", s.Unstored)
	}
}

// TestCancelledCommandsMakeRoom: the centre counts a command no more once its
// asker has left, so the next one is done though the agent has not got out of
// the first one yet.
func TestCancelledCommandsMakeRoom(t *testing.T) {
	b := newBench(t)
	b.serve()
	d := &doer{done: map[string]int{}, linger: make(chan struct{})}
	b.connect(func(o *uplink.Options) { o.Commands = d })
	t.Cleanup(func() { close(d.linger) }) // before the line is waited for
	b.await("it is connected", func(s uplinktest.State) bool { return s.Connected })
	for i := range 4 {
		b.Push(command(fmt.Sprint("old", i), "linger", `"old"`, time.Minute))
	}
	b.Push(command("more", "echo", `"more"`, time.Minute))
	if r := ended(awaitEnds(b, "more"), "more"); !strings.Contains(r.GetError(), "busy") {
		t.Errorf("the fifth ended with %v", r)
	}
	b.Push(cancel("old2"))
	b.Push(command("next", "echo", `"next"`, time.Minute))
	if r := ended(awaitEnds(b, "next"), "next"); r.GetError() != "" {
		t.Errorf("behind a cancelled one it ended with %v", r)
	}
}

// TestCommandsAreNotRepeated: a cut ends a command, and a centre that sends it
// again after the cut, or after a restart of the agent, has it done no second
// time.
func TestCommandsAreNotRepeated(t *testing.T) {
	b := newBench(t)
	cut := b.serve()
	d := &doer{done: map[string]int{}}
	stop := b.connect(func(o *uplink.Options) { o.Commands = d })
	b.await("it is connected", func(s uplinktest.State) bool { return s.Connected })
	b.Push(command("c1", "wait", `"x"`, time.Minute))
	b.await("it is taken", func(s uplinktest.State) bool { return s.Unstored == 0 })
	cut()
	stop()
	b.serve()
	b.connect(func(o *uplink.Options) { o.Commands = d })
	b.await("it is connected again", func(s uplinktest.State) bool { return s.Connected && len(s.Hellos) > 1 })
	b.Push(command("c1", "wait", `"x"`, time.Minute))
	b.Push(command("c2", "echo", `"y"`, time.Minute))
	s := b.await("the next one", func(s uplinktest.State) bool { return ended(s, "c2") != nil })
	if n := d.times(`"x"`); n != 1 || ended(s, "c1") != nil {
		t.Errorf("it was done %d times; the second asker was told %v", n, ended(s, "c1"))
	}
}

// TestPermits: the question waits for the line and for its answer, no longer
// than it may, and what was not used is given back.
func TestPermits(t *testing.T) {
	b := newBench(t)
	asked, leave := context.WithCancel(b.ctx) // who asks leaves once the centre has the question
	defer leave()
	b.Permits = func(a *wire.PermitAsk) *wire.PermitAnswer {
		switch a.GetDevice() {
		case "good":
			return &wire.PermitAnswer{Granted: true}
		case "silent":
			leave()
			return nil
		}
		return &wire.PermitAnswer{Reason: "no, store it again"}
	}
	short := func(d time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(b.ctx, d)
		t.Cleanup(cancel)
		return ctx
	}
	cut := b.serve()
	cut()
	b.connect(nil)
	if _, err := b.line.Permit(short(50*time.Millisecond), "good", 1, false); !errors.Is(err, uplink.ErrNoAnswer) {
		t.Errorf("without a line: %v", err)
	}
	b.serve()
	permit, err := b.line.Permit(short(20*time.Second), "good", 1, false) // waits for the line
	if err != nil || permit == 0 {
		t.Fatalf("permit %d: %v", permit, err)
	}
	b.line.Settle(permit, "good", 1, 1)
	_, err = b.line.Permit(short(20*time.Second), "bad", 1, false)
	if denied, ok := errors.AsType[*uplink.DeniedError](err); !ok || denied.Reason != "no, store it again" {
		t.Errorf("denied: %v", err)
	}
	if _, err := b.line.Permit(asked, "silent", 1, false); !errors.Is(err, uplink.ErrNoAnswer) {
		t.Errorf("a silent centre: %v", err)
	}
	s := b.await("both are settled", func(s uplinktest.State) bool { return len(s.Settled) == 2 })
	if a, b := s.Settled[0], s.Settled[1]; a.GetPermit() != permit || a.GetAnswer() != wire.LoginAnswer_LOGIN_ACCEPTED ||
		b.GetDevice() != "silent" || b.GetPermit() == 0 || b.GetAnswer() != wire.LoginAnswer_LOGIN_UNUSED {
		t.Errorf("settled %v", s.Settled)
	}
}

// TestOlderCentre: a centre that grants no permits says so by its silence.
func TestOlderCentre(t *testing.T) {
	b := newBench(t)
	b.serve()
	b.connect(nil)
	if _, err := b.line.Permit(b.ctx, "any", 1, false); !errors.Is(err, uplink.ErrNoPermits) {
		t.Errorf("%v, want %v", err, uplink.ErrNoPermits)
	}
}
