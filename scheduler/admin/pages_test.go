package admin

import (
	"bytes"
	"cmp"
	"html"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

func TestLogin(t *testing.T) {
	now := epoch.Time()
	d := newDoor(t, admintest.New().Street(), Options{Now: func() time.Time { return now }})

	// Strangers are led to the login, and from there back.
	w := d.do(request{path: "/?site=home"})
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login?next=%2F%3Fsite%3Dhome" {
		t.Fatalf("a stranger: %d to %s", w.Code, w.Header().Get("Location"))
	}
	if w := d.do(request{path: "/login?next=%2F%3Fsite%3Dhome"}); w.Code != 200 || !strings.Contains(w.Body.String(), `value="/?site=home"`) {
		t.Errorf("login page: %d %s", w.Code, w.Body)
	}

	// A one-time link works once, and looking ahead does not use it up.
	link := d.a.OneTimeLogin()
	if w := d.do(request{path: link, header: map[string]string{"Sec-Purpose": "prefetch;prerender"}}); len(w.Result().Cookies()) != 0 {
		t.Error("a prefetch was logged in")
	}
	w = d.do(request{path: link})
	if w.Code != 200 || len(w.Result().Cookies()) != 1 || !strings.Contains(w.Body.String(), `content="0;url=/"`) {
		t.Fatalf("one-time login: %d %v %s", w.Code, w.Result().Cookies(), w.Body)
	}
	c := w.Result().Cookies()[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" || len(c.Value) < 43 {
		t.Errorf("cookie %+v", c)
	}
	if w := d.do(request{path: link}); w.Code != http.StatusUnauthorized || len(w.Result().Cookies()) != 0 || !strings.Contains(w.Body.String(), "used before") {
		t.Errorf("the same link again: %d %s", w.Code, w.Body)
	}
	signed := map[string]string{"Cookie": c.Name + "=" + c.Value}
	if w := d.do(request{path: "/", header: signed}); w.Code != 200 {
		t.Errorf("with the cookie: %d", w.Code)
	}
	if w := d.do(request{path: link, header: signed}); w.Code != http.StatusSeeOther {
		t.Errorf("a used link in a signed-in browser: %d, want the page", w.Code)
	}

	// Links and sessions grow old.
	old := d.a.OneTimeLogin()
	now = now.Add(codeFor)
	if w := d.do(request{path: old}); w.Code != http.StatusUnauthorized {
		t.Errorf("an old link: %d", w.Code)
	}
	now = now.Add(12 * time.Hour)
	if w := d.do(request{path: "/", header: signed}); w.Code != http.StatusSeeOther {
		t.Errorf("an old session: %d", w.Code)
	}

	// A token logs in too, a wrong one does not, and nothing of it is logged.
	if w := d.do(request{"POST", "/login", "token=guess", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}}); w.Code != http.StatusUnauthorized {
		t.Errorf("a wrong token: %d", w.Code)
	}
	if strings.Contains(d.log.String(), "guess") {
		t.Errorf("the log holds a token: %s", d.log)
	}
	h := d.signIn("viewer")
	if w := d.do(request{path: "/", header: h}); w.Code != 200 {
		t.Errorf("signed in: %d", w.Code)
	}
	if w := d.do(request{method: "POST", path: "/logout", header: h}); w.Code != http.StatusSeeOther {
		t.Errorf("signing out: %d", w.Code)
	}
	if w := d.do(request{path: "/", header: h}); w.Code != http.StatusSeeOther {
		t.Errorf("signed out: %d", w.Code)
	}
}

