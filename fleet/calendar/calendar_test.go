package calendar_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

func compile(t interface{ Fatalf(string, ...any) }, s calendar.Spec) *calendar.Schedule {
	if s.Name == "" {
		s.Name = "test"
	}
	if s.Select == "" {
		s.Select = "*"
	}
	c, err := s.Compile()
	if err != nil {
		t.Fatalf("Compile(%+v): %v", s, err)
	}
	return c
}

func instant(t *testing.T, text string) (i fleet.Instant) {
	t.Helper()
	if err := i.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return i
}

func Example() {
	s, err := calendar.Spec{Name: "gate-at-night", Select: "role=gate", Cron: calendar.Crons{"30 2 * * *"}, TZ: "America/New_York"}.Compile()
	if err != nil {
		fmt.Println(err)
		return
	}
	// On 14 March 2027 the clocks go from 2:00 to 3:00: the lost time happens
	// once, at the end of the gap.
	at := fleet.At(time.Date(2027, 3, 13, 12, 0, 0, 0, time.UTC))
	zone, _ := time.LoadLocation("America/New_York")
	for range 2 {
		at, _ = s.Next(calendar.Task{}, at)
		fmt.Println(at.Time().In(zone).Format(time.RFC3339))
	}
	// Output:
	// 2027-03-14T03:00:00-04:00
	// 2027-03-15T02:30:00-04:00
}

func TestCron(t *testing.T) {
	for _, c := range []struct {
		name, tz, from string
		cron           []string
		want           string // comma-separated, local, minute precision
	}{
		{"daily", "UTC", "2027-01-01T00:00:00Z", []string{"0 4 * * *"}, "2027-01-01 04:00,2027-01-02 04:00"},
		{"strictly after", "UTC", "2027-01-01T04:00:00Z", []string{"0 4 * * *"}, "2027-01-02 04:00"},
		{"either day field", "UTC", "2027-01-01T12:00:00Z", []string{"0 0 13 * fri"}, "2027-01-08 00:00,2027-01-13 00:00,2027-01-15 00:00"},
		{"a star restricts nothing", "UTC", "2027-01-01T00:00:00Z", []string{"0 0 * * mon"}, "2027-01-04 00:00,2027-01-11 00:00"},
		{"equal instants count once", "UTC", "2027-01-01T00:00:00Z", []string{"0 4 * * *", "0 4,5 * * *"}, "2027-01-01 04:00,2027-01-01 05:00,2027-01-02 04:00"},
		{"last day", "UTC", "2027-01-15T00:00:00Z", []string{"0 0 L * *"}, "2027-01-31 00:00,2027-02-28 00:00"},
		{"last weekday", "UTC", "2027-01-15T00:00:00Z", []string{"0 0 LW * *"}, "2027-01-29 00:00,2027-02-26 00:00"},
		{"nearest weekday", "UTC", "2027-05-01T00:00:00Z", []string{"0 0 15W * *"}, "2027-05-14 00:00,2027-06-15 00:00"},
		{"nearest weekday stays in its month", "UTC", "2027-04-29T00:00:00Z", []string{"0 0 1W * *"}, "2027-05-03 00:00"},
		{"second friday", "UTC", "2027-01-01T00:00:00Z", []string{"0 0 * * fri#2"}, "2027-01-08 00:00,2027-02-12 00:00"},
		{"last friday", "UTC", "2027-01-01T00:00:00Z", []string{"0 0 * * 5L"}, "2027-01-29 00:00,2027-02-26 00:00"},
		{"leap day", "UTC", "2027-01-01T00:00:00Z", []string{"0 0 29 2 *"}, "2028-02-29 00:00,2032-02-29 00:00"},
		{"seconds", "UTC", "2027-01-01T00:00:31Z", []string{"30 * * * * *"}, "2027-01-01 00:01,2027-01-01 00:02"},
		{"gap: once at its end", "Europe/Paris", "2027-03-27T12:00:00Z", []string{"30 2 * * *"}, "2027-03-28 03:00,2027-03-29 02:30"},
		{"gap: two lost times are one", "Europe/Paris", "2027-03-28T00:00:00Z", []string{"10,40 2,3 * * *"}, "2027-03-28 03:00,2027-03-28 03:10,2027-03-28 03:40"},
		{"fold: first pass only", "Europe/Paris", "2027-10-30T12:00:00Z", []string{"30 2 * * *"}, "2027-10-31 02:30,2027-11-01 02:30"},
		{"hourly goes by elapsed time in a fold", "Europe/Paris", "2027-10-30T23:15:00Z", []string{"30 * * * *"}, "2027-10-31 01:30,2027-10-31 02:30,2027-10-31 02:30,2027-10-31 03:30"},
		{"hourly goes by elapsed time in a gap", "Europe/Paris", "2027-03-28T00:15:00Z", []string{"30 * * * *"}, "2027-03-28 01:30,2027-03-28 03:30"},
		{"half an hour of fold", "Australia/Lord_Howe", "2027-04-03T10:00:00Z", []string{"45 1 * * *"}, "2027-04-04 01:45,2027-04-05 01:45"},
		{"gap at midnight", "America/Asuncion", "2023-09-30T12:00:00Z", []string{"30 0 * * *"}, "2023-10-01 01:00,2023-10-02 00:30"},
		{"shorthand", "UTC", "2027-01-01T00:00:00Z", []string{"@weekly"}, "2027-01-03 00:00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compile(t, calendar.Spec{Cron: c.cron, TZ: c.tz})
			zone, err := time.LoadLocation(c.tz)
			if err != nil {
				t.Fatal(err)
			}
			at := instant(t, c.from)
			var got []string
			for range strings.Split(c.want, ",") {
				var ok bool
				if at, ok = s.Next(calendar.Task{}, at); !ok {
					break
				}
				got = append(got, at.Time().In(zone).Format("2006-01-02 15:04"))
			}
			if g := strings.Join(got, ","); g != c.want {
				t.Errorf("%v from %s\n got %s\nwant %s", c.cron, c.from, g, c.want)
			}
		})
	}
}

