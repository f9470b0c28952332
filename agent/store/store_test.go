package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
)

func TestMain(m *testing.M) {
	if os.Getenv("SHUTTERFLEET_STORE_WRITER") != "" {
		writer()
		return
	}
	goleak.VerifyTestMain(m)
}

var codec = store.Codec{Append: wire.AppendCapture, Parse: wire.ParseCaptures}

func Example() {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	s, err := store.Open(filepath.Join(dir, "agent.db"), store.Options{Codec: codec})
	if err != nil {
		fmt.Println(err)
		return
	}
	o := fleet.Order{Occurrence: fleet.Occurrence{Camera: 1, Schedule: 2, Nominal: 1000}, Deadline: 6000}
	fmt.Println(s.Begin(ctx, []fleet.Order{o}, 1, 1))
	due, _ := s.Due(1000, 8)
	fmt.Println(len(due), s.Finish(ctx, fleet.Capture{Occurrence: due[0].Occurrence, Outcome: fleet.Captured, At: 1200}))
	rows, err := s.Take(ctx, 64)
	fmt.Println(len(rows), rows[0].Capture.Outcome, err)
	fmt.Println(s.Ack(ctx, []int64{rows[0].ID}))
	fmt.Println(s.Counts())
	fmt.Println(s.Close())
	// Output:
	// <nil>
	// 1 <nil>
	// 1 captured <nil>
	// <nil>
	// 0 0 0
	// <nil>
}

