package calendar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// maxExclude bounds Spec.Exclude: ten years of every day apart, as a calendar
// of single appointments has them. Agents hold it for each of their schedules.
const maxExclude = 4000

// exclusions are what Spec.Exclude takes out, in order, so that one look costs
// the same however many there are.
type exclusions struct {
	yearly []dates
	dated  []dates     // with years; sorted, with days between them
	spans  []span      // the same everywhere; sorted, with time between them
	local  []localSpan // by the wall clock of each place
}

// span is a range of time, [from, until).
type span struct{ from, until fleet.Instant }

// localSpan is a range of readings of a wall clock, [from, until).
type localSpan struct{ from, until wall }

// dates is a range of days, both inclusive; yearly ranges hold month and day
// only and may wrap over the new year.
type dates struct {
	from, until date
	yearly      bool
}

var maxDate = date{maxYear, 12, 31}

func (r dates) holds(d date) bool {
	if !r.yearly {
		return !d.before(r.from) && !r.until.before(d)
	}
	k, a, b := d.month*32+d.day, r.from.month*32+r.from.day, r.until.month*32+r.until.day
	if a <= b {
		return a <= k && k <= b
	}
	return k >= a || k <= b
}

func (d date) before(o date) bool {
	return d.year < o.year || d.year == o.year && (d.month < o.month || d.month == o.month && d.day < o.day)
}

// parse adds what text takes out: dates, or a range of times.
func (x *exclusions) parse(text string) error {
	a, b, ranged := strings.Cut(text, "/")
	if !ranged {
		r, err := parseDates(text)
		switch {
		case err != nil:
			return err
		case r.yearly:
			x.yearly = append(x.yearly, r)
		default:
			x.dated = append(x.dated, r)
		}
		return nil
	}
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	from, err1 := time.Parse(time.RFC3339, a)
	until, err2 := time.Parse(time.RFC3339, b)
	if err1 == nil && err2 == nil {
		x.spans = append(x.spans, span{fleet.At(from), fleet.At(until)})
	} else {
		from, err1 = time.Parse(localTime, a)
		until, err2 = time.Parse(localTime, b)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("%q: want two times with their offsets, 2027-12-25T10:00:00Z/2027-12-25T12:00:00Z, or both without one, by the schedule's clock", text)
		}
		x.local = append(x.local, localSpan{wall(from.Unix()), wall(until.Unix())})
	}
	if !from.Before(until) {
		return fmt.Errorf("%q: the second time is not after the first", text)
	}
	return nil
}

// localTime is RFC 3339 without an offset.
const localTime = "2006-01-02T15:04:05"

// sort brings the lists into their order, and joins what touches.
func (x *exclusions) sort() {
	slices.SortFunc(x.dated, func(a, b dates) int { return a.from.days() - b.from.days() })
	dated := x.dated[:0]
	for _, r := range x.dated {
		if n := len(dated); n > 0 && !dated[n-1].until.next().before(r.from) {
			if dated[n-1].until.before(r.until) {
				dated[n-1].until = r.until
			}
			continue
		}
		dated = append(dated, r)
	}
	x.dated = dated
	x.spans = joinSpans(x.spans)
}

func joinSpans(all []span) []span {
	slices.SortFunc(all, func(a, b span) int { return int(min(1, max(-1, a.from-b.from))) })
	out := all[:0]
	for _, s := range all {
		if n := len(out); n > 0 && s.from <= out[n-1].until {
			out[n-1].until = max(out[n-1].until, s.until)
			continue
		}
		out = append(out, s)
	}
	return out
}

// spansIn returns the ranges of time by the clock of loc.
func (x *exclusions) spansIn(loc *time.Location) []span {
	if len(x.local) == 0 {
		return x.spans
	}
	all := slices.Clone(x.spans)
	for _, l := range x.local {
		// A range that lies in a gap is no time at all.
		if s := (span{fleet.Instant(instant(loc, l.from) * 1000), fleet.Instant(instant(loc, l.until) * 1000)}); s.from < s.until {
			all = append(all, s)
		}
	}
	return joinSpans(all)
}