// TestCronAgainstEveryMinute checks Next against a walk over all minutes, away
// from changes of offset.
func TestCronAgainstEveryMinute(t *testing.T) {
	field := func(t *rapid.T, name string, low, high int) (string, func(int) bool) {
		a := rapid.IntRange(low, high).Draw(t, name)
		switch b := rapid.IntRange(a, high).Draw(t, name+"-to"); rapid.IntRange(0, 3).Draw(t, name+"-kind") {
		case 0:
			return "*", func(int) bool { return true }
		case 1:
			return fmt.Sprint(a), func(v int) bool { return v == a }
		case 2:
			return fmt.Sprintf("%d-%d", a, b), func(v int) bool { return v >= a && v <= b }
		default:
			step := rapid.IntRange(1, 20).Draw(t, name+"-step")
			return fmt.Sprintf("%d/%d", a, step), func(v int) bool { return v >= a && (v-a)%step == 0 }
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		mi, okMi := field(t, "minute", 0, 59)
		h, okH := field(t, "hour", 0, 23)
		d, okD := field(t, "day", 1, 28)
		w, okW := field(t, "weekday", 0, 6)
		s := compile(t, calendar.Spec{Cron: calendar.Crons{strings.Join([]string{mi, h, d, "*", w}, " ")}})
		from := time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 40*24*60).Draw(t, "from")) * time.Minute)
		got, ok := s.Next(calendar.Task{}, fleet.At(from))
		day := func(x time.Time) bool {
			switch {
			case d != "*" && w != "*":
				return okD(x.Day()) || okW(int(x.Weekday()))
			default:
				return okD(x.Day()) && okW(int(x.Weekday()))
			}
		}
		for x := from.Add(time.Minute); ; x = x.Add(time.Minute) {
			if okMi(x.Minute()) && okH(x.Hour()) && day(x) {
				if !ok || got.Time() != x {
					t.Fatalf("%v after %v = %v %v, want %v", s.Spec().Cron, from, got, ok, x)
				}
				return
			}
		}
	})
}

// TestCronIncreases holds for every zone and expression: Next is after its
// argument, and nothing lies between two answers.
func TestCronIncreases(t *testing.T) {
	zones := []string{"UTC", "America/New_York", "Europe/Paris", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo", "Africa/Casablanca", "Pacific/Apia"}
	rapid.Check(t, func(t *rapid.T) {
		s := compile(t, calendar.Spec{TZ: rapid.SampledFrom(zones).Draw(t, "zone"), Cron: calendar.Crons{fmt.Sprintf("%d %s * * *",
			rapid.IntRange(0, 59).Draw(t, "minute"), rapid.SampledFrom([]string{"*", "0", "1-3", "2,23", "*/2"}).Draw(t, "hour"))}})
		at := fleet.Instant(rapid.Int64Range(1_100_000_000, 1_900_000_000).Draw(t, "from") * 1000)
		for range 50 {
			next, ok := s.Next(calendar.Task{}, at)
			if !ok || next <= at {
				t.Fatalf("Next(%v) = %v %v", at, next, ok)
			}
			between := at + fleet.Instant(rapid.Int64Range(0, int64(next-at-1)).Draw(t, "between"))
			if again, _ := s.Next(calendar.Task{}, between); again != next {
				t.Fatalf("Next(%v) = %v, but Next(%v) = %v", at, next, between, again)
			}
			at = next
		}
	})
}

func TestEvery(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.IntRange(1, 100_000).Draw(t, "seconds")) * time.Second
		s := compile(t, calendar.Spec{Every: calendar.Duration(every)})
		task := calendar.Task{Camera: fleet.CameraID(rapid.Uint64().Draw(t, "camera")), Aligned: rapid.Bool().Draw(t, "aligned")}
		after := fleet.Instant(rapid.Int64Range(-1e6, 2e12).Draw(t, "after"))
		next, ok := s.Next(task, after)
		if !ok || next <= after || next.Sub(after) > every {
			t.Fatalf("Next(%d) = %d, every %v", after, next, every)
		}
		if then, _ := s.Next(task, next); then.Sub(next) != every {
			t.Fatalf("%d then %d, every %v", next, then, every)
		}
		if task.Aligned && int64(next)%every.Milliseconds() != 0 {
			t.Fatalf("%d is not aligned to %v", next, every)
		}
	})
}

