// Package store is the agent's memory across power cuts: one SQLite file with
<<<<<<< HEAD
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
=======
// the orders it holds, the outcomes it has not delivered, its cameras and its
// identity.
//
//	Begin ──► order(waiting) ──Due──► order(running) ──Finish──► outbox ──Ack──► gone
//	              │
//	              └──Recall──► gone
//
// Memory leads and the disk follows: each change is made in memory first, and
// what changed since the last commit is written in one transaction, shared by
// all who wait for it (group commit). Begin, Recall, SetCameras and Finish return once
// their change is durable. Acknowledgements are written along with the next
// commit: one that is lost in a power cut only makes the agent report again,
// which changes nothing at the centre. An outcome that is acknowledged before
// its commit never touches the outbox at all; that is the usual case online.
//
// When the disk refuses (full, read-only, failing), everything goes on in
// memory up to Options.MemoryLimit outcomes; beyond that an outcome becomes
// failed(storage). The first commit that succeeds writes all of it.
>>>>>>> 560e5e065a222c9c9a898327e695217c75853c97
package store

import (
	"cmp"
	"container/heap"
	"context"
	"database/sql"
<<<<<<< HEAD
	"encoding/json"
=======
>>>>>>> 560e5e065a222c9c9a898327e695217c75853c97
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/shutterfleet/shutterfleet/fleet"
<<<<<<< HEAD
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
=======
)

var (
	// ErrStale says that an instruction's nonce was taken before, or that its
	// fence is below one already seen.
	ErrStale = errors.New("instruction is stale")
	// ErrFull says that the disk refuses and memory holds all that it may.
	ErrFull = errors.New("the disk refuses, and memory holds as many orders as it may")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
)

// Codec writes and reads one outcome's record, without its agent and its
// thumbnail. The programs pass fleet/wire's, so that there is one layout.
type Codec struct {
	Append func(b []byte, c fleet.Capture) []byte
	Parse  func(b []byte) ([]fleet.Capture, error)
}

// Options configure a Store.
type Options struct {
	Codec       Codec         // required
	Batch       int           // rows that make a commit start at once; default 64
	Linger      time.Duration // how long a commit waits for more rows; default 50ms, negative = not at all
	MemoryLimit int           // outcomes (and orders) kept in memory while the disk refuses; default 4096
}

// Row is an undelivered outcome under the number that Ack takes.
type Row struct {
	ID      int64
	Capture fleet.Capture
}

// Store is the agent's memory. All methods may be called at once.
type Store struct {
	opts Options

	// io serialises all use of the file. It is taken before mu, never after.
	io sync.Mutex
	db *sql.DB

	mu        sync.Mutex
	held      map[fleet.Occurrence]*held
	waiting   queue
	running   int
	recent    recent                  // finished not long ago: a repeated order is not taken again
	fresh     map[int64]fleet.Capture // finished and not on disk
	writing   map[int64]bool          // those of fresh that a commit is writing now
	taken     map[int64]bool          // given out by Take, neither acknowledged nor returned
	acked     []int64                 // rows on disk to delete
	gone      []fleet.Occurrence
	nextID    int64
	onDisk    int // outbox rows on disk that are not acknowledged
	nonce     uint64
	fence     uint64
	cameras   map[fleet.CameraID]fleet.Target
	version   uint64
	site      []fleet.Credentials
	dirty     dirty
	gathering *batch
	fault     error // why the last commit failed; nil when it worked
	closed    bool

	ordersChanged chan struct{} // capacity 1: a signal, not a queue
	outboxChanged chan struct{}
	settled       chan struct{}
>>>>>>> 560e5e065a222c9c9a898327e695217c75853c97
}

// held is an order in memory.
type held struct {
	fleet.Order
<<<<<<< HEAD
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
=======
	at      int  // index in waiting, -1 while running
	durable bool // on disk
}

// dirty is what changed since the last commit, beside the maps above.
type dirty struct {
	orders  []*held
	stamp   bool
	cameras map[fleet.CameraID]bool
	full    bool // the camera list was replaced
	list    bool // version or site credentials
	values  map[string][]byte
}

