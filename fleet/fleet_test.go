package fleet_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func Example() {
	gate := fleet.CameraID(0x1f2e3d4c5b6a7988)
	o := fleet.Occurrence{
		Camera:   gate,
		Schedule: fleet.ScheduleIDOf("shelf"),
		Nominal:  fleet.At(time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC)),
	}
	fmt.Println(o)
	// Output: cam-3wq3tk2vd9wrg/3eefa42d52064c48/2027-03-01T06:00:00.000Z
}

func TestCameraIDText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := fleet.CameraID(rapid.Uint64().Draw(t, "id"))
		got, err := fleet.ParseCameraID(want.String())
		if err != nil || got != want {
			t.Fatalf("ParseCameraID(%q) = %v, %v", want.String(), got, err)
		}
	})
	for _, bad := range []string{"", "cam-", "cam-3wq3tk2vd9wr", "cam-3wq3tk2vd9wrgg", "3wq3tk2vd9wrg", "cam-3wq3tk2vd9wru", "cam-3wq3tk2vd9wrz"} {
		if id, err := fleet.ParseCameraID(bad); err == nil {
			t.Errorf("ParseCameraID(%q) = %v, want an error", bad, id)
		}
	}
}

func TestSecretIsDiscreet(t *testing.T) {
	c := fleet.Credentials{User: "viewer", Password: "hunter2"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("try", "credentials", c, "password", c.Password)
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), fmt.Sprintf("%#v", c), fmt.Sprintf("%q", c.Password), string(j), log.String()} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("a secret got out: %s", text)
		}
	}
	if c.Password.Reveal() != "hunter2" {
		t.Error("Reveal does not")
	}
}

func TestSiteKeyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := fleet.SiteKey{Site: fleet.SiteID(rapid.StringMatching(`[a-z][a-z0-9.-]{0,20}`).Draw(t, "site"))}
		copy(want.Secret[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "secret"))
		copy(want.CA[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "ca"))
		got, err := fleet.ParseSiteKey(want.Text() + "\n")
		if err != nil || got != want {
			t.Fatalf("ParseSiteKey = %v, %v, want %v", got, err, want)
		}
	})
	for _, bad := range []fleet.Secret{"", "sfk1", "sfk1.a.b.c", "sfk2.a.b.c", "sfk1..AA.AA"} {
		if _, err := fleet.ParseSiteKey(bad); err == nil {
			t.Errorf("ParseSiteKey(%q) succeeded", bad.Reveal())
		}
	}
}

// A phase that moved would re-phase every fleet, so these values are pinned.
func TestPhaseIsPinned(t *testing.T) {
	for _, c := range []struct {
		camera   fleet.CameraID
		schedule string
		interval time.Duration
		want     time.Duration
	}{
		{1, "shelf", 5 * time.Minute, 111_810 * time.Millisecond},
		{2, "shelf", 5 * time.Minute, 84_740 * time.Millisecond},
		{1, "gate", time.Hour, 2_604_705 * time.Millisecond},
		{1, "gate", 0, 0},
	} {
		got := fleet.Phase(c.camera, fleet.ScheduleIDOf(c.schedule), c.interval)
		if got != c.want {
			t.Errorf("Phase(%v, %s, %v) = %v, want %v", c.camera, c.schedule, c.interval, got, c.want)
		}
	}
}

// Neighbouring ids must not fall into the same part of the interval: that is
// what keeps a fleet from photographing as one herd.
func TestPhaseSpreads(t *testing.T) {
	const cameras, parts = 100_000, 100
	var count [parts]int
	for c := range fleet.CameraID(cameras) {
		count[fleet.Phase(c, 7, 300*time.Second)/(3*time.Second)]++
	}
	for i, n := range count {
		if n < 850 || n > 1150 { // mean 1000, standard deviation 31.5: 4.7 sigma
			t.Errorf("part %d of the interval holds %d of %d cameras", i, n, cameras)
		}
	}
}

func TestOccurrenceCompareIsATotalOrder(t *testing.T) {
	gen := rapid.Custom(func(t *rapid.T) fleet.Occurrence {
		n := rapid.Uint64Range(0, 2)
		return fleet.Occurrence{Camera: fleet.CameraID(n.Draw(t, "c")), Schedule: fleet.ScheduleID(n.Draw(t, "s")), Nominal: fleet.Instant(n.Draw(t, "n"))}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := gen.Draw(t, "a"), gen.Draw(t, "b"), gen.Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v", a, b)
		}
		if a.Compare(b) < 0 && b.Compare(c) < 0 && a.Compare(c) >= 0 {
			t.Fatalf("%v < %v < %v", a, b, c)
		}
	})
}
