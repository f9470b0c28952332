package calendar

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func TestCompileFaults(t *testing.T) {
	good := Spec{Name: "a", Select: "*", Every: Duration(time.Minute)}
	retry := uint8(99)
	phase := Offset(time.Hour)
	for _, c := range []struct {
		want   string
		change func(*Spec)
	}{
		{`schedule "": name: missing`, func(s *Spec) { s.Name = "" }},
		{`name: "a b": want letters`, func(s *Spec) { s.Name = "a b" }},
		{`name: 65 bytes long`, func(s *Spec) { s.Name = strings.Repeat("a", 65) }},
		{`select: missing; write select: "*"`, func(s *Spec) { s.Select = " " }},
		{`select: selector "a=": column 3`, func(s *Spec) { s.Select = "a=" }},
		{`every: missing; say when`, func(s *Spec) { s.Every = 0 }},
		{`cron: a schedule has one of`, func(s *Spec) { s.Cron = List{"* * * * *"} }},
		{`every: 1ms: want between 100ms and 8784h`, func(s *Spec) { s.Every = Duration(time.Millisecond) }},
		{`at_phase: 1h: want less than every, 1m`, func(s *Spec) { s.AtPhase = &phase }},
		{`at_phase: only goes with every`, func(s *Spec) { s.Every, s.Once, s.AtPhase = 0, "approval", new(Offset) }},
		{`once: "tomorrow": want approval`, func(s *Spec) { s.Every, s.Once = 0, "tomorrow" }},
		{`cron: "* * *": 3 fields`, func(s *Spec) { s.Every, s.Cron = 0, List{"* * *"} }},
		{`minute "60": want 0 to 59`, func(s *Spec) { s.Every, s.Cron = 0, List{"60 * * * *"} }},
		{`month "foo": want 1 to 12 or a name such as dec`, func(s *Spec) { s.Every, s.Cron = 0, List{"0 0 1 foo *"} }},
		{`hour "5-3": the range runs backwards`, func(s *Spec) { s.Every, s.Cron = 0, List{"0 5-3 * * *"} }},
		{`minute "*/0": want a step`, func(s *Spec) { s.Every, s.Cron = 0, List{"*/0 * * * *"} }},
		{`no such day ever comes`, func(s *Spec) { s.Every, s.Cron = 0, List{"0 0 30 2 *"} }},
		{`want @hourly`, func(s *Spec) { s.Every, s.Cron = 0, List{"@every"} }},
		{`sun: "moonrise": want sunrise`, func(s *Spec) { s.Every, s.Sun = 0, List{"moonrise"} }},
		{`sun: "sunrise30m": want + or -`, func(s *Spec) { s.Every, s.Sun = 0, List{"sunrise30m"} }},
		{`sun: "sunrise+13h": want whole seconds, at most 12h`, func(s *Spec) { s.Every, s.Sun = 0, List{"sunrise+13h"} }},
		{`tz: "Local": want a name of the IANA database`, func(s *Spec) { s.TZ = "Local" }},
		{`tz: "Mars/Olympus": not in the IANA database`, func(s *Spec) { s.TZ = "Mars/Olympus" }},
		{`at: lat 91, lon 0: want -90 to 90`, func(s *Spec) { s.At = &Coordinates{Lat: 91} }},
		{`from: "soon": want a date`, func(s *Spec) { s.From = "soon" }},
		{`until: "2027-02-30": want a date`, func(s *Spec) { s.Until = "2027-02-30" }},
		{`windows: item 1: days "someday"`, func(s *Spec) { s.Windows = []Window{{Days: List{"someday"}}} }},
		{`windows: item 1: hours "8": want HH:MM`, func(s *Spec) { s.Windows = []Window{{Hours: List{"8-18"}}} }},
		{`hours "08:00-08:00": begins and ends`, func(s *Spec) { s.Windows = []Window{{Hours: List{"08:00-08:00"}}} }},
		{`windows: item 1: until 2027-01-01 is before from`, func(s *Spec) { s.Windows = []Window{{From: "2027-01-02", Until: "2027-01-01"}} }},
		{`exclude: "xmas": want a date or a range`, func(s *Spec) { s.Exclude = List{"xmas"} }},
		{`exclude: "12-24..2027-01-02": want both ends`, func(s *Spec) { s.Exclude = List{"12-24..2027-01-02"} }},
		{`spread: 2m: want at most`, func(s *Spec) { s.Spread = Duration(2 * time.Minute) }},
		{`lead: 48h: want at most 24h`, func(s *Spec) { s.Lead = Duration(48 * time.Hour) }},
		{`deadline: 48h: want at most 24h`, func(s *Spec) { s.Deadline = Duration(48 * time.Hour) }},
		{`retry: 99: want at most 20`, func(s *Spec) { s.Retry = &Retry{Attempts: retry} }},
	} {
		s := good
		c.change(&s)
		if _, err := s.Compile(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Compile of %s: %v, want an error with %q", s.JSON(), err, c.want)
		}
	}
	if _, err := (Spec{}).Compile(); err == nil || strings.Count(err.Error(), "\n") < 2 {
		t.Errorf("the empty spec: %v, want all faults at once", err)
	}
}

