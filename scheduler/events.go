package scheduler

import (
	"context"
	"sync"
)

// hub hands events to whoever listens. A slow listener loses events, and is
// told so by one of kind "resync".
type hub struct {
	mu   sync.Mutex
	subs map[*subscriber]struct{}
}

type subscriber struct {
	ch   chan Event
	lost bool
}

// eventBuffer is what one listener may lag behind: a second of a large fleet's
// captures.
const eventBuffer = 4096

// heard reports whether anybody listens.
func (h *hub) heard() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs) > 0
}

func (h *hub) publish(events []Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for sub := range h.subs {
		for _, e := range events {
			if sub.lost {
				select {
				case sub.ch <- Event{Kind: "resync"}:
					sub.lost = false
				default:
					continue
				}
			}
			select {
			case sub.ch <- e:
			default:
				sub.lost = true
			}
		}
	}
}

// Subscribe returns what changes from now on, until ctx ends; then the channel
// is closed.
func (s *Scheduler) Subscribe(ctx context.Context) <-chan Event {
	sub := &subscriber{ch: make(chan Event, eventBuffer)}
	h := &s.hub
	h.mu.Lock()
	if h.subs == nil {
		h.subs = map[*subscriber]struct{}{}
	}
	h.subs[sub] = struct{}{}
	h.mu.Unlock()
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.subs, sub)
		close(sub.ch)
	})
	return sub.ch
}
