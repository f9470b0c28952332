package store

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// bucketWidth is the time one file of captures spans, by arrival: small enough
// to be dropped whole as it ages out.
const bucketWidth = 10 * time.Minute

// pointer says where a capture lies: the bucket in the upper bits, the row in
// the next 34, its place in the row in the lowest 6. 0 = nowhere. Pointers grow
// in order of arrival.
type pointer int64

const (
	placeBits  = 6
	rowBits    = 34
	maxRecords = 1 << placeBits // in one row
)

func pointerTo(bucket, row int64, place int) pointer {
	return pointer(bucket<<(rowBits+placeBits) | row<<placeBits | int64(place))
}
func (p pointer) bucket() int64 { return int64(p) >> (rowBits + placeBits) }
func (p pointer) row() int64    { return int64(p) >> placeBits & (1<<rowBits - 1) }
func (p pointer) place() int    { return int(p & (maxRecords - 1)) }

// part is one file of captures.
type part struct {
	bucket int64
	db     *sql.DB // writes
	read   *sql.DB
	insert *sql.Stmt
	get    *sql.Stmt
	last   int64 // highest row
}

// A row holds what one agent reported at once: for each capture the pointer to
// its camera's capture before, in eight bytes, and its record as on the wire.
const partSchema = `CREATE TABLE IF NOT EXISTS captures (row INTEGER PRIMARY KEY, agent TEXT NOT NULL, body BLOB NOT NULL)`

const pointerBytes = 8

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
	err = db.QueryRow("SELECT max(row) FROM captures").Scan(&last)
	if err == nil {
		p.insert, err = db.Prepare("INSERT INTO captures (row, agent, body) VALUES (?,?,?)")
	}
	if err == nil {
		p.get, err = p.read.Prepare("SELECT agent, body FROM captures WHERE row = ?")
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	p.last = last.Int64
	return p, nil
}

func (p *part) close() (err error) {
	for _, st := range []*sql.Stmt{p.insert, p.get} {
		if st != nil {
			err = errors.Join(err, st.Close())
		}
	}
	return errors.Join(err, p.read.Close(), p.db.Close())
}

// openParts opens all files of captures.
func (s *Store) openParts() error {
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
	return nil
}