// TestSessionsEndWithTheirToken revokes a token under an open browser.
func TestSessionsEndWithTheirToken(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	viewer, operator := d.signIn("viewer"), d.signIn("operator")
	link := d.do(request{path: d.a.OneTimeLogin()}).Result().Cookies()[0]
	once := map[string]string{"Cookie": link.Name + "=" + link.Value, "Sec-Fetch-Site": "same-origin"}
	for id, s := range d.a.doors.sessions {
		if bytes.Contains(s.sealed, []byte("operator")) || bytes.Contains(s.sealed, []byte("viewer")) {
			t.Errorf("session %x holds its token: %q", id, s.sealed)
		}
	}
	d.f.Revoke("operator")
	if w := d.do(request{"POST", "/pauses", "what=all", operator}); w.Code != http.StatusUnauthorized || len(d.f.Paused) != 0 {
		t.Errorf("a form after the revocation: %d, %v", w.Code, d.f.Paused)
	}
	d.f.Revoke("") // its session stays over all the same
	for name, tc := range map[string]struct {
		header map[string]string
		want   int
	}{"operator": {operator, http.StatusSeeOther}, "viewer": {viewer, http.StatusOK}, "one-time login": {once, http.StatusOK}} {
		if w := d.do(request{path: "/", header: tc.header}); w.Code != tc.want {
			t.Errorf("%s: %d, want %d", name, w.Code, tc.want)
		}
	}
	if n := len(d.a.doors.sessions); n != 2 {
		t.Errorf("%d sessions are kept, want 2", n)
	}
}

func TestSecureCookies(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{SecureCookies: true})
	c := d.do(request{path: d.a.OneTimeLogin()}).Result().Cookies()[0]
	if !c.Secure || !strings.HasPrefix(c.Name, "__Host-") {
		t.Errorf("cookie %+v", c)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{})
	for range maxSessions + 10 {
		d.signIn("viewer")
	}
	if n := len(d.a.doors.sessions); n > maxSessions {
		t.Errorf("%d sessions", n)
	}
	for range maxCodes + 10 {
		d.a.OneTimeLogin()
	}
	if n := len(d.a.doors.codes); n > maxCodes {
		t.Errorf("%d codes", n)
	}
}

func TestLocalPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "/", "/": "/", "/cameras/x?y=1": "/cameras/x?y=1", "//evil.example": "/", "https://evil.example/": "/",
		`/\evil.example`: "/", "javascript:alert(1)": "/", "cameras": "/", "/a\r\nb": "/", "///evil.example": "/",
	} {
		if got := localPath(in); got != want {
			t.Errorf("localPath(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"", "/", "/cameras/x?y=1", "//evil.example", `/\evil.example`, "https://evil.example", "/%2f/evil", "/\t/evil.example"} {
		f.Add(s)
	}
	base := &url.URL{Scheme: "http", Host: "127.0.0.1:7080", Path: "/login"}
	f.Fuzz(func(t *testing.T, s string) {
		got := localPath(s)
		u, err := base.Parse(got)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme || strings.HasPrefix(got, "//") || strings.ContainsAny(got, "\\\r\n\t") {
			t.Errorf("localPath(%q) = %q, which leads to %v", s, got, u)
		}
	})
}

func TestCompareNatural(t *testing.T) {
	sorted := []string{"", "Gate", "gate", "gate 1", "gate 2", "gate 02b", "gate 10", "gate 10 north", "shelf", "é"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got, want := compareNatural(a, b), cmp.Compare(i, j); got != want {
				t.Errorf("compareNatural(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringOf(rapid.RuneFrom([]rune("a01 9é")))
		a, b, c := text.Draw(t, "a"), text.Draw(t, "b"), text.Draw(t, "c")
		ab, bc, ac := compareNatural(a, b), compareNatural(b, c), compareNatural(a, c)
		if ab != -compareNatural(b, a) || ab < 0 && bc < 0 && ac >= 0 || (ab == 0) != (a == b) {
			t.Fatalf("no order: %q %q %q: %d %d %d", a, b, c, ab, bc, ac)
		}
	})
}

// TestForgedRequests posts as another site's page would make a browser do.
func TestForgedRequests(t *testing.T) {
	for name, tc := range map[string]struct {
		change map[string]string
		want   int
	}{
		"same origin":             {map[string]string{"Sec-Fetch-Site": "same-origin"}, http.StatusSeeOther},
		"typed by the user":       {map[string]string{"Sec-Fetch-Site": "none"}, http.StatusSeeOther},
		"old browser, our origin": {map[string]string{"Sec-Fetch-Site": "", "Origin": "http://127.0.0.1:7080"}, http.StatusSeeOther},
		"cross site":              {map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, http.StatusForbidden},
		"same site":               {map[string]string{"Sec-Fetch-Site": "same-site"}, http.StatusForbidden},
		"other port":              {map[string]string{"Sec-Fetch-Site": "", "Origin": "http://127.0.0.1:9999"}, http.StatusForbidden},
		"null origin":             {map[string]string{"Sec-Fetch-Site": "", "Origin": "null"}, http.StatusForbidden},
		"says nothing":            {map[string]string{"Sec-Fetch-Site": ""}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, admintest.New().Street(), Options{})
			h := d.signIn("operator")
			for k, v := range tc.change {
				h[k] = v
				if v == "" {
					delete(h, k)
				}
			}
			w := d.do(request{"POST", "/enrol", "all=yes", h})
			if w.Code != tc.want {
				t.Errorf("form: %d, want %d", w.Code, tc.want)
			}
			v, err := d.f.Camera(t.Context(), 100)
			if err != nil || (v.State == fleet.Approved) != (tc.want == http.StatusSeeOther) {
				t.Errorf("camera is %s, %v", v.State, err)
			}
			h["Content-Type"] = "application/json"
			w = d.do(request{"POST", "/api/v1/cameras/enrol", `{"all":true,"state":"ignored"}`, h})
			if (w.Code == http.StatusForbidden) != (tc.want == http.StatusForbidden) {
				t.Errorf("API: %d %s", w.Code, w.Body)
			}
		})
	}
}

