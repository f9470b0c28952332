package protocols

import (
	"context"
	"sync"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// turns gives out one turn at a time for each key. A key costs memory only
// while somebody holds it or waits for it.
type turns struct {
	mu   sync.Mutex
	held map[string]*turn
}

type turn struct {
	token chan struct{} // one: who has put it in holds the turn
	users int
}

// take waits for the turn of key until ctx ends. The function it returns gives
// the turn back.
func (t *turns) take(ctx context.Context, key string) (func(), error) {
	t.mu.Lock()
	if t.held == nil {
		t.held = make(map[string]*turn)
	}
	h, ok := t.held[key]
	if !ok {
		h = &turn{token: make(chan struct{}, 1)}
		t.held[key] = h
	}
	h.users++
	t.mu.Unlock()

	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(t.held, key)
		}
	}
	select {
	case h.token <- struct{}{}:
		return func() { <-h.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, fleet.Errorf(fleet.CauseDeadline, "another capture held the camera's one connection until the deadline: %w", ctx.Err())
	}
}

// bounded is a map that forgets what was put first when it is full.
type bounded[V any] struct {
	size int

	mu    sync.Mutex
	held  map[string]V
	order []string // as put; may name keys that are gone
}

func (b *bounded[V]) get(key string) (V, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.held[key]
	return v, ok
}

func (b *bounded[V]) put(key string, v V) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held = make(map[string]V)
	}
	if _, ok := b.held[key]; !ok {
		for len(b.held) >= b.size {
			delete(b.held, b.order[0])
			b.order = b.order[1:]
		}
		b.order = append(b.order, key)
	}
	b.held[key] = v
}

func (b *bounded[V]) drop(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.held[key]; !ok {
		return
	}
	delete(b.held, key)
	for i, k := range b.order {
		if k == key {
			b.order = append(b.order[:i], b.order[i+1:]...)
			return
		}
	}
}
