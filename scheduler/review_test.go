package scheduler_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// failing makes the table of the scheduler's store refuse rows until the
// returned function is called.
func failing(t *testing.T, dir, table string) func() {
	t.Helper()
	file(t, dir, "CREATE TRIGGER full BEFORE INSERT ON "+table+" BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
	return func() { file(t, dir, "DROP TRIGGER full") }
}

// file runs a statement on the scheduler's store behind its back and returns a
// number that it yields.
func file(t *testing.T, dir, statement string) (n sql.NullInt64) {
	t.Helper()
	db := must[*sql.DB](t)(sql.Open("sqlite", filepath.Join(dir, "centre.db")+"?_pragma=busy_timeout(10000)"))
	defer db.Close() //nolint:errcheck // nothing is open
	if err := db.QueryRowContext(t.Context(), statement).Scan(&n); err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	return n
}

// ended lives on until all that is in flight has ended, and returns the books.
func ended(t *testing.T, s *scheduler.Scheduler) fleet.Books {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	rep, b := audit(t, s), books(t, s)
	if rep.Unaccounted() != 0 || uint64(rep.Expected) != b.Issued || b.InFlight != 0 {
		t.Errorf("audit %+v\nbooks %+v", rep, b)
	}
	return b
}

// TestNamedTwice names the same cameras twice, in a request and in what an agent
// tells: they are changed once.
func TestNamedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		spec := every("quick", 10*time.Second)
		spec.Select = "vendor!=W"
		apply(t, s, spec)
		a := enrol(t, s, "lab")
		ids := addCameras(t, s, "lab", 2)
		twice := []fleet.CameraID{ids[0], ids[1], ids[0]}
		must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), twice, fleet.Ignored))
		must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), twice, fleet.Approved))
		tell := func(vendor string, also ...fleet.Device) {
			t.Helper()
			d := fleet.Device{Key: "epr:one", Vendor: vendor, Claims: []fleet.Claim{{Kind: fleet.ClaimEPR, Value: "one"}}, Sources: []fleet.Source{{Token: "a"}, {Token: "a"}}}
			if err := s.Inventory(t.Context(), a.ID, append(also, d, d)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SetRules(t.Context(), map[string]string{"all": "*"}); err != nil {
			t.Fatal(err)
		}
		tell("W")
		n := len(must[[]scheduler.CameraView](t)(s.Cameras(t.Context(), scheduler.CameraQuery{})))
		// The same device by its claim, under another key.
		tell("V", fleet.Device{Key: "mac:one", Vendor: "V", Claims: []fleet.Claim{{Kind: fleet.ClaimEPR, Value: "one"}}, Sources: []fleet.Source{{Token: "a"}}})
		if again := len(must[[]scheduler.CameraView](t)(s.Cameras(t.Context(), scheduler.CameraQuery{}))); again != n {
			t.Errorf("%d cameras, then %d", n, again)
		}
		time.Sleep(5 * time.Minute)
		if b := ended(t, s); b.Issued < 3*29 || b.Issued > 3*33 {
			t.Errorf("%+v of three cameras each ten seconds of five minutes", b)
		}
	})
}

