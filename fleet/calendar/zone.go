package calendar

import (
	"time"
	_ "time/tzdata" // for machines without a database of zones

	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxYear is the horizon: nothing is ever due after it.
const maxYear = 9999

// horizon is the end of maxYear.
const horizon = fleet.Instant(253402300799_999)

// date is a day of the proleptic Gregorian calendar.
type date struct{ year, month, day int }

// wall is a reading of a wall clock, in seconds as if it were UTC.
type wall int64

func monthDays(year, month int) int {
	switch month {
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case 4, 6, 9, 11:
		return 30
	}
	return 31
}

func (d date) next() date {
	switch {
	case d.day < monthDays(d.year, d.month):
		d.day++
	case d.month < 12:
		d.month, d.day = d.month+1, 1
	default:
		d.year, d.month, d.day = d.year+1, 1, 1
	}
	return d
}

// days counts from 1970-01-01 (Hinnant, chrono-compatible date algorithms).
func (d date) days() int {
	y := d.year
	if d.month <= 2 {
		y--
	}
	era := floorDiv(y, 400)
	yoe := y - era*400
	doy := (153*((d.month+9)%12)+2)/5 + d.day - 1
	return era*146097 + yoe*365 + yoe/4 - yoe/100 + doy - 719468
}

func dateOf(days int) date {
	days += 719468
	era := floorDiv(days, 146097)
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d := date{year: yoe + era*400, month: (mp+2)%12 + 1, day: doy - (153*mp+2)/5 + 1}
	if d.month <= 2 {
		d.year++
	}
	return d
}

// weekday returns 0 for Sunday: 1970-01-01 was a Thursday.
func (d date) weekday() int { return ((d.days()+4)%7 + 7) % 7 }

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (w wall) split() (date, int) {
	days := floorDiv64(int64(w), 86400)
	return dateOf(int(days)), int(int64(w) - days*86400)
}

// In 64 bits: an int of an armv7 ends in 2038.
func wallOf(d date, sec int) wall { return wall(int64(d.days())*86400 + int64(sec)) }

// segment is a span of time with one offset from UTC: [from, until) in Unix
// seconds. The next one may have the same offset.
type segment struct{ from, until, offset int64 }

const farPast, farFuture = -1 << 60, 1 << 60

func segmentAt(loc *time.Location, unix int64) segment {
	t := time.Unix(unix, 0).In(loc)
	_, offset := t.Zone()
	s := segment{farPast, farFuture, int64(offset)}
	from, until := t.ZoneBounds()
	if !from.IsZero() {
		s.from = from.Unix()
	}
	if !until.IsZero() {
		s.until = until.Unix()
	}
	if s.until <= unix {
		// Beyond the last listed change the standard library cuts segments at
		// the year's end and takes every year for 365 days long, so on the last
		// day of a leap year the end lies behind. No change is left that day.
		s.until = (floorDiv64(unix, 86400) + 1) * 86400
	}
	return s
}

// instant maps a wall time to the Unix second when it runs: its first pass, or
// the end of the gap that swallowed it. It never decreases as w grows.
func instant(loc *time.Location, w wall) int64 {
	// No zone is more than 16 hours from UTC, so this segment or a later one
	// holds the answer.
	for s := segmentAt(loc, int64(w)-16*3600); ; s = segmentAt(loc, s.until) {
		switch u := int64(w) - s.offset; {
		case u < s.from:
			return s.from
		case u < s.until:
			return u
		}
	}
}

// nextCron returns the first second after unix at which c fires in loc.
func nextCron(c *cron, loc *time.Location, unix int64) (int64, bool) {
	s := segmentAt(loc, unix)
	w := wall(unix + s.offset)
	if !c.everyHour {
		for {
			var ok bool
			if w, ok = c.nextWall(w + 1); !ok {
				return 0, false
			}
			if u := instant(loc, w); u > unix {
				return u, true
			}
		}
	}
	from := unix + 1
	for {
		w, ok := c.nextWall(wall(from + s.offset))
		if !ok {
			return 0, false
		}
		if u := int64(w) - s.offset; u < s.until {
			return u, true
		}
		from = s.until
		s = segmentAt(loc, from)
	}
}
