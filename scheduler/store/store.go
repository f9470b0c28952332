// Package store is the centre's memory: one SQLite file for the fleet, the
// schedules and the orders in flight, and one file per ten minutes for the
// captures that came in.
//
//	Commit(batch):  captures ──append──► captures-<bucket>.db      1. durable
//	                the rest ──────────► centre.db, with a mark    2. durable
//	                                     how far captures are counted
//	Open:           captures after the mark are counted again into centre.db
//
// Captures are appended and never keyed by camera: an index by camera makes of
// each insert a random page. Instead each row points to the same camera's row
// before it, and the newest row of each camera is held in memory.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Flight is an order that has no outcome yet.
type Flight struct {
	fleet.Order
	Agent fleet.AgentID // who may hold it; empty while it has not left
}

// Span is a time during which a task was enabled. The books are checked
// against spans: calendar.Next over each says which occurrences should exist.
type Span struct {
	Camera   fleet.CameraID
	Schedule fleet.ScheduleID
	Revision uint64
	From     fleet.Instant // first nominal time that counts
	Until    fleet.Instant // last nominal time that counts; 0 = still enabled
	Enabled  fleet.Instant // the camera's approval: what `once: approval` means
	Place    string        // JSON of the calendar.Place it was computed with
}

// Schedule is one revision of a schedule.
type Schedule struct {
	ID       fleet.ScheduleID
	Name     string
	Revision uint64
	Spec     json.RawMessage
	Applied  fleet.Instant
	Removed  fleet.Instant // 0 = in force; older revisions are removed too
}

// Key is a site key. Hash is the SHA-256 of its secret.
type Key struct {
	ID      string
	Site    fleet.SiteID
	Hash    []byte
	Count   int
	Used    int
	Approve bool
	Revoked bool
	Created fleet.Instant
	Expires fleet.Instant
}

// Token is an operator's bearer token. Hash is the SHA-256 of it.
type Token struct {
	Name, Role string
	Hash       []byte
	Created    fleet.Instant
}

// Credentials log in to a camera or to all of a site. The password is sealed.
type Credentials struct {
	ID      string
	Site    fleet.SiteID
	Camera  fleet.CameraID
	User    string
	Sealed  []byte
	Version uint64
	Created fleet.Instant
}

// Rule approves the cameras that its selector matches.
type Rule struct {
	Name   string
	Select string
}

// Batch is a set of changes that become durable together.
type Batch struct {
	Captures []fleet.Capture    // to append; their orders are dropped
	Issue    []Flight           // new orders
	Drop     []fleet.Occurrence // orders taken back
	Assign   []Flight           // orders that now belong to another agent
	Through  fleet.Instant      // the issue clock; 0 = unchanged
	Books    map[fleet.SiteID]fleet.Books

	OpenSpans   []Span
	CloseSpans  []Span // with Until set
	Cameras     []fleet.Camera
	Sites       []fleet.Site
	Agents      []fleet.Agent
	Schedules   []Schedule
	Keys        []Key
	Tokens      []Token
	Credentials []Credentials
	Rules       *[]Rule // replaces all rules
}

// State is all that Open found, but the captures.
type State struct {
	Through     fleet.Instant
	Epoch       uint64 // grows by one with each Open: the fence of a lone scheduler
	Books       map[fleet.SiteID]fleet.Books
	Flights     []Flight
	Spans       []Span // the open ones
	Cameras     []fleet.Camera
	Sites       []fleet.Site
	Agents      []fleet.Agent
	Schedules   []Schedule // all revisions
	Keys        []Key
	Tokens      []Token
	Credentials []Credentials
	Rules       []Rule
}

// Store is the centre's store in one directory. Only one process may have it
// open: package shard sees to that.
type Store struct {
	dir   string
	db    *sql.DB // writes, one connection
	read  *sql.DB
	thumb *sql.DB
	stmts map[string]*sql.Stmt

	commit sync.Mutex // one Commit at a time
	torn   error      // why captures are durable that are not counted yet

	mu     sync.RWMutex
	parts  map[int64]*part // by bucket
	newest map[fleet.CameraID]pointer
	frames map[fleet.CameraID]fleet.Instant // when the thumbnail was taken
}

