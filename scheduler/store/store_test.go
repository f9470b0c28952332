package store

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func open(t interface {
	Fatal(...any)
	Helper()
}, dir string) (*Store, *State) {
	t.Helper()
	s, st, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return s, st
}

func commit(t *testing.T, s *Store, b Batch) {
	t.Helper()
	if err := s.Commit(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
}

const cam = fleet.CameraID(1 << 63) // its upper bit makes SQLite's integer negative

func flight(n int) Flight {
	o := fleet.Occurrence{Camera: cam, Schedule: fleet.ScheduleIDOf("s"), Nominal: fleet.Instant(1000 * n)}
	return Flight{Order: fleet.Order{Occurrence: o, Deadline: o.Nominal + 5000, Retries: 2}, Agent: "agt-1"}
}

func captured(n int) fleet.Capture {
	c := fleet.Capture{Occurrence: flight(n).Occurrence, Outcome: fleet.Captured, At: fleet.Instant(1000*n + 20), Delay: 3 * time.Millisecond, Attempts: 1, Agent: "agt-1", Protocol: fleet.Snapshot}
	c.Reading = fleet.Reading{Width: 640, Height: 360, Codec: fleet.JPEG, Bytes: 12, SHA256: [32]byte{1, byte(n)}, Fingerprint: fleet.Fingerprint{PDQ: fleet.PDQ{2, byte(n)}, PDQQuality: 99, PHash: 1<<63 | 5}, Quality: fleet.Quality{Mean: 12.5, Entropy: 7}}
	return c
}

func setup(t *testing.T, s *Store) {
	t.Helper()
	commit(t, s, Batch{Sites: []fleet.Site{{ID: "lab"}}, Cameras: []fleet.Camera{{ID: cam, Site: "lab", State: fleet.Approved}}})
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s, st := open(t, dir)
	if st.Epoch != 1 {
		t.Errorf("epoch %d", st.Epoch)
	}
	setup(t, s)
	commit(t, s, Batch{Issue: []Flight{flight(1), flight(2), flight(3)}, Through: 5000, Books: map[fleet.SiteID]fleet.Books{"lab": {InFlight: 3}},
		OpenSpans: []Span{{Camera: cam, Schedule: 7, Revision: 1, From: 10, Enabled: 10, Place: "{}"}}})
	commit(t, s, Batch{Captures: []fleet.Capture{captured(1)}, Drop: []fleet.Occurrence{flight(3).Occurrence}, Books: map[fleet.SiteID]fleet.Books{"lab": {InFlight: 1, Captured: 1}}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, st = open(t, dir)
	defer s.Close()
	if st.Epoch != 2 || st.Through != 5000 || len(st.Spans) != 1 || len(st.Cameras) != 1 || !slices.Equal(st.Flights, []Flight{flight(2)}) {
		t.Errorf("%+v", st)
	}
	if b := st.Books["lab"]; b.Issued != 2 || b.Captured != 1 || b.InFlight != 1 {
		t.Errorf("%+v", b)
	}
	last, err := s.Last(t.Context(), cam)
	if err != nil || last == nil || !reflect.DeepEqual(*last, captured(1)) {
		t.Errorf("\n got %+v\nwant %+v\n%v", last, captured(1), err)
	}
}

// TestCutBetween cuts the power after captures became durable and before they
// were counted: opening counts them, once.
func TestCutBetween(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	setup(t, s)
	commit(t, s, Batch{Issue: []Flight{flight(1), flight(2)}, Books: map[fleet.SiteID]fleet.Books{"lab": {InFlight: 2}}})
	if _, _, err := s.append(t.Context(), []fleet.Capture{captured(1)}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second cut right after changes nothing
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		var st *State
		s, st = open(t, dir)
		if b := st.Books["lab"]; b.Captured != 1 || b.InFlight != 1 || len(st.Flights) != 1 {
			t.Errorf("%+v, %d in flight", b, len(st.Flights))
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTorn makes counting fail: the store takes nothing more until it is opened
// again, and then nothing is lost.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	setup(t, s)
	commit(t, s, Batch{Issue: []Flight{flight(1), flight(2)}, Books: map[fleet.SiteID]fleet.Books{"lab": {InFlight: 2}}})
	if _, err := s.db.ExecContext(t.Context(), "CREATE TRIGGER fail BEFORE DELETE ON orders BEGIN SELECT RAISE(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), &Batch{Captures: []fleet.Capture{captured(1)}}); !errors.Is(err, ErrTorn) {
		t.Fatalf("%v, want ErrTorn", err)
	}
	if err := s.Commit(t.Context(), &Batch{Captures: []fleet.Capture{captured(2)}}); !errors.Is(err, ErrTorn) {
		t.Errorf("the torn store took more: %v", err)
	}
	if _, err := s.db.ExecContext(t.Context(), "DROP TRIGGER fail"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, st := open(t, dir)
	defer s.Close()
	if b := st.Books["lab"]; b.Captured != 1 || b.InFlight != 1 || len(st.Flights) != 1 {
		t.Errorf("%+v, %d in flight", b, len(st.Flights))
	}
}

// TestHistory holds the chain of each camera and the order of arrival against
// a list.
func TestHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s, _ := open(rt, t.TempDir())
		defer s.Close()
		var all []fleet.Capture
		for n := range rapid.IntRange(1, 12).Draw(rt, "batches") {
			var b Batch
			for i := range rapid.IntRange(1, 40).Draw(rt, "rows") {
				c := captured(n*100 + i)
				c.Camera = fleet.CameraID(rapid.IntRange(1, 4).Draw(rt, "camera"))
				b.Captures = append(b.Captures, c)
			}
			if err := s.Commit(context.Background(), &b); err != nil {
				rt.Fatal(err)
			}
			all = append(all, b.Captures...)
		}
		slices.Reverse(all)
		var got []fleet.Capture
		var at []Position
		for e, err := range s.Recent(context.Background(), 0) {
			if err != nil {
				rt.Fatal(err)
			}
			got, at = append(got, e.Capture), append(at, e.At)
		}
		if !reflect.DeepEqual(got, all) {
			rt.Fatalf("%d rows of %d, or another order", len(got), len(all))
		}
		if k := len(all) / 2; k > 0 {
			var rest []fleet.Capture
			for e := range s.Recent(context.Background(), at[k-1]) {
				rest = append(rest, e.Capture)
			}
			if !sameCaptures(rest, all[k:]) {
				rt.Fatal("a page from the middle differs")
			}
		}
		for c := fleet.CameraID(1); c <= 4; c++ {
			var want, chain []fleet.Capture
			for _, x := range all {
				if x.Camera == c {
					want = append(want, x)
				}
			}
			var before Position
			for e := range s.History(context.Background(), c, 0) {
				chain = append(chain, e.Capture)
				if len(chain) == 3 {
					before = e.At
				}
			}
			if !sameCaptures(chain, want) {
				rt.Fatalf("camera %d: %d of %d", c, len(chain), len(want))
			}
			if before != 0 {
				var rest []fleet.Capture
				for e := range s.History(context.Background(), c, before) {
					rest = append(rest, e.Capture)
				}
				if !sameCaptures(rest, want[3:]) {
					rt.Fatalf("camera %d: a page from the third differs", c)
				}
			}
		}
	})
}

func TestThumbnail(t *testing.T) {
	s, _ := open(t, t.TempDir())
	defer s.Close()
	for at, jpeg := range map[fleet.Instant]string{20: "new", 10: "old"} {
		if err := s.PutThumbnail(t.Context(), cam, at, []byte(jpeg)); err != nil {
			t.Fatal(err)
		}
	}
	b, at, err := s.Thumbnail(t.Context(), cam)
	if err != nil || string(b) != "new" || at != 20 || s.FrameAt(cam) != 20 {
		t.Errorf("%q at %d, %v", b, at, err)
	}
	if b, _, err := s.Thumbnail(t.Context(), 5); b != nil || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestDropBefore(t *testing.T) {
	s, _ := open(t, t.TempDir())
	defer s.Close()
	commit(t, s, Batch{Captures: []fleet.Capture{captured(1)}})
	if n, err := s.DropBefore(time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
	if n, err := s.DropBefore(time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("%d dropped, %v", n, err)
	}
	if c, err := s.Last(t.Context(), cam); c != nil || err != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

func BenchmarkCommit1000(b *testing.B) {
	s, _, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	batch := Batch{}
	for i := range 1000 {
		batch.Captures = append(batch.Captures, captured(i))
	}
	n := 0
	for b.Loop() {
		if err := s.Commit(b.Context(), &batch); err != nil {
			b.Fatal(err)
		}
		n += 1000
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "captures/s")
}

// sameCaptures holds an empty list equal to none.
func sameCaptures(a, b []fleet.Capture) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}
