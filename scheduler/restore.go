package scheduler

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
	"github.com/shutterfleet/shutterfleet/scheduler/wheel"
)

func (s *Scheduler) restore(ctx context.Context, st *store.State) error {
	for _, v := range st.Sites {
		s.setSite(v)
	}
	n, err := s.store.CountCameras(ctx)
	if err != nil {
		return err
	}
	s.cams.byID = make(map[fleet.CameraID]uint32, n)
	if err := s.store.EachCamera(ctx, s.loadCamera); err != nil {
		return err
	}
	if err := s.restoreMasks(ctx, st.Masks); err != nil {
		return err
	}
	for _, a := range st.Agents {
		lost := time.Now() // it was connected until the scheduler ended, or its power
		if !a.Connected {
			lost = a.Seen.Time()
		}
		a.Connected = false
		s.addAgent(a).lost = lost.UnixNano()
	}
	for _, k := range st.Keys {
		s.keys[k.ID] = k
	}
	for _, t := range st.Tokens {
		s.tokens[[32]byte(t.Hash)] = t
	}
	for _, c := range st.Credentials {
		s.holdCredentials(c)
		s.credSeq = max(s.credSeq, c.Version)
	}
	for _, r := range st.Rules {
		sel, err := fleet.ParseSelector(r.Select)
		if err != nil {
			return fmt.Errorf("rule %s: %w", r.Name, err)
		}
		s.rules = append(s.rules, rule{Rule: r, selector: sel})
	}
	for _, row := range st.Schedules {
		var spec calendar.Spec
		err := json.Unmarshal(row.Spec, &spec)
		var cal *calendar.Schedule
		if err == nil {
			cal, err = spec.Compile()
		}
		if err != nil {
			return fmt.Errorf("stored schedule %s, revision %d: %w", row.Name, row.Revision, err)
		}
		s.addRevision(row, cal)
	}
	s.force()
	for _, p := range st.Pauses {
		if err := s.restorePause(p); err != nil {
			return err
		}
	}
	if err := s.restoreDisputes(st.Disputes); err != nil {
		return err
	}
	if err := s.restoreJobs(st.Jobs); err != nil {
		return err
	}
	now := fleet.At(time.Now())
	s.through = cmp.Or(st.Through, now)
	s.cut = st.Through // spans may have been closed then, and the clock set back since
	s.wheel = wheel.New(min(s.through, now))
	err = s.store.Closed(ctx, s.through, func(p store.Span) {
		if p.From == p.Until {
			s.early[fleet.Occurrence{Camera: p.Camera, Schedule: p.Schedule, Nominal: p.From}] = true
		}
	})
	if err != nil {
		return err
	}
	if err := s.restoreTasks(ctx); err != nil {
		return err
	}
	if err := s.restoreFlights(ctx); err != nil {
		return err
	}
	if err := s.advance(ctx, now); err != nil {
		return err
	}
	s.settled = nil
	if st.Reconcile { // all spans were closed by Stop, or a change of schedules was interrupted
		return s.reconcile(ctx)
	}
	return nil
}

// addRevision keeps one revision of a schedule.
func (s *Scheduler) addRevision(row store.Schedule, cal *calendar.Schedule) uint32 {
	n := uint32(len(s.revs))
	ident, ok := s.idents[row.ID]
	if !ok {
		ident = uint32(len(s.latest))
		s.idents[row.ID] = ident
		s.latest = append(s.latest, n)
	}
	s.latest[ident] = n
	r := &schedule{
		Schedule: row, cal: cal, ident: ident, all: cal.Spec().Select == "*", lead: cal.Lead(), deadline: cal.Deadline(), shapeLimit: shapeLimit,
		retries: cal.Retry().Attempts, priority: cal.Priority(),
	}
	if every := time.Duration(cal.Spec().Every); every > 0 { // the next one would be in its way
		r.shapeLimit = min(r.shapeLimit, every)
	}
	s.revs = append(s.revs, r)
	s.revOf[revisionKey{row.ID, row.Revision}] = n
	return n
}

// force lists the schedules in force.
func (s *Scheduler) force() {
	s.inForce = s.inForce[:0]
	for _, n := range s.latest {
		if r := s.revs[n]; r.Removed == 0 && r.job == nil {
			s.inForce = append(s.inForce, n)
		}
	}
	slices.SortFunc(s.inForce, func(a, b uint32) int { return cmp.Compare(s.revs[a].Name, s.revs[b].Name) })
}

