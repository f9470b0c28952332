// Package store is the agent's memory across power cuts: one SQLite file with
// the orders it holds, the outcomes it has not delivered, its cameras and its
// identity.
//
//	Begin, BeginOwn ──► order(waiting) ──Due──► order(running) ──Finish──► outbox ──Ack──► gone
//	                        │                                      │
//	                        └──Recall──► recalled                  └──► recent
//
// Standing orders, kept here as the bytes they came in, let an agent begin
// occurrences by itself (BeginOwn). Three things keep it from taking one twice:
// the frontier, up to which all of its own occurrences were considered; recent,
// the keys of the last RecentSize outcomes; and recalled, the keys of orders
// that the centre took back. They survive restarts, written along with the
// commits that other changes ask for.
//
// Memory leads and the disk follows: each change is made in memory first, and
// what changed since the last commit is written in one transaction, shared by
// all who wait for it (group commit). Begin, Recall, SetCameras and Finish return once
// their change is durable. Acknowledgements are written along with the next
// commit: one that is lost in a power cut only makes the agent report again,
// which changes nothing at the centre. An outcome that is acknowledged before
// its commit never touches the outbox at all; that is the usual case online.
//
// One outcome costs the disk about 1.14 kB, its order's row in and out
// included, when it is put and acknowledged in batches of 64 (write_bytes of
// /proc/self/io on ext4, BenchmarkDiskPerRecord; the promise is 1.5 kB), and
// about 0.41 kB online, where outcomes are acknowledged before their commit.
//
// When the disk refuses (full, read-only, failing), everything goes on in
// memory up to Options.MemoryLimit outcomes; beyond that an outcome becomes
// failed(storage). The first commit that succeeds writes all of it.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"modernc.org/sqlite" // the database/sql driver "sqlite", and its errors
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/shutterfleet/shutterfleet/fleet"
)

var (
	// ErrStale says that an instruction's nonce was taken before, or that its
	// fence is below one already seen.
	ErrStale = errors.New("instruction is stale")
	// ErrFull says that the disk refuses and memory holds all that it may.
	ErrFull = errors.New("the disk refuses, and memory holds as many orders as it may")
	// ErrDamaged says that the file is no database any more, or a broken one.
	ErrDamaged = errors.New("the file is damaged: move it away with its -wal and start again with a site key")
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
	Codec       Codec            // required
	Batch       int              // rows that make a commit start at once; default 64
	Linger      time.Duration    // how long a commit waits for more rows; default 50ms, negative = not at all
	Now         func() time.Time // the box's clock; default time.Now
	MemoryLimit int              // outcomes (and orders) kept in memory while the disk refuses; default 4096

	// Boot tells which boot of the box this is and how long ago it was; known is
	// false where nobody tells. Default: nobody does.
	Boot func() (id string, up time.Duration, known bool)
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
	recent    recent // finished not long ago: a repeated order is not taken again
	recalled  map[fleet.Occurrence]bool
	frontier  fleet.Instant           // all of the agent's own occurrences up to it were considered
	standing  uint64                  // version of the standing orders; 0 when there are none
	fresh     map[int64]fleet.Capture // finished and not on disk
	writing   map[int64]bool          // those of fresh that a commit is writing now
	noting    map[noteKey][]byte      // notes that a commit is writing now
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
	needed    map[fleet.CameraID]uint64 // revisions of masks that were asked for and have not come
	commands  map[string]fleet.Instant  // ids that were taken, and until when each is kept
	logins    map[string]Login          // by device
	dirty     dirty
	gathering *batch
	fault     error // why the last commit failed; nil when it worked
	closed    bool

	ordersChanged chan struct{} // capacity 1: a signal, not a queue
	outboxChanged chan struct{}
	settled       chan struct{}
	camsChanged   chan struct{}
	standChanged  chan struct{}
	loginsChanged chan struct{}
}

// held is an order in memory.
type held struct {
	fleet.Order
	at      int  // index in waiting, -1 while running
	own     bool // begun by the agent itself; no order came for it
	durable bool // on disk
}