// lastDay returns the end of the range that holds d; false when none does.
func (x *exclusions) lastDay(d date) (date, bool) {
	i, _ := slices.BinarySearchFunc(x.dated, d, func(r dates, d date) int {
		if r.until.before(d) {
			return -1
		}
		return 1
	})
	if i < len(x.dated) && x.dated[i].holds(d) {
		return x.dated[i].until, true
	}
	for _, r := range x.yearly {
		if r.holds(d) {
			return r.end(d), true
		}
	}
	return date{}, false
}

// parseDates reads 2027-12-25, 2027-12-24..2028-01-02, and the same without
// years for every year.
func parseDates(text string) (dates, error) {
	a, b, ranged := strings.Cut(text, "..")
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if !ranged {
		b = a
	}
	if from, ok := parseMonthDay(a); ok {
		until, ok := parseMonthDay(b)
		if !ok {
			return dates{}, fmt.Errorf("%q: want both ends without a year, or both with one", text)
		}
		return dates{from, until, true}, nil
	}
	from, err := parseDate(a)
	if err != nil {
		return dates{}, fmt.Errorf("%q: want a date or a range: 2027-12-25, 2027-12-24..2028-01-02, or 12-25 for every year", text)
	}
	until, err := parseDate(b)
	if err != nil {
		return dates{}, fmt.Errorf("%q: want a date after .., for example %s..2028-01-02", text, a)
	}
	if until.before(from) {
		return dates{}, fmt.Errorf("%q: the range runs backwards", text)
	}
	return dates{from, until, false}, nil
}

func parseMonthDay(text string) (date, bool) {
	m, d, ok := strings.Cut(text, "-")
	month, err1 := strconv.Atoi(m)
	day, err2 := strconv.Atoi(d)
	if !ok || len(m) != 2 || len(d) != 2 || err1 != nil || err2 != nil || month < 1 || month > 12 || day < 1 || day > monthDays(2000, month) {
		return date{}, false
	}
	return date{2000, month, day}, true
}

// maxJumps bounds how many ranges in a row may exclude a date: beyond it the
// exclusions leave nothing, as 01-01..12-31 does.
const maxJumps = 4096

// afterExcluded returns at itself when nothing takes it out, else a later
// instant before which all is taken out; false when there is none. That instant
// may be taken out by a range of the other kind.
func (p *place) afterExcluded(x *exclusions, at fleet.Instant) (fleet.Instant, bool) {
	if len(p.excluded) > 0 {
		i, _ := slices.BinarySearchFunc(p.excluded, at, func(s span, at fleet.Instant) int {
			if s.until <= at {
				return -1
			}
			return 1
		})
		if i < len(p.excluded) && p.excluded[i].from <= at {
			return p.excluded[i].until, true
		}
	}
	if len(x.dated) == 0 && len(x.yearly) == 0 {
		return at, true
	}
	second := floorDiv64(int64(at), 1000)
	d := p.dateAt(second)
	for jump := range maxJumps + len(x.dated) {
		last, held := x.lastDay(d)
		switch {
		case !held && jump == 0:
			return at, true
		case !held:
			// Where a zone skips dates, the start may not be later.
			return fleet.Instant(max(second+1, instant(p.loc, wallOf(d, 0))) * 1000), true
		}
		if d = last.next(); d.year > maxYear {
			break
		}
	}
	return 0, false
}

// end returns the last day of the occurrence of r that holds d.
func (r dates) end(d date) date {
	if !r.yearly {
		return r.until
	}
	end := date{d.year, r.until.month, r.until.day}
	if end.before(d) { // it wraps over the new year
		end.year++
	}
	end.day = min(end.day, monthDays(end.year, end.month))
	return end
}
