package vendor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var admin = fleet.Credentials{User: "admin", Password: "amber", Version: 1}

// answer is one section of an answers.txt:
//
//	== METHOD PATH STATUS [HEADER: VALUE; HEADER: VALUE]
//	BODY
//
// A header Title stands for a page with that title.
type answer struct {
	method, path string
	status       int
	header       http.Header
	body         string
}

func answers(t testing.TB, file string) []answer {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []answer
	for line := range strings.Lines(string(text)) {
		head, ok := strings.CutPrefix(line, "== ")
		if !ok {
			out[len(out)-1].body += line
			continue
		}
		a := answer{header: http.Header{}}
		first, rest, _ := strings.Cut(strings.TrimSpace(head), " ")
		a.method = first
		a.path, rest, _ = strings.Cut(rest, " ")
		status, headers, _ := strings.Cut(rest, " ")
		if _, err := fmt.Sscan(status, &a.status); err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		for h := range strings.SplitSeq(headers, "; ") {
			if k, v, ok := strings.Cut(h, ": "); ok {
				a.header.Set(k, v)
			}
		}
		if title := a.header.Get("Title"); title != "" {
			a.header.Del("Title")
			a.body = "<html><head><Title>" + title + "</title></head></html>"
		}
		out = append(out, a)
	}
	return out
}

// device serves answers; what is behind a login wants Digest.
type device struct {
	*httptest.Server
	answers  []answer
	password string // "": no login

	mu      sync.Mutex
	asked   []string
	refused int
}

func (d *device) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, r.Method+" "+r.RequestURI)
	for _, a := range d.answers {
		if a.method != r.Method || a.path != r.RequestURI {
			continue
		}
		if d.password != "" && a.path != "/" && a.method != http.MethodPost && !d.enter(w, r) {
			return
		}
		for k, v := range a.header {
			w.Header()[k] = v
		}
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(a.body))
		return
	}
	http.NotFound(w, r)
}

func (d *device) enter(w http.ResponseWriter, r *http.Request) bool {
	challenge := guard.Challenge{Scheme: "digest", Params: map[string]string{"realm": "cam", "nonce": "n1"}}
	if h := r.Header.Get("Authorization"); h != "" {
		dg, err := guard.NewDigest(challenge)
		if err != nil {
			panic(err)
		}
		want := dg.Authorize(r.Method, r.RequestURI, nil, fleet.Credentials{User: "admin", Password: fleet.Secret(d.password)})
		if h == want {
			return true
		}
		d.refused++
	}
	w.Header().Set("WWW-Authenticate", `Digest realm="cam", nonce="n1"`)
	w.WriteHeader(http.StatusUnauthorized)
	return false
}

func serve(t *testing.T, d *device) *device {
	t.Helper()
	d.Server = httptest.NewServer(d)
	t.Cleanup(d.Close)
	return d
}

func (d *device) target(cs ...fleet.Credentials) fleet.Target {
	return fleet.Target{Device: "dev", Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: d.URL + "/p.jpg"}}, Credentials: cs}
}

func newClient(t *testing.T, o Options) (*Client, *guard.Guard) {
	t.Helper()
	g := guard.New(guard.Options{})
	t.Cleanup(g.Close)
	return New(g, o), g
}

func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestRebuilt describes every device of testdata/rebuilt, open and behind a login.
func TestRebuilt(t *testing.T) {
	dirs, err := filepath.Glob("testdata/rebuilt/*")
	if err != nil || len(dirs) < 10 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			source, err := os.ReadFile(filepath.Join(dir, "SOURCE.md"))
			if err != nil || !strings.Contains(string(source), "http") {
				t.Fatalf("no source is named: %v", err)
			}
			for _, password := range []string{"", admin.Password.Reveal()} {
				d := serve(t, &device{answers: answers(t, filepath.Join(dir, "answers.txt")), password: password})
				c, _ := newClient(t, Options{})
				got, err := c.Describe(soon(t), d.target(admin))
				if err != nil {
					t.Fatal(err)
				}
				if d.refused != 0 {
					t.Errorf("%d logins were refused", d.refused)
				}
				text, err := json.MarshalIndent(got, "", "  ")
				if err != nil {
					t.Fatal(err)
				}
				// The port is the test's; a real one has none.
				at, err := url.Parse(d.URL)
				if err != nil {
					t.Fatal(err)
				}
				text = append([]byte(strings.ReplaceAll(string(text), at.Host, at.Hostname())), '\n')
				golden := filepath.Join(dir, "device.golden")
				if *update {
					if err := os.WriteFile(golden, text, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(golden)
				if err != nil {
					t.Fatal(err)
				}
				if string(text) != string(want) {
					t.Errorf("described as\n%s\nwant\n%s", text, want)
				}
			}
		})
	}
}

// Nothing points to a maker: only the start page is asked for, and no login.
func TestUnknown(t *testing.T) {
	for name, page := range map[string]answer{
		"a router":          {status: 200, header: http.Header{"Server": {"nginx"}}, body: "<title>Router</title>"},
		"behind a login":    {status: 401, header: http.Header{"Www-Authenticate": {`Digest realm="x", nonce="1"`}}},
		"a redirect abroad": {status: 302, header: http.Header{"Location": {"http://127.9.9.9/"}}},
		"a broken title":    {status: 200, body: "<title>Axis"},
		"no page":           {status: 404},
	} {
		page.method, page.path = "GET", "/"
		d := serve(t, &device{answers: []answer{page}})
		c, g := newClient(t, Options{})
		got, err := c.Describe(soon(t), d.target(admin))
		if !errors.Is(err, ErrUnknown) || got.Reason == "" || got.Vendor != "" || len(d.asked) != 1 {
			t.Errorf("%s: %v, %v, asked for %v", name, got, err, d.asked)
		}
		if g.Budget().Refusals("dev") != 0 {
			t.Errorf("%s: a login was refused", name)
		}
	}
}