const schema = `
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS books (site TEXT PRIMARY KEY, captured INTEGER, failed INTEGER, missed INTEGER, skipped INTEGER, in_flight INTEGER, duplicates INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS orders (nominal INTEGER, camera INTEGER, schedule INTEGER, deadline INTEGER, retries INTEGER, agent TEXT, PRIMARY KEY (nominal, camera, schedule)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans (camera INTEGER, schedule INTEGER, start INTEGER, until INTEGER, revision INTEGER, enabled INTEGER, place TEXT, PRIMARY KEY (camera, schedule, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cameras (id INTEGER PRIMARY KEY, site TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sites (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS agents (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS schedules (id INTEGER, revision INTEGER, name TEXT NOT NULL, spec TEXT NOT NULL, applied INTEGER, removed INTEGER, PRIMARY KEY (id, revision)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS credentials (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rules (name TEXT PRIMARY KEY, sel TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (bucket INTEGER PRIMARY KEY, counted INTEGER NOT NULL);
`

const thumbSchema = `CREATE TABLE IF NOT EXISTS thumbnails (camera INTEGER PRIMARY KEY, at INTEGER NOT NULL, jpeg BLOB NOT NULL)`

// formatVersion is kept in PRAGMA user_version of centre.db.
const formatVersion = 1

// Open opens the store in dir, making it at the first time, and returns what it
// holds. It finishes what a power cut interrupted.
func Open(ctx context.Context, dir string) (*Store, *State, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: dir, parts: map[int64]*part{}, newest: map[fleet.CameraID]pointer{}, frames: map[fleet.CameraID]fleet.Instant{}}
	st, err := s.open(ctx)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open store in %s: %w", dir, err), s.Close())
	}
	return s, st, nil
}

func (s *Store) open(ctx context.Context) (*State, error) {
	file := filepath.Join(s.dir, "centre.db")
	var err error
	if s.db, err = openDB(file, "FULL", schema); err != nil {
		return nil, err
	}
	var format int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&format); err != nil {
		return nil, err
	}
	if format > formatVersion {
		return nil, fmt.Errorf("%s was written by a newer version (format %d, this build reads %d): run that version", file, format, formatVersion)
	}
	if _, err := s.db.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", formatVersion)); err != nil {
		return nil, err
	}
	if s.read, err = sql.Open("sqlite", dsn(file, "FULL")+"&_pragma=query_only(1)"); err != nil {
		return nil, err
	}
	// Thumbnails are only a view: the last seconds may be lost.
	if s.thumb, err = openDB(filepath.Join(s.dir, "thumbnails.db"), "NORMAL", thumbSchema); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if err := s.openParts(ctx); err != nil {
		return nil, err
	}
	if err := s.recount(ctx); err != nil {
		return nil, fmt.Errorf("count what came in before the last stop: %w", err)
	}
	if err := s.loadFrames(ctx); err != nil {
		return nil, err
	}
	return s.load(ctx)
}

func dsn(file, synchronous string) string {
	return "file:" + file + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + synchronous + ")&_txlock=immediate"
}

// openDB opens a SQLite file with one connection and makes its tables.
func openDB(file, synchronous, schema string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", dsn(file, synchronous))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec(schema); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", filepath.Base(file), err), db.Close())
	}
	if err := os.Chmod(file, 0o600); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// Close closes all files. Nothing may use the store any more.
