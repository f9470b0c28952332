package scheduler

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

func TestParseSchedules(t *testing.T) {
	specs, err := ParseSchedules([]byte(`
schedules:
  - name: shelf
    select: "site=store-*,!retired"
    every: 5m
    retry: 0
  - name: gate-at-night
    select: "role=gate"
    cron: ["30 2 * * *", "0 4 * * 1-5"]
    tz: America/New_York
  - {name: one, select: "*", cron: "0 4 * * *"}
  - {name: first, select: "*", once: approval, lead: 1s}
  - {name: dated, select: "*", once: 2027-03-01T06:00:00Z}
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(specs) != 5 || time.Duration(specs[0].Every) != 5*time.Minute || specs[0].Retry.Attempts != 0 ||
		len(specs[1].Cron) != 2 || len(specs[2].Cron) != 1 || specs[3].Once != "approval" || specs[4].Once != "2027-03-01T06:00:00Z" {
		t.Errorf("ParseSchedules = %+v", specs)
	}
	if again, err := ParseSchedules([]byte(`{"schedules": [` + specs[1].JSON() + `]}`)); err != nil || !again[0].Equal(specs[1]) {
		t.Errorf("JSON form: %+v, %v", again, err)
	}
}

// TestParseSchedulesLanguage reads every key of the language.
func TestParseSchedulesLanguage(t *testing.T) {
	specs, err := ParseSchedules([]byte(`
schedules:
  - name: shelf
    select: "site=store-*,!retired"
    every: 5m
    at_phase: 0s
    spread: 30s
    exclude: 2027-12-25
  - name: field-dawn
    select: "crop in (vine, olive)"
    sun: "sunrise+30m"
    at: {lat: 43.70, lon: 7.26}
    tz: Europe/Paris
    from: 2027-01-01
    until: 2027-12-31T00:00:00Z
    windows:
      - {days: [mon, wed], from: 2027-03-01, until: 2027-10-31}
      - {days: fri, hours: ["08:00-18:00", "sunrise-30m to sunset"]}
    exclude: [2027-05-01, "12-24..01-02"]
    lead: 2m
    deadline: 5m
    retry: 4
    misfire: all(max 10, within 6h)
    overlap: skip
    priority: low
    retake: [corrupt, black]
  - name: gate
    select: "role=gate"
    every: 1h
    retry: {attempts: 3, backoff: 250ms, cap: 5s, elsewhere: true}
    retake: {on: blurred, max: 3}
  - name: door
    select: "role=door"
    every: 1h
    retry:
      cap: 2s
    retake:
      "on":
        - black
`))
	if err != nil {
		t.Fatal(err)
	}
	if s := specs[0]; s.AtPhase == nil || *s.AtPhase != 0 || time.Duration(s.Spread) != 30*time.Second || len(s.Exclude) != 1 {
		t.Errorf("shelf = %s", s.JSON())
	}
	if s := specs[1]; len(s.Windows) != 2 || len(s.Windows[0].Days) != 2 || len(s.Windows[1].Hours) != 2 || s.At.Lat != 43.70 || len(s.Exclude) != 2 || s.Retry.Attempts != 4 {
		t.Errorf("field-dawn = %s", s.JSON())
	}
	for i, want := range map[int]string{
		1: `"retry":4,"misfire":"all(max 10, within 6h)","overlap":"skip","priority":"low","retake":{"on":["corrupt","black"]}}`,
		2: `"retry":{"attempts":3,"backoff":"250ms","cap":"5s","elsewhere":true},"retake":{"on":["blurred"],"max":3}}`,
		3: `"retry":{"attempts":2,"cap":"2s"},"retake":{"on":["black"]}}`,
	} {
		if got := specs[i].JSON(); !strings.HasSuffix(got, want) {
			t.Errorf("%s, want it to end in %s", got, want)
		}
	}
}

func TestParseSchedulesFaults(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "the file is empty"},
		{"comment only", "# nothing\n", "none in the file"},
		{"no schedules", "schedules: []", "none in the file"},
		{"unknown key", "schedules:\n  - name: a\n    select: '*'\n    evry: 5m\n", "[4:5] unknown field \"evry\""},
		{"unknown top key", "schedule:\n  - name: a\n", "[1:1] unknown field \"schedule\""},
		{"no unit", "schedules:\n  - {name: a, select: '*', every: 5}\n", "write 5s for seconds"},
		{"bad yaml", "schedules:\n  - [", "schedules: ["},
		{"not a map", "- a", "schedules: ["},
		{"duplicate", "schedules:\n  - {name: a, select: '*', every: 5s}\n  - {name: a, select: '*', every: 6s}\n", "lines 2 and 3 are both called \"a\""},
		{"duplicate key", "schedules:\n  - {name: a, name: b, select: '*', every: 5s}\n", "already defined"},
		{"two kinds", "schedules:\n  - {name: a, select: '*', every: 5s, cron: '* * * * *'}\n", "line 2: schedule \"a\": cron: a schedule has one of"},
		{"two documents", "schedules:\n  - {name: a, select: '*', every: 5s}\n---\nschedules: []\n", "second document"},
		{"alias", "schedules:\n  - &a {name: a, select: '*', every: 5s}\n  - *a\n", "[3:5] aliases are not read"},
		{"star without quotes", "schedules:\n  - {name: a, select: *, every: 5s}\n", "schedules: ["},
		{"tag in place of a list", "schedules:\n ! 0", "check tags"},
		{"deep brackets", "schedules: " + strings.Repeat("[", 100), "line 1: nested more than 32 deep"},
		{"deep list", "schedules:\n" + strings.Repeat("- ", 100), "line 2: nested more than 32 deep"},
		{"too long", strings.Repeat("#", 3<<20), "split the file"},
		{"half a place", "schedules:\n  - {name: a, select: '*', sun: noon, at: {lat: 4}}\n", "at: want both lat and lon"},
		{"unknown key of retry", "schedules:\n  - name: a\n    select: '*'\n    every: 5s\n    retry: {atempts: 2}\n", "[5:13] unknown field \"atempts\" in retry: want attempts, backoff, cap, elsewhere"},
		{"unknown key of retry, in lines", "schedules:\n  - name: a\n    select: '*'\n    every: 5s\n    retry:\n      attempts: 2\n      wait: 2s\n", "[7:7] unknown field \"wait\" in retry"},
		{"unknown key of retake", "schedules:\n  - {name: a, select: '*', every: 5s, retake: {on: [black], min: 1}}\n", "[2:61] unknown field \"min\" in retake: want on, max"},
		{"retry in words", "schedules:\n  - {name: a, select: '*', every: 5s, retry: often}\n", "line 2: schedule \"a\": retry: want a number, or {attempts: 2"},
		{"retry without a unit", "schedules:\n  - {name: a, select: '*', every: 5s, retry: {backoff: 5}}\n", "retry: want a number, or {attempts: 2, backoff: 500ms"},
		{"retry below zero", "schedules:\n  - {name: a, select: '*', every: 5s, retry: -1}\n", "retry: want a number"},
		{"retake number", "schedules:\n  - {name: a, select: '*', every: 5s, retake: 2}\n", "retake: want a list, for example [corrupt, black]"},
		{"retake without faults", "schedules:\n  - {name: a, select: '*', every: 5s, retake: {max: 2}}\n", "retake: on is missing"},
		{"misfire", "schedules:\n  - {name: a, select: '*', every: 5s, misfire: never}\n", "misfire: \"never\": want skip, latest"},
		{"misfire cut by the comma", "schedules:\n  - {name: a, select: '*', every: 5s, misfire: all(max 10, within 6h)}\n", "schedules: ["},
		{"unknown key of exclude", "schedules:\n  - name: a\n    select: '*'\n    every: 5s\n    exclude:\n      - 2027-01-01\n      - isc: x.ics\n", "[7:9] unknown field \"isc\" in exclude: want ics"},
		{"file of a calendar", "schedules:\n  - {name: a, select: '*', every: 5s, exclude: {ics: x.ics}}\n", "exclude: ics: \"x.ics\": only `shutterfleet schedules apply` and `preview` read files"},
		{"calendar without a name", "schedules:\n  - {name: a, select: '*', every: 5s, exclude: [{ics: }]}\n", "exclude: ics: want the name of an iCalendar file"},
		{"bad calendar", "schedules:\n  - name: a\n    select: '*'\n    every: 5s\n    exclude:\n    - ics: |\n        BEGIN:VCALENDAR\n        BEGIN:VEVENT\n        DTSTART:soon\n        END:VEVENT\n        END:VCALENDAR\n", "exclude: ics: text: line 3: DTSTART: \"soon\": want a date"},
		{"exclude list in list", "schedules:\n  - {name: a, select: '*', every: 5s, exclude: [[2027-01-01]]}\n", "exclude: want dates, each in quotes, or {ics: holidays.ics}"},
		{"cron map", "schedules:\n  - {name: a, select: '*', cron: {a: b}}\n", "cron: want one text or a list"},
	} {
		specs, err := ParseSchedules([]byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, error %v, want one with %q", c.name, specs, err, c.want)
		}
	}
}

// TestParseSchedulesCalendar reads calendars as files and as text.
func TestParseSchedulesCalendar(t *testing.T) {
	const holidays = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART:20001225\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	opened := 0
	r := ScheduleReader{Now: time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC), Open: func(name string) ([]byte, error) {
		if opened++; name != "holidays.ics" {
			return nil, fmt.Errorf("open %s: no such file", name)
		}
		return []byte(holidays), nil
	}}
	specs, err := r.Parse([]byte(`
