package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// sync waits until all that was changed before the call is durable. The first
// of a group to call does the work for all of it, after waiting a little for
// more; there is no goroutine of the store's own.
func (s *Store) sync(ctx context.Context, rows int, force bool) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	b := s.gathering
	lead := b == nil
	if lead {
		b = &batch{full: make(chan struct{}), done: make(chan struct{})}
		s.gathering = b
	}
	b.force = b.force || force
	before := b.rows
	b.rows += rows
	if before < s.opts.Batch && b.rows >= s.opts.Batch {
		close(b.full)
	}
	s.mu.Unlock()
	if !lead {
		select {
		case <-b.done:
			return b.err
		case <-ctx.Done():
			return ctx.Err() // the change is made all the same
		}
	}
	if s.opts.Linger > 0 {
		t := time.NewTimer(s.opts.Linger)
		select {
		case <-b.full:
		case <-t.C:
		}
		t.Stop()
	}
	s.io.Lock()
	s.mu.Lock()
	s.gathering = nil // who comes now changed something this commit does not see
	now := b.force || s.pressing()
	s.mu.Unlock()
	if now {
		b.err = s.commit(b.force)
	}
	s.io.Unlock()
	close(b.done)
	return b.err
}

// pressing reports whether something waits that a power cut must not take.
// Rows to delete are none: their outcomes are stored at the centre, and a row
// that comes back is reported once more, which changes nothing there. So an
// agent online writes orders when they come, and little besides. Callers hold mu.
func (s *Store) pressing() bool {
	d := &s.dirty
	return len(s.fresh)+len(d.orders)+len(d.cameras)+len(d.values)+len(d.commands)+len(d.logins) > 0 || d.stamp || d.list || d.full || len(s.acked)+len(s.gone) >= s.opts.Batch
}

// keysBatches is how many batches of outcomes share one row of recent, unless a
// Sync comes first: with one batch in a row, an outcome costs the disk 180 bytes
// more online (BenchmarkDiskPerRecordOnline).
const keysBatches = 8

// snapshot is what one commit writes.
type snapshot struct {
	dirty
	nonce, fence uint64
	frontier     fleet.Instant
	recalledNow  map[fleet.Occurrence]bool // of dirty.recalls: whether they are in recalled
	outdated     int64                     // rows of recent up to it go
	version      uint64
	site         []fleet.Credentials
	targets      map[fleet.CameraID]fleet.Target
	fresh        map[int64]fleet.Capture
	acked        []int64
	gone         []fleet.Occurrence
	taken        map[string]fleet.Instant // of dirty.commands: those that are kept
	worked       map[string]Login         // of dirty.logins
}

func (n *snapshot) empty() bool {
	return len(n.orders)+len(n.fresh)+len(n.acked)+len(n.gone)+len(n.dirty.cameras)+len(n.values)+len(n.done)+len(n.recalls)+len(n.dirty.commands)+len(n.dirty.logins)+len(n.notes) == 0 && !n.stamp && !n.list && !n.full && !n.passed && !n.forget
}

// commit writes what changed in one transaction: all of it, or all but the keys
// of a few outcomes, which would cost a page of their own each time. Callers
// hold io.
func (s *Store) commit(all bool) error {
	n := s.begin(all)
	if n.empty() {
		return nil
	}
	row, err := s.write(n)
	if err == nil {
		s.mu.Lock()
		s.recent.written(row, n.outdated)
		s.mu.Unlock()
	} else {
		// A full disk may have room for this again once the log is folded into
		// the file; whether it does shows with the next commit.
		_, _ = s.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
		err = fmt.Errorf("commit agent store: %w", err)
	}
	s.end(n, err)
	return err
}

