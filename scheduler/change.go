package scheduler

import (
	"context"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// change is a set of changes to make durable, and what to do in memory then.
type change struct {
	store.Batch
	flights []uint32 // beside Batch.Captures: their orders; 0 = had none
	issue   []issue
	release []uint32 // orders whose pause is over
	drop    []uint32 // orders to take back
	move    []move
	close   []uint32 // tasks
	open    []opening
	claims  []claimed
	put     map[fleet.CameraID]bool // those in Batch.Cameras
	after   []func()
	events  []Event
}

// claimed is evidence that belongs to a site's device.
type claimed struct {
	site   fleet.SiteID
	device string
	claim  fleet.Claim
}

// move gives an order to another agent, or to nobody.
type move struct {
	flight, to uint32
	paused     bool
	recall     bool // who had it must not fulfil it
}

func (c *change) then(f func())   { c.after = append(c.after, f) }
func (c *change) tell(e ...Event) { c.events = append(c.events, e...) }

// reset empties c and keeps its memory, unless a herd made it large.
func (c *change) reset() {
	if cap(c.issue) > 1<<16 || cap(c.Captures) > 1<<14 {
		*c = change{}
		return
	}
	*c = change{
		Batch: store.Batch{Captures: c.Captures[:0], Issue: c.Issue[:0], Assign: c.Assign[:0], Drop: c.Drop[:0]}, flights: c.flights[:0], issue: c.issue[:0], release: c.release[:0],
	}
}

// apply makes ch durable and then visible. s.mu is held. The store is not
// bound to a request's context: a commit is finished or never begun.
func (s *Scheduler) apply(ctx context.Context, ch *change) error {
	if err := s.commit(ctx, ch); err != nil {
		if ch != &s.held { // nobody tries it again: others may have its room
			for i := range ch.issue {
				v := &ch.issue[i]
				v.site.bucket.give(v.start)
				s.burst.give(v.start)
			}
			for _, n := range ch.drop {
				f := s.slots.at(n)
				s.siteAt(f.camera).bucket.take(f.nominal + fleet.Instant(f.start))
				s.burst.take(f.nominal + fleet.Instant(f.start))
			}
		}
		return err
	}
	s.perform(ch)
	return nil
}

// commit makes ch durable.
func (s *Scheduler) commit(ctx context.Context, ch *change) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, n := range ch.release {
		if f := s.slots.at(n); f.camera != 0 && f.paused {
			m := move{flight: n}
			if a := s.pick(s.targetOf(f.camera), nil); a != nil {
				m.to = a.index
			}
			ch.move = append(ch.move, m)
		}
	}
	ch.Issue, ch.Drop, ch.Assign = ch.Issue[:0], ch.Drop[:0], ch.Assign[:0]
	for i := range ch.issue {
		v := &ch.issue[i]
		if v.picked || v.agent != 0 && s.boxes[v.agent-1].State != fleet.Approved {
			v.agent = 0 // picked by a commit that failed: it may be gone
		}
		if v.agent == 0 && !v.paused {
			if a := s.pick(v.target, nil); a != nil {
				v.agent, v.picked = a.index, true
			}
		}
		r := s.revs[v.rev]
		ch.Issue = append(ch.Issue, store.Flight{
			Order: fleet.Order{Occurrence: fleet.Occurrence{Camera: v.id, Schedule: r.ID, Nominal: v.nominal}, NotBefore: v.start, Deadline: v.deadline},
			Agent: s.agentID(v.agent),
		})
	}
	for _, n := range ch.drop {
		ch.Drop = append(ch.Drop, s.occurrence(s.slots.at(n)))
	}
	for _, m := range ch.move {
		v := s.stored(s.slots.at(m.flight))
		v.Agent = s.agentID(m.to)
		ch.Assign = append(ch.Assign, v)
	}
	if err := s.store.Commit(context.WithoutCancel(ctx), &ch.Batch); err != nil {
		ch.move = ch.move[:0] // of release, if it is tried again
		return err
	}
	return nil
}

// perform makes visible what is durable now.
func (s *Scheduler) perform(ch *change) {
	for id, n := range ch.Repeats {
		s.siteNamed(id).books.Duplicates += n
	}
	for _, n := range ch.drop {
		f := s.slots.at(n)
		o := s.occurrence(f)
		s.withdrawn[o] = f.nominal.Add(time.Duration(f.deadline)*time.Millisecond + s.opts.GiveUp)
		s.recall(f)
		s.siteAt(f.camera).books.InFlight--
		s.removeFlight(n)
	}
	for _, n := range ch.close {
		s.siteAt(s.tasks.at(n).camera).ended()
		s.removeTask(n)
	}
	for _, f := range ch.after {
		f()
	}
	for i := range ch.Cameras {
		s.remember(&ch.Cameras[i])
	}
	for i := range ch.Captures { // behind the cameras: there was no room for one that is new, say
		c := &ch.Captures[i]
		if camera := s.cams.byID[c.Camera]; camera != 0 {
			enter(&s.siteAt(camera).books, c.Outcome)
		}
		s.countJob(c, ch.flights[i] != 0)
		if n := ch.flights[i]; n != 0 {
			s.siteAt(s.slots.at(n).camera).books.InFlight--
			s.removeFlight(n)
		}
	}
	for _, c := range ch.claims {
		s.claim(c.site, c.device, c.claim)
	}
	for i := range ch.open {
		o := &ch.open[i]
		if o.camera == 0 {
			o.camera = s.cams.byID[o.id]
		}
		s.addTask(o.task, o.after)
		s.siteAt(o.camera).changed()
	}
	for i := range ch.issue {
		v := &ch.issue[i]
		if v.camera == 0 {
			v.camera = s.cams.byID[v.id]
		}
		n := s.addFlight(flight{
			nominal: v.nominal, camera: v.camera, rev: v.rev, start: uint32(v.start - v.nominal), deadline: uint32(v.deadline - v.nominal), agent: v.agent, paused: v.paused,
		})
		v.site.books.InFlight++
		s.dispatch(s.slots.at(n))
	}
	for _, m := range ch.move {
		f := s.slots.at(m.flight)
		if m.paused || m.recall {
			s.recall(f)
		}
		f.paused = m.paused
		s.give(m.flight, m.to)
		s.watch(m.flight)
		s.dispatch(f)
	}
	if len(ch.open) > 0 {
		s.kick()
	}
	if s.idle != nil && s.slots.len() == 0 {
		close(s.idle)
		s.idle = nil
	}
	if s.hub.heard() {
		for i := range ch.Captures {
			c := &ch.Captures[i]
			ch.tell(Event{Kind: "capture", Camera: c.Camera, Site: s.siteOf(c.Camera), Agent: c.Agent})
		}
		if len(ch.Captures) > 0 || len(ch.issue) > 0 || len(ch.drop) > 0 {
			ch.tell(Event{Kind: "books"})
		}
		s.hub.publish(ch.events)
	}
}

// shapedBy notes that a start was moved.
func (s *Scheduler) shapedBy(d time.Duration) {
	s.delayed.n++
	s.delayed.longest = max(s.delayed.longest, d)
}

func (s *Scheduler) siteOf(c fleet.CameraID) fleet.SiteID {
	if n := s.cams.byID[c]; n != 0 {
		return s.siteAt(n).ID
	}
	return ""
}
