package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// ErrSuperseded ends a Link whose agent has connected again.
var ErrSuperseded = errors.New("the agent connected again elsewhere")

// Instruction is what an agent is told next. One of its parts is set.
type Instruction struct {
	Nonce   uint64
	Fence   uint64
	Expires fleet.Instant
	Orders  []fleet.Order
	Recall  []fleet.Occurrence
	Cameras *CameraList
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
	agent fleet.AgentID
	site  fleet.SiteID
	ready chan struct{} // cap 1: there may be something to say
	gone  chan struct{} // closed when another Link took its place

	// Under Scheduler.mu:
	queue   []item
	cameras bool                          // the list must be sent
	sent    map[uint64][]fleet.Occurrence // orders by nonce, until stored
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
	b := *a
	b.Hostname, b.Version, b.Seen, b.Connected = cmp.Or(hostname, a.Hostname), cmp.Or(version, a.Version), fleet.At(time.Now()), true
	l := &Link{s: s, agent: id, site: a.Site, ready: make(chan struct{}, 1), gone: make(chan struct{}), cameras: true, sent: map[uint64][]fleet.Occurrence{}}
	ch := change{Batch: store.Batch{Agents: []fleet.Agent{b}}}
	ch.tell(Event{Kind: "agent", Agent: id, Site: a.Site})
	ch.then(func() {
		if old := s.links[id]; old != nil {
			close(old.gone)
		}
		*a = b
		s.links[id] = l
		delete(s.lost, id)
		for _, f := range s.sorted(func(f *flight) bool { return f.Agent == id }) {
			f.stored = false
			s.dispatch(f)
		}
	})
	// Orders that found no agent, and are still worth a try.
	now := fleet.At(time.Now())
	for _, f := range s.sorted(func(f *flight) bool { return f.Agent == "" && f.site == a.Site && f.Deadline > now }) {
		s.move(&ch, f, id)
	}
	if err := s.apply(ctx, &ch); err != nil {
		return nil, err
	}
	l.wake()
	return l, nil
}

// sorted lists flights by nominal time.
func (s *Scheduler) sorted(keep func(*flight) bool) (out []*flight) {
	for _, f := range s.flights {
		if keep(f) {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b *flight) int { return a.Occurrence.Compare(b.Occurrence) })
	return out
}

// Disconnect says that the link's stream has ended. After a clean end its
// undue orders go to another agent of the site at once.
func (s *Scheduler) Disconnect(ctx context.Context, l *Link, clean bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links[l.agent] != l {
		return // superseded
	}
	delete(s.links, l.agent)
	now := time.Now()
	s.lost[l.agent] = now
	if clean {
		s.lost[l.agent] = now.Add(-s.opts.AgentDead)
	}
	a := s.agents[l.agent]
	a.Connected, a.Seen = false, fleet.At(now)
	s.hub.publish([]Event{{Kind: "agent", Agent: l.agent, Site: l.site}})
}

// Heard keeps what an agent says of itself.
func (s *Scheduler) Heard(l *Link, held, pending uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.agents[l.agent]; a != nil {
		a.Seen, a.Held, a.Pending = fleet.At(time.Now()), held, pending
	}
}

// pick chooses the agent of the site that takes the camera's orders: the same
// one as long as the set of connected agents stays (rendezvous hashing).
func (s *Scheduler) pick(site fleet.SiteID, camera fleet.CameraID) (best fleet.AgentID) {
	var most uint64
	for id, l := range s.links {
		if l.site != site {
			continue
		}
		if h := fleet.Hash(camera, fleet.ScheduleIDOf(string(id)), 1); best == "" || h > most {
			best, most = id, h
		}
	}
	return best
}

// dispatch queues f for its agent, if that is connected.
func (s *Scheduler) dispatch(f *flight) {
	if l := s.links[f.Agent]; l != nil {
		o := f.Order
		o.Fence = s.epoch
		l.queue = append(l.queue, item{order: o})
		l.wake()
	}
}

func (s *Scheduler) recall(f *flight) {
	if l := s.links[f.Agent]; l != nil {
		l.queue = append(l.queue, item{order: f.Order, recall: true})
		l.wake()
	}
}

// camerasChanged sends the site's agents their list again.
func (s *Scheduler) camerasChanged(site fleet.SiteID) {
	for _, l := range s.links {
		if l.site == site {
			l.cameras = true
			l.wake()
		}
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
		if in, ok := l.take(); ok {
			return in, nil
		}
		select {
		case <-ctx.Done():
			return Instruction{}, ctx.Err()
		case <-l.gone:
			return Instruction{}, ErrSuperseded
		case <-l.ready:
		}
	}
}

func (l *Link) take() (in Instruction, ok bool) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links[l.agent] != l || !l.cameras && len(l.queue) == 0 {
		return in, false
	}
	s.nonce++
	in.Nonce, in.Fence, in.Expires = s.nonce, s.epoch, fleet.At(time.Now().Add(instructionLife))
	if l.cameras {
		l.cameras = false
		in.Cameras = s.cameraList(l.site, s.nonce)
		return in, true
	}
	recall := l.queue[0].recall
	n := 0
	for n < len(l.queue) && n < maxInstruction && l.queue[n].recall == recall {
		o := l.queue[n].order
		if recall {
			in.Recall = append(in.Recall, o.Occurrence)
		} else {
			in.Orders = append(in.Orders, o)
			l.sent[in.Nonce] = append(l.sent[in.Nonce], o.Occurrence)
		}
		n++
	}
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	return in, true
}

// Stored says that the agent has made the instruction durable.
func (l *Link) Stored(nonce uint64) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range l.sent[nonce] {
		if f := s.flights[o]; f != nil && f.Agent == l.agent {
			f.stored = true
		}
	}
	delete(l.sent, nonce)
}

// cameraList is what agents of the site serve now.
func (s *Scheduler) cameraList(site fleet.SiteID, version uint64) *CameraList {
	list := &CameraList{Version: version, Site: s.credentialsFor(site, 0)}
	for _, c := range s.cameras {
		if c.Site == site && c.State == fleet.Approved {
			list.Cameras = append(list.Cameras, fleet.Target{
				Camera: c.ID, Device: c.Device, Source: c.Source, Endpoints: c.Endpoints, Credentials: s.credentialsFor(site, c.ID),
			})
		}
	}
	slices.SortFunc(list.Cameras, func(a, b fleet.Target) int { return cmp.Compare(a.Camera, b.Camera) })
	return list
}
