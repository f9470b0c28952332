package admin

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

// decode reads an answer of a status.
func decode[T any](t *testing.T, w *httptest.ResponseRecorder, status int) (v T) {
	t.Helper()
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != status {
		t.Fatalf("%d %s, want %d: %v", w.Code, w.Body, status, err)
	}
	return v
}

func TestPauses(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	if w := d.as("viewer", "GET", "/api/v1/pauses", ""); w.Body.String() != "{\"items\":[]}\n" {
		t.Errorf("no pause: %s", w.Body)
	}
	p := decode[Pause](t, d.as("operator", "POST", "/api/v1/pauses", `{"schedule":"demo","site":"home","for":"2h","reason":" cleaning "}`), 201)
	if p.ID != "pause-1" || p.Schedule != "demo" || p.Site != "home" || p.Camera != nil || *p.Until != epoch.Add(2*time.Hour) || p.By != "the operator" || p.Reason != "cleaning" || p.Cameras != nil {
		t.Errorf("%+v", p)
	}
	p = decode[Pause](t, d.as("operator", "POST", "/api/v1/pauses", `{"camera":"`+fleet.CameraID(3).String()+`","until":"2027-03-02T00:00:00+01:00"}`), 201)
	if *p.Camera != 3 || p.Until.String() != "2027-03-01T23:00:00.000Z" {
		t.Errorf("%+v", p)
	}
	p = decode[Pause](t, d.as("operator", "POST", "/api/v1/pauses", `{"all":true}`), 201)
	if p.Until != nil || p.Camera != nil || p.Site != "" || p.Schedule != "" {
		t.Errorf("%+v", p)
	}
	list := decode[List[Pause]](t, d.as("viewer", "GET", "/api/v1/pauses", ""), 200)
	if len(list.Items) != 3 || list.Items[0].ID != "pause-1" || list.Items[2].ID != "pause-3" {
		t.Errorf("%+v", list)
	}
	if w := d.as("viewer", "DELETE", "/api/v1/pauses/pause-1", ""); w.Code != 403 {
		t.Errorf("a viewer resumes: %d", w.Code)
	}
	if w := d.as("operator", "DELETE", "/api/v1/pauses/pause-1", ""); w.Code != 204 || len(d.f.Paused) != 2 {
		t.Errorf("%d %s, %d pauses", w.Code, w.Body, len(d.f.Paused))
	}
	if w := d.as("operator", "DELETE", "/api/v1/pauses/pause-1", ""); w.Code != 404 || !strings.Contains(w.Body.String(), "schedules pauses") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestPausePlans(t *testing.T) {
	for body, want := range map[string]int{
		`{"all":true}`:       9, // the tenth is ignored
		`{"schedule":"ups"}`: 1,
		`{"site":"home"}`:    9,
		`{"camera":"` + fleet.CameraID(3).String() + `","for":"1d"}`:    1,
		`{"camera":"` + fleet.CameraID(8).String() + `"}`:               0, // ignored
		`{"camera":"` + fleet.CameraID(2).String() + `","site":"home"}`: 1,
	} {
		f := admintest.New().Street()
		f.Planned = append(f.Planned, scheduler.ScheduleView{Spec: f.Planned[0].Spec})
		f.Planned[1].Name, f.Planned[1].Select = "ups", "id="+fleet.CameraID(2).String()
		d := newDoor(t, f, Options{})
		p := decode[Pause](t, d.as("operator", "POST", "/api/v1/pauses?dry_run=true", body), 200)
		if p.ID != "" || !p.DryRun || p.Cameras == nil || *p.Cameras != want || len(f.Paused) != 0 {
			t.Errorf("%s: %+v, want %d cameras", body, p, want)
		}
	}
}

func TestJobs(t *testing.T) {
	f := admintest.New()
	for i := range 7 {
		f.Add(fleet.CameraID(10*i+10), scheduler.StatusOK)
	}
	d := newDoor(t, f, Options{})
	w := d.as("operator", "POST", "/api/v1/jobs", `{"select":"floor=2","deadline":"30s","priority":"urgent"}`)
	j := decode[Job](t, w, 201)
	if j.ID != "job-1" || j.Books.Issued != 7 || j.Books.InFlight != 7 || j.Done || j.Select != "floor=2" || j.By != "the operator" || j.Deadline != epoch.Add(30*time.Second) || w.Header().Get("Location") != "/api/v1/jobs/job-1" {
		t.Errorf("%+v %v", j, w.Header())
	}
	if n := f.Asked[0]; n.Priority != fleet.PriorityUrgent || n.Deadline != 30*time.Second {
		t.Errorf("asked %+v", n)
	}
	for i := range 6 {
		f.Land("job-1", fleet.CameraID(10*i+10), [2]fleet.Cause{"", fleet.CauseTimeout}[i%2])
	}
	// Following the cursors reads each camera once, in order.
	var seen []string
	for path := "/jobs/job-1?limit=3"; path != ""; {
		w := d.as("viewer", "GET", apiBase+path, "")
		page := decode[JobDetail](t, w, 200)
		if len(page.Cameras) > 3 || page.Done || page.Books.Captured != 3 || page.Books.Failed != 3 || page.ID != "job-1" {
			t.Fatalf("%s", w.Body)
		}
		for _, c := range page.Cameras {
			s := fmt.Sprint(uint64(c.Camera), " in flight")
			if c.Outcome != nil {
				s = fmt.Sprint(uint64(c.Camera), " ", c.Outcome, " ", c.Cause, " ", c.Capture.Outcome)
			}
			seen = append(seen, s)
		}
		path = ""
		if page.Next != "" {
			if want := "</api/v1/jobs/job-1?after=" + page.Next + `&limit=3>; rel="next"`; w.Header().Get("Link") != want {
				t.Errorf("Link %s, want %s", w.Header().Get("Link"), want)
			}
			path = "/jobs/job-1?limit=3&after=" + page.Next
		}
	}
	if want := []string{
		"10 captured  captured", "20 failed timeout failed", "30 captured  captured", "40 failed timeout failed",
		"50 captured  captured", "60 failed timeout failed", "70 in flight",
	}; !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
	f.Land("job-1", 70, "")
	if page := decode[JobDetail](t, d.as("viewer", "GET", "/api/v1/jobs/job-1", ""), 200); !page.Done || page.Next != "" || len(page.Cameras) != 7 {
		t.Errorf("%+v", page)
	}
	// The same camera twice is one picture.
	ten := fleet.CameraID(10).String()
	j = decode[Job](t, d.as("operator", "POST", "/api/v1/jobs", `{"cameras":["`+ten+`","`+ten+`"]}`), 201)
	if j.Books.Issued != 1 || j.Deadline != epoch.Add(time.Minute) {
		t.Errorf("%+v", j)
	}
	list := decode[List[Job]](t, d.as("viewer", "GET", "/api/v1/jobs", ""), 200)
	if len(list.Items) != 2 || list.Items[0].ID != "job-2" || !list.Items[1].Done {
		t.Errorf("%+v", list)
	}
}

func TestJobPlans(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	j := decode[Job](t, d.as("operator", "POST", "/api/v1/jobs?dry_run=true", `{"select":"*","deadline":"1m30s"}`), 200)
	if j.ID != "" || !j.DryRun || j.Books.Issued != 9 || j.Deadline != epoch.Add(90*time.Second) {
		t.Errorf("%+v", j)
	}
	j = decode[Job](t, d.as("operator", "POST", "/api/v1/jobs?dry_run=true", `{"cameras":["`+fleet.CameraID(1).String()+`"]}`), 200)
	if j.Books.Issued != 1 || j.Deadline != epoch.Add(time.Minute) || len(d.f.Asked) != 0 {
		t.Errorf("%+v, asked %v", j, d.f.Asked)
	}
}

func TestIdempotencyKey(t *testing.T) {
	now := epoch.Time()
	d := newDoor(t, admintest.New().Street(), Options{Now: func() time.Time { return now }})
	ask := func(role, path, key, body string) *httptest.ResponseRecorder {
		return d.do(request{"POST", apiBase + path, body, map[string]string{"Authorization": "Bearer " + role, "Content-Type": "application/json", "Idempotency-Key": key}})
	}
	for _, step := range []struct {
		role, path, key, body string
		status                int
		id, replayed          string
	}{
		{"operator", "/jobs", "k1", `{"select":"*"}`, 201, "job-1", ""},
		{"operator", "/jobs", "k1", `{ "select": "*" }`, 201, "job-1", "true"}, // the same, written otherwise
		{"operator", "/jobs", "k1", `{"select":"floor=2"}`, 422, "", ""},
		{"operator", "/jobs", "k2", `{"select":"*"}`, 201, "job-2", ""},
		{"admin", "/jobs", "k1", `{"select":"*"}`, 201, "job-3", ""}, // somebody else's key
		{"operator", "/jobs", "", `{"select":"*"}`, 201, "job-4", ""},
		{"operator", "/pauses", "k1", `{"all":true}`, 201, "pause-1", ""}, // another operation
		{"operator", "/pauses", "k1", `{"all":true}`, 201, "pause-1", "true"},
		{"operator", "/pauses", "k1", `{"all":true,"for":"1h"}`, 422, "", ""},
		{"operator", "/pauses?dry_run=true", "k1", `{"all":true,"for":"1h"}`, 200, "", ""}, // a plan is no request
		{"operator", "/jobs", "k3", `{"select":"floor=9"}`, 422, "", ""},                   // a failure is not kept
		{"operator", "/jobs", "k3", `{"select":"*"}`, 201, "job-5", ""},
		{"operator", "/jobs", "two words", `{"select":"*"}`, 422, "", ""},
		{"operator", "/jobs", strings.Repeat("k", 256), `{"select":"*"}`, 422, "", ""},
		{"viewer", "/jobs", "k1", `{"select":"*"}`, 403, "", ""},
	} {
		w := ask(step.role, step.path, step.key, step.body)
		var got struct{ ID string }
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != step.status || got.ID != step.id || w.Header().Get("Idempotent-Replayed") != step.replayed {
			t.Errorf("%+v: %d %q %s %v", step, w.Code, w.Header().Get("Idempotent-Replayed"), w.Body, err)
		}
		if step.status == 422 && step.key == "k1" && !strings.Contains(w.Body.String(), "take a new key") {
			t.Errorf("%s", w.Body)
		}
	}
	now = now.Add(onceFor)
	if w := ask("operator", "/jobs", "k1", `{"select":"floor=2"}`); w.Code != 201 {
		t.Errorf("a day later: %d %s", w.Code, w.Body)
	}
}

func TestLoad(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	l := decode[Load](t, d.as("viewer", "GET", "/api/v1/load", ""), 200)
	if len(l.Due) != 3600 || len(l.Shaped) != 3600 || l.StepMS != 1000 || l.Peak != 41 || *l.PeakAt != epoch.Add(10*time.Second) || l.Total != 1840 || l.MeanPerS != 1840.0/3600 || l.ShapedPeak != 11 || l.Delayed != 30 || l.LongestMS != 3000 {
		l.Due, l.Shaped = nil, nil
		t.Errorf("%+v", l)
	}
	l = decode[Load](t, d.as("viewer", "GET", "/api/v1/load?window=2h&step=1m&site=home&from=2027-03-02T00:00:00Z", ""), 200)
	if q := d.f.Loads[1]; len(l.Due) != 120 || l.From != epoch.Add(18*time.Hour) || q.Window != 2*time.Hour || q.Step != time.Minute || q.Site != "home" || len(q.Specs) != 0 {
		t.Errorf("%+v for %+v", l, q)
	}
	w := d.do(request{"POST", "/api/v1/load?window=1m", "schedules:\n  - {name: a, select: \"*\", cron: \"0 * * * *\"}\n", map[string]string{"Authorization": "Bearer viewer", "Content-Type": "application/yaml"}})
	if l = decode[Load](t, w, 200); l.Peak != 141 || len(l.Due) != 60 || len(d.f.Loads[2].Specs) != 1 || d.f.Loads[2].Specs[0].Name != "a" || len(d.f.Planned) != 1 {
		t.Errorf("%+v for %+v", l, d.f.Loads[2])
	}
	d = newDoor(t, admintest.New(), Options{})
	if l = decode[Load](t, d.as("viewer", "GET", "/api/v1/load?window=10s", ""), 200); l.PeakAt != nil || l.Total != 0 || len(l.Due) != 10 {
		t.Errorf("nothing due: %+v", l)
	}
}

// TestPlanningMistakes holds each wrong input to a problem that says what to do.
func TestPlanningMistakes(t *testing.T) {
	one, pending, unknown := fleet.CameraID(1).String(), fleet.CameraID(100).String(), fleet.CameraID(99).String()
	for _, tc := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", "/pauses", `{}`, 422, "to pause everything, say all"},
		{"POST", "/pauses", `{"for":"2h"}`, 422, "to pause everything, say all"},
		{"POST", "/pauses", `{"all":true,"site":"home"}`, 422, "leave it out"},
		{"POST", "/pauses", `{"schedule":"shelv"}`, 422, "`shutterfleet schedules ls`"},
		{"POST", "/pauses", `{"site":"away"}`, 422, "`shutterfleet sites ls`"},
		{"POST", "/pauses", `{"camera":"gate"}`, 422, "camera"},
		{"POST", "/pauses", `{"camera":"` + unknown + `"}`, 404, "`shutterfleet cameras ls`"},
		{"POST", "/pauses", `{"camera":"` + one + `","site":"away"}`, 422, "is at site home"},
		{"POST", "/pauses", `{"all":true,"for":"2h","until":"2027-03-02T00:00:00Z"}`, 422, "not both"},
		{"POST", "/pauses", `{"all":true,"for":"2"}`, 422, "write 2s for seconds"},
		{"POST", "/pauses", `{"all":true,"for":"-2h"}`, 422, "want between"},
		{"POST", "/pauses", `{"all":true,"until":"2027-03-01T06:00:00Z"}`, 422, "is past"},
		{"POST", "/pauses", `{"all":true,"until":"tomorrow"}`, 422, "date-time"},
		{"POST", "/pauses", `{"all":true,"reason":"` + strings.Repeat("x", 501) + `"}`, 422, "500"},
		{"POST", "/pauses", `{"al":true}`, 422, "al"},
		{"POST", "/pauses", `{`, 400, ""},
		{"POST", "/pauses?dry_run=maybe", `{"all":true}`, 422, "dry_run"},
		{"POST", "/pauses?dry_run=true", `{"schedule":"shelv"}`, 422, "schedules ls"},
		{"DELETE", "/pauses/pause-9", "", 404, "`shutterfleet schedules pauses`"},
		{"POST", "/jobs", `{}`, 422, "`*` selects"},
		{"POST", "/jobs", `{"cameras":["` + one + `"],"select":"*"}`, 422, "not both"},
		{"POST", "/jobs", `{"cameras":["gate"]}`, 422, "cameras"},
		{"POST", "/jobs", `{"cameras":["` + unknown + `"]}`, 404, "`shutterfleet cameras ls`"},
		{"POST", "/jobs", `{"cameras":["` + pending + `"]}`, 422, "approve it first"},
		{"POST", "/jobs?dry_run=true", `{"cameras":["` + pending + `"]}`, 422, "approve it first"},
		{"POST", "/jobs?dry_run=true", `{"cameras":["` + unknown + `"]}`, 404, "cameras ls"},
		{"POST", "/jobs?dry_run=true", `{"select":"floor=9"}`, 422, "matches no approved camera"},
		{"POST", "/jobs", `{"select":"floor in"}`, 422, "select"},
		{"POST", "/jobs", `{"select":"*","deadline":"soon"}`, 422, "want a number and a unit"},
		{"POST", "/jobs", `{"select":"*","priority":"hurry"}`, 422, "low, normal, high, urgent"},
		{"GET", "/jobs/job-9", "", 404, "`shutterfleet jobs ls`"},
		{"GET", "/jobs/job-9?after=x", "", 422, "after"},
		{"GET", "/jobs/job-9?limit=0", "", 422, "limit"},
		{"GET", "/load?window=25h", "", 422, "want 1s to 24h"},
		{"GET", "/load?window=soon", "", 422, "want a number and a unit"},
		{"GET", "/load?step=10ms", "", 422, "want 1s to 24h"},
		{"GET", "/load?step=2h", "", 422, "longer than the window"},
		{"GET", "/load?site=away", "", 422, "`shutterfleet sites ls`"},
		{"GET", "/load?from=noon", "", 422, "from"},
		{"POST", "/load?window=25h", `{"yaml":"schedules: [{name: a, select: \"*\", every: 5m}]"}`, 422, "want 1s to 24h"},
		{"POST", "/load", `{"yaml":"schedules: [{name: a, evry: 5m}]"}`, 422, "evry"},
		{"PATCH", "/sites/home?dry_run=true", `{"tz":"Nowhere/Land"}`, 422, "tz"},
		{"PATCH", "/sites/home", `{"burst":-1}`, 422, "burst"},
	} {
		d := newDoor(t, admintest.New().Street(), Options{})
		w := d.as("operator", tc.method, apiBase+tc.path, tc.body)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.says) || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s %s: %d %s, want %d with %q", tc.method, tc.path, tc.body, w.Code, w.Body, tc.status, tc.says)
		}
		if len(d.f.Paused)+len(d.f.Asked)+len(d.f.Loads) > 0 {
			t.Errorf("%s %s %s: something was done", tc.method, tc.path, tc.body)
		}
	}
}

func TestSitePlan(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	s := decode[Site](t, d.as("operator", "PATCH", "/api/v1/sites/home?dry_run=true", `{"burst":4,"tz":"Europe/Lisbon"}`), 200)
	if s.Burst != 4 || s.TZ != "Europe/Lisbon" || s.Cameras != 10 || d.f.Places["home"].Burst != 0 {
		t.Errorf("plan %+v, stored %+v", s, d.f.Places["home"])
	}
	s = decode[Site](t, d.as("operator", "PATCH", "/api/v1/sites/home", `{"burst":4}`), 200)
	if s.Burst != 4 || d.f.Places["home"].Burst != 4 {
		t.Errorf("%+v, stored %+v", s, d.f.Places["home"])
	}
	s = decode[Site](t, d.as("operator", "PATCH", "/api/v1/sites/home", `{"burst":0}`), 200)
	if cmp.Or(s.Burst, d.f.Places["home"].Burst) != 0 {
		t.Errorf("%+v, stored %+v", s, d.f.Places["home"])
	}
}
