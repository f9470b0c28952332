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
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/shutterfleet/shutterfleet/fleet"
)

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
