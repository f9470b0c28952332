package calendar

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// cron is one compiled expression. Each field is a bitmap of the values that
// match; the special days are kept beside it.
type cron struct {
	second, minute uint64
	hour           uint32
	month          uint16 // bit 1 = January
	dom            uint32 // bit 1 = the first
	dow            uint8  // bit 0 = Sunday

	lastDay   uint32   // bit n: n days before the last day of the month (L, L-3)
	lastWork  bool     // LW: the last Monday-to-Friday of the month
	near      uint32   // bit n: the weekday nearest to day n (15W)
	lastDow   uint8    // bit d: the last such weekday of the month (5L)
	nth       [6]uint8 // nth[n] bit d: the n-th such weekday (5#2)
	both      bool     // day of month and day of week both restricted: either matches
	everyHour bool     // goes by elapsed time at changes of offset
}

// maxCronBytes bounds one expression; a full list of 60 minutes takes 170.
const maxCronBytes = 512

var monthNames = []string{"", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}
var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseCron reads five fields (minute hour day month weekday) or six with the
// second first, or one of @hourly, @daily, @midnight, @weekly, @monthly,
// @yearly and @annually.
func parseCron(text string) (*cron, error) {
	fail := func(err error) (*cron, error) { return nil, fmt.Errorf("%q: %w", text, err) }
	if len(text) > maxCronBytes {
		return nil, fmt.Errorf("%d bytes long, want at most %d", len(text), maxCronBytes)
	}
	fields := strings.Fields(strings.ToLower(text))
	if len(fields) == 1 && strings.HasPrefix(fields[0], "@") {
		long, ok := shorthands(fields[0])
		if !ok {
			return fail(fmt.Errorf("want @hourly, @daily, @weekly, @monthly or @yearly, or five fields; for intervals use every"))
		}
		fields = strings.Fields(long)
	}
	switch len(fields) {
	case 5:
		fields = append([]string{"0"}, fields...)
	case 6:
	default:
		return fail(fmt.Errorf("%d fields: want 5 (minute hour day month weekday) or 6 (second first)", len(fields)))
	}
	c := &cron{}
	var err error
	if c.second, err = parseField("second", fields[0], 0, 59, nil); err != nil {
		return fail(err)
	}
	if c.minute, err = parseField("minute", fields[1], 0, 59, nil); err != nil {
		return fail(err)
	}
	hour, err := parseField("hour", fields[2], 0, 23, nil)
	if err != nil {
		return fail(err)
	}
	c.hour = uint32(hour)
	if err := c.parseDom(fields[3]); err != nil {
		return fail(err)
	}
	month, err := parseField("month", fields[4], 1, 12, monthNames)
	if err != nil {
		return fail(err)
	}
	c.month = uint16(month)
	if err := c.parseDow(fields[5]); err != nil {
		return fail(err)
	}
	// Vixie cron calls a field unrestricted when it begins with a star, so
	// "*/2" narrows the other field instead of adding to it.
	c.both = !star(fields[3]) && !star(fields[5])
	c.everyHour = c.hour == 1<<24-1
	if !c.possible() {
		return fail(fmt.Errorf("no such day ever comes: check day of month, month and weekday"))
	}
	return c, nil
}

func star(field string) bool { return field[0] == '*' || field[0] == '?' }

func shorthands(s string) (string, bool) {
	switch s {
	case "@hourly":
		return "0 * * * *", true
	case "@daily", "@midnight":
		return "0 0 * * *", true
	case "@weekly":
		return "0 0 * * 0", true
	case "@monthly":
		return "0 0 1 * *", true
	case "@yearly", "@annually":
		return "0 0 1 1 *", true
	}
	return "", false
}

// parseField reads a comma list of *, a, a-b, each with an optional /step.
// "a/step" means from a to the end of the range, as in Quartz.
func parseField(name, text string, low, high int, names []string) (set uint64, err error) {
	for item := range strings.SplitSeq(text, ",") {
		span, step, stepped := strings.Cut(item, "/")
		from, until, err := parseRange(name, span, low, high, names)
		if err != nil {
			return 0, err
		}
		n := 1
		if stepped {
			if n, err = strconv.Atoi(step); err != nil || n < 1 || n > high {
				return 0, fmt.Errorf("%s %q: want a step between 1 and %d after /", name, item, high)
			}
			if !strings.Contains(span, "-") && !star(span+" ") {
				until = high
			}
		}
		for v := from; v <= until; v += n {
			set |= 1 << v
		}
	}
	return set, nil
}

func parseRange(name, span string, low, high int, names []string) (from, until int, err error) {
	if span == "*" || span == "?" && (name == "day of month" || name == "weekday") {
		return low, high, nil
	}
	a, b, ranged := strings.Cut(span, "-")
	if from, err = parseValue(name, a, low, high, names); err != nil {
		return 0, 0, err
	}
	until = from
	if ranged {
		if until, err = parseValue(name, b, low, high, names); err != nil {
			return 0, 0, err
		}
	}
	if until < from {
		return 0, 0, fmt.Errorf("%s %q: the range runs backwards; write two ranges with a comma", name, span)
	}
	return from, until, nil
}

