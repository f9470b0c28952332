package uplink

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

const (
	// maxRunning is how many commands an agent does at a time: they are an
	// operator's questions, beside the work that it is there for.
	maxRunning = 4

	maxCommandID = 64
	maxArgument  = 64 << 10
	maxProgress  = 64 << 10
	maxResult    = 1 << 20

	// maxCommandTime bounds a command whatever its deadline says.
	maxCommandTime = 15 * time.Minute
)

// ErrUnknownCommand says that this build does not know a kind of command.
var ErrUnknownCommand = errors.New("this agent does not know the command: update it")

// Doer does commands. It calls progress, from one goroutine, with JSON that is
// told to the asker at once, and returns the result's JSON. It ends with ctx,
// which ends with the command's deadline, with the stream that brought it, or
// when its asker has left.
type Doer interface {
	Do(ctx context.Context, kind string, argument []byte, progress func(json []byte)) (json []byte, err error)
}

// commands are those of one stream that are under way.
type commands struct {
	mu      sync.Mutex
	running map[string]context.CancelFunc
}

// begin notes a command; false when there are as many as may be.
func (c *commands) begin(id string, cancel context.CancelFunc) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.running) >= maxRunning {
		return false
	}
	if c.running == nil {
		c.running = make(map[string]context.CancelFunc)
	}
	c.running[id] = cancel
	return true
}

func (c *commands) end(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cancel := c.running[id]; cancel != nil {
		cancel()
		delete(c.running, id)
	}
}

// cancel ends a command early. One that is not under way has ended already. It
// makes room at once: the centre counts it no more, and may send another while
// this one is still on its way out.
func (c *commands) cancel(id string) { c.end(id) }

// command remembers a command's id durably, and begins it beside what else the
// stream brings. One that was taken before is neither done nor answered again:
// its answer went to who asked.
func (l *link) command(ctx context.Context, c *wire.Command, nonce, fence uint64) error {
	id, kind := c.GetId(), c.GetKind()
	if id == "" || len(id) > maxCommandID || len(kind) > maxCommandID || len(c.GetArgument()) > maxArgument {
		return errors.New("command: its id, kind or argument is too long, or it has no id")
	}
	now := fleet.At(l.u.clock.Now())
	if err := l.u.store.TakeCommand(ctx, id, fleet.Instant(c.GetDeadlineMs()), now, nonce, fence); err != nil {
		if errors.Is(err, ErrTaken) {
			l.u.log.WarnContext(ctx, "command came again, it is not done again", "command", id, "kind", kind)
			return nil
		}
		return errors.Join(err, l.result(id, nil, fmt.Errorf("the agent's disk refuses, and a command must be remembered before it is done: %w", err)))
	}
	left := time.Duration(fleet.Instant(c.GetDeadlineMs())-now) * time.Millisecond
	switch {
	case left <= 0:
		return l.result(id, nil, fmt.Errorf("the command came %v after its deadline", -left))
	case left > maxCommandTime:
		left = maxCommandTime
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	if !l.commands.begin(id, cancel) {
		cancel()
		return l.result(id, nil, fmt.Errorf("the agent is busy with %d other commands: try again when they have ended", maxRunning))
	}
	l.work.Go(func() error {
		defer l.commands.end(id)
		l.u.log.InfoContext(ctx, "command", "command", id, "kind", kind)
		out, err := l.do(ctx, id, c)
		if err != nil {
			l.u.log.WarnContext(ctx, "command failed", "command", id, "kind", kind, "err", err)
		}
		return l.result(id, out, err)
	})
	return nil
}

func (l *link) do(ctx context.Context, id string, c *wire.Command) ([]byte, error) {
	if l.u.opts.Commands == nil {
		return nil, fmt.Errorf("%q: %w", c.GetKind(), ErrUnknownCommand)
	}
	out, err := l.u.opts.Commands.Do(ctx, c.GetKind(), c.GetArgument(), func(json []byte) {
		if ctx.Err() != nil || len(json) > maxProgress {
			return
		}
		// A stream that is cut ends the command by its context.
		_ = l.say(&wire.FromAgent{Body: &wire.FromAgent_CommandResult{CommandResult: &wire.CommandResult{Id: id, Result: json}}})
	})
	if err == nil && len(out) > maxResult {
		return nil, fmt.Errorf("the result has %d bytes, and at most %d may be told", len(out), maxResult)
	}
	return out, err
}

// result says how a command ended.
func (l *link) result(id string, out []byte, err error) error {
	m := &wire.CommandResult{Id: id, Done: true, Result: out}
	if err != nil {
		m.Result, m.Error = nil, err.Error()
	}
	return l.say(&wire.FromAgent{Body: &wire.FromAgent_CommandResult{CommandResult: m}})
}
