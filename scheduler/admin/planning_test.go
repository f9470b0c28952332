package admin

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

func TestSchedulesPage(t *testing.T) {
	f := admintest.New().Street()
	f.Planned = append(f.Planned, scheduler.ScheduleView{Spec: f.Planned[0].Spec})
	f.Planned[1].Name = "shelf"
	d := newDoor(t, f, Options{})
	page := d.as("operator", "GET", "/schedules", "").Body.String()
	for _, want := range []string{
		`<title id="load-t">Captures per second, 06:00 to 07:00 UTC</title>`, "Peak 41 per second at 06:00:10, mean 0.511, 1\u202f840 captures in all.",
		"delays 30 of them, by 3s at most: the peak is then 11 (the line).", `<path class="due"`, `<path class="shaped"`, "<span>06:15</span>",
		`<button form="pause" name="schedule" value="shelf"`, "<option>home</option>", `<option value="1h" selected>`, "Pause everything",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, `id="pauses"`) {
		t.Error("a table of no pauses is shown")
	}
	h := d.signIn("operator")
	for _, body := range []string{"schedule=shelf&for=1h&reason=%3Cb%3E", "what=site&site=home"} {
		if w := d.do(request{"POST", "/pauses", body, h}); w.Code != 303 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	page = d.as("operator", "GET", "/schedules", "").Body.String()
	for _, want := range []string{
		"<b>schedule shelf</b>", "&lt;b&gt;", "<b>site home</b>", "it is resumed", `<b>shelf</b><span class="why">paused until 2027-03-01 07:00:00</span>`,
		"<b>demo</b></td>", `action="/pauses/pause-1/resume"`, `aria-label="Resume site home"`, "the operator",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page with pauses lacks %q", want)
		}
	}
	if w := d.do(request{"POST", "/pauses/pause-1/resume", "", h}); w.Code != 303 || len(f.Paused) != 1 {
		t.Errorf("resume: %d, %v", w.Code, f.Paused)
	}
	if page := d.as("viewer", "GET", "/schedules", "").Body.String(); strings.Contains(page, "<button form") || strings.Contains(page, "/resume") || !strings.Contains(page, "<b>site home</b>") {
		t.Error("a viewer is offered to pause, or does not see what is paused")
	}
	// What is paused wholly says so at every schedule.
	f.Paused = []scheduler.Pause{{ID: "p", From: epoch}}
	if page := d.as("viewer", "GET", "/schedules", "").Body.String(); strings.Count(page, `<span class="why">paused</span>`) != 2 || !strings.Contains(page, "<b>everything</b>") {
		t.Error("a pause of everything does not show at the schedules")
	}
}

// unloaded is a fleet whose load cannot be counted.
type unloaded struct {
	*admintest.Fleet
	err error
}

func (u unloaded) Load(ctx context.Context, q scheduler.LoadQuery) (scheduler.LoadView, error) {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > chartTime {
		return scheduler.LoadView{}, errors.New("nobody waits that long for a page")
	}
	return scheduler.LoadView{}, u.err
}

func TestSchedulesPageWithoutChart(t *testing.T) {
	for err, want := range map[error]string{
		fmt.Errorf("count: %w", context.DeadlineExceeded): "shutterfleet schedules load shows it",
		errors.New("disk I/O error at page 7"):            "the scheduler&#39;s log says why",
	} {
		d := newDoor(t, admintest.New().Street(), Options{})
		d.a.s = unloaded{d.f, err}
		w := d.as("operator", "GET", "/schedules", "")
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) || !strings.Contains(w.Body.String(), "every 2s") || strings.Contains(w.Body.String(), "page 7") {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
}

// slow is a fleet whose load takes until its asker gives up.
type slow struct {
	*admintest.Fleet
	at, most atomic.Int32 // askers at work, now and at most
}

func (s *slow) Load(ctx context.Context, _ scheduler.LoadQuery) (scheduler.LoadView, error) {
	s.most.Store(max(s.most.Load(), s.at.Add(1)))
	defer s.at.Add(-1)
	<-ctx.Done()
	return scheduler.LoadView{}, ctx.Err()
}

func TestLoadsAreCountedOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, admintest.New().Street(), Options{})
		s := &slow{Fleet: d.f}
		d.a.s = s
		began := time.Now()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if w := d.as("viewer", "GET", "/api/v1/load", ""); w.Code != 504 || !strings.Contains(w.Body.String(), "shorter window") {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
			wg.Go(func() {
				if w := d.as("viewer", "GET", "/schedules", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "takes too long to count") {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); s.most.Load() != 1 || took != loadTime {
			t.Errorf("%d at a time, %v in all", s.most.Load(), took)
		}
	})
}

