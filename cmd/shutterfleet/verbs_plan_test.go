package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

func TestPauseAndResume(t *testing.T) {
	c := newTerminal(t, "operator")
	three := fleet.CameraID(3).String()
	var p struct {
		ID, Schedule, Camera, Site, Until, By, Reason string
		Cameras                                       *int
	}
	c.json(&p, "schedules", "pause", "demo", "--site", "home", "--for", "2h", "--dry-run")
	if p.ID != "" || p.Cameras == nil || *p.Cameras != 9 || len(c.f.Paused) != 0 {
		t.Errorf("dry run: %+v, %v", p, c.f.Paused)
	}
	if code, out, errs := c.run("schedules", "pause", "--all", "--dry-run"); code != 0 || out != "would pause all until it is resumed: 9 cameras\n" || !strings.Contains(errs, "dry run") {
		t.Errorf("dry run: %d %q %q", code, out, errs)
	}
	c.json(&p, "schedules", "pause", "demo", "--site", "home", "--for", "2h", "--reason", "cleaning")
	if p.ID != "pause-1" || p.Schedule != "demo" || p.Site != "home" || p.Until == "" || p.By != "the operator" || p.Reason != "cleaning" {
		t.Errorf("%+v", p)
	}
	if code, out, errs := c.run("schedules", "pause", "--camera", three, "--until", "2100-01-01T00:00:00Z"); code != 0 || out != "paused camera "+three+" until 2100-01-01 00:00:00Z; `shutterfleet schedules resume pause-2` ends it\n" {
		t.Errorf("%d %q %s", code, out, errs)
	}
	for _, args := range [][]string{{"demo"}, {"--all"}} {
		if code, _, errs := c.run(append([]string{"schedules", "pause"}, args...)...); code != 0 {
			t.Errorf("%v: %s", args, errs)
		}
	}
	_, out, _ := c.run("schedules", "pauses")
	for _, want := range []string{"ID ", "schedule demo, site home", "camera " + three, "2100-01-01", "cleaning", "pause-4  all"} {
		if !strings.Contains(out, want) {
			t.Errorf("pauses lack %q:\n%s", want, out)
		}
	}

	// An id ends one, a name all of its schedule, --all the rest.
	var ended []struct{ ID string }
	if code, out, _ := c.run("schedules", "resume", "demo", "--dry-run"); code != 0 || !strings.Contains(out, "would resume schedule demo, site home (pause-1)") || len(c.f.Paused) != 4 {
		t.Errorf("dry run: %d %s", code, out)
	}
	c.json(&ended, "schedules", "resume", "pause-2")
	if len(ended) != 1 || ended[0].ID != "pause-2" || len(c.f.Paused) != 3 {
		t.Errorf("%v, %v", ended, c.f.Paused)
	}
	c.json(&ended, "schedules", "resume", "demo")
	if len(ended) != 2 || len(c.f.Paused) != 1 {
		t.Errorf("%v, %v", ended, c.f.Paused)
	}
	if code, out, _ := c.run("schedules", "resume", "--all"); code != 0 || out != "resumed all (pause-4)\n" || len(c.f.Paused) != 0 {
		t.Errorf("%d %q %v", code, out, c.f.Paused)
	}
	if code, out, errs := c.run("schedules", "resume", "--all"); code != 0 || out != "" || !strings.Contains(errs, "nothing is paused") {
		t.Errorf("nothing to resume: %d %q %q", code, out, errs)
	}
	c.json(&ended, "schedules", "pauses")
	if ended == nil || len(ended) != 0 {
		t.Errorf("no pause is printed as %v, want []", ended)
	}
}