schedules:
  - {name: a, select: "*", every: 1h, exclude: [2027-05-01, {ics: holidays.ics}, "12-31"]}
  - {name: b, select: "*", every: 1h, exclude: {ics: holidays.ics}}
  - name: c
    select: "*"
    every: 1h
    exclude:
      - ics: |
          BEGIN:VCALENDAR
          BEGIN:VEVENT
          DTSTART:20270701T100000
          DURATION:PT2H
          END:VEVENT
          END:VCALENDAR
`))
	if err != nil {
		t.Fatal(err)
	}
	if a := specs[0].Exclude; len(a) != 14 || a[0] != "2027-05-01" || a[1] != "2026-12-25" || a[12] != "2037-12-25" || a[13] != "12-31" || opened != 1 {
		t.Errorf("a excludes %v, after %d readings", a, opened)
	}
	if b, c := specs[1].Exclude, specs[2].Exclude; len(b) != 12 || len(c) != 1 || c[0] != "2027-07-01T10:00:00/2027-07-01T12:00:00" {
		t.Errorf("b excludes %v, c %v", b, c)
	}
	if again, err := ParseSchedules([]byte(`{"schedules": [` + specs[0].JSON() + `]}`)); err != nil || !again[0].Equal(specs[0]) {
		t.Errorf("what the file gave reads back as %+v, %v", again, err)
	}
	if _, err := r.Parse([]byte("schedules:\n  - {name: a, select: '*', every: 1h, exclude: {ics: x.ics}}\n")); err == nil || !strings.Contains(err.Error(), `line 2: schedule "a": exclude: ics: open x.ics`) {
		t.Errorf("a file that is not there: %v", err)
	}
}

// TestKeys holds that the file has the keys of the language, no more and no
// less.
func TestKeys(t *testing.T) {
	keys := func(v any) (names []string) {
		for f := range reflect.TypeOf(v).NumField() {
			name, _, _ := strings.Cut(reflect.TypeOf(v).Field(f).Tag.Get("yaml"), ",")
			names = append(names, name)
		}
		return names
	}
	if got, want := keys(scheduleItem{}), keys(calendar.Spec{}); !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	if got, want := keys(windowItem{}), keys(calendar.Window{}); !slices.Equal(got, want) {
		t.Errorf("keys of windows %v, want %v", got, want)
	}
}

func TestParseSchedulesMany(t *testing.T) {
	var b strings.Builder
	b.WriteString("schedules:\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "  - {name: shelf-%d, select: \"site=store-%d,!retired\", cron: \"30 2 * * *\", tz: Europe/Paris, lead: 30s}\n", i, i)
	}
	begun := time.Now()
	specs, err := ParseSchedules([]byte(b.String()))
	if err != nil || len(specs) != 10_000 {
		t.Fatalf("%d, %v", len(specs), err)
	}
	t.Logf("%d bytes in %v", b.Len(), time.Since(begun))
}

// FuzzParseSchedules holds that what is accepted survives its own JSON.
func FuzzParseSchedules(f *testing.F) {
	f.Add("schedules:\n  - {name: a, select: '*', every: 5s}\n")
	f.Add("schedules:\n  - name: b\n    select: 'k in (a, b)'\n    cron: ['0 0 L * *', '0 0 * * 5#2']\n    tz: Europe/Paris\n")
	f.Add(`{"schedules": [{"name":"c","select":"*","once":"approval"}]}`)
	f.Add("schedules:\n  - {name: d, select: '*', every: 1h, exclude: [{ics: \"BEGIN:VCALENDAR\\nBEGIN:VEVENT\\nDTSTART:20270101\\nEND:VEVENT\\nEND:VCALENDAR\\n\"}], retry: {cap: 2s}, retake: black}\n")
	f.Fuzz(func(t *testing.T, text string) {
		specs, err := ParseSchedules([]byte(text))
		if err != nil {
			return
		}
		for _, s := range specs {
			again, err := ParseSchedules([]byte(`{"schedules": [` + s.JSON() + `]}`))
			if err != nil || len(again) != 1 || !again[0].Equal(s) {
				t.Fatalf("%s read back as %+v, %v", s.JSON(), again, err)
			}
		}
	})
}
