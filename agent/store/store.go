// Package store is the agent's memory across power cuts: one SQLite file with
// the orders it holds and the outbox of outcomes.
//
//	Begin ──► order ──TakeDue──► running ──Finish──► outbox row ──Ack──► gone
//	            └──Recall──► gone
//
// Writers share a sync (group commit). An order and its outcome change places
// in one transaction, so a power cut leaves exactly one of the two. When the
// disk is full the outbox goes on in memory up to a bound, and moves to disk by
// itself once there is room.
//
// At 64 outcomes a commit, taking an order, finishing it and acknowledging it
// write about 1.0 kB to the disk in all (BenchmarkDiskBytes).
package store

import (
	"cmp"
	"container/heap"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// Options configure a Store.
type Options struct {
	Window time.Duration // an outcome waits this long for others to share its sync; default 250 ms
	Group  int           // or until so many wait; default 64
	Memory int           // outcomes kept in memory while the disk is full; default 4096
}

// Store is the agent's memory. Its methods may be called from any goroutine.
type Store struct {
	db   *sql.DB
	opts Options

	mu      sync.Mutex
	orders  map[fleet.Occurrence]*held
	due     dueHeap
	outbox  map[int64]record // by row; rows below 0 are in memory only
	byKey   map[fleet.Occurrence]int64
	lastRow int64
	nonce   uint64
	fence   uint64
	cameras []fleet.Target
	site    []fleet.Credentials
	changed chan struct{} // cap 1: orders or outbox have changed

	queue  []*op
	leader bool
	broken error // why the last commit failed
}

// held is an order in memory.
type held struct {
	fleet.Order
	running bool
}

// record is one outcome as it is sent.
type record struct {
	key    fleet.Occurrence
	packed []byte
}

// Outcome is one row of the outbox.
type Outcome struct {
	Row    int64
	Packed []byte // wire.AppendCapture
}

// op is one write that waits for its commit.
type op struct {
	write func(*sql.Tx) error
	rows  int
	done  chan error    // cap 1
	lead  chan struct{} // cap 1: the op's caller must commit for all
}

const schema = `
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (nominal INTEGER, camera INTEGER, schedule INTEGER, deadline INTEGER, retries INTEGER, fence INTEGER, PRIMARY KEY (nominal, camera, schedule)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (row INTEGER PRIMARY KEY, body BLOB NOT NULL);
`

const formatVersion = 1

// Open opens the file, making it the first time.
func Open(ctx context.Context, file string, o Options) (*Store, error) {
	o.Window = cmp.Or(o.Window, 250*time.Millisecond)
	o.Group = cmp.Or(o.Group, 64)
	o.Memory = cmp.Or(o.Memory, 4096)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	// A small page cache: the store is a log, not a table to search in.
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-512)&_pragma=wal_autocheckpoint(1000)&_txlock=immediate")
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	db.SetMaxOpenConns(1)
	s := &Store{db: db, opts: o, orders: map[fleet.Occurrence]*held{}, outbox: map[int64]record{}, byKey: map[fleet.Occurrence]int64{}, changed: make(chan struct{}, 1)}
	if err := s.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", file, err), db.Close())
	}
	return s, os.Chmod(file, 0o600)
}

// Close closes the file. What was not durable (a full disk) is lost.
func (s *Store) Close() error { return s.db.Close() }