func TestOnce(t *testing.T) {
	s := compile(t, calendar.Spec{Once: "approval"})
	if at, ok := s.Next(calendar.Task{Enabled: 5000}, 4999); !ok || at != 5000 {
		t.Errorf("approval at 5000: Next(4999) = %d %v", at, ok)
	}
	if at, ok := s.Next(calendar.Task{Enabled: 5000}, 5000); ok {
		t.Errorf("approval at 5000: Next(5000) = %d, want none", at)
	}
	s = compile(t, calendar.Spec{Once: "2027-03-01T06:00:00+01:00"})
	if at, ok := s.Next(calendar.Task{}, 0); !ok || at.String() != "2027-03-01T05:00:00.000Z" {
		t.Errorf("Next = %v %v", at, ok)
	}
}

func TestRefused(t *testing.T) {
	five := 50
	for _, c := range []struct {
		spec calendar.Spec
		want string
	}{
		{calendar.Spec{Name: "a b", Select: "*", Every: 1e9}, "name"},
		{calendar.Spec{Name: "a", Every: 1e9}, "select"},
		{calendar.Spec{Name: "a", Select: "*"}, "exactly one of every, cron, once"},
		{calendar.Spec{Name: "a", Select: "*", Every: 1e9, Once: "approval"}, "exactly one"},
		{calendar.Spec{Name: "a", Select: "*", Every: 5e8}, "every"},
		{calendar.Spec{Name: "a", Select: "*", Cron: calendar.Crons{"* * *"}}, "3 fields"},
		{calendar.Spec{Name: "a", Select: "*", Cron: calendar.Crons{"61 * * * *"}}, `minute "61": want 0 to 59`},
		{calendar.Spec{Name: "a", Select: "*", Cron: calendar.Crons{"0 0 30 2 *"}}, "no day ever matches"},
		{calendar.Spec{Name: "a", Select: "*", Once: "tomorrow"}, "RFC 3339"},
		{calendar.Spec{Name: "a", Select: "*", Every: 1e9, TZ: "Mars/Olympus"}, "IANA"},
		{calendar.Spec{Name: "a", Select: "*", Every: 1e9, Retries: &five}, "retries"},
	} {
		if _, err := c.spec.Compile(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Compile(%+v): %v, want one with %q", c.spec, err, c.want)
		}
	}
}

func TestDurationText(t *testing.T) {
	for text, want := range map[string]string{"90s": "1m30s", "5m": "5m", "2d": "2d", "1d12h": "36h", "1h30m": "1h30m", "1500ms": "1.5s"} {
		var d calendar.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != want {
			t.Errorf("%s reads as %s (%v), want %s", text, d, err, want)
		}
	}
	var s calendar.Spec
	if err := json.Unmarshal([]byte(`{"name":"a","select":"*","cron":"0 4 * * *","lead":"5s"}`), &s); err != nil || len(s.Cron) != 1 || s.Lead.D() != 5*time.Second {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzCron(f *testing.F) {
	for _, s := range []string{"0 4 * * *", "*/5 0-3,7 1W,L * fri#2", "30 0 0 LW 2 5L", "@daily", "0 0 ? * MON-FRI"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := calendar.Spec{Name: "f", Select: "*", Cron: calendar.Crons{text}, TZ: "Europe/Paris"}.Compile()
		if err != nil {
			return
		}
		at := fleet.Instant(1_800_000_000_000)
		for range 3 {
			next, ok := s.Next(calendar.Task{}, at)
			if !ok {
				return
			}
			if next <= at {
				t.Fatalf("%q: Next(%v) = %v", text, at, next)
			}
			at = next
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for name, spec := range map[string]calendar.Spec{
		"every": {Every: calendar.Duration(5 * time.Minute)},
		"cron":  {Cron: calendar.Crons{"30 2 * * 1-5"}, TZ: "America/New_York"},
	} {
		b.Run(name, func(b *testing.B) {
			s := compile(b, spec)
			at := fleet.Instant(1_800_000_000_000)
			b.ReportAllocs()
			for b.Loop() {
				at, _ = s.Next(calendar.Task{Camera: 7}, at)
			}
		})
	}
}
