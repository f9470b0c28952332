package ics

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// moment is a DATE or DATE-TIME.
type moment struct {
	kind kind
	wall int64 // what it reads: days since 1970 for wholeDay, else seconds as if in UTC
	zone zone  // of absolute
}

// at returns the moment in the unit of its kind's covers.
func (m moment) at() int64 {
	if m.kind == absolute {
		return unix(m.zone, m.wall)
	}
	return m.wall
}

// day returns the date it reads.
func (m moment) day() int64 {
	if m.kind == wholeDay {
		return m.wall
	}
	return floorDiv(m.wall, 86400)
}

// plus returns the moment some days later by its clock.
func (m moment) plus(days int64) moment {
	if m.kind != wholeDay {
		days *= 86400
	}
	m.wall += days
	return m
}

// length is how long an event takes.
type length struct {
	days    int64 // by the clock
	seconds int64 // after them, by elapsed time
}

func (l length) after(m moment) int64 { return m.plus(l.days).at() + l.seconds }

// instance is one of an event's, with its own length where RDATE gives one.
type instance struct {
	start moment
	takes *length
}

// event is a VEVENT.
type event struct {
	start  moment
	takes  length
	rules  []*property
	extra  []instance
	except map[int64]bool // starts that are taken out, as moment.at
	dates  map[int64]bool // days whose starts are taken out
}

// calendar adds what the events of one VCALENDAR cover.
func (r *reader) calendar(c *component) error {
	zones := &zones{calendar: c, r: r, known: map[string]zone{}}
	// An event with RECURRENCE-ID stands for one instance of the event with the
	// same UID.
	moved := map[string][]*property{}
	for _, child := range c.children {
		if child.name != "VEVENT" {
			continue
		}
		if r.events++; r.events > maxEvents {
			return fmt.Errorf("line %d: more than %d events: export fewer years", child.line, maxEvents)
		}
		if id, uid := child.get("RECURRENCE-ID"), child.get("UID"); id != nil && uid != nil {
			if id.params["RANGE"] != "" {
				return id.fault("RANGE is not read: end the event with UNTIL and make a second one")
			}
			moved[uid.value] = append(moved[uid.value], id)
		}
	}
	for _, child := range c.children {
		if child.name != "VEVENT" {
			continue
		}
		if s := child.get("STATUS"); s != nil && strings.EqualFold(strings.TrimSpace(s.value), "CANCELLED") {
			continue
		}
		var ids []*property
		if uid := child.get("UID"); uid != nil && child.get("RECURRENCE-ID") == nil {
			ids = moved[uid.value]
		}
		if err := r.event(child, ids, zones); err != nil {
			if s := child.get("SUMMARY"); s != nil {
				return fmt.Errorf("event %.60q: %w", unescape(s.value), err)
			}
			return err
		}
	}
	return nil
}

func (r *reader) event(c *component, moved []*property, zones *zones) error {
	e, err := readEvent(c, moved, zones)
	if err != nil {
		return err
	}
	add := func(i instance) error {
		from := i.start.at()
		if e.except[from] || e.dates[i.start.day()] {
			return nil
		}
		takes := e.takes
		if i.takes != nil {
			takes = *i.takes
		}
		return r.add(i.start.kind, cover{from, takes.after(i.start)})
	}
	if len(e.rules) == 0 { // else a rule counts the first one
		e.extra = append(e.extra, instance{start: e.start})
	}
	for _, i := range e.extra {
		if err := add(i); err != nil {
			return err
		}
	}
	for _, p := range e.rules {
		err := r.repeat(p, e.start, r.from-e.takes.days-e.takes.seconds/86400-2, func(m moment) error { return add(instance{start: m}) })
		if err != nil {
			return p.fault("%w", err)
		}
	}
	return nil
}

// repeat calls yield with the starts that an RRULE gives, from the day from on.
func (r *reader) repeat(p *property, start moment, from int64, yield func(moment) error) error {
	rule, err := parseRule(p.value)
	if err != nil {
		return err
	}
	within, err := rule.ends()
	if err != nil {
		return err
	}
	var inner error
	err = rule.days(start.day(), from, r.until+1, &r.days, func(day int64) bool {
		m := start.plus(day - start.day())
		if !within(m) {
			return false
		}
		inner = yield(m)
		return inner == nil
	})
	return errors.Join(err, inner)
}

// ends returns the test that UNTIL stands for.
func (r *rule) ends() (func(moment) bool, error) {
	if r.until == "" {
		return func(moment) bool { return true }, nil
	}
	end, err := parseMoment(r.until, nil)
	if err != nil {
		return nil, fmt.Errorf("UNTIL: %w", err)
	}
	return func(m moment) bool {
		switch {
		case end.kind == wholeDay || m.kind == wholeDay:
			return m.day() <= end.day()
		case end.kind == absolute:
			return m.at() <= end.wall
		}
		return m.wall <= end.wall
	}, nil
}

