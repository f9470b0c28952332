package scheduler

import (
	"encoding/binary"
	"hash/maphash"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// cameras holds the fleet in memory: a slot of 48 bytes for each camera with
// what scheduling asks, and the rest packed, about 100 bytes, which is unpacked
// when somebody looks at it.
type cameras struct {
	slots slab[cameraSlot]
	byID  map[fleet.CameraID]uint32
	seed  maphash.Seed // random, so that no LAN can choose what collides

	texts  store.Texts
	blobs  [][]byte // of blobSize
	packed []byte   // scratch
	dead   int      // bytes of blobs that no slot points to
	live   int
}

type cameraSlot struct {
	id       fleet.CameraID
	blob     uint32 // segment and offset
	site     uint32
	task     uint32 // its first task
	device   uint32 // next camera of the same device, once its site's devices are listed
	next     uint32 // next camera of the same site
	tag      uint16 // what an agent must have, in Scheduler.tags; 0 = nothing
	approved bool
	pending  bool
	masked   bool // parts of it must not be seen: its agent must know masks
	video    bool // it has no address that answers a JPEG: its agent needs a video decoder
}

const (
	blobBits = 20
	blobSize = 1 << blobBits
)

func newCameras() cameras {
	return cameras{byID: map[fleet.CameraID]uint32{}, seed: maphash.MakeSeed()}
}

func (t *cameras) hash(text string) uint64 { return maphash.String(t.seed, text) }

// get unpacks a camera.
func (t *cameras) get(n uint32) fleet.Camera {
	at := t.slots.at(n).blob
	b := t.blobs[at>>blobBits][at&(blobSize-1):]
	size, used := binary.Uvarint(b)
	c, err := store.ParseCamera(b[used:used+int(size)], &t.texts)
	if err != nil {
		panic("scheduler: camera record in memory: " + err.Error()) // this package packed it
	}
	return c
}

// set keeps the packed camera in slot n, which is new or its own.
func (t *cameras) set(n uint32, packed []byte, h *store.Head) {
	slot := t.slots.at(n)
	if slot.blob != 0 {
		old := slot.blob
		size, used := binary.Uvarint(t.blobs[old>>blobBits][old&(blobSize-1):])
		t.dead += int(size) + used
		t.live -= int(size) + used
	}
	slot.blob = t.keep(packed)
	slot.approved, slot.pending, slot.video = h.State == fleet.Approved, h.State == fleet.Pending, h.Video
	if t.dead > t.live/2+blobSize {
		t.compact()
	}
}

// keep puts a packed camera behind what is there. The first byte of all is left
// unused, so that 0 points nowhere.
func (t *cameras) keep(packed []byte) uint32 {
	need := len(packed) + binary.MaxVarintLen32
	last := t.segment(need)
	at := uint32(last)<<blobBits | uint32(len(t.blobs[last]))
	before := len(t.blobs[last])
	b := binary.AppendUvarint(t.blobs[last], uint64(len(packed)))
	t.blobs[last] = append(b, packed...)
	t.live += len(t.blobs[last]) - before
	return at
}

// segment returns the one that has room for need bytes.
func (t *cameras) segment(need int) int {
	last := len(t.blobs) - 1
	if last < 0 || len(t.blobs[last])+need > blobSize {
		t.blobs = append(t.blobs, make([]byte, 0, blobSize))
		if last++; last == 0 {
			t.blobs[0] = append(t.blobs[0], 0)
		}
	}
	return last
}

// compact writes all cameras anew, without what is dead.
func (t *cameras) compact() {
	old := t.blobs
	t.blobs, t.live, t.dead = nil, 0, 0
	for n := uint32(1); n <= t.slots.used; n++ {
		slot := t.slots.at(n)
		if slot.blob == 0 {
			continue
		}
		b := old[slot.blob>>blobBits][slot.blob&(blobSize-1):]
		size, used := binary.Uvarint(b)
		whole := b[:used+int(size)]
		last := t.segment(len(whole))
		slot.blob = uint32(last)<<blobBits | uint32(len(t.blobs[last]))
		t.blobs[last] = append(t.blobs[last], whole...)
		t.live += len(whole)
	}
}

// camera unpacks the camera, or returns nil. s.mu is held.
func (s *Scheduler) camera(id fleet.CameraID) *fleet.Camera {
	n := s.cams.byID[id]
	if n == 0 {
		return nil
	}
	c := s.cams.get(n)
	return &c
}

// remember puts a camera into the tables. s.mu is held, or nobody else is there.
func (s *Scheduler) remember(c *fleet.Camera) {
	t := &s.cams
	t.packed = store.AppendCamera(t.packed[:0], c, &t.texts)
	h := store.HeadOf(c)
	s.keepCamera(&h)
}

// loadCamera is remember for a record of the store.
func (s *Scheduler) loadCamera(record []byte) (err error) {
	t := &s.cams
	var h store.Head
	if t.packed, h, err = store.Intern(t.packed[:0], record, &t.texts); err == nil {
		s.keepCamera(&h)
	}
	return err
}

// keepCamera keeps the camera that is packed in s.cams.packed.
func (s *Scheduler) keepCamera(h *store.Head) {
	t := &s.cams
	n := t.byID[h.ID]
	fresh := n == 0
	if fresh {
		n = t.slots.take()
		t.byID[h.ID] = n
	}
	slot := t.slots.at(n)
	at := s.siteNamed(h.Site)
	if slot.pending {
		at.pending--
	}
	t.set(n, t.packed, h)
	slot.tag = s.tagNumber(h.Label(tagLabel))
	if slot.pending {
		at.pending++
	}
	if fresh {
		slot.id, slot.site = h.ID, at.index
		slot.next, at.first = at.first, n
		at.cameras++
		if at.devices != nil {
			s.list(at, n)
		}
	}
}

// deviceIndex says which camera belongs to which device of a site. It is made
// when an agent of the site tells what it has found: most of a large fleet is
// asleep when the scheduler starts.
type deviceIndex struct {
	first  map[uint64]uint32 // by hash of the device: its first camera
	claims map[uint64]uint32 // by hash of a claim: a camera of that device
}

func (s *Scheduler) devicesOf(at *site) *deviceIndex {
	if at.devices == nil {
		at.devices = &deviceIndex{first: map[uint64]uint32{}, claims: map[uint64]uint32{}}
		for n := at.first; n != 0; n = s.cams.slots.at(n).next {
			s.list(at, n)
		}
	}
	return at.devices
}

func (s *Scheduler) list(at *site, n uint32) {
	c := s.cams.get(n)
	h := s.cams.hash(c.Device)
	s.cams.slots.at(n).device = at.devices.first[h]
	at.devices.first[h] = n
}

// tagLabel is the label of a camera that only an agent with that tag can do.
const tagLabel = "needs"

func (s *Scheduler) tagNumber(tag string) uint16 {
	if tag == "" {
		return 0
	}
	n, ok := s.tagNumbers[tag]
	if !ok && len(s.tags) < 1<<16-1 {
		s.tags = append(s.tags, tag)
		n = uint16(len(s.tags))
		s.tagNumbers[tag] = n
	}
	return n
}

// sources returns a device's cameras by source token; nil when it has none.
func (s *Scheduler) sources(site fleet.SiteID, device string) map[string]fleet.CameraID {
	var found map[string]fleet.CameraID
	for n := s.devicesOf(s.siteNamed(site)).first[s.cams.hash(device)]; n != 0; n = s.cams.slots.at(n).device {
		if c := s.cams.get(n); c.Device == device {
			if found == nil {
				found = map[string]fleet.CameraID{}
			}
			found[c.Source] = c.ID
		}
	}
	return found
}

// deviceOf returns the device of the site that has the claim, or "".
func (s *Scheduler) deviceOf(site fleet.SiteID, claim fleet.Claim) string {
	key := string(claim.Kind) + ":" + claim.Value
	if s.sources(site, key) != nil {
		return key
	}
	n := s.devicesOf(s.siteNamed(site)).claims[s.cams.hash(key)]
	if n == 0 {
		return ""
	}
	return s.cams.get(n).Device
}

// claim remembers that the site's device has the claim. The device's own key
// needs no entry.
func (s *Scheduler) claim(site fleet.SiteID, device string, claim fleet.Claim) {
	key := string(claim.Kind) + ":" + claim.Value
	index := s.devicesOf(s.siteNamed(site))
	if n := index.first[s.cams.hash(device)]; n != 0 && key != device {
		index.claims[s.cams.hash(key)] = n
	}
}

// cameraChunk is how many cameras are looked at before others may take the
// lock, unless they have taken cameraTime.
const (
	cameraChunk = 4096
	cameraTime  = 10 * time.Millisecond
)

// eachCamera calls f for each camera with s.mu held, which it lets go of now
// and then: cameras that come meanwhile may be met or not.
func (s *Scheduler) eachCamera(f func(n uint32)) {
	for n, last := uint32(1), uint32(1); n <= last; {
		s.mu.Lock()
		last = s.cams.slots.used
		began := time.Now()
		for end := n + cameraChunk; n <= last && n < end; n++ {
			if f(n); n%8 == 0 && time.Since(began) > cameraTime {
				end = n + 1
			}
		}
		s.mu.Unlock()
	}
}