func TestSecurityHeaders(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	for _, path := range []string{"/", "/login", "/api/v1/cameras", "/assets/live.js", "/nowhere"} {
		h := d.do(request{path: path}).Header()
		csp := h.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

// TestPagesHaveNothingInline holds the pages to their own CSP.
func TestPagesHaveNothingInline(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{Faults: fakeFaults{}})
	inline := regexp.MustCompile(`(?i)<script(>| [^>]*>[^<])|<style|\sstyle=|\son[a-z]+=|javascript:|https?://`)
	for _, path := range []string{"/", "/cameras/" + fleet.CameraID(3).String(), "/schedules", "/agents", "/login"} {
		w := d.as("admin", "GET", path, "")
		text := strings.ReplaceAll(w.Body.String(), "http://192.0.2.7/s.jpg", "") // an endpoint, shown as text
		if m := inline.FindString(text); m != "" || w.Code != 200 && w.Code != 303 {
			t.Errorf("%s: %d, holds %q", path, w.Code, m)
		}
	}
}

func TestGalleryShowsEachState(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	page := d.as("operator", "GET", "/", "").Body.String()
	for _, want := range []string{
		`#s-ok"/></svg><span>ok<`, `#s-late"/></svg><span>late<`, `#s-failed"/></svg><span>failed: timeout<`, `#s-missed"/></svg><span>missed: agent-lost<`,
		`#s-needs-credentials"/></svg><span>needs credentials<`, `#s-offline"/></svg><span>offline<`, `#s-idle"/></svg><span>idle<`,
		`#s-pending"/></svg><span>pending<`, "Waiting for approval", "Approve all 2", "<b>1\u202f204</b> issued", "<b>11</b> in flight", "2 s ago", `value="` + fleet.CameraID(100).String(),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the gallery lacks %q", want)
		}
	}
	if strings.Contains(page, "camera 8<") {
		t.Error("an ignored camera is shown unasked")
	}
	// Each shape that a badge uses is drawn.
	for _, m := range regexp.MustCompile(`href="#(s-[a-z-]+)"`).FindAllStringSubmatch(page, -1) {
		if !strings.Contains(page, `<symbol id="`+m[1]+`"`) {
			t.Errorf("no shape %s", m[1])
		}
	}
	if page := d.as("viewer", "GET", "/", "").Body.String(); strings.Contains(page, "Approve all") {
		t.Error("a viewer is offered to approve")
	}
	failed := d.as("viewer", "GET", "/?status=failed", "").Body.String()
	if !strings.Contains(failed, "camera 3<") || strings.Contains(failed, "camera 1<") {
		t.Errorf("filtered by failed: %s", failed)
	}
	if none := d.as("viewer", "GET", "/?site=away", "").Body.String(); !strings.Contains(none, "No camera is in this view") {
		t.Errorf("another site: %s", none)
	}
}

