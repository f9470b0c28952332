package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

const previewFile = `
schedules:
  - {name: gate, select: "*", cron: "30 2 * * *", tz: America/New_York}
  - {name: shelf, select: "*", every: 5m, spread: 30s}
  - {name: morning, select: "*", cron: "0 8 * * *"}
  - {name: dawn, select: "*", sun: sunrise}
  - {name: vines, select: "*", sun: noon, at: {lat: 43.70, lon: 7.26}, tz: Europe/Paris}
  - {name: first, select: "*", once: approval}
  - {name: over, select: "*", every: 1h, until: 2020-01-01}
`

const calendarFile = previewFile + `  - {name: shop, select: "*", cron: "0 9 * * *", tz: Europe/Paris, exclude: [{ics: cal/holidays.ics}]}
`

// offline is a terminal without a scheduler.
func offline(t *testing.T) *terminal {
	c := &terminal{t: t, dir: t.TempDir()}
	t.Setenv("SHUTTERFLEET_SERVER", "http://127.0.0.1:1")
	t.Setenv("SHUTTERFLEET_TOKEN_FILE", "")
	return c
}

func TestPreviewOffline(t *testing.T) {
	c := offline(t)
	file := c.file("s.yaml", calendarFile)
	if err := os.Mkdir(filepath.Join(c.dir, "cal"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.file("cal/holidays.ics", "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20000714\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	one := fleet.CameraID(1)
	shelf, err := calendar.Spec{Name: "shelf", Select: "*", Every: calendar.Duration(5 * time.Minute), Spread: calendar.Duration(30 * time.Second)}.Compile()
	if err != nil {
		t.Fatal(err)
	}
	from := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	first, _ := shelf.Next(calendar.Task{Camera: one}, fleet.At(from)-1)
	for _, tc := range []struct {
		args string
		want []string
	}{
		{"gate --from 2026-03-07 --until 2026-03-09", []string{"2026-03-07T02:30:00-05:00", "2026-03-08T03:00:00-04:00"}},
		// [from, until): the first is in, the last is not.
		{"gate --from 2026-03-07T02:30:00-05:00 --until 2026-03-09T02:30:00-04:00", []string{"2026-03-07T02:30:00-05:00", "2026-03-08T03:00:00-04:00"}},
		{"gate --from 2026-03-07T02:30:00.0001-05:00 --count 1", []string{"2026-03-08T03:00:00-04:00"}},
		{"gate --from 2026-10-31 --until 2d", []string{"2026-10-31T02:30:00-04:00", "2026-11-01T02:30:00-05:00"}},
		{"shelf --from 2027-03-01T00:00:01Z --count 2", []string{"2027-03-01T00:05:00Z", "2027-03-01T00:10:00Z"}},
		{"shelf --from 2027-03-01T00:00:00Z --count 1", []string{"2027-03-01T00:00:00Z"}},
		{"shelf --from 1969-12-31T23:54:00Z --until 1970-01-01T00:00:01Z", []string{"1969-12-31T23:55:00Z", "1970-01-01T00:00:00Z"}},
		{"shelf --from 2027-03-01T00:00:00Z --count 1 --camera " + one.String(), []string{first.Time().Format("2006-01-02T15:04:05.999Z07:00")}},
		{"morning --from 2027-07-01 --count 1", []string{"2027-07-01T08:00:00Z"}},
		{"morning --from 2027-07-01 --count 1 --site-tz Asia/Kolkata", []string{"2027-07-01T08:00:00+05:30"}},
		{"gate --from 2027-07-01 --count 1 --site-tz Asia/Kolkata", []string{"2027-07-01T02:30:00-04:00"}},
		{"over --from 2027-07-01", []string{}},
		// Calendars are read around the year of --from.
		{"shop --from 2037-07-13 --count 2", []string{"2037-07-13T09:00:00+02:00", "2037-07-15T09:00:00+02:00"}},
		{"shop --from 2047-07-13T00:00:00Z --count 2", []string{"2047-07-13T09:00:00+02:00", "2047-07-15T09:00:00+02:00"}},
	} {
		var got []string
		c.json(&got, append([]string{"schedules", "preview", "-f", file}, strings.Fields(tc.args)...)...)
		if got == nil || !slices.Equal(got, tc.want) {
			t.Errorf("preview %s = %v, want %v", tc.args, got, tc.want)
		}
	}
}

func thisYear(day string) string { return time.Now().Format("2006-") + day }

func TestPreviewSun(t *testing.T) {
	c := offline(t)
	file := c.file("s.yaml", previewFile)
	var got []time.Time
	c.json(&got, "schedules", "preview", "dawn", "-f", file, "--from", "2027-06-21", "--count", "1", "--lat", "43.70", "--lon", "7.26", "--site-tz", "Europe/Paris")
	if want := time.Date(2027, 6, 21, 3, 48, 0, 0, time.UTC); len(got) != 1 || got[0].Sub(want).Abs() > 3*time.Minute {
		t.Errorf("sunrise at Nice: %v, want about %v", got, want)
	}
	// Its own place is not the site's.
	c.json(&got, "schedules", "preview", "vines", "-f", file, "--from", "2027-06-21", "--count", "1", "--lat", "0", "--lon", "180")
	if want := time.Date(2027, 6, 21, 11, 33, 0, 0, time.UTC); len(got) != 1 || got[0].Sub(want).Abs() > 3*time.Minute {
		t.Errorf("noon at Nice: %v, want about %v", got, want)
	}
	for name, says := range map[string]string{
		"dawn":  "dawn goes by the sun, and nothing says where: give it at: {lat: …, lon: …}, or here --lat and --lon",
		"first": "first happens once for each camera, as it is approved",
	} {
		code, out, errs := c.run("schedules", "preview", name, "-f", file, "-o", "json")
		if code != 0 || out != "[]\n" || !strings.Contains(errs, says) {
			t.Errorf("%s without a place: %d %q %q", name, code, out, errs)
		}
	}
}

func TestPreviewForms(t *testing.T) {
	c := offline(t)
	file := c.file("s.yaml", previewFile)
	for output, want := range map[string]string{
		"table": "NOMINAL                    DAY\n2027-03-01T02:30:00-05:00  Mon\n2027-03-02T02:30:00-05:00  Tue\n",
		"json":  "[\n  \"2027-03-01T02:30:00-05:00\",\n  \"2027-03-02T02:30:00-05:00\"\n]\n",
		"yaml":  "- \"2027-03-01T02:30:00-05:00\"\n- \"2027-03-02T02:30:00-05:00\"\n",
	} {
		if code, out, errs := c.run("schedules", "preview", "gate", "-f", file, "--from", "2027-03-01", "--count", "2", "-o", output); code != 0 || out != want {
			t.Errorf("-o %s: %d\n%s%s, want\n%s", output, code, out, errs, want)
		}
	}
	// Ten from now on, by default.
	var got []time.Time
	begun := time.Now()
	c.json(&got, "schedules", "preview", "shelf", "-f", file)
	if len(got) != 10 || got[0].Before(begun.Truncate(time.Millisecond)) || got[0].Sub(begun) > 6*time.Minute {
		t.Errorf("from now on: %v", got)
	}
	var out, errs bytes.Buffer
	root := rootCommand()
	root.SetIn(strings.NewReader(previewFile))
	root.SetArgs([]string{"schedules", "preview", "gate", "-f", "-", "--from", "2027-03-01", "--count", "1", "-o", "yaml"})
	root.SetOut(&out)
	root.SetErr(&errs)
	if err := root.ExecuteContext(t.Context()); err != nil || out.String() != "- \"2027-03-01T02:30:00-05:00\"\n" {
		t.Errorf("from stdin: %v %s%s", err, out.String(), errs.String())
	}
}

// TestPreviewOnline asks the scheduler for the schedule, the camera's place and
// its approval.
func TestPreviewOnline(t *testing.T) {
	c := newTerminal(t, "viewer")
	lat, lon := 38.72, -9.14
	c.f.Places["home"] = scheduler.SiteView{Site: fleet.Site{ID: "home", TZ: "Europe/Lisbon", Lat: &lat, Lon: &lon}}
	for _, s := range []calendar.Spec{
		{Name: "noon", Select: "*", Sun: calendar.List{"noon"}},
		{Name: "first", Select: "*", Once: "approval"},
	} {
		c.f.Planned = append(c.f.Planned, scheduler.ScheduleView{Spec: s, ID: fleet.ScheduleIDOf(s.Name), Revision: 1})
	}
	one, pending := fleet.CameraID(1).String(), fleet.CameraID(100).String()
	var got []time.Time
	c.json(&got, "schedules", "preview", "noon", "--camera", one, "--from", "2027-07-01", "--count", "1")
	if len(got) != 1 || got[0].Format("Z07:00") != "+01:00" || got[0].Sub(time.Date(2027, 7, 1, 12, 40, 0, 0, time.UTC)).Abs() > 3*time.Minute {
		t.Errorf("noon at Lisbon: %v", got)
	}
	c.json(&got, "schedules", "preview", "first", "--camera", one, "--from", "2020-01-01")
	if len(got) != 1 || fleet.At(got[0]) != admintest.Epoch {
		t.Errorf("once approved: %v, want %v", got, admintest.Epoch)
	}
	if code, out, errs := c.run("schedules", "preview", "demo", "--camera", pending, "--count", "1", "-o", "json"); code != 0 || !strings.Contains(out, "T") || !strings.Contains(errs, "is not approved") {
		t.Errorf("a pending camera: %d %s%s", code, out, errs)
	}
	if code, _, errs := c.run("schedules", "preview", "noon", "--from", "2027-07-01"); code != 0 || !strings.Contains(errs, "--lat and --lon") {
		t.Errorf("the sun of no site: %d %s", code, errs)
	}
}

func TestPreviewMistakes(t *testing.T) {
	c := newTerminal(t, "viewer")
	file := c.file("s.yaml", previewFile)
	broken := c.file("b.yaml", "schedules:\n  - name: a\n    select: '*'\n    evry: 5m\n")
	calendarless := c.file("c.yaml", "schedules:\n  - {name: a, select: '*', every: 1h, exclude: [{ics: none.ics}]}\n")
	c.file("bad.ics", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:noon\nEND:VEVENT\nEND:VCALENDAR\n")
	badCalendar := c.file("d.yaml", "schedules:\n  - {name: a, select: '*', every: 1h, exclude: {ics: bad.ics}}\n")
	c.file("large.ics", strings.Repeat("x", 3<<20))
	large := c.file("e.yaml", "schedules:\n  - {name: a, select: '*', every: 1h, exclude: {ics: large.ics}}\n")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"", 2, "preview wants NAME"},
		{"gate shelf -f " + file, 2, "preview wants NAME"},
		{"gate -f " + file + " --count 2 --until 2h", 2, "wants --until or --count, not both"},
		{"gate -f " + file + " --count 0", 2, "want 1 to 100000"},
		{"gate -f " + file + " --count 100001", 2, "want 1 to 100000"},
		{"gate -f " + file + " --from noon", 2, "--from noon: want a time such as"},
		{"gate -f " + file + " --until never", 2, "--until never: want a time such as 2027-03-01T06:00:00Z, or a date such as 2027-03-01, or a duration"},
		{"gate -f " + file + " --from 2027-03-01 --until 2027-03-01", 2, "is not after --from 2027-03-01T00:00:00-05:00"},
		{"gate -f " + file + " --lat 4", 2, "both --lat and --lon"},
		{"gate -f " + file + " --lon 4", 2, "both --lat and --lon"},
		{"gate -f " + file + " --lat 94 --lon 4", 2, "-90 to 90"},
		{"gate -f " + file + " --site-tz Mars/Olympus", 2, "--site-tz \"Mars/Olympus\": not in the IANA database"},
		{"gate -f " + file + " --camera gate", 2, "cameras ls"},
		{"gate -f " + file + " -o xml", 2, "table, json or yaml"},
		{"gate -f /nonexistent.yaml", 1, "/nonexistent.yaml"},
		{"nope -f " + file, 1, "There are: dawn, first, gate, morning, over, shelf, vines"},
		{"nope", 1, `no schedule "nope" in the scheduler: apply it, or name its file with -f. There are: demo`},
		{"demo --camera " + fleet.CameraID(99).String(), 1, "cameras ls"},
		{"a -f " + broken, 1, broken + `: schedules: [4:5] unknown field "evry"`},
		{"a -f " + calendarless, 1, "none.ics: no such file"},
		{"a -f " + badCalendar, 1, `exclude: ics: bad.ics: line 3: DTSTART: "noon": want a date`},
		{"a -f " + large, 1, "export fewer years"},
		{"shelf -f " + file + " --until 3000d", 1, "more than 100000 occurrences"},
	} {
		code, out, errs := c.run(append([]string{"schedules", "preview"}, c.words(tc.args)...)...)
		if code != tc.code || !strings.Contains(errs, tc.says) || out != "" {
			t.Errorf("preview %s: exit code %d, want %d with %q\nstdout: %s\nstderr: %s", tc.args, code, tc.code, tc.says, out, errs)
		}
	}
}

// TestApplyCalendars: the scheduler gets what the calendars say, not their
// names, and the same file applied again changes nothing.
func TestApplyCalendars(t *testing.T) {
	c := newTerminal(t, "operator")
	day := thisYear("12-25")
	c.file("holidays.ics", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:"+strings.ReplaceAll(day, "-", "")+"\nEND:VEVENT\nEND:VCALENDAR\n")
	file := c.file("s.yaml", "schedules:\n  - {name: shop, select: '*', cron: '0 9 * * *', exclude: ['01-01', {ics: holidays.ics}], retry: {cap: 2s}, retake: black, misfire: latest}\n")
	if code, out, errs := c.run("schedules", "apply", "-f", file); code != 0 {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	i := slices.IndexFunc(c.f.Planned, func(v scheduler.ScheduleView) bool { return v.Name == "shop" })
	if i < 0 {
		t.Fatalf("%+v", c.f.Planned)
	}
	want := `{"name":"shop","select":"*","cron":["0 9 * * *"],"exclude":["01-01","` + day + `"],"retry":{"attempts":2,"cap":"2s"},"misfire":"latest","retake":{"on":["black"]}}`
	if got := c.f.Planned[i].Spec; got.JSON() != want {
		t.Errorf("applied %s, want %s", got.JSON(), want)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	specs, err := parseSchedules(file, text, time.Now())
	if err != nil || len(specs) != 1 || specs[0].JSON() != want {
		t.Errorf("read again: %v, %v", specs, err)
	}
	bad := c.file("b.yaml", "schedules:\n  - {name: shop, select: '*', cron: '0 9 * * *', exclude: [{ics: gone.ics}]}\n")
	if code, _, errs := c.run("schedules", "apply", "-f", bad); code != 1 || !strings.Contains(errs, `line 2: schedule "shop": exclude: ics: open`) {
		t.Errorf("a calendar that is not there: %d %s", code, errs)
	}
	// What has no calendar goes as it is: the scheduler's faults name the lines.
	wrong := c.file("w.yaml", "schedules:\n  - name: a\n    select: '*'\n    evry: 5m\n")
	if code, _, errs := c.run("schedules", "apply", "-f", wrong); code != 1 || !strings.Contains(errs, `[4:5] unknown field "evry"`) {
		t.Errorf("a wrong key: %d %s", code, errs)
	}
	var plan map[string]json.RawMessage
	c.json(&plan, "schedules", "apply", "-f", file, "--dry-run")
	if string(plan["dry_run"]) != "true" {
		t.Errorf("dry run: %s", plan)
	}
}
