package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// bucketWidth is the time one file of captures spans, by arrival: small enough
// to be dropped whole as it ages out.
const bucketWidth = 10 * time.Minute

// pointer says where a capture lies: the bucket in the upper bits, the row in
// the lower 40. 0 = nowhere.
type pointer int64

const rowBits = 40

func pointerTo(bucket, row int64) pointer { return pointer(bucket<<rowBits | row) }
func (p pointer) bucket() int64           { return int64(p) >> rowBits }
func (p pointer) row() int64              { return int64(p) & (1<<rowBits - 1) }

// part is one file of captures.
type part struct {
	bucket int64
	db     *sql.DB // writes
	read   *sql.DB
	last   int64 // highest row
}

const partSchema = `CREATE TABLE IF NOT EXISTS captures (
 row INTEGER PRIMARY KEY, camera INTEGER NOT NULL, schedule INTEGER NOT NULL, nominal INTEGER NOT NULL, prev INTEGER NOT NULL,
 outcome INTEGER NOT NULL, cause TEXT, detail TEXT, agent TEXT, at INTEGER, bound_us INTEGER, delay_us INTEGER, took_us INTEGER, attempts INTEGER, protocol TEXT,
 codec TEXT, width INTEGER, height INTEGER, bytes INTEGER, sha256 BLOB, pdq BLOB, pdq_quality INTEGER, phash INTEGER, quality BLOB)`

const partColumns = "row, camera, schedule, nominal, prev, outcome, cause, detail, agent, at, bound_us, delay_us, took_us, attempts, protocol, codec, width, height, bytes, sha256, pdq, pdq_quality, phash, quality"

var partInsert = "INSERT INTO captures (" + partColumns + ") VALUES (?" + strings.Repeat(",?", strings.Count(partColumns, ",")) + ")"

func bucketOf(t time.Time) int64 { return t.UnixMilli() / bucketWidth.Milliseconds() }

func (s *Store) partFile(bucket int64) string {
	return filepath.Join(s.dir, fmt.Sprintf("captures-%d.db", bucket))
}

