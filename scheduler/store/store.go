// Package store is the centre's memory: one SQLite file for the fleet, the
// schedules and a log of orders, and one file per ten minutes for the captures
// that came in.
//
//	issue, assign, drop ──► log            (centre.db, a row per commit)
//	outcomes            ──► captures-<ten minutes>.db, a row per report
//	Checkpoint          ──► orders in flight and books as they stand; the log begins anew
//	Open + Replay       ◄── checkpoint, then the log, then the captures behind it
//
// Nothing on the way in is keyed by camera or by order: an index would make of
// each capture a random page. Each capture points to the same camera's one
// before it; the newest of each camera is held in memory.
package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
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

// Pause is a stored pause. Body is the scheduler's.
type Pause struct {
	ID   string
	Body json.RawMessage
}

// Dispute is what is known of one device's conflict, and decided about it. Body
// is the scheduler's; nil forgets it.
type Dispute struct {
	ID   string
	Body json.RawMessage
}

// Job is a stored job. Body is the scheduler's; Cameras are eight bytes each.
type Job struct {
	ID      string
	Asked   fleet.Instant
	Body    json.RawMessage
	Cameras []byte // nil in State
}

// Mark says what becomes of a mark that outlives a restart.
type Mark int8

// The values of a Mark.
const (
	Unchanged Mark = iota
	Wanted
	Done
)

// Batch is a set of changes that become durable together.
type Batch struct {
	Captures []fleet.Capture    // outcomes; their orders are in flight no more
	Issue    []Flight           // new orders
	Drop     []fleet.Occurrence // orders taken back
	Assign   []Flight           // orders that now belong to another agent
	Through  fleet.Instant      // the issue clock; 0 = unchanged
	Repeats  map[fleet.SiteID]uint64

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
	Pauses      []Pause
	Resume      []string // ids of pauses that are over
	Disputes    []Dispute
	Jobs        []Job
	Masks       []Mask
	Reconcile   Mark // tasks may differ from what schedules say
}

// rest reports whether there is anything beside captures.
func (b *Batch) rest() bool {
	return b.Through != 0 || len(b.Issue)+len(b.Drop)+len(b.Assign)+len(b.Repeats)+len(b.OpenSpans)+len(b.CloseSpans)+len(b.Cameras)+len(b.Sites)+
		len(b.Agents)+len(b.Schedules)+len(b.Keys)+len(b.Tokens)+len(b.Credentials)+len(b.Pauses)+len(b.Resume)+len(b.Disputes)+len(b.Jobs)+len(b.Masks) > 0 || b.Rules != nil || b.Reconcile != Unchanged
}

// State is what Open found, but for what is large: EachCamera, EachSpan and
// Replay read that.
type State struct {
	Through     fleet.Instant
	Epoch       uint64 // grows by one with each Open: the fence of a lone scheduler
	Sites       []fleet.Site
	Agents      []fleet.Agent
	Schedules   []Schedule // all revisions
	Keys        []Key
	Tokens      []Token
	Credentials []Credentials
	Rules       []Rule
	Pauses      []Pause
	Disputes    []Dispute
	Jobs        []Job // newest first, at most a thousand
	Masks       []Mask
	Reconcile   bool
}

// Store is the centre's store in one directory. Only one process may have it
// open: package shard sees to that.
type Store struct {
	dir   string
	db    *sql.DB // writes, one connection
	read  *sql.DB
	thumb *sql.DB
	stmts map[string]*sql.Stmt

	commit   sync.Mutex // one Commit at a time; guards what follows
	torn     error      // why captures are durable whose batch is not
	log      logWriter
	seq      int64   // last row of the log
	logged   int     // bytes in the log since the checkpoint
	last     pointer // newest capture
	taken    int     // captures since the newest of each camera were written
	unsummed int     // captures since the checkpoint
	heads    map[fleet.CameraID]pointer
	body     []byte
	checked  pointer // captures up to it are in the checkpoint

	mu     sync.RWMutex
	parts  map[int64]*part // by bucket
	newest map[fleet.CameraID]pointer
	frames map[fleet.CameraID]FrameInfo // of the thumbnails

	thumbs sync.Mutex // one change of a thumbnail at a time
}

