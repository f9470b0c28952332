package uplink

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

const (
	// thumbWindow is how many thumbnails are in flight: they are fifty times
	// the size of a report and must not stand in its way.
	thumbWindow = 4
	// maxThumbs bounds the thumbnails that wait for the line: about 8 kB each.
	maxThumbs = 512
)

// thumbs holds the newest thumbnail of each camera that the centre has not
// stored. They are not kept across restarts: the next picture brings another.
type thumbs struct {
	changed chan struct{} // capacity 1: a signal

	mu      sync.Mutex
	waiting map[fleet.CameraID]fleet.Capture
	sent    map[fleet.CameraID]sending
}

// sending is when a camera's last thumbnail was sent, and under which mask.
type sending struct {
	at   time.Time
	mask fleet.MaskSum
}

func newThumbs() thumbs {
	return thumbs{changed: make(chan struct{}, 1), waiting: make(map[fleet.CameraID]fleet.Capture), sent: make(map[fleet.CameraID]sending)}
}

// Show offers c's thumbnail to the centre. Only the newest of each camera
// waits.
func (u *Uplink) Show(c fleet.Capture) {
	if len(c.Reading.Thumbnail) > 0 {
		u.thumbs.add(c)
	}
}

func (t *thumbs) add(c fleet.Capture) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old, ok := t.waiting[c.Camera]; ok && old.At > c.At {
		return
	}
	if len(t.waiting) >= maxThumbs {
		for id := range t.waiting { // any: each will have another soon
			delete(t.waiting, id)
			break
		}
	}
	t.waiting[c.Camera] = c
	signal(t.changed)
}

// next takes a thumbnail that may be sent now, or tells how long until one may:
// at once when the one before was under another mask, for the centre has dropped
// that.
func (t *thumbs) next(every time.Duration) (c fleet.Capture, wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	wait = time.Hour
	for id, c := range t.waiting {
		last := t.sent[id]
		left := last.at.Add(every).Sub(now)
		if left <= 0 || last.mask != c.Reading.Fingerprint.Mask {
			delete(t.waiting, id)
			t.sent[id] = sending{now, c.Reading.Fingerprint.Mask}
			return c, 0, true
		}
		wait = min(wait, left)
	}
	return fleet.Capture{}, wait, false
}

// drop forgets the thumbnails that must not be seen any more.
func (t *thumbs) drop(fits func(fleet.Capture) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, c := range t.waiting {
		if !fits(c) {
			delete(t.waiting, id)
		}
	}
}

// show sends thumbnails, as many as the centre wants. None goes before the
// centre's list of cameras has come on this stream: a mask may have been set
// while the line was cut.
func (l *link) show(ctx context.Context, every time.Duration) error {
	select {
	case <-l.listed:
	case <-ctx.Done():
		return ctx.Err()
	}
	t := &l.u.thumbs
	flights := make(map[uint64]fleet.Capture)
	defer func() {
		for _, c := range flights {
			t.add(c) // unless a newer one waits
		}
	}()
	batch := uint64(0)
	for {
		wait := time.Hour
		for len(flights) < thumbWindow {
			c, w, ok := t.next(every)
			if !ok {
				wait = w
				break
			}
			batch++
			switch sent, err := l.exhibit(batch, c); {
			case err != nil:
				flights[batch] = c
				return fmt.Errorf("thumbnail: %w", err)
			case sent:
				flights[batch] = c
			}
		}
		if len(flights) > 0 {
			wait = min(wait, l.u.opts.AckTimeout)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-t.changed:
		case b := <-l.thumbStored:
			delete(flights, b)
		case <-timer.C:
			clear(flights) // lost answers do not stop the show
		}
		timer.Stop()
	}
}

// exhibit sends a thumbnail, unless it was made under another mask than its
// camera has now. The mask cannot change between the look and the sending: an
// acknowledged list of cameras has no older thumbnail behind it.
func (l *link) exhibit(batch uint64, c fleet.Capture) (sent bool, err error) {
	l.showing.Lock()
	defer l.showing.Unlock()
	if !l.u.fits(c) {
		return false, nil
	}
	return true, l.say(&wire.FromAgent{Body: &wire.FromAgent_Thumbnail{Thumbnail: &wire.Thumbnail{Batch: batch, Camera: uint64(c.Camera), Schedule: uint64(c.Schedule),
		NominalMs: int64(c.Nominal), AtMs: int64(c.At), Jpeg: c.Reading.Thumbnail, Mask: uint64(c.Reading.Fingerprint.Mask)}}})
}

// fits says whether what c shows may be seen.
func (u *Uplink) fits(c fleet.Capture) bool {
	m, err := u.store.Mask(c.Camera)
	return err == nil && m.Sum() == c.Reading.Fingerprint.Mask
}

// inventory holds the devices that the centre is to know.
type inventory struct {
	changed chan struct{} // capacity 1: a signal

	mu      sync.Mutex
	devices []fleet.Device
	known   bool // SetDevices was called
	batch   uint64
	dirty   bool
}

func newInventory() inventory { return inventory{changed: make(chan struct{}, 1)} }

// SetDevices tells the centre which devices there are, now and after each
// reconnect, until the next call.
func (u *Uplink) SetDevices(devices []fleet.Device) {
	i := &u.inventory
	i.mu.Lock()
	i.devices, i.known, i.dirty = devices, true, true
	i.mu.Unlock()
	signal(i.changed)
}

func (i *inventory) again() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.dirty = i.known
}

// take returns the devices when they are to be sent, else nil.
func (i *inventory) take() (uint64, []fleet.Device) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.dirty {
		return 0, nil
	}
	i.dirty = false
	i.batch++
	if i.devices == nil {
		return i.batch, []fleet.Device{}
	}
	return i.batch, i.devices
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
