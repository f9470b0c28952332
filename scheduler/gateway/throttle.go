package gateway

import (
	"sync"
	"time"
)

// throttle bounds how many site keys one address may guess. A key has 256
// bits: this is not what keeps guessers out, it keeps them quiet.
type throttle struct {
	mu    sync.Mutex
	tries map[string]attempts
}

type attempts struct {
	n     int
	since time.Time
}

const (
	maxRefused     = 20
	refusedWindow  = time.Minute
	maxThrottleLen = 10_000
)

func newThrottle() *throttle { return &throttle{tries: map[string]attempts{}} }

func (t *throttle) allow(from string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.tries[from]
	return a.n < maxRefused || now.Sub(a.since) > refusedWindow
}

func (t *throttle) refused(from string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.tries) >= maxThrottleLen {
		clear(t.tries)
	}
	a := t.tries[from]
	if now.Sub(a.since) > refusedWindow {
		a = attempts{since: now}
	}
	a.n++
	t.tries[from] = a
}