// begin takes the changes out of memory's books.
func (s *Store) begin(all bool) *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		s.dirty.stamp = true // something to write, to see whether the disk is well again
	}
	n := &snapshot{
		dirty: s.dirty, nonce: s.nonce, fence: s.fence, frontier: s.frontier, version: s.version, site: s.site, outdated: s.recent.outdated(),
		fresh: make(map[int64]fleet.Capture, len(s.fresh)), acked: s.acked, gone: s.gone,
	}
	s.dirty, s.acked, s.gone = dirty{}, nil, nil
	s.noting = n.notes
	if !all && len(n.done) < keysBatches*s.opts.Batch {
		s.dirty.done, n.done = n.done, nil
	}
	if len(n.recalls) > 0 {
		n.recalledNow = make(map[fleet.Occurrence]bool, len(n.recalls))
		for _, o := range n.recalls {
			n.recalledNow[o] = s.recalled[o]
		}
	}
	s.writing = make(map[int64]bool, len(s.fresh))
	for id, c := range s.fresh {
		n.fresh[id] = c
		s.writing[id] = true
	}
	n.targets = make(map[fleet.CameraID]fleet.Target, len(n.dirty.cameras))
	for id := range n.dirty.cameras {
		if t, ok := s.cameras[id]; ok {
			n.targets[id] = t
		}
	}
	s.remembered(n)
	return n
}

// end enters a commit's result into memory's books.
func (s *Store) end(n *snapshot, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
	s.writing, s.noting = nil, nil
	if err == nil {
		for _, h := range n.orders {
			h.durable = true
		}
		for id := range n.fresh {
			if _, ok := s.fresh[id]; ok { // else it was acknowledged meanwhile
				delete(s.fresh, id)
				s.onDisk++
			}
		}
		return
	}
	// All of it is still to be written. What was dropped meanwhile is in gone,
	// which deletes rows that may not exist: harmless.
	for _, h := range n.orders {
		if s.held[h.Occurrence] == h {
			s.dirty.orders = append(s.dirty.orders, h)
		}
	}
	s.dirty.done = append(n.done, s.dirty.done...)
	s.dirty.recalls = append(n.recalls, s.dirty.recalls...)
	s.dirty.forget = s.dirty.forget || n.forget
	s.dirty.passed = s.dirty.passed || n.passed
	s.dirty.stamp = s.dirty.stamp || n.stamp
	s.dirty.list = s.dirty.list || n.list
	s.dirty.full = s.dirty.full || n.full
	for id := range n.dirty.cameras {
		s.dirty.camera(id)
	}
	for k, v := range n.values {
		if _, ok := s.dirty.values[k]; !ok {
			s.dirty.value(k, v)
		}
	}
	for id := range n.dirty.commands {
		s.dirty.command(id)
	}
	for device := range n.dirty.logins {
		s.dirty.login(device)
	}
	for k, body := range n.notes {
		if _, ok := s.dirty.notes[k]; !ok {
			s.dirty.note(k, body)
		}
	}
	s.acked = append(n.acked, s.acked...)
	for _, o := range n.gone {
		if s.held[o] == nil { // else it came back meanwhile
			s.gone = append(s.gone, o)
		}
	}
}

func (d *dirty) camera(id fleet.CameraID) {
	if d.cameras == nil {
		d.cameras = make(map[fleet.CameraID]bool)
	}
	d.cameras[id] = true
}

func (d *dirty) value(k string, v []byte) {
	if d.values == nil {
		d.values = make(map[string][]byte)
	}
	d.values[k] = v
}

// write is the transaction. The order of its parts does not matter but for one:
// orders are inserted before those that ended meanwhile are deleted.
func (s *Store) write(n *snapshot) (row recentRow, err error) {
	tx, err := s.db.Begin()
	if err != nil {
		return row, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreDone(tx.Rollback()))
		}
	}()
	if len(n.orders) > 0 {
		err := each(tx, "INSERT OR REPLACE INTO orders (nominal, camera, schedule, deadline, retries, fence, not_before, priority, own) VALUES (?,?,?,?,?,?,?,?,?)", n.orders, func(h *held) []any {
			return []any{int64(h.Nominal), int64(h.Camera), int64(h.Schedule), int64(h.Deadline), int64(h.Retries), int64(h.Fence), int64(h.NotBefore), int64(h.Priority), h.own}
		})
		if err != nil {
			return row, err
		}
	}
	if len(n.gone) > 0 {
		slices.SortFunc(n.gone, fleet.Occurrence.Compare)
		err := each(tx, "DELETE FROM orders WHERE nominal=? AND camera=? AND schedule=?", n.gone, func(o fleet.Occurrence) []any {
			return []any{int64(o.Nominal), int64(o.Camera), int64(o.Schedule)}
		})
		if err != nil {
			return row, err
		}
	}
	if len(n.fresh) > 0 {
		ids := make([]int64, 0, len(n.fresh))
		for id := range n.fresh {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		var b []byte
		err := each(tx, "INSERT OR REPLACE INTO outbox (id, record) VALUES (?,?)", ids, func(id int64) []any {
			b = s.opts.Codec.Append(b[:0], n.fresh[id])
			b = guarded(b)
			return []any{id, b}
		})
		if err != nil {
			return row, err
		}
	}
	if err := deleteRows(tx, n.acked); err != nil {
		return row, err
	}
	if err := writeCameras(tx, n); err != nil {
		return row, err
	}
	if n.stamp {
		b := binary.BigEndian.AppendUint64(nil, n.nonce)
		if err := putMeta(tx, keyStamp, binary.BigEndian.AppendUint64(b, n.fence)); err != nil {
			return row, err
		}
	}
	for k, v := range n.values {
		if err := putMeta(tx, k, v); err != nil {
			return row, err
		}
	}
	if err := writeNotes(tx, n); err != nil {
		return row, err
	}
	if err := writeRemembered(tx, n); err != nil {
		return row, err
	}
	if row, err = writeStanding(tx, n); err != nil {
		return row, err
	}
	return row, tx.Commit()
}

