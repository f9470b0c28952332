package ics

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"
	"pgregory.net/rapid"
)

// drawRule returns the text of a rule that parses, and seldom one that no day
// meets: the other implementation takes a second to see that.
func drawRule(t *rapid.T) string {
	freq := rapid.SampledFrom([]string{"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}).Draw(t, "freq")
	text := fmt.Sprintf("FREQ=%s;INTERVAL=%d;WKST=%s", freq, rapid.IntRange(1, 4).Draw(t, "interval"), rapid.SampledFrom(dayNames).Draw(t, "wkst"))
	picked := false
	part := func(name string, low, high, most int, negative bool) {
		if rapid.IntRange(0, 2).Draw(t, name+" given") > 0 {
			return
		}
		picked = true
		list := rapid.SliceOfNDistinct(rapid.IntRange(low, high), 1, most, rapid.ID).Draw(t, name)
		s := make([]string, len(list))
		for i, n := range list {
			// Of weeks 52 and 53 the other implementation misses days: it counts the
			// weeks of the year before by the length of this one.
			if name == "BYWEEKNO" && n > 51 || negative && rapid.Bool().Draw(t, name+" from the end") {
				n = -n
			}
			s[i] = fmt.Sprint(n)
		}
		text += ";" + name + "=" + strings.Join(s, ",")
	}
	part("BYMONTH", 1, 12, 6, false)
	weeks := false
	if freq == "YEARLY" {
		before := text
		part("BYWEEKNO", 1, 53, 6, true)
		weeks = text != before
		part("BYYEARDAY", 1, 366, 40, true)
	}
	if freq != "WEEKLY" {
		part("BYMONTHDAY", 1, 28, 8, freq != "DAILY")
	}
	if rapid.Bool().Draw(t, "BYDAY given") {
		picked = true
		// The other implementation wants both of a plain and a numbered weekday;
		// RFC 5545 wants either.
		numbered := (freq == "MONTHLY" || freq == "YEARLY") && !weeks && rapid.Bool().Draw(t, "numbered")
		var days []string
		for _, d := range rapid.SliceOfNDistinct(rapid.SampledFrom(dayNames), 1, 4, rapid.ID).Draw(t, "days") {
			if numbered {
				d = fmt.Sprint(rapid.SampledFrom([]int{1, 2, 3, 4, 5, -1, -2}).Draw(t, "nth")) + d
			}
			days = append(days, d)
		}
		text += ";BYDAY=" + strings.Join(days, ",")
	}
	// The other implementation begins its first week at DTSTART, not at WKST.
	if picked && (freq == "MONTHLY" || freq == "YEARLY") {
		if pos := rapid.SampledFrom([]string{"", "1", "-1", "1,-1", "2", "-2", "1,3"}).Draw(t, "BYSETPOS"); pos != "" {
			text += ";BYSETPOS=" + pos
		}
	}
	if rapid.Bool().Draw(t, "counted") {
		text += fmt.Sprintf(";COUNT=%d", rapid.IntRange(1, 40).Draw(t, "count"))
	}
	return text
}

// TestRulesAgainstRRule compares with another implementation, which is not used
// itself because it looks for the next day of an impossible rule until the
// year 9999, for each of a file's events.
func TestRulesAgainstRRule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawRule(t)
		start := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 3000).Draw(t, "start"))
		until := start.AddDate(0, 0, rapid.IntRange(1, 4000).Draw(t, "days"))
		from := start.AddDate(0, 0, rapid.IntRange(-100, 3000).Draw(t, "from"))
		option, err := rrule.StrToROption(text)
		if err != nil {
			t.Fatal(err)
		}
		option.Dtstart = start
		option.Until = until.Add(-time.Second)
		other, err := rrule.NewRRule(*option)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, d := range other.All() {
			if !d.Before(from) {
				want = append(want, d.Format(time.DateOnly))
			}
		}
		r, err := parseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		budget := maxDays
		err = r.days(start.Unix()/86400, from.Unix()/86400, until.Unix()/86400, &budget, func(day int64) bool {
			if day >= from.Unix()/86400 {
				got = append(got, dayText(day))
			}
			return true
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%s from %s until %s, %v:\n%v, want\n%v", text, start.Format(time.DateOnly), until.Format(time.DateOnly), err, got, want)
		}
	})
}