// batch is a group of callers who share one commit.
type batch struct {
	rows int
	full chan struct{} // closed when rows reach Options.Batch
	done chan struct{}
	err  error
>>>>>>> 560e5e065a222c9c9a898327e695217c75853c97
}

const schema = `
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;
<<<<<<< HEAD
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
=======
CREATE TABLE IF NOT EXISTS orders (
  nominal INTEGER, camera INTEGER, schedule INTEGER, deadline INTEGER, retries INTEGER, fence INTEGER,
  PRIMARY KEY (nominal, camera, schedule)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cameras (id INTEGER PRIMARY KEY, target BLOB NOT NULL);
`

// pragmas are measured choices: WAL with FULL loses nothing acknowledged in a
// power cut while NORMAL does; 4000 pages between checkpoints write each
// overwritten page once where 100 write it forty times; no mmap, and a small
// cache, because the box is small.
const pragmas = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(4000)" +
	"&_pragma=journal_size_limit(16777216)&_pragma=temp_store(MEMORY)&_pragma=mmap_size(0)&_pragma=cache_size(-1024)&_pragma=foreign_keys(OFF)&_txlock=immediate"

// Open opens or creates the store at path; the file and its folder are for
// this user alone. Orders that were running when it closed are waiting again.
func Open(path string, o Options) (*Store, error) {
	if o.Codec.Append == nil || o.Codec.Parse == nil {
		return nil, errors.New("open agent store: no codec given")
	}
	o.Batch = cmp.Or(o.Batch, 64)
	o.Linger = cmp.Or(o.Linger, 50*time.Millisecond)
	o.MemoryLimit = cmp.Or(o.MemoryLimit, 4096)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open agent store: %w", err)
	}
	// SQLite gives its -wal the mode of the database, so that is made first.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open agent store: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open agent store: %w", err)
	}
	db, err := sql.Open("sqlite", path+pragmas)
	if err != nil {
		return nil, fmt.Errorf("open agent store %s: %w", path, err)
	}
	db.SetMaxOpenConns(1) // one connection: its cache and its statements are all there is
	s := &Store{
		opts:          o,
		db:            db,
		held:          make(map[fleet.Occurrence]*held),
		fresh:         make(map[int64]fleet.Capture),
		taken:         make(map[int64]bool),
		cameras:       make(map[fleet.CameraID]fleet.Target),
		ordersChanged: make(chan struct{}, 1),
		outboxChanged: make(chan struct{}, 1),
		settled:       make(chan struct{}, 1),
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open agent store %s: %w", path, err), db.Close())
	}
	return s, nil
}

// Close writes what is left and closes the file.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.io.Lock()
	defer s.io.Unlock()
	return errors.Join(s.commit(), s.db.Close())
}

// Last returns the highest nonce and fence taken.
func (s *Store) Last() (nonce, fence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nonce, s.fence
}

// Begin takes orders, with the nonce and fence of the instruction that brought
// them, and returns once they are durable. An order that is held or was
// finished not long ago is not taken twice. On an error other than ErrStale
// and ErrFull the orders are held in memory and will be captured; they become
// durable with the next commit that succeeds, which Sync tells.
func (s *Store) Begin(ctx context.Context, orders []fleet.Order, nonce, fence uint64) error {
	s.mu.Lock()
	if err := s.stamp(nonce, fence); err != nil {
		s.mu.Unlock()
		return err
	}
	if s.fault != nil && len(s.dirty.orders)+len(orders) > s.opts.MemoryLimit {
		s.mu.Unlock()
		return fmt.Errorf("begin %d orders: %w: %w", len(orders), ErrFull, s.fault)
	}
	s.accept(nonce, fence)
	for _, o := range orders {
		if s.held[o.Occurrence] != nil || s.recent.has(o.Occurrence) {
			continue
		}
		h := &held{Order: o}
		s.held[o.Occurrence] = h
		heap.Push(&s.waiting, h)
		s.dirty.orders = append(s.dirty.orders, h)
	}
	s.mu.Unlock()
	signal(s.ordersChanged)
	return s.sync(ctx, len(orders))
}

