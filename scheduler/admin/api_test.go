package admin

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestOpenAPI(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{Version: "v0"})
	w := d.do(request{path: "/api/openapi.json"})
	var doc struct {
		OpenAPI    string
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatalf("%v\n%s", err, w.Body)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1.") {
		t.Errorf("openapi is %q, want 3.1", doc.OpenAPI)
	}
	for _, p := range []string{"/api/v1/cameras", "/api/v1/cameras/{id}", "/api/v1/cameras/enrol", "/api/v1/cameras/{id}/thumbnail.jpg", "/api/v1/books", "/api/v1/match", "/api/v1/events", "/api/v1/audit", "/api/v1/pauses", "/api/v1/pauses/{id}", "/api/v1/jobs", "/api/v1/jobs/{id}", "/api/v1/load"} {
		if doc.Paths[p] == nil {
			t.Errorf("%s is not described", p)
		}
	}
	// Every reference must lead somewhere.
	for _, m := range regexp.MustCompile(`#/components/schemas/([^"]+)`).FindAllStringSubmatch(w.Body.String(), -1) {
		if doc.Components.Schemas[m[1]] == nil {
			t.Errorf("%s leads nowhere", m[0])
		}
	}
	var pretty any
	if err := json.Unmarshal(w.Body.Bytes(), &pretty); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(pretty, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "openapi.json", append(got, '\n'))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != string(got) {
		t.Errorf("%s differs from what the code says: read the change, then run this test with -update", file)
	}
}

func TestRoles(t *testing.T) {
	for _, tc := range []struct {
		method, path, body string
		needs              string
	}{
		{"GET", "/cameras", "", "viewer"},
		{"GET", "/cameras/" + fleet.CameraID(1).String(), "", "viewer"},
		{"GET", "/cameras/" + fleet.CameraID(1).String() + "/thumbnail.jpg", "", "viewer"},
		{"GET", "/captures", "", "viewer"},
		{"GET", "/books", "", "viewer"},
		{"GET", "/sites", "", "viewer"},
		{"GET", "/schedules", "", "viewer"},
		{"GET", "/agents", "", "viewer"},
		{"GET", "/audit?from=2027-03-01T05:00:00Z", "", "viewer"},
		{"GET", "/keys", "", "operator"},
		{"GET", "/credentials", "", "operator"},
		{"POST", "/cameras", `{"site":"home","url":"rtsp://192.0.2.9/s"}`, "operator"},
		{"PATCH", "/cameras/" + fleet.CameraID(1).String(), `{"name":"gate"}`, "operator"},
		{"POST", "/cameras/enrol", `{"all":true,"state":"approved"}`, "operator"},
		{"PATCH", "/sites/home", `{"tz":"Europe/Lisbon"}`, "operator"},
		{"POST", "/schedules/apply", `{"yaml":"schedules: [{name: a, select: \"*\", every: 5m}]"}`, "operator"},
		{"POST", "/credentials", `{"site":"home","user":"u","password":"p"}`, "operator"},
		{"GET", "/cameras/" + fleet.CameraID(1).String() + "/mask", "", "viewer"},
		{"PUT", "/cameras/" + fleet.CameraID(1).String() + "/mask", half, "operator"},
		{"PUT", "/cameras/" + fleet.CameraID(1).String() + "/mask?dry_run=true", half, "operator"},
		{"DELETE", "/cameras/" + fleet.CameraID(1).String() + "/mask", "", "operator"},
		{"GET", "/pauses", "", "viewer"},
		{"POST", "/pauses", `{"all":true}`, "operator"},
		{"POST", "/pauses?dry_run=true", `{"all":true}`, "operator"},
		{"GET", "/jobs", "", "viewer"},
		{"POST", "/jobs", `{"select":"*"}`, "operator"},
		{"GET", "/load", "", "viewer"},
		{"POST", "/load", `{"yaml":"schedules: [{name: a, select: \"*\", every: 5m}]"}`, "viewer"},
		{"POST", "/keys", `{"site":"home"}`, "admin"},
		{"DELETE", "/keys/key-1", "", "admin"},
		{"DELETE", "/agents/agent-1", "", "admin"},
	} {
		for i, role := range []string{"", "stranger", "viewer", "operator", "admin"} {
			want := http.StatusOK
			switch {
			case i < 2:
				want = http.StatusUnauthorized
			case rank(role) < rank(tc.needs):
				want = http.StatusForbidden
			}
			d := newDoor(t, admintest.New().Street(), Options{})
			w := d.as(role, tc.method, apiBase+tc.path, tc.body)
			if w.Code != want && (want != http.StatusOK || w.Code/100 != 2) {
				t.Errorf("%s %s as %q: %d, want %d: %s", tc.method, tc.path, role, w.Code, want, w.Body)
			}
			if w.Code >= 400 {
				if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
					t.Errorf("%s %s as %q: content type %s", tc.method, tc.path, role, ct)
				}
			}
		}
	}
}

