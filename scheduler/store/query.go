package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
)

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