func parseValue(name, text string, low, high int, names []string) (int, error) {
	for i, n := range names {
		if n != "" && n == text {
			return i, nil
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < low || v > high || text[0] == '+' {
		hint := ""
		if names != nil {
			hint = " or a name such as " + names[len(names)-1]
		}
		return 0, fmt.Errorf("%s %q: want %d to %d%s", name, text, low, high, hint)
	}
	return v, nil
}

// parseDom reads the day of month: the usual items, L, L-n, LW and nW.
func (c *cron) parseDom(text string) error {
	const name = "day of month"
	for item := range strings.SplitSeq(text, ",") {
		before, back := strings.CutPrefix(item, "l-")
		near, nearest := strings.CutSuffix(item, "w")
		switch {
		case item == "l":
			c.lastDay |= 1
		case item == "lw" || item == "wl":
			c.lastWork = true
		case back:
			n, err := parseValue(name, before, 1, 30, nil)
			if err != nil {
				return err
			}
			c.lastDay |= 1 << n
		case nearest:
			n, err := parseValue(name, near, 1, 31, nil)
			if err != nil {
				return err
			}
			c.near |= 1 << n
		default:
			set, err := parseField(name, item, 1, 31, nil)
			if err != nil {
				return err
			}
			c.dom |= uint32(set)
		}
	}
	return nil
}

// parseDow reads the weekday: 0-7 (0 and 7 are Sunday) or names, dL and d#n.
func (c *cron) parseDow(text string) error {
	const name = "weekday"
	for item := range strings.SplitSeq(text, ",") {
		day, nth, numbered := strings.Cut(item, "#")
		last, isLast := strings.CutSuffix(item, "l")
		switch {
		case numbered:
			d, err := parseValue(name, day, 0, 7, dayNames)
			if err != nil {
				return err
			}
			n, err := parseValue(name+" number after #", nth, 1, 5, nil)
			if err != nil {
				return err
			}
			c.nth[n] |= 1 << (d % 7)
		case isLast && last == "":
			c.dow |= 1 << 6 // Quartz: L alone is Saturday, the last day of its week
		case isLast:
			d, err := parseValue(name, last, 0, 7, dayNames)
			if err != nil {
				return err
			}
			c.lastDow |= 1 << (d % 7)
		default:
			set, err := parseField(name, item, 0, 7, dayNames)
			if err != nil {
				return err
			}
			c.dow |= uint8(set&0x7f | set>>7&1)
		}
	}
	return nil
}

// matchDay reports whether the expression allows the day.
func (c *cron) matchDay(d date) bool {
	if c.month>>d.month&1 == 0 {
		return false
	}
	length := monthDays(d.year, d.month)
	wd := d.weekday()
	dom := c.dom>>d.day&1 != 0 ||
		c.lastDay>>(length-d.day)&1 != 0 ||
		c.lastWork && d.day == nearestWorkday(d, length, length) ||
		c.near != 0 && c.matchNear(d, length)
	dow := c.dow>>wd&1 != 0 ||
		c.nth[(d.day-1)/7+1]>>wd&1 != 0 ||
		c.lastDow>>wd&1 != 0 && d.day+7 > length
	if c.both {
		return dom || dow
	}
	return dom && dow
}

func (c *cron) matchNear(d date, length int) bool {
	for set := c.near; set != 0; set &= set - 1 {
		n := bits.TrailingZeros32(set)
		if n <= length && d.day == nearestWorkday(d, n, length) {
			return true
		}
	}
	return false
}

// nearestWorkday returns the Monday-to-Friday nearest to day n of d's month,
// never leaving the month.
func nearestWorkday(d date, n, length int) int {
	switch (date{d.year, d.month, n}).weekday() {
	case 6:
		if n == 1 {
			return 3
		}
		return n - 1
	case 0:
		if n == length {
			return n - 2
		}
		return n + 1
	}
	return n
}

// possible looks through one whole cycle of the Gregorian calendar, 400 years.
func (c *cron) possible() bool {
	for y := 2000; y < 2400; y++ {
		for m := 1; m <= 12; m++ {
			if c.month>>m&1 == 0 {
				continue
			}
			for d := 1; d <= monthDays(y, m); d++ {
				if c.matchDay(date{y, m, d}) {
					return true
				}
			}
		}
	}
	return false
}

// nextWall returns the first matching wall time at or after w; false when the
// calendar's horizon comes first.
func (c *cron) nextWall(w wall) (wall, bool) {
	d, sec := w.split()
	if c.matchDay(d) {
		if s, ok := c.nextClock(sec); ok {
			return wallOf(d, s), true
		}
	}
	first, _ := c.nextClock(0)
	for d = d.next(); d.year <= maxYear; d = d.next() {
		if c.month>>d.month&1 == 0 {
			d.day = monthDays(d.year, d.month)
			continue
		}
		if c.matchDay(d) {
			return wallOf(d, first), true
		}
	}
	return 0, false
}

// nextClock returns the first matching second of a day at or after sec.
func (c *cron) nextClock(sec int) (int, bool) {
	h, m, s := sec/3600, sec/60%60, sec%60
	if c.hour>>h&1 != 0 {
		if c.minute>>m&1 != 0 {
			if rest := c.second >> s; rest != 0 {
				return sec + bits.TrailingZeros64(rest), true
			}
		}
		if rest := c.minute >> (m + 1); rest != 0 {
			return h*3600 + (m+1+bits.TrailingZeros64(rest))*60 + bits.TrailingZeros64(c.second), true
		}
	}
	rest := c.hour >> (h + 1)
	if rest == 0 {
		return 0, false
	}
	return (h+1+bits.TrailingZeros32(rest))*3600 + bits.TrailingZeros64(c.minute)*60 + bits.TrailingZeros64(c.second), true
}
