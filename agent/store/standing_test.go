package store_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestOldFileOpens: schema-0.db.gz was written by the build before standing
// orders, with ten orders, six of them finished and none delivered. All of it
// is there, and the file takes what is new.
func TestOldFileOpens(t *testing.T) {
	packed, err := os.Open("testdata/schema-0.db.gz")
	must(t, err)
	defer packed.Close()
	z, err := gzip.NewReader(packed)
	must(t, err)
	b, err := io.ReadAll(z)
	must(t, err)
	path := filepath.Join(t.TempDir(), "agent.db")
	must(t, os.WriteFile(path, b, 0o600))
	ctx := t.Context()
	s := open(t, path, store.Options{})
	if id, ok, err := s.Identity(); err != nil || !ok || id.Agent != "a1" {
		t.Errorf("Identity = %v, %v, %v", id, ok, err)
	}
	if n, f := s.Last(); n != 2 || f != 2 {
		t.Errorf("Last = %d, %d", n, f)
	}
	if c := s.Cameras(); c.Version != 3 || len(c.Put) != 1 {
		t.Errorf("Cameras = %+v", c)
	}
	rows, err := s.Take(ctx, 100)
	must(t, err)
	if len(rows) != 6 || rows[0].Capture.Cause != fleet.CauseTimeout || rows[0].Capture.Detail != "silent" || rows[1].Capture.Reading.Bytes != 20000 || rows[5].Capture.Nominal != 0 {
		t.Fatalf("Take = %+v", rows)
	}
	key := func(n int) fleet.Occurrence {
		return fleet.Occurrence{Camera: 1, Schedule: 7, Nominal: fleet.Instant(n) * 1000}
	}
	// What was finished is not taken again, and the new columns work.
	must(t, s.Begin(ctx, []fleet.Order{{Occurrence: key(3), Deadline: 1 << 40},
		{Occurrence: key(20), NotBefore: 25_000, Deadline: 1 << 40, Priority: fleet.PriorityUrgent}}, 3, 2))
	must(t, s.Close())
	s = open(t, path, store.Options{})
	due, _ := s.Due(1<<60, 100)
	if len(due) != 5 || due[0].Occurrence != key(6) || due[0].Retries != 2 || due[0].Deadline != 11_000 || due[0].NotBefore != 0 {
		t.Fatalf("Due = %+v", due)
	}
	if o := due[4]; o.Occurrence != key(20) || o.Start() != 25_000 || o.Priority != fleet.PriorityUrgent {
		t.Errorf("the new order came back as %+v", o)
	}
}

// TestDueAtTheStart: an order that was moved is due when it may begin, and not
// at its nominal time.
func TestDueAtTheStart(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "agent.db"), store.Options{})
	moved, plain := order(1), order(2)
	moved.NotBefore = 3500
	must(t, s.Begin(t.Context(), []fleet.Order{moved, plain}, 1, 1))
	if due, next := s.Due(1999, 9); len(due) != 0 || next != 2000 {
		t.Errorf("Due(1999) = %v, %v", due, next)
	}
	if due, next := s.Due(3000, 9); len(due) != 1 || due[0] != plain || next != 3500 {
		t.Errorf("Due(3000) = %v, %v", due, next)
	}
	if n := s.HeldUntil(3499); n != 1 {
		t.Errorf("HeldUntil(3499) = %d", n)
	}
}

