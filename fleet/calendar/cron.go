package calendar

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// cron is a compiled expression: five fields (minute, hour, day of month,
// month, day of week), or six with seconds first. A day matches when the month
// does and, if both kinds of days are restricted, either of them; as in Vixie
// cron.
type cron struct {
	sec, min      uint64
	hour          uint64
	dom, month    uint64
	dow           uint64
	domAny        bool
	dowAny        bool
	lastDay       bool   // L: the month's last day
	lastWeekday   bool   // LW
	nearWeekday   uint64 // nW: the weekday nearest to day n
	lastOfWeekday uint64 // 5L: the month's last Friday
	nthOfWeekday  [7]uint8
	allHours      bool
}

type cronField struct {
	name      string
	low, high int
	names     []string // of low, low+1, …
}

var (
	secField   = cronField{name: "second", high: 59}
	minField   = cronField{name: "minute", high: 59}
	hourField  = cronField{name: "hour", high: 23}
	domField   = cronField{name: "day of month", low: 1, high: 31}
	monthField = cronField{name: "month", low: 1, high: 12, names: strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")}
	dowField   = cronField{name: "day of week", high: 7, names: strings.Fields("sun mon tue wed thu fri sat")}
)

const allHours = 1<<24 - 1

var cronShorthands = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

func parseCron(text string) (c cron, err error) {
	full := text
	if s, ok := cronShorthands[strings.TrimSpace(text)]; ok {
		full = s
	}
	f := strings.Fields(full)
	if len(f) == 5 {
		f = append([]string{"0"}, f...)
	}
	if len(f) != 6 {
		return c, fmt.Errorf("%q has %d fields: want minute hour day-of-month month day-of-week, or these with seconds first", text, len(f))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%q: %w", text, err)
		}
	}()
	if c.sec, err = secField.parse(f[0]); err != nil {
		return c, err
	}
	if c.min, err = minField.parse(f[1]); err != nil {
		return c, err
	}
	if c.hour, err = hourField.parse(f[2]); err != nil {
		return c, err
	}
	if err = c.parseDays(f[3]); err != nil {
		return c, err
	}
	if c.month, err = monthField.parse(f[4]); err != nil {
		return c, err
	}
	if err = c.parseWeekdays(f[5]); err != nil {
		return c, err
	}
	c.allHours = c.hour == allHours
	// As Vixie cron has it, a field that begins with * does not restrict.
	c.domAny = strings.HasPrefix(f[3], "*") || f[3] == "?"
	c.dowAny = strings.HasPrefix(f[5], "*") || f[5] == "?"
	if _, ok := c.next(0, time.UTC); !ok {
		return c, fmt.Errorf("no day ever matches")
	}
	return c, nil
}

func (c *cron) parseDays(text string) error {
	var plain []string
	for part := range strings.SplitSeq(strings.ToUpper(text), ",") {
		switch day, w := strings.CutSuffix(part, "W"); {
		case part == "L":
			c.lastDay = true
		case part == "LW":
			c.lastWeekday = true
		case w:
			n, err := strconv.Atoi(day)
			if err != nil || n < 1 || n > 31 {
				return fmt.Errorf("day of month %q: want a day before the W", part)
			}
			c.nearWeekday |= 1 << n
		default:
			plain = append(plain, part)
		}
	}
	var err error
	if plain != nil {
		c.dom, err = domField.parse(strings.Join(plain, ","))
	}
	return err
}

func (c *cron) parseWeekdays(text string) error {
	var plain []string
	for part := range strings.SplitSeq(strings.ToLower(text), ",") {
		day, nth, hash := strings.Cut(part, "#")
		head, last := strings.CutSuffix(part, "l")
		switch {
		case hash:
			d, err := dowField.value(day)
			n, err2 := strconv.Atoi(nth)
			if err != nil || err2 != nil || n < 1 || n > 5 {
				return fmt.Errorf("day of week %q: want for example fri#2, the second Friday", part)
			}
			c.nthOfWeekday[d%7] |= 1 << n
		case last && head != "":
			d, err := dowField.value(head)
			if err != nil {
				return err
			}
			c.lastOfWeekday |= 1 << (d % 7)
		case part == "l":
			plain = append(plain, "6")
		default:
			plain = append(plain, part)
		}
	}
	if plain == nil {
		return nil
	}
	set, err := dowField.parse(strings.Join(plain, ","))
	if set&(1<<7) != 0 {
		set = set&^(1<<7) | 1
	}
	c.dow = set
	return err
}

