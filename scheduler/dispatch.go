package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// ErrSuperseded ends a Link whose agent has connected again.
var ErrSuperseded = errors.New("the agent connected again elsewhere")

// Instruction is what an agent is told next. One of its parts is set.
type Instruction struct {
	Nonce    uint64
	Fence    uint64
	Expires  fleet.Instant
	Orders   []fleet.Order
	Masks    []MaskNeeded // beside Orders: of their cameras
	Recall   []fleet.Occurrence
	Cameras  *CameraList
	Standing *Standing
	Command  *CommandOrder
	Cancel   string // id of a command that is to end
}

// CameraList is all cameras that an agent serves, with how to reach them.
type CameraList struct {
	Version uint64
	Cameras []fleet.Target
	Site    []fleet.Credentials // to try on devices that are not enrolled yet
}

// Link is one connected agent. Next is called from one goroutine.
type Link struct {
	s     *Scheduler
	box   *agent
	agent fleet.AgentID
	site  fleet.SiteID
	ready chan struct{} // cap 1: there may be something to say
	gone  chan struct{} // closed when another Link took its place

	// Under Scheduler.mu:
	queue    []item
	send     time.Time                     // when the queue is to be sent
	cameras  bool                          // the list must be sent
	standing time.Time                     // when the standing orders must be sent again; zero = they need not
	sent     map[uint64][]fleet.Occurrence // orders by nonce, until stored
	heard    atomic.Int64                  // when the agent last said something, Unix ns; 0 = nobody tells
	told     uint64                        // nonce of the standing orders sent last
	lately   uint64                        // nonce of the list sent last
	listed   uint64                        // and of the one that the agent has taken
	commands []CommandOrder
	cancels  []string // ids of commands whose askers have left
}

type item struct {
	order  fleet.Order
	recall bool
}

// maxInstruction bounds the orders in one instruction: about 40 kB.
const maxInstruction = 1024

// instructionLife is how long an instruction is good for: longer than any clock
// is wrong or any stream stalls, and short enough that a recorded one is dead
// when somebody tries it.
const instructionLife = 10 * time.Minute

// Connect makes the agent one that orders go to. What it may hold already is
// sent again: it takes each order once. The caller ends with Disconnect.
func (s *Scheduler) Connect(ctx context.Context, id fleet.AgentID, hostname, version string) (*Link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	switch {
	case a == nil:
		return nil, fmt.Errorf("agent %s: %w", id, ErrNotFound)
	case a.State != fleet.Approved:
		return nil, fmt.Errorf("agent %s is %s: %w", id, a.State, ErrUnauthorized)
	}
	if _, err := s.tick(ctx); err != nil {
		return nil, err
	}
	b := a.Agent
	b.Hostname, b.Version, b.Seen, b.Connected = cmp.Or(hostname, a.Hostname), cmp.Or(version, a.Version), fleet.At(time.Now()), true
	l := &Link{s: s, box: a, agent: id, site: a.Site, ready: make(chan struct{}, 1), gone: make(chan struct{}), cameras: true, standing: time.Now(), sent: map[uint64][]fleet.Occurrence{}}
	var ch change
	ch.tell(Event{Kind: "agent", Agent: id, Site: a.Site})
	ch.then(func() {
		if a.link != nil {
			close(a.link.gone)
			a.site.links = slices.DeleteFunc(a.site.links, func(l *Link) bool { return l == a.link })
		}
		a.Agent, a.link, a.dead = b, l, false
		s.keepAgent(a)
		a.site.links = append(a.site.links, l)
		for _, n := range s.listed(&a.held, nil) {
			f := s.slots.at(n)
			f.stored = false
			s.dispatch(f)
		}
		a.site.changed() // who takes which camera
		for _, b := range a.site.agents {
			b.dead = false // who is away may hold orders that had nobody to go to
		}
	})
	// Orders that found no agent, and are still worth a try.
	now := fleet.At(time.Now())
	for _, n := range s.listed(&a.site.orphans, func(f *flight) bool { return !f.paused && f.nominal+fleet.Instant(f.deadline) > now }) {
		if tag := s.cams.slots.at(s.slots.at(n).camera).tag; (tag == 0 || a.tags[s.tags[tag-1]]) && (a.Able.Masks || !s.cams.slots.at(s.slots.at(n).camera).masked) {
			ch.move = append(ch.move, move{flight: n, to: a.index})
		}
	}
	if err := s.apply(ctx, &ch); err != nil {
		return nil, err
	}
	l.wake()
	return l, nil
}