// TestRevokedStays revokes an agent right after it has stored standing orders:
// it stays revoked, also over a restart, nothing that it reports is taken, and
// what was not due yet is not missed yet.
func TestRevokedStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		spec := every("herd", time.Minute)
		spec.Lead = calendar.Duration(50 * time.Second)
		apply(t, s, spec)
		a := enrol(t, s, "lab")
		ids := addCameras(t, s, "lab", 1)
		l := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "", ""))
		var orders []fleet.Order
		stood := false
		for !stood || len(orders) == 0 {
			in := must[scheduler.Instruction](t)(l.Next(t.Context()))
			if orders = append(orders, in.Orders...); in.Standing != nil {
				l.Stored(in.Nonce)
				stood = true
			}
		}
		if err := s.RevokeAgent(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		done := fleet.Capture{Occurrence: orders[0].Occurrence, Outcome: fleet.Captured}
		if err := s.Complete(t.Context(), a.ID, []fleet.Capture{done}); !errors.Is(err, scheduler.ErrUnauthorized) {
			t.Errorf("a revoked agent reports: %v", err)
		}
		if b := books(t, s); b.InFlight != 1 || b.Issued != 1 {
			t.Errorf("%+v of an order that is not due", b)
		}
		for _, to := range []fleet.Enrollment{fleet.Ignored, fleet.Approved} { // it is taken back, and issued again
			must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), ids, to))
		}
		b := enrol(t, s, "lab")
		l = must[*scheduler.Link](t)(s.Connect(t.Context(), b.ID, "", ""))
		for in := (scheduler.Instruction{}); in.Standing == nil; {
			in = must[scheduler.Instruction](t)(l.Next(t.Context()))
			l.Stored(in.Nonce)
		}
		if err := s.RevokeAgent(t.Context(), b.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Minute)
		stop()
		s, stop = open(t, dir)
		defer stop()
		for _, a := range must[[]fleet.Agent](t)(s.Agents(t.Context())) {
			if a.State != fleet.Retired {
				t.Errorf("a revoked agent is %s after a restart", a.State)
			}
		}
		ended(t, s)
	})
}

// TestMissedAhead changes cameras while orders of the coming minute have their
// outcome already, as there was no room for them: none is issued again, also
// over a restart.
func TestMissedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		burst := 0.1
		must[scheduler.SiteView](t)(s.SetSite(t.Context(), "lab", scheduler.SiteChange{Burst: &burst}))
		spec := every("herd", time.Minute)
		phase := calendar.Offset(0)
		spec.AtPhase, spec.Lead = &phase, calendar.Duration(50*time.Second)
		apply(t, s, spec)
		ids := addCameras(t, s, "lab", 10)
		time.Sleep(30 * time.Second)
		if b := books(t, s); b.Missed != 8 {
			t.Errorf("%+v, twice with room for six orders of ten", b)
		}
		change := func() {
			must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), ids, fleet.Ignored))
			if rep := audit(t, s); rep.MissingOutcome != 0 || rep.Unexpected != 0 {
				t.Errorf("%+v", rep)
			}
			stop()
			s, stop = open(t, dir)
			must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), ids, fleet.Approved))
		}
		change()
		change()
		if b := books(t, s); b.Missed != 8 || b.Issued != 20 {
			t.Errorf("%+v after changes", b)
		}
		time.Sleep(3 * time.Minute)
		defer func() { stop() }()
		ended(t, s)
	})
}

// TestRoomComesBack fails to add a camera many times, and changes what is
// ordered many times: nothing of it takes room under a burst bound.
func TestRoomComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		defer stop()
		burst := 0.1
		must[scheduler.SiteView](t)(s.SetSite(t.Context(), "lab", scheduler.SiteChange{Burst: &burst}))
		spec := every("herd", time.Minute)
		phase := calendar.Offset(calendar.Duration(40 * time.Second))
		spec.AtPhase, spec.Lead = &phase, calendar.Duration(50*time.Second)
		apply(t, s, spec)
		mend := failing(t, dir, "spans")
		for range 50 {
			if _, err := s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "http://192.0.2.1/snapshot.jpg"}); err == nil {
				t.Fatal("the store took it")
			}
		}
		mend()
		ids := addCameras(t, s, "lab", 1)
		for range 50 {
			must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), ids, fleet.Ignored))
			must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), ids, fleet.Approved))
		}
		faster := 10.0 // and back: what it holds is of another width meanwhile
		must[scheduler.SiteView](t)(s.SetSite(t.Context(), "lab", scheduler.SiteChange{Burst: &faster}))
		must[scheduler.SiteView](t)(s.SetSite(t.Context(), "lab", scheduler.SiteChange{Burst: &burst}))
		addCameras(t, s, "lab", 7)
		if b := books(t, s); b.InFlight != 6 || b.Missed != 1 {
			t.Errorf("%+v with room for six orders of seven", b)
		}
		for _, zone := range []string{"Asia/Tokyo", "Europe/Rome"} { // all tasks close and open
			must[scheduler.SiteView](t)(s.SetSite(t.Context(), "lab", scheduler.SiteChange{TZ: &zone}))
		}
		if b := books(t, s); b.InFlight != 6 || b.Missed != 1 {
			t.Errorf("%+v after changes of the zone", b)
		}
	})
}