func TestCaptureNowOnThePage(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	path := "/cameras/" + fleet.CameraID(1).String()
	if page := d.as("viewer", "GET", path, "").Body.String(); strings.Contains(page, "Capture now") {
		t.Error("a viewer is offered to capture")
	}
	if page := d.as("operator", "GET", "/cameras/"+fleet.CameraID(8).String(), "").Body.String(); strings.Contains(page, "Capture now") {
		t.Error("an ignored camera is offered to capture")
	}
	if page := d.as("operator", "GET", path, "").Body.String(); !strings.Contains(page, `action="`+path+`/capture"><button class="main">Capture now`) || !strings.Contains(page, `<div id="job" role="status"></div>`) {
		t.Error("no button to capture")
	}
	h := d.signIn("operator")
	for range 2 {
		if w := d.do(request{"POST", path + "/capture", "", h}); w.Code != 303 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	d.f.Land("job-2", 1, fleet.CauseRefused)
	for query, want := range map[string]string{
		"?job=job-1": "on its way, wanted until 2027-03-01 06:01:00", "?job=job-2": "failed: refused", "?job=job-9": "among the captures below",
	} {
		if page := d.as("viewer", "GET", path+query, "").Body.String(); !strings.Contains(page, want) {
			t.Errorf("%s lacks %q: %s", query, want, page)
		}
	}
	d.f.Land("job-1", 1, "")
	if page := d.as("viewer", "GET", path+"?job=job-1", "").Body.String(); !strings.Contains(page, "<span>captured</span>") || !strings.Contains(page, "1280×720 h264 over rtsp, 51 kB") {
		t.Errorf("captured: %s", page)
	}
	// Another camera's job is not this one's.
	if page := d.as("viewer", "GET", "/cameras/"+fleet.CameraID(2).String()+"?job=job-1", "").Body.String(); !strings.Contains(page, "among the captures below") {
		t.Errorf("another camera: %s", page)
	}
}

func TestPausedCameraSaysSo(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	path := "/cameras/" + fleet.CameraID(1).String()
	for _, tc := range []struct {
		pause scheduler.Pause
		says  string
	}{
		{scheduler.Pause{By: "me", Until: epoch.Add(time.Hour), Reason: "storm"}, "Paused by me until 2027-03-01 07:00:00: storm"},
		{scheduler.Pause{Camera: 1}, "Paused by an operator until it is resumed"},
		{scheduler.Pause{Site: "home", By: "me"}, "Paused by me"},
		{scheduler.Pause{Site: "home", Camera: 1, By: "me"}, "Paused by me"},
		{scheduler.Pause{Schedule: "demo", By: "me"}, ""}, // others may photograph it
		{scheduler.Pause{Camera: 2, By: "me"}, ""},
		{scheduler.Pause{Site: "away", By: "me"}, ""},
	} {
		d.f.Paused = []scheduler.Pause{tc.pause}
		page := d.as("viewer", "GET", path, "").Body.String()
		if !strings.Contains(page, tc.says) || tc.says == "" && strings.Contains(page, "Paused by") {
			t.Errorf("%+v: want %q in %s", tc.pause, tc.says, page)
		}
	}
}

// TestChart holds the paths to what they draw: read back, each column is as
// high as the highest of its buckets, to a percent.
func TestChart(t *testing.T) {
	bars := regexp.MustCompile(`M(\d+) 100v-(\d+)h(\d+)v(\d+)z`)
	rapid.Check(t, func(t *rapid.T) {
		due := rapid.SliceOfN(rapid.OneOf(rapid.Just(uint32(0)), rapid.Just(uint32(1)), rapid.Uint32Range(0, 1e6)), 1, 4000).Draw(t, "due")
		l := Load{From: epoch, StepMS: 1000, Due: due, Shaped: due, PeakAt: new(fleet.Instant)}
		for _, n := range due {
			l.Total += uint64(n)
			l.Peak = max(l.Peak, n)
		}
		c := chartOf(l)
		got := make([]int, chartWidth)
		drawn := 0
		for _, m := range bars.FindAllStringSubmatch(c.Bars, -1) {
			var at, high, wide int
			if _, err := fmt.Sscan(m[1]+" "+m[2]+" "+m[3], &at, &high, &wide); err != nil || m[4] != m[2] || high == 0 || high > chartHeight || at+wide > chartWidth {
				t.Fatalf("%s: %v", m[0], err)
			}
			for i := range wide {
				got[at+i] = high
			}
			drawn += len(m[0])
		}
		if drawn != len(c.Bars) || len(c.Bars) > 10_000 || c.Line != "" {
			t.Fatalf("%d of %d bytes are bars: %s", drawn, len(c.Bars), c.Bars)
		}
		for i, h := range got {
			from := i * len(due) / chartWidth
			highest := uint32(0)
			for _, n := range due[from:max(from+1, (i+1)*len(due)/chartWidth)] {
				highest = max(highest, n)
			}
			want := 100 * float64(highest) / float64(max(l.Peak, 1))
			if float64(h) < want-1e-9 || float64(h) > want+1 || (h == 0) != (highest == 0) {
				t.Fatalf("column %d is %d high, want %.2f", i, h, want)
			}
		}
	})
}

func TestChartLine(t *testing.T) {
	at := epoch
	l := Load{From: epoch, StepMS: 1000, Due: make([]uint32, 3600), Shaped: make([]uint32, 3600), Peak: 40, PeakAt: &at, Total: 40, ShapedPeak: 10, Delayed: 30, LongestMS: 3000}
	l.Due[0] = 40
	for i := range 40 {
		l.Shaped[i] = 10
	}
	if c := chartOf(l); c.Bars != "M0 100v-100h1v100z" || c.Line != "M0 75h4V100h356" {
		t.Errorf("bars %s, line %s", c.Bars, c.Line)
	}
	if c := chartOf(Load{From: epoch, StepMS: 1000, Due: make([]uint32, 60), Shaped: make([]uint32, 60)}); c.Bars != "" || c.Line != "" || !strings.Contains(c.Says, "Nothing is due") {
		t.Errorf("%+v", c)
	}
}