func (s *Store) load(ctx context.Context) error {
	if _, err := s.db.ExecContext(ctx, schema); err != nil {
		return err
	}
	var format int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&format); err != nil {
		return err
	}
	if format > formatVersion {
		return fmt.Errorf("written by a newer agent (format %d, this one reads %d)", format, formatVersion)
	}
	if _, err := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", formatVersion)); err != nil {
		return err
	}
	if err := each(ctx, s.db, "SELECT nominal, camera, schedule, deadline, retries, fence FROM orders", func(r *sql.Rows) error {
		var o fleet.Order
		var camera, schedule, fence int64
		err := r.Scan(&o.Nominal, &camera, &schedule, &o.Deadline, &o.Retries, &fence)
		o.Camera, o.Schedule, o.Fence = fleet.CameraID(camera), fleet.ScheduleID(schedule), uint64(fence)
		s.hold(o)
		return err
	}); err != nil {
		return err
	}
	if err := each(ctx, s.db, "SELECT row, body FROM outbox", func(r *sql.Rows) error {
		var row int64
		var body []byte
		if err := r.Scan(&row, &body); err != nil {
			return err
		}
		cs, err := wire.ParseCaptures(body)
		if err != nil || len(cs) != 1 {
			return fmt.Errorf("outbox row %d: %w", row, cmp.Or(err, wire.ErrMalformed))
		}
		s.put(row, cs[0].Occurrence, body)
		s.lastRow = max(s.lastRow, row)
		return nil
	}); err != nil {
		return err
	}
	return each(ctx, s.db, "SELECT k, v FROM meta", func(r *sql.Rows) error {
		var k string
		var v []byte
		if err := r.Scan(&k, &v); err != nil {
			return err
		}
		switch k {
		case "nonce":
			return json.Unmarshal(v, &s.nonce)
		case "fence":
			return json.Unmarshal(v, &s.fence)
		case "cameras":
			var c savedCameras
			err := json.Unmarshal(v, &c)
			s.cameras, s.site = c.restore()
			return err
		}
		return nil
	})
}

func each(ctx context.Context, db *sql.DB, query string, f func(*sql.Rows) error) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what matters
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *Store) hold(o fleet.Order) {
	h := &held{Order: o}
	s.orders[o.Occurrence] = h
	heap.Push(&s.due, h)
}

func (s *Store) put(row int64, key fleet.Occurrence, packed []byte) {
	s.outbox[row] = record{key, packed}
	s.byKey[key] = row
}

func (s *Store) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Changed yields after orders came or outcomes were added; several changes may
// be one.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// ErrStale says that an instruction was not taken: its nonce was taken before,
// or its fence is below the highest seen.
var ErrStale = errors.New("stale instruction")

// check must hold for an instruction to be taken. s.mu is held.
func (s *Store) check(nonce, fence uint64) error {
	if fence < s.fence {
		return fmt.Errorf("%w: fence %d below %d", ErrStale, fence, s.fence)
	}
	if nonce <= s.nonce {
		return fmt.Errorf("%w: nonce %d taken before", ErrStale, nonce)
	}
	return nil
}

func writeSeen(tx *sql.Tx, nonce, fence uint64) error {
	for k, v := range map[string]uint64{"nonce": nonce, "fence": fence} {
		if _, err := tx.Exec("INSERT OR REPLACE INTO meta (k, v) VALUES (?,?)", k, fmt.Appendf(nil, "%d", v)); err != nil {
			return err
		}
	}
	return nil
}