// landing ends the parts of jobs as an agent would, a little later.
func landing(t *testing.T, f *admintest.Fleet, cause func(fleet.CameraID) (fleet.Cause, bool)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			jobs, err := f.Jobs(ctx)
			if err != nil {
				return
			}
			for _, j := range jobs {
				for id := range fleet.CameraID(20) {
					if why, yes := cause(id); yes {
						f.Land(j.ID, id, why)
					}
				}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
}

type jobJSON struct {
	ID      string
	Done    bool
	Books   fleet.Books
	Cameras []struct{ Camera, Outcome, Cause, Detail string }
}

func TestCaptureNow(t *testing.T) {
	c := newTerminal(t, "operator")
	landing(t, c.f, func(id fleet.CameraID) (fleet.Cause, bool) {
		if id == 3 {
			return fleet.CauseTimeout, true
		}
		return "", true
	})
	one, three := fleet.CameraID(1).String(), fleet.CameraID(3).String()
	var j jobJSON
	c.json(&j, "capture", "now", one, three, "--dry-run")
	if j.ID != "" || j.Books.Issued != 2 || len(c.f.Asked) != 0 {
		t.Errorf("dry run: %+v", j)
	}
	c.json(&j, "capture", "now", "--wait", one, "--priority", "high", "--deadline", "30s")
	if !j.Done || len(j.Cameras) != 1 || j.Cameras[0].Camera != one || j.Cameras[0].Outcome != "captured" {
		t.Errorf("%+v", j)
	}
	if n := c.f.Asked[0]; n.Priority != fleet.PriorityHigh || n.Deadline != 30*time.Second || n.By != "the operator" {
		t.Errorf("asked %+v", n)
	}
	code, out, errs := c.run("capture", "now", "--select", "floor=2", "--wait")
	if code != 1 || !strings.Contains(errs, "9 of 9 done: 8 captured, 1 failed") || !strings.Contains(errs, "shutterfleet: 1 of 9 cameras were not captured") {
		t.Errorf("%d %s", code, errs)
	}
	for _, want := range []string{one + "  captured", three + "  failed    timeout", "1280x720 h264", "it said no", "7ms"} {
		if !strings.Contains(out, want) {
			t.Errorf("the outcomes lack %q:\n%s", want, out)
		}
	}
	// Not waiting, it says where the outcomes will be.
	code, out, errs = c.run("capture", "now", three)
	if code != 0 || !strings.Contains(out, "job-3") || !strings.Contains(errs, "`shutterfleet jobs show job-3`") {
		t.Errorf("%d %s%s", code, out, errs)
	}
	var jobs []jobJSON
	c.json(&jobs, "jobs", "ls")
	if len(jobs) != 3 || jobs[0].ID != "job-3" {
		t.Errorf("%+v", jobs)
	}
	c.json(&j, "jobs", "show", "job-2")
	if len(j.Cameras) != 9 || j.Cameras[2].Camera != three || j.Cameras[2].Cause != "timeout" || j.Books.Failed != 1 {
		t.Errorf("%+v", j)
	}
	if _, out, _ := c.run("jobs", "ls"); !strings.HasPrefix(out, "ID ") || !strings.Contains(out, "floor=2") {
		t.Errorf("jobs ls: %s", out)
	}
}

func TestJobOfManyPages(t *testing.T) {
	c := newTerminal(t, "operator")
	for i := range 2300 {
		c.f.Add(fleet.CameraID(1000+i), scheduler.StatusOK)
	}
	var j jobJSON
	c.json(&j, "capture", "now", "--select", "*")
	c.json(&j, "jobs", "show", j.ID)
	if len(j.Cameras) != 2309 || j.Done || j.Cameras[0].Outcome != "" {
		t.Errorf("%d cameras, done %v", len(j.Cameras), j.Done)
	}
	if _, out, _ := c.run("jobs", "show", j.ID); strings.Count(out, "in flight") != 2309 {
		t.Errorf("%d in flight", strings.Count(out, "in flight"))
	}
}

// TestCaptureNowGivesUp waits for a camera whose agent never reports.
func TestCaptureNowGivesUp(t *testing.T) {
	c := newTerminal(t, "operator")
	landing(t, c.f, func(id fleet.CameraID) (fleet.Cause, bool) { return "", id == 1 })
	try := func(ctx context.Context, w waiting, said func(), args ...string) (string, error) {
		var d door
		errs := telling{then: said}
		cmd := captureNow(&d, w)
		d.join(cmd)
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetArgs(args)
		cmd.SetOut(&bytes.Buffer{})
		cmd.SetErr(&errs)
		err := cmd.ExecuteContext(ctx)
		return errs.String(), err
	}
	one, two := fleet.CameraID(1).String(), fleet.CameraID(2).String()
	// Long enough on a busy machine for the other camera to be done, in the end.
	soon := waiting{every: 10 * time.Millisecond, grace: 100 * time.Millisecond}
	said, err := try(t.Context(), soon, func() {}, "--wait", "--deadline", "100ms", one, two)
	for !strings.Contains(said, "1 of 2 done") && soon.grace < time.Minute {
		soon.grace *= 4
		said, err = try(t.Context(), soon, func() {}, "--wait", "--deadline", "100ms", one, two)
	}
	if err == nil || !strings.Contains(err.Error(), "1 of 2 cameras are in flight long after the deadline") || !strings.Contains(said, "1 of 2 done") {
		t.Errorf("%v, said %s", err, said)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err = try(ctx, soon, cancel, "--wait", two)
	jobs, jerr := c.f.Jobs(t.Context())
	if jerr != nil || err == nil || !strings.Contains(err.Error(), "`shutterfleet jobs show "+jobs[0].ID+"`") {
		t.Errorf("given up: %v (%v)", err, jerr)
	}
}

// telling is a buffer that tells of each write.
type telling struct {
	bytes.Buffer
	then func()
}

func (b *telling) Write(p []byte) (int, error) {
	b.then()
	return b.Buffer.Write(p)
}

func TestSchedulesLoad(t *testing.T) {
	c := newTerminal(t, "viewer")
	t.Setenv("COLUMNS", "72")
	var l admin.Load
	c.json(&l, "schedules", "load", "--window", "10m", "--step", "1m", "--site", "home")
	if len(l.Due) != 10 || c.f.Loads[0].Step != time.Minute || c.f.Loads[0].Site != "home" {
		t.Errorf("%+v", l)
	}
	file := c.file("s.yaml", "schedules:\n  - {name: herd, select: \"*\", cron: \"0 * * * *\"}\n")
	c.json(&l, "schedules", "load", "-f", file, "--from", "2027-03-01T07:00:00Z")
	if l.Peak != 141 || c.f.Loads[1].From != admintest.Epoch.Add(time.Hour) || c.f.Loads[1].Specs[0].Name != "herd" || len(c.f.Planned) != 1 {
		t.Errorf("peak %d of %+v", l.Peak, c.f.Loads[1])
	}
	code, out, errs := c.run("schedules", "load")
	if code != 0 || !strings.Contains(out, "peak 41 at 2027-03-01 06:00:10Z, mean 0.511 per second, 1840 captures in all") || !strings.Contains(out, "shaping delays 30 captures, by 3s at most: the peak is then 11") {
		t.Errorf("%d %s%s", code, out, errs)
	}
}

// TestDrawLoad reads charts like pictures.
func TestDrawLoad(t *testing.T) {
	at := admintest.Epoch.Add(12 * time.Second)
	herd := admin.Load{From: admintest.Epoch, StepMS: 1000, Due: make([]uint32, 3600), Shaped: make([]uint32, 3600), Peak: 120, PeakAt: &at, Total: 3719, MeanPerS: 3719. / 3600, ShapedPeak: 31, Delayed: 90, LongestMS: 3000}
	for i := range herd.Due {
		herd.Due[i], herd.Shaped[i] = 1, 1
	}
	herd.Due[12] = 120
	for i := range 4 {
		herd.Shaped[12+i] = 31
	}
	few := admin.Load{From: admintest.Epoch, StepMS: 60_000, Due: []uint32{0, 4, 8, 2, 1}, Shaped: []uint32{0, 4, 8, 2, 1}, Peak: 8, PeakAt: &at, Total: 15, MeanPerS: 15. / 300}
	none := admin.Load{From: admintest.Epoch, StepMS: 1000, Due: make([]uint32, 60), Shaped: make([]uint32, 60)}
	for name, l := range map[string]admin.Load{"herd": herd, "few": few, "none": none} {
		for _, width := range []int{40, 72, 200} {
			var b bytes.Buffer
			drawLoad(&b, l, width)
			for line := range strings.Lines(b.String()) {
				if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > width && strings.ContainsAny(line, "│└") {
					t.Errorf("%s at %d: a line of %d columns: %s", name, width, n, line)
				}
			}
			if width != 72 {
				continue
			}
			file := filepath.Join("testdata", "load-"+name+".txt")
			if *update {
				if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("%s is drawn\n%s, want\n%s", name, b.String(), want)
			}
		}
	}
}

func TestSitesSetBurst(t *testing.T) {
	c := newTerminal(t, "operator")
	var s struct {
		ID    string
		Burst float64
	}
	c.json(&s, "sites", "set", "home", "--burst", "2.5", "--dry-run")
	if s.Burst != 2.5 || c.f.Places["home"].Burst != 0 {
		t.Errorf("dry run: %+v, stored %v", s, c.f.Places["home"])
	}
	c.json(&s, "sites", "set", "home", "--burst", "2.5")
	if s.Burst != 2.5 || c.f.Places["home"].Burst != 2.5 {
		t.Errorf("%+v, stored %v", s, c.f.Places["home"])
	}
	if _, out, _ := c.run("sites", "ls"); !regexp.MustCompile(`(?m)^home .* 2\.5/s `).MatchString(out) {
		t.Errorf("sites ls: %s", out)
	}
}

// TestPlanningMistakes holds each mistake to its exit code and to naming its fix.
func TestPlanningMistakes(t *testing.T) {
	c := newTerminal(t, "operator")
	one, unknown, pending := fleet.CameraID(1).String(), fleet.CameraID(99).String(), fleet.CameraID(100).String()
	stranger := c.file("stranger", "viewer")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"schedules pause", 2, "--all"},
		{"schedules pause --for 2h", 2, "--all"},
		{"schedules pause demo --all", 2, "leave it out"},
		{"schedules pause demo other", 2, "one NAME at most"},
		{"schedules pause demo --for 2h --until 2100-01-01T00:00:00Z", 2, "not both"},
		{"schedules pause demo --for 2", 2, "write 2s"},
		{"schedules pause demo --until tomorrow", 2, "--for takes a length"},
		{"schedules pause demo --until 2001-01-01T00:00:00Z", 1, "is past"},
		{"schedules pause --camera gate", 2, "cameras ls"},
		{"schedules pause --camera " + unknown, 1, "cameras ls"},
		{"schedules pause --site away", 1, "sites ls"},
		{"schedules pause demos", 1, "schedules ls"},
		{"schedules pause demo --token-file " + stranger, 1, "needs the role operator"},
		{"schedules resume", 2, "--all"},
		{"schedules resume demo --all", 2, "--all"},
		{"schedules resume demo", 1, "schedules pauses"},
		{"schedules pauses demo", 2, "takes no argument"},
		{"schedules load --window soon", 2, "want a number and a unit"},
		{"schedules load --window 25h", 1, "want 1s to 24h"},
		{"schedules load --step 2h", 1, "longer than the window"},
		{"schedules load --from noon", 2, "want a time"},
		{"schedules load --site away", 1, "sites ls"},
		{"schedules load -f /nonexistent.yaml", 1, "/nonexistent.yaml"},
		{"schedules load -f " + c.file("bad.yaml", "schedules:\n  - {name: a, evry: 5m}\n"), 1, "evry"},
		{"capture", 2, "There are: now"},
		{"capture now", 2, "--select"},
		{"capture now gate", 2, "cameras ls"},
		{"capture now " + one + " --select *", 2, "--select"},
		{"capture now --select floor=(", 2, "--select"},
		{"capture now " + one + " --deadline soon", 2, "want a number and a unit"},
		{"capture now " + one + " --priority hurry", 2, "urgent"},
		{"capture now " + unknown, 1, "cameras ls"},
		{"capture now " + pending, 1, "approve it first"},
		{"capture now --select floor=9 --dry-run", 1, "matches no approved camera"},
		{"capture now --wait " + one + " --token-file " + stranger, 1, "needs the role operator"},
		{"jobs show", 2, "wants ID"},
		{"jobs show job-9", 1, "jobs ls"},
		{"sites set home --burst -1", 2, "0 for no bound"},
		{"sites set home --burst many", 2, "burst"},
		{"sites set home --dry-run", 2, "--burst"},
	} {
		code, out, errs := c.run(c.words(tc.args)...)
		if code != tc.code || !strings.Contains(errs, tc.says) || out != "" {
			t.Errorf("shutterfleet %s: exit code %d, want %d with %q\nstdout: %s\nstderr: %s", tc.args, code, tc.code, tc.says, out, errs)
		}
	}
	if len(c.f.Paused)+len(c.f.Asked) > 0 {
		t.Errorf("something was done: %v %v", c.f.Paused, c.f.Asked)
	}
	for _, args := range [][]string{{"jobs", "ls"}, {"schedules", "pauses"}} {
		if code, out, errs := c.run(args...); code != 0 || out != "" || errs == "" {
			t.Errorf("%v of nothing: %d %q %q", args, code, out, errs)
		}
	}
}