func TestDefaults(t *testing.T) {
	none := uint8(0)
	for _, c := range []struct {
		spec     Spec
		deadline time.Duration
	}{
		{Spec{Every: Duration(2 * time.Second)}, 10 * time.Second},
		{Spec{Every: Duration(30 * time.Second)}, 30 * time.Second},
		{Spec{Every: Duration(time.Hour)}, time.Minute},
		{Spec{Once: "approval"}, time.Minute},
		{Spec{Once: "approval", Deadline: Duration(time.Second)}, time.Second},
	} {
		if s := compile(t, c.spec); s.Deadline() != c.deadline || s.Lead() != time.Minute || s.Retry().Attempts != 2 {
			t.Errorf("%s: deadline %v, lead %v, retries %d", s.Spec().JSON(), s.Deadline(), s.Lead(), s.Retry().Attempts)
		}
	}
	s := compile(t, Spec{Name: "n", Every: Duration(time.Minute), Lead: Duration(time.Second), Retry: &Retry{Attempts: none}})
	if s.Lead() != time.Second || s.Retry().Attempts != 0 || s.ID() != fleet.ScheduleIDOf("n") || s.Name() != "n" {
		t.Errorf("lead %v, retries %d, id %v", s.Lead(), s.Retry().Attempts, s.ID())
	}
}

func TestEvery(t *testing.T) {
	s := compile(t, Spec{Name: "shelf", Every: Duration(5 * time.Minute)})
	task := Task{Camera: 42, Enabled: 1_800_000_000_000}
	phase := fleet.Phase(42, s.ID(), 5*time.Minute).Milliseconds()
	n, ok := s.Next(task, 0)
	if !ok || n < task.Enabled || n >= task.Enabled+300_000 || int64(n)%300_000 != phase {
		t.Errorf("first = %v, want phase %d after %v", n, phase, task.Enabled)
	}
	if again, _ := s.Next(task, n-1); again != n {
		t.Errorf("just before %v: %v", n, again)
	}
	if next, _ := s.Next(task, n); next != n+300_000 {
		t.Errorf("after %v: %v", n, next)
	}
	if n, _ := s.Next(Task{Aligned: true}, 1); n != 300_000 {
		t.Errorf("aligned = %v", n)
	}
	if n, _ := s.Next(Task{Aligned: true, Enabled: -300_000}, -300_001); n != -300_000 {
		t.Errorf("before the epoch = %v", n)
	}
}

func TestOnce(t *testing.T) {
	s := compile(t, Spec{Once: "approval"})
	if n, ok := s.Next(Task{Enabled: 1234}, 1233); !ok || n != 1234 {
		t.Errorf("approval = %v, %v", n, ok)
	}
	if n, ok := s.Next(Task{Enabled: 1234}, 1234); ok {
		t.Errorf("approval again = %v", n)
	}
	s = compile(t, Spec{Once: "2027-03-01T06:00:00.250+01:00"})
	want := at(t, "2027-03-01T05:00:00.25Z")
	if n, ok := s.Next(Task{}, 0); !ok || n != want {
		t.Errorf("once = %v, %v", n, ok)
	}
	if n, ok := s.Next(Task{Enabled: want + 1}, 0); ok {
		t.Errorf("enabled too late = %v", n)
	}
}