// Begin makes orders durable under the instruction's nonce and fence. Orders
// that are held already, or have their outcome in the outbox, change nothing.
func (s *Store) Begin(ctx context.Context, orders []fleet.Order, nonce, fence uint64) error {
	s.mu.Lock()
	if err := s.check(nonce, fence); err != nil {
		s.mu.Unlock()
		return err
	}
	var fresh []fleet.Order
	for _, o := range orders {
		if s.orders[o.Occurrence] != nil {
			continue
		}
		if _, done := s.byKey[o.Occurrence]; !done {
			fresh = append(fresh, o)
		}
	}
	s.mu.Unlock()
	err := s.commit(ctx, s.opts.Group, func(tx *sql.Tx) error {
		st, err := tx.Prepare("INSERT OR IGNORE INTO orders (nominal, camera, schedule, deadline, retries, fence) VALUES (?,?,?,?,?,?)")
		if err != nil {
			return err
		}
		defer st.Close() //nolint:errcheck // the transaction's end says what matters
		for _, o := range fresh {
			if _, err := st.Exec(o.Nominal, int64(o.Camera), int64(o.Schedule), o.Deadline, o.Retries, int64(o.Fence)); err != nil {
				return err
			}
		}
		return writeSeen(tx, nonce, fence)
	})
	if err != nil {
		return fmt.Errorf("begin %d orders: %w", len(fresh), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen(nonce, fence)
	for _, o := range fresh {
		if s.orders[o.Occurrence] == nil {
			s.hold(o)
		}
	}
	s.signal()
	return nil
}

func (s *Store) seen(nonce, fence uint64) {
	s.nonce, s.fence = max(s.nonce, nonce), max(s.fence, fence)
}

// Recall drops orders that have not begun.
func (s *Store) Recall(ctx context.Context, keys []fleet.Occurrence, nonce, fence uint64) error {
	s.mu.Lock()
	if err := s.check(nonce, fence); err != nil {
		s.mu.Unlock()
		return err
	}
	var drop []fleet.Occurrence
	for _, k := range keys {
		if h := s.orders[k]; h != nil && !h.running {
			h.running = true // nobody takes it meanwhile
			drop = append(drop, k)
		}
	}
	s.mu.Unlock()
	err := s.commit(ctx, s.opts.Group, func(tx *sql.Tx) error {
		for _, k := range drop {
			if err := deleteOrder(tx, k); err != nil {
				return err
			}
		}
		return writeSeen(tx, nonce, fence)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range drop {
		if err != nil {
			h := s.orders[k]
			h.running = false
			heap.Push(&s.due, h)
			continue
		}
		s.forget(k)
	}
	if err != nil {
		return fmt.Errorf("recall %d orders: %w", len(drop), err)
	}
	s.seen(nonce, fence)
	s.signal()
	return nil
}

func deleteOrder(tx *sql.Tx, k fleet.Occurrence) error {
	_, err := tx.Exec("DELETE FROM orders WHERE nominal = ? AND camera = ? AND schedule = ?", k.Nominal, int64(k.Camera), int64(k.Schedule))
	return err
}

// forget takes an order out of memory; the heap drops it when it comes up.
func (s *Store) forget(k fleet.Occurrence) { delete(s.orders, k) }

// TakeDue returns the orders whose nominal time has come, oldest first, and
// marks them as running. Each is returned once until the store is opened again.
func (s *Store) TakeDue(now fleet.Instant) (out []fleet.Order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.due) > 0 && s.due[0].Nominal <= now {
		h := heap.Pop(&s.due).(*held)
		if s.orders[h.Occurrence] == h && !h.running {
			h.running = true
			out = append(out, h.Order)
		}
	}
	return out
}

// NextDue returns when TakeDue has something next.
func (s *Store) NextDue() (fleet.Instant, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.due) > 0 {
		if h := s.due[0]; s.orders[h.Occurrence] == h && !h.running {
			return h.Nominal, true
		}
		heap.Pop(&s.due)
	}
	return 0, false
}

// Finish records the outcome and drops its order, in one transaction. Finishing
// the same occurrence again changes nothing. It returns nil when the outcome is
// durable, or kept in memory because the disk is full.
func (s *Store) Finish(ctx context.Context, c fleet.Capture) error {
	s.mu.Lock()
	if _, done := s.byKey[c.Occurrence]; done || s.orders[c.Occurrence] == nil {
		s.mu.Unlock()
		return nil
	}
	s.lastRow++
	row := s.lastRow
	s.mu.Unlock()
	packed := wire.AppendCapture(nil, c)
	err := s.commit(ctx, 1, func(tx *sql.Tx) error { return finish(tx, row, c.Occurrence, packed) })
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("finish %s: %w", c.Occurrence, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		row = -row
		if s.inMemory() >= s.opts.Memory {
			f := fleet.Capture{Occurrence: c.Occurrence, Outcome: fleet.Failed, Cause: fleet.CauseStorage, At: c.At, Delay: c.Delay, Took: c.Took, Attempts: c.Attempts,
				Detail: "the agent's disk is full: free some space there"}
			packed = wire.AppendCapture(nil, f)
		}
	}
	s.put(row, c.Occurrence, packed)
	s.forget(c.Occurrence)
	s.signal()
	return nil
}

func finish(tx *sql.Tx, row int64, k fleet.Occurrence, packed []byte) error {
	if _, err := tx.Exec("INSERT INTO outbox (row, body) VALUES (?,?)", row, packed); err != nil {
		return err
	}
	return deleteOrder(tx, k)
}

func (s *Store) inMemory() (n int) {
	for row := range s.outbox {
		if row < 0 {
			n++
		}
	}
	return n
}

// Settle moves outcomes that are only in memory to the disk, if it has room
// again. Its owner calls it from time to time.
func (s *Store) Settle(ctx context.Context) error {
	s.mu.Lock()
	moving := map[int64]record{}
	for row, r := range s.outbox {
		if row < 0 && len(moving) < s.opts.Group {
			moving[row] = r
		}
	}
	s.mu.Unlock()
	if len(moving) == 0 {
		return nil
	}
	err := s.commit(ctx, s.opts.Group, func(tx *sql.Tx) error {
		for row, r := range moving {
			if err := finish(tx, -row, r.key, r.packed); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	s.mu.Lock()
	var acked []int64
	for row, r := range moving {
		if _, still := s.outbox[row]; !still { // acknowledged meanwhile
			acked = append(acked, -row)
			continue
		}
		delete(s.outbox, row)
		s.put(-row, r.key, r.packed)
	}
	s.mu.Unlock()
	return s.remove(ctx, acked)
}

// Pending returns up to limit outcomes that skip does not hold, newest first:
// after an outage the present is seen before the past.
func (s *Store) Pending(limit int, skip map[int64]bool) []Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := make([]int64, 0, len(s.outbox))
	for row := range s.outbox {
		if !skip[row] {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b int64) int { return cmp.Compare(max(b, -b), max(a, -a)) })
	out := make([]Outcome, 0, min(limit, len(rows)))
	for _, row := range rows[:min(limit, len(rows))] {
		out = append(out, Outcome{Row: row, Packed: s.outbox[row].packed})
	}
	return out
}

// Ack forgets outcomes that the centre has made durable.
func (s *Store) Ack(ctx context.Context, rows []int64) error {
	s.mu.Lock()
	var onDisk []int64
	for _, row := range rows {
		r, ok := s.outbox[row]
		if !ok {
			continue
		}
		if row > 0 {
			onDisk = append(onDisk, row)
		}
		delete(s.outbox, row)
		if s.byKey[r.key] == row {
			delete(s.byKey, r.key)
		}
	}
	s.mu.Unlock()
	return s.remove(ctx, onDisk)
}

// remove deletes outbox rows. Should it fail, they come back when the file is
// opened again, are sent again, and change nothing at the centre.
func (s *Store) remove(ctx context.Context, rows []int64) error {
	if len(rows) == 0 {
		return nil
	}
	err := s.commit(ctx, len(rows), func(tx *sql.Tx) error {
		for _, row := range rows {
			if _, err := tx.Exec("DELETE FROM outbox WHERE row = ?", row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("ack %d outcomes: %w", len(rows), err)
	}
	return nil
}

// Counts returns how many orders are held and how many outcomes wait.
func (s *Store) Counts() (orders, pending int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.orders), len(s.outbox)
}

// Nonce returns the highest instruction taken.
func (s *Store) Nonce() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nonce
}

// savedCameras is how the camera list lies on disk. The file is the agent's
// alone (0600), and the passwords in it open no more than the box itself can.
type savedCameras struct {
	Targets []savedTarget
	Site    []savedLogin
}

type savedTarget struct {
	Camera    fleet.CameraID
	Device    string
	Source    string
	Endpoints []fleet.Endpoint
	Logins    []savedLogin
}

type savedLogin struct {
	User, Password string
	Version        uint64
}

func saveLogins(cs []fleet.Credentials) (out []savedLogin) {
	for _, c := range cs {
		out = append(out, savedLogin{c.User, c.Password.Reveal(), c.Version})
	}
	return out
}

func restoreLogins(ls []savedLogin) (out []fleet.Credentials) {
	for _, l := range ls {
		out = append(out, fleet.Credentials{User: l.User, Password: fleet.Secret(l.Password), Version: l.Version})
	}
	return out
}

func (c *savedCameras) restore() (targets []fleet.Target, site []fleet.Credentials) {
	for _, t := range c.Targets {
		targets = append(targets, fleet.Target{Camera: t.Camera, Device: t.Device, Source: t.Source, Endpoints: t.Endpoints, Credentials: restoreLogins(t.Logins)})
	}
	return targets, restoreLogins(c.Site)
}

// SetCameras replaces the list of cameras the agent serves.
func (s *Store) SetCameras(ctx context.Context, targets []fleet.Target, site []fleet.Credentials, nonce, fence uint64) error {
	s.mu.Lock()
	err := s.check(nonce, fence)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	saved := savedCameras{Site: saveLogins(site)}
	for _, t := range targets {
		saved.Targets = append(saved.Targets, savedTarget{t.Camera, t.Device, t.Source, t.Endpoints, saveLogins(t.Credentials)})
	}
	body, err := json.Marshal(saved)
	if err != nil {
		return fmt.Errorf("set cameras: %w", err)
	}
	if err := s.commit(ctx, s.opts.Group, func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT OR REPLACE INTO meta (k, v) VALUES ('cameras', ?)", body); err != nil {
			return err
		}
		return writeSeen(tx, nonce, fence)
	}); err != nil {
		return fmt.Errorf("set cameras: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen(nonce, fence)
	s.cameras, s.site = targets, site
	s.signal()
	return nil
}

// Cameras returns the list that SetCameras took last.
func (s *Store) Cameras() (targets []fleet.Target, site []fleet.Credentials) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cameras, s.site
}

// commit runs write in a transaction that others share, and returns when it is
// durable. rows says how much of a group it fills. One of the waiting callers
// commits for all: no goroutine is kept.
func (s *Store) commit(ctx context.Context, rows int, write func(*sql.Tx) error) error {
	o := &op{write: write, rows: rows, done: make(chan error, 1), lead: make(chan struct{}, 1)}
	s.mu.Lock()
	s.queue = append(s.queue, o)
	if !s.leader {
		s.leader = true
		o.lead <- struct{}{}
	}
	s.mu.Unlock()
	select {
	case err := <-o.done:
		return err
	case <-o.lead:
		s.lead(ctx)
		return <-o.done
	}
}

// lead waits for company, commits all that wait, and hands over.
func (s *Store) lead(ctx context.Context) {
	deadline := time.Now().Add(s.opts.Window)
	step := max(s.opts.Window/16, time.Millisecond)
	for ctx.Err() == nil {
		s.mu.Lock()
		n := 0
		for _, o := range s.queue {
			n += o.rows
		}
		s.mu.Unlock()
		left := time.Until(deadline)
		if n >= s.opts.Group || left <= 0 {
			break
		}
		timer := time.NewTimer(min(step, left))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	s.mu.Lock()
	batch := s.queue
	s.queue = nil
	s.mu.Unlock()
	err := s.transact(context.WithoutCancel(ctx), batch)
	if err != nil && len(batch) > 1 {
		// One write may be what is wrong: each then stands for itself.
		for _, o := range batch {
			o.done <- s.transact(context.WithoutCancel(ctx), []*op{o})
		}
	} else {
		for _, o := range batch {
			o.done <- err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		s.queue[0].lead <- struct{}{}
	} else {
		s.leader = false
	}
	s.broken = err
}

func (s *Store) transact(ctx context.Context, batch []*op) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, o := range batch {
		if err := o.write(tx); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// Broken returns why the last commit failed, or nil.
func (s *Store) Broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// dueHeap orders by nominal time.
type dueHeap []*held

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].Occurrence.Compare(h[j].Occurrence) < 0 }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(*held)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return x
}