// dirty is what changed since the last commit, beside the maps above.
type dirty struct {
	orders  []*held
	stamp   bool
	done    []fleet.Occurrence // finished: what recent on disk lacks
	recalls []fleet.Occurrence // in or out of recalled
	forget  bool               // recalled was emptied
	passed  bool               // frontier moved over an occurrence
	cameras map[fleet.CameraID]bool
	full    bool // the camera list was replaced
	list    bool // version or site credentials
	values  map[string][]byte

	commands, logins map[string]bool
	notes            map[noteKey][]byte
}

// batch is a group of callers who share one commit.
type batch struct {
	rows  int
	force bool          // write deletions too
	full  chan struct{} // closed when rows reach Options.Batch
	done  chan struct{}
	err   error
}

// schemas are the steps from one form of the file to the next; the file's
// user_version counts those it has taken. A step is never changed.
var schemas = []string{`
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (
  nominal INTEGER, camera INTEGER, schedule INTEGER, deadline INTEGER, retries INTEGER, fence INTEGER,
  PRIMARY KEY (nominal, camera, schedule)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS cameras (id INTEGER PRIMARY KEY, target BLOB NOT NULL);
`, `
ALTER TABLE orders ADD COLUMN not_before INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE orders ADD COLUMN own INTEGER NOT NULL DEFAULT 0;
CREATE TABLE recent (id INTEGER PRIMARY KEY, keys BLOB NOT NULL);
CREATE TABLE recalled (nominal INTEGER, camera INTEGER, schedule INTEGER, PRIMARY KEY (nominal, camera, schedule)) WITHOUT ROWID;
`, `
CREATE TABLE commands (id TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE logins (device TEXT PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (topic TEXT, key TEXT, at INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (topic, key));
CREATE INDEX notes_at ON notes (topic, at);
`}

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
	if o.Now == nil {
		o.Now = time.Now
	}
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
		recalled:      make(map[fleet.Occurrence]bool),
		commands:      make(map[string]fleet.Instant),
		logins:        make(map[string]Login),
		loginsChanged: make(chan struct{}, 1),
		standChanged:  make(chan struct{}, 1),
		ordersChanged: make(chan struct{}, 1),
		outboxChanged: make(chan struct{}, 1),
		settled:       make(chan struct{}, 1),
		camsChanged:   make(chan struct{}, 1),
	}
	if err := s.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open agent store %s: %w", path, damaged(err)), db.Close())
	}
	return s, nil
}

// damaged adds ErrDamaged to what SQLite says of a broken file.
func damaged(err error) error {
	e, ok := errors.AsType[*sqlite.Error](err)
	// A file that was cut short reads as an I/O error of its own; and statements
	// that never change are only wrong where the text of the schema is.
	if ok && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code() == sqlite3.SQLITE_ERROR || e.Code()&0xff == sqlite3.SQLITE_NOTADB || e.Code() == sqlite3.SQLITE_IOERR_SHORT_READ) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
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
	return errors.Join(s.commit(true), s.db.Close())
}

// Last returns the highest nonce and fence taken.
func (s *Store) Last() (nonce, fence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nonce, s.fence
}

// Sync writes all that changed and returns nil once everything taken so far is
// durable. After a fault of the disk it is how the store finds out that the
// disk is well again.
func (s *Store) Sync(ctx context.Context) error { return s.sync(ctx, s.opts.Batch, true) }

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

// HeldUntil returns how many orders are held whose start is not after t.
func (s *Store) HeldUntil(t fleet.Instant) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, h := range s.held {
		if h.Start() <= t {
			n++
		}
	}
	return n
}

// OrdersChanged signals that orders came or went. Signals coalesce.
func (s *Store) OrdersChanged() <-chan struct{} { return s.ordersChanged }

// OutboxChanged signals that there may be outcomes to take. Signals coalesce.
func (s *Store) OutboxChanged() <-chan struct{} { return s.outboxChanged }

// Settled signals that an order ended or an outcome was acknowledged.
// Signals coalesce.
func (s *Store) Settled() <-chan struct{} { return s.settled }

// CamerasChanged signals a change of the camera list. Signals coalesce.
func (s *Store) CamerasChanged() <-chan struct{} { return s.camsChanged }

// signal fills c without waiting: one unread signal says it all.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