func TestCameraJSON(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	w := d.as("viewer", "GET", "/api/v1/cameras?limit=3", "")
	var got struct {
		Items []map[string]any
		Next  string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Items) != 3 || got.Next != fleet.CameraID(3).String() || !strings.Contains(w.Header().Get("Link"), `rel="next"`) {
		t.Fatalf("page of 3: %d items, next %q, Link %q", len(got.Items), got.Next, w.Header().Get("Link"))
	}
	c := got.Items[0]
	for _, k := range []string{"id", "site", "state", "name", "addresses", "protocols", "vendor", "model", "labels", "last_capture"} {
		if c[k] == nil {
			t.Errorf("%s is missing in %v", k, c)
		}
	}
	if p := c["protocols"].([]any); len(p) != 2 {
		t.Errorf("protocols %v, want each once", p)
	}
	last := c["last_capture"].(map[string]any)
	if f := last["fingerprint"].(map[string]any); len(f["pdq"].(string)) != 64 || len(f["phash"].(string)) != 16 || f["pdq_quality"] != 90.0 {
		t.Errorf("fingerprint %v", f)
	}
	if last["outcome"] != "captured" || last["cause"] != "" || last["at"] != "2027-03-01T05:59:58.000Z" {
		t.Errorf("last_capture %v", last)
	}
	// Following the cursors reads each camera once.
	seen, after := map[string]bool{}, ""
	for {
		w := d.as("viewer", "GET", "/api/v1/cameras?limit=5&after="+after, "")
		var page List[Camera]
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		for _, c := range page.Items {
			seen[c.ID.String()] = true
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(seen) != 12 {
		t.Errorf("cursors led to %d cameras, want 12", len(seen))
	}
}

func TestErrors(t *testing.T) {
	one := fleet.CameraID(1).String()
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"unknown camera":      {"GET", "/cameras/" + fleet.CameraID(99).String(), "", 404, "cameras ls"},
		"no camera id":        {"GET", "/cameras/cam-1", "", 422, "13 base32"},
		"captures of unknown": {"GET", "/captures?camera=" + fleet.CameraID(99).String(), "", 404, "cameras ls"},
		"bad cursor":          {"GET", "/captures?after=x", "", 422, "cursor"},
		"bad time":            {"GET", "/captures?from=noon", "", 422, "RFC 3339"},
		"bad selector":        {"GET", "/cameras?select=a%3D%3D%3D", "", 422, "selector"},
		"login in the URL":    {"POST", "/cameras", `{"site":"s","url":"rtsp://u:hunter2@192.0.2.1/"}`, 422, "kept as a secret"},
		"wrong scheme":        {"POST", "/cameras", `{"site":"s","url":"ftp://192.0.2.1/"}`, 422, "rtsps"},
		"unknown key":         {"POST", "/cameras", `{"site":"s","url":"rtsp://192.0.2.1/","pasword":"x"}`, 422, "unexpected property"},
		"no frame yet":        {"GET", "/cameras/" + fleet.CameraID(7).String() + "/thumbnail.jpg", "", 404, "no frame yet"},
		"nobody to enrol":     {"POST", "/cameras/enrol", `{"state":"approved"}`, 422, "at least one"},
		"bad enrolment":       {"POST", "/cameras/enrol", `{"all":true,"state":"pending"}`, 422, "state"},
		"bad YAML":            {"POST", "/schedules/apply", `{"yaml":"schedules: [{name: a, evry: 5m}]"}`, 422, "evry"},
		"match without pdq":   {"POST", "/match", `{"phash":"0000000000000001"}`, 422, "pdq"},
		"no such agent":       {"DELETE", "/agents/nobody", "", 404, "agent nobody"},
		"no such path":        {"GET", "/camras", "", 404, "openapi.json"},
		"camera elsewhere":    {"POST", "/credentials", `{"site":"away","camera":"` + one + `","user":"u","password":"p"}`, 422, "is at site home"},
		"bad expiry":          {"POST", "/keys", `{"site":"home","expires":"soon"}`, 422, "72h"},
		"stale weak version":  {"PATCH", "/cameras/" + one, `{"name":"x"}`, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, admintest.New().Street(), Options{})
			w := d.as("admin", tc.method, apiBase+tc.path, tc.body)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.says) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, tc.status, tc.says)
			}
			if strings.Contains(w.Body.String()+d.log.String(), "hunter2") {
				t.Errorf("a secret came back: %s%s", w.Body, d.log)
			}
		})
	}
}

