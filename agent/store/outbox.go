package store

import (
	"cmp"
	"container/heap"
	"context"
	"slices"

	// the database/sql driver "sqlite", and its errors

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Finish records c as the outcome of its order: the order's row becomes an
// outbox row in one transaction, and Finish returns once that is durable.
// Finishing an occurrence again, or one that is not held, changes nothing, so
// callers may retry freely. On an error the outcome is kept in memory, reported
// like all others, and written by the next commit that succeeds.
func (s *Store) Finish(ctx context.Context, c fleet.Capture) error {
	if !s.Enter(c) {
		return nil
	}
	return s.sync(ctx, 1, false)
}

// Enter is Finish without waiting for the disk: the outcome is in memory and
// may be reported, and Flush writes it. It reports whether anything changed.
func (s *Store) Enter(c fleet.Capture) bool {
	s.mu.Lock()
	h := s.held[c.Occurrence]
	if h == nil {
		s.mu.Unlock()
		return false
	}
	if h.at >= 0 {
		heap.Remove(&s.waiting, h.at)
	} else {
		s.running--
	}
	s.drop(h)
	s.recent.add(c.Occurrence)
	s.dirty.done = append(s.dirty.done, c.Occurrence)
	c.Reading.Thumbnail = nil
	if s.fault != nil && len(s.fresh) >= s.opts.MemoryLimit {
		// A bare verdict instead of the picture: bounded by the orders held,
		// of which Begin takes no more.
		c = fleet.Capture{Occurrence: c.Occurrence, Outcome: fleet.Failed, Cause: fleet.CauseStorage, At: c.At, Bound: c.Bound,
			Delay: c.Delay, Took: c.Took, Attempts: c.Attempts, Detail: "the agent's disk refuses and its memory is full: free the disk; captures resume by themselves"}
	}
	s.nextID++
	s.fresh[s.nextID] = c
	s.mu.Unlock()
	signal(s.outboxChanged)
	signal(s.settled)
	return true
}

// Flush writes what a power cut must not take, and returns once all of that is
// durable. Deletions wait for the next Sync.
func (s *Store) Flush(ctx context.Context) error { return s.sync(ctx, 1, false) }

// Take gives out up to limit undelivered outcomes, newest first. They are not
// given out again until Return; Ack ends them.
func (s *Store) Take(ctx context.Context, limit int) ([]Row, error) {
	var rows []Row
	s.mu.Lock()
	for id, c := range s.fresh {
		if !s.taken[id] {
			rows = append(rows, Row{ID: id, Capture: c})
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(b.ID, a.ID) })
	rows = rows[:min(len(rows), limit)]
	for _, r := range rows {
		s.taken[r.ID] = true
	}
	disk := s.onDisk
	s.mu.Unlock()
	if len(rows) == limit || disk == 0 {
		return rows, nil
	}
	more, err := s.takeFromDisk(ctx, limit-len(rows))
	if err != nil && len(rows) > 0 {
		return rows, nil // what memory holds goes out even when the disk fails
	}
	return append(rows, more...), err
}

// Return makes taken outcomes available again, for a stream that ended before
// they were acknowledged.
func (s *Store) Return(ids []int64) {
	s.mu.Lock()
	for _, id := range ids {
		delete(s.taken, id)
	}
	s.mu.Unlock()
	signal(s.outboxChanged)
}

// Ack forgets outcomes that the centre has stored. Acknowledging one again
// changes nothing. It is written along with the next commit, at the latest by
// the next Sync.
func (s *Store) Ack(ctx context.Context, ids []int64) error {
	s.mu.Lock()
	for _, id := range ids {
		if !s.taken[id] {
			continue
		}
		delete(s.taken, id)
		if _, ok := s.fresh[id]; ok {
			delete(s.fresh, id)
			if s.writing[id] {
				s.acked = append(s.acked, id) // the next commit deletes what this one writes
			}
			continue
		}
		s.acked = append(s.acked, id)
		s.onDisk--
	}
	n := len(s.acked)
	s.mu.Unlock()
	signal(s.settled)
	if n < s.opts.Batch {
		return nil
	}
	return s.sync(ctx, n, true)
}