// What discovery knows spares the start page; a wrong login ends the matter.
func TestLogins(t *testing.T) {
	hik := answers(t, "testdata/rebuilt/hikvision-ds-2cd2143/answers.txt")
	known := Options{Evidence: func(string) Evidence { return Evidence{MAC: "c0:56:e3:01:02:03", Vendor: "Dahua"} }}
	d := serve(t, &device{answers: hik, password: "other"})
	c, _ := newClient(t, known)
	got, err := c.Describe(soon(t), d.target(admin))
	// The maker that is named comes first, is not it, and costs no login.
	if got.State != fleet.DeviceNeedsCredentials || got.Vendor != "Hikvision" || err == nil || d.refused != 1 {
		t.Errorf("state %s of %q, %v, %d refused; asked for %v", got.State, got.Vendor, err, d.refused, d.asked)
	}
	if strings.Contains(got.Reason, "amber") || strings.Contains(strings.Join(d.asked, " "), "amber") {
		t.Error("the password shows")
	}
	if got, err = c.Describe(soon(t), d.target()); got.State != fleet.DeviceNeedsCredentials || !errors.Is(err, guard.ErrUnusable) {
		t.Errorf("without a login: %s, %v", got.State, err)
	}
	for range 3 {
		got, err = c.Describe(soon(t), d.target(admin))
	}
	if got.State != fleet.DeviceLocked || d.refused != 2 {
		t.Errorf("state %s, %v after %d refused logins", got.State, err, d.refused)
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		name string
		e    Evidence
		want string // makers, strongest first
	}{
		{"nothing", Evidence{}, ""},
		{"realm", Evidence{Realm: "AXIS_ACCC8E010203"}, "Axis"},
		{"words before hardware", Evidence{Vendor: "Amcrest", MAC: "3c:ef:8c:01:02:03"}, "Amcrest Dahua"},
		{"hardware", Evidence{MAC: "00:02:D1:01:02:03"}, "Vivotek"},
		{"a path that calls confirm", Evidence{Path: "/Streaming/Channels/101"}, "Hikvision"},
		{"a path that anybody may have", Evidence{Path: "/stream1"}, ""},
		{"half of a MAC", Evidence{MAC: "00:02"}, ""},
	} {
		var got []string
		for _, s := range match(table(), c.e) {
			got = append(got, s.vendor)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.name, got, c.want)
		}
	}
}

// TestTable holds what every row has to have.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range table() {
		if u, err := url.Parse(r.source); err != nil || u.Scheme != "https" || seen[r.vendor] || len(r.words) == 0 {
			t.Errorf("row %q: source %q, %d words", r.vendor, r.source, len(r.words))
		}
		seen[r.vendor] = true
		for _, p := range append([]string{r.snapshot, r.mjpeg}, r.streams...) {
			if u, err := url.Parse("http://h" + p); err != nil || u.Host != "h" || u.User != nil {
				t.Errorf("row %q: path %q", r.vendor, p)
			}
			for _, secret := range []string{"pwd=", "password=", "token=", "usr="} {
				if strings.Contains(strings.ToLower(p), secret) {
					t.Errorf("row %q puts a secret into %q", r.vendor, p)
				}
			}
		}
		for _, w := range append(append([]string{}, r.words...), append(r.paths, r.ouis...)...) {
			if w != strings.ToLower(w) || len(w) < 4 {
				t.Errorf("row %q: evidence %q", r.vendor, w)
			}
		}
	}
}

func TestBase(t *testing.T) {
	for in, want := range map[string]string{
		"rtsp://10.0.0.1:554/x": "http://10.0.0.1", "https://10.0.0.1:8443/x?y": "https://10.0.0.1:8443",
		"rtsp://[fe80::1]/x": "http://[fe80::1]", "": "", "rtsp:": "",
	} {
		u, err := base(fleet.Target{Endpoints: []fleet.Endpoint{{URL: in}}})
		if got := fmt.Sprint(u); (err != nil) != (want == "") || err == nil && got != want {
			t.Errorf("base(%q) = %s, %v, want %s", in, got, err, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	files, err := filepath.Glob("testdata/rebuilt/*/answers.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		for _, a := range answers(f, file) {
			f.Add([]byte(a.body))
		}
	}
	rows := table()
	f.Fuzz(func(t *testing.T, body []byte) {
		_ = title(body)
		for _, r := range rows {
			for _, a := range r.calls {
				var id identity
				err := a.read(body, &id)
				if ce, ok := errors.AsType[*fleet.CameraError](err); err != nil && (!ok || ce.Cause != fleet.CauseProtocol) {
					t.Errorf("%s %s: %v", r.vendor, a.path, err)
				}
				if len(id.channels) > maxChannels {
					t.Errorf("%s: %d channels", r.vendor, len(id.channels))
				}
				for _, ch := range id.channels {
					if ch.number < 1 || len(ch.streams) > 2 {
						t.Errorf("%s: channel %+v", r.vendor, ch)
					}
				}
			}
		}
	})
}
