package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
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
	return Flight{Order: fleet.Order{Occurrence: o, Deadline: o.Nominal + 5000}, Agent: "agt-1"}
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

// replayed folds the log and the captures behind it.
func replayed(t *testing.T, s *Store) (orders []Flight, books fleet.Books) {
	t.Helper()
	held := map[fleet.Occurrence]Flight{}
	if err := s.Replay(t.Context(), Fold{
		Books:   func(_ fleet.SiteID, b fleet.Books) { books = b },
		Issue:   func(f Flight) { held[f.Occurrence] = f },
		Assign:  func(o fleet.Occurrence, a fleet.AgentID) { f := held[o]; f.Agent = a; held[o] = f },
		Drop:    func(o fleet.Occurrence) { delete(held, o) },
		Repeat:  func(_ fleet.SiteID, n uint64) { books.Duplicates += n },
		Outcome: func(c *fleet.Capture) { delete(held, c.Occurrence); books.Captured++ },
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range held {
		orders = append(orders, f)
	}
	slices.SortFunc(orders, func(a, b Flight) int { return a.Compare(b.Occurrence) })
	return orders, books
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	s, st := open(t, dir)
	if st.Epoch != 1 {
		t.Errorf("epoch %d", st.Epoch)
	}
	setup(t, s)
	commit(t, s, Batch{Issue: []Flight{flight(1), flight(2), flight(3)}, Through: 5000, Reconcile: Wanted, Repeats: map[fleet.SiteID]uint64{"lab": 4},
		OpenSpans: []Span{{Camera: cam, Schedule: 7, Revision: 1, From: 10, Enabled: 10, Place: "{}"}, {Camera: cam, Schedule: 8, Revision: 1, From: 10, Until: 10, Place: "{}"}},
		Jobs:      []Job{{ID: "j", Asked: 3, Body: []byte("{}"), Cameras: []byte("12345678")}}, Pauses: []Pause{{ID: "p", Body: []byte("{}")}, {ID: "q", Body: []byte("{}")}}})
	moved := flight(2)
	moved.Agent = "agt-2"
	commit(t, s, Batch{Captures: []fleet.Capture{captured(1)}, Drop: []fleet.Occurrence{flight(3).Occurrence}, Assign: []Flight{moved}, Resume: []string{"p"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, st = open(t, dir)
	defer s.Close()
	var cameras []fleet.Camera
	var spans []Span
	if err := errors.Join(s.EachCamera(t.Context(), func(b []byte) error {
		c, err := ParseCamera(b, nil)
		cameras = append(cameras, c)
		return err
	}), s.EachSpan(t.Context(), func(p Span) error {
		spans = append(spans, p)
		return nil
	})); err != nil {
		t.Fatal(err)
	}
	orders, books := replayed(t, s)
	if st.Epoch != 2 || st.Through != 5000 || !st.Reconcile || len(st.Jobs) != 1 || len(st.Pauses) != 1 || st.Pauses[0].ID != "q" {
		t.Errorf("%+v", st)
	}
	if len(spans) != 1 || spans[0].Schedule != 7 || len(cameras) != 1 || cameras[0].Site != "lab" || !slices.Equal(orders, []Flight{moved}) || books.Captured != 1 || books.Duplicates != 4 {
		t.Errorf("spans %+v, cameras %+v, orders %+v, books %+v", spans, cameras, orders, books)
	}
	if j, ids, err := s.Job(t.Context(), "j"); err != nil || j.Asked != 3 || string(ids) != "12345678" {
		t.Errorf("job %+v %q %v", j, ids, err)
	}
	last, err := s.Last(t.Context(), cam)
	if err != nil || last == nil || !reflect.DeepEqual(*last, captured(1)) {
		t.Errorf("\n got %+v\nwant %+v\n%v", last, captured(1), err)
	}
}

// TestCheckpoint holds what a replay finds, with checkpoints in between and
// restarts, against a model.
func TestCheckpoint(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := t.TempDir()
		s, _ := open(rt, dir)
		defer func() { s.Close() }()
		held := map[fleet.Occurrence]Flight{}
		var done fleet.Books
		next := 1
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"commit", "commit", "commit", "checkpoint", "restart"}).Draw(rt, "step") {
			case "commit":
				var b Batch
				for range rapid.IntRange(0, 5).Draw(rt, "issue") {
					f := flight(next)
					f.Retries = 0
					if rapid.Bool().Draw(rt, "later") {
						f.NotBefore = f.Nominal + 7
					}
					next++
					held[f.Occurrence] = f
					b.Issue = append(b.Issue, f)
				}
				for o, f := range held {
					if f.Nominal >= fleet.Instant(1000*(next-5)) {
						continue
					}
					switch rapid.IntRange(0, 3).Draw(rt, "fate") {
					case 0:
						b.Drop = append(b.Drop, o)
						delete(held, o)
					case 1:
						c := captured(1)
						c.Occurrence = o
						b.Captures = append(b.Captures, c)
						done.Captured++
						delete(held, o)
					case 2:
						f.Agent = fleet.AgentID(rapid.SampledFrom([]string{"", "agt-1", "agt-9"}).Draw(rt, "to"))
						b.Assign = append(b.Assign, f)
						held[o] = f
					}
				}
				if err := s.Commit(context.Background(), &b); err != nil {
					rt.Fatal(err)
				}
			case "checkpoint":
				c := s.Begin()
				for _, f := range held {
					c.Add(f)
				}
				c.Books(map[fleet.SiteID]fleet.Books{"lab": done})
				if rapid.Bool().Draw(rt, "written") {
					if err := c.Write(context.Background()); err != nil {
						rt.Fatal(err)
					}
				}
			case "restart":
				if err := s.Close(); err != nil {
					rt.Fatal(err)
				}
				s, _ = open(rt, dir)
			}
			orders, books := replayed(t, s)
			want := make([]Flight, 0, len(held))
			for _, f := range held {
				want = append(want, f)
			}
			slices.SortFunc(want, func(a, b Flight) int { return a.Compare(b.Occurrence) })
			if !slices.Equal(orders, want) && len(orders)+len(want) > 0 || books.Captured != done.Captured {
				rt.Fatalf("found %v, %+v\nwant %v, %+v", orders, books, want, done)
			}
		}
	})
}

