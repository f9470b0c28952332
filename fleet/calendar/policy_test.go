package calendar

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func TestMisfire(t *testing.T) {
	week := 7 * 24 * time.Hour
	for text, want := range map[string]Misfire{
		"":                            {},
		"skip":                        {},
		"latest":                      {1, week},
		"all(max 10, within 6h)":      {10, 6 * time.Hour},
		"all(max 1,within 1s)":        {1, time.Second},
		"all( max 1000 , within 7d )": {1000, week},
	} {
		s := compile(t, Spec{Every: Duration(time.Minute), Misfire: text})
		if got := s.Misfire(); got != want {
			t.Errorf("misfire %q = %+v, want %+v", text, got, want)
		}
	}
}

func TestPolicies(t *testing.T) {
	s := compile(t, Spec{Every: Duration(time.Minute)})
	if s.Overlap() != OverlapQueueOne || s.Priority() != fleet.PriorityNormal || s.Retake().Max != 0 || s.Retake().Wants(VerdictBlack) {
		t.Errorf("defaults: overlap %q, priority %v, retake %+v", s.Overlap(), s.Priority(), s.Retake())
	}
	if got, want := s.Retry(), (Retry{Attempts: 2, Backoff: Duration(500 * time.Millisecond), Cap: Duration(10 * time.Second)}); got != want {
		t.Errorf("default retry = %+v, want %+v", got, want)
	}
	s = compile(t, Spec{
		Every: Duration(time.Minute), Overlap: "replace", Priority: "urgent",
		Retake: &Retake{On: List{"black", "blurred"}}, Retry: &Retry{Attempts: 3, Backoff: Duration(time.Minute), Elsewhere: true},
	})
	if s.Overlap() != OverlapReplace || s.Priority() != fleet.PriorityUrgent {
		t.Errorf("overlap %q, priority %v", s.Overlap(), s.Priority())
	}
	if r := s.Retake(); r.Max != 2 || !r.Wants(VerdictBlack) || !r.Wants(VerdictBlurred) || r.Wants(VerdictCorrupt) {
		t.Errorf("retake %+v", r)
	}
	// A backoff above the usual cap raises the cap.
	if r := s.Retry(); r.Attempts != 3 || r.Cap != Duration(time.Minute) || !r.Elsewhere {
		t.Errorf("retry %+v", r)
	}
}

func TestPolicyFaults(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(*Spec)
	}{
		{`misfire: "never": want skip, latest, or all(max 10, within 6h)`, func(s *Spec) { s.Misfire = "never" }},
		{`misfire: "all": want skip, latest`, func(s *Spec) { s.Misfire = "all" }},
		{`misfire: "all(max 10)": want skip, latest`, func(s *Spec) { s.Misfire = "all(max 10)" }},
		{`misfire: "all(10, 6h)": want skip, latest`, func(s *Spec) { s.Misfire = "all(10, 6h)" }},
		{`misfire: "all(max x, within 6h)": want skip, latest`, func(s *Spec) { s.Misfire = "all(max x, within 6h)" }},
		{`misfire: "all(max 10, within 6h": want skip, latest`, func(s *Spec) { s.Misfire = "all(max 10, within 6h" }},
		{`max: want 1 to 1000`, func(s *Spec) { s.Misfire = "all(max 0, within 6h)" }},
		{`max: want 1 to 1000`, func(s *Spec) { s.Misfire = "all(max 1001, within 6h)" }},
		{`within: duration "6": the unit is missing: write 6s`, func(s *Spec) { s.Misfire = "all(max 1, within 6)" }},
		{`within: want at most 168h`, func(s *Spec) { s.Misfire = "all(max 1, within 8d)" }},
		{`overlap: "queue": want skip, queue-one or replace`, func(s *Spec) { s.Overlap = "queue" }},
		{`priority: "1": want low, normal, high or urgent`, func(s *Spec) { s.Priority = "1" }},
		{`retake: on is missing: want a list of corrupt, blurred, black`, func(s *Spec) { s.Retake = &Retake{Max: 1} }},
		{`retake: on: "dark": want corrupt, blurred or black`, func(s *Spec) { s.Retake = &Retake{On: List{"black", "dark"}} }},
		{`retake: max: 11: want 1 to 10`, func(s *Spec) { s.Retake = &Retake{On: List{"black"}, Max: 11} }},
		{`retry: 21: want at most 20 tries after the first`, func(s *Spec) { s.Retry = &Retry{Attempts: 21} }},
		{`retry: backoff and cap: want at most 1h`, func(s *Spec) { s.Retry = &Retry{Backoff: Duration(2 * time.Hour)} }},
		{`retry: backoff and cap: want at most 1h`, func(s *Spec) { s.Retry = &Retry{Cap: Duration(2 * time.Hour)} }},
		{`retry: cap 1s is below backoff 2s`, func(s *Spec) {
			s.Retry = &Retry{Backoff: Duration(2 * time.Second), Cap: Duration(time.Second)}
		}},
	} {
		s := Spec{Name: "a", Select: "*", Every: Duration(time.Minute)}
		c.change(&s)
		if _, err := s.Compile(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Compile of %s: %v, want an error with %q", s.JSON(), err, c.want)
		}
	}
}

