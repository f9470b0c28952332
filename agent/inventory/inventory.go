// Package inventory is what an agent knows of the devices on its LAN: it runs
// the finders, merges what they hear into devices, and has each described.
//
//	Finder ─┐                                            ┌─► Devices()
//	Finder ─┼─Sighting─► observations ─merge─► devices ──┤
//	Finder ─┘   centre: SetKnown ─┘                ▲     └─► Changed()
//	                                   Describe ───┘ 8 at a time, with backoff
//
// A device keeps the key it got first, also when stronger evidence comes
// later: the centre has it on record under that key. Keys that the centre
// names through SetKnown come before all others, so a restart changes none.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

const (
	// gather is how long sightings are collected before they are merged, and
	// settle how old a device is before it is described and gets its key: the
	// ways of discovery answer within this of each other on one link, so a
	// device is mostly known by its strongest name from the beginning. The two
	// together are the price of the first picture.
	gather = 50 * time.Millisecond
	settle = 250 * time.Millisecond

	// doubt is how long a device with another's name waits to be shown: by then
	// that one has answered again at its old address, or lost it.
	doubt = 75*time.Second + staleAfter

	describeWidth   = 8
	describeTimeout = 15 * time.Second // for one device, all its endpoints
	describeFirst   = 4 * time.Second  // a device is not shown before its first description, or this
	retryDescribe   = 5 * time.Second  // after a failure, doubled each time
	retryLongest    = 10 * time.Minute
	retryLocked     = 31 * time.Minute // login budgets are counted over 30 minutes
	silentAfter     = 5 * time.Minute  // unheard for this long: look whether it is still there
	forgetAfter     = 24 * time.Hour   // unheard for this long: no longer listed, unless the centre knows it
	crowdedAfter    = 10 * time.Minute // the same while there is no room: what is there repeats itself every minute
	housekeeping    = 15 * time.Second
	restartFinder   = 5 * time.Second
	seenEvery       = 10 * time.Minute // how often a rival that is still there is news
)

// Options configure an Inventory.
type Options struct {
	Finders   []protocols.Finder
	Describer protocols.Describer // may be nil: then devices stay as they were heard
	Every     time.Duration       // between descriptions of a device that is fine; default 1h

	// Neighbours returns the kernel's table of who has which address on the
	// links, lan.Neighbours for example; nil for none. It is asked every 15 s,
	// and soon after something new is heard.
	Neighbours func() (map[netip.Addr]net.HardwareAddr, error)

	// Hardware keeps over restarts what hardware the centre's devices are; default:
	// nothing does.
	Hardware HardwareMemory

	Log *slog.Logger // default: none
}

// Inventory knows devices. Its methods may be called from any goroutine.
type Inventory struct {
	opts    Options
	changed chan struct{} // capacity 1: "look again" needs no count
	poked   chan struct{} // capacity 1, likewise: SetKnown or SetCredentials

	mu      sync.Mutex
	devices []fleet.Device
	known   []fleet.Target
	site    []fleet.Credentials
	seen    map[string]view // since the loop looked
}

// New returns an Inventory that knows nothing yet. Run makes it find out.
func New(o Options) *Inventory {
	o.Every = cmp.Or(o.Every, time.Hour)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Inventory{opts: o, changed: make(chan struct{}, 1), poked: make(chan struct{}, 1)}
}

// Devices returns all known devices, ordered by key. The caller must not
// change what it points to.
func (v *Inventory) Devices() []fleet.Device {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.devices)
}

// Device returns the device that goes by a key.
func (v *Inventory) Device(key string) (fleet.Device, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	i, ok := slices.BinarySearchFunc(v.devices, key, func(d fleet.Device, key string) int { return strings.Compare(d.Key, key) })
	if !ok {
		return fleet.Device{}, false
	}
	return v.devices[i], true
}

// Changed receives after the devices changed in more than their LastSeen.
// Several changes may come as one.
func (v *Inventory) Changed() <-chan struct{} { return v.changed }

// SetKnown tells which cameras the centre has: they are described whether
// anything hears them or not, with their own credentials first, and their
// devices keep the keys the centre has for them. It replaces what was told
// before.
func (v *Inventory) SetKnown(targets []fleet.Target) {
	v.mu.Lock()
	v.known = slices.Clone(targets)
	v.mu.Unlock()
	poke(v.poked)
}

