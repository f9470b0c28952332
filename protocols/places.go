package protocols

import (
	"context"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// moreAfter is how long a device that refused a connection is taken to bear no
// more at a time than it had then. Then one more is tried.
const moreAfter = 10 * time.Minute

// places bound how many grabs a device has at a time, over its sources. A
// camera has one source and so one grab; a recorder with many sources is
// unbounded until it refuses one while others are under way:
//
//	unbounded ──refused, n others under way──► n ──10 min at n without──► n+1 …
//	                                           ▲───────refused───────────┘
type places struct {
	now func() time.Time

	mu   sync.Mutex
	held map[string]*place
}

// place is one device's. It is kept while it is used or bounded.
type place struct {
	used    int
	users   int // that hold it or wait
	bound   int // 0: none
	since   time.Time
	waiting []chan struct{} // each closed when its grab may begin, oldest first
}

// maxBounded is how many devices' bounds are remembered.
const maxBounded = 1024

// take waits until the device has room. The function it returns ends the grab,
// and says whether the device refused it for want of a connection.
func (p *places) take(ctx context.Context, device string) (leave func(refused bool), err error) {
	p.mu.Lock()
	if p.held == nil {
		p.held = make(map[string]*place)
	}
	d := p.held[device]
	if d == nil {
		d = &place{}
		p.held[device] = d
	}
	d.users++
	if d.bound > 0 && d.used >= d.bound && p.now().Sub(d.since) >= moreAfter {
		d.bound++
		d.since = p.now()
	}
	if d.bound == 0 || d.used < d.bound && len(d.waiting) == 0 {
		d.used++
		p.mu.Unlock()
		return p.leave(device, d), nil
	}
	turn := make(chan struct{})
	d.waiting = append(d.waiting, turn)
	bound := d.bound
	p.mu.Unlock()

	select {
	case <-turn:
		return p.leave(device, d), nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, w := range d.waiting {
		if w == turn {
			d.waiting = append(d.waiting[:i], d.waiting[i+1:]...)
			p.forget(device, d)
			return nil, fleet.Errorf(fleet.CauseDeadline, "the device bears %d connections at a time, and other captures of it held them until the deadline: %w", bound, ctx.Err())
		}
	}
	d.used-- // the turn came in the same moment
	d.admit()
	p.forget(device, d)
	return nil, fleet.Errorf(fleet.CauseDeadline, "the device bears %d connections at a time, and other captures of it held them until the deadline: %w", bound, ctx.Err())
}

func (p *places) leave(device string, d *place) func(bool) {
	return func(refused bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		d.used--
		// With none beside it, somebody else holds the connections, and fewer of
		// ours would change nothing.
		if refused && d.used > 0 && (d.bound == 0 || d.used < d.bound) {
			d.bound = d.used
		}
		if refused {
			d.since = p.now()
		}
		d.admit()
		p.forget(device, d)
	}
}

// admit lets in who waits while there is room.
func (d *place) admit() {
	for len(d.waiting) > 0 && (d.bound == 0 || d.used < d.bound) {
		close(d.waiting[0])
		d.waiting = d.waiting[1:]
		d.used++
	}
}

// forget ends a use, and drops a device that nobody uses and that says nothing.
func (p *places) forget(device string, d *place) {
	if d.users--; d.users > 0 || d.bound > 0 && len(p.held) <= maxBounded {
		return
	}
	delete(p.held, device)
}

// limit returns the device's bound; 0 for none.
func (p *places) limit(device string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d, ok := p.held[device]; ok {
		return d.bound
	}
	return 0
}