func TestInternalErrorsStayInTheLog(t *testing.T) {
	f := admintest.New().Street()
	f.Fails = errors.New("disk I/O error at page 7")
	d := newDoor(t, f, Options{})
	for _, path := range []string{"/api/v1/cameras", "/"} {
		w := d.as("viewer", "GET", path, "")
		if w.Code != 500 || strings.Contains(w.Body.String(), "page 7") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if strings.Count(d.log.String(), "page 7") != 2 {
		t.Errorf("the log holds: %s", d.log)
	}
}

func TestIfMatch(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	path := "/api/v1/cameras/" + fleet.CameraID(1).String()
	tag := d.as("viewer", "GET", path, "").Header().Get("ETag")
	if tag != `"7"` {
		t.Fatalf("ETag %s", tag)
	}
	for _, step := range []struct {
		match string
		want  int
	}{{tag, 200}, {tag, 412}, {"*", 200}, {"7", 400}, {`W/"7"`, 400}, {`"9"`, 200}} {
		w := d.do(request{"PATCH", path, `{"labels":{"floor":null,"gate":"yes"}}`, map[string]string{
			"Authorization": "Bearer operator", "Content-Type": "application/json", "If-Match": step.match,
		}})
		if w.Code != step.want {
			t.Errorf("If-Match %s: %d %s, want %d", step.match, w.Code, w.Body, step.want)
		}
	}
	v, err := d.f.Camera(t.Context(), 1)
	if err != nil || v.Labels["gate"] != "yes" || len(v.Labels) != 1 {
		t.Errorf("labels %v, %v", v.Labels, err)
	}
}

func TestThumbnailCaching(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	path := "/api/v1/cameras/" + fleet.CameraID(1).String() + "/thumbnail.jpg"
	w := d.as("viewer", "GET", path, "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "image/jpeg" || w.Body.Len() != len(d.f.Frame) || w.Header().Get("Cache-Control") != "private, no-cache" {
		t.Fatalf("%d %v, %d bytes", w.Code, w.Header(), w.Body.Len())
	}
	w2 := d.do(request{path: path, header: map[string]string{"Authorization": "Bearer viewer", "If-None-Match": w.Header().Get("ETag")}})
	if w2.Code != 304 || w2.Body.Len() != 0 {
		t.Errorf("unchanged: %d, %d bytes", w2.Code, w2.Body.Len())
	}
	w3 := d.as("viewer", "GET", path+"?v="+epoch.Add(-2e9).String(), "")
	if !strings.Contains(w3.Header().Get("Cache-Control"), "immutable") {
		t.Errorf("named by its time: Cache-Control %s", w3.Header().Get("Cache-Control"))
	}
}

func TestNoSecretComesBack(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	all := d.as("operator", "POST", "/api/v1/cameras", `{"site":"home","url":"rtsp://192.0.2.9/s","user":"u","password":"hunter2"}`).Body.String()
	all += d.as("operator", "POST", "/api/v1/credentials", `{"site":"home","user":"u","password":"hunter2"}`).Body.String()
	all += d.as("operator", "GET", "/api/v1/credentials", "").Body.String()
	all += d.as("operator", "POST", "/api/v1/credentials", `{"site":"home","user":7,"password":"hunter2"}`).Body.String()
	all += d.as("operator", "POST", "/api/v1/credentials", `{"site":"home","user":"u","pasword":"hunter2"}`).Body.String()
	all += d.as("operator", "POST", "/api/v1/credentials", `{"site":"home","user":"u","password":"hunter2`).Body.String()
	all += d.log.String()
	if strings.Contains(all, "hunter2") {
		t.Errorf("the password came back: %s", all)
	}
	if got := d.f.Logins; len(got) != 2 || got[1].Password.Reveal() != "hunter2" {
		t.Errorf("stored %v", got)
	}
}

func TestKeys(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{})
	w := d.as("admin", "POST", "/api/v1/keys", `{"site":"home","count":3,"approve":false}`)
	var k Key
	if err := json.Unmarshal(w.Body.Bytes(), &k); err != nil {
		t.Fatal(err)
	}
	if w.Code != 201 || k.Key != "sfk1.home.secret.ca" || k.Approve || k.Count != 3 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := d.as("admin", "GET", "/api/v1/keys", ""); strings.Contains(w.Body.String(), "sfk1") {
		t.Errorf("the list shows keys: %s", w.Body)
	}
	// Approving is the default, and one agent.
	w = d.as("admin", "POST", "/api/v1/keys", `{"site":"home"}`)
	if err := json.Unmarshal(w.Body.Bytes(), &k); err != nil || !k.Approve || k.Count != 1 {
		t.Errorf("%v %s", err, w.Body)
	}
}