// loadNewest finds each camera's newest capture: as of the last checkpoint, and
// what came after it.
func (s *Store) loadNewest(ctx context.Context, after pointer) error {
	err := each(ctx, s.db, "SELECT body FROM newest", func(r *sql.Rows) error {
		var b sql.RawBytes
		if err := r.Scan(&b); err != nil {
			return err
		}
		for ; len(b) >= 16; b = b[16:] {
			s.newest[fleet.CameraID(binary.BigEndian.Uint64(b))] = pointer(binary.BigEndian.Uint64(b[8:]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s.after(ctx, after, func(at pointer, _ string, record []byte) error {
		o, _, _, err := wire.PeekCapture(record)
		s.newest[o.Camera] = at
		return err
	})
}

// after calls f for each capture behind the given one, in order of arrival.
func (s *Store) after(ctx context.Context, after pointer, f func(at pointer, agent string, record []byte) error) error {
	buckets := s.buckets()
	slices.Reverse(buckets)
	for _, b := range buckets {
		if b < after.bucket() {
			continue
		}
		from := int64(0)
		if b == after.bucket() {
			from = after.row()
		}
		err := each(ctx, s.parts[b].read, "SELECT row, agent, body FROM captures WHERE row >= ? ORDER BY row", func(r *sql.Rows) error {
			var row int64
			var agent string
			var body sql.RawBytes
			if err := r.Scan(&row, &agent, &body); err != nil {
				return err
			}
			return eachRecord(body, func(place int, _ pointer, record []byte) error {
				at := pointerTo(b, row, place)
				if at <= after {
					return nil
				}
				return f(at, agent, record)
			})
		}, from)
		if err != nil {
			return fmt.Errorf("read %s: %w", s.partFile(b), err)
		}
	}
	return nil
}

// eachRecord walks one row's records.
func eachRecord(body []byte, f func(place int, prev pointer, record []byte) error) error {
	for place := 0; len(body) > 0; place++ {
		if len(body) < pointerBytes {
			return wire.ErrMalformed
		}
		prev := pointer(binary.BigEndian.Uint64(body))
		_, _, n, err := wire.PeekCapture(body[pointerBytes:])
		if err != nil {
			return err
		}
		body = body[pointerBytes:]
		if err := f(place, prev, body[:n]); err != nil {
			return err
		}
		body = body[n:]
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

// append makes cs durable in the file of the present ten minutes, and returns
// the last one's place.
func (s *Store) append(ctx context.Context, cs []fleet.Capture) (last pointer, err error) {
	bucket := bucketOf(time.Now())
	s.mu.RLock()
	for b := range s.parts {
		bucket = max(bucket, b) // the clock may have been set back: pointers only go back in order
	}
	p := s.parts[bucket]
	s.mu.RUnlock()
	if p == nil {
		if p, err = s.openPart(bucket); err != nil {
			return 0, err
		}
		s.mu.Lock()
		s.parts[bucket] = p
		s.mu.Unlock()
	}
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()                     //nolint:errcheck // a no-op once committed
	insert := tx.StmtContext(ctx, p.insert) //nolint:sqlclosecheck // it ends with the transaction
	row := p.last
	heads := s.heads
	clear(heads)
	for len(cs) > 0 {
		row++
		n := 0
		b := s.body[:0]
		for n < len(cs) && n < maxRecords && cs[n].Agent == cs[0].Agent {
			c := &cs[n]
			prev, ok := heads[c.Camera]
			if !ok {
				s.mu.RLock()
				prev = s.newest[c.Camera]
				s.mu.RUnlock()
			}
			last = pointerTo(bucket, row, n)
			heads[c.Camera] = last
			b = binary.BigEndian.AppendUint64(b, uint64(prev))
			b = wire.AppendCapture(b, *c)
			n++
		}
		s.body = b
		if _, err := insert.ExecContext(ctx, row, string(cs[0].Agent), b); err != nil {
			return 0, err
		}
		cs = cs[n:]
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	p.last = row
	s.mu.Lock()
	for camera, at := range heads {
		s.newest[camera] = at
	}
	s.mu.Unlock()
	return last, nil
}

// readAt returns the capture at a pointer, and its camera's one before; no entry
// when its file has aged out.
func (s *Store) readAt(ctx context.Context, at pointer) (e Entry, prev pointer, found bool, err error) {
	s.mu.RLock()
	p := s.parts[at.bucket()]
	s.mu.RUnlock()
	if p == nil {
		return e, 0, false, nil
	}
	var agent string
	var body []byte
	if err := p.get.QueryRowContext(ctx, at.row()).Scan(&agent, &body); err != nil {
		return e, 0, false, err
	}
	err = eachRecord(body, func(place int, before pointer, record []byte) (err error) {
		if place == at.place() {
			found, prev = true, before
			e.At = Position(at)
			e.Capture, _, err = wire.ParseCapture(record)
			e.Agent = fleet.AgentID(agent)
		}
		return err
	})
	if err == nil && !found {
		err = wire.ErrMalformed
	}
	return e, prev, found, err
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
			e, prev, found, err := s.readAt(ctx, at)
			if err != nil {
				yield(Entry{}, fmt.Errorf("read capture of %s: %w", camera, err))
				return
			}
			if !found || !(first && before != 0) && !yield(e, nil) {
				return
			}
			at = prev
		}
	}
}

// Fingerprints walks what a search needs of each captured frame, newest file
// first, skipping frames whose PDQ quality is below least, and those that were
// taken under another mask: their hashes are of other pictures.
func (s *Store) Fingerprints(ctx context.Context, least uint8, mask fleet.MaskSum, f func(o fleet.Occurrence, at fleet.Instant, pdq *fleet.PDQ)) error {
	for e, err := range s.Recent(ctx, 0) {
		if err != nil {
			return fmt.Errorf("read fingerprints: %w", err)
		}
		if r := &e.Reading.Fingerprint; e.Outcome == fleet.Captured && r.PDQQuality >= least && r.Mask == mask {
			f(e.Occurrence, e.Capture.At, &r.PDQ)
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
			limit := pointerTo(b+1, 0, 0)
			if before != 0 {
				if b > pointer(before).bucket() {
					continue
				}
				limit = min(limit, pointer(before))
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

// backwards yields the part's captures before limit in pages, so that no read
// transaction stays open while the caller works. It reports whether to go on.
func (p *part) backwards(ctx context.Context, limit pointer, yield func(Entry, error) bool) bool {
	const page = 16 // rows
	first := limit.row()
	if limit.bucket() != p.bucket {
		first = 1 << rowBits
	}
	for {
		var found []Entry
		rows := 0
		err := each(ctx, p.read, "SELECT row, agent, body FROM captures WHERE row <= ? ORDER BY row DESC LIMIT ?", func(r *sql.Rows) error {
			var agent string
			var body sql.RawBytes
			if err := r.Scan(&first, &agent, &body); err != nil {
				return err
			}
			rows++
			begin := len(found)
			err := eachRecord(body, func(place int, _ pointer, record []byte) error {
				at := pointerTo(p.bucket, first, place)
				if at >= limit {
					return nil
				}
				c, _, err := wire.ParseCapture(record)
				c.Agent = fleet.AgentID(agent)
				found = append(found, Entry{Capture: c, At: Position(at)})
				return err
			})
			slices.Reverse(found[begin:])
			return err
		}, first, page)
		if err != nil {
			yield(Entry{}, fmt.Errorf("read captures: %w", err))
			return false
		}
		for _, e := range found {
			if !yield(e, nil) {
				return false
			}
		}
		if rows < page {
			return true
		}
		first--
	}
}

// DropBefore removes the files whose captures all arrived before t, and says
// how many. Pointers into them lead nowhere from then on. What no checkpoint
// holds yet stays: Replay needs it.
func (s *Store) DropBefore(t time.Time) (dropped int, err error) {
	s.commit.Lock()
	checked := s.checked.bucket()
	s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for b, p := range s.parts {
		if b >= bucketOf(t) || b > checked {
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
