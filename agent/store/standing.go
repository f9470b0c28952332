package store

import (
	"container/heap"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// SetStanding replaces the standing orders, with the nonce and fence of the
// instruction that brought them, and returns once that is durable. Now is the
// present: occurrences that the agent began by itself and whose time has not
// come are forgotten, for the new ones may say otherwise, and so is what was
// recalled under the old ones.
func (s *Store) SetStanding(ctx context.Context, version uint64, raw []byte, now fleet.Instant, nonce, fence uint64) error {
	s.mu.Lock()
	if err := s.stamp(nonce, fence); err != nil {
		s.mu.Unlock()
		return err
	}
	s.accept(nonce, fence)
	s.rewind(now)
	if version != s.standing {
		clear(s.recalled)
		s.dirty.recalls, s.dirty.forget = nil, true
	}
	s.standing = version
	s.dirty.value(keyStanding, binary.BigEndian.AppendUint64(nil, version))
	s.dirty.value(keyStandingRaw, guarded(slices.Clone(raw)))
	s.mu.Unlock()
	signal(s.standChanged)
	signal(s.settled)
	return s.sync(ctx, s.opts.Batch, true)
}

// StandingVersion returns the version of the standing orders; 0 when there are
// none.
func (s *Store) StandingVersion() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.standing
}

// Standing returns the standing orders as they were given to SetStanding, and
// the frontier. Raw is nil when there are none.
func (s *Store) Standing() (raw []byte, frontier fleet.Instant, err error) {
	s.io.Lock() // no commit moves the value from memory to the file meanwhile
	defer s.io.Unlock()
	s.mu.Lock()
	raw, ok := s.dirty.values[keyStandingRaw]
	frontier = s.frontier
	s.mu.Unlock()
	if !ok {
		if raw, err = s.meta(keyStandingRaw); err != nil || raw == nil {
			return nil, frontier, err
		}
	}
	if raw, ok = unguarded(raw); !ok {
		return nil, frontier, fmt.Errorf("standing orders: %w", ErrDamaged)
	}
	return raw, frontier, nil
}

// Frontier returns up to which nominal time all of the agent's own occurrences
// were considered.
func (s *Store) Frontier() fleet.Instant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frontier
}

// StandingChanged signals new standing orders. Signals coalesce.
func (s *Store) StandingChanged() <-chan struct{} { return s.standChanged }

// BeginOwn takes orders that the agent makes by itself out of its standing
// orders, all that there are up to the frontier, which it moves there. Orders
// that are held, were recalled, or ended not long ago are not taken. It
// returns how many were, at once: they are durable after the next Sync. When
// the disk refuses and memory is full it takes none, and the frontier stays.
func (s *Store) BeginOwn(orders []fleet.Order, frontier fleet.Instant) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, ErrClosed
	}
	if s.fault != nil && len(s.dirty.orders)+len(orders) > s.opts.MemoryLimit {
		return 0, fmt.Errorf("begin %d orders of its own: %w: %w", len(orders), ErrFull, s.fault)
	}
	begun := 0
	for _, o := range orders {
		if s.held[o.Occurrence] == nil && !s.recent.has(o.Occurrence) && !s.recalled[o.Occurrence] {
			s.hold(&held{Order: o, own: true})
			begun++
		}
	}
	if frontier > s.frontier {
		s.frontier = frontier
		s.dirty.passed = s.dirty.passed || len(orders) > 0
		for o := range s.recalled {
			if o.Nominal <= frontier {
				delete(s.recalled, o)
				s.dirty.recalls = append(s.dirty.recalls, o)
			}
		}
	}
	if begun > 0 {
		signal(s.ordersChanged)
	}
	return begun, nil
}

// Rewind takes the frontier back to now, for a clock that was found to be
// ahead. Occurrences of the agent's own that are later and wait are forgotten;
// they come again.
func (s *Store) Rewind(now fleet.Instant) {
	s.mu.Lock()
	s.rewind(now)
	s.mu.Unlock()
	signal(s.settled)
}

// rewind is Rewind. Callers hold mu.
func (s *Store) rewind(now fleet.Instant) {
	if s.frontier <= now {
		return
	}
	s.frontier, s.dirty.passed = now, true
	var late []*held
	for _, h := range s.waiting {
		if h.own && h.Nominal > now {
			late = append(late, h)
		}
	}
	for _, h := range late {
		heap.Remove(&s.waiting, h.at)
		s.drop(h)
	}
}

// ReleaseAll puts all running orders back among the waiting, for a runner that
// was stopped before it could decide their outcomes.
func (s *Store) ReleaseAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.held {
		if h.at < 0 {
			s.running--
			heap.Push(&s.waiting, h)
		}
	}
}

// recent remembers the keys of the last outcomes, so that an order which comes
// again, because the centre had not read the report yet or lost its last
// moments, is not taken a second time.
type recent struct {
	set  map[fleet.Occurrence]bool
	ring []fleet.Occurrence
	at   int
	rows []recentRow // what the file holds, oldest first
	kept int         // keys in rows
}

// recentRow is one row of the table, with the keys of one commit.
type recentRow struct {
	id   int64
	keys int
}

// RecentSize is how many outcomes an agent remembers after they are
// acknowledged: an hour of 50 cameras at one picture in 10 s, more than a day
// at one in 5 minutes. The memory survives restarts; a power cut takes at most
// the keys of what was acknowledged since the last Sync.
const RecentSize = 16384

