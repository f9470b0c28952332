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

// TestGolden holds published cases, each with where it is published: the file of
// the IANA database and its rule or zone, the manual of the program whose rule it
// is, or any calendar of the year.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name   string
		source string
		cron   string
		tz     string
		from   string // exclusive
		want   []string
	}{
		{"New York, gap, fixed time runs at its end", "tzdata northamerica, Rule US 2007 max: 2nd Sunday of March, 1st of November, at 2:00",
			"30 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00",
			[]string{"2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"}},
		{"New York, gap, several lost times run once", "tzdata northamerica, Rule US 2007 max: 2nd Sunday of March, 1st of November, at 2:00",
			"0,15,30 2,3 * * *", "America/New_York", "2026-03-08T00:00:00-05:00",
			[]string{"2026-03-08T03:00:00-04:00", "2026-03-08T03:15:00-04:00", "2026-03-08T03:30:00-04:00", "2026-03-09T02:00:00-04:00"}},
		{"New York, double hour, fixed time runs at its first pass", "tzdata northamerica, Rule US 2007 max: 2nd Sunday of March, 1st of November, at 2:00",
			"30 1 * * *", "America/New_York", "2026-10-31T12:00:00-04:00",
			[]string{"2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"}},
		{"New York, double hour, half-hourly keeps its pace", "tzdata northamerica, Rule US 2007 max: 2nd Sunday of March, 1st of November, at 2:00",
			"*/30 * * * *", "America/New_York", "2026-11-01T00:30:00-04:00",
			[]string{"2026-11-01T01:00:00-04:00", "2026-11-01T01:30:00-04:00", "2026-11-01T01:00:00-05:00", "2026-11-01T01:30:00-05:00", "2026-11-01T02:00:00-05:00"}},
		{"New York, gap, half-hourly keeps its pace", "tzdata northamerica, Rule US 2007 max: 2nd Sunday of March, 1st of November, at 2:00",
			"*/30 * * * *", "America/New_York", "2026-03-08T01:00:00-05:00",
			[]string{"2026-03-08T01:30:00-05:00", "2026-03-08T03:00:00-04:00", "2026-03-08T03:30:00-04:00"}},
		{"Berlin, gap", "tzdata europe, Rule EU 1981 max: last Sunday of March, at 1:00u",
			"0 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00+01:00",
			[]string{"2027-03-28T03:00:00+02:00", "2027-03-29T02:00:00+02:00"}},
		{"Lord Howe, half an hour lost", "tzdata australasia, Rule LH 2008 max: first Sundays of October and April, at 2:00, by 0:30",
			"15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30",
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"Apia, 30 December 2011 never was", "tzdata australasia, Zone Pacific/Apia: 2011 Dec 29 24:00, to 13:00",
			"0 12 * * *", "Pacific/Apia", "2011-12-29T00:00:00-10:00",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"}},
		{"Sao Paulo, gap at midnight", "tzdata southamerica, Rule Brazil 2018 only: 1st Sunday of November, at 0:00",
			"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00-03:00",
			[]string{"2018-11-04T01:00:00-02:00", "2018-11-05T00:00:00-02:00"}},
		{"leap day", "any calendar; the Gregorian rule of centuries",
			"0 0 29 2 *", "UTC", "2027-01-01T00:00:00Z",
			[]string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"leap day over 2100", "any calendar; the Gregorian rule of centuries",
			"0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", []string{"2104-02-29T00:00:00Z"}},
		{"month ends", "any calendar of 2027",
			"0 0 31 * *", "UTC", "2027-01-31T00:00:00Z",
			[]string{"2027-03-31T00:00:00Z", "2027-05-31T00:00:00Z", "2027-07-31T00:00:00Z", "2027-08-31T00:00:00Z"}},
		{"last day", "Quartz CronExpression, L; any calendar of 2028",
			"0 0 L * *", "UTC", "2028-01-31T00:00:00Z", []string{"2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z"}},
		{"third before the last", "Quartz CronExpression, L-3; any calendar of 2027",
			"0 0 L-3 * *", "UTC", "2027-02-01T00:00:00Z", []string{"2027-02-25T00:00:00Z", "2027-03-28T00:00:00Z"}},
		{"nearest weekday, Saturday the 15th to Friday", "Quartz CronExpression, W: its own examples 15W and 1W; any calendar of 2027",
			"0 0 15W * *", "UTC", "2027-05-01T00:00:00Z", []string{"2027-05-14T00:00:00Z"}},
		{"nearest weekday, Saturday the 1st to Monday the 3rd", "Quartz CronExpression, W: its own examples 15W and 1W; any calendar of 2027",
			"0 0 1W * *", "UTC", "2027-04-30T00:00:00Z", []string{"2027-05-03T00:00:00Z"}},
		{"last weekday", "Quartz CronExpression, LW; any calendar of 2027",
			"0 0 LW * *", "UTC", "2027-02-01T00:00:00Z", []string{"2027-02-26T00:00:00Z", "2027-03-31T00:00:00Z"}},
		{"last Friday", "Quartz CronExpression, 6L (its Friday is 6, cron's 5); any calendar of 2027",
			"0 0 * * 5L", "UTC", "2027-01-01T00:00:00Z", []string{"2027-01-29T00:00:00Z", "2027-02-26T00:00:00Z"}},
		{"second Tuesday", "Quartz CronExpression, #; any calendar of 2027",
			"0 0 * * tue#2", "UTC", "2027-01-01T00:00:00Z", []string{"2027-01-12T00:00:00Z", "2027-02-09T00:00:00Z"}},
		{"13th or Friday", "crontab(5) of Vixie cron: either field; any calendar of 2027",
			"0 0 13 * 5", "UTC", "2027-01-07T00:00:00Z",
			[]string{"2027-01-08T00:00:00Z", "2027-01-13T00:00:00Z", "2027-01-15T00:00:00Z"}},
		{"Sunday is 0 and 7", "crontab(5): 0 or 7 is Sunday",
			"0 0 * * 7", "UTC", "2027-01-01T00:00:00Z", []string{"2027-01-03T00:00:00Z"}},
		{"seconds first", "Quartz CronExpression: seconds first",
			"*/20 59 23 31 12 *", "UTC", "2027-01-01T00:00:00Z",
			[]string{"2027-12-31T23:59:00Z", "2027-12-31T23:59:20Z", "2027-12-31T23:59:40Z", "2028-12-31T23:59:00Z"}},
		{"London, gap", "tzdata europe, Rule EU 1981 max: last Sunday of March, at 1:00u", "30 1 * * *", "Europe/London", "2027-03-27T12:00:00Z",
			[]string{"2027-03-28T02:00:00+01:00", "2027-03-29T01:30:00+01:00"}},
		{"London, double hour, fixed time runs at its first pass", "tzdata europe, Rule EU 1996 max: last Sunday of October, at 1:00u", "30 1 * * *", "Europe/London", "2027-10-30T12:00:00+01:00",
			[]string{"2027-10-31T01:30:00+01:00", "2027-11-01T01:30:00Z"}},
		{"London, double hour, every quarter keeps its pace", "tzdata europe, Rule EU 1996 max", "*/30 * * * *", "Europe/London", "2027-10-31T01:00:00+01:00",
			[]string{"2027-10-31T01:30:00+01:00", "2027-10-31T01:00:00Z", "2027-10-31T01:30:00Z", "2027-10-31T02:00:00Z"}},
		{"Lord Howe, half an hour twice", "tzdata australasia, Rule LH 2008 max: first Sunday of April, at 2:00", "45 1 * * *", "Australia/Lord_Howe", "2027-04-03T12:00:00+11:00",
			[]string{"2027-04-04T01:45:00+11:00", "2027-04-05T01:45:00+10:30"}},
		{"Lord Howe, half an hour twice, keeps its pace", "tzdata australasia, Rule LH 2008 max", "*/15 * * * *", "Australia/Lord_Howe", "2027-04-04T01:30:00+11:00",
			[]string{"2027-04-04T01:45:00+11:00", "2027-04-04T01:30:00+10:30", "2027-04-04T01:45:00+10:30", "2027-04-04T02:00:00+10:30"}},
		{"Troll, two hours lost", "tzdata antarctica, Rule Troll 2005 max: last Sunday of March, at 1:00u, to 2:00", "30 1 * * *", "Antarctica/Troll", "2027-03-27T12:00:00Z",
			[]string{"2027-03-28T03:00:00+02:00", "2027-03-29T01:30:00+02:00"}},
		{"Istanbul stays on +03 from 2016", "tzdata europe, Zone Europe/Istanbul: 2016 Sep 7, to 3:00", "0 4 * * *", "Europe/Istanbul", "2016-10-29T12:00:00+03:00",
			[]string{"2016-10-30T04:00:00+03:00", "2016-10-31T04:00:00+03:00"}},
		{"Istanbul, 2015, the change put off to 8 November", "tzdata europe, Zone Europe/Istanbul: 2015 Nov 8 1:00u", "30 3 * * *", "Europe/Istanbul", "2015-11-07T12:00:00+03:00",
			[]string{"2015-11-08T03:30:00+03:00", "2015-11-09T03:30:00+02:00"}},
		{"Sao Paulo, double hour before midnight", "tzdata southamerica, Rule Brazil 2016 2019: Sunday from 15 February, at 0:00", "30 23 * * *", "America/Sao_Paulo", "2019-02-16T12:00:00-02:00",
			[]string{"2019-02-16T23:30:00-02:00", "2019-02-17T23:30:00-03:00"}},
		{"Sao Paulo, no summer time from 2019", "tzdata southamerica, Rule Brazil: ends in 2019", "0 0 * * *", "America/Sao_Paulo", "2019-11-02T12:00:00-03:00",
			[]string{"2019-11-03T00:00:00-03:00", "2019-11-04T00:00:00-03:00"}},
		{"Pyongyang, half an hour back in 2015", "tzdata asia, Zone Asia/Pyongyang: 2015 Aug 15 00:00, to 8:30", "45 23 * * *", "Asia/Pyongyang", "2015-08-14T12:00:00+09:00",
			[]string{"2015-08-14T23:45:00+09:00", "2015-08-15T23:45:00+08:30"}},
		{"Pyongyang, half an hour lost in 2018", "tzdata asia, Zone Asia/Pyongyang: 2018 May 4 23:30, to 9:00", "45 23 * * *", "Asia/Pyongyang", "2018-05-04T12:00:00+08:30",
			[]string{"2018-05-05T00:00:00+09:00", "2018-05-05T23:45:00+09:00"}},
		{"1st and 15th, plus every Friday", "crontab(5) of Vixie cron, the example of its note on two day fields; any calendar of 2027", "30 4 1,15 * 5", "UTC", "2027-01-01T12:00:00Z",
			[]string{"2027-01-08T04:30:00Z", "2027-01-15T04:30:00Z", "2027-01-22T04:30:00Z", "2027-01-29T04:30:00Z", "2027-02-01T04:30:00Z"}},
		{"a field that begins with a star restricts nothing", "Vixie cron 4.1, cron.c and entry.c: DOM_STAR and DOW_STAR; any calendar of 2027", "0 0 */10 * 1", "UTC", "2027-01-01T00:00:00Z",
			[]string{"2027-01-11T00:00:00Z", "2027-02-01T00:00:00Z", "2027-03-01T00:00:00Z", "2027-05-31T00:00:00Z"}},
		{"fifth Monday", "Quartz CronExpression, #; any calendar of 2027", "0 0 * * 1#5", "UTC", "2027-01-01T00:00:00Z", []string{"2027-03-29T00:00:00Z", "2027-05-31T00:00:00Z"}},
		{"nearest weekday, Sunday the 31st to Friday the 29th", "Quartz CronExpression, W never leaves the month; any calendar of 2027", "0 0 31W * *", "UTC", "2027-01-15T00:00:00Z",
			[]string{"2027-01-29T00:00:00Z", "2027-03-31T00:00:00Z", "2027-05-31T00:00:00Z"}},
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
