package agent

import (
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxThumbnails bounds the pictures that wait to be shown: about 4 MB. They are
// a view of the present and are not kept over a restart.
const maxThumbnails = 256

// thumbnails holds the latest picture of each camera until it is sent, and
// keeps the pace the centre asked for.
type thumbnails struct {
	mu      sync.Mutex
	every   time.Duration
	waiting map[fleet.CameraID]uplink.Thumbnail
	order   []fleet.CameraID
	sent    map[fleet.CameraID]time.Time
}

func (t *thumbnails) init() {
	t.every = time.Hour
	t.waiting = map[fleet.CameraID]uplink.Thumbnail{}
	t.sent = map[fleet.CameraID]time.Time{}
}

func (t *thumbnails) setEvery(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.every = d
}

// put reports whether the picture will be sent.
func (t *thumbnails) put(th uplink.Thumbnail, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	id := th.Occurrence.Camera
	_, queued := t.waiting[id]
	if last, ok := t.sent[id]; ok && !queued && now.Sub(last) < t.every {
		return false
	}
	if !queued {
		if len(t.waiting) >= maxThumbnails {
			delete(t.waiting, t.order[0])
			t.order = t.order[1:]
		}
		t.order = append(t.order, id)
	}
	t.waiting[id] = th
	t.sent[id] = now
	return true
}

func (t *thumbnails) take() (uplink.Thumbnail, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) == 0 {
		return uplink.Thumbnail{}, false
	}
	id := t.order[0]
	t.order = t.order[1:]
	th := t.waiting[id]
	delete(t.waiting, id)
	return th, true
}