func (r *recent) has(o fleet.Occurrence) bool { return r.set[o] }

func (r *recent) add(o fleet.Occurrence) {
	if r.set == nil {
		r.set = make(map[fleet.Occurrence]bool, 64)
	}
	if r.set[o] {
		return
	}
	if len(r.ring) < RecentSize {
		r.ring = append(r.ring, o)
	} else {
		delete(r.set, r.ring[r.at])
		r.ring[r.at] = o
		r.at = (r.at + 1) % RecentSize
	}
	r.set[o] = true
}

// writeStanding is commit's part for what keeps the agent from taking an
// occurrence twice. It returns the row of recent that it wrote.
func writeStanding(tx *sql.Tx, n *snapshot) (row recentRow, err error) {
	if n.forget {
		if _, err := tx.Exec("DELETE FROM recalled"); err != nil {
			return row, err
		}
	}
	for o, in := range n.recalledNow {
		query := "DELETE FROM recalled WHERE nominal=? AND camera=? AND schedule=?"
		if in {
			query = "INSERT OR REPLACE INTO recalled (nominal, camera, schedule) VALUES (?,?,?)"
		}
		if _, err := tx.Exec(query, int64(o.Nominal), int64(o.Camera), int64(o.Schedule)); err != nil {
			return row, err
		}
	}
	if n.passed {
		if err := putMeta(tx, keyFrontier, binary.BigEndian.AppendUint64(nil, uint64(n.frontier))); err != nil {
			return row, err
		}
	}
	if len(n.done) > 0 {
		b := make([]byte, 0, keyBytes*len(n.done)+crc32.Size)
		for _, o := range n.done {
			b = appendKey(b, o)
		}
		res, err := tx.Exec("INSERT INTO recent (keys) VALUES (?)", guarded(b))
		if err != nil {
			return row, err
		}
		if row.id, err = res.LastInsertId(); err != nil {
			return row, err
		}
		row.keys = len(n.done)
	}
	if n.outdated != 0 {
		if _, err := tx.Exec("DELETE FROM recent WHERE id <= ?", n.outdated); err != nil {
			return row, err
		}
	}
	return row, nil
}

// outdated returns the last row of recent that the newer ones make needless,
// once half of all is; 0 when none is. Callers hold mu.
func (r *recent) outdated() (id int64) {
	if r.kept < 2*RecentSize {
		return 0
	}
	for left, n := r.kept, 0; n < len(r.rows); n++ {
		if left -= r.rows[n].keys; left < RecentSize {
			break
		}
		id = r.rows[n].id
	}
	return id
}

// written enters a commit's row and forgets the outdated. Callers hold mu.
func (r *recent) written(row recentRow, outdated int64) {
	if row.keys > 0 {
		r.rows = append(r.rows, row)
		r.kept += row.keys
	}
	for len(r.rows) > 0 && r.rows[0].id <= outdated {
		r.kept -= r.rows[0].keys
		r.rows = r.rows[1:]
	}
}

// loadStanding fills memory with what writeStanding wrote.
func (s *Store) loadStanding() error {
	b, err := s.meta(keyStanding)
	if err != nil {
		return err
	}
	if len(b) == 8 {
		s.standing = binary.BigEndian.Uint64(b)
	}
	if b, err = s.meta(keyFrontier); err != nil {
		return err
	}
	if len(b) == 8 {
		s.frontier = fleet.Instant(binary.BigEndian.Uint64(b))
	}
	err = s.scan("SELECT nominal, camera, schedule FROM recalled", func(r *sql.Rows) error {
		var nominal, camera, schedule int64
		if err := r.Scan(&nominal, &camera, &schedule); err != nil {
			return err
		}
		s.recalled[fleet.Occurrence{Camera: fleet.CameraID(camera), Schedule: fleet.ScheduleID(schedule), Nominal: fleet.Instant(nominal)}] = true
		return nil
	})
	if err != nil {
		return err
	}
	return s.scan("SELECT id, keys FROM recent ORDER BY id", func(r *sql.Rows) error {
		var id int64
		var b sql.RawBytes
		if err := r.Scan(&id, &b); err != nil {
			return err
		}
		keys, ok := unguarded(b)
		if !ok {
			return nil // a damaged row costs at most a picture taken twice
		}
		s.recent.written(recentRow{id, len(keys) / keyBytes}, 0)
		for ; len(keys) >= keyBytes; keys = keys[keyBytes:] {
			s.recent.add(parseKey(keys))
		}
		return nil
	})
}

const keyBytes = 24

func appendKey(b []byte, o fleet.Occurrence) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(o.Nominal))
	b = binary.BigEndian.AppendUint64(b, uint64(o.Camera))
	return binary.BigEndian.AppendUint64(b, uint64(o.Schedule))
}

func parseKey(b []byte) fleet.Occurrence {
	return fleet.Occurrence{Nominal: fleet.Instant(binary.BigEndian.Uint64(b)), Camera: fleet.CameraID(binary.BigEndian.Uint64(b[8:])),
		Schedule: fleet.ScheduleID(binary.BigEndian.Uint64(b[16:]))}
}

// guarded appends b's checksum to it; unguarded takes it off again, and says
// whether it fits.
func guarded(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func unguarded(b []byte) ([]byte, bool) {
	n := len(b) - crc32.Size
	if n < 0 || crc32.Checksum(b[:n], castagnoli) != binary.BigEndian.Uint32(b[n:]) {
		return nil, false
	}
	return b[:n], true
}