// Can tells what the agent is able to do, and which standing orders it holds.
// It is said right after Connect.
func (s *Scheduler) Can(ctx context.Context, l *Link, able fleet.Able) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := l.box
	if !reflect.DeepEqual(a.Able, able) {
		// A commit since Connect has kept the agent as it was before.
		a.can(able)
		s.keepAgent(a)
	}
	var ch change
	now := fleet.At(time.Now())
	for _, n := range s.listed(&a.site.orphans, func(f *flight) bool { return !f.paused && f.nominal+fleet.Instant(f.deadline) > now }) {
		if to := s.pick(s.targetOf(s.slots.at(n).camera), nil); to != nil {
			ch.move = append(ch.move, move{flight: n, to: to.index})
		}
	}
	if !a.Able.Masks { // an older build took the place of the one that has them
		s.takeAway(&ch, a, now, func(f *flight) bool { return s.cams.slots.at(f.camera).masked })
	}
	a.site.changed()
	if len(ch.move) == 0 {
		return nil
	}
	return s.apply(ctx, &ch)
}

// Disconnect says that the link's stream has ended. After a clean end its
// undue orders go to another agent of the site at once.
func (s *Scheduler) Disconnect(ctx context.Context, l *Link, clean bool) {
	defer s.commands.lost(l) // once nobody can be given its link any more
	s.mu.Lock()
	defer s.mu.Unlock()
	a := l.box
	if a.link != l {
		return // superseded
	}
	s.drop(a)
	now := time.Now()
	a.lost = now.UnixNano()
	if heard := l.heard.Load(); heard != 0 && heard < a.lost {
		a.lost = heard // a cable that was pulled breaks no stream: it was silent before
	}
	a.Connected, a.Seen = false, fleet.At(now)
	s.keepAgent(a)
	s.hub.publish([]Event{{Kind: "agent", Agent: a.ID, Site: a.Site}})
	if !clean {
		return
	}
	var ch change
	if s.handOver(&ch, a, fleet.At(now)); len(ch.move) == 0 {
		return
	}
	if err := s.apply(ctx, &ch); err != nil {
		a.dead = false // the sweep tries again, and tells of the store's fault
	}
}

// Alive says that the agent was heard just now.
func (l *Link) Alive(now time.Time) { l.heard.Store(now.UnixNano()) }

// drop takes the agent's link away.
func (s *Scheduler) drop(a *agent) {
	a.site.links = slices.DeleteFunc(a.site.links, func(l *Link) bool { return l == a.link })
	a.link = nil
	s.listTaken()
	a.site.changed()
}

// Heard keeps what an agent says of itself.
func (s *Scheduler) Heard(l *Link, held, pending uint64, load fleet.Load) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := l.box
	a.Seen, a.Held, a.Pending, a.Load = fleet.At(time.Now()), held, pending, load
	if w := weigh(a.weight, load.Capacity); w != a.weight {
		a.weight = w
		a.site.changed()
	}
}

// weigh turns a measured capacity into a share. It follows only when the
// capacity has changed by a quarter: cameras that move from agent to agent lose
// the connections that are open to them.
func weigh(before, capacity float64) float64 {
	if capacity <= 0 || before > 0 && capacity > before*0.75 && capacity < before*1.25 {
		return before
	}
	return capacity
}

