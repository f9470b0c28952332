package wheel

import "unsafe"

// item is one timer in a slot: which record, and the low bits of its time.
type item struct{ id, at uint32 }

// chunkItems fills a chunk to 256 bytes, four cache lines.
const chunkItems = 31

// chunk is a piece of a slot's stack. head.id is the chunk below it (0 = none),
// head.at how many of items are in use.
type chunk struct {
	head  item
	items [chunkItems]item
}

// slot is a stack of items. top is the number of its top chunk, 0 for none.
type slot struct{ top, n uint32 }

const slotBytes = int(unsafe.Sizeof(slot{}))

// Segments are large enough to be few and small enough that a wheel of a few
// timers stays small.
const (
	chunkBits  = 9  // 512 chunks, 128 KiB
	recordBits = 14 // 16384 records, 128 KiB
)

// chunks hands out chunks by number, from 1.
type chunks struct {
	segments []*[1 << chunkBits]chunk
	used     uint32 // numbers given out so far
	unused   uint32 // stack of chunks given back
	swept    uint32 // the chunk that the sweep is in, 0 for none
}

func (c *chunks) at(n uint32) *chunk {
	return &c.segments[n>>chunkBits][n&(1<<chunkBits-1)]
}

func (c *chunks) bytes() int { return len(c.segments) * int(unsafe.Sizeof(chunk{})) << chunkBits }

func (c *chunks) push(s *slot, e item) {
	var top *chunk
	if s.top != 0 {
		top = c.at(s.top)
	}
	if top == nil || top.head.at == chunkItems {
		n := c.take()
		top = c.at(n)
		top.head = item{id: s.top}
		s.top = n
	}
	top.items[top.head.at] = e
	top.head.at++
	s.n++
}

// pop takes the newest item of a slot that has one.
func (c *chunks) pop(s *slot) item {
	top := c.at(s.top)
	top.head.at--
	e := top.items[top.head.at]
	s.n--
	if top.head.at == 0 {
		n := s.top
		s.top = top.head.id
		top.head.id = c.unused
		c.unused = n
		if n == c.swept {
			c.swept = 0
		}
	}
	return e
}

func (c *chunks) take() uint32 {
	if n := c.unused; n != 0 {
		c.unused = c.at(n).head.id
		return n
	}
	c.used++
	if int(c.used>>chunkBits) == len(c.segments) {
		c.segments = append(c.segments, new([1 << chunkBits]chunk))
	}
	return c.used
}

// record is what a timer is beside its place.
type record struct {
	key        uint32
	generation uint32 // of the handle that names the record; never 0
}

// records hands out timers by number. A record is free again only when its
// item is met, so an item needs no generation of its own. Which are cancelled
// stands in bits of their own: a sweep looks up many, and a bit of each timer
// stays in the cache where a record does not.
type records struct {
	segments []segment
	used     uint32
}

type segment struct {
	records   *[1 << recordBits]record
	cancelled *[1 << recordBits / 64]uint64
}

const recordMask = 1<<recordBits - 1

func (r *records) bytes() int { return len(r.segments) * (8<<recordBits + 1<<recordBits/8) }

// grow hands out a record that never was one.
func (r *records) grow() uint32 {
	id := r.used
	r.used++
	if int(id>>recordBits) == len(r.segments) {
		r.segments = append(r.segments, segment{new([1 << recordBits]record), new([1 << recordBits / 64]uint64)})
	}
	r.at(id).next()
	return id
}

func (r *records) at(id uint32) *record {
	return &r.segments[id>>recordBits].records[id&recordMask]
}

// next makes all handles that were given out for the record stale.
func (r *record) next() {
	if r.generation++; r.generation == 0 {
		r.generation = 1
	}
}

// kill marks the timer of h cancelled; false when h is not waiting.
func (r *records) kill(h Handle) bool {
	id := uint32(h)
	if h == 0 || id >= r.used {
		return false
	}
	rec := r.at(id)
	if rec.generation != uint32(h>>32) {
		return false
	}
	rec.next()
	r.segments[id>>recordBits].cancelled[id&recordMask>>6] |= 1 << (id & 63)
	return true
}

// cancelled returns 1 for a cancelled timer, else 0.
func (r *records) cancelled(id uint32) uint32 {
	return uint32(r.segments[id>>recordBits].cancelled[id&recordMask>>6]>>(id&63)) & 1
}

// revive takes the mark off a cancelled timer that is free again.
func (r *records) revive(id uint32) {
	r.segments[id>>recordBits].cancelled[id&recordMask>>6] &^= 1 << (id & 63)
}
