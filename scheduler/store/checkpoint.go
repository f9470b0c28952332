package store

import (
	"context"
	"encoding/binary"
	"maps"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// checkpointPart is the size of one row of a checkpoint.
const checkpointPart = 1 << 20

// Checkpoint is the orders in flight and the books at one moment, between two
// commits. Fill it with Add and Books, then Write it: only then does the log
// begin anew.
type Checkpoint struct {
	s     *Store
	seq   int64
	at    pointer
	parts [][]byte
	log   logWriter
	books map[fleet.SiteID]fleet.Books

	newest [][]byte // nil: not due
}

// Due reports whether a checkpoint is worth its price: so much has come since
// the last one that writing it adds little to what was written anyway.
func (s *Store) Due(inFlight int) bool {
	const perOrder = 24 // bytes, about
	s.commit.Lock()
	defer s.commit.Unlock()
	return s.logged > perOrder*max(minUnsummed, 2*inFlight) || s.unsummed > max(minUnsummed, 2*inFlight)
}

// minUnsummed is how much a start may have to look through: a second's work.
const minUnsummed = 1 << 18

// Begin begins a checkpoint. No Commit may run until all of it was added.
func (s *Store) Begin() *Checkpoint {
	s.commit.Lock()
	defer s.commit.Unlock()
	c := &Checkpoint{s: s, seq: s.seq, at: s.last}
	s.logged, s.unsummed = 0, 0
	s.mu.RLock()
	defer s.mu.RUnlock()
	// The newest capture of each camera: twice as many captures have come
	// since as the list is long, so it costs a few bytes for each.
	if s.taken > 2*len(s.newest) {
		s.taken = 0
		var b []byte
		for camera, at := range s.newest {
			b = binary.BigEndian.AppendUint64(b, uint64(camera))
			b = binary.BigEndian.AppendUint64(b, uint64(at))
			if len(b) >= checkpointPart {
				c.newest, b = append(c.newest, b), make([]byte, 0, checkpointPart+16)
			}
		}
		c.newest = append(c.newest, b)
	}
	return c
}

// Add puts an order that is in flight into the checkpoint.
func (c *Checkpoint) Add(f Flight) {
	c.log.issue(&f)
	if len(c.log.b) >= checkpointPart {
		c.parts = append(c.parts, c.log.b)
		c.log = logWriter{b: make([]byte, 0, checkpointPart+256)}
	}
}

// Books puts the books into the checkpoint.
func (c *Checkpoint) Books(b map[fleet.SiteID]fleet.Books) { c.books = maps.Clone(b) }

// Write makes the checkpoint durable and cuts the log. When it fails, the
// checkpoint before and the longer log stand.
func (c *Checkpoint) Write(ctx context.Context) error {
	s := c.s
	s.commit.Lock()
	defer s.commit.Unlock()
	if s.torn != nil {
		return s.torn
	}
	err := s.within(ctx, func(t *txn) {
		t.do("uncheck")
		if len(c.log.b) > 0 {
			c.parts = append(c.parts, c.log.b)
		}
		for i, b := range c.parts {
			t.do("check", i, b)
		}
		for site, b := range c.books {
			t.do("books", string(site), b.Captured, b.Failed, b.Missed, b.Skipped, b.Duplicates)
		}
		t.do("unlog", c.seq)
		t.do("meta", "checked", int64(c.at))
		t.do("meta", "seq", c.seq)
		if c.newest != nil {
			t.do("unnewest")
			for i, b := range c.newest {
				t.do("newest", i, b)
			}
			t.do("meta", "newest", int64(c.at))
		}
	})
	if err == nil {
		s.checked = c.at
	}
	return err
}
