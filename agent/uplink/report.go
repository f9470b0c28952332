package uplink

import (
	"context"
	"fmt"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

// flight is one report without an answer.
type flight struct {
	ids []int64
	due time.Time // then it is sent again
}

// report keeps a few batches in flight, newest outcomes first, until the
// outbox is empty, and acknowledges what the centre has stored. A report
// without an answer is sent again: the occurrence makes repetition harmless.
func (l *link) report(ctx context.Context) error {
	u := l.u
	flights := make(map[uint64]flight)
	defer func() {
		for _, f := range flights {
			u.store.Return(f.ids)
		}
	}()
	patience := u.opts.AckTimeout
	batch := uint64(0)
	for {
		for len(flights) < u.opts.Window {
			rows, err := u.store.Take(ctx, u.opts.Batch)
			if err != nil {
				return fmt.Errorf("report: %w", err)
			}
			if len(rows) == 0 {
				break
			}
			batch++
			f := flight{due: time.Now().Add(patience)}
			var packed []byte
			for _, r := range rows {
				packed = wire.AppendCapture(packed, r.Capture)
				f.ids = append(f.ids, r.ID)
			}
			flights[batch] = f
			_, _, pending := u.store.Counts()
			if err := l.say(&wire.FromAgent{Body: &wire.FromAgent_Report{Report: &wire.Report{Batch: batch, Packed: packed, Pending: uint64(max(0, pending-len(rows)))}}}); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
		next := time.Now().Add(time.Hour)
		for _, f := range flights {
			if f.due.Before(next) {
				next = f.due
			}
		}
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-u.store.OutboxChanged():
		case b := <-l.stored:
			if f, ok := flights[b]; ok {
				delete(flights, b)
				patience = u.opts.AckTimeout
				if err := u.store.Ack(ctx, f.ids); err != nil {
					// They are forgotten in memory and stay on the disk: a
					// restart reports them once more.
					u.log.WarnContext(ctx, "acknowledgement is not durable", "err", err)
				}
			}
		case <-t.C:
			for b, f := range flights {
				if !f.due.After(time.Now()) {
					delete(flights, b)
					u.store.Return(f.ids)
					u.count(func(s *Status) { s.Resent++ })
				}
			}
			patience = min(2*patience, 12*u.opts.AckTimeout)
		}
		t.Stop()
	}
}
