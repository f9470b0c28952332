package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
)

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