func readEvent(c *component, moved []*property, zones *zones) (*event, error) {
	e := &event{except: map[int64]bool{}, dates: map[int64]bool{}}
	start := c.get("DTSTART")
	if start == nil {
		return nil, fmt.Errorf("line %d: an event has no DTSTART", c.line)
	}
	var err error
	if e.start, err = zones.moment(start, start.value); err != nil {
		return nil, err
	}
	if e.takes, err = readLength(c, e.start, zones); err != nil {
		return nil, err
	}
	for i := range c.props {
		p := &c.props[i]
		switch p.name {
		case "RRULE":
			e.rules = append(e.rules, p)
		case "EXRULE":
			return nil, p.fault("is no longer in the standard: want EXDATE")
		case "RDATE":
			for text := range strings.SplitSeq(p.value, ",") {
				i, err := readExtra(p, text, zones)
				if err != nil {
					return nil, err
				}
				if i.start.kind != e.start.kind {
					return nil, p.fault("%q: want the same kind of time as DTSTART", text)
				}
				e.extra = append(e.extra, i)
			}
		case "EXDATE":
			for text := range strings.SplitSeq(p.value, ",") {
				if err := e.takeOut(p, text, zones); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, p := range moved {
		if err := e.takeOut(p, p.value, zones); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (e *event) takeOut(p *property, text string, zones *zones) error {
	m, err := zones.moment(p, text)
	if err != nil {
		return err
	}
	if m.kind == wholeDay || e.start.kind == wholeDay {
		e.dates[m.day()] = true
	} else {
		e.except[m.at()] = true
	}
	return nil
}

func readExtra(p *property, text string, zones *zones) (instance, error) {
	first, last, period := strings.Cut(text, "/")
	start, err := zones.moment(p, first)
	if err != nil || !period {
		return instance{start: start}, err
	}
	takes, err := parseDuration(last)
	if err != nil {
		end, err := zones.moment(p, last)
		if err != nil {
			return instance{}, err
		}
		takes = length{seconds: end.at() - start.at()}
	}
	return instance{start, &takes}, takes.check(p)
}

// readLength reads DTEND or DURATION; an event without either is a whole day or
// no time at all.
func readLength(c *component, start moment, zones *zones) (length, error) {
	if p := c.get("DTEND"); p != nil {
		end, err := zones.moment(p, p.value)
		if err != nil {
			return length{}, err
		}
		if (end.kind == wholeDay) != (start.kind == wholeDay) || (end.kind == floating) != (start.kind == floating) {
			return length{}, p.fault("%q: want the same kind of time as DTSTART", p.value)
		}
		takes := length{seconds: end.at() - start.at()}
		if start.kind == wholeDay {
			// Some programs write the first day again for an event of one day.
			takes = length{days: takes.seconds}
			if takes.days == 0 {
				takes.days = 1
			}
		}
		return takes, takes.check(p)
	}
	p := c.get("DURATION")
	switch {
	case p == nil && start.kind == wholeDay:
		return length{days: 1}, nil
	case p == nil:
		return length{}, nil
	}
	takes, err := parseDuration(p.value)
	if err != nil {
		return length{}, p.fault("%w", err)
	}
	if start.kind == wholeDay {
		if takes.seconds%86400 != 0 {
			return length{}, p.fault("%q: want whole days, as the event begins with a date", p.value)
		}
		takes = length{days: takes.days + takes.seconds/86400}
	}
	return takes, takes.check(p)
}

func (l length) check(p *property) error {
	switch {
	case l.days < 0 || l.seconds < 0:
		return p.fault("%q: the event ends before it begins", p.value)
	case l.days+l.seconds/86400 > maxLength:
		return p.fault("%q: the event takes more than %d days: want several", p.value, maxLength)
	}
	return nil
}

// parseDuration reads DURATION (RFC 5545, 3.3.6), for example P1D or PT1H30M.
func parseDuration(text string) (l length, err error) {
	bad := fmt.Errorf("%q: want a duration such as P1D, P2W or PT1H30M", text)
	rest, negative := strings.CutPrefix(strings.TrimSpace(text), "-")
	rest, ok := strings.CutPrefix(strings.TrimPrefix(rest, "+"), "P")
	if !ok || rest == "" || negative || strings.HasSuffix(rest, "T") {
		return length{}, bad
	}
	day, clock, _ := strings.Cut(rest, "T")
	read := func(part, units string, seconds map[byte]int64) (sum int64, err error) {
		for part != "" {
			i := strings.IndexAny(part, units)
			if i < 0 {
				return 0, bad
			}
			n, err := strconv.ParseUint(part[:i], 10, 24)
			if err != nil {
				return 0, bad
			}
			sum += int64(n) * seconds[part[i]]
			units = units[strings.IndexByte(units, part[i])+1:] // in order, each once
			part = part[i+1:]
		}
		return sum, nil
	}
	if l.days, err = read(day, "WD", map[byte]int64{'W': 7, 'D': 1}); err != nil {
		return length{}, err
	}
	l.seconds, err = read(clock, "HMS", map[byte]int64{'H': 3600, 'M': 60, 'S': 1})
	return l, err
}

// parseMoment reads 20271225, 20271225T100000Z and 20271225T100000; the last
// is in z, or floating when z is nil.
func parseMoment(text string, z zone) (moment, error) {
	text = strings.TrimSpace(text)
	if t, err := time.Parse("20060102", text); err == nil && t.Year() >= 1 {
		return moment{kind: wholeDay, wall: floorDiv(t.Unix(), 86400)}, nil
	}
	clock, utc := strings.CutSuffix(text, "Z")
	if leap, ok := strings.CutSuffix(clock, "60"); ok && len(clock) == 15 {
		clock = leap + "59" // a leap second
	}
	t, err := time.Parse("20060102T150405", clock)
	switch {
	case err != nil || t.Year() < 1:
		return moment{}, fmt.Errorf("%q: want a date, 20271225, or a time, 20271225T100000Z", text)
	case utc:
		return moment{absolute, t.Unix(), fixed(0)}, nil
	case z != nil:
		return moment{absolute, t.Unix(), z}, nil
	}
	return moment{kind: floating, wall: t.Unix()}, nil
}
