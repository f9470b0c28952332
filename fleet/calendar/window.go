package calendar

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Window is a part of the calendar in which a schedule runs. Its keys all
// apply; a missing key does not narrow it.
type Window struct {
	Days  List   `json:"days,omitempty" yaml:"days,omitempty"`   // mon … sun, or ranges mon-fri
	Hours List   `json:"hours,omitempty" yaml:"hours,omitempty"` // "08:00-18:00", "22:00-06:00", "sunrise-30m to sunset"
	From  string `json:"from,omitempty" yaml:"from,omitempty"`   // first date, 2027-03-01
	Until string `json:"until,omitempty" yaml:"until,omitempty"` // last date, inclusive
}

// List is a list of texts; a single one is read as a list of one. It is
// written as a list.
type List []string

// UnmarshalJSON reads a string or a list of strings.
func (l *List) UnmarshalJSON(b []byte) error {
	return l.read(func(v any) error { return json.Unmarshal(b, v) })
}

// UnmarshalYAML reads a string or a list of strings; decode is the YAML
// library's.
func (l *List) UnmarshalYAML(decode func(any) error) error { return l.read(decode) }

func (l *List) read(decode func(any) error) error {
	var one string
	if decode(&one) == nil {
		*l = List{one}
		return nil
	}
	var list []string
	if err := decode(&list); err != nil {
		return fmt.Errorf("want one text or a list of them, each in quotes: %w", err)
	}
	*l = list
	return nil
}

// Limits of windows.
const (
	maxWindows = 32
	maxHours   = 16
)

type window struct {
	days  uint8 // bit 0 = Sunday
	hours []hours
	dates dates
}

// hours runs from one edge to the next occurrence of the other.
type hours struct{ from, until edge }

// edge is a time of day: a clock time in seconds, or a mark of the sun.
type edge struct {
	solar bool
	clock int
	mark  sunMark
}

func parseWindow(w Window) (window, error) {
	out := window{days: 0x7f, dates: dates{date{}, maxDate, false}}
	if len(w.Days) > 0 {
		out.days = 0
		for _, text := range w.Days {
			set, err := parseField("days", strings.ToLower(strings.TrimSpace(text)), 0, 6, dayNames)
			if err != nil {
				return out, fmt.Errorf("%w; write days as mon, tue, wed, thu, fri, sat, sun or mon-fri", err)
			}
			out.days |= uint8(set)
		}
	}
	if len(w.Hours) > maxHours {
		return out, fmt.Errorf("hours: %d ranges, want at most %d", len(w.Hours), maxHours)
	}
	for _, text := range w.Hours {
		h, err := parseHours(text)
		if err != nil {
			return out, fmt.Errorf("hours %w", err)
		}
		out.hours = append(out.hours, h)
	}
	var err error
	if w.From != "" {
		if out.dates.from, err = parseDate(w.From); err != nil {
			return out, fmt.Errorf("from %w", err)
		}
	}
	if w.Until != "" {
		if out.dates.until, err = parseDate(w.Until); err != nil {
			return out, fmt.Errorf("until %w", err)
		}
	}
	if out.dates.until.before(out.dates.from) {
		return out, fmt.Errorf("until %s is before from %s", w.Until, w.From)
	}
	return out, nil
}

func parseHours(text string) (hours, error) {
	a, b, ok := strings.Cut(text, " to ")
	if !ok && strings.Count(text, "-") == 1 {
		a, b, ok = strings.Cut(text, "-")
	}
	if !ok {
		return hours{}, fmt.Errorf(`%q: want two times, as "08:00-18:00" or "sunrise-30m to sunset"`, text)
	}
	from, err := parseEdge(strings.TrimSpace(a))
	if err != nil {
		return hours{}, err
	}
	until, err := parseEdge(strings.TrimSpace(b))
	if err != nil {
		return hours{}, err
	}
	if from == until {
		return hours{}, fmt.Errorf("%q: begins and ends at the same time; leave hours out for the whole day", text)
	}
	if !from.solar && from.clock == 86400 {
		return hours{}, fmt.Errorf("%q: a window begins at 00:00, not at 24:00", text)
	}
	return hours{from, until}, nil
}