func TestGalleryPages(t *testing.T) {
	f := admintest.New()
	for i := range 2*tilesPerPage + 3 {
		f.Add(fleet.CameraID(i+1), scheduler.StatusOK)
	}
	d := newDoor(t, f, Options{})
	next, seen := "/", 0
	link := regexp.MustCompile(`<nav id="more"[^>]*><a href="([^"]+)"`)
	for pages := 0; next != ""; pages++ {
		page := d.as("viewer", "GET", next, "").Body.String()
		seen += strings.Count(page, `class="tile`)
		next = ""
		if m := link.FindStringSubmatch(page); m != nil {
			next = strings.ReplaceAll(m[1], "&amp;", "&")
		}
		if pages > 3 {
			t.Fatal("the pages do not end")
		}
	}
	if seen != 2*tilesPerPage+3 {
		t.Errorf("%d tiles on all pages", seen)
	}
}

// TestFirstPageWeight weighs a full first page with its files, without
// pictures and without compression.
func TestFirstPageWeight(t *testing.T) {
	f := admintest.New().Street()
	f.Add(500, scheduler.StatusPending)
	for i := range 300 {
		v := f.Add(fleet.CameraID(1000+i), scheduler.StatusFailed)
		v.Name = "Loading bay, north side, camera " + v.ID.String()
		f.ByID[v.ID] = v
	}
	for i := range 100 {
		v := f.Add(fleet.CameraID(5000+i), scheduler.StatusPending)
		v.Reason = "no login is known: store one by `shutterfleet creds put --site home --user U --password-file F`"
		f.ByID[v.ID] = v
	}
	d := newDoor(t, f, Options{Faults: fakeFaults{}})
	page := d.as("admin", "GET", "/", "").Body
	total := page.Len()
	for _, m := range regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`).FindAllStringSubmatch(page.String(), -1) {
		w := d.do(request{path: m[1]})
		if w.Code != 200 || !strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %s", m[1], w.Code, w.Header().Get("Cache-Control"))
		}
		total += w.Body.Len()
	}
	t.Logf("first page with %d tiles: %d bytes", tilesPerPage, total)
	if total >= 150_000 {
		t.Errorf("the first page weighs %d bytes, want < 150000", total)
	}
}

func TestEmptyFleet(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{})
	page := d.as("admin", "GET", "/", "").Body.String()
	for _, want := range []string{"No camera yet", "shutterfleet keys create", "shutterfleet-agent run", "shutterfleet schedules apply", "--server HOST:7443"} {
		if !strings.Contains(page, want) {
			t.Errorf("the empty page lacks %q", want)
		}
	}
}

// TestNamesCannotHoldMarkup puts markup where the network can put text.
func TestNamesCannotHoldMarkup(t *testing.T) {
	const bad = `"><script>alert(1)</script>`
	f := admintest.New().Street()
	for _, id := range []fleet.CameraID{3, 100} {
		v := f.ByID[id]
		v.Name, v.Vendor, v.Model, v.Reason, v.Serial = bad, bad, bad, bad, bad
		v.Endpoints = []fleet.Endpoint{{Protocol: fleet.RTSP, URL: bad}}
		if v.Last != nil {
			v.Last.Detail, v.Last.Cause = bad, fleet.Cause(bad)
		}
		v.DeviceState = fleet.DeviceUnreachable
		f.ByID[id] = v
	}
	d := newDoor(t, f, Options{})
	for _, path := range []string{"/", "/cameras/" + fleet.CameraID(3).String(), "/tiles?ids=" + fleet.CameraID(3).String()} {
		w := d.as("admin", "GET", path, "")
		if w.Code != 200 || strings.Contains(w.Body.String(), "<script>alert") || !strings.Contains(w.Body.String(), "&lt;script&gt;") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestForms(t *testing.T) {
	id := fleet.CameraID(5).String()
	for name, tc := range map[string]struct {
		path, body string
		to         string
		check      func(*admintest.Fleet) bool
	}{
		"approve one": {"/enrol", "one=" + fleet.CameraID(100).String(), "/", func(f *admintest.Fleet) bool {
			return f.ByID[100].State == fleet.Approved && f.ByID[101].State == fleet.Pending
		}},
		"approve selected": {"/enrol", "state=approved&ids=" + fleet.CameraID(101).String(), "/", func(f *admintest.Fleet) bool { return f.ByID[101].State == fleet.Approved }},
		"ignore selected":  {"/enrol", "state=ignored&site=home&ids=" + fleet.CameraID(101).String(), "/?site=home", func(f *admintest.Fleet) bool { return f.ByID[101].State == fleet.Ignored }},
		"approve all": {"/enrol", "all=yes", "/", func(f *admintest.Fleet) bool {
			return f.ByID[100].State == fleet.Approved && f.ByID[101].State == fleet.Approved
		}},
		"retire is refused": {"/enrol", "state=retired&ids=" + id, "", func(f *admintest.Fleet) bool { return f.ByID[5].State == fleet.Approved }},
		"none selected":     {"/enrol", "state=approved", "", func(f *admintest.Fleet) bool { return f.ByID[100].State == fleet.Pending }},
		"name and label":    {"/cameras/" + id, "name=gate&label=floor%3D3&version=7", "/cameras/" + id, func(f *admintest.Fleet) bool { return f.ByID[5].Name == "gate" && f.ByID[5].Labels["floor"] == "3" }},
		"remove a label":    {"/cameras/" + id, "name=gate&label=floor%3D", "/cameras/" + id, func(f *admintest.Fleet) bool { return len(f.ByID[5].Labels) == 0 }},
		"changed meanwhile": {"/cameras/" + id, "name=gate&version=6", "", func(f *admintest.Fleet) bool { return f.ByID[5].Name == "camera 5" }},
		"login":             {"/cameras/" + id + "/credentials", "user=u&password=hunter2", "/cameras/" + id, func(f *admintest.Fleet) bool { return f.Logins[0].Camera == 5 && f.Logins[0].Password == "hunter2" }},
		"login of the site": {"/cameras/" + id + "/credentials", "user=u&password=p&all=yes", "/cameras/" + id, func(f *admintest.Fleet) bool { return f.Logins[0].Camera == 0 && f.Logins[0].Site == "home" }},
		"back elsewhere":    {"/enrol", "back=https://evil.example/&one=" + fleet.CameraID(100).String(), "/", func(*admintest.Fleet) bool { return true }},
		"a huge form":       {"/cameras/" + id, "name=" + strings.Repeat("x", maxFormBytes), "", func(f *admintest.Fleet) bool { return f.ByID[5].Name == "camera 5" }},
		"no such camera":    {"/cameras/" + fleet.CameraID(99).String(), "name=x", "", func(*admintest.Fleet) bool { return true }},
		"capture now":       {"/cameras/" + id + "/capture", "", "/cameras/" + id + "?job=job-1", func(f *admintest.Fleet) bool { return f.Asked[0].Cameras[0] == 5 && f.Asked[0].By == "the operator" }},
		"capture a pending": {"/cameras/" + fleet.CameraID(100).String() + "/capture", "", "", func(f *admintest.Fleet) bool { return len(f.Asked) == 0 }},
		"capture none":      {"/cameras/" + fleet.CameraID(99).String() + "/capture", "", "", func(f *admintest.Fleet) bool { return len(f.Asked) == 0 }},
		"pause all": {"/pauses", "what=all&for=1h&reason=+storm+&site=", "/schedules", func(f *admintest.Fleet) bool {
			p := f.Paused[0]
			return p.Schedule == "" && p.Site == "" && p.Until == epoch.Add(time.Hour) && p.By == "the operator" && p.Reason == "storm"
		}},
		"pause a site": {"/pauses", "what=site&site=home&for=", "/schedules", func(f *admintest.Fleet) bool { return f.Paused[0].Site == "home" && f.Paused[0].Until == 0 }},
		"pause a schedule": {"/pauses", "schedule=demo&for=1h&until=2027-03-01T18%3A30&site=", "/schedules", func(f *admintest.Fleet) bool {
			return f.Paused[0].Schedule == "demo" && f.Paused[0].Site == "" && f.Paused[0].Until.String() == "2027-03-01T18:30:00.000Z"
		}},
		"pause a schedule of a site":   {"/pauses", "schedule=demo&site=home&until=2027-03-01T18%3A30%3A05", "/schedules", func(f *admintest.Fleet) bool { return f.Paused[0].Schedule == "demo" && f.Paused[0].Site == "home" }},
		"pause no site":                {"/pauses", "what=site&site=&for=1h", "", func(f *admintest.Fleet) bool { return len(f.Paused) == 0 }},
		"pause all with a site chosen": {"/pauses", "what=all&site=home&for=1h", "", func(f *admintest.Fleet) bool { return len(f.Paused) == 0 }},
		"pause nothing":                {"/pauses", "for=1h", "", func(f *admintest.Fleet) bool { return len(f.Paused) == 0 }},
		"pause until noon":             {"/pauses", "what=all&until=noon", "", func(f *admintest.Fleet) bool { return len(f.Paused) == 0 }},
		"pause until yesterday":        {"/pauses", "what=all&until=2027-02-28T06:00", "", func(f *admintest.Fleet) bool { return len(f.Paused) == 0 }},
		"pause with an essay":          {"/pauses", "what=all&reason=" + strings.Repeat("x", 501), "", func(f *admintest.Fleet) bool { return len(f.Paused) == 0 }},
		"resume what is over":          {"/pauses/pause-9/resume", "", "/schedules", func(*admintest.Fleet) bool { return true }},
		"unknown fault":                {"/faults", "camera=gate&fault=melted&on=yes", "", func(*admintest.Fleet) bool { return true }},
		"fault on":                     {"/faults", "camera=gate&fault=blurred&on=yes", "/", func(*admintest.Fleet) bool { return true }},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, admintest.New().Street(), Options{Faults: fakeFaults{}})
			w := d.do(request{"POST", tc.path, tc.body, d.signIn("operator")})
			if got := w.Header().Get("Location"); got != tc.to || (w.Code == http.StatusSeeOther) != (tc.to != "") {
				t.Errorf("%d to %q, want %q: %s", w.Code, got, tc.to, w.Body)
			}
			if !tc.check(d.f) {
				t.Error("the fleet is not as it should be")
			}
			if strings.Contains(w.Body.String()+d.log.String(), "hunter2") {
				t.Error("a password came back")
			}
			if w := d.do(request{"POST", tc.path, tc.body, d.signIn("viewer")}); w.Code != http.StatusForbidden {
				t.Errorf("a viewer: %d", w.Code)
			}
		})
	}
}

