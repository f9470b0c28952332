package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

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
		loadAgents(ctx, s.db, &st.Agents),
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

// loadAgents reads agents. Builds before Able was kept noted of it only whether
// the agent knows masks, and beside it.
func loadAgents(ctx context.Context, db querier, into *[]fleet.Agent) error {
	var all []struct {
		fleet.Agent
		Masks bool
	}
	if err := bodies(ctx, db, "agents", &all); err != nil {
		return err
	}
	for _, a := range all {
		a.Able.Masks = a.Able.Masks || a.Masks
		*into = append(*into, a.Agent)
	}
	return nil
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