func (f *cronField) parse(text string) (set uint64, err error) {
	for part := range strings.SplitSeq(strings.ToLower(text), ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 {
				return 0, fmt.Errorf("%s %q: the step is a number above 0", f.name, part)
			}
		}
		low, high := f.low, f.high
		if f.name == dowField.name {
			high = 6
		}
		if span != "*" && span != "?" {
			from, to, ranged := strings.Cut(span, "-")
			if low, err = f.value(from); err != nil {
				return 0, err
			}
			switch {
			case ranged:
				if high, err = f.value(to); err != nil {
					return 0, err
				}
			case !stepped:
				high = low
			}
			if high < low {
				return 0, fmt.Errorf("%s %q: the range ends before it begins", f.name, part)
			}
		}
		for v := low; v <= high; v += step {
			set |= 1 << v
		}
	}
	return set, nil
}

func (f *cronField) value(text string) (int, error) {
	for i, n := range f.names {
		if text == n {
			return f.low + i, nil
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.low || v > f.high {
		return 0, fmt.Errorf("%s %q: want %d to %d", f.name, text, f.low, f.high)
	}
	return v, nil
}

// day reports whether the local day matches.
func (c *cron) day(y int, m time.Month, d int) bool {
	if c.month&(1<<m) == 0 {
		return false
	}
	switch {
	case c.domAny && c.dowAny:
		// A step (*/2) restricts although it begins with *.
		return (c.dom == 0 || c.dom&(1<<d) != 0) && c.weekday(y, m, d)
	case c.domAny:
		return (c.dom == 0 || c.dom&(1<<d) != 0) && c.weekday(y, m, d)
	case c.dowAny:
		return c.monthday(y, m, d) && c.weekday(y, m, d)
	}
	return c.monthday(y, m, d) || c.weekday(y, m, d)
}

func lastDayOf(y int, m time.Month) int { return time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day() }

func weekdayOf(y int, m time.Month, d int) int {
	return int(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Weekday())
}

func (c *cron) monthday(y int, m time.Month, d int) bool {
	if c.dom&(1<<d) != 0 {
		return true
	}
	last := lastDayOf(y, m)
	if c.lastDay && d == last {
		return true
	}
	if c.lastWeekday {
		n := last
		for w := weekdayOf(y, m, n); w == 0 || w == 6; w = weekdayOf(y, m, n) {
			n--
		}
		if d == n {
			return true
		}
	}
	for set := c.nearWeekday; set != 0; set &= set - 1 {
		n := bits.TrailingZeros64(set)
		if n <= last && d == nearestWeekday(y, m, n, last) {
			return true
		}
	}
	return false
}

// nearestWeekday returns the Monday to Friday nearest to day n in its month.
func nearestWeekday(y int, m time.Month, n, last int) int {
	switch weekdayOf(y, m, n) {
	case 6:
		if n == 1 {
			return 3
		}
		return n - 1
	case 0:
		if n == last {
			return n - 2
		}
		return n + 1
	}
	return n
}

func (c *cron) weekday(y int, m time.Month, d int) bool {
	w := weekdayOf(y, m, d)
	return c.dow&(1<<w) != 0 ||
		c.lastOfWeekday&(1<<w) != 0 && d+7 > lastDayOf(y, m) ||
		c.nthOfWeekday[w]&(1<<((d-1)/7+1)) != 0
}

// searchYears bounds the search: February 29 on a given weekday comes again
// within 40 years.
const searchYears = 41

// next returns the first instant after `after` that matches in loc.
func (c *cron) next(after fleet.Instant, loc *time.Location) (fleet.Instant, bool) {
	from := after.Time().In(loc)
	y, m, d := from.Date()
	// The day before, because a gap at midnight may carry its times over.
	for day, end := time.Date(y, m, d-1, 0, 0, 0, 0, time.UTC), from.Year()+searchYears; day.Year() <= end; {
		y, m, d := day.Date()
		if c.month&(1<<m) == 0 {
			day = time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		}
		if c.day(y, m, d) {
			find := c.timeOfDay
			if c.allHours {
				find = c.elapsed
			}
			if at, ok := find(y, m, d, after, loc); ok {
				return at, true
			}
		}
		day = time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)
	}
	return 0, false
}

// timeOfDay finds the day's first matching time after `after`.
func (c *cron) timeOfDay(y int, m time.Month, d int, after fleet.Instant, loc *time.Location) (fleet.Instant, bool) {
	for hs := c.hour; hs != 0; hs &= hs - 1 {
		h := bits.TrailingZeros64(hs)
		if resolve(y, m, d, h, 59, 59, loc) <= after {
			continue
		}
		for ms := c.min; ms != 0; ms &= ms - 1 {
			mi := bits.TrailingZeros64(ms)
			if resolve(y, m, d, h, mi, 59, loc) <= after {
				continue
			}
			for ss := c.sec; ss != 0; ss &= ss - 1 {
				if at := resolve(y, m, d, h, mi, bits.TrailingZeros64(ss), loc); at > after {
					return at, true
				}
			}
		}
	}
	return 0, false
}

// resolve turns a local time into an instant: the end of the gap when it does
// not exist, the first pass when it comes twice.
func resolve(y int, m time.Month, d, h, mi, s int, loc *time.Location) fleet.Instant {
	t := time.Date(y, m, d, h, mi, s, 0, loc)
	if t.Hour() != h || t.Minute() != mi || t.Day() != d {
		// In a gap. time.Date promises no side of it: look at the offsets around.
		start, end := t.ZoneBounds()
		edge := start
		if !end.IsZero() && (start.IsZero() || end.Sub(t).Abs() < t.Sub(start).Abs()) {
			edge = end
		}
		return fleet.At(edge)
	}
	// A second pass has the same wall clock one offset change earlier.
	if start, _ := t.ZoneBounds(); !start.IsZero() {
		_, now := t.Zone()
		_, before := start.Add(-time.Second).Zone()
		if earlier := t.Add(time.Duration(now-before) * time.Second); before > now && earlier.Before(start) {
			return fleet.At(earlier)
		}
	}
	return fleet.At(t)
}

// elapsed finds the first match after `after` within the local day, walking
// real minutes, so that an hour that comes twice has its times twice.
func (c *cron) elapsed(y int, m time.Month, d int, after fleet.Instant, loc *time.Location) (fleet.Instant, bool) {
	t := resolve(y, m, d, 0, 0, 0, loc).Time()
	if a := after.Time().Truncate(time.Minute); a.After(t) {
		t = a
	}
	for {
		l := t.In(loc)
		if ly, lm, ld := l.Date(); ly != y || lm != m || ld != d {
			return 0, false
		}
		if c.min&(1<<l.Minute()) != 0 {
			for ss := c.sec; ss != 0; ss &= ss - 1 {
				if at := fleet.At(t) + fleet.Instant(bits.TrailingZeros64(ss)*1000); at > after {
					return at, true
				}
			}
		}
		t = t.Add(time.Minute)
	}
}

// zones remembers the zones a schedule was asked for.
type zones struct{ m sync.Map }

func (z *zones) get(name string) (*time.Location, error) {
	if l, ok := z.m.Load(name); ok {
		return l.(*time.Location), nil
	}
	if name == "Local" {
		return nil, fmt.Errorf("%q depends on the machine: write an IANA name such as Europe/Paris", name)
	}
	l, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("zone %q is not known: write an IANA name such as Europe/Paris", name)
	}
	z.m.Store(name, l)
	return l, nil
}

// CheckZone reports whether name is an IANA zone.
func CheckZone(name string) error {
	var z zones
	_, err := z.get(name)
	return err
}