// deleteRows deletes outbox rows, by ranges where the numbers have no gaps:
// one statement instead of a batch's 64.
func deleteRows(tx *sql.Tx, ids []int64) error {
	slices.Sort(ids)
	for len(ids) > 0 {
		n := 1
		for n < len(ids) && ids[n] == ids[n-1]+1 {
			n++
		}
		if _, err := tx.Exec("DELETE FROM outbox WHERE id BETWEEN ? AND ?", ids[0], ids[n-1]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

// each runs one prepared statement for every item.
func each[T any](tx *sql.Tx, query string, items []T, args func(T) []any) (err error) {
	st, err := tx.Prepare(query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	for _, it := range items {
		if _, err := st.Exec(args(it)...); err != nil {
			return err
		}
	}
	return nil
}

func putMeta(tx *sql.Tx, k string, v []byte) error {
	_, err := tx.Exec("INSERT OR REPLACE INTO meta (k, v) VALUES (?,?)", k, v)
	return err
}

// ignoreDone hides that a failed COMMIT has rolled back by itself.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// castagnoli guards each record: SQLite's log has checksums, its file has none,
// and a flipped bit must not become a wrong fingerprint.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parse reads an outbox record; ok is false when it is damaged.
func (s *Store) parse(b []byte) (c fleet.Capture, ok bool) {
	b, ok = unguarded(b)
	if !ok {
		return c, false
	}
	cs, err := s.opts.Codec.Parse(b)
	if err != nil || len(cs) != 1 {
		return c, false
	}
	return cs[0], true
}

// takeFromDisk gives out rows, newest first, that no one has.
func (s *Store) takeFromDisk(ctx context.Context, limit int) (out []Row, err error) {
	s.io.Lock() // no commit moves rows while they are read
	defer s.io.Unlock()
	s.mu.Lock()
	skip := make(map[int64]bool, len(s.taken)+len(s.acked))
	for id := range s.taken {
		skip[id] = true
	}
	for _, id := range s.acked {
		skip[id] = true
	}
	s.mu.Unlock()
	rows, err := s.db.QueryContext(ctx, "SELECT id, record FROM outbox ORDER BY id DESC LIMIT ?", limit+len(skip))
	if err != nil {
		return nil, fmt.Errorf("take outcomes: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var torn []int64
	for rows.Next() && len(out) < limit {
		var id int64
		var b sql.RawBytes
		if err := rows.Scan(&id, &b); err != nil {
			return nil, fmt.Errorf("take outcomes: %w", err)
		}
		if skip[id] {
			continue
		}
		c, ok := s.parse(b)
		if !ok {
			torn = append(torn, id)
			continue
		}
		out = append(out, Row{ID: id, Capture: c})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := out[:0]
	for _, r := range out {
		if s.taken[r.ID] || slices.Contains(s.acked, r.ID) {
			continue // another caller was faster
		}
		s.taken[r.ID] = true
		kept = append(kept, r)
	}
	// A record that cannot be read would stand in the way for ever. Its order
	// is gone, so the centre gives up on it in time: missed(agent-lost).
	s.acked = append(s.acked, torn...)
	s.onDisk -= len(torn)
	return kept, rows.Err()
}