// Recall takes orders back that have not begun, and returns those, once that
// is durable.
func (s *Store) Recall(ctx context.Context, recalled []fleet.Occurrence, nonce, fence uint64) ([]fleet.Occurrence, error) {
	s.mu.Lock()
	if err := s.stamp(nonce, fence); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	s.accept(nonce, fence)
	var back []fleet.Occurrence
	for _, o := range recalled {
		h := s.held[o]
		if h == nil || h.at < 0 {
			continue
		}
		heap.Remove(&s.waiting, h.at)
		s.drop(h)
		back = append(back, o)
	}
	s.mu.Unlock()
	signal(s.ordersChanged)
	signal(s.settled)
	return back, s.sync(ctx, len(back))
}

// Due returns up to limit orders whose nominal time has come, oldest first,
// and marks them running. Next is the nominal time of the first order left, or
// 0 when there is none.
func (s *Store) Due(now fleet.Instant, limit int) (due []fleet.Order, next fleet.Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waiting) > 0 && len(due) < limit && s.waiting[0].Nominal <= now {
		h := heap.Pop(&s.waiting).(*held)
		s.running++
		due = append(due, h.Order)
	}
	if len(s.waiting) > 0 {
		next = s.waiting[0].Nominal
	}
	return due, next
}

// Release puts a running order back among the waiting, for a runner that was
// stopped before it could decide an outcome.
func (s *Store) Release(o fleet.Occurrence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[o]; h != nil && h.at < 0 {
		s.running--
		heap.Push(&s.waiting, h)
	}
}

// Finish records c as the outcome of its order: the order's row becomes an
// outbox row in one transaction, and Finish returns once that is durable.
// Finishing an occurrence again, or one that is not held, changes nothing, so
// callers may retry freely. On an error the outcome is kept in memory, reported
// like all others, and written by the next commit that succeeds.
func (s *Store) Finish(ctx context.Context, c fleet.Capture) error {
	s.mu.Lock()
	h := s.held[c.Occurrence]
	if h == nil {
		s.mu.Unlock()
		return nil
	}
	if h.at >= 0 {
		heap.Remove(&s.waiting, h.at)
	} else {
		s.running--
	}
	s.drop(h)
	s.recent.add(c.Occurrence)
	c.Reading.Thumbnail = nil
	if s.fault != nil && len(s.fresh) >= s.opts.MemoryLimit {
		// A bare verdict instead of the picture: bounded by the orders held,
		// of which Begin takes no more.
		c = fleet.Capture{Occurrence: c.Occurrence, Outcome: fleet.Failed, Cause: fleet.CauseStorage, At: c.At, Bound: c.Bound,
			Delay: c.Delay, Took: c.Took, Attempts: c.Attempts, Detail: "the agent's disk refuses and its memory is full: free the disk; captures resume by themselves"}
	}
	s.nextID++
	s.fresh[s.nextID] = c
	s.mu.Unlock()
	signal(s.outboxChanged)
	signal(s.settled)
	return s.sync(ctx, 1)
}

// Take gives out up to limit undelivered outcomes, newest first. They are not
// given out again until Return; Ack ends them.
func (s *Store) Take(ctx context.Context, limit int) ([]Row, error) {
	var rows []Row
	s.mu.Lock()
	for id, c := range s.fresh {
		if !s.taken[id] {
			rows = append(rows, Row{ID: id, Capture: c})
		}
	}
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(b.ID, a.ID) })
	rows = rows[:min(len(rows), limit)]
	for _, r := range rows {
		s.taken[r.ID] = true
	}
	disk := s.onDisk
	s.mu.Unlock()
	if len(rows) == limit || disk == 0 {
		return rows, nil
	}
	more, err := s.takeFromDisk(ctx, limit-len(rows))
	if err != nil && len(rows) > 0 {
		return rows, nil // what memory holds goes out even when the disk fails
	}
	return append(rows, more...), err
}

// Return makes taken outcomes available again, for a stream that ended before
// they were acknowledged.
func (s *Store) Return(ids []int64) {
	s.mu.Lock()
	for _, id := range ids {
		delete(s.taken, id)
	}
	s.mu.Unlock()
	signal(s.outboxChanged)
}

