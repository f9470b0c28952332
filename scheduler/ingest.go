package scheduler

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// report is what one agent said at once.
type report struct {
	agent    fleet.AgentID
	captures []fleet.Capture
	done     chan error // cap 1: the committer never waits for the reporter
	refused  error      // of this report alone
}

// Complete makes outcomes durable that an agent reports. When it returns nil,
// all of cs are accounted for: those whose order was in flight are stored,
// others were stored before or taken back, and change nothing.
func (s *Scheduler) Complete(ctx context.Context, agent fleet.AgentID, cs []fleet.Capture) error {
	r := &report{agent: agent, captures: cs, done: make(chan error, 1)}
	select {
	case s.inbox <- r:
	case <-ctx.Done():
		return fmt.Errorf("complete %d captures: %w", len(cs), ctx.Err())
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("complete %d captures: %w", len(cs), ctx.Err())
	}
}

// maxGroup bounds the captures of one commit: enough to share a sync among all
// that wait, small enough that the first of them does not wait long.
const maxGroup = 8192

// gather is how long the first report waits for others.
const gather = 10 * time.Millisecond

// fullGroup is large enough not to wait for more; what has come by then goes
// along.
const fullGroup = 1024

// takeIn commits all reports that wait as one group.
func (s *Scheduler) takeIn(ctx context.Context) error {
	for {
		var group []*report
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.inbox:
			group = append(group, r)
		}
		// Reports that come within a moment share one commit: at a hundred
		// commits a second a disk and a processor are still mostly idle.
		for n, deadline := len(group[0].captures), time.After(gather); n < fullGroup && deadline != nil; {
			select {
			case r := <-s.inbox:
				group = append(group, r)
				n += len(r.captures)
			case <-deadline:
				deadline = nil
			case <-ctx.Done():
				deadline = nil
			}
		}
		for more, n := true, 0; more && n < maxGroup; {
			select {
			case r := <-s.inbox:
				group = append(group, r)
				n += len(r.captures)
			default:
				more = false
			}
		}
		s.mu.Lock()
		err := s.complete(ctx, group)
		s.mu.Unlock()
		for _, r := range group {
			r.done <- cmp.Or(err, r.refused)
		}
		if errors.Is(err, store.ErrTorn) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "captures could not be stored", "err", err)
		}
	}
}

func (s *Scheduler) complete(ctx context.Context, group []*report) error {
	ch := &s.taking
	*ch = change{Batch: store.Batch{Captures: ch.Captures[:0]}, flights: ch.flights[:0]}
	// Agents on standing orders may be ahead of the wheel by a tick.
	now, err := s.tick(ctx)
	if err != nil {
		return err
	}
	clear(s.taken)
	for _, r := range group {
		a := s.agents[r.agent]
		if a == nil {
			continue
		}
		if a.State != fleet.Approved { // its orders are missed, or another's
			r.refused = fmt.Errorf("agent %s is %s: %w", r.agent, a.State, ErrUnauthorized)
			continue
		}
		if r.refused = s.ahead(r.captures); r.refused != nil {
			continue
		}
		for i := range r.captures {
			c := &r.captures[i]
			n := s.flightOf(c.Occurrence)
			if n == 0 || s.taken[n] {
				if _, ok := s.withdrawn[c.Occurrence]; ok {
					continue
				}
				if camera := s.cams.byID[c.Camera]; camera != 0 && s.siteAt(camera) == a.site {
					if ch.Repeats == nil {
						ch.Repeats = map[fleet.SiteID]uint64{}
					}
					ch.Repeats[a.Site]++
				}
				continue
			}
			f := s.slots.at(n)
			if s.siteAt(f.camera) != a.site {
				s.log.WarnContext(ctx, "outcome of another site's camera refused", "agent_id", r.agent, "camera_id", c.Camera)
				continue
			}
			if !s.hides(c) {
				if f.agent != 0 && f.agent != a.index {
					continue // who has the order now hides what is to be hidden, and will tell
				}
				s.withhold(ctx, a, c)
			}
			s.taken[n] = true
			if to := s.elsewhere(f, c, a, now); to != nil {
				ch.move = append(ch.move, move{flight: n, to: to.index})
				ch.then(func() { s.slots.at(n).moved = true })
				continue
			}
			c.Agent = r.agent
			ch.Captures = append(ch.Captures, *c)
			ch.flights = append(ch.flights, n)
		}
	}
	if len(ch.Captures) == 0 && len(ch.Repeats) == 0 && len(ch.move) == 0 {
		return nil
	}
	return s.apply(ctx, ch)
}

// ahead refuses outcomes of occurrences that are not issued yet: acknowledged,
// they would be lost. Only an agent whose clock is wrong by more than the lead
// has any; it keeps them and reports again.
func (s *Scheduler) ahead(cs []fleet.Capture) error {
	for i := range cs {
		o := &cs[i].Occurrence
		if o.Nominal <= s.through {
			continue
		}
		if r := s.scheduleInForce(o.Schedule); r != nil && o.Nominal > s.through.Add(r.lead) {
			return fmt.Errorf("outcome of %s: it is %v ahead: the agent's clock is wrong", o, o.Nominal.Sub(s.through))
		}
	}
	return nil
}

// elsewhereTime is what another agent needs at the least to try.
const elsewhereTime = fleet.Instant(time.Second / time.Millisecond)

// elsewhere returns the agent that tries once more what another has failed at,
// if the schedule says so and there is one.
func (s *Scheduler) elsewhere(f *flight, c *fleet.Capture, a *agent, now fleet.Instant) *agent {
	if c.Outcome != fleet.Failed || f.moved || !s.revs[f.rev].cal.Retry().Elsewhere || f.nominal+fleet.Instant(f.deadline)-now < elsewhereTime {
		return nil
	}
	return s.best(s.targetOf(f.camera), a, true)
}

// maxThumbnail bounds a thumbnail: 320 pixels wide is about 15 kB.
const maxThumbnail = 256 << 10

// PutThumbnail keeps a camera's latest frame. A thumbnail that is none, or of
// another site's camera, is dropped; so is one that was made under another mask
// than the camera has now, or had when the frame was taken.
func (s *Scheduler) PutThumbnail(ctx context.Context, agent fleet.AgentID, camera fleet.CameraID, at fleet.Instant, mask fleet.MaskSum, jpeg []byte) error {
	s.showing.RLock()
	defer s.showing.RUnlock()
	s.mu.Lock()
	a, n := s.agents[agent], s.cams.byID[camera]
	ok := a != nil && n != 0 && a.site == s.siteAt(n)
	hidden := mask == s.maskSum(camera) && s.masks[camera].allows(at, at, mask)
	s.mu.Unlock()
	if ok && !hidden {
		s.log.InfoContext(ctx, "thumbnail under another mask dropped", "agent_id", agent, "camera_id", camera)
		return nil
	}
	if !ok || len(jpeg) > maxThumbnail || !bytes.HasPrefix(jpeg, []byte{0xff, 0xd8, 0xff}) {
		s.log.WarnContext(ctx, "thumbnail refused", "agent_id", agent, "camera_id", camera, "bytes", len(jpeg))
		return nil
	}
	if err := s.store.PutThumbnail(ctx, camera, at, mask, jpeg); err != nil {
		return err
	}
	s.hub.publish([]Event{{Kind: "thumbnail", Camera: camera, Agent: agent, Site: a.Site}})
	return nil
}