// handOn moves the undue orders of silent agents to others of their site.
func (s *Scheduler) handOn(ctx context.Context, t time.Time) error {
	now := fleet.At(t)
	var ch change
	for _, a := range s.boxes {
		if a.link != nil || a.dead || t.UnixNano()-a.lost < s.opts.AgentDead.Nanoseconds() {
			continue
		}
		s.handOver(&ch, a, now)
		ch.tell(Event{Kind: "agent", Agent: a.ID, Site: a.Site})
	}
	if s.swept++; s.swept%60 == 0 {
		for o, until := range s.withdrawn {
			if until < now {
				delete(s.withdrawn, o)
			}
		}
		for o := range s.early {
			if o.Nominal <= s.through {
				delete(s.early, o)
			}
		}
		s.unpause(&ch, now)
	}
	if len(ch.move) == 0 && len(ch.Resume) == 0 {
		return nil
	}
	err := s.apply(ctx, &ch)
	if err != nil {
		for _, a := range s.boxes { // look again
			a.dead = false
		}
	}
	return err
}

// handOver takes the agent for dead: its undue orders go to others of its site.
func (s *Scheduler) handOver(ch *change, a *agent, now fleet.Instant) {
	a.dead = true
	for _, n := range s.listed(&a.held, func(f *flight) bool { return f.nominal+fleet.Instant(f.start) > now }) {
		if to := s.best(s.targetOf(s.slots.at(n).camera), a, true); to != nil {
			ch.move = append(ch.move, move{flight: n, to: to.index})
		}
	}
}

// dispatch queues f for its agent, if that is connected.
func (s *Scheduler) dispatch(f *flight) {
	if f.agent == 0 || f.paused {
		return
	}
	if l := s.boxes[f.agent-1].link; l != nil {
		o := s.order(f)
		l.enqueue(item{order: o}, time.Until(o.Start().Time())/gatherPart)
	}
}

func (s *Scheduler) recall(f *flight) {
	if f.agent == 0 {
		return
	}
	if l := s.boxes[f.agent-1].link; l != nil {
		l.enqueue(item{order: s.order(f), recall: true}, 0)
	}
}

// Orders wait for others to share a signature and a message with, for a part of
// the time that is left to their start and at most gatherMost.
const (
	gatherPart = 20
	gatherMost = 500 * time.Millisecond
)

// enqueue puts v behind what waits, which is sent within the given time.
func (l *Link) enqueue(v item, within time.Duration) {
	at := time.Now().Add(max(0, min(within, gatherMost)))
	first := len(l.queue) == 0
	if l.queue = append(l.queue, v); first || at.Before(l.send) {
		l.send = at
		l.wake()
	} else if len(l.queue) == maxInstruction {
		l.wake()
	}
}

// camerasChanged sends the site's agents their list again.
func (s *Scheduler) camerasChanged(id fleet.SiteID) {
	for _, l := range s.siteNamed(id).links {
		l.cameras = true
		l.wake()
	}
}

func (l *Link) wake() {
	select {
	case l.ready <- struct{}{}:
	default:
	}
}

// Agent returns whose link it is.
func (l *Link) Agent() fleet.AgentID { return l.agent }

// Site returns where the agent is.
func (l *Link) Site() fleet.SiteID { return l.site }

// Next waits for the next instruction. It fails with ErrSuperseded once the
// agent has another link.
func (l *Link) Next(ctx context.Context) (Instruction, error) {
	for {
		in, ok, wait := l.take()
		if ok {
			return in, nil
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return Instruction{}, ctx.Err()
		case <-l.gone:
			return Instruction{}, ErrSuperseded
		case <-l.ready:
		case <-due:
		}
	}
}

