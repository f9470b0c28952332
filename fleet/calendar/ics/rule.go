package ics

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// frequency is FREQ, as far as it is read.
type frequency uint8

const (
	daily frequency = iota
	weekly
	monthly
	yearly
)

// rule is an RRULE (RFC 5545, 3.3.10) that repeats by days: the time of day is
// that of DTSTART.
type rule struct {
	freq       frequency
	interval   int64
	count      int    // 0: no end by number
	until      string // "" : no end by time
	weekStart  int64  // 0 = Sunday
	byMonth    []int
	byWeekNo   []int
	byYearDay  []int
	byMonthDay []int
	byDay      []weekday
	bySetPos   []int
}

// weekday is one item of BYDAY: the nth of its month or year, from the end when
// n is below zero, and each when n is 0.
type weekday struct {
	n   int
	day int64 // 0 = Sunday
}

var dayNames = []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}

// maxInterval keeps arithmetic small; no calendar offers so much.
const maxInterval = 10_000

func parseRule(text string) (*rule, error) {
	r := &rule{interval: 1, weekStart: 1}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(text), ";"), ";") {
		key, value, ok := strings.Cut(strings.ToUpper(part), "=")
		if !ok || seen[key] {
			return nil, fmt.Errorf("%q: want parts such as FREQ=YEARLY, each once", part)
		}
		seen[key] = true
		var err error
		switch key {
		case "FREQ":
			i := slices.Index([]string{"DAILY", "WEEKLY", "MONTHLY", "YEARLY"}, value)
			if i < 0 {
				return nil, fmt.Errorf("FREQ=%s: want DAILY, WEEKLY, MONTHLY or YEARLY; write what is more frequent as windows", value)
			}
			r.freq = frequency(i)
		case "INTERVAL":
			var n int
			n, err = number(value, 1, maxInterval)
			r.interval = int64(n)
		case "COUNT":
			r.count, err = number(value, 1, 1_000_000)
		case "UNTIL":
			r.until = value
		case "WKST":
			i := slices.Index(dayNames, value)
			if i < 0 {
				return nil, fmt.Errorf("WKST=%s: want one of %s", value, strings.Join(dayNames, ", "))
			}
			r.weekStart = int64(i)
		case "BYMONTH":
			r.byMonth, err = numbers(value, 12, false)
		case "BYWEEKNO":
			r.byWeekNo, err = numbers(value, 53, true)
		case "BYYEARDAY":
			r.byYearDay, err = numbers(value, 366, true)
		case "BYMONTHDAY":
			r.byMonthDay, err = numbers(value, 31, true)
		case "BYSETPOS":
			r.bySetPos, err = numbers(value, 366, true)
		case "BYDAY":
			r.byDay, err = parseDays(value)
		default:
			return nil, fmt.Errorf("%s is not read: want a rule of whole days, with the time of day in DTSTART", key)
		}
		if err != nil {
			return nil, fmt.Errorf("%s=%s: %w", key, value, err)
		}
	}
	switch {
	case !seen["FREQ"]:
		return nil, errors.New("FREQ is missing")
	case r.count != 0 && r.until != "":
		return nil, errors.New("COUNT and UNTIL exclude each other")
	case r.freq != yearly && (r.byWeekNo != nil || r.byYearDay != nil):
		return nil, errors.New("BYWEEKNO and BYYEARDAY go with FREQ=YEARLY only")
	case r.freq == weekly && r.byMonthDay != nil:
		return nil, errors.New("BYMONTHDAY does not go with FREQ=WEEKLY")
	case r.freq < monthly && slices.ContainsFunc(r.byDay, func(d weekday) bool { return d.n != 0 }):
		return nil, errors.New("BYDAY with a number goes with FREQ=MONTHLY and YEARLY only")
	case r.byWeekNo != nil && slices.ContainsFunc(r.byDay, func(d weekday) bool { return d.n != 0 }):
		return nil, errors.New("BYDAY with a number does not go with BYWEEKNO")
	case r.bySetPos != nil && !seen["BYMONTH"] && !seen["BYWEEKNO"] && !seen["BYYEARDAY"] && !seen["BYMONTHDAY"] && !seen["BYDAY"]:
		return nil, errors.New("BYSETPOS picks from what another BY part gives, and there is none")
	}
	return r, nil
}

func number(text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("want a number from %d to %d", low, high)
	}
	return n, nil
}

func numbers(text string, high int, negative bool) (list []int, err error) {
	for item := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(item)
		if err != nil || n == 0 || n > high || n < 0 && (!negative || n < -high) {
			return nil, fmt.Errorf("%q: want numbers from 1 to %d", item, high)
		}
		list = append(list, n)
	}
	return list, nil
}

func parseDays(text string) (list []weekday, err error) {
	for item := range strings.SplitSeq(text, ",") {
		at := max(0, len(item)-2)
		day := slices.Index(dayNames, item[at:])
		n := 0
		if at > 0 {
			n, err = strconv.Atoi(item[:at])
		}
		if day < 0 || err != nil || at > 0 && n == 0 || n < -53 || n > 53 {
			return nil, fmt.Errorf("%q: want weekdays such as MO, 2TU or -1FR", item)
		}
		list = append(list, weekday{n, int64(day)})
	}
	return list, nil
}

// civil is a day with what rules ask of it.
type civil struct {
	day                  int64 // since 1970-01-01
	year, month, dom     int
	yearDay              int // from 1
	monthDays, yearDays  int
	weekday              int64 // 0 = Sunday
	weekNo, weeksOfTheYr int   // by the rule's first day of a week
}

