package calendar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestExclude walks a schedule of every hour over what is left of a few days.
func TestExclude(t *testing.T) {
	hours := func(day string, from, until int) (out []string) {
		for h := from; h < until; h++ {
			out = append(out, fmt.Sprintf("%s %02d", day, h))
		}
		return out
	}
	for _, c := range []struct {
		name    string
		tz      string
		exclude List
		want    []string // of 24 and 25 December 2027
	}{
		{"a date", "UTC", List{"2027-12-24"}, hours("25", 0, 24)},
		{"times", "UTC", List{"2027-12-24T06:00:00Z/2027-12-25T20:00:00Z"}, append(hours("24", 0, 6), hours("25", 20, 24)...)},
		{"times by the clock", "America/New_York", List{"2027-12-24T06:00:00/2027-12-25T20:00:00"}, append(hours("24", 0, 6), hours("25", 20, 24)...)},
		{"times with offsets", "America/New_York", List{"2027-12-24T06:00:00-05:00/2027-12-26T01:00:00Z"}, append(hours("24", 0, 6), hours("25", 20, 24)...)},
		{"ranges that overlap, in any order", "UTC",
			List{"2027-12-24T08:00:00Z/2027-12-24T22:00:00Z", "2027-12-24T06:00:00Z/2027-12-24T09:00:00Z", "2027-12-24T22:00:00Z/2027-12-24T23:00:00Z", "2027-12-25"},
			append(hours("24", 0, 6), "24 23")},
		{"a date after times", "UTC", List{"2027-12-23..2027-12-24", "12-25", "2027-12-25T23:00:00Z/2027-12-27T00:00:00Z"}, nil},
		{"a fraction of a second", "UTC", List{"2027-12-24T00:00:00.001Z/2027-12-25T23:00:00.000Z"}, []string{"24 00", "25 23"}},
		{"dates within dates", "UTC", List{"2027-12-20..2027-12-31", "2027-12-24", "2027-12-22..2027-12-23"}, nil},
	} {
		s := compile(t, Spec{Every: Duration(time.Hour), AtPhase: new(Offset), TZ: c.tz, Exclude: c.exclude})
		loc, err := time.LoadLocation(c.tz)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		after, end := fleet.At(time.Date(2027, 12, 24, 0, 0, 0, 0, loc))-1, fleet.At(time.Date(2027, 12, 26, 0, 0, 0, 0, loc))
		for {
			n, ok := s.Next(Task{}, after)
			if !ok || n >= end {
				break
			}
			got = append(got, n.Time().In(loc).Format("02 15"))
			after = n
		}
		if strings.Join(got, ",") != strings.Join(c.want, ",") {
			t.Errorf("%s: %v leaves %v, want %v", c.name, c.exclude, got, c.want)
		}
	}
}

func TestExcludeFaults(t *testing.T) {
	for text, want := range map[string]string{
		"2027-12-25T10:00:00Z/2027-12-25T12:00:00":  "want two times with their offsets",
		"2027-12-25/2027-12-26":                     "want two times with their offsets",
		"2027-12-25T10:00:00Z/":                     "want two times with their offsets",
		"2027-12-25T10:00:00Z/2027-12-25T10:00:00Z": "the second time is not after the first",
		"2027-12-25T10:00:00/2027-12-24T10:00:00":   "the second time is not after the first",
		"2027-12-25T10:00:00Z":                      "want a date or a range",
		"2027-12-26..2027-12-25":                    "the range runs backwards",
	} {
		spec := Spec{Name: "a", Select: "*", Every: Duration(time.Hour), Exclude: List{text}}
		if _, err := spec.Compile(); err == nil || !strings.Contains(err.Error(), "exclude: \""+text) || !strings.Contains(err.Error(), want) {
			t.Errorf("exclude %q: %v, want an error with %q", text, err, want)
		}
	}
	spec := Spec{Name: "a", Select: "*", Every: Duration(time.Hour)}
	for range maxExclude + 1 {
		spec.Exclude = append(spec.Exclude, "2027-01-01")
	}
	if _, err := spec.Compile(); err == nil || !strings.Contains(err.Error(), "4001 dates and times, want at most 4000") {
		t.Errorf("too many: %v", err)
	}
}

// TestExcludeOneByOne: as many single ranges as may be given, each over the one
// time of its day, are passed in one call.
func TestExcludeOneByOne(t *testing.T) {
	first := time.Date(2027, 1, 1, 3, 0, 0, 0, time.UTC)
	var exclude List
	for i := range maxExclude {
		from := first.AddDate(0, 0, i)
		if i%2 == 0 {
			exclude = append(exclude, from.Format(time.RFC3339)+"/"+from.Add(time.Minute).Format(time.RFC3339))
		} else {
			exclude = append(exclude, from.Format(time.DateOnly))
		}
	}
	s := compile(t, Spec{Cron: List{"0 3 * * *"}, TZ: "UTC", Exclude: exclude})
	want := fleet.At(first.AddDate(0, 0, maxExclude))
	if got, ok := s.Next(Task{}, fleet.At(first)-1); !ok || got != want {
		t.Errorf("after all of them %v, %v, want %v", got, ok, want)
	}
}