// take returns what is to be said now, or how long to wait for what gathers; 0
// when nothing does.
func (l *Link) take() (in Instruction, ok bool, wait time.Duration) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	standing := !l.standing.IsZero() && !now.Before(l.standing)
	orders := len(l.queue) >= maxInstruction || len(l.queue) > 0 && !now.Before(l.send)
	asked := len(l.commands)+len(l.cancels) > 0
	if l.box.link != l || !l.cameras && !standing && !orders && !asked {
		if l.box.link != l {
			return in, false, 0
		}
		if len(l.queue) > 0 {
			wait = l.send.Sub(now)
		}
		if d := l.standing.Sub(now); !l.standing.IsZero() && (wait == 0 || d < wait) {
			wait = d
		}
		return in, false, wait
	}
	s.nonce++
	in.Nonce, in.Fence, in.Expires = s.nonce, s.epoch, fleet.At(now.Add(instructionLife))
	switch {
	case l.cameras:
		l.cameras = false
		in.Cameras = s.cameraList(l.box, s.nonce)
		l.lately = s.nonce
		return in, true, 0
	case len(l.cancels) > 0: // they make room for others
		in.Cancel, l.cancels = l.cancels[0], l.cancels[1:]
		return in, true, 0
	case len(l.commands) > 0: // behind the cameras that they may be about
		o := l.commands[0]
		in.Command, l.commands = &o, l.commands[1:]
		return in, true, 0
	case standing: // before orders: they say how those are to be done
		l.standing = time.Time{}
		l.told = s.nonce
		in.Standing = s.standing(l.box, s.nonce)
		return in, true, 0
	}
	recall := l.queue[0].recall
	n := 0
	for n < len(l.queue) && n < maxInstruction && l.queue[n].recall == recall {
		o := l.queue[n].order
		if recall {
			in.Recall = append(in.Recall, o.Occurrence)
		} else if l.box.Able.Masks || !s.cams.slots.at(s.cams.byID[o.Camera]).masked { // else it is taken back behind it
			in.Orders = append(in.Orders, o)
			l.sent[in.Nonce] = append(l.sent[in.Nonce], o.Occurrence)
		}
		n++
	}
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	in.Masks = s.masksOf(in.Orders)
	return in, true, 0
}

// Stored says that the agent has made the instruction durable.
func (l *Link) Stored(nonce uint64) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range l.sent[nonce] {
		if n := s.flightOf(o); n != 0 && s.slots.at(n).agent == l.box.index {
			s.slots.at(n).stored = true
		}
	}
	delete(l.sent, nonce)
	if nonce == l.lately {
		l.listed = nonce
		s.listTaken()
	}
	if nonce == l.told && !l.box.Standing {
		// From now on its orders stay its own when it is cut off.
		l.box.Standing = true
		s.keepAgent(l.box)
	}
}

// keepAgent makes what is known of the agent durable with the next commit of
// the wheel, so that thousands that come back at once cost one.
func (s *Scheduler) keepAgent(a *agent) {
	s.held.Agents = append(s.held.Agents, a.Agent)
	s.kick() // it may be long in coming
}

// cameraList is what the agent may serve now: what the others of its site may,
// but for masked cameras, if it knows no masks.
func (s *Scheduler) cameraList(a *agent, version uint64) *CameraList {
	at := a.site
	list := &CameraList{Version: version, Site: s.credentialsFor(at.ID, 0), Cameras: make([]fleet.Target, 0, at.cameras)}
	for n := at.first; n != 0; n = s.cams.slots.at(n).next {
		if !s.cams.slots.at(n).approved && len(s.disputes) == 0 || s.cams.slots.at(n).masked && !a.Able.Masks {
			continue
		}
		c := s.cams.get(n)
		same, apart, known := s.decisions(at.ID, c.Device)
		// An agent tells a disputed device from its rivals by the centre's word
		// for it, whether it is photographed or not.
		if c.State != fleet.Approved && (!known || c.State == fleet.Retired || c.State == fleet.Ignored) {
			continue
		}
		list.Cameras = append(list.Cameras, fleet.Target{
			Camera: c.ID, Device: c.Device, Source: c.Source, Endpoints: c.Endpoints, Credentials: s.credentialsFor(at.ID, c.ID), Same: same, Apart: apart,
			Mask: s.maskFor(c.ID),
		})
	}
	slices.SortFunc(list.Cameras, func(a, b fleet.Target) int { return cmp.Compare(a.Camera, b.Camera) })
	return list
}