const schema = `
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoint (part INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS newest (part INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS books (site TEXT PRIMARY KEY, captured INTEGER, failed INTEGER, missed INTEGER, skipped INTEGER, duplicates INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spans (camera INTEGER, schedule INTEGER, start INTEGER, until INTEGER, revision INTEGER, enabled INTEGER, place TEXT, PRIMARY KEY (camera, schedule, start)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS cameras (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sites (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS agents (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS schedules (id INTEGER, revision INTEGER, name TEXT NOT NULL, spec TEXT NOT NULL, applied INTEGER, removed INTEGER, PRIMARY KEY (id, revision)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tokens (name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS credentials (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS rules (name TEXT PRIMARY KEY, sel TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pauses (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS disputes (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, asked INTEGER NOT NULL, body TEXT NOT NULL, cameras BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS spans_closed ON spans (until) WHERE until != 0;
` + loginSchema + maskSchema

// formatVersion is kept in PRAGMA user_version of centre.db.
const formatVersion = 2

// Open opens the store in dir, making it at the first time, and returns what it
// holds. It finishes what a power cut interrupted.
func Open(ctx context.Context, dir string) (*Store, *State, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{dir: dir, parts: map[int64]*part{}, newest: map[fleet.CameraID]pointer{}, heads: map[fleet.CameraID]pointer{}, frames: map[fleet.CameraID]FrameInfo{}}
	st, err := s.open(ctx)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open store in %s: %w", dir, err), s.Close())
	}
	return s, st, nil
}

func (s *Store) open(ctx context.Context) (*State, error) {
	file := filepath.Join(s.dir, "centre.db")
	// The format is looked at before anything is written: a file of another
	// version stays as it is.
	_, statErr := os.Stat(file)
	var err error
	if s.db, err = openDB(file, "FULL", "SELECT 1"); err != nil {
		return nil, err
	}
	var format int
	if err := s.db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&format); err != nil {
		return nil, err
	}
	switch {
	case format > formatVersion:
		return nil, fmt.Errorf("%s was written by a newer version (format %d, this build reads %d): run that version", file, format, formatVersion)
	case format < formatVersion && statErr == nil && format != 0:
		return nil, fmt.Errorf("%s was written before the first release (format %d, this build reads %d): begin with a new directory, and keep this one for the version that wrote it", file, format, formatVersion)
	}
	if _, err := s.db.ExecContext(ctx, schema+fmt.Sprintf("PRAGMA user_version = %d", formatVersion)); err != nil {
		return nil, err
	}
	if s.read, err = sql.Open("sqlite", dsn(file, "FULL")+"&_pragma=query_only(1)"); err != nil {
		return nil, err
	}
	// Thumbnails are only a view: the last seconds may be lost.
	if s.thumb, err = openDB(filepath.Join(s.dir, "thumbnails.db"), "NORMAL", thumbSchema); err != nil {
		return nil, err
	}
	if err := upgradeThumbs(ctx, s.thumb); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if err := s.openParts(); err != nil {
		return nil, err
	}
	if err := s.loadFrames(ctx); err != nil {
		return nil, err
	}
	return s.load(ctx)
}

// escape keeps a directory's name from being read as a URI's other parts.
var escape = strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23")

