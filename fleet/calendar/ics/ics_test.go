package ics

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// TestExports reads what programs write. The files have the properties, the
// order, the folding and the line ends of real exports, with other events.
func TestExports(t *testing.T) {
	for file, want := range map[string][]string{
		"google.ics": {
			"2027-05-14..2027-05-16",
			// 09:00 in Paris on 23 March and, by summer time, 30 March; 6 April is
			// taken out, 13 April moved and 20 April cancelled.
			"2027-03-23T08:00:00Z/2027-03-23T09:30:00Z",
			"2027-03-30T07:00:00Z/2027-03-30T08:30:00Z",
			"2027-04-14T12:00:00Z/2027-04-14T13:30:00Z",
			"2027-06-01T12:00:00Z/2027-06-01T12:30:00Z",
		},
		"outlook.ics": {
			"2027-12-24..2027-12-31",
			"2027-03-26T07:00:00Z/2027-03-26T17:00:00Z",
			"2027-04-30T06:00:00Z/2027-04-30T16:00:00Z",
			"2027-05-28T06:00:00Z/2027-05-28T16:00:00Z",
		},
		"apple.ics": {
			"2026-11-26", "2027-11-25", "2028-11-23",
			"2027-03-14T03:00:00Z/2027-03-14T11:00:00Z",
			"2027-03-21T02:00:00Z/2027-03-21T10:00:00Z",
			"2027-07-01T12:00:00/2027-07-01T13:00:00",
		},
	} {
		data, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Exclude(data, now); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s covers\n%s\n%v, want\n%s", file, strings.Join(got, "\n"), err, strings.Join(want, "\n"))
		}
	}
}

// calendar wraps lines of one event; its first line is line 3.
func calendar(lines ...string) []byte {
	return []byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\n" + strings.Join(lines, "\n") + "\nEND:VEVENT\nEND:VCALENDAR\n")
}

func TestEvents(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"a date", []string{"DTSTART;VALUE=DATE:20271225"}, "2027-12-25"},
		{"the same date twice", []string{"DTSTART:20271225", "DTEND:20271225"}, "2027-12-25"},
		{"a week", []string{"DTSTART:20271225", "DURATION:P1W"}, "2027-12-25..2027-12-31"},
		{"whole days by hours", []string{"DTSTART:20271225", "DURATION:PT48H"}, "2027-12-25..2027-12-26"},
		{"days that touch become one range", []string{"DTSTART:20271225", "RDATE:20271227,20271226"}, "2027-12-25..2027-12-27"},
		{"no length", []string{"DTSTART:20271225T100000Z"}, ""},
		{"over midnight", []string{"DTSTART:20271231T220000Z", "DTEND:20280101T060000Z"}, "2027-12-31T22:00:00Z/2028-01-01T06:00:00Z"},
		{"ends in another zone", []string{"DTSTART;TZID=Europe/London:20270701T100000", "DTEND;TZID=Europe/Paris:20270701T120000"}, "2027-07-01T09:00:00Z/2027-07-01T10:00:00Z"},
		{"a day by the clock has 23 hours", []string{"DTSTART;TZID=Europe/Paris:20270327T120000", "DURATION:P1D"}, "2027-03-27T11:00:00Z/2027-03-28T10:00:00Z"},
		{"24 hours are 24 hours", []string{"DTSTART;TZID=Europe/Paris:20270327T120000", "DURATION:PT24H"}, "2027-03-27T11:00:00Z/2027-03-28T11:00:00Z"},
		{"in a gap", []string{"DTSTART;TZID=America/New_York:20260308T023000", "DURATION:PT1H"}, "2026-03-08T07:30:00Z/2026-03-08T08:30:00Z"},
		{"in a double hour, its first pass", []string{"DTSTART;TZID=America/New_York:20261101T013000", "DURATION:PT15M"}, "2026-11-01T05:30:00Z/2026-11-01T05:45:00Z"},
		{"a period", []string{"DTSTART:20270101T100000Z", "DURATION:PT1H", "RDATE;VALUE=PERIOD:20270102T100000Z/PT30M,20270103T100000Z/20270103T101000Z"},
			"2027-01-01T10:00:00Z/2027-01-01T11:00:00Z 2027-01-02T10:00:00Z/2027-01-02T10:30:00Z 2027-01-03T10:00:00Z/2027-01-03T10:10:00Z"},
		{"exceptions by date", []string{"DTSTART:20270101T100000Z", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3", "EXDATE;VALUE=DATE:20270102"},
			"2027-01-01T10:00:00Z/2027-01-01T11:00:00Z 2027-01-03T10:00:00Z/2027-01-03T11:00:00Z"},
		{"an exception counts", []string{"DTSTART:20270101", "RRULE:FREQ=YEARLY;COUNT=2", "EXDATE:20270101"}, "2028-01-01"},
		{"cancelled", []string{"DTSTART:20271225", "STATUS:CANCELLED"}, ""},
		{"leap day", []string{"DTSTART:20240229", "RRULE:FREQ=YEARLY"}, "2028-02-29 2032-02-29 2036-02-29"},
		{"31st", []string{"DTSTART:20270131", "RRULE:FREQ=MONTHLY;COUNT=4"}, "2027-01-31 2027-03-31 2027-05-31 2027-07-31"},
		{"last workday", []string{"DTSTART:20270129", "RRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1;COUNT=3"}, "2027-01-29 2027-02-26 2027-03-31"},
		{"every other week from Sunday", []string{"DTSTART:20270105", "RRULE:FREQ=WEEKLY;INTERVAL=2;WKST=SU;BYDAY=TU,SU;COUNT=4"}, "2027-01-05 2027-01-17 2027-01-19 2027-01-31"},
		{"every other week from Monday", []string{"DTSTART:20270105", "RRULE:FREQ=WEEKLY;INTERVAL=2;WKST=MO;BYDAY=TU,SU;COUNT=4"}, "2027-01-05 2027-01-10 2027-01-19 2027-01-24"},
		{"until is inclusive", []string{"DTSTART;TZID=Europe/Paris:20270101T100000", "DURATION:PT1H", "RRULE:FREQ=DAILY;UNTIL=20270102T090000Z"},
			"2027-01-01T09:00:00Z/2027-01-01T10:00:00Z 2027-01-02T09:00:00Z/2027-01-02T10:00:00Z"},
		{"foreign names before a zone", []string{"DTSTART;TZID=/freeassociation.sourceforge.net/America/Argentina/Buenos_Aires:20270101T100000", "DURATION:PT1H"}, "2027-01-01T13:00:00Z/2027-01-01T14:00:00Z"},
		{"leap second", []string{"DTSTART:20270101T000000Z", "DTEND:20270101T235960Z"}, "2027-01-01T00:00:00Z/2027-01-01T23:59:59Z"},
		{"begun before the first year", []string{"DTSTART:20241201", "DURATION:P60D"}, "2024-12-01..2025-01-29"},
		{"long rule begun long ago", []string{"DTSTART:19000101", "RRULE:FREQ=YEARLY;INTERVAL=5"}, "2025-01-01 2030-01-01 2035-01-01"},
	} {
		got, err := Exclude(calendar(c.lines...), now)
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, %v, want %s", c.name, got, err, c.want)
		}
	}
}