type fakeFaults struct{}

func (fakeFaults) List() []VirtualCamera {
	return []VirtualCamera{{Name: "gate", Faults: []string{"blurred", "slow"}, On: []string{"slow"}}, {Name: "shelf", Faults: []string{"blurred", "slow"}}}
}

func (fakeFaults) Set(camera, fault string, _ bool) error {
	if fault != "blurred" && fault != "slow" {
		return &scheduler.InvalidError{Field: "fault", Problem: "no fault is called " + fault}
	}
	return nil
}

func TestCameraPage(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{})
	failed := d.as("viewer", "GET", "/cameras/"+fleet.CameraID(3).String(), "").Body.String()
	for _, want := range []string{"camera 3", "failed: timeout", "read: went silent", advice[fleet.CauseTimeout], "12 ms"} {
		if !strings.Contains(failed, want) {
			t.Errorf("the page of a failed camera lacks %q", want)
		}
	}
	locked := d.as("operator", "GET", "/cameras/"+fleet.CameraID(5).String(), "").Body.String()
	if !strings.Contains(locked, `action="/cameras/`+fleet.CameraID(5).String()+`/credentials"`) {
		t.Error("a camera that needs credentials does not ask for them")
	}
	ok := d.as("viewer", "GET", "/cameras/"+fleet.CameraID(1).String(), "").Body.String()
	for _, want := range []string{"1280×720 h264 over rtsp, 51 kB", "010203000000…", "thumbnail.jpg?v=2027-03-01T05%3a59%3a58.000Z"} {
		if !strings.Contains(ok, want) {
			t.Errorf("the page of a good camera lacks %q", want)
		}
	}
	for _, id := range []string{"cam-1", fleet.CameraID(99).String()} {
		if w := d.as("viewer", "GET", "/cameras/"+id, ""); w.Code != http.StatusNotFound {
			t.Errorf("camera %s: %d", id, w.Code)
		}
	}
}

