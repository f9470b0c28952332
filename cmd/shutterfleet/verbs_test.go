package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

// terminal runs command lines against a real door over a fake fleet.
type terminal struct {
	t   *testing.T
	f   *admintest.Fleet
	dir string
}

func newTerminal(t *testing.T, role string) *terminal {
	c := &terminal{t: t, f: admintest.New().Street(), dir: t.TempDir()}
	srv := httptest.NewServer(admin.New(c.f, admin.Options{}).Handler())
	t.Cleanup(srv.Close)
	t.Setenv("SHUTTERFLEET_SERVER", srv.URL)
	t.Setenv("SHUTTERFLEET_TOKEN_FILE", c.file("token", role+"\n"))
	return c
}

func (c *terminal) file(name, text string) string {
	f := filepath.Join(c.dir, name)
	if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return f
}

// words splits what is typed at blanks, but not the paths of files: the folder
// for tests may have some in its name.
func (c *terminal) words(typed string) []string {
	const dir = "\x00"
	out := strings.Fields(strings.ReplaceAll(typed, c.dir, dir))
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], dir, c.dir)
	}
	return out
}

func (c *terminal) run(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(c.t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// json runs a verb with -o json at its end and reads what it prints.
func (c *terminal) json(into any, args ...string) {
	c.t.Helper()
	code, out, errs := c.run(append(args, "-o", "json")...)
	if code != 0 {
		c.t.Fatalf("%v: exit code %d: %s", args, code, errs)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		c.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func TestCamerasLs(t *testing.T) {
	c := newTerminal(t, "viewer")
	var all []map[string]any
	c.json(&all, "cameras", "ls")
	if len(all) != 12 {
		t.Fatalf("%d cameras", len(all))
	}
	for _, k := range []string{"id", "site", "state", "name", "addresses", "protocols", "vendor", "model", "labels", "last_capture"} {
		if _, ok := all[0][k]; !ok {
			t.Errorf("cameras ls prints no %s: %v", k, all[0])
		}
	}
	c.json(&all, "cameras", "ls", "--state", "pending", "--site", "home")
	if len(all) != 2 {
		t.Errorf("%d pending cameras", len(all))
	}
	c.json(&all, "cameras", "ls", "--select", "floor=9")
	if all == nil || len(all) != 0 {
		t.Errorf("no camera is printed as %v, want []", all)
	}
	_, table, _ := c.run("cameras", "ls")
	if !strings.Contains(table, fleet.CameraID(1).String()) || !strings.HasPrefix(table, "ID ") {
		t.Errorf("the table: %s", table)
	}
	_, yaml, _ := c.run("cameras", "show", fleet.CameraID(1).String(), "-o", "yaml")
	if !strings.Contains(yaml, "id: "+fleet.CameraID(1).String()+"\n") || !strings.Contains(yaml, "pdq_quality: 90") {
		t.Errorf("as YAML: %s", yaml)
	}
}

func TestCamerasChange(t *testing.T) {
	c := newTerminal(t, "operator")
	pw := c.file("pw", "hunter2\n")
	var cam struct{ ID, Name, State string }
	c.json(&cam, "cameras", "add", "--site", "lab", "--url", "rtsp://192.0.2.9/s", "--name", "dock", "--label", "floor=1", "--user", "u", "--password-file", pw)
	if cam.ID == "" || cam.Name != "dock" || cam.State != "approved" || c.f.Logins[0].Password.Reveal() != "hunter2" {
		t.Errorf("added %+v with %v", cam, c.f.Logins)
	}
	c.json(&cam, "cameras", "set", cam.ID, "--name", "gate", "--label", "floor=", "--label", "gate=yes")
	if cam.Name != "gate" {
		t.Errorf("set: %+v", cam)
	}
	id, err := fleet.ParseCameraID(cam.ID)
	if err != nil {
		t.Fatal(err)
	}
	if l := c.f.ByID[id].Labels; len(l) != 1 || l["gate"] != "yes" {
		t.Errorf("labels %v", l)
	}
	var cams []struct{ ID, State string }
	c.json(&cams, "cameras", "approve", fleet.CameraID(100).String())
	if len(cams) != 1 || cams[0].State != "approved" {
		t.Errorf("approve: %v", cams)
	}
	c.json(&cams, "cameras", "approve", "--all")
	if len(cams) != 1 || cams[0].ID != fleet.CameraID(101).String() {
		t.Errorf("approve --all: %v", cams)
	}
	c.json(&cams, "cameras", "approve", "--all")
	if cams == nil || len(cams) != 0 {
		t.Errorf("approve --all again: %v, want []", cams)
	}
	c.json(&cams, "cameras", "ignore", fleet.CameraID(1).String())
	if len(cams) != 1 || cams[0].State != "ignored" {
		t.Errorf("ignore: %v", cams)
	}
}

func TestCapturesLs(t *testing.T) {
	c := newTerminal(t, "viewer")
	var shots []map[string]any
	c.json(&shots, "captures", "ls", "--camera", fleet.CameraID(1).String())
	if len(shots) != 1 {
		t.Fatalf("%v", shots)
	}
	for _, k := range []string{"camera", "schedule", "nominal", "at", "outcome", "cause", "detail", "width", "height", "bytes", "protocol", "codec", "delay_ms", "took_ms", "attempts", "fingerprint"} {
		if _, ok := shots[0][k]; !ok {
			t.Errorf("captures ls prints no %s", k)
		}
	}
	if shots[0]["schedule"] != "demo" || shots[0]["width"] != 1280.0 || shots[0]["delay_ms"] != 12.0 {
		t.Errorf("%v", shots[0])
	}
	// A limit above one page follows the cursors.
	for range 2500 {
		c.f.Taken = append(c.f.Taken, c.f.Taken[0])
	}
	c.json(&shots, "captures", "ls", "--limit", "2100")
	if len(shots) != 2100 {
		t.Errorf("%d captures, want 2100", len(shots))
	}
	c.json(&shots, "captures", "ls", "--outcome", "missed", "--from", "100000h")
	if len(shots) != 1 || shots[0]["cause"] != "agent-lost" {
		t.Errorf("missed: %v", shots)
	}
}

func TestOtherVerbs(t *testing.T) {
	c := newTerminal(t, "admin")
	var key map[string]string
	c.json(&key, "keys", "create", "--site", "home", "--count", "3", "--approve=false")
	if len(key) != 1 || key["key"] != "sfk1.home.secret.ca" || c.f.SiteKeys[0].Approve || c.f.SiteKeys[0].Count != 3 {
		t.Errorf("keys create: %v, %+v", key, c.f.SiteKeys)
	}
	if _, out, errs := c.run("keys", "create", "--site", "home"); out != "sfk1.home.secret.ca\n" || strings.Contains(errs, "sfk1") || !c.f.SiteKeys[1].Approve {
		t.Errorf("keys create prints %q and %q", out, errs)
	}
	var keys []map[string]any
	c.json(&keys, "keys", "ls")
	if len(keys) != 2 || keys[0]["key"] != nil {
		t.Errorf("keys ls: %v", keys)
	}
	var site struct {
		ID, TZ   string
		Lat, Lon float64
	}
	c.json(&site, "sites", "set", "store-12", "--tz", "Europe/Lisbon", "--lat", "38.72", "--lon", "-9.14")
	if site.ID != "store-12" || site.TZ != "Europe/Lisbon" || site.Lat != 38.72 || site.Lon != -9.14 {
		t.Errorf("sites set: %+v", site)
	}
	var plan struct {
		Changes []struct{ Name, Action string }
		DryRun  bool `json:"dry_run"`
	}
	file := c.file("s.yaml", "schedules:\n  - {name: peers, select: \"*\", every: 2s, lead: 1s, deadline: 10s}\n")
	c.json(&plan, "schedules", "apply", "-f", file, "--dry-run", "--prune")
	if !plan.DryRun || len(plan.Changes) != 2 || len(c.f.Planned) != 1 {
		t.Errorf("dry run: %+v, %d planned", plan, len(c.f.Planned))
	}
	if code, out, errs := c.run("schedules", "apply", "-f", file); code != 0 || !strings.Contains(out, "create") || len(c.f.Planned) != 2 {
		t.Errorf("apply: %d %s%s", code, out, errs)
	}
	var list []map[string]any
	c.json(&list, "schedules", "ls")
	if len(list) != 2 || list[0]["every"] != "2s" || list[0]["name"] != "demo" {
		t.Errorf("schedules ls: %v", list)
	}
	c.json(&list, "agents", "ls")
	if len(list) != 1 || list[0]["connected"] != true {
		t.Errorf("agents ls: %v", list)
	}
	if code, _, errs := c.run("agents", "revoke", "agent-1"); code != 0 || c.f.Boxes[0].State != fleet.Retired {
		t.Errorf("agents revoke: %d %s", code, errs)
	}
	if code, out, errs := c.run("creds", "put", "--site", "home", "--user", "u", "--password-file", c.file("pw", "hunter2\n"), "-o", "json"); code != 0 || strings.Contains(out+errs, "hunter2") || c.f.Logins[0].Password.Reveal() != "hunter2" {
		t.Errorf("creds put: %d %s%s", code, out, errs)
	}
	c.json(&list, "creds", "ls")
	if len(list) != 1 || list[0]["user"] != "u" {
		t.Errorf("creds ls: %v", list)
	}
	var books map[string]any
	c.json(&books, "books")
	if books["issued"] != 1204.0 || books["balanced"] != true {
		t.Errorf("books: %v", books)
	}
	c.f.Counts.Issued++
	if code, _, errs := c.run("books"); code != 1 || !strings.Contains(errs, "do not balance") {
		t.Errorf("books out of balance: %d %s", code, errs)
	}
	if _, out, _ := c.run("version"); out != "unknown\n" {
		t.Errorf("version: %q", out)
	}
}

func TestNoControlCharactersReachTheTerminal(t *testing.T) {
	c := newTerminal(t, "viewer")
	v := c.f.ByID[1]
	v.Name = "gate\x1b]0;owned\a\x9b31m\nsecond line"
	c.f.ByID[1] = v
	for _, args := range [][]string{{"cameras", "ls"}, {"cameras", "show", v.ID.String()}} {
		if _, out, _ := c.run(args...); strings.ContainsAny(out, "\x1b\a\u009b") || strings.Contains(out, "\nsecond") {
			t.Errorf("%v prints %q", args, out)
		}
	}
}

// TestMistakes holds each mistake to its exit code and to naming its fix.
func TestMistakes(t *testing.T) {
	c := newTerminal(t, "viewer")
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := "http://" + unused.Addr().String()
	unused.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	one := fleet.CameraID(1).String()
	image := c.file("x.jpg", "\xff\xd8\xff\xe0")
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"", 2, "There are: agents, bench, books, cameras"},
		{"camera ls", 2, `Did you mean cameras?`},
		{"cameras", 2, "add, approve"},
		{"cameras lst", 2, "Did you mean ls"},
		{"cameras ls extra", 2, "takes no argument"},
		{"cameras ls --sight home", 2, "--sight"},
		{"cameras ls -o xml", 2, "table, json or yaml"},
		{"cameras show", 2, "wants ID"},
		{"cameras show gate", 2, "cameras ls"},
		{"cameras show " + fleet.CameraID(99).String(), 1, "`shutterfleet cameras ls`"},
		{"cameras approve", 2, "--all"},
		{"cameras approve --all " + one, 2, "--all"},
		{"cameras approve --all", 1, "needs the role operator"},
		{"cameras add --site home", 2, "--url"},
		{"cameras add --site home --url rtsp://u:p@192.0.2.1/", 2, "--password-file"},
		{"cameras add --site home --url rtsp://192.0.2.1/ --user u", 2, "--password-file"},
		{"cameras add --site home --url rtsp://192.0.2.1/ --user u --password-file /nonexistent/pw", 1, "/nonexistent/pw"},
		{"cameras set " + one, 2, "--name"},
		{"cameras set " + one + " --label gate", 2, "key=value"},
		{"cameras ls --server " + gone, 1, "SHUTTERFLEET_SERVER"},
		{"cameras ls --server 127.0.0.1:7080", 1, "want a URL"},
		{"cameras ls --server " + other.URL, 1, "is --server right?"},
		{"cameras ls --token-file /nonexistent/token", 1, "admin.token"},
		{"cameras ls --token-file " + c.file("stranger", "nobody"), 1, "SHUTTERFLEET_TOKEN_FILE"},
		{"cameras ls --token-file " + c.file("empty", ""), 1, "one line with the token"},
		{"captures ls --limit 0", 2, "at least 1"},
		{"captures ls --from noon", 2, "2h"},
		{"captures ls --outcome lost", 1, "outcome"},
		{"captures ls --camera " + fleet.CameraID(99).String(), 1, "cameras ls"},
		{"schedules apply", 2, "-f FILE"},
		{"schedules apply -f /nonexistent.yaml", 1, "/nonexistent.yaml"},
		{"keys create", 2, "--site"},
		{"keys create --site home --count 0", 2, "at least 1"},
		{"keys create --site home", 1, "needs the role admin"},
		{"creds put --site home", 2, "--user"},
		{"creds put --site home --user u", 2, "--password-file"},
		{"sites set home", 2, "--tz"},
		{"match", 2, "IMAGE"},
		{"match " + image, 1, "shutterfleet fingerprint"},
		{"match /nonexistent.jpg", 1, "/nonexistent.jpg"},
	} {
		code, out, errs := c.run(c.words(tc.args)...)
		if code != tc.code || !strings.Contains(errs, tc.says) || out != "" {
			t.Errorf("shutterfleet %s: exit code %d, want %d with %q\nstdout: %s\nstderr: %s", tc.args, code, tc.code, tc.says, out, errs)
		}
	}
	t.Setenv("SHUTTERFLEET_TOKEN_FILE", "")
	if code, _, errs := c.run("books"); code != 1 || !strings.Contains(errs, "admin.token") {
		t.Errorf("no token file: %d %s", code, errs)
	}
}