// TestHorizon: what repeats without an end is listed for whole years, and the
// list is the same on all days of a year.
func TestHorizon(t *testing.T) {
	christmas := calendar("DTSTART:20001225", "RRULE:FREQ=YEARLY")
	got, err := Exclude(christmas, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil || len(got) != 12 || got[0] != "2026-12-25" || got[11] != "2037-12-25" {
		t.Errorf("%v, %v", got, err)
	}
	if again, _ := Exclude(christmas, time.Date(2027, 12, 31, 23, 59, 59, 0, time.UTC)); !slices.Equal(again, got) {
		t.Errorf("at the year's end %v", again)
	}
}

func TestFaults(t *testing.T) {
	zone := func(lines string) string {
		return "BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:X\n" + lines + "END:VTIMEZONE\nBEGIN:VEVENT\nDTSTART;TZID=X:20270101T100000\nDURATION:PT1H\nEND:VEVENT\nEND:VCALENDAR\n"
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "empty: want an iCalendar file, which begins with BEGIN:VCALENDAR"},
		{"a web page", "<!DOCTYPE html>\n<html>", "line 1: not an iCalendar file"},
		{"a card", "BEGIN:VCARD\nEND:VCARD\n", "line 1: not an iCalendar file"},
		{"cut off", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nDTSTART:20270101\n", "line 2: VEVENT has no END: is the file cut off?"},
		{"crossed", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nEND:VCALENDAR\n", "line 3: END: VCALENDAR ends, but VEVENT of line 2 is open"},
		{"deep", strings.Repeat("BEGIN:VCALENDAR\n", 20), "line 9: BEGIN: nested more than 8 deep"},
		{"no colon", string(calendar("DTSTART")), "line 3: want NAME:value"},
		{"no value of a parameter", string(calendar("DTSTART;TZID:x")), "line 3: want NAME:value"},
		{"open quote", string(calendar(`DTSTART;TZID="x:20270101`)), "line 3: want NAME:value"},
		{"no start", string(calendar("SUMMARY:Fair\\, town")), `event "Fair, town": line 2: an event has no DTSTART`},
		{"bad date", string(calendar("SUMMARY:x", "DTSTART:2027-01-01")), `line 4: DTSTART: "2027-01-01": want a date, 20271225, or a time`},
		{"the line of a folded one", string(calendar("SUMMARY:x\n y\n z", "DTSTART:no")), "line 6: DTSTART"},
		{"unknown zone", string(calendar("DTSTART;TZID=Mars/Olympus:20270101T000000")), `line 3: DTSTART: TZID "Mars/Olympus": neither a name of the IANA database nor a VTIMEZONE`},
		{"Local", string(calendar("DTSTART;TZID=Local:20270101T000000")), "neither a name"},
		{"backwards", string(calendar("DTSTART:20270102", "DTEND:20270101")), `line 4: DTEND: "20270101": the event ends before it begins`},
		{"a date and a time", string(calendar("DTSTART:20270102", "DTEND:20270102T100000Z")), "line 4: DTEND: \"20270102T100000Z\": want the same kind of time as DTSTART"},
		{"zoned and floating", string(calendar("DTSTART:20270102T090000", "DTEND:20270102T100000Z")), "want the same kind of time"},
		{"long", string(calendar("DTSTART:20270102", "DURATION:P4000D")), "takes more than 3660 days"},
		{"negative", string(calendar("DTSTART:20270102", "DURATION:-P1D")), "want a duration such as P1D"},
		{"half a day", string(calendar("DTSTART:20270102", "DURATION:PT12H")), "want whole days"},
		{"units twice", string(calendar("DTSTART:20270102T000000Z", "DURATION:PT1H1H")), "want a duration"},
		{"every hour", string(calendar("DTSTART:20270102T000000Z", "RRULE:FREQ=HOURLY")), "line 4: RRULE: FREQ=HOURLY: want DAILY, WEEKLY, MONTHLY or YEARLY; write what is more frequent as windows"},
		{"no frequency", string(calendar("DTSTART:20270102", "RRULE:COUNT=2")), "FREQ is missing"},
		{"two ends", string(calendar("DTSTART:20270102", "RRULE:FREQ=DAILY;COUNT=2;UNTIL=20280101")), "COUNT and UNTIL exclude each other"},
		{"by hour", string(calendar("DTSTART:20270102", "RRULE:FREQ=DAILY;BYHOUR=2")), "BYHOUR is not read"},
		{"bad weekday", string(calendar("DTSTART:20270102", "RRULE:FREQ=MONTHLY;BYDAY=0MO")), `BYDAY=0MO: "0MO": want weekdays such as MO, 2TU or -1FR`},
		{"numbered weekday of a week", string(calendar("DTSTART:20270102", "RRULE:FREQ=WEEKLY;BYDAY=2MO")), "goes with FREQ=MONTHLY and YEARLY"},
		{"interval", string(calendar("DTSTART:20270102", "RRULE:FREQ=DAILY;INTERVAL=0")), "INTERVAL=0: want a number from 1 to 10000"},
		{"until", string(calendar("DTSTART:20270102", "RRULE:FREQ=DAILY;UNTIL=soon")), `UNTIL: "SOON": want a date`},
		{"month 13", string(calendar("DTSTART:20270102", "RRULE:FREQ=YEARLY;BYMONTH=13")), "want numbers from 1 to 12"},
		{"exrule", string(calendar("DTSTART:20270102", "EXRULE:FREQ=DAILY")), "EXRULE: is no longer in the standard: want EXDATE"},
		{"kind of RDATE", string(calendar("DTSTART:20270102", "RDATE:20270103T100000Z")), "want the same kind of time as DTSTART"},
		{"this and future", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\nRECURRENCE-ID;RANGE=THISANDFUTURE:20270101\nDTSTART:20270101\nEND:VEVENT\nEND:VCALENDAR\n", "line 4: RECURRENCE-ID: RANGE is not read"},
		{"empty zone", zone(""), "line 2: VTIMEZONE has neither STANDARD nor DAYLIGHT"},
		{"half a zone", zone("BEGIN:STANDARD\nDTSTART:19700101T000000\nEND:STANDARD\n"), "line 4: STANDARD wants DTSTART, TZOFFSETFROM and TZOFFSETTO"},
		{"offset", zone("BEGIN:STANDARD\nDTSTART:19700101T000000\nTZOFFSETFROM:1\nTZOFFSETTO:+0100\nEND:STANDARD\n"), `line 6: TZOFFSETFROM: "1": want an offset such as +0100`},
		{"too long", strings.Repeat("x", maxBytes+1), "want at most 1048576: export fewer years"},
		{"too many events", "BEGIN:VCALENDAR\n" + strings.Repeat("BEGIN:VEVENT\nDTSTART:20270101\nEND:VEVENT\n", maxEvents+1) + "END:VCALENDAR\n", "more than 5000 events"},
		{"too many instances", "BEGIN:VCALENDAR\n" + strings.Repeat("BEGIN:VEVENT\nDTSTART:20270101\nRRULE:FREQ=DAILY\nEND:VEVENT\n", 20) + "END:VCALENDAR\n", "RRULE: the events repeat more than 50000 times"},
		{"too much work", "BEGIN:VCALENDAR\n" + strings.Repeat("BEGIN:VEVENT\nDTSTART:00010101\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=5\nEND:VEVENT\n", 20) + "END:VCALENDAR\n", "RRULE: the events repeat in so many ways"},
	} {
		begun := time.Now()
		got, err := Exclude([]byte(c.text), now)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want an error with %q", c.name, got, err, c.want)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("%s took %v", c.name, took)
		}
	}
}