func TestApplySchedules(t *testing.T) {
	const yaml = "schedules:\n  - {name: a, select: \"*\", every: 5m}\n"
	for name, tc := range map[string]struct{ kind, body, query string }{
		"YAML":         {"application/yaml", yaml, ""},
		"wrapped":      {"application/json", `{"yaml":"schedules: [{name: a, select: \"*\", every: 5m}]"}`, ""},
		"JSON":         {"application/json; charset=utf-8", `{"schedules":[{"name":"a","select":"*","every":"5m"}]}`, ""},
		"dry run":      {"application/yaml", yaml, "?dry_run=true&prune=true"},
		"no type told": {"", yaml, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, admintest.New(), Options{})
			w := d.do(request{"POST", "/api/v1/schedules/apply" + tc.query, tc.body, map[string]string{"Authorization": "Bearer operator", "Content-Type": tc.kind}})
			var p Plan
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 200 || len(p.Changes) == 0 || p.Changes[0].Name != "a" {
				t.Fatalf("%d %v %s", w.Code, err, w.Body)
			}
			dry := tc.query != ""
			if p.DryRun != dry || (len(d.f.Planned) == 0) != dry || (len(p.Changes) == 2) != dry {
				t.Errorf("plan %+v, %d stored", p, len(d.f.Planned))
			}
		})
	}
}

type fakeReader struct{ got fleet.Frame }

