package store

import (
	"container/heap"
	"context"
	"fmt"
	"slices"

	// the database/sql driver "sqlite", and its errors

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Begin takes orders, with the nonce and fence of the instruction that brought
// them, and returns once they are durable. An order that is held or was
// finished not long ago is not taken twice. On an error other than ErrStale
// and ErrFull the orders are held in memory and will be captured; they become
// durable with the next commit that succeeds, which Sync tells.
func (s *Store) Begin(ctx context.Context, orders []fleet.Order, nonce, fence uint64) error {
	s.mu.Lock()
	if err := s.stamp(nonce, fence); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.fault != nil && len(s.dirty.orders)+len(orders) > s.opts.MemoryLimit {
		s.mu.Unlock()
		return fmt.Errorf("begin %d orders: %w: %w", len(orders), ErrFull, s.fault)
	}
	s.accept(nonce, fence)
	for _, o := range orders {
		if s.recalled[o.Occurrence] {
			delete(s.recalled, o.Occurrence)
			s.dirty.recalls = append(s.dirty.recalls, o.Occurrence)
		}
		if h := s.held[o.Occurrence]; h != nil && h.own {
			s.adopt(h, o)
		} else if h == nil && !s.recent.has(o.Occurrence) {
			s.hold(&held{Order: o})
		}
	}
	s.mu.Unlock()
	signal(s.ordersChanged)
	return s.sync(ctx, len(orders), false)
}

// hold takes an order in. Callers hold mu.
func (s *Store) hold(h *held) {
	s.held[h.Occurrence] = h
	heap.Push(&s.waiting, h)
	s.dirty.orders = append(s.dirty.orders, h)
	if i := slices.Index(s.gone, h.Occurrence); i >= 0 { // it went, and came back before a commit
		s.gone = slices.Delete(s.gone, i, i+1)
	}
}

// adopt gives an occurrence that the agent began by itself the terms of the
// order that came for it after all, unless it runs already. Callers hold mu.
func (s *Store) adopt(h *held, o fleet.Order) {
	if h.at < 0 {
		return
	}
	heap.Remove(&s.waiting, h.at)
	// A commit may be writing h now, so it is not changed but replaced.
	stored := true
	if i := slices.Index(s.dirty.orders, h); i >= 0 {
		s.dirty.orders = slices.Delete(s.dirty.orders, i, i+1)
		stored = h.durable
	}
	s.hold(&held{Order: o, durable: stored})
}

// Recall takes orders back that have not begun, and returns those, once that
// is durable. While these standing orders hold, BeginOwn does not begin them
// again, nor those that were not held yet.
func (s *Store) Recall(ctx context.Context, recalled []fleet.Occurrence, nonce, fence uint64) ([]fleet.Occurrence, error) {
	s.mu.Lock()
	if err := s.stamp(nonce, fence); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	s.accept(nonce, fence)
	var back []fleet.Occurrence
	for _, o := range recalled {
		h := s.held[o]
		if h != nil && h.at < 0 {
			continue
		}
		if s.standing != 0 && o.Nominal > s.frontier || h != nil && h.own {
			s.recalled[o] = true
			s.dirty.recalls = append(s.dirty.recalls, o)
		}
		if h == nil {
			continue
		}
		heap.Remove(&s.waiting, h.at)
		s.drop(h)
		back = append(back, o)
	}
	s.mu.Unlock()
	signal(s.ordersChanged)
	signal(s.settled)
	return back, s.sync(ctx, len(back), false)
}

// Due returns up to limit orders whose start has come, oldest first, and marks
// them running. Next is the start of the first order left, or 0 when there is
// none.
func (s *Store) Due(now fleet.Instant, limit int) (due []fleet.Order, next fleet.Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && len(due) < limit && s.waiting[0].Start() <= now {
		h := heap.Pop(&s.waiting).(*held)
		s.running++
		due = append(due, h.Order)
	}
	if len(s.waiting) > 0 {
		next = s.waiting[0].Start()
	}
	return due, next
}

// Release puts a running order back among the waiting, for a runner that was
// stopped before it could decide an outcome.
func (s *Store) Release(o fleet.Occurrence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[o]; h != nil && h.at < 0 {
		s.running--
		heap.Push(&s.waiting, h)
	}
}

// stamp refuses what is not newer than the last instruction. Callers hold mu.
func (s *Store) stamp(nonce, fence uint64) error {
	switch {
	case s.closed:
		return ErrClosed
	case nonce <= s.nonce:
		return fmt.Errorf("nonce %d after %d: %w", nonce, s.nonce, ErrStale)
	case fence < s.fence:
		return fmt.Errorf("fence %d below %d: %w", fence, s.fence, ErrStale)
	}
	return nil
}

func (s *Store) accept(nonce, fence uint64) {
	s.nonce, s.fence = nonce, fence
	s.dirty.stamp = true
}

// drop forgets an order that is no longer waiting. Callers hold mu.
func (s *Store) drop(h *held) {
	delete(s.held, h.Occurrence)
	if h.durable {
		s.gone = append(s.gone, h.Occurrence)
		return
	}
	if i := slices.Index(s.dirty.orders, h); i >= 0 {
		s.dirty.orders = slices.Delete(s.dirty.orders, i, i+1)
		return
	}
	// A commit under way is writing it: the next one deletes it.
	s.gone = append(s.gone, h.Occurrence)
}

// queue is a heap of waiting orders by start.
type queue []*held

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if a, b := q[i].Start(), q[j].Start(); a != b {
		return a < b
	}
	return q[i].Occurrence.Compare(q[j].Occurrence) < 0
}
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}
func (q *queue) Push(x any) {
	h := x.(*held)
	h.at = len(*q)
	*q = append(*q, h)
}
func (q *queue) Pop() any {
	old := *q
	h := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	h.at = -1
	return h
}