// SetCredentials tells the site's credentials, tried in order on every device,
// behind its own where the centre has some. It replaces what was told before.
func (v *Inventory) SetCredentials(site []fleet.Credentials) {
	v.mu.Lock()
	v.site = slices.Clone(site)
	v.mu.Unlock()
	poke(v.poked)
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run finds, merges and describes until ctx is done, and returns when all it
// started has ended. It may be called once.
func (v *Inventory) Run(ctx context.Context) error {
	var started sync.WaitGroup
	defer started.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan fleet.Sighting, 64) // finders must not wait for a merge
	for _, f := range v.opts.Finders {
		started.Go(func() { v.find(ctx, f, heard) })
	}
	b := newBook(v.opts)
	ended := make(chan outcome) // describers wait for the loop, which always comes back to it
	house := time.NewTicker(housekeeping)
	defer house.Stop()
	work := time.NewTimer(0)
	defer work.Stop()
	var (
		mergeAt time.Time     // zero: nothing new
		wakeAt  time.Time     // when work fires
		pace    time.Duration // a merge of thousands of devices takes its time: at most a tenth of ours
		look    = true        // something may be due; a sighting we know changes nothing
	)
	soon := func() {
		if !mergeAt.IsZero() {
			return
		}
		mergeAt = time.Now().Add(max(gather, pace))
		if wakeAt.IsZero() || mergeAt.Before(wakeAt) {
			wakeAt = mergeAt
			work.Reset(time.Until(wakeAt))
		}
	}
	asked := time.Time{}
	failing := false
	neighbours := func(now time.Time) {
		if v.opts.Neighbours == nil || now.Sub(asked) < time.Second { // a burst of sightings asks once
			return
		}
		asked = now
		table, err := v.opts.Neighbours()
		if err != nil && !failing {
			v.opts.Log.WarnContext(ctx, "the neighbour table cannot be read: devices are told apart without their MACs", "err", err)
		}
		failing = err != nil
		b.neighbours(table)
	}
	for {
		if look {
			look = false
			now := time.Now()
			if !mergeAt.IsZero() && !now.Before(mergeAt) {
				mergeAt = time.Time{}
				neighbours(now)
				b.merge(now)
				v.publish(b.devices(now))
				pace = 10 * time.Since(now)
			}
			for _, t := range b.due(now) {
				started.Go(func() {
					o := v.describe(ctx, t)
					select {
					case ended <- o:
					case <-ctx.Done():
					}
				})
			}
			wakeAt = b.next(now)
			if !mergeAt.IsZero() && mergeAt.Before(wakeAt) {
				wakeAt = mergeAt
			}
			work.Reset(time.Until(wakeAt))
		}
		select {
		case <-ctx.Done():
			return nil
		case s := <-heard:
			if b.hear(s) {
				soon()
			}
		case o := <-ended:
			b.described(o, time.Now())
			if o.bare {
				asked = time.Time{} // the neighbour table knows more now
			}
			soon()
			look = true
		case <-v.poked:
			v.mu.Lock()
			known, site := v.known, v.site
			v.mu.Unlock()
			b.tell(known, site)
			soon()
			look = true
		case <-house.C:
			b.forget(time.Now())
			b.looked(v.views())
			soon()
		case <-work.C:
			if b.reveal(time.Now()) {
				soon()
			}
			look = true
		}
	}
}

// find keeps one finder running: a finder that fails is started again.
func (v *Inventory) find(ctx context.Context, f protocols.Finder, heard chan<- fleet.Sighting) {
	failing := false
	for {
		err := f.Find(ctx, func(s fleet.Sighting) {
			select {
			case heard <- s:
			case <-ctx.Done():
			}
		})
		if ctx.Err() != nil {
			return
		}
		if !failing {
			v.opts.Log.Warn("a finder stopped; it is started again every few seconds", "finder", fmt.Sprintf("%T", f), "err", err)
		}
		failing = true
		select {
		case <-time.After(restartFinder):
		case <-ctx.Done():
			return
		}
	}
}

func junkOf(all []fleet.Evidence) (out []fleet.Evidence) {
	for _, e := range all {
		if e.Junk {
			out = append(out, e)
		}
	}
	return out
}

// publish shows devices, and says so if more than the time changed.
func (v *Inventory) publish(devices []fleet.Device) {
	v.mu.Lock()
	old := v.devices
	v.devices = devices
	v.mu.Unlock()
	if !slices.EqualFunc(old, devices, sameButTime) {
		poke(v.changed)
	}
}

func sameButTime(a, b fleet.Device) bool {
	a.LastSeen, b.LastSeen = time.Time{}, time.Time{}
	// Which of two reasons joined sightings first changes with their times; what
	// is junk does not.
	a.Evidence, b.Evidence = junkOf(a.Evidence), junkOf(b.Evidence)
	if (a.ClockSkew - b.ClockSkew).Abs() < time.Second { // every description measures a little differently
		a.ClockSkew = b.ClockSkew
	}
	return reflect.DeepEqual(a, b)
}