// inForceNamed returns the schedule with that id, nil when none is in force.
func (s *Scheduler) scheduleInForce(id fleet.ScheduleID) *schedule {
	ident, ok := s.idents[id]
	if !ok {
		return nil
	}
	if r := s.revs[s.latest[ident]]; r.Removed == 0 && r.job == nil {
		return r
	}
	return nil
}

func (s *Scheduler) restoreTasks(ctx context.Context) error {
	// Spans come in the order in which the cameras came: the next one's camera
	// is nearly always this one's or the next.
	camera := uint32(0)
	return s.store.EachSpan(ctx, func(p store.Span) error {
		for range 2 {
			if camera > 0 && camera <= s.cams.slots.used && s.cams.slots.at(camera).id == p.Camera {
				break
			}
			camera++
		}
		if camera > s.cams.slots.used || s.cams.slots.at(camera).id != p.Camera {
			if camera = s.cams.byID[p.Camera]; camera == 0 {
				return fmt.Errorf("span of camera %s, which the store does not hold", p.Camera)
			}
		}
		rev, ok := s.revOf[revisionKey{p.Schedule, p.Revision}]
		if !ok {
			return fmt.Errorf("span of schedule %s revision %d, which the store does not hold", p.Schedule, p.Revision)
		}
		t := task{from: p.From, enabled: p.Enabled, camera: camera, rev: rev, place: s.placeNumber(p.Place)}
		s.addTask(t, max(p.From-1, s.through.Add(s.revs[rev].lead)))
		return nil
	})
}

// restoreFlights finds the orders in flight and the books from what was logged.
func (s *Scheduler) restoreFlights(ctx context.Context) error {
	lost := func(o fleet.Occurrence) {
		s.log.WarnContext(ctx, "order of an unknown camera or schedule", "occurrence", o)
	}
	s.settled = map[fleet.Occurrence]bool{}
	index := func(id fleet.AgentID) uint32 {
		if a := s.agents[id]; a != nil {
			return a.index
		}
		return 0
	}
	drop := func(o fleet.Occurrence) {
		if n := s.flightOf(o); n != 0 {
			s.siteAt(s.slots.at(n).camera).books.InFlight--
			s.removeFlight(n)
		}
	}
	err := s.store.Replay(ctx, store.Fold{
		Books: func(id fleet.SiteID, b fleet.Books) {
			b.InFlight = 0 // the orders that follow say
			s.siteNamed(id).books = b
		},
		Issue: func(v store.Flight) {
			camera := s.cams.byID[v.Camera]
			ident, ok := s.idents[v.Schedule]
			if camera == 0 || !ok {
				lost(v.Occurrence)
				return
			}
			if s.flights[orderKey{camera, ident, v.Nominal}] != 0 {
				return
			}
			s.addFlight(flight{nominal: v.Nominal, camera: camera, rev: s.latest[ident], start: uint32(v.Start() - v.Nominal), deadline: uint32(v.Deadline - v.Nominal), agent: index(v.Agent)})
			at := s.siteAt(camera)
			at.books.InFlight++
			at.bucket.take(v.Start())
			s.burst.take(v.Start())
		},
		Assign: func(o fleet.Occurrence, id fleet.AgentID) {
			if n := s.flightOf(o); n != 0 {
				s.give(n, index(id))
			}
		},
		Drop: drop,
		Repeat: func(id fleet.SiteID, n uint64) {
			s.siteNamed(id).books.Duplicates += n
		},
		Outcome: func(c *fleet.Capture) {
			drop(c.Occurrence)
			if c.Nominal > s.through {
				s.settled[c.Occurrence] = true
			}
			if camera := s.cams.byID[c.Camera]; camera != 0 {
				enter(&s.siteAt(camera).books, c.Outcome)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("replay what happened to orders: %w", err)
	}
	for n := uint32(1); n <= s.slots.used; n++ {
		f := s.slots.at(n)
		if f.camera != 0 && f.agent == 0 && s.pausedAt(s.siteAt(f.camera), s.cams.slots.at(f.camera).id, f.rev, f.nominal+fleet.Instant(f.start)) {
			f.paused = true
			s.watch(n)
		}
	}
	return nil
}