// TestLastWeeks compares the weeks at a year's end with time's.
func TestLastWeeks(t *testing.T) {
	for _, week := range []int{1, 2, 51, 52, 53, -1, -2} {
		r, err := parseRule(fmt.Sprintf("FREQ=YEARLY;BYWEEKNO=%d", week))
		if err != nil {
			t.Fatal(err)
		}
		from, until := time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
		var got, want []string
		for d := from; d.Before(until); d = d.AddDate(0, 0, 1) {
			year, w := d.ISOWeek()
			if week < 0 {
				_, last := time.Date(year, 12, 28, 0, 0, 0, 0, time.UTC).ISOWeek() // it is always in the last week
				w -= last + 1
			}
			if w == week {
				want = append(want, d.Format(time.DateOnly))
			}
		}
		budget := maxDays
		err = r.days(from.Unix()/86400, from.Unix()/86400, until.Unix()/86400, &budget, func(day int64) bool {
			got = append(got, dayText(day))
			return true
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("week %d, %v:\n%v, want\n%v", week, err, got, want)
		}
	}
}

// TestOwnZones compares zones that a file defines with the same of the IANA
// database, which most files quote.
func TestOwnZones(t *testing.T) {
	const paris = "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:X\n" +
		"BEGIN:STANDARD\nDTSTART:19961027T030000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nEND:STANDARD\n" +
		"BEGIN:DAYLIGHT\nDTSTART:19810329T020000\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nEND:DAYLIGHT\n" +
		"END:VTIMEZONE\nEND:VCALENDAR\n"
	// Brazil gave summer time up in 2019: both rules end.
	const saoPaulo = "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:X\n" +
		"BEGIN:DAYLIGHT\nDTSTART:20181104T000000\nRRULE:FREQ=YEARLY;UNTIL=20181104T030000Z;BYMONTH=11;BYDAY=1SU\nTZOFFSETFROM:-0300\nTZOFFSETTO:-0200\nEND:DAYLIGHT\n" +
		"BEGIN:STANDARD\nDTSTART:20180218T000000\nRDATE:20190217T000000\nTZOFFSETFROM:-0200\nTZOFFSETTO:-0300\nEND:STANDARD\n" +
		"END:VTIMEZONE\nEND:VCALENDAR\n"
	for _, c := range []struct {
		text, name  string
		first, last int // years
	}{{paris, "Europe/Paris", 1997, 2036}, {saoPaulo, "America/Sao_Paulo", 2018, 2036}} {
		parsed, err := parse([]byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		r := reader{until: 2037 * 366, days: maxDays}
		own, err := (&zones{calendar: parsed[0], r: &r, known: map[string]zone{}}).find("X")
		if err != nil {
			t.Fatal(err)
		}
		loc, err := time.LoadLocation(c.name)
		if err != nil {
			t.Fatal(err)
		}
		end := time.Date(c.last, 12, 31, 0, 0, 0, 0, time.UTC).Unix()
		for u := time.Date(c.first, 3, 1, 0, 0, 0, 0, time.UTC).Unix(); u < end; u += 1800 {
			if got, want := own.offset(u), (iana{loc}).offset(u); got != want {
				t.Fatalf("%s at %v: offset %d, want %d", c.name, time.Unix(u, 0).UTC(), got, want)
			}
		}
	}
}

// TestClockReadings compares unix with a walk through the minutes: the first
// that reads so, or, in a gap, as long after the change as the reading is.
func TestClockReadings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom([]struct{ zone, day string }{
			{"America/New_York", "2026-03-08"}, {"America/New_York", "2026-11-01"}, {"Australia/Lord_Howe", "2026-10-04"},
			{"Australia/Lord_Howe", "2027-04-04"}, {"Europe/London", "2027-03-28"}, {"America/Sao_Paulo", "2018-11-04"}, {"UTC", "2027-01-01"},
		}).Draw(t, "change")
		loc, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		day, _ := time.Parse(time.DateOnly, c.day)
		wall := day.Unix() + 60*rapid.Int64Range(-600, 2000).Draw(t, "minute")
		z := iana{loc}
		got := unix(z, wall)
		for u := wall - 15*3600; u <= wall+15*3600; u += 60 {
			reads, before := u+z.offset(u), u-60+z.offset(u-60)
			if reads == wall && got == u {
				return
			}
			if reads == wall || before < wall && wall < reads && got != u+wall-before-60 {
				t.Fatalf("%s reads %v at %v, got %v", c.zone, time.Unix(wall, 0).UTC(), time.Unix(u, 0).UTC(), time.Unix(got, 0).UTC())
			}
			if before < wall && wall < reads {
				return
			}
		}
		t.Fatalf("%s never reads %v", c.zone, time.Unix(wall, 0).UTC())
	})
}

// FuzzExclude holds that any file is answered soon, by an error or by ranges in
// order that do not touch.
func FuzzExclude(f *testing.F) {
	for _, text := range [][]byte{
		calendar("DTSTART:20270102", "RRULE:FREQ=YEARLY;BYDAY=-1FR;BYSETPOS=1,-1;COUNT=7", "EXDATE:20270103"),
		calendar("DTSTART;TZID=Europe/Paris:20270102T100000", "DURATION:P1DT2H", "RDATE;VALUE=PERIOD:20270103T100000Z/PT1H"),
		calendar("UID:1", "DTSTART:20270102T100000", "DTEND:20270102T1", " 10000", "RRULE:FREQ=WEEKLY;UNTIL=20280101;WKST=SU;BYDAY=MO,TU"),
		[]byte("BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:X\nBEGIN:STANDARD\nDTSTART:19700101T000000\nRRULE:FREQ=YEARLY\nTZOFFSETFROM:+0100\nTZOFFSETTO:-013000\nEND:STANDARD\nEND:VTIMEZONE\nBEGIN:VEVENT\nDTSTART;TZID=X:20270101T100000\nDURATION:PT1H\nEND:VEVENT\nEND:VCALENDAR\n"),
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		begun := time.Now()
		texts, err := Exclude(data, now)
		if took := time.Since(begun); took > 20*time.Second {
			t.Fatalf("took %v", took)
		}
		if err != nil {
			return
		}
		kind, last := "", ""
		for _, text := range texts {
			a, b, ranged := strings.Cut(strings.ReplaceAll(text, "..", "/"), "/")
			if !ranged {
				b = a
			}
			form := strings.Map(func(r rune) rune {
				if r >= '0' && r <= '9' {
					return '0'
				}
				return r
			}, a)
			if b < a || form == kind && a <= last {
				t.Fatalf("%v", texts)
			}
			kind, last = form, b
		}
	})
}