// TestEachCauseHasAdvice reads the list that operators read.
func TestEachCauseHasAdvice(t *testing.T) {
	doc, err := os.ReadFile("../../docs/causes.md")
	if err != nil {
		t.Fatal(err)
	}
	causes := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllSubmatch(doc, -1)
	if len(causes) != len(advice) {
		t.Errorf("docs/causes.md lists %d causes, the page knows %d", len(causes), len(advice))
	}
	for _, m := range causes {
		if advice[fleet.Cause(m[1])] == "" {
			t.Errorf("no advice for %s", m[1])
		}
	}
}

func TestOtherPages(t *testing.T) {
	d := newDoor(t, admintest.New().Street(), Options{Version: "v9"})
	if p := d.as("viewer", "GET", "/schedules", "").Body.String(); !strings.Contains(p, "every 2s") || !strings.Contains(p, "Shutterfleet v9") {
		t.Errorf("schedules: %s", p)
	}
	if p := d.as("viewer", "GET", "/agents", "").Body.String(); !strings.Contains(p, "box") || !strings.Contains(p, "connected") {
		t.Errorf("agents: %s", p)
	}
	if w := d.as("viewer", "GET", "/nowhere", ""); w.Code != http.StatusNotFound || !bytes.Contains(w.Body.Bytes(), []byte("no page")) {
		t.Errorf("no page: %d", w.Code)
	}
	w := d.as("viewer", "GET", "/tiles?ids="+url.QueryEscape(fleet.CameraID(1).String()+",nonsense,"+fleet.CameraID(77).String()), "")
	if w.Code != 200 || strings.Count(w.Body.String(), `class="tile`) != 1 || !strings.Contains(w.Body.String(), `id="summary"`) {
		t.Errorf("tiles: %d %s", w.Code, w.Body)
	}
}

// TestExampleOnThePageWorks applies what the schedules page tells to write.
func TestExampleOnThePageWorks(t *testing.T) {
	d := newDoor(t, admintest.New(), Options{})
	page := d.as("viewer", "GET", "/schedules", "").Body.String()
	m := regexp.MustCompile(`(?s)<code>(schedules:.*?)</code>`).FindStringSubmatch(page)
	if m == nil {
		t.Fatal("the page shows no example")
	}
	specs, err := scheduler.ParseSchedules([]byte(html.UnescapeString(m[1])))
	if err != nil || len(specs) != 2 {
		t.Errorf("%d schedules, %v", len(specs), err)
	}
}

func TestAgentHost(t *testing.T) {
	for host, want := range map[string]string{
		"127.0.0.1:7080": "HOST", "localhost:7080": "HOST", "[::1]:7080": "HOST", "centre.example:7080": "centre.example",
		"192.0.2.1": "192.0.2.1", "[2001:db8::1]:7080": "[2001:db8::1]", "": "HOST",
	} {
		if got := agentHost(&http.Request{Host: host}); got != want {
			t.Errorf("agentHost(%q) = %q, want %q", host, got, want)
		}
	}
}