func open(t testing.TB, path string, o store.Options) *store.Store {
	t.Helper()
	o.Codec = codec
	if o.Linger == 0 {
		o.Linger = -1
	}
	s, err := store.Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func order(n int) fleet.Order {
	return fleet.Order{Occurrence: fleet.Occurrence{Camera: fleet.CameraID(n % 7), Schedule: 1, Nominal: fleet.Instant(n) * 1000}, Deadline: fleet.Instant(n)*1000 + 5000}
}

func orders(from, until int) (out []fleet.Order) {
	for n := from; n < until; n++ {
		out = append(out, order(n))
	}
	return out
}

func captured(o fleet.Order) fleet.Capture {
	return fleet.Capture{Occurrence: o.Occurrence, Outcome: fleet.Captured, At: o.Nominal + 300, Attempts: 1, Protocol: fleet.RTSP,
		Reading: fleet.Reading{Width: 640, Height: 360, Codec: fleet.H264, Bytes: 20000}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAckedMeansStored walks one set of orders through all states with the
// store closed and opened again between each.
func TestAckedMeansStored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	ctx := t.Context()
	s := open(t, path, store.Options{})
	reopen := func() {
		t.Helper()
		must(t, s.Close())
		s = open(t, path, store.Options{})
	}
	must(t, s.Begin(ctx, orders(0, 10), 5, 2))
	reopen()
	if n, f := s.Last(); n != 5 || f != 2 {
		t.Fatalf("Last = %d, %d, want 5, 2", n, f)
	}
	for _, bad := range [][2]uint64{{5, 2}, {4, 9}, {6, 1}} {
		if err := s.Begin(ctx, orders(20, 21), bad[0], bad[1]); err == nil {
			t.Errorf("an instruction with nonce %d and fence %d was taken after 5 and 2", bad[0], bad[1])
		}
	}
	due, next := s.Due(4500, 3)
	if len(due) != 3 || due[0] != order(0) || next != 3000 {
		t.Fatalf("Due = %v, next %v", due, next)
	}
	back, err := s.Recall(ctx, []fleet.Occurrence{order(0).Occurrence, order(9).Occurrence, order(77).Occurrence}, 6, 2)
	must(t, err)
	if want := []fleet.Occurrence{order(9).Occurrence}; !slices.Equal(back, want) {
		t.Fatalf("Recall = %v, want %v: what runs stays, what is unknown is ignored", back, want)
	}
	must(t, s.Finish(ctx, captured(due[0])))
	again := captured(due[0])
	again.Outcome, again.Cause = fleet.Failed, fleet.CauseTimeout
	must(t, s.Finish(ctx, again))
	reopen()
	if held, running, pending := s.Counts(); held != 8 || running != 0 || pending != 1 {
		t.Fatalf("Counts = %d, %d, %d after a restart, want 8, 0, 1", held, running, pending)
	}
	must(t, s.Begin(ctx, orders(0, 3), 7, 2)) // the centre repeats itself
	if held, _, _ := s.Counts(); held != 8 {
		t.Fatalf("%d orders held: a repeated order was taken twice", held)
	}
	due, _ = s.Due(1e6, 100)
	if len(due) != 8 || due[0] != order(1) {
		t.Fatalf("Due after a restart = %v", due)
	}
	for _, o := range due {
		must(t, s.Finish(ctx, captured(o)))
	}
	reopen()
	rows, err := s.Take(ctx, 5)
	must(t, err)
	if len(rows) != 5 || rows[0].Capture.Nominal != 8000 {
		t.Fatalf("Take = %d rows, first %v, want the newest first", len(rows), rows[0].Capture.Occurrence)
	}
	if want := captured(order(8)); fmt.Sprint(rows[0].Capture) != fmt.Sprint(want) {
		t.Fatalf("Take = %+v, want %+v", rows[0].Capture, want)
	}
	rest, err := s.Take(ctx, 50)
	must(t, err)
	if len(rest) != 4 || rest[0].Capture.Nominal != 3000 {
		t.Fatalf("the second Take = %d rows, first %v", len(rest), rest[0].Capture.Occurrence)
	}
	s.Return([]int64{rest[0].ID})
	must(t, s.Ack(ctx, []int64{rows[0].ID, rows[1].ID, rows[1].ID, 999, rest[0].ID}))
	if _, _, pending := s.Counts(); pending != 7 {
		t.Fatalf("%d pending after 2 acknowledgements of 9, want 7", pending)
	}
	reopen()
	if _, _, pending := s.Counts(); pending != 7 {
		t.Fatalf("%d pending after a restart, want 7", pending)
	}
}

func TestCamerasAndIdentitySurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.db")
	ctx := t.Context()
	s := open(t, path, store.Options{})
	cam := func(id fleet.CameraID) fleet.Target {
		return fleet.Target{Camera: id, Device: "d", Source: "s", Same: []string{"mac:1"}, Apart: []string{"mac:2"}, Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://127.0.1.1/"}},
			Credentials: []fleet.Credentials{{User: "u", Password: "p", Version: 3}}}
	}
	site := []fleet.Credentials{{User: "site", Password: "secret", Version: 1}}
	must(t, s.SetCameras(ctx, store.Cameras{Version: 1, Full: true, Put: []fleet.Target{cam(1), cam(2)}, Site: site}, 1, 1))
	must(t, s.SetCameras(ctx, store.Cameras{Version: 2, Put: []fleet.Target{cam(1 << 63)}, Remove: []fleet.CameraID{1}, Site: site}, 2, 1))
	must(t, s.SetIdentity(ctx, store.Identity{Agent: "a1", Site: "s1", Key: []byte{1}}))
	must(t, s.SetClock(-3*time.Second, time.Millisecond))
	must(t, s.Close())
	s = open(t, path, store.Options{})
	got := s.Cameras()
	if got.Version != 2 || len(got.Put) != 2 || got.Put[1].Camera != 1<<63 || got.Put[0].Credentials[0].Password.Reveal() != "p" || got.Site[0].Password.Reveal() != "secret" {
		t.Errorf("Cameras = %+v", got)
	}
	if id, ok, err := s.Identity(); err != nil || !ok || id.Agent != "a1" {
		t.Errorf("Identity = %v, %v, %v", id, ok, err)
	}
	if off, _, ok := s.Clock(); !ok || off != -3*time.Second {
		t.Errorf("Clock = %v, %v", off, ok)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v", st.Mode(), err)
	}
}

// BenchmarkDiskPerRecord measures what one outcome costs the disk: put in
// batches of 64, read and acknowledged in batches of 64, with its order's row
// made and deleted besides. Run it on a real file system, not on tmpfs:
//
//	TMPDIR=/var/tmp go test -run '^$' -bench DiskPerRecord ./agent/store
func BenchmarkDiskPerRecord(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "agent.db"), store.Options{Batch: 64, Linger: time.Second})
	ctx := b.Context()
	const batch = 64
	nonce, done := uint64(0), 0
	before := diskWrites(b)
	for b.Loop() {
		nonce++
		next := orders(done, done+batch)
		must(b, s.Begin(ctx, next, nonce, 1))
		s.Due(1<<60, batch)
		offline(b, s, next)
		rows, err := s.Take(ctx, batch)
		must(b, err)
		ids := make([]int64, len(rows))
		for i, r := range rows {
			ids[i] = r.ID
		}
		must(b, s.Ack(ctx, ids))
		done += batch
	}
	must(b, s.Close())
	b.ReportMetric(float64(diskWrites(b)-before)/float64(done), "diskB/record")
	b.ReportMetric(float64(done)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkDiskPerRecordOnline measures the usual case: orders come 64 at a
// time, outcomes one by one, and the centre answers before their commit.
func BenchmarkDiskPerRecordOnline(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "agent.db"), store.Options{Linger: 5 * time.Millisecond})
	ctx := b.Context()
	const batch = 64
	nonce, done := uint64(0), 0
	before := diskWrites(b)
	for b.Loop() {
		nonce++
		must(b, s.Begin(ctx, orders(done, done+batch), nonce, 1))
		due, _ := s.Due(1<<60, batch)
		for _, o := range due {
			finished := make(chan error, 1)
			go func() { finished <- s.Finish(ctx, captured(o)) }()
			<-s.OutboxChanged()
			rows, err := s.Take(ctx, batch)
			must(b, err)
			for _, r := range rows {
				must(b, s.Ack(ctx, []int64{r.ID}))
			}
			must(b, <-finished)
		}
		done += batch
	}
	must(b, s.Close())
	b.ReportMetric(float64(diskWrites(b)-before)/float64(done), "diskB/record")
}

// offline finishes orders from as many goroutines, so that they share commits.
func offline(t testing.TB, s *store.Store, os []fleet.Order) {
	t.Helper()
	errs := make(chan error, len(os))
	for _, o := range os {
		go func() { errs <- s.Finish(t.Context(), captured(o)) }()
	}
	for range os {
		must(t, <-errs)
	}
}

func diskWrites(t testing.TB) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Skip("no /proc/self/io here")
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			must(t, err)
			return n
		}
	}
	t.Skip("no write_bytes in /proc/self/io")
	return 0
}
