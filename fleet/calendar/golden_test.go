package calendar

import (
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func compile(t testing.TB, s Spec) *Schedule {
	t.Helper()
	if s.Name == "" {
		s.Name = "test"
	}
	if s.Select == "" {
		s.Select = "*"
	}
	c, err := s.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func at(t testing.TB, s string) fleet.Instant {
	t.Helper()
	tm, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return fleet.At(tm)
}

// TestGolden holds published cases. The dates of changes of offset are those of
// the IANA database (northamerica, europe, australasia); the month-end and
// weekday cases can be checked on any calendar.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		cron string
		tz   string
		from string // exclusive
		want []string
	}{
		{"New York, gap, fixed time runs at its end", "30 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00",
			[]string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"}},
		{"New York, gap, several lost times run once", "0,15,30 2,3 * * *", "America/New_York", "2026-03-08T00:00:00-05:00",
			[]string{"2026-03-08T03:00:00-04:00", "2026-03-08T03:15:00-04:00", "2026-03-08T03:30:00-04:00", "2026-03-09T02:00:00-04:00"}},
		{"New York, double hour, fixed time runs at its first pass", "30 1 * * *", "America/New_York", "2026-10-31T12:00:00-04:00",
			[]string{"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{"New York, double hour, half-hourly keeps its pace", "*/30 * * * *", "America/New_York", "2026-11-01T00:30:00-04:00",
			[]string{"2026-11-01T01:00:00-04:00", "2026-11-01T01:30:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:00:00-05:00"}},
		{"New York, gap, half-hourly keeps its pace", "*/30 * * * *", "America/New_York", "2026-03-08T01:00:00-05:00",
			[]string{"2026-03-08T01:30:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T03:30:00-04:00"}},
		{"Berlin, gap", "0 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00+01:00",
			[]string{"2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"}},
		{"Lord Howe, half an hour lost", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30",
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"Apia, 30 December 2011 never was", "0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
		{"Sao Paulo, gap at midnight", "0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00",
			[]string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
		{"leap day", "0 0 29 2 *", "UTC", "2027-01-01T00:00:00Z",
			[]string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"leap day over 2100", "0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		{"month ends", "0 0 31 * *", "UTC", "2027-01-31T00:00:00Z",
			[]string{"2027-03-31T00:00:00Z", "2027-05-31T00:00:00Z", "2027-07-31T00:00:00Z", "2027-08-31T00:00:00Z"}},
		{"last day", "0 0 L * *", "UTC", "2028-01-31T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"}},
		{"third before the last", "0 0 L-3 * *", "UTC", "2027-02-01T00:00:00Z", []string{"2027-02-25T00:00:00Z", "2027-03-28T00:00:00Z"}},
		{"nearest weekday, Saturday the 15th to Friday", "0 0 15W * *", "UTC", "2027-05-01T00:00:00Z", []string{"2027-05-14T00:00:00Z"}},
		{"nearest weekday, Saturday the 1st to Monday the 3rd", "0 0 1W * *", "UTC", "2027-04-30T00:00:00Z", []string{"2027-05-03T00:00:00Z"}},
		{"last weekday", "0 0 LW * *", "UTC", "2027-02-01T00:00:00Z", []string{"2027-02-26T00:00:00Z", "2027-03-31T00:00:00Z"}},
		{"last Friday", "0 0 * * 5L", "UTC", "2027-01-01T00:00:00Z", []string{"2027-01-29T00:00:00Z", "2027-02-26T00:00:00Z"}},
		{"second Tuesday", "0 0 * * tue#2", "UTC", "2027-01-01T00:00:00Z", []string{"2027-01-12T00:00:00Z", "2027-02-09T00:00:00Z"}},
		{"13th or Friday", "0 0 13 * 5", "UTC", "2027-01-07T00:00:00Z",
			[]string{"2027-01-08T00:00:00Z", "2027-01-13T00:00:00Z", "2027-01-15T00:00:00Z"}},
		{"Sunday is 0 and 7", "0 0 * * 7", "UTC", "2027-01-01T00:00:00Z", []string{"2027-01-03T00:00:00Z"}},
		{"seconds first", "*/20 59 23 31 12 *", "UTC", "2027-01-01T00:00:00Z",
			[]string{"2027-12-31T23:59:00Z", "2027-12-31T23:59:20Z", "2027-12-31T23:59:40Z", "2028-12-31T23:59:00Z"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := compile(t, Spec{Cron: List{c.cron}, TZ: c.tz})
			after := at(t, c.from)
			for _, w := range c.want {
				got, ok := s.Next(Task{}, after)
				if want := at(t, w); !ok || got != want {
					t.Fatalf("%q after %v = %v, %v; want %v", c.cron, after, got, ok, want)
				}
				after = got
			}
		})
	}
}
