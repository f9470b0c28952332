package vendor

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// answers serve as rows of the table and as seeds.
var answers = []struct { //nolint:gochecknoglobals // shared by a test and its fuzzing
	name   string
	format Format
	body   string
	want   map[string]string // nil = an error
}{
	{"lines", Lines, "a=1\r\n b = 'two' \nnone\n=x\nc=\"\"\nd=a=b\n", map[string]string{"a": "1", "b": "two", "d": "a=b"}},
	{"the first counts", Lines, "a=1\na=2\n", map[string]string{"a": "1"}},
	{"pairs", Pairs, "ModelName=SNC&Serial=1&Empty=", map[string]string{"ModelName": "SNC", "Serial": "1"}},
	{"no value", Lines, "<html>", nil},
	{"control characters", Lines, "a=\x01b\nc=ok", map[string]string{"c": "ok"}},
	{"long value", Lines, "a=" + strings.Repeat("x", 200) + "\nb=1", map[string]string{"b": "1"}},
	{"xml", XML, `<?xml version="1.0"?><D xmlns="u"><model>M &amp; N</model><list><model>no</model></list></D>`, map[string]string{"model": "M & N"}},
	{"xml cut off", XML, `<D><model>M</model>`, nil},
	{"xml with entities", XML, `<!DOCTYPE D [<!ENTITY a "b">]><D><m>&a;</m></D>`, nil},
	{"xml without end", XML, strings.Repeat("<a>", 100), nil},
	{"no xml", XML, "a=1", nil},
	{"more ends than beginnings", XML, "</a>", nil},
}

func TestParse(t *testing.T) {
	for _, c := range answers {
		got, err := parse(c.format, []byte(c.body))
		if (err != nil) != (c.want == nil) || err == nil && !maps.Equal(got, c.want) {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	if _, err := parse(0, nil); err == nil {
		t.Error("an unknown format was read")
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range answers {
		f.Add(int(c.format), []byte(c.body))
	}
	files, err := filepath.Glob("testdata/rebuilt/*/info")
	if err != nil || len(files) == 0 {
		f.Fatal(err, files)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for format := range int(XML) + 1 {
			f.Add(format, b)
		}
	}
	f.Fuzz(func(t *testing.T, format int, body []byte) {
		got, err := parse(Format(format), body)
		if err == nil && len(got) == 0 || len(got) > maxValues {
			t.Errorf("%d values, %v", len(got), err)
		}
		for k, v := range got {
			if len(k) > maxValueBytes || len(v) > maxValueBytes || v == "" || strings.ContainsAny(v, "\n\x00") {
				t.Errorf("%q=%q", k, v)
			}
		}
		_ = (&Maker{Keys: Keys{MAC: "a", Channels: "b"}}).facts(got)
	})
}