func (s *Store) openPart(bucket int64) (*part, error) {
	file := s.partFile(bucket)
	db, err := openDB(file, "FULL", partSchema)
	if err != nil {
		return nil, err
	}
	p := &part{bucket: bucket, db: db}
	if p.read, err = sql.Open("sqlite", dsn(file, "FULL")+"&_pragma=query_only(1)"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	var last sql.NullInt64
	if err := db.QueryRow("SELECT max(row) FROM captures").Scan(&last); err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.last = last.Int64
	return p, nil
}

func (p *part) close() error { return errors.Join(p.read.Close(), p.db.Close()) }

// openParts opens all files of captures and finds each camera's newest row.
func (s *Store) openParts(ctx context.Context) error {
	names, err := filepath.Glob(filepath.Join(s.dir, "captures-*.db"))
	if err != nil {
		return err
	}
	for _, name := range names {
		text := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "captures-"), ".db")
		bucket, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%s is not a file of captures: move it away", name)
		}
		if s.parts[bucket], err = s.openPart(bucket); err != nil {
			return err
		}
	}
	for _, b := range s.buckets() {
		p := s.parts[b]
		err := each(ctx, p.db, "SELECT camera, max(row) FROM captures GROUP BY camera", func(r *sql.Rows) error {
			var camera fleet.CameraID
			var row int64
			err := r.Scan((*signed)(&camera), &row)
			if _, known := s.newest[camera]; !known {
				s.newest[camera] = pointerTo(b, row)
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", s.partFile(b), err)
		}
	}
	return nil
}

// buckets lists the open files, newest first.
func (s *Store) buckets() []int64 {
	var bs []int64
	for b := range s.parts {
		bs = append(bs, b)
	}
	slices.Sort(bs)
	slices.Reverse(bs)
	return bs
}

// append makes cs durable in the file of the present ten minutes.
func (s *Store) append(ctx context.Context, cs []fleet.Capture) (bucket, last int64, err error) {
	bucket = bucketOf(time.Now())
	s.mu.RLock()
	for b := range s.parts {
		bucket = max(bucket, b) // the clock may have been set back: pointers only go back in order
	}
	p := s.parts[bucket]
	s.mu.RUnlock()
	if p == nil {
		if p, err = s.openPart(bucket); err != nil {
			return 0, 0, err
		}
		s.mu.Lock()
		s.parts[bucket] = p
		s.mu.Unlock()
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	defer tx.Rollback() //nolint:errcheck // a no-op once committed
	st, err := tx.PrepareContext(ctx, partInsert)
	if err != nil {
		return 0, 0, err
	}
	defer st.Close() //nolint:errcheck // the transaction's end says what matters
	row := p.last
	heads := make(map[fleet.CameraID]pointer, len(cs))
	for i := range cs {
		c := &cs[i]
		row++
		prev, ok := heads[c.Camera]
		if !ok {
			s.mu.RLock()
			prev = s.newest[c.Camera]
			s.mu.RUnlock()
		}
		heads[c.Camera] = pointerTo(bucket, row)
		r := &c.Reading
		var sha, pdq, quality []byte
		if c.Outcome == fleet.Captured {
			sha, pdq, quality = r.SHA256[:], r.Fingerprint.PDQ[:], packQuality(&r.Quality)
		}
		if _, err := st.ExecContext(ctx, row, int64(c.Camera), int64(c.Schedule), c.Nominal, int64(prev),
			int64(c.Outcome), string(c.Cause), c.Detail, string(c.Agent), c.At, c.Bound.Microseconds(), c.Delay.Microseconds(), c.Took.Microseconds(), int64(c.Attempts), string(c.Protocol),
			string(r.Codec), int64(r.Width), int64(r.Height), int64(r.Bytes), sha, pdq, int64(r.Fingerprint.PDQQuality), int64(r.Fingerprint.PHash), quality); err != nil {
			return 0, 0, err
		}
	}
	if err := tx.Commit(); err != nil {
		return 0, 0, err
	}
	p.last = row
	s.mu.Lock()
	for camera, at := range heads {
		s.newest[camera] = at
	}
	s.mu.Unlock()
	return bucket, row, nil
}

// recount brings centre.db up to the captures that were durable before a power
// cut and not yet counted.
func (s *Store) recount(ctx context.Context) error {
	marks := map[int64]int64{}
	if err := each(ctx, s.db, "SELECT bucket, counted FROM marks", func(r *sql.Rows) error {
		var b, n int64
		err := r.Scan(&b, &n)
		marks[b] = n
		return err
	}); err != nil {
		return err
	}
	for b, p := range s.parts {
		if p.last <= marks[b] {
			continue
		}
		var late []fleet.Capture
		if err := each(ctx, p.db, "SELECT "+partColumns+" FROM captures WHERE row > "+strconv.FormatInt(marks[b], 10), func(r *sql.Rows) error {
			c, _, _, err := scanCapture(r)
			late = append(late, c)
			return err
		}); err != nil {
			return err
		}
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		for i := range late {
			if err := recountOne(ctx, tx, &late[i]); err != nil {
				return errors.Join(err, tx.Rollback())
			}
		}
		if _, err := tx.ExecContext(ctx, statements["mark"], b, p.last); err != nil {
			return errors.Join(err, tx.Rollback())
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

var outcomeColumn = map[fleet.Outcome]string{fleet.Captured: "captured", fleet.Failed: "failed", fleet.Missed: "missed", fleet.Skipped: "skipped"}

// recountOne drops c's order and moves its one in the books from "in flight"
// to its outcome. A missed occurrence may never have had an order: the books
// then only gain.
func recountOne(ctx context.Context, tx *sql.Tx, c *fleet.Capture) error {
	res, err := tx.ExecContext(ctx, statements["drop"], c.Nominal, int64(c.Camera), int64(c.Schedule))
	if err != nil {
		return err
	}
	had, err := res.RowsAffected()
	if err != nil {
		return err
	}
	col := outcomeColumn[c.Outcome]
	_, err = tx.ExecContext(ctx, "UPDATE books SET "+col+" = "+col+" + 1, in_flight = in_flight - ? WHERE site = (SELECT site FROM cameras WHERE id = ?)", had, int64(c.Camera))
	return err
}

func scanCapture(r interface{ Scan(...any) error }) (c fleet.Capture, row int64, prev pointer, err error) {
	var bound, delay, took int64
	var sha, pdq, quality []byte
	d := &c.Reading
	err = r.Scan(&row, (*signed)(&c.Camera), (*signed)(&c.Schedule), &c.Nominal, &prev, &c.Outcome, &c.Cause, &c.Detail, &c.Agent, &c.At, &bound, &delay, &took, &c.Attempts, &c.Protocol,
		&d.Codec, &d.Width, &d.Height, &d.Bytes, &sha, &pdq, &d.Fingerprint.PDQQuality, (*signed)(&d.Fingerprint.PHash), &quality)
	c.Bound, c.Delay, c.Took = time.Duration(bound)*time.Microsecond, time.Duration(delay)*time.Microsecond, time.Duration(took)*time.Microsecond
	copy(d.SHA256[:], sha)
	copy(d.Fingerprint.PDQ[:], pdq)
	unpackQuality(&d.Quality, quality)
	return c, row, prev, err
}

func scores(q *fleet.Quality) [6]*float32 {
	return [6]*float32{&q.Mean, &q.Contrast, &q.Sharpness, &q.Dark, &q.Bright, &q.Entropy}
}

func packQuality(q *fleet.Quality) []byte {
	b := make([]byte, 0, 24)
	for _, f := range scores(q) {
		b = binary.BigEndian.AppendUint32(b, math.Float32bits(*f))
	}
	return b
}

func unpackQuality(q *fleet.Quality, b []byte) {
	for i, f := range scores(q) {
		if len(b) >= 4*i+4 {
			*f = math.Float32frombits(binary.BigEndian.Uint32(b[4*i:]))
		}
	}
}

// Last returns the camera's newest capture, or nil.
func (s *Store) Last(ctx context.Context, camera fleet.CameraID) (*fleet.Capture, error) {
	for e, err := range s.History(ctx, camera, 0) {
		if err != nil {
			return nil, err
		}
		return &e.Capture, nil
	}
	return nil, nil
}

// History walks the camera's captures, newest first by arrival: those before
// the one at the given position, or all when it is 0.
func (s *Store) History(ctx context.Context, camera fleet.CameraID, before Position) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s.mu.RLock()
		at := s.newest[camera]
		s.mu.RUnlock()
		if before != 0 {
			at = pointer(before)
		}
		for first := true; at != 0; first = false {
			s.mu.RLock()
			p := s.parts[at.bucket()]
			s.mu.RUnlock()
			if p == nil {
				return // that file has aged out
			}
			c, _, prev, err := scanCapture(p.read.QueryRowContext(ctx, "SELECT "+partColumns+" FROM captures WHERE row = ?", at.row()))
			if err != nil {
				yield(Entry{}, fmt.Errorf("read capture of %s: %w", camera, err))
				return
			}
			if !(first && before != 0) && !yield(Entry{Capture: c, At: Position(at)}, nil) {
				return
			}
			at = prev
		}
	}
}

// Fingerprints walks what a search needs of each captured frame, newest file
// first, skipping frames whose PDQ quality is below least.
func (s *Store) Fingerprints(ctx context.Context, least uint8, f func(o fleet.Occurrence, at fleet.Instant, pdq *fleet.PDQ)) error {
	s.mu.RLock()
	var parts []*part
	for _, b := range s.buckets() {
		parts = append(parts, s.parts[b])
	}
	s.mu.RUnlock()
	for _, p := range parts {
		err := each(ctx, p.read, "SELECT camera, schedule, nominal, at, pdq FROM captures WHERE outcome = 1 AND pdq_quality >= ?", func(r *sql.Rows) error {
			var o fleet.Occurrence
			var at fleet.Instant
			var raw sql.RawBytes
			if err := r.Scan((*signed)(&o.Camera), (*signed)(&o.Schedule), &o.Nominal, &at, &raw); err != nil {
				return err
			}
			if len(raw) == len(fleet.PDQ{}) {
				f(o, at, (*fleet.PDQ)(raw))
			}
			return nil
		}, int64(least))
		if err != nil {
			return fmt.Errorf("read fingerprints: %w", err)
		}
	}
	return nil
}

// Position is a place in the order of arrival; 0 is before the first capture.
type Position int64

// Entry is a capture with its place in the order of arrival.
type Entry struct {
	fleet.Capture
	At Position
}

// Recent walks all captures, newest arrival first, beginning before the given
// position; 0 means from the end.
func (s *Store) Recent(ctx context.Context, before Position) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		s.mu.RLock()
		buckets := s.buckets()
		s.mu.RUnlock()
		for _, b := range buckets {
			limit := int64(math.MaxInt64)
			if before != 0 {
				if b > pointer(before).bucket() {
					continue
				}
				if b == pointer(before).bucket() {
					limit = pointer(before).row()
				}
			}
			s.mu.RLock()
			p := s.parts[b]
			s.mu.RUnlock()
			if p != nil && !p.backwards(ctx, limit, yield) {
				return
			}
		}
	}
}

// backwards yields the part's rows below limit in pages, so that no read
// transaction stays open while the caller works. It reports whether to go on.
func (p *part) backwards(ctx context.Context, limit int64, yield func(Entry, error) bool) bool {
	const page = 256
	for {
		var found []Entry
		err := each(ctx, p.read, "SELECT "+partColumns+" FROM captures WHERE row < ? ORDER BY row DESC LIMIT ?", func(r *sql.Rows) error {
			var e Entry
			var err error
			e.Capture, limit, _, err = scanCapture(r)
			e.At = Position(pointerTo(p.bucket, limit))
			found = append(found, e)
			return err
		}, limit, page)
		if err != nil {
			yield(Entry{}, fmt.Errorf("read captures: %w", err))
			return false
		}
		for _, e := range found {
			if !yield(e, nil) {
				return false
			}
		}
		if len(found) < page {
			return true
		}
	}
}

// DropBefore removes the files whose captures all arrived before t, and says
// how many. Pointers into them lead nowhere from then on.
func (s *Store) DropBefore(t time.Time) (dropped int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for b, p := range s.parts {
		if b >= bucketOf(t) {
			continue
		}
		delete(s.parts, b)
		errs = append(errs, p.close())
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(s.partFile(b) + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
		}
		dropped++
	}
	return dropped, errors.Join(errs...)
}