// TestTorn makes the part fail that follows captures: the store takes nothing
// more until it is opened again, and then nothing is lost.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	s, _ := open(t, dir)
	setup(t, s)
	commit(t, s, Batch{Issue: []Flight{flight(1), flight(2)}})
	if _, err := s.db.ExecContext(t.Context(), "CREATE TRIGGER fail BEFORE INSERT ON log BEGIN SELECT RAISE(ABORT, 'no'); END"); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), &Batch{Captures: []fleet.Capture{captured(1)}, Issue: []Flight{flight(3)}}); !errors.Is(err, ErrTorn) {
		t.Fatalf("%v, want ErrTorn", err)
	}
	if err := s.Commit(t.Context(), &Batch{Captures: []fleet.Capture{captured(2)}}); !errors.Is(err, ErrTorn) {
		t.Errorf("the torn store took more: %v", err)
	}
	if err := s.Begin().Write(t.Context()); !errors.Is(err, ErrTorn) {
		t.Errorf("the torn store wrote a checkpoint: %v", err)
	}
	if _, err := s.db.ExecContext(t.Context(), "DROP TRIGGER fail"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir)
	defer s.Close()
	if orders, books := replayed(t, s); books.Captured != 1 || len(orders) != 1 || orders[0].Occurrence != flight(2).Occurrence {
		t.Errorf("%+v, %+v", orders, books)
	}
}

