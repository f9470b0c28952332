package scheduler

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// report is what one agent said at once.
type report struct {
	agent    fleet.AgentID
	captures []fleet.Capture
	done     chan error // cap 1: the committer never waits for the reporter
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
		for n, more := len(group[0].captures), true; more && n < maxGroup; {
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
			r.done <- err
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
	var ch change
	ch.Books = map[fleet.SiteID]fleet.Books{}
	taken := map[fleet.Occurrence]bool{}
	for _, r := range group {
		a := s.agents[r.agent]
		if a == nil {
			continue
		}
		for _, c := range r.captures {
			f := s.flights[c.Occurrence]
			switch {
			case f == nil || taken[c.Occurrence]:
				if _, ok := s.withdrawn[c.Occurrence]; ok {
					continue
				}
				if site := s.siteOf(c.Camera); site == a.Site {
					b := s.booksOf(&ch, site)
					b.Duplicates++
					ch.Books[site] = b
				}
				continue
			case f.site != a.Site:
				s.log.WarnContext(ctx, "outcome of another site's camera refused", "agent_id", r.agent, "camera_id", c.Camera)
				continue
			}
			taken[c.Occurrence] = true
			c.Agent = r.agent
			ch.Captures = append(ch.Captures, c)
			ch.tell(Event{Kind: "capture", Camera: c.Camera, Site: f.site, Agent: r.agent})
		}
	}
	if len(ch.Captures) == 0 && len(ch.Books) == 0 {
		return nil
	}
	return s.apply(ctx, &ch)
}

// maxThumbnail bounds a thumbnail: 320 pixels wide is about 15 kB.
const maxThumbnail = 256 << 10

// PutThumbnail keeps a camera's latest frame. A thumbnail that is none, or of
// another site's camera, is dropped.
func (s *Scheduler) PutThumbnail(ctx context.Context, agent fleet.AgentID, camera fleet.CameraID, at fleet.Instant, jpeg []byte) error {
	s.mu.Lock()
	a, cam := s.agents[agent], s.cameras[camera]
	ok := a != nil && cam != nil && a.Site == cam.Site
	s.mu.Unlock()
	if !ok || len(jpeg) > maxThumbnail || !bytes.HasPrefix(jpeg, []byte{0xff, 0xd8, 0xff}) {
		s.log.WarnContext(ctx, "thumbnail refused", "agent_id", agent, "camera_id", camera, "bytes", len(jpeg))
		return nil
	}
	if err := s.store.PutThumbnail(ctx, camera, at, jpeg); err != nil {
		return err
	}
	s.hub.publish([]Event{{Kind: "thumbnail", Camera: camera, Agent: agent, Site: cam.Site}})
	return nil
}