// TestOver: schedules that have ended or can never run say so, and soon.
func TestOver(t *testing.T) {
	for _, spec := range []Spec{
		{Every: Duration(time.Minute), Until: "2020-01-01"},
		{Every: Duration(time.Minute), Exclude: List{"01-01..12-31"}},
		{Every: Duration(time.Minute), Exclude: List{"01-01..06-30", "07-01..12-31"}},
		{Cron: List{"0 3 * * *"}, Windows: []Window{{Days: List{"mon"}, Hours: List{"08:00-18:00"}}}},
		{Every: Duration(time.Minute), Windows: []Window{{Until: "2020-01-01"}}},
		{Every: Duration(time.Minute), Windows: []Window{{Hours: List{"sunrise to sunset"}}}}, // without a place
	} {
		s := compile(t, spec)
		begun := time.Now()
		if n, ok := s.Next(Task{}, at(t, "2027-01-01T00:00:00Z")); ok {
			t.Errorf("%s: %v, want none", spec.JSON(), n)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("%s took %v", spec.JSON(), took)
		}
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]string{
		"90s": "1m30s", "5m": "5m", "300s": "5m", "1h": "1h", "60m": "1h", "1h30m": "1h30m", "2d": "48h", "1d12h": "36h", "250ms": "250ms", "10h0m1s": "10h0m1s",
	} {
		d, err := ParseDuration(text)
		if err != nil || d.String() != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, d, err, want)
			continue
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%q reads back as %v, %v", d, again, err)
		}
	}
	for text, want := range map[string]string{
		"": "a number and a unit", "5": "write 5s for seconds", "0s": "more than zero", "-5m": "between 1ms", "1us": "whole milliseconds",
		"4000d": "3660 whole days", "xd": "3660 whole days", "99999h": "between 1ms", "5 minutes": "a number and a unit",
	} {
		if d, err := ParseDuration(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseDuration(%q) = %v, %v, want an error with %q", text, d, err, want)
		}
	}
}

// FuzzCron holds that what parses has a next time, later and matching.
func FuzzCron(f *testing.F) {
	for _, s := range []string{"* * * * *", "*/5 1-3,7 L,15W feb-apr mon#2,5L", "0 0 29 2 *", "@daily", "59 59 23 31 12 7", "0 0 LW * ?", "0 0 L-30 2 *"} {
		f.Add(s, int64(1_800_000_000))
	}
	loc, err := time.LoadLocation("America/New_York")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		c, err := parseCron(text)
		if err != nil {
			return
		}
		unix %= 100_000_000_000
		next, ok := nextCron(c, loc, unix)
		if !ok {
			t.Fatalf("%q has no next time", text)
		}
		if next <= unix {
			t.Fatalf("%q after %d: %d", text, unix, next)
		}
		if u, ok := nextCron(c, time.UTC, unix); ok {
			if d, sec := wall(u).split(); !c.matchDay(d) || c.hour>>(sec/3600)&1 == 0 || c.minute>>(sec/60%60)&1 == 0 || c.second>>(sec%60)&1 == 0 {
				t.Fatalf("%q fires at %v", text, time.Unix(u, 0).UTC())
			}
		}
	})
}

// FuzzSpec holds that a spec which compiles survives its own JSON, and that
// Next answers and moves forward.
func FuzzSpec(f *testing.F) {
	for _, s := range []string{
		`{"name":"a","select":"*","every":"5m","at_phase":"0s","spread":"30s"}`,
		`{"name":"b","select":"a in (b)","cron":["0 0 L * *","*/7 * * * 1#1"],"tz":"Europe/Paris","exclude":["12-24..01-02","2027-05-01","2027-05-01T10:00:00Z/2027-05-02T10:00:00+01:00","2027-05-01T10:00:00/2027-05-02T10:00:00"]}`,
		`{"name":"c","select":"!x","sun":"sunrise+30m","at":{"lat":70,"lon":25},"windows":[{"days":"mon-fri","hours":["dawn to dusk","22:00-06:00"],"from":"2027-01-01"}]}`,
		`{"name":"d","select":"*","once":"approval","until":"2027-01-01T00:00:00Z"}`,
	} {
		f.Add([]byte(s), int64(1_800_000_000_000))
	}
	f.Fuzz(func(t *testing.T, data []byte, after int64) {
		var spec Spec
		if json.Unmarshal(data, &spec) != nil {
			return
		}
		s, err := spec.Compile()
		if err != nil {
			return
		}
		var again Spec
		if err := json.Unmarshal([]byte(spec.JSON()), &again); err != nil || !again.Equal(spec) {
			t.Fatalf("%s reads back as %s, %v", spec.JSON(), again.JSON(), err)
		}
		n, ok := s.Next(Task{Camera: 5, Enabled: -horizon}, fleet.Instant(after))
		if ok && int64(n) <= after {
			t.Fatalf("%s: Next(%d) = %d", spec.JSON(), after, n)
		}
	})
}