// TestFailsOnce lets the store fail when schedules are applied, and when the
// scheduler is to stop: both are made good once, and nothing is forgotten.
func TestFailsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		ids := addCameras(t, s, "lab", 3)
		mend := failing(t, dir, "spans")
		if _, err := s.ApplySchedules(t.Context(), []calendar.Spec{every("quick", 10*time.Second)}, scheduler.ApplyOptions{}); err == nil {
			t.Fatal("the store took it")
		}
		mend()
		file(t, dir, "CREATE TABLE marks (n INTEGER)")
		file(t, dir, "CREATE TRIGGER mark AFTER INSERT ON meta WHEN NEW.k = 'reconcile' BEGIN INSERT INTO marks VALUES (1); END")
		time.Sleep(time.Minute)
		if n := file(t, dir, "SELECT count(*) FROM marks").Int64; n != 1 {
			t.Errorf("all cameras were gone through %d times after one failure", n)
		}
		mend = failing(t, dir, "meta")
		if err := s.Stop(t.Context()); err == nil {
			t.Fatal("the store took it")
		}
		mend()
		for _, to := range []fleet.Enrollment{fleet.Ignored, fleet.Approved} {
			must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), ids, to))
		}
		time.Sleep(time.Minute)
		stop()
		s, stop = open(t, dir)
		defer stop()
		time.Sleep(time.Minute)
		if b := ended(t, s); b.Issued < 3*17 {
			t.Errorf("%+v of three cameras each ten seconds of three minutes", b)
		}
	})
}

// TestGivenUp leaves a site alone whose only agent stood by itself: once its
// standing orders are over, nobody has new orders, and they are missed when they
// are due.
func TestGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, stop := open(t, t.TempDir())
		defer stop()
		apply(t, s, every("slow", time.Hour))
		a := enrol(t, s, "lab")
		addCameras(t, s, "lab", 1)
		l := must[*scheduler.Link](t)(s.Connect(t.Context(), a.ID, "", ""))
		for in := (scheduler.Instruction{}); in.Standing == nil; {
			in = must[scheduler.Instruction](t)(l.Next(t.Context()))
			l.Stored(in.Nonce)
		}
		s.Disconnect(t.Context(), l, true)
		time.Sleep(7*24*time.Hour - time.Hour)
		if b := books(t, s); b.Missed != 0 || b.InFlight < 160 {
			t.Errorf("%+v while the agent may work on", b)
		}
		time.Sleep(7*24*time.Hour + 4*time.Hour)
		if b := books(t, s); b.InFlight > 1 || b.Missed < 330 { // one may be within its deadline
			t.Errorf("%+v a week after its standing orders ended", b)
		}
	})
}

// TestAuditAges audits from the beginning when the first captures have aged out:
// they are not missed.
func TestAuditAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := must[*scheduler.Scheduler](t)(scheduler.New(t.Context(), dir, scheduler.Options{SealKey: [32]byte{1}, Keep: 2 * time.Hour}))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		apply(t, s, every("slow", 5*time.Minute))
		ids := addCameras(t, s, "lab", 2)
		time.Sleep(time.Hour)
		must[[]scheduler.CameraView](t)(s.EnrolCameras(t.Context(), ids[:1], fleet.Ignored)) // its span is forgotten
		time.Sleep(5 * time.Hour)
		if rep := audit(t, s); rep.MissingOutcome != 0 || rep.Unexpected != 0 || rep.InFlight > 2 || rep.Stored < 20 {
			t.Errorf("%+v", rep)
		}
		// As after a kill: nothing is summed up at the end.
		before := books(t, s)
		killed := filepath.Join(t.TempDir(), "killed")
		if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		s, stop := open(t, killed)
		defer stop()
		if after := books(t, s); after.InFlight > before.InFlight || after.Missed < before.Missed {
			t.Errorf("the books were %+v, and are %+v after a kill", before, after)
		}
	})
}