func dsn(file, synchronous string) string {
	return "file:" + escape.Replace(file) + "?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + synchronous + ")&_txlock=immediate"
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
	"log":      "INSERT INTO log (seq, body) VALUES (?,?)",
	"unlog":    "DELETE FROM log WHERE seq <= ?",
	"uncheck":  "DELETE FROM checkpoint",
	"check":    "INSERT INTO checkpoint (part, body) VALUES (?,?)",
	"unnewest": "DELETE FROM newest",
	"newest":   "INSERT INTO newest (part, body) VALUES (?,?)",
	"meta":     "INSERT OR REPLACE INTO meta (k, v) VALUES (?,?)",
	"books":    "INSERT OR REPLACE INTO books (site, captured, failed, missed, skipped, duplicates) VALUES (?,?,?,?,?,?)",
	"open":     "INSERT OR REPLACE INTO spans (camera, schedule, start, until, revision, enabled, place) VALUES (?,?,?,?,?,?,?)",
	"close":    "UPDATE spans SET until = ? WHERE camera = ? AND schedule = ? AND start = ?",
	"forget":   "DELETE FROM spans WHERE camera = ? AND schedule = ? AND start = ?",
	"camera":   "INSERT OR REPLACE INTO cameras (id, body) VALUES (?,?)",
	"site":     "INSERT OR REPLACE INTO sites (id, body) VALUES (?,?)",
	"agent":    "INSERT OR REPLACE INTO agents (id, body) VALUES (?,?)",
	"schedule": "INSERT OR REPLACE INTO schedules (id, revision, name, spec, applied, removed) VALUES (?,?,?,?,?,?)",
	"key":      "INSERT OR REPLACE INTO keys (id, body) VALUES (?,?)",
	"token":    "INSERT OR REPLACE INTO tokens (name, body) VALUES (?,?)",
	"creds":    "INSERT OR REPLACE INTO credentials (id, body) VALUES (?,?)",
	"norules":  "DELETE FROM rules",
	"rule":     "INSERT OR REPLACE INTO rules (name, sel) VALUES (?,?)",
	"pause":    "INSERT OR REPLACE INTO pauses (id, body) VALUES (?,?)",
	"resume":   "DELETE FROM pauses WHERE id = ?",
	"dispute":  "INSERT OR REPLACE INTO disputes (id, body) VALUES (?,?)",
	"agree":    "DELETE FROM disputes WHERE id = ?",
	"login":    "INSERT OR REPLACE INTO logins (site, device, body) VALUES (?,?,?)",
	"unlogin":  "DELETE FROM logins WHERE site = ? AND device = ?",
	"mask":     "INSERT OR REPLACE INTO masks (camera, body) VALUES (?,?)",
	"job":      "INSERT OR REPLACE INTO jobs (id, asked, body, cameras) VALUES (?,?,?,?)",
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
// Open finds them. ctx must not end between the two: callers hand in one that
// is not a request's.
func (s *Store) Commit(ctx context.Context, b *Batch) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	if s.torn != nil {
		return s.torn
	}
	if len(b.Captures) > 0 {
		last, err := s.append(ctx, b.Captures)
		if err != nil {
			return fmt.Errorf("append %d captures: %w", len(b.Captures), err)
		}
		s.last = last
		s.taken += len(b.Captures)
		s.unsummed += len(b.Captures)
	}
	if !b.rest() {
		return nil
	}
	if err := s.within(ctx, func(t *txn) { s.write(t, b) }); err != nil {
		if len(b.Captures) > 0 {
			s.torn = fmt.Errorf("%w: %w", ErrTorn, err)
			return s.torn
		}
		return err
	}
	return nil
}

// ErrTorn says that captures were stored without what belongs to them. The
// store takes no more; opening it again repairs it.
var ErrTorn = errors.New("the store must be opened again: restart the scheduler")

