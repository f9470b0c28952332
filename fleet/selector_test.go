package fleet_test

import (
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

var selectorCases = []struct {
	text, canonical string
	match, miss     string // labels as k=v, split at spaces
}{
	{"*", "*", "a=b", "-"},
	{"site=store-*,!retired", "site=store-*,!retired", "site=store-12", "site=store-12 retired=yes"},
	{"site != store-*", "site!=store-*", "site=depot", "site=store-1"},
	{"role", "role", "role=", "site=a"},
	{"crop in (vine, olive)", "crop in (vine, olive)", "crop=olive", "crop=wheat"},
	{"crop not in (vine,ol*)", "crop not in (vine, ol*)", "site=a", "crop=olive"},
	{`name="back door"`, `name="back door"`, "-", "name=back"},
	{"in in (in, not)", "in in (in, not)", "in=not", "in=out"},
	{"*, role=gate", "*,role=gate", "role=gate", "role=shelf"},
	{`a=""`, `a=""`, "a=", "a=b"},
	{`"*"=x`, `"*"=x`, "*=x", "a=x"},
	{"a=*b*c", "a=*b*c", "a=xxbyybc", "a=bcx"},
}

func labels(s string) map[string]string {
	m := map[string]string{}
	for kv := range strings.FieldsSeq(s) {
		if k, v, ok := strings.Cut(kv, "="); ok {
			m[k] = v
		}
	}
	return m
}

func TestSelector(t *testing.T) {
	for _, c := range selectorCases {
		s, err := fleet.ParseSelector(c.text)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if got := s.String(); got != c.canonical {
			t.Errorf("%q reads back as %q, want %q", c.text, got, c.canonical)
		}
		if c.match != "-" && !s.Match(labels(c.match)) {
			t.Errorf("%q does not match %q", c.text, c.match)
		}
		if c.miss != "-" && s.Match(labels(c.miss)) {
			t.Errorf("%q matches %q", c.text, c.miss)
		}
	}
	if !(fleet.Selector{}).Match(nil) {
		t.Error("the zero selector must match everything")
	}
}

func TestSelectorFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "column 1: want a label name",
		"site=":                         `column 6: want a value`,
		"site=a,":                       "column 8: want a label name",
		"site=a b":                      "column 8: want a comma",
		"crop in vine":                  "column 9: want (",
		"crop in (vine":                 "column 14: want , or )",
		"crop of (vine)":                "column 6: want =, !=, in",
		"!*":                            "column 2: * alone",
		"st*=a":                         "column 1: a label name holds no *",
		`a="b`:                          "column 5: want a value",
		strings.Repeat("a,", 100) + "a": "at most 64 terms",
		strings.Repeat("a", 5000):       "5000 bytes long",
		"a in (" + strings.Repeat("b,", 300) + "b)": "at most 256 values",
	} {
		if _, err := fleet.ParseSelector(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSelector(%.40q) = %v, want an error with %q", text, err, want)
		}
	}
}

// TestSelectorGlob checks the star against path.Match, which agrees with ours
// on words without its other special characters.
func TestSelectorGlob(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[ab*]{1,8}`).Draw(t, "pattern")
		text := rapid.StringMatching(`[ab]{0,10}`).Draw(t, "text")
		s, err := fleet.ParseSelector("k=" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := path.Match(pattern, text)
		if got := s.Match(map[string]string{"k": text}); got != want {
			t.Fatalf("k=%s matches %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// FuzzParseSelector holds that the canonical text reads back to itself.
func FuzzParseSelector(f *testing.F) {
	for _, c := range selectorCases {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := fleet.ParseSelector(text)
		if err != nil {
			return
		}
		again, err := fleet.ParseSelector(s.String())
		if len(s.String()) > 4096 { // quotes and spaces may push it over the limit
			return
		}
		if err != nil || again.String() != s.String() {
			t.Fatalf("%q reads as %q, then as %q, %v", text, s, again, err)
		}
		s.Match(map[string]string{"site": "a", text: text})
	})
}
