// Package sweep finds cameras where multicast does not reach: it asks the
// addresses of listed subnets one by one, slowly and in no order that a host or
// a router would notice, and goes on where it stopped after a restart.
//
//	subnets ──shuffle──► address ──Probe──► Sighting
//	   ▲      rate, width    └──connect to ports, when asked──► Confirm ──► Sighting
//	   └── Position ◄── Memory
//
// A round of a /16 at the usual 20 addresses a second takes 55 minutes.
package sweep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	defaultRate  = 20
	maxRate      = 1000 // above it an old router's neighbour table is what is measured
	defaultWidth = 64
	defaultEvery = time.Hour

	// sightingsPerHost bounds what one address may tell: a recorder speaks for
	// its channels.
	sightingsPerHost = 64

	saveEvery = 10 * time.Second // the position; a restart asks that much again
	logEvery  = 5 * time.Minute

	// noRoute addresses in a row that could not even be asked mean that the
	// network is not there: they are asked again after noRouteWait.
	noRoute     = 16
	noRouteWait = 30 * time.Second
)

// Options configure a Finder.
type Options struct {
	Subnets []netip.Prefix // as ParseSubnet returns them; at least one
	Rate    int            // addresses per second, all subnets together; default 20, at most 1000
	Width   int            // addresses in flight; default 64
	Every   time.Duration  // from the start of a round to the next one's; a longer round is followed at once; default 1h

	// Probe asks one address and returns what it is, nothing if it is silent, and
	// an error if it could not be asked. It must end by itself; required.
	Probe func(ctx context.Context, addr netip.Addr) ([]fleet.Sighting, error)

	// Ports are TCP ports to connect to where Probe heard nothing, one after the
	// other until one times out; default none. An open 554 is told of as an RTSP
	// server; others are if Confirm says so.
	Ports []uint16
	// Confirm asks, without logging in, whether an ONVIF device service answers
	// at url; nil means yes. Without it only 554 counts.
	Confirm func(ctx context.Context, url string) error
	// Dial opens a connection; default: a net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Memory Memory       // where the position is kept; default: nowhere
	Log    *slog.Logger // default: none
}

// Finder asks the addresses of listed subnets. It is a protocols.Finder.
type Finder struct {
	opts  Options
	space space

	mu       sync.Mutex
	progress Progress
}

// Progress is how far a Finder is.
type Progress struct {
	Done      uint64    // addresses of this round that were asked
	Total     uint64    // addresses of a round
	Found     int       // devices that answered in this round; hints do not count
	Rounds    int       // whole rounds since the start of the program
	Addresses uint64    // addresses asked since the start of the program
	Started   time.Time // when this round began; zero before the first
}

// New checks the options and returns a Finder. It sends nothing before Find.
func New(o Options) (*Finder, error) {
	o.Rate, o.Width, o.Every = cmp.Or(o.Rate, defaultRate), cmp.Or(o.Width, defaultWidth), cmp.Or(o.Every, defaultEvery)
	switch {
	case o.Probe == nil:
		return nil, errors.New("sweep: no probe")
	case o.Rate < 1 || o.Rate > maxRate:
		return nil, fmt.Errorf("sweep: %d addresses per second: choose 1 to %d", o.Rate, maxRate)
	case o.Width < 1:
		return nil, fmt.Errorf("sweep: %d addresses in flight: choose 1 or more", o.Width)
	}
	s, err := newSpace(o.Subnets)
	if err != nil {
		return nil, fmt.Errorf("sweep: %w", err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return &Finder{opts: o, space: s, progress: Progress{Total: s.size}}, nil
}

// RoundTime returns how long a round takes at the least, by the rate.
func (f *Finder) RoundTime() time.Duration {
	return time.Duration(f.space.size) * time.Second / time.Duration(f.opts.Rate)
}

// Progress returns how far the search is. It may be called from any goroutine.
func (f *Finder) Progress() Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.progress
}

func (f *Finder) note(change func(*Progress)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.progress)
}

// Find asks all addresses, round after round, until ctx is done, and calls
// heard for what answers, from one goroutine at a time. It goes on with the
// round that Memory knows of, if the subnets are the same.
func (f *Finder) Find(ctx context.Context, heard func(fleet.Sighting)) error {
	p, known := f.resume()
	for {
		if !known {
			p = Position{Subnets: f.space.name, Seed: rand.Uint64(), Started: time.Now()}
		}
		if !f.round(ctx, &p, heard) {
			return nil
		}
		known = false
		wait := time.NewTimer(time.Until(p.Started.Add(f.opts.Every)))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil
		}
	}
}

// resume returns the position that Memory holds, if it is one of this sweep.
func (f *Finder) resume() (Position, bool) {
	if f.opts.Memory == nil {
		return Position{}, false
	}
	p, err := f.opts.Memory.Load()
	if err != nil {
		f.opts.Log.Warn("the position of the sweep is not known; a new round begins", "err", err)
		return Position{}, false
	}
	return p, p.Subnets == f.space.name && p.Next <= f.space.size && !p.Started.After(time.Now())
}