func (r *fakeReader) Read(_ context.Context, f fleet.Frame) (fleet.Reading, error) {
	r.got = f
	if f.Codec == fleet.PNG {
		return fleet.Reading{}, fleet.Errorf(fleet.CauseCorrupt, "cut at byte 9")
	}
	return fleet.Reading{Fingerprint: fleet.Fingerprint{PDQ: fleet.PDQ{9}}}, nil
}

func TestMatch(t *testing.T) {
	pdq := strings.Repeat("ab", 32)
	for name, tc := range map[string]struct {
		kind, body string
		reader     Reader
		status     int
		says       string
	}{
		"fingerprint":       {"application/json", `{"pdq":"` + pdq + `"}`, nil, 200, `"distance":4`},
		"short fingerprint": {"application/json", `{"pdq":"abab"}`, nil, 422, "want 64"},
		"picture":           {"image/jpeg", string(admintest.Picture()), &fakeReader{}, 200, `"distance":4`},
		"picture by bytes":  {"application/octet-stream", string(admintest.Picture()), &fakeReader{}, 200, `"distance":4`},
		"no reader":         {"image/jpeg", string(admintest.Picture()), nil, 501, "shutterfleet fingerprint"},
		"no picture":        {"image/jpeg", "GIF89a", &fakeReader{}, 422, "JPEG, PNG or PGM"},
		"broken picture":    {"image/png", "\x89PNG\r\n\x1a\n", &fakeReader{}, 422, "corrupt: cut at byte 9"},
		"too large":         {"image/jpeg", strings.Repeat("x", maxImageBytes+1), &fakeReader{}, 413, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, admintest.New(), Options{Reader: tc.reader})
			w := d.do(request{"POST", "/api/v1/match", tc.body, map[string]string{"Authorization": "Bearer viewer", "Content-Type": tc.kind}})
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.says) {
				t.Errorf("%d %s, want %d with %q", w.Code, w.Body, tc.status, tc.says)
			}
		})
	}
}

// TestListsAreNeverNull reads a camera of which nothing is known.
func TestListsAreNeverNull(t *testing.T) {
	f := admintest.New()
	v := f.Add(1, scheduler.StatusIdle)
	v.Endpoints, v.Addresses, v.Via, v.Labels = nil, nil, nil, nil
	f.Put(v)
	d := newDoor(t, f, Options{})
	if body := d.as("viewer", "GET", "/api/v1/cameras", "").Body.String(); strings.Contains(body, "null") || !strings.Contains(body, `"endpoints":[]`) {
		t.Errorf("%s", body)
	}
}

func TestAgentJSON(t *testing.T) {
	f := admintest.New().Street()
	f.Boxes[0].Standing = true
	f.Boxes[0].Able = fleet.Able{Codecs: []fleet.Codec{fleet.JPEG}, Cores: 4, Masks: true}
	f.Boxes[0].Load = fleet.Load{CPU: 0.25, Queue: 3, Capacity: 120, Available: 1 << 30}
	d := newDoor(t, f, Options{})
	body := d.as("viewer", "GET", "/api/v1/agents", "").Body.String()
	for _, want := range []string{`"standing":true`, `"able":{"codecs":["jpeg"],"analyzers":[],"cores":4,"tags":[],"masks":true}`, `"cpu":0.25`, `"queue":3`, `"capacity":120`, `"available_bytes":1073741824`} {
		if !strings.Contains(body, want) {
			t.Errorf("agents lack %s: %s", want, body)
		}
	}
}

func TestAuditAndBooks(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	w := d.as("viewer", "GET", "/api/v1/audit?from=2027-03-01T05:59:50Z", "")
	var got Audit
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Expected != 10 || got.Unaccounted != 3 || got.Until != epoch || got.Examples == nil {
		t.Errorf("audit: %v %s", err, w.Body)
	}
	w = d.as("viewer", "GET", "/api/v1/books", "")
	var b map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &b); err != nil || b["issued"] != 1204.0 || b["in_flight"] != 11.0 || b["balanced"] != true {
		t.Errorf("books: %v %s", err, w.Body)
	}
}