func (s *Store) Close() error {
	var errs []error
	for _, st := range s.stmts {
		errs = append(errs, st.Close())
	}
	for _, p := range s.parts {
		errs = append(errs, p.close())
	}
	for _, db := range []*sql.DB{s.read, s.db, s.thumb} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

var statements = map[string]string{
	"issue":    "INSERT OR IGNORE INTO orders (nominal, camera, schedule, deadline, retries, agent) VALUES (?,?,?,?,?,?)",
	"drop":     "DELETE FROM orders WHERE nominal = ? AND camera = ? AND schedule = ?",
	"assign":   "UPDATE orders SET agent = ? WHERE nominal = ? AND camera = ? AND schedule = ?",
	"meta":     "INSERT OR REPLACE INTO meta (k, v) VALUES (?,?)",
	"books":    "INSERT OR REPLACE INTO books (site, captured, failed, missed, skipped, in_flight, duplicates) VALUES (?,?,?,?,?,?,?)",
	"nobooks":  "INSERT OR IGNORE INTO books (site, captured, failed, missed, skipped, in_flight, duplicates) VALUES (?,0,0,0,0,0,0)",
	"open":     "INSERT OR REPLACE INTO spans (camera, schedule, start, until, revision, enabled, place) VALUES (?,?,?,0,?,?,?)",
	"close":    "UPDATE spans SET until = ? WHERE camera = ? AND schedule = ? AND start = ?",
	"forget":   "DELETE FROM spans WHERE camera = ? AND schedule = ? AND start = ?",
	"camera":   "INSERT OR REPLACE INTO cameras (id, site, state, body) VALUES (?,?,?,?)",
	"site":     "INSERT OR REPLACE INTO sites (id, body) VALUES (?,?)",
	"agent":    "INSERT OR REPLACE INTO agents (id, body) VALUES (?,?)",
	"schedule": "INSERT OR REPLACE INTO schedules (id, revision, name, spec, applied, removed) VALUES (?,?,?,?,?,?)",
	"key":      "INSERT OR REPLACE INTO keys (id, body) VALUES (?,?)",
	"token":    "INSERT OR REPLACE INTO tokens (name, body) VALUES (?,?)",
	"creds":    "INSERT OR REPLACE INTO credentials (id, body) VALUES (?,?)",
	"norules":  "DELETE FROM rules",
	"rule":     "INSERT OR REPLACE INTO rules (name, sel) VALUES (?,?)",
	"mark":     "INSERT OR REPLACE INTO marks (bucket, counted) VALUES (?,?)",
}

func (s *Store) prepare(ctx context.Context) (err error) {
	s.stmts = make(map[string]*sql.Stmt, len(statements))
	for name, text := range statements {
		//nolint:sqlclosecheck // Close closes them
		if s.stmts[name], err = s.db.PrepareContext(ctx, text); err != nil {
			return fmt.Errorf("prepare %s: %w", name, err)
		}
	}
	return nil
}

// txn collects the first error of many statements.
type txn struct {
	s   *Store
	tx  *sql.Tx
	ctx context.Context
	err error
}

func (t *txn) do(name string, args ...any) {
	if t.err != nil {
		return
	}
	//nolint:sqlclosecheck // it ends with the transaction
	if _, err := t.tx.StmtContext(t.ctx, t.s.stmts[name]).ExecContext(t.ctx, args...); err != nil {
		t.err = fmt.Errorf("%s: %w", name, err)
	}
}

func (t *txn) body(name, key string, v any) {
	b, err := json.Marshal(v)
	if err != nil && t.err == nil {
		t.err = err
	}
	t.do(name, key, string(b))
}

// Commit makes b durable: when it returns nil, no power cut can take it back.
// Captures become durable first; should the rest fail then (ErrTorn), the next
// Open counts them. ctx must not end between the two: callers hand in one that
// is not a request's.
func (s *Store) Commit(ctx context.Context, b *Batch) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	if s.torn != nil {
		return s.torn
	}
	var bucket, last int64
	if len(b.Captures) > 0 {
		var err error
		if bucket, last, err = s.append(ctx, b.Captures); err != nil {
			return fmt.Errorf("append %d captures: %w", len(b.Captures), err)
		}
	}
	if err := s.count(ctx, b, bucket, last); err != nil {
		if last > 0 {
			s.torn = fmt.Errorf("%w: %w", ErrTorn, err)
			return s.torn
		}
		return err
	}
	return nil
}

