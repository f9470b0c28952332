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

// record is what a timer is beside its place. While it is free, key is the
// next free record.
type record struct {
	key   uint32
	state uint32 // generation << 1 | cancelled
}

// records hands out timers by number. A record is freed only when its item is
// met, so an item never needs a generation of its own.
type records struct {
	segments []*[1 << recordBits]record
	used     uint32
	unused   uint32 // number + 1 of a free record, 0 for none
}

func (r *records) at(id uint32) *record {
	return &r.segments[id>>recordBits][id&(1<<recordBits-1)]
}

func (r *records) bytes() int { return len(r.segments) * int(unsafe.Sizeof(record{})) << recordBits }

func (r *records) take(key uint32) (uint32, Handle) {
	var id uint32
	if r.unused != 0 {
		id = r.unused - 1
		r.unused = r.at(id).key
	} else {
		id = r.used
		r.used++
		if int(id>>recordBits) == len(r.segments) {
			r.segments = append(r.segments, new([1 << recordBits]record))
		}
		r.at(id).state = 1 << 1
	}
	rec := r.at(id)
	rec.key = key
	return id, Handle(uint64(rec.state>>1)<<32 | uint64(id))
}

// kill marks the timer of h cancelled; false when h is not waiting.
func (r *records) kill(h Handle) bool {
	id := uint32(h)
	if h == 0 || id >= r.used {
		return false
	}
	rec := r.at(id)
	if rec.state != uint32(h>>32)<<1 {
		return false
	}
	rec.state |= 1
	return true
}

func (r *records) isDead(id uint32) bool { return r.at(id).state&1 != 0 }

// free gives a record back and moves its generation on, past zero.
func (r *records) free(id uint32) (key uint32, alive bool) {
	rec := r.at(id)
	key, alive = rec.key, rec.state&1 == 0
	if rec.state = (rec.state>>1 + 1) << 1; rec.state == 0 {
		rec.state = 1 << 1
	}
	rec.key = r.unused
	r.unused = id + 1
	return key, alive
}