// TestFormats refuses files of other versions and leaves them as they are.
func TestFormats(t *testing.T) {
	for version, want := range map[int]string{1: "before the first release", 99: "newer version"} {
		dir := t.TempDir()
		db, err := sql.Open("sqlite", filepath.Join(dir, "centre.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(fmt.Sprintf("CREATE TABLE old (x); PRAGMA user_version = %d", version)); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("version %d: %v, want %q", version, err, want)
		}
	}
}

// TestCameraRecord packs random cameras with and without a table of texts.
func TestCameraRecord(t *testing.T) {
	var texts Texts
	word := rapid.StringMatching("[a-z]{0,6}")
	rapid.Check(t, func(t *rapid.T) {
		c := fleet.Camera{
			ID: fleet.CameraID(rapid.Uint64().Draw(t, "id")), Site: fleet.SiteID(word.Draw(t, "site")), Name: rapid.String().Draw(t, "name"),
			State: fleet.Enrollment(word.Draw(t, "state")), Device: word.Draw(t, "device"), Source: word.Draw(t, "source"), DeviceState: fleet.DeviceState(word.Draw(t, "ds")),
			Reason: word.Draw(t, "reason"), Vendor: word.Draw(t, "vendor"), Model: word.Draw(t, "model"), Firmware: word.Draw(t, "firmware"), Serial: word.Draw(t, "serial"),
			Version: rapid.Uint64().Draw(t, "version"), Created: fleet.Instant(rapid.Int64().Draw(t, "created")), Enabled: fleet.Instant(rapid.Int64().Draw(t, "enabled")),
		}
		for range rapid.IntRange(0, 3).Draw(t, "addresses") {
			c.Addresses = append(c.Addresses, netip.AddrFrom4([4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))))
		}
		for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
			host := "203.0.113.7"
			if len(c.Addresses) > 0 {
				host = c.Addresses[0].String()
			}
			c.Endpoints = append(c.Endpoints, fleet.Endpoint{Protocol: fleet.RTSP, URL: "rtsp://" + host + "/" + word.Draw(t, "path")})
		}
		for _, k := range rapid.SliceOfDistinct(word, rapid.ID[string]).Draw(t, "labels") {
			if c.Labels == nil {
				c.Labels = map[string]string{}
			}
			c.Labels[k] = word.Draw(t, "value")
		}
		if rapid.Bool().Draw(t, "heard") {
			c.Via = []fleet.Via{fleet.ViaMDNS, fleet.ViaUPnP}
		}
		if b, h, err := Intern(nil, AppendCamera(nil, &c, nil), &texts); err != nil || !bytes.Equal(b, AppendCamera(nil, &c, &texts)) || h != HeadOf(&c) {
			t.Fatalf("interned otherwise: %+v, %v", h, err)
		}
		for _, x := range []*Texts{nil, &texts} {
			b := AppendCamera(nil, &c, x)
			got, err := ParseCamera(b, x)
			if err != nil || !reflect.DeepEqual(got, c) {
				t.Fatalf("%v\n got %+v\nwant %+v", err, got, c)
			}
			for n := range b {
				if _, err := ParseCamera(b[:n], x); err == nil {
					t.Fatalf("a record cut at %d of %d was read", n, len(b))
				}
			}
		}
	})
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
		if err := s.PutThumbnail(t.Context(), cam, at, 0, []byte(jpeg)); err != nil {
			t.Fatal(err)
		}
	}
	b, at, err := s.Thumbnail(t.Context(), cam)
	if err != nil || string(b) != "new" || at.At != 20 || s.FrameAt(cam, 0) != 20 {
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
	if dropped, err := s.DropBefore(time.Now().Add(time.Hour)); dropped != 0 || err != nil {
		t.Errorf("%d dropped before a checkpoint, %v", dropped, err)
	}
	if err := s.Begin().Write(t.Context()); err != nil {
		t.Fatal(err)
	}
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