// ErrTorn says that captures were stored and could not be counted. The store
// takes no more; opening it again repairs it.
var ErrTorn = errors.New("the store must be opened again: restart the scheduler")

func (s *Store) count(ctx context.Context, b *Batch, bucket, last int64) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // a no-op once committed
	t := &txn{s: s, tx: tx, ctx: ctx}
	s.write(t, b)
	if last > 0 {
		t.do("mark", bucket, last)
	}
	if t.err != nil {
		return fmt.Errorf("commit: %w", t.err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func (s *Store) write(t *txn, b *Batch) {
	for _, f := range b.Issue {
		t.do("issue", f.Nominal, int64(f.Camera), int64(f.Schedule), f.Deadline, f.Retries, string(f.Agent))
	}
	for _, o := range b.Drop {
		t.do("drop", o.Nominal, int64(o.Camera), int64(o.Schedule))
	}
	for i := range b.Captures {
		o := &b.Captures[i].Occurrence
		t.do("drop", o.Nominal, int64(o.Camera), int64(o.Schedule))
	}
	for _, f := range b.Assign {
		t.do("assign", string(f.Agent), f.Nominal, int64(f.Camera), int64(f.Schedule))
	}
	if b.Through != 0 {
		t.do("meta", "through", b.Through)
	}
	for site, k := range b.Books {
		t.do("books", string(site), k.Captured, k.Failed, k.Missed, k.Skipped, k.InFlight, k.Duplicates)
	}
	for _, p := range b.CloseSpans {
		if p.Until < p.From { // it never held an occurrence
			t.do("forget", int64(p.Camera), int64(p.Schedule), p.From)
			continue
		}
		t.do("close", p.Until, int64(p.Camera), int64(p.Schedule), p.From)
	}
	for _, p := range b.OpenSpans {
		t.do("open", int64(p.Camera), int64(p.Schedule), p.From, p.Revision, p.Enabled, p.Place)
	}
	for i := range b.Cameras {
		c := &b.Cameras[i]
		body, err := json.Marshal(c)
		if err != nil && t.err == nil {
			t.err = err
		}
		t.do("camera", int64(c.ID), string(c.Site), string(c.State), string(body))
	}
	for i := range b.Sites {
		t.body("site", string(b.Sites[i].ID), b.Sites[i])
		t.do("nobooks", string(b.Sites[i].ID))
	}
	for i := range b.Agents {
		t.body("agent", string(b.Agents[i].ID), b.Agents[i])
	}
	for _, c := range b.Schedules {
		t.do("schedule", int64(c.ID), c.Revision, c.Name, string(c.Spec), c.Applied, c.Removed)
	}
	for i := range b.Keys {
		t.body("key", b.Keys[i].ID, b.Keys[i])
	}
	for i := range b.Tokens {
		t.body("token", b.Tokens[i].Name, b.Tokens[i])
	}
	for i := range b.Credentials {
		t.body("creds", b.Credentials[i].ID, b.Credentials[i])
	}
	if b.Rules != nil {
		t.do("norules")
		for _, r := range *b.Rules {
			t.do("rule", r.Name, r.Select)
		}
	}
}

// load reads everything but captures, and takes a new epoch.
func (s *Store) load(ctx context.Context) (*State, error) {
	st := &State{Books: map[fleet.SiteID]fleet.Books{}}
	meta := map[string]int64{}
	err := errors.Join(
		each(ctx, s.db, "SELECT k, v FROM meta", func(r *sql.Rows) error {
			var k string
			var v int64
			err := r.Scan(&k, &v)
			meta[k] = v
			return err
		}),
		each(ctx, s.db, "SELECT site, captured, failed, missed, skipped, in_flight, duplicates FROM books", func(r *sql.Rows) error {
			var site string
			var b fleet.Books
			err := r.Scan(&site, &b.Captured, &b.Failed, &b.Missed, &b.Skipped, &b.InFlight, &b.Duplicates)
			b.Issued = b.Captured + b.Failed + b.Missed + b.Skipped + b.InFlight
			st.Books[fleet.SiteID(site)] = b
			return err
		}),
		each(ctx, s.db, "SELECT nominal, camera, schedule, deadline, retries, agent FROM orders", func(r *sql.Rows) error {
			var f Flight
			err := r.Scan(&f.Nominal, (*signed)(&f.Camera), (*signed)(&f.Schedule), &f.Deadline, &f.Retries, &f.Agent)
			st.Flights = append(st.Flights, f)
			return err
		}),
		eachSpan(ctx, s.db, "WHERE until = 0", func(p Span) { st.Spans = append(st.Spans, p) }),
		bodies(ctx, s.db, "cameras", &st.Cameras),
		bodies(ctx, s.db, "sites", &st.Sites),
		bodies(ctx, s.db, "agents", &st.Agents),
		bodies(ctx, s.db, "keys", &st.Keys),
		bodies(ctx, s.db, "tokens", &st.Tokens),
		bodies(ctx, s.db, "credentials", &st.Credentials),
		each(ctx, s.db, "SELECT id, revision, name, spec, applied, removed FROM schedules ORDER BY id, revision", func(r *sql.Rows) error {
			var c Schedule
			var spec string
			err := r.Scan((*signed)(&c.ID), &c.Revision, &c.Name, &spec, &c.Applied, &c.Removed)
			c.Spec = json.RawMessage(spec)
			st.Schedules = append(st.Schedules, c)
			return err
		}),
		each(ctx, s.db, "SELECT name, sel FROM rules ORDER BY name", func(r *sql.Rows) error {
			var u Rule
			err := r.Scan(&u.Name, &u.Select)
			st.Rules = append(st.Rules, u)
			return err
		}),
	)
	if err != nil {
		return nil, err
	}
	st.Through = fleet.Instant(meta["through"])
	st.Epoch = uint64(meta["epoch"]) + 1
	_, err = s.db.ExecContext(ctx, "INSERT OR REPLACE INTO meta (k, v) VALUES ('epoch', ?)", int64(st.Epoch))
	return st, err
}

// Spans calls f for each span that touches [from, until].
func (s *Store) Spans(ctx context.Context, from, until fleet.Instant, f func(Span)) error {
	return eachSpan(ctx, s.read, "WHERE start <= ? AND (until = 0 OR until >= ?)", f, until, from)
}

func eachSpan(ctx context.Context, db *sql.DB, where string, f func(Span), args ...any) error {
	return each(ctx, db, "SELECT camera, schedule, start, until, revision, enabled, place FROM spans "+where, func(r *sql.Rows) error {
		var p Span
		err := r.Scan((*signed)(&p.Camera), (*signed)(&p.Schedule), &p.From, &p.Until, &p.Revision, &p.Enabled, &p.Place)
		if err == nil {
			f(p)
		}
		return err
	}, args...)
}

// Flights calls f for each order that is durable and has no outcome.
func (s *Store) Flights(ctx context.Context, f func(fleet.Occurrence)) error {
	return each(ctx, s.read, "SELECT nominal, camera, schedule FROM orders", func(r *sql.Rows) error {
		var o fleet.Occurrence
		err := r.Scan(&o.Nominal, (*signed)(&o.Camera), (*signed)(&o.Schedule))
		if err == nil {
			f(o)
		}
		return err
	})
}

// signed scans SQLite's signed integers into the 64 bits of an identity.
type signed uint64

func (v *signed) Scan(src any) error {
	n, ok := src.(int64)
	if !ok {
		return fmt.Errorf("%T where an integer is wanted", src)
	}
	*v = signed(n)
	return nil
}

func each(ctx context.Context, db *sql.DB, query string, f func(*sql.Rows) error, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
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

func bodies[T any](ctx context.Context, db *sql.DB, table string, into *[]T) error {
	return each(ctx, db, "SELECT body FROM "+table, func(r *sql.Rows) error {
		var text string
		if err := r.Scan(&text); err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return fmt.Errorf("row of %s: %w", table, err)
		}
		*into = append(*into, v)
		return nil
	})
}