// TestPolicyJSON reads each form, and writes the one canonical form.
func TestPolicyJSON(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{`{"retry":3}`, `{"retry":3}`},
		{`{"retry":0}`, `{"retry":0}`},
		{`{"retry":{"attempts":3}}`, `{"retry":3}`},
		{`{"retry":{"backoff":"1000ms"}}`, `{"retry":{"attempts":2,"backoff":"1s"}}`},
		{`{"retry":{"attempts":1,"cap":"1m","elsewhere":true}}`, `{"retry":{"attempts":1,"cap":"1m","elsewhere":true}}`},
		{`{"retake":"black"}`, `{"retake":{"on":["black"]}}`},
		{`{"retake":["black","corrupt"]}`, `{"retake":{"on":["black","corrupt"]}}`},
		{`{"retake":{"on":"black","max":3}}`, `{"retake":{"on":["black"],"max":3}}`},
		{`{"misfire":"latest","overlap":"skip","priority":"low"}`, `{"misfire":"latest","overlap":"skip","priority":"low"}`},
	} {
		var s Spec
		if err := json.Unmarshal([]byte(c.in), &s); err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		want := `{"name":"","select":"",` + c.want[1:]
		if got := s.JSON(); got != want {
			t.Errorf("%s reads as %s, want %s", c.in, got, want)
		}
	}
	for in, want := range map[string]string{
		`{"retry":"three"}`:             "want a number, or {attempts: 2",
		`{"retry":300}`:                 "want a number, or {attempts: 2",
		`{"retry":-1}`:                  "want a number, or {attempts: 2",
		`{"retry":{"backoff":"5"}}`:     "write 5s for seconds",
		`{"retake":3}`:                  "want a list, for example [corrupt, black]",
		`{"retake":{"on":{"a":"b"}}}`:   "want a list, for example [corrupt, black]",
		`{"retake":{"on":[],"max":-1}}`: "want a list, for example [corrupt, black]",
	} {
		var s Spec
		if err := json.Unmarshal([]byte(in), &s); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%s: %v, want an error with %q", in, err, want)
		}
	}
}

// drawPolicies sets every policy to a value that compiles.
func drawPolicies(t *rapid.T, s *Spec) {
	s.Misfire = rapid.SampledFrom([]string{"", "skip", "latest", "all(max 10, within 6h)"}).Draw(t, "misfire")
	s.Overlap = rapid.SampledFrom([]string{"", "skip", "queue-one", "replace"}).Draw(t, "overlap")
	s.Priority = rapid.SampledFrom([]string{"", "low", "normal", "high", "urgent"}).Draw(t, "priority")
	if rapid.Bool().Draw(t, "retries") {
		s.Retry = &Retry{
			Attempts: rapid.Uint8Range(0, maxRetries).Draw(t, "attempts"),
			Backoff:  Duration(rapid.IntRange(0, 10_000).Draw(t, "backoff")) * Duration(time.Millisecond),
			Cap:      Duration(rapid.SampledFrom([]time.Duration{0, 10 * time.Second, maxBackoff}).Draw(t, "cap")),
		}
		s.Retry.Elsewhere = rapid.Bool().Draw(t, "elsewhere")
	}
	if rapid.Bool().Draw(t, "retakes") {
		s.Retake = &Retake{
			On:  rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"corrupt", "blurred", "black"}), 1, 3, rapid.ID).Draw(t, "on"),
			Max: rapid.Uint8Range(0, maxRetakes).Draw(t, "max"),
		}
	}
}

// TestPoliciesSurviveJSON holds that a revision read back from the store says
// what was applied.
func TestPoliciesSurviveJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{Name: "a", Select: "*", Every: Duration(time.Minute)}
		drawPolicies(t, &spec)
		s, err := spec.Compile()
		if err != nil {
			t.Fatal(err)
		}
		var again Spec
		if err := json.Unmarshal([]byte(spec.JSON()), &again); err != nil || !again.Equal(spec) {
			t.Fatalf("%s reads back as %s, %v", spec.JSON(), again.JSON(), err)
		}
		o, err := again.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if s.Retry() != o.Retry() || s.Misfire() != o.Misfire() || s.Overlap() != o.Overlap() || s.Priority() != o.Priority() ||
			s.Retake().Max != o.Retake().Max || strings.Join(s.Retake().On, " ") != strings.Join(o.Retake().On, " ") {
			t.Fatalf("%s: compiled %+v, read back %+v", spec.JSON(), s, o)
		}
	})
}
