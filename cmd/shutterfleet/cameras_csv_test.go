package main

import (
	"fmt"
	"strings"
	"testing"
)

// sheets are tables and what is said of them: tests, and seeds of the fuzz
// target. An empty wrong means that all cameras are taken.
var sheets = []struct {
	name, text string
	site       string
	cameras    int
	wrong      []string
}{
	{"whole", "name,site,url,label:floor,label:Zone\nGate,home,rtsp://192.0.2.7/s,2,yard\n\"Dock, north\",lab,http://192.0.2.8/,,\n", "", 2, nil},
	{"from a spreadsheet", "\xef\xbb\xbfURL, Site ,Name\r\nrtsp://192.0.2.7/s, home , Gate\r\n", "", 1, nil},
	{"site for all", "url\nrtsp://192.0.2.7/s\nrtsp://192.0.2.8/s\n", "home", 2, nil},
	{"blank lines", "url\n\nrtsp://192.0.2.7/s\n\n", "home", 1, nil},
	{"the same at two sites", "url,site\nrtsp://192.0.2.7/s,a\nrtsp://192.0.2.7/s,b\n", "", 2, nil},
	{"empty", "", "home", 0, []string{"it is empty"}},
	{"header alone", "url\n", "home", 0, []string{"names no camera"}},
	{"no header", "rtsp://192.0.2.7/s,home\n", "", 0, []string{"line 1", "is not known"}},
	{"no url", "name,site\nx,home\n", "", 0, []string{"no column url"}},
	{"no site", "url\nrtsp://192.0.2.7/s\n", "", 0, []string{"no column site", "--site"}},
	{"mistyped column", "url,flor\nrtsp://192.0.2.7/s,2\n", "home", 0, []string{`"flor"`, "label:flor"}},
	{"column twice", "url,url\na,b\n", "home", 0, []string{"twice"}},
	{"label without a key", "url,label:\na,b\n", "home", 0, []string{"label:floor"}},
	{"passwords", "url,user,password\nrtsp://192.0.2.7/s,u,hunter2\n", "home", 0, []string{"password-file"}},
	{"all wrong lines", "url,site\nftp://192.0.2.7/,home\nrtsp://192.0.2.7/s,home\nrtsp://u:hunter2@192.0.2.8/s,home\nrtsp://192.0.2.9/s,\nrtsp://192.0.2.7/s,home\ncamera,home\n", "", 0,
		[]string{"line 2: ", "ftp is no camera's scheme", "line 4: ", "holds a login", "line 5: ", "site", "line 6: ", "the same camera as in line 3", "line 7: ", "want a whole URL", "nothing was taken"}},
	{"too few cells", "url,site\nrtsp://192.0.2.7/s\nrtsp://192.0.2.8/s,a b\n", "", 0, []string{"line 2: 1 cells under 2 columns", "line 3: "}},
	{"open quote", "url,site\n\"rtsp://192.0.2.7/s,home\n", "", 0, []string{"line 2", "nothing was taken"}},
	{"user without a password", "url,user\nrtsp://192.0.2.7/s,u\n", "home", 0, []string{"line 2: password-file"}},
	{"password without a user", "url,password-file\nrtsp://192.0.2.7/s,pw\n", "home", 0, []string{"line 2: user"}},
	{"a label of its own field", "url,label:site\nrtsp://192.0.2.7/s,x\n", "home", 0, []string{"line 2: ", "own field"}},
	{"many wrong lines", "url\n" + strings.Repeat("x\n", 100), "home", 0, []string{"line 21: ", "and 80 lines more"}},
	{"too many lines", "url\n" + manyURLs(maxSheetLines+1), "home", 0, []string{"line 20002: more than 20000 cameras"}},
}

func manyURLs(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "rtsp://10.%d.%d.%d/s\n", i>>16, i>>8&255, i&255)
	}
	return b.String()
}

func TestReadSheet(t *testing.T) {
	for _, c := range sheets {
		rows, err := readSheet([]byte(c.text), sheet{site: c.site}, nil)
		if len(c.wrong) == 0 {
			if err != nil || len(rows) != c.cameras {
				t.Errorf("%s: readSheet = %d cameras, %v; want %d", c.name, len(rows), err, c.cameras)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: readSheet takes it", c.name)
			continue
		}
		for _, w := range c.wrong {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: the error does not say %q: %v", c.name, w, err)
			}
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error tells the password: %v", c.name, err)
		}
	}
}

func FuzzReadSheet(f *testing.F) {
	for _, c := range sheets[:len(sheets)-1] {
		f.Add(c.text, c.site)
	}
	f.Fuzz(func(t *testing.T, text, site string) {
		rows, err := readSheet([]byte(text), sheet{site: site}, nil)
		if err != nil {
			return
		}
		for _, r := range rows {
			if err := r.camera.Check(); err != nil || r.line < 2 {
				t.Fatalf("line %d of %q is taken: %v", r.line, text, err)
			}
		}
	})
}

func TestCamerasAddFile(t *testing.T) {
	c := newTerminal(t, "operator")
	pw, other := c.file("pw", "hunter2\n"), c.file("other", "tr0ub4dor\n")
	table := c.file("cameras.csv", "name,site,url,label:floor,user,password-file\nGate,lab,rtsp://192.0.2.7/s,2,,\nDock,,rtsp://192.0.2.8/s,,u,"+other+"\n")
	var cams []struct{ ID, Name, Site, State string }
	c.json(&cams, "cameras", "add", "--file", table, "--site", "home", "--user", "viewer", "--password-file", pw)
	if len(cams) != 2 || cams[0].Name != "Gate" || cams[0].Site != "lab" || cams[1].Name != "Dock" || cams[1].Site != "home" {
		t.Errorf("added %+v", cams)
	}
	if l := c.f.Logins; len(l) != 2 || l[0].User != "viewer" || l[0].Password.Reveal() != "hunter2" || l[1].User != "u" || l[1].Password.Reveal() != "tr0ub4dor" {
		t.Errorf("logins %+v", l)
	}
	before := len(c.f.ByID)
	var dry []struct {
		Line      int
		Site, URL string
	}
	c.json(&dry, "cameras", "add", "--file", c.file("dry.csv", "url\nrtsp://192.0.2.9/s\n"), "--site", "home", "--dry-run")
	if len(dry) != 1 || dry[0].Line != 2 || dry[0].Site != "home" || dry[0].URL != "rtsp://192.0.2.9/s" || len(c.f.ByID) != before {
		t.Errorf("--dry-run prints %+v and takes %d", dry, len(c.f.ByID)-before)
	}
	for _, bad := range []string{
		"url\nrtsp://192.0.2.9/s\nftp://192.0.2.9/\n",
		"url,user,password-file\nrtsp://192.0.2.9/s,,\nrtsp://192.0.2.10/s,u,/nonexistent/pw\n",
	} {
		code, _, errs := c.run("cameras", "add", "--site", "home", "--file", c.file("bad.csv", bad))
		if code != 1 || !strings.Contains(errs, "line 3: ") || !strings.Contains(errs, "nothing was taken") || len(c.f.ByID) != before {
			t.Errorf("%q: exit code %d, %d cameras were taken: %s", bad, code, len(c.f.ByID)-before, errs)
		}
	}
	for _, args := range [][]string{{"--url", "rtsp://192.0.2.9/"}, {"--name", "x"}, {"--user", "u"}} {
		if code, _, _ := c.run(append([]string{"cameras", "add", "--file", table}, args...)...); code != 2 {
			t.Errorf("--file with %v: exit code %d, want 2", args, code)
		}
	}
}
