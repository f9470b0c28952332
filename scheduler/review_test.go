package scheduler_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// failing makes the table of the scheduler's store refuse rows until the
// returned function is called.
func failing(t *testing.T, dir, table string) func() {
	t.Helper()
	do := func(text string) {
		t.Helper()
		db := must[*sql.DB](t)(sql.Open("sqlite", filepath.Join(dir, "centre.db")+"?_pragma=busy_timeout(10000)"))
		defer db.Close() //nolint:errcheck // it was only looked at
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	do("CREATE TRIGGER full BEFORE INSERT ON " + table + " BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
	return func() { do("DROP TRIGGER full") }
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

var _ = calendar.Spec{}
