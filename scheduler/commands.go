package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Errors of commands that callers branch on.
var (
	ErrNoAgent  = errors.New("no agent is connected")
	ErrTooMany  = errors.New("too many commands are under way: try again when they have ended")
	ErrNoAnswer = errors.New("the agent did not answer in time: ask again, and look at its log if that does not help")
	ErrLineLost = errors.New("the agent's line was cut meanwhile: whether it was done is not known")
)

// CommandError is what an agent answered in place of a result.
type CommandError struct {
	Agent  fleet.AgentID
	Detail string
}

// Error returns the agent's words.
func (e *CommandError) Error() string { return e.Detail }

const (
	maxCommands      = 256 // under way, over all agents
	maxAgentCommands = 4   // as many as an agent does at a time
	maxCommandTime   = 10 * time.Minute
	progressBuffer   = 64 // an explanation has about twenty steps

	// commandSlack is how long past its deadline an agent may take to answer: it
	// ends the command by its own clock, and tells.
	commandSlack = 3 * time.Second
)

// Command is one thing that an agent is to do once.
type Command struct {
	Kind     string
	Site     fleet.SiteID   // whose agents may do it; not needed with Camera
	Camera   fleet.CameraID // the agent that serves it comes first; 0 = any agent of the site
	Argument any            // becomes JSON
	Within   time.Duration  // how long it may take; at most 10 minutes
}

// CommandOrder is a command on its way to an agent.
type CommandOrder struct {
	ID       string
	Kind     string
	Argument []byte // JSON
	Deadline fleet.Instant
}

// commands are those that are under way.
type commands struct {
	mu      sync.Mutex
	pending map[string]*pending
}

type pending struct {
	link     *Link
	progress chan json.RawMessage // beyond its capacity progress is dropped
	end      chan commandEnd      // capacity 1: there is but one
}

type commandEnd struct {
	result json.RawMessage
	err    error
}

// Do has an agent do a command, and returns its result and who did it. The
// camera's agent is asked, else any that is connected. Progress, if not nil, is
// called from this goroutine. When ctx ends, the agent is told to stop. Errors
// are ErrNotFound, ErrNoAgent, ErrTooMany, ErrNoAnswer, ErrLineLost, a
// *CommandError, and ctx's.
func (s *Scheduler) Do(ctx context.Context, c Command, progress func(json.RawMessage)) (json.RawMessage, fleet.AgentID, error) {
	argument, err := json.Marshal(c.Argument)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", c.Kind, err)
	}
	if c.Within <= 0 || c.Within > maxCommandTime {
		return nil, "", invalid("within", "want between 1s and %s", maxCommandTime)
	}
	p := &pending{progress: make(chan json.RawMessage, progressBuffer), end: make(chan commandEnd, 1)}
	id := newID("cmd")
	if err := s.send(id, p, c, argument); err != nil {
		return nil, "", err
	}
	defer s.commands.forget(id)
	agent := p.link.agent
	s.log.InfoContext(ctx, "command", "command", id, "kind", c.Kind, "agent_id", agent, "camera_id", c.Camera)
	late := time.NewTimer(c.Within + commandSlack)
	defer late.Stop()
	if progress == nil {
		progress = func(json.RawMessage) {}
	}
	for {
		select {
		case v := <-p.progress:
			progress(v)
		case e := <-p.end:
			for len(p.progress) > 0 { // what came before the end
				progress(<-p.progress)
			}
			if ce, ok := errors.AsType[*CommandError](e.err); ok {
				ce.Agent = agent
			}
			return e.result, agent, e.err
		case <-ctx.Done():
			s.cancelCommand(p.link, id)
			return nil, agent, ctx.Err()
		case <-late.C:
			s.cancelCommand(p.link, id)
			return nil, agent, fmt.Errorf("agent %s: %w", agent, ErrNoAnswer)
		}
	}
}

// send picks the agent and queues the command at its link.
func (s *Scheduler) send(id string, p *pending, c Command, argument []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	link, err := s.commandLink(c)
	if err != nil {
		return err
	}
	p.link = link
	if err := s.commands.begin(id, p); err != nil {
		return err
	}
	link.commands = append(link.commands, CommandOrder{ID: id, Kind: c.Kind, Argument: argument, Deadline: fleet.At(time.Now().Add(c.Within))})
	link.wake()
	return nil
}

// commandLink finds who is to do c. s.mu is held.
func (s *Scheduler) commandLink(c Command) (*Link, error) {
	site := c.Site
	if c.Camera != 0 {
		n := s.cams.byID[c.Camera]
		if n == 0 {
			return nil, fmt.Errorf("camera %s: %w", c.Camera, ErrNotFound)
		}
		if a := s.pick(s.targetOf(n), nil); a != nil && a.link != nil {
			return a.link, nil
		}
		site = s.siteAt(n).ID
	}
	at := s.siteIDs[site]
	switch {
	case at == nil:
		return nil, fmt.Errorf("site %q: %w", site, ErrNotFound)
	case len(at.links) == 0:
		return nil, fmt.Errorf("site %s: %w: start one there, or mend its line; `shutterfleet agents ls` lists all", site, ErrNoAgent)
	}
	return at.links[0], nil
}

// cancelCommand tells the agent that nobody waits any more.
func (s *Scheduler) cancelCommand(l *Link, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range l.commands {
		if o.ID == id { // it has not left
			l.commands = append(l.commands[:i], l.commands[i+1:]...)
			return
		}
	}
	l.cancels = append(l.cancels, id)
	l.wake()
}

// Answer takes what the link's agent says of a command. What belongs to none
// that is under way there is dropped.
func (l *Link) Answer(id string, done bool, result []byte, fault string) {
	p := l.s.commands.of(id)
	if p == nil || p.link != l {
		return
	}
	if !done {
		if json.Valid(result) {
			select {
			case p.progress <- result:
			default:
			}
		}
		return
	}
	e := commandEnd{result: result}
	switch {
	case fault != "":
		e = commandEnd{err: &CommandError{Detail: clip(fault, 1000)}}
	case !json.Valid(result):
		e = commandEnd{err: &CommandError{Detail: "the agent's answer is no JSON"}}
	}
	p.finish(e)
}

func (p *pending) finish(e commandEnd) {
	select {
	case p.end <- e:
	default: // it ended before
	}
}

func (c *commands) begin(id string, p *pending) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	same := 0
	for _, o := range c.pending {
		if o.link == p.link {
			same++
		}
	}
	if len(c.pending) >= maxCommands || same >= maxAgentCommands {
		return ErrTooMany
	}
	if c.pending == nil {
		c.pending = map[string]*pending{}
	}
	c.pending[id] = p
	return nil
}

func (c *commands) of(id string) *pending {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending[id]
}

func (c *commands) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// lost ends all commands of a link that is gone.
func (c *commands) lost(l *Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.pending {
		if p.link == l {
			p.finish(commandEnd{err: fmt.Errorf("agent %s: %w", l.agent, ErrLineLost)})
		}
	}
}