// Ack forgets outcomes that the centre has stored. Acknowledging one again
// changes nothing. It is written along with the next commit, at the latest by
// the next Sync.
func (s *Store) Ack(ctx context.Context, ids []int64) error {
	s.mu.Lock()
	for _, id := range ids {
		if !s.taken[id] {
			continue
		}
		delete(s.taken, id)
		if _, ok := s.fresh[id]; ok {
			delete(s.fresh, id)
			if s.writing[id] {
				s.acked = append(s.acked, id) // the next commit deletes what this one writes
			}
			continue
		}
		s.acked = append(s.acked, id)
		s.onDisk--
	}
	n := len(s.acked)
	s.mu.Unlock()
	signal(s.settled)
	if n < s.opts.Batch {
		return nil
	}
	return s.sync(ctx, n)
}

// Sync writes all that changed and returns nil once everything taken so far is
// durable. After a fault of the disk it is how the store finds out that the
// disk is well again.
func (s *Store) Sync(ctx context.Context) error { return s.sync(ctx, s.opts.Batch) }

// Fault returns why the disk refused the last commit, or nil.
func (s *Store) Fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Counts returns how many orders are held (waiting and running), how many of
// them are running, and how many outcomes are not acknowledged.
func (s *Store) Counts() (orders, running, pending int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held), s.running, len(s.fresh) + s.onDisk
}

// OrdersChanged signals that orders came or went. Signals coalesce.
func (s *Store) OrdersChanged() <-chan struct{} { return s.ordersChanged }

// OutboxChanged signals that there may be outcomes to take. Signals coalesce.
func (s *Store) OutboxChanged() <-chan struct{} { return s.outboxChanged }

// Settled signals that an order ended or an outcome was acknowledged.
// Signals coalesce.
func (s *Store) Settled() <-chan struct{} { return s.settled }

// stamp refuses what is not newer than the last instruction. Callers hold mu.
func (s *Store) stamp(nonce, fence uint64) error {
	switch {
	case s.closed:
		return ErrClosed
	case nonce <= s.nonce:
		return fmt.Errorf("nonce %d after %d: %w", nonce, s.nonce, ErrStale)
	case fence < s.fence:
		return fmt.Errorf("fence %d below %d: %w", fence, s.fence, ErrStale)
	}
	return nil
}

func (s *Store) accept(nonce, fence uint64) {
	s.nonce, s.fence = nonce, fence
	s.dirty.stamp = true
}

// drop forgets an order that is no longer waiting. Callers hold mu.
func (s *Store) drop(h *held) {
	delete(s.held, h.Occurrence)
	if h.durable {
		s.gone = append(s.gone, h.Occurrence)
		return
	}
	if i := slices.Index(s.dirty.orders, h); i >= 0 {
		s.dirty.orders = slices.Delete(s.dirty.orders, i, i+1)
		return
	}
	// A commit under way is writing it: the next one deletes it.
	s.gone = append(s.gone, h.Occurrence)
}

// signal fills c without waiting: one unread signal says it all.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
>>>>>>> 560e5e065a222c9c9a898327e695217c75853c97
	default:
	}
}

<<<<<<< HEAD
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
=======
// queue is a heap of waiting orders by nominal time.
type queue []*held

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].Occurrence.Compare(q[j].Occurrence) < 0 }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].at, q[j].at = i, j
}
func (q *queue) Push(x any) {
	h := x.(*held)
	h.at = len(*q)
	*q = append(*q, h)
}
func (q *queue) Pop() any {
	old := *q
	h := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	h.at = -1
	return h
}

// recent remembers the last few thousand finished occurrences, so that an order
// repeated by a centre that has not read its report yet is not run again.
type recent struct {
	set  map[fleet.Occurrence]bool
	ring []fleet.Occurrence
	at   int
}

const recentSize = 4096

func (r *recent) has(o fleet.Occurrence) bool { return r.set[o] }

func (r *recent) add(o fleet.Occurrence) {
	if r.set == nil {
		r.set = make(map[fleet.Occurrence]bool, 64)
	}
	if r.set[o] {
		return
	}
	if len(r.ring) < recentSize {
		r.ring = append(r.ring, o)
	} else {
		delete(r.set, r.ring[r.at])
		r.ring[r.at] = o
		r.at = (r.at + 1) % recentSize
	}
	r.set[o] = true
>>>>>>> 560e5e065a222c9c9a898327e695217c75853c97
}