// TestStandingIsKept walks standing orders, the frontier, recalled and finished
// keys through restarts.
func TestStandingIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	ctx := t.Context()
	s := open(t, path, store.Options{})
	reopen := func() {
		t.Helper()
		must(t, s.Close())
		s = open(t, path, store.Options{})
	}
	begin := func(want int, frontier fleet.Instant, os ...fleet.Order) {
		t.Helper()
		if n, err := s.BeginOwn(os, frontier); err != nil || n != want {
			t.Errorf("BeginOwn(%v) = %d, %v, want %d", os, n, err, want)
		}
	}
	must(t, s.SetStanding(ctx, 7, []byte("raw"), 0, 1, 1))
	if _, err := s.Recall(ctx, []fleet.Occurrence{order(3).Occurrence}, 2, 1); err != nil {
		t.Fatal(err)
	}
	reopen()
	if raw, f, err := s.Standing(); err != nil || !bytes.Equal(raw, []byte("raw")) || f != 0 || s.StandingVersion() != 7 {
		t.Errorf("Standing = %q, %v, %v", raw, f, err)
	}
	begin(2, 4500, order(1), order(2), order(3)) // 3 was taken back
	must(t, s.Sync(ctx))
	reopen()
	if _, f, _ := s.Standing(); f != 4500 {
		t.Errorf("the frontier is %v after a restart, want 4500 ms", f)
	}
	begin(0, 4500, order(1), order(2))
	due, _ := s.Due(1000, 9)
	must(t, s.Finish(ctx, captured(due[0])))
	rows, err := s.Take(ctx, 9)
	must(t, err)
	must(t, s.Ack(ctx, []int64{rows[0].ID}))
	must(t, s.Sync(ctx))
	reopen()
	// It ended, was reported and acknowledged: neither the agent nor the centre
	// begins it again.
	begin(0, 4500, order(1))
	must(t, s.Begin(ctx, []fleet.Order{order(1)}, 3, 1))
	if held, _, _ := s.Counts(); held != 1 {
		t.Errorf("%d orders are held, want that of 2000 ms alone", held)
	}
	// The order comes after all, with its own terms.
	adopted := order(2)
	adopted.NotBefore, adopted.Priority = 2700, fleet.PriorityHigh
	must(t, s.Begin(ctx, []fleet.Order{adopted}, 4, 1))
	reopen()
	if due, _ := s.Due(1<<40, 9); len(due) != 1 || due[0] != adopted {
		t.Errorf("Due = %+v, want %+v", due, adopted)
	}
	s.ReleaseAll()
	// What it began itself for later goes with the standing orders that said so;
	// what was ordered stays.
	begin(2, 9000, order(8), order(9))
	must(t, s.SetStanding(ctx, 8, nil, 8500, 5, 1))
	if held, _, _ := s.Counts(); held != 2 {
		t.Errorf("%d orders are held, want two", held)
	}
	begin(1, 9000, order(9)) // and it comes again, in the same commit
	must(t, s.Sync(ctx))
	reopen()
	if held, _, _ := s.Counts(); held != 3 || s.StandingVersion() != 8 {
		t.Errorf("%d orders are held, want three", held)
	}
	// An order comes again after it was taken back.
	if back, err := s.Recall(ctx, []fleet.Occurrence{order(9).Occurrence}, 6, 1); err != nil || len(back) != 1 {
		t.Errorf("Recall = %v, %v", back, err)
	}
	reopen()
	begin(0, 9000, order(9))
	must(t, s.Begin(ctx, []fleet.Order{order(9)}, 7, 1))
	if held, _, _ := s.Counts(); held != 3 {
		t.Errorf("%d orders are held, want three", held)
	}
}

// TestNothingIsTakenTwice: whatever orders, standing orders, recalls, outcomes
// and restarts come, an occurrence is given out by Due only while it has no
// outcome; one that was taken back is not begun by the agent, and a set tells
// which are held.
func TestNothingIsTakenTwice(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "agent.db")
		for _, ext := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(path + ext)
		}
		s, err := store.Open(path, store.Options{Codec: codec, Linger: -1})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		held, ended, back := map[int]bool{}, map[int]bool{}, map[int]bool{}
		own := map[int]bool{}
		nonce, frontier := uint64(1), fleet.Instant(0)
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		check(s.SetStanding(ctx, 1, []byte("x"), 0, nonce, 1))
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			n := rapid.IntRange(1, 12).Draw(t, "n")
			nonce++
			switch rapid.SampledFrom([]string{"order", "own", "recall", "finish", "restart", "standing"}).Draw(t, "do") {
			case "order":
				check(s.Begin(ctx, []fleet.Order{order(n)}, nonce, 1))
				delete(back, n)
				if !ended[n] {
					held[n] = true
					delete(own, n)
				}
			case "own":
				further := order(n).Nominal > frontier
				frontier = max(frontier, order(n).Nominal)
				_, err := s.BeginOwn([]fleet.Order{order(n)}, frontier)
				check(err)
				if !ended[n] && !held[n] && !back[n] {
					held[n], own[n] = true, true
				}
				for k := range back {
					if further && order(k).Nominal <= frontier {
						delete(back, k)
					}
				}
			case "recall":
				_, err := s.Recall(ctx, []fleet.Occurrence{order(n).Occurrence}, nonce, 1)
				check(err)
				if order(n).Nominal > frontier || own[n] {
					back[n] = true
				}
				delete(held, n)
				delete(own, n)
			case "finish":
				due, _ := s.Due(order(n).Nominal, 1)
				for _, o := range due {
					k := int(o.Nominal / 1000)
					if !held[k] || ended[k] {
						t.Fatalf("%v is given out: held %v, ended %v", o.Occurrence, held[k], ended[k])
					}
					check(s.Finish(ctx, captured(o)))
					rows, err := s.Take(ctx, 1)
					check(err)
					check(s.Ack(ctx, []int64{rows[0].ID}))
					delete(held, k)
					delete(own, k)
					ended[k] = true
				}
			case "restart":
				check(s.Close())
				s, err = store.Open(path, store.Options{Codec: codec, Linger: -1})
				check(err)
			case "standing":
				check(s.SetStanding(ctx, nonce, []byte("x"), order(n).Nominal, nonce, 1))
				if frontier > order(n).Nominal {
					frontier = order(n).Nominal
					for k := range own {
						if order(k).Nominal > frontier {
							delete(own, k)
							delete(held, k)
						}
					}
				}
				clear(back)
			}
			if got, _, _ := s.Counts(); got != len(held) {
				t.Fatalf("%d orders are held, the model has %v", got, held)
			}
		}
		check(s.Close())
	})
}