func parseEdge(text string) (edge, error) {
	if text == "24:00" {
		return edge{clock: 86400}, nil
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, text); err == nil && len(text) == len(layout) {
			return edge{clock: t.Hour()*3600 + t.Minute()*60 + t.Second()}, nil
		}
	}
	m, err := parseSun(text)
	if err != nil {
		return edge{}, fmt.Errorf("%q: want HH:MM, or sunrise, sunset, noon, dawn or dusk with an offset", text)
	}
	return edge{solar: true, mark: m}, nil
}

func parseDate(text string) (date, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil || t.Year() < 1 {
		return date{}, fmt.Errorf("%q: want a date, for example 2027-03-01", text)
	}
	return date{t.Year(), int(t.Month()), t.Day()}, nil
}

// site is where and by which clock a schedule is read for one place.
type site struct {
	loc *time.Location
	at  *position
}

func (s site) dateAt(unix int64) date {
	d, _ := wall(unix + segmentAt(s.loc, unix).offset).split()
	return d
}

// open returns the first second at or after unix that a window holds, and the
// end of that window's span; false when none ever opens again.
func (s site) open(ws []window, unix int64) (next, until int64, found bool) {
	for _, w := range ws {
		if t, end, ok := s.openOne(w, unix); ok && (!found || t < next || t == next && end > until) {
			next, until, found = t, end, true
		}
	}
	return next, until, found
}

// quietDays bounds the search for a window that opens: weekdays come within a
// week, and the sun within half a year.
const quietDays = 400

func (s site) openOne(w window, unix int64) (next, until int64, found bool) {
	d := dateOf(s.dateAt(unix).days() - 2) // a window may begin the day before
	if d.before(w.dates.from) {
		d = w.dates.from
	}
	for range quietDays {
		if w.dates.until.before(d) {
			break
		}
		if w.days>>d.weekday()&1 != 0 {
			for _, span := range s.spans(w, d) {
				t := max(span[0], unix)
				if span[0] < span[1] && span[1] > unix && (!found || t < next || t == next && span[1] > until) {
					next, until, found = t, span[1], true
				}
			}
		}
		// The spans of a later date begin later, but those next to each other
		// may overlap.
		if found && d.days() > dateOfUnix(next).days()+2 {
			break
		}
		d = d.next()
	}
	return next, until, found
}

// spans returns when the window is open on date d, as [from, until).
func (s site) spans(w window, d date) [][2]int64 {
	if len(w.hours) == 0 {
		return [][2]int64{{instant(s.loc, wallOf(d, 0)), instant(s.loc, wallOf(d.next(), 0))}}
	}
	spans := make([][2]int64, 0, len(w.hours))
	for _, h := range w.hours {
		from, ok1 := s.edgeAt(h.from, d, -1)
		until, ok2 := s.edgeAt(h.until, d, 1)
		if ok1 && ok2 && until <= from {
			until, ok2 = s.edgeAt(h.until, d.next(), 1)
		}
		if ok1 && ok2 {
			spans = append(spans, [2]int64{from, until})
		}
	}
	return spans
}

// edgeAt returns the moment of e on date d. Where the sun stays up all day, it
// counts as rising at the midnight before noon and setting at the one after
// (side says which is asked); where it stays down, there is no moment.
func (s site) edgeAt(e edge, d date, side int64) (int64, bool) {
	if !e.solar {
		return instant(s.loc, wallOf(d, e.clock)), true
	}
	if s.at == nil {
		return 0, false
	}
	day, ok := solarDate(*s.at, s.loc, d)
	if !ok {
		return 0, false
	}
	if t, ok := day.at(e.mark); ok {
		return t, true
	}
	height := -0.833
	if e.mark.event == dawn || e.mark.event == dusk {
		height = -6
	}
	if !day.up(height) {
		return 0, false
	}
	return int64(day.noon) + side*43200, true
}