// within runs f in one transaction of centre.db.
func (s *Store) within(ctx context.Context, f func(*txn)) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // a no-op once committed
	t := &txn{s: s, tx: tx, ctx: ctx}
	f(t)
	if t.err != nil {
		return fmt.Errorf("commit: %w", t.err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

func (s *Store) write(t *txn, b *Batch) {
	w := &s.log
	*w = logWriter{b: w.b[:0]}
	for _, o := range b.Drop {
		w.drop(o)
	}
	for i := range b.Issue {
		w.issue(&b.Issue[i])
	}
	for i := range b.Assign {
		w.assign(&b.Assign[i])
	}
	for site, n := range b.Repeats {
		w.repeat(site, n)
	}
	if len(w.b) > 0 {
		s.seq++ // a number is never used twice, also after a commit that failed
		s.logged += len(w.b)
		t.do("log", s.seq, w.b)
	}
	if b.Through != 0 {
		t.do("meta", "through", b.Through)
	}
	for _, p := range b.CloseSpans {
		if p.Until < p.From { // it never held an occurrence
			t.do("forget", int64(p.Camera), int64(p.Schedule), p.From)
			continue
		}
		t.do("close", p.Until, int64(p.Camera), int64(p.Schedule), p.From)
	}
	for _, p := range b.OpenSpans {
		t.do("open", int64(p.Camera), int64(p.Schedule), p.From, p.Until, p.Revision, p.Enabled, p.Place)
	}
	for i := range b.Cameras {
		c := &b.Cameras[i]
		t.do("camera", int64(c.ID), AppendCamera(nil, c, nil))
	}
	for i := range b.Sites {
		t.body("site", string(b.Sites[i].ID), b.Sites[i])
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
	for _, p := range b.Pauses {
		t.do("pause", p.ID, string(p.Body))
	}
	for _, id := range b.Resume {
		t.do("resume", id)
	}
	for _, d := range b.Disputes {
		if d.Body == nil {
			t.do("agree", d.ID)
		} else {
			t.do("dispute", d.ID, string(d.Body))
		}
	}
	t.masks(b.Masks)
	for _, j := range b.Jobs {
		t.do("job", j.ID, j.Asked, string(j.Body), j.Cameras)
	}
	if b.Reconcile != Unchanged {
		t.do("meta", "reconcile", b.Reconcile == Wanted)
	}
}

// load reads what is small, and takes a new epoch.
func (s *Store) load(ctx context.Context) (*State, error) {
	st := &State{}
	meta := map[string]int64{}
	err := errors.Join(
		each(ctx, s.db, "SELECT k, v FROM meta", func(r *sql.Rows) error {
			var k string
			var v int64
			err := r.Scan(&k, &v)
			meta[k] = v
			return err
		}),
		bodies(ctx, s.db, "sites", &st.Sites),
		bodies(ctx, s.db, "agents", &st.Agents),
		bodies(ctx, s.db, "keys", &st.Keys),
		bodies(ctx, s.db, "tokens", &st.Tokens),
		bodies(ctx, s.db, "credentials", &st.Credentials),
		loadMasks(ctx, s.db, &st.Masks),
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
		each(ctx, s.db, "SELECT id, body FROM pauses ORDER BY id", func(r *sql.Rows) error {
			var p Pause
			var body string
			err := r.Scan(&p.ID, &body)
			p.Body = json.RawMessage(body)
			st.Pauses = append(st.Pauses, p)
			return err
		}),
		each(ctx, s.db, "SELECT id, body FROM disputes ORDER BY id", func(r *sql.Rows) error {
			var d Dispute
			var body string
			err := r.Scan(&d.ID, &body)
			d.Body = json.RawMessage(body)
			st.Disputes = append(st.Disputes, d)
			return err
		}),
		each(ctx, s.db, "SELECT id, asked, body FROM jobs ORDER BY asked DESC LIMIT 1000", func(r *sql.Rows) error {
			var j Job
			var body string
			err := r.Scan(&j.ID, &j.Asked, &body)
			j.Body = json.RawMessage(body)
			st.Jobs = append(st.Jobs, j)
			return err
		}),
		s.db.QueryRowContext(ctx, "SELECT coalesce(max(seq), 0), coalesce(sum(length(body)), 0) FROM log").Scan(&s.seq, &s.logged),
	)
	if err != nil {
		return nil, err
	}
	s.seq = max(s.seq, meta["seq"])
	s.checked = pointer(meta["checked"])
	if err := s.loadNewest(ctx, pointer(meta["newest"])); err != nil {
		return nil, err
	}
	for b, p := range s.parts {
		if p.last > 0 {
			s.last = max(s.last, pointerTo(b, p.last, maxRecords-1))
		}
	}
	st.Through = fleet.Instant(meta["through"])
	st.Reconcile = meta["reconcile"] != 0
	st.Epoch = uint64(meta["epoch"]) + 1
	_, err = s.db.ExecContext(ctx, "INSERT OR REPLACE INTO meta (k, v) VALUES ('epoch', ?)", int64(st.Epoch))
	return st, err
}

// CountCameras returns how many cameras there are.
func (s *Store) CountCameras(ctx context.Context) (n int, err error) {
	err = s.read.QueryRowContext(ctx, "SELECT count(*) FROM cameras").Scan(&n)
	return n, err
}

// EachCamera calls f with each camera's record, by id as a signed number. The
// record is valid during the call. Rows are read ahead beside f's work.
func (s *Store) EachCamera(ctx context.Context, f func(record []byte) error) error {
	type batch struct {
		b    []byte
		ends []int
	}
	return ahead(ctx, func(ctx context.Context, send func(batch) error) error {
		var v batch
		err := each(ctx, s.read, "SELECT body FROM cameras ORDER BY id", func(r *sql.Rows) error {
			var b sql.RawBytes
			if err := r.Scan(&b); err != nil {
				return err
			}
			v.b = append(v.b, b...)
			if v.ends = append(v.ends, len(v.b)); len(v.ends) < readAhead {
				return nil
			}
			full := v
			v = batch{b: make([]byte, 0, len(full.b)+len(full.b)/8), ends: make([]int, 0, readAhead)}
			return send(full)
		})
		return errors.Join(err, send(v))
	}, func(v batch) error {
		begin := 0
		for _, end := range v.ends {
			if err := f(v.b[begin:end]); err != nil {
				return err
			}
			begin = end
		}
		return nil
	})
}

// EachSpan calls f for each span that is still open, in EachCamera's order.
// Rows are read ahead beside f's work.
func (s *Store) EachSpan(ctx context.Context, f func(Span) error) error {
	return ahead(ctx, func(ctx context.Context, send func([]Span) error) error {
		var fault error
		batch := make([]Span, 0, readAhead)
		err := eachSpan(ctx, s.read, "WHERE until = 0 ORDER BY camera, schedule, start", func(p Span) {
			if batch = append(batch, p); len(batch) == readAhead && fault == nil {
				fault = send(batch)
				batch = make([]Span, 0, readAhead)
			}
		})
		return errors.Join(err, fault, send(batch))
	}, func(batch []Span) error {
		for _, p := range batch {
			if err := f(p); err != nil {
				return err
			}
		}
		return nil
	})
}

// readAhead is how many rows are handed over at a time.
const readAhead = 2048

// ahead runs read and take beside each other.
func ahead[T any](ctx context.Context, read func(context.Context, func(T) error) error, take func(T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	full := make(chan T, 2)
	done := make(chan error, 1)
	go func() {
		err := read(ctx, func(v T) error {
			select {
			case full <- v:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		})
		close(full)
		done <- err
	}()
	for v := range full {
		if err := take(v); err != nil {
			cancel(err)
			for range full { //nolint:revive // it ends at once
			}
			<-done
			return err
		}
	}
	return <-done
}

// Replay tells f all that happened to orders since the beginning, the older
// part of it summed up by the last checkpoint.
func (s *Store) Replay(ctx context.Context, f Fold) error {
	if err := s.replayLog(ctx, f); err != nil {
		return err
	}
	return s.after(ctx, s.checked, func(_ pointer, agent string, record []byte) error {
		o, outcome, _, err := wire.PeekCapture(record)
		if err == nil {
			f.Outcome(&fleet.Capture{Occurrence: o, Outcome: outcome, Agent: fleet.AgentID(agent)})
		}
		return err
	})
}

// replayLog reads checkpoint and log as they stand at one moment.
func (s *Store) replayLog(ctx context.Context, f Fold) error {
	tx, err := s.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing was written
	if f.Books != nil {
		err := each(ctx, tx, "SELECT site, captured, failed, missed, skipped, duplicates FROM books", func(r *sql.Rows) error {
			var site string
			var b fleet.Books
			err := r.Scan(&site, &b.Captured, &b.Failed, &b.Missed, &b.Skipped, &b.Duplicates)
			f.Books(fleet.SiteID(site), b)
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, query := range []string{"SELECT body FROM checkpoint ORDER BY part", "SELECT body FROM log ORDER BY seq"} {
		err := each(ctx, tx, query, func(r *sql.Rows) error {
			var b sql.RawBytes
			if err := r.Scan(&b); err != nil {
				return err
			}
			return f.read(b)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Closed calls f for each span that ends after t.
func (s *Store) Closed(ctx context.Context, t fleet.Instant, f func(Span)) error {
	return eachSpan(ctx, s.read, "WHERE until != 0 AND until > ?", f, t)
}

// Spans calls f for each span that touches [from, until].
func (s *Store) Spans(ctx context.Context, from, until fleet.Instant, f func(Span)) error {
	return eachSpan(ctx, s.read, "WHERE start <= ? AND (until = 0 OR until >= ?)", f, until, from)
}

func eachSpan(ctx context.Context, db querier, where string, f func(Span), args ...any) error {
	var place string // nearly always that of the span before
	return each(ctx, db, "SELECT camera, schedule, start, until, revision, enabled, place FROM spans "+where, func(r *sql.Rows) error {
		var p Span
		var raw sql.RawBytes
		if err := r.Scan((*signed)(&p.Camera), (*signed)(&p.Schedule), &p.From, &p.Until, &p.Revision, &p.Enabled, &raw); err != nil {
			return err
		}
		if string(raw) != place {
			place = string(raw)
		}
		p.Place = place
		f(p)
		return nil
	}, args...)
}

// Orders calls f for each order that is durable. Some of them may have an
// outcome by now: that is found among the captures.
func (s *Store) Orders(ctx context.Context, f func(fleet.Occurrence)) error {
	found := map[fleet.Occurrence]struct{}{}
	err := s.replayLog(ctx, Fold{
		Issue: func(v Flight) { found[v.Occurrence] = struct{}{} },
		Drop:  func(o fleet.Occurrence) { delete(found, o) },
	})
	for o := range found {
		f(o)
	}
	return err
}

// Job returns a job with its cameras; an empty one when it is unknown.
func (s *Store) Job(ctx context.Context, id string) (j Job, cameras []byte, err error) {
	var body string
	err = s.read.QueryRowContext(ctx, "SELECT id, asked, body, cameras FROM jobs WHERE id = ?", id).Scan(&j.ID, &j.Asked, &body, &cameras)
	if errors.Is(err, sql.ErrNoRows) {
		return Job{}, nil, nil
	}
	j.Body = json.RawMessage(body)
	return j, cameras, err
}

// Forget drops what was over before t: closed spans and jobs. The schedules that
// jobs had for themselves go when no order can refer to them any more, which is
// before done.
func (s *Store) Forget(ctx context.Context, t, done fleet.Instant) error {
	s.commit.Lock()
	defer s.commit.Unlock()
	for _, f := range []struct {
		statement string
		before    fleet.Instant
	}{
		{"DELETE FROM spans WHERE until != 0 AND until < ?", t},
		{"DELETE FROM jobs WHERE asked < ?", t},
		// A job's schedule ends with the moment it is applied.
		{"DELETE FROM schedules WHERE applied = removed AND removed < ?", min(t, done)},
	} {
		if _, err := s.db.ExecContext(ctx, f.statement, f.before); err != nil {
			return fmt.Errorf("forget what has aged out: %w", err)
		}
	}
	return nil
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

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func each(ctx context.Context, db querier, query string, f func(*sql.Rows) error, args ...any) error {
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

func bodies[T any](ctx context.Context, db querier, table string, into *[]T) error {
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