// TestNeverHeard asks for pictures of a camera that came while the only agent
// of its site was away. That one goes on by itself with what it knew: it cannot
// know of this one, so nobody waits for it.
func TestNeverHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s, stop := open(t, dir)
		apply(t, s, every("quick", 10*time.Second))
		ids := addCameras(t, s, "lab", 1)
		r := newRobot(s, enrol(t, s, "lab").ID)
		r.stands = true
		rest := work(t, r)
		time.Sleep(time.Minute)
		rest()
		time.Sleep(time.Minute)
		ids = append(ids, must[scheduler.CameraView](t)(s.AddCamera(t.Context(), scheduler.NewCamera{Site: "lab", URL: "http://192.0.2.200/snapshot.jpg"})).ID)
		must[scheduler.Job](t)(s.CaptureNow(t.Context(), scheduler.NewJob{Cameras: ids, Deadline: 10 * time.Second}))
		time.Sleep(10 * time.Minute)
		stop() // a restart knows still since when the agent is away
		time.Sleep(5 * time.Minute)
		s, stop = open(t, dir)
		defer stop()
		time.Sleep(5 * time.Minute)
		b := books(t, s)
		missed := map[fleet.CameraID]uint64{}
		for _, c := range allCaptures(t, s) {
			if c.Outcome == fleet.Missed {
				missed[c.Camera]++
			}
		}
		// The first camera's orders wait, but for the one that was asked for by hand.
		if missed[ids[0]] != 1 || missed[ids[1]] < 110 || b.InFlight < 120 || b.InFlight > 135 {
			t.Errorf("missed %v, %+v", missed, b)
		}
	})
}

// TestSilentOverRestart counts how long an agent is away from when it went, not
// from when the scheduler was last started.
func TestSilentOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := scheduler.Options{GiveUp: time.Hour}
		s, stop := openWith(t, dir, o)
		apply(t, s, every("slow", time.Minute))
		addCameras(t, s, "lab", 1)
		r := newRobot(s, enrol(t, s, "lab").ID)
		r.stands = true
		rest := work(t, r)
		time.Sleep(5 * time.Minute)
		rest()
		for range 5 {
			time.Sleep(20 * time.Minute)
			stop()
			s, stop = openWith(t, dir, o)
		}
		defer stop()
		// It is away for 100 minutes: orders of its first hour are given up, an
		// hour after they were due, and nothing was given to it since. Where the
		// minute begins within the lead there is one more of each kind.
		if b := books(t, s); b.InFlight > 61-40+3 || b.Missed < 75 {
			t.Errorf("%+v", b)
		}
	})
}

// TestJobsLeaveNoSchedules has the schedules that jobs have for themselves go
// with their captures.
func TestJobsLeaveNoSchedules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		o := scheduler.Options{GiveUp: time.Hour, Keep: 2 * time.Hour}
		s, stop := openWith(t, dir, o)
		ids := addCameras(t, s, "lab", 1)
		must[scheduler.Job](t)(s.CaptureNow(t.Context(), scheduler.NewJob{Cameras: ids}))
		rows := func() int {
			stop()
			st, state, err := store.Open(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Close(); err != nil {
				t.Fatal(err)
			}
			s, stop = openWith(t, dir, o)
			return len(state.Schedules)
		}
		time.Sleep(25 * time.Hour)
		if n := rows(); n != 1 {
			t.Errorf("%d schedules while an order may refer to the job's", n)
		}
		time.Sleep(3 * time.Hour)
		if n := rows(); n != 0 {
			t.Errorf("%d schedules after the job's last order", n)
		}
		stop()
	})
}