func (f *Finder) save(p Position) {
	if f.opts.Memory == nil {
		return
	}
	if err := f.opts.Memory.Save(p); err != nil {
		f.opts.Log.Warn("the position of the sweep is not kept; a restart begins a new round", "err", err)
	}
}

// asked is one address that was asked.
type asked struct {
	index uint64
	found []fleet.Sighting
	err   error
}

// round asks the addresses from p on, leaves in p what is still to be asked, and
// reports whether nothing is: false means that ctx ended it.
func (f *Finder) round(ctx context.Context, p *Position, heard func(fleet.Sighting)) bool {
	order := newShuffle(f.space.size, p.Seed)
	f.note(func(g *Progress) { g.Done, g.Found, g.Started = p.Next, 0, p.Started })
	f.opts.Log.Info("sweep started", "subnets", f.space.name, "addresses", f.space.size, "from", p.Next, "rate", f.opts.Rate, "takes", f.RoundTime()-time.Duration(p.Next)*time.Second/time.Duration(f.opts.Rate))
	var (
		next     = p.Next
		flying   = map[uint64]bool{}
		results  = make(chan asked)
		rate     = time.NewTicker(time.Second / time.Duration(f.opts.Rate)) // late ticks are lost, so nothing is made up for in a burst
		save     = time.NewTicker(saveEvery)
		tell     = time.NewTicker(logEvery)
		over     = ctx.Done()
		failing  uint64 // addresses in a row that could not be asked
		firstBad uint64 // the lowest of them
		enough   = min(noRoute, f.space.size)
		waiting  <-chan time.Time // for the network to come
		cut      bool             // it is not there
		missed   int              // addresses passed over because they alone cannot be asked
		took     = time.Now()
		worker   sync.WaitGroup
		stopped  bool
	)
	defer worker.Wait()
	defer rate.Stop()
	defer save.Stop()
	defer tell.Stop()
	reached := func() uint64 {
		n := lowest(flying, next)
		if failing > 0 {
			n = min(n, firstBad)
		}
		return n
	}
	for !stopped && (next < f.space.size || waiting != nil) || len(flying) > 0 {
		var start <-chan time.Time
		if !stopped && waiting == nil && next < f.space.size && len(flying) < f.opts.Width {
			start = rate.C
		}
		select {
		case <-over:
			stopped, over = true, nil
			p.Next = reached()
			f.save(*p)
		case <-start:
			index := next
			next++
			flying[index] = true
			worker.Go(func() {
				found, err := f.ask(ctx, f.space.at(order.at(index)))
				results <- asked{index, found, err} // the loop takes all that fly
			})
		case r := <-results:
			delete(flying, r.index)
			if stopped {
				continue
			}
			if r.err != nil {
				if failing == 0 || r.index < firstBad {
					firstBad = r.index
				}
				missed++
				if failing++; failing < enough {
					continue
				}
				if !cut {
					f.opts.Log.Warn("listed subnets cannot be reached; they are tried again every 30 s", "err", r.err)
				}
				if cut = true; waiting == nil {
					waiting = time.After(noRouteWait)
				}
				continue
			}
			if failing = 0; cut {
				cut = false
				f.opts.Log.Info("listed subnets are reached again")
			}
			f.note(func(g *Progress) { g.Done, g.Addresses = min(g.Done+1, g.Total), g.Addresses+1 })
			for _, s := range r.found[:min(len(r.found), sightingsPerHost)] {
				if !s.Hint {
					f.note(func(g *Progress) { g.Found++ })
				}
				heard(s)
			}
		case <-waiting:
			waiting = nil
			if failing > 0 { // what flew meanwhile did not get through either
				next, missed, failing = min(firstBad, next), missed-int(failing), 0
			}
		case <-save.C:
			p.Next = reached()
			f.save(*p)
		case <-tell.C:
			g := f.Progress()
			f.opts.Log.Info("sweep goes on", "asked", g.Done, "addresses", g.Total, "found", g.Found)
		}
	}
	if stopped {
		return false
	}
	p.Next = f.space.size
	f.save(*p)
	f.note(func(g *Progress) { g.Done = g.Total; g.Rounds++ })
	f.opts.Log.Info("sweep ended", "addresses", f.space.size, "found", f.Progress().Found, "unreachable", missed, "took", time.Since(took).Round(time.Second))
	return true
}

// lowest returns the first index that is not known to be done.
func lowest(flying map[uint64]bool, next uint64) uint64 {
	for i := range flying {
		next = min(next, i)
	}
	return next
}

// ask asks one address, and its ports if it is silent.
func (f *Finder) ask(ctx context.Context, addr netip.Addr) ([]fleet.Sighting, error) {
	found, err := f.opts.Probe(ctx, addr)
	if err != nil || slices.ContainsFunc(found, func(s fleet.Sighting) bool { return !s.Hint }) || len(f.opts.Ports) == 0 {
		return found, err
	}
	if e := f.connect(ctx, addr); len(e) > 0 {
		found = append(found, fleet.Sighting{Via: fleet.ViaSweep, Source: addr, At: time.Now(), Endpoints: e})
	}
	return found, nil
}
