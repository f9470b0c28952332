// Package ics reads what people keep their holidays in: iCalendar files (RFC
// 5545), as Google Calendar, Outlook and Apple's Calendar write them. It turns
// their events into the dates and times that a schedule leaves out.
//
//	file ─ unfold ─► lines ─► components ─► events ─ expand ─► dates and ranges of times
//
// Every event counts that is not cancelled, whether it is marked as busy or as
// free: exported holidays are marked as free. Alarms, tasks and journals do
// not. Whole-day events are dates, to be read in the schedule's zone; timed ones
// are instants, except those that name no zone, which go by the schedule's clock.
//
// A file is foreign input: its size, its events, what they repeat to and the
// work to find that out are bounded, and each fault names its line.
package ics

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of one file.
const (
	maxBytes     = 1 << 20 // the public holidays of a country over ten years take a tenth
	maxEvents    = 5000
	maxInstances = 50_000
	maxDays      = 5_000_000 // that rules may be tried on, a quarter of a second
	maxLength    = 3660      // days that one event may take

	// YearsBack and YearsAhead bound what is read of events that repeat: whole
	// years around the present one, so that the same file says the same all year.
	YearsBack  = 1
	YearsAhead = 10
)

// Exclude returns what the events of an iCalendar file cover from YearsBack
// before now's year until YearsAhead after it, in the forms of
// calendar.Spec.Exclude, in order, and joined where they touch: dates,
// 2027-12-24..2027-12-26; then times, 2027-12-25T10:00:00Z/2027-12-25T12:00:00Z;
// then times by the schedule's clock, which have no Z.
func Exclude(data []byte, now time.Time) ([]string, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%d bytes long, want at most %d: export fewer years, or without attachments", len(data), maxBytes)
	}
	calendars, err := parse(data)
	if err != nil {
		return nil, err
	}
	year := now.UTC().Year()
	r := reader{
		from:  time.Date(year-YearsBack, 1, 1, 0, 0, 0, 0, time.UTC).Unix() / 86400,
		until: time.Date(year+YearsAhead+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix() / 86400,
		days:  maxDays,
	}
	for _, c := range calendars {
		if err := r.calendar(c); err != nil {
			return nil, err
		}
	}
	return r.texts(), nil
}

// kind is what a moment is measured by.
type kind uint8

const (
	wholeDay kind = iota // a date
	absolute             // UTC, or a zone's time
	floating             // the clock of whoever reads it
)

// cover is a range that an instance of an event takes, [from, until): in days
// since 1970 for wholeDay, else in seconds.
type cover struct{ from, until int64 }

// reader gathers what the events of a file cover.
type reader struct {
	from, until int64 // days since 1970
	days        int   // that rules may still be tried on
	events      int
	instances   int
	covers      [3][]cover // by kind
}

var errTooMany = fmt.Errorf("the events repeat more than %d times until %d years ahead: want fewer events, or an UNTIL", maxInstances, YearsAhead)

var errTooLong = errors.New("the events repeat in so many ways that they take too long to list: want fewer events, or rules that begin later")

func (r *reader) add(k kind, c cover) error {
	first, last := c.from, c.until
	if k != wholeDay {
		first, last = floorDiv(first, 86400), floorDiv(last-1, 86400)+1
	}
	if last <= r.from || first >= r.until || c.from == c.until {
		return nil
	}
	if r.instances++; r.instances > maxInstances {
		return errTooMany
	}
	r.covers[k] = append(r.covers[k], c)
	return nil
}

func (r *reader) texts() []string {
	var out []string
	for k, all := range r.covers {
		slices.SortFunc(all, func(a, b cover) int { return cmp.Compare(a.from, b.from) })
		joined := all[:0]
		for _, c := range all {
			if n := len(joined); n > 0 && c.from <= joined[n-1].until {
				joined[n-1].until = max(joined[n-1].until, c.until)
				continue
			}
			joined = append(joined, c)
		}
		for _, c := range joined {
			out = append(out, c.text(kind(k)))
		}
	}
	return out
}

func (c cover) text(k kind) string {
	layout := "2006-01-02T15:04:05"
	switch k {
	case wholeDay:
		first, last := dayText(c.from), dayText(c.until-1)
		if first == last {
			return first
		}
		return first + ".." + last
	case absolute:
		layout = time.RFC3339
	}
	return time.Unix(c.from, 0).UTC().Format(layout) + "/" + time.Unix(c.until, 0).UTC().Format(layout)
}

func dayText(day int64) string { return time.Unix(day*86400, 0).UTC().Format(time.DateOnly) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