func (r *rule) civil(day int64) civil {
	t := time.Unix(day*86400, 0).UTC()
	c := civil{day: day, year: t.Year(), month: int(t.Month()), dom: t.Day(), yearDay: t.YearDay(), weekday: int64(t.Weekday())}
	c.monthDays = time.Date(c.year, t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
	c.yearDays = time.Date(c.year, 12, 31, 0, 0, 0, 0, time.UTC).YearDay()
	if r.byWeekNo != nil {
		first := r.firstWeek(c.year)
		switch next := r.firstWeek(c.year + 1); {
		case day >= next:
			c.weekNo, c.weeksOfTheYr = 1, int(r.firstWeek(c.year+2)-next)/7
		case day < first:
			before := r.firstWeek(c.year - 1)
			c.weeksOfTheYr = int(first-before) / 7
			c.weekNo = int(day-before)/7 + 1
		default:
			c.weeksOfTheYr = int(next-first) / 7
			c.weekNo = int(day-first)/7 + 1
		}
	}
	return c
}

// firstWeek returns the first day of week 1: the first week with at least four
// days in the year.
func (r *rule) firstWeek(year int) int64 {
	fourth := time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC)
	return floorDiv(fourth.Unix(), 86400) - (int64(fourth.Weekday())-r.weekStart+7)%7
}

// match reports whether the BY parts allow the day.
func (r *rule) match(c civil) bool {
	within := func(list []int, n, length int) bool {
		return list == nil || slices.Contains(list, n) || slices.Contains(list, n-length-1)
	}
	return (r.byMonth == nil || slices.Contains(r.byMonth, c.month)) &&
		within(r.byWeekNo, c.weekNo, c.weeksOfTheYr) &&
		within(r.byYearDay, c.yearDay, c.yearDays) &&
		within(r.byMonthDay, c.dom, c.monthDays) &&
		(r.byDay == nil || slices.ContainsFunc(r.byDay, func(d weekday) bool { return r.matchDay(d, c) }))
}

func (r *rule) matchDay(d weekday, c civil) bool {
	if d.day != c.weekday {
		return false
	}
	n, length := c.dom, c.monthDays
	if r.freq == yearly && r.byMonth == nil {
		n, length = c.yearDay, c.yearDays
	}
	switch {
	case d.n > 0:
		return (n-1)/7+1 == d.n
	case d.n < 0:
		return (length-n)/7+1 == -d.n
	}
	return true
}

// days calls yield with each day of the rule from start to before until, in
// order, until it returns false. Without COUNT, days before from are left out.
// It takes what it tries from budget.
func (r *rule) days(start, from, until int64, budget *int, yield func(day int64) bool) error {
	r = r.fill(start)
	count := 0
	for k := r.skip(start, from); ; k++ {
		first, last := r.period(start, k)
		if first >= until {
			return nil
		}
		if *budget -= int(last - first + 1); *budget < 0 {
			return errTooLong
		}
		var set []int64
		for day := first; day <= last; day++ {
			if r.match(r.civil(day)) {
				set = append(set, day)
			}
		}
		for i, day := range set {
			if r.bySetPos != nil && !slices.Contains(r.bySetPos, i+1) && !slices.Contains(r.bySetPos, i-len(set)) || day < start {
				continue
			}
			if day >= until || !yield(day) {
				return nil
			}
			if count++; count == r.count {
				return nil
			}
		}
	}
}

// fill takes what the rule leaves open from its first day.
func (r *rule) fill(start int64) *rule {
	if r.byWeekNo != nil || r.byYearDay != nil || r.byMonthDay != nil || r.byDay != nil {
		return r
	}
	full, c := *r, r.civil(start)
	switch r.freq {
	case yearly:
		if r.byMonth == nil {
			full.byMonth = []int{c.month}
		}
		full.byMonthDay = []int{c.dom}
	case monthly:
		full.byMonthDay = []int{c.dom}
	case weekly:
		full.byDay = []weekday{{0, c.weekday}}
	case daily:
	}
	return &full
}

// period returns the first and the last day of the kth one.
func (r *rule) period(start, k int64) (first, last int64) {
	t := time.Unix(start*86400, 0).UTC()
	n := k * r.interval
	switch r.freq {
	case weekly:
		first = start - (int64(t.Weekday())-r.weekStart+7)%7 + 7*n
		return first, first + 6
	case monthly:
		months := int64(t.Year())*12 + int64(t.Month()) - 1 + n
		at := func(m int64) int64 {
			return floorDiv(time.Date(int(m/12), time.Month(m%12+1), 1, 0, 0, 0, 0, time.UTC).Unix(), 86400)
		}
		return at(months), at(months+1) - 1
	case yearly:
		at := func(y int64) int64 { return floorDiv(time.Date(int(y), 1, 1, 0, 0, 0, 0, time.UTC).Unix(), 86400) }
		y := int64(t.Year()) + n
		return at(y), at(y+1) - 1
	case daily:
	}
	return start + n, start + n
}

// skip returns a period that begins before from, and before all that matters
// of the ones after it.
func (r *rule) skip(start, from int64) int64 {
	if r.count != 0 || from <= start {
		return 0
	}
	longest := map[frequency]int64{daily: 1, weekly: 7, monthly: 31, yearly: 366}[r.freq]
	return max(0, (from-start)/(longest*r.interval)-1)
}
