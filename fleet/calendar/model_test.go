package calendar

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adhocore/gronx"
	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// model is a cron expression kept as its meaning: what to match, by the
// standard library's calendar.
type model struct {
	text                string
	minutes, hours      []int
	doms, months, dows  []int // nil: not restricted
	last, lastWork      bool
	lastMinus, near     int
	nthDow, nth, lastOf int // -1: none
}

func list(vs []int) string {
	if vs == nil {
		return "*"
	}
	s := make([]string, len(vs))
	for i, v := range vs {
		s[i] = fmt.Sprint(v)
	}
	return strings.Join(s, ",")
}

func drawModel(t *rapid.T) model {
	some := func(name string, low, high, most int) []int {
		return rapid.SliceOfNDistinct(rapid.IntRange(low, high), 1, most, rapid.ID).Draw(t, name)
	}
	maybe := func(name string, low, high, most int) []int {
		if rapid.Bool().Draw(t, name+" free") {
			return nil
		}
		return some(name, low, high, most)
	}
	m := model{nthDow: -1, lastOf: -1}
	m.minutes = some("minutes", 0, 59, 3)
	m.hours = maybe("hours", 0, 23, 4)
	dom, dow := "*", "*"
	kinds := 9 // half of the expressions run every day, to meet the changes
	if rapid.Bool().Draw(t, "by day") {
		m.months = maybe("months", 1, 12, 6)
	} else {
		kinds = 0
	}
	switch kinds - rapid.IntRange(0, 5).Draw(t, "dom kind") - 4 {
	case 0:
		m.last, dom = true, "L"
	case 1:
		m.lastWork, dom = true, "LW"
	case 2:
		m.lastMinus = rapid.IntRange(1, 10).Draw(t, "L-")
		dom = fmt.Sprintf("L-%d", m.lastMinus)
	case 3:
		m.near = rapid.IntRange(1, 28).Draw(t, "W")
		dom = fmt.Sprintf("%dW", m.near)
	case 4:
		m.doms = some("doms", 1, 28, 4)
		dom = list(m.doms)
	}
	switch kinds - rapid.IntRange(0, 4).Draw(t, "dow kind") - 5 {
	case 0:
		m.dows = some("dows", 0, 6, 3)
		dow = list(m.dows)
	case 1:
		m.nthDow, m.nth = rapid.IntRange(0, 6).Draw(t, "weekday"), rapid.IntRange(1, 4).Draw(t, "#")
		dow = fmt.Sprintf("%d#%d", m.nthDow, m.nth)
	case 2:
		m.lastOf = rapid.IntRange(0, 6).Draw(t, "last weekday")
		dow = fmt.Sprintf("%dL", m.lastOf)
	}
	m.text = fmt.Sprintf("%s %s %s %s %s", list(m.minutes), list(m.hours), dom, list(m.months), dow)
	return m
}

func has(set []int, v int) bool { return set == nil || slices.Contains(set, v) }

// match judges a wall time, given as a time in UTC.
func (m model) match(w time.Time) bool {
	return w.Second() == 0 && has(m.minutes, w.Minute()) && has(m.hours, w.Hour()) && has(m.months, int(w.Month())) && m.matchDay(w)
}

func (m model) matchDay(w time.Time) bool {
	monthEnd := time.Date(w.Year(), w.Month()+1, 0, 0, 0, 0, 0, time.UTC)
	work := func(d time.Time) bool { return d.Weekday() != time.Saturday && d.Weekday() != time.Sunday }
	domFree, dom := false, false
	switch {
	case m.last:
		dom = w.Day() == monthEnd.Day()
	case m.lastWork:
		d := monthEnd
		for !work(d) {
			d = d.AddDate(0, 0, -1)
		}
		dom = w.Day() == d.Day()
	case m.lastMinus > 0:
		dom = w.Day() == monthEnd.Day()-m.lastMinus
	case m.near > 0:
		target := time.Date(w.Year(), w.Month(), m.near, 0, 0, 0, 0, time.UTC)
		for _, step := range []int{0, -1, 1, -2, 2} {
			if d := target.AddDate(0, 0, step); work(d) && d.Month() == w.Month() {
				dom = w.Day() == d.Day()
				break
			}
		}
	case m.doms != nil:
		dom = slices.Contains(m.doms, w.Day())
	default:
		domFree = true
	}
	dowFree, dow := false, false
	switch {
	case m.dows != nil:
		dow = slices.Contains(m.dows, int(w.Weekday()))
	case m.nthDow >= 0:
		n := 0
		for d := 1; d <= w.Day(); d++ {
			if int(time.Date(w.Year(), w.Month(), d, 0, 0, 0, 0, time.UTC).Weekday()) == m.nthDow {
				n++
			}
		}
		dow = int(w.Weekday()) == m.nthDow && n == m.nth
	case m.lastOf >= 0:
		dow = int(w.Weekday()) == m.lastOf && w.AddDate(0, 0, 7).Month() != w.Month()
	default:
		dowFree = true
	}
	switch {
	case domFree && dowFree:
		return true
	case domFree:
		return dow
	case dowFree:
		return dom
	}
	return dom || dow
}

// wallAt is the reading of a clock, as a time in UTC.
func wallAt(u time.Time, loc *time.Location) time.Time {
	l := u.In(loc)
	return time.Date(l.Year(), l.Month(), l.Day(), l.Hour(), l.Minute(), l.Second(), 0, time.UTC)
}

// fires judges one minute by the stated rule.
func (m model) fires(u time.Time, loc *time.Location) bool {
	now, before := wallAt(u, loc), wallAt(u.Add(-time.Minute), loc)
	if m.hours == nil {
		return m.match(now)
	}
	// Lost readings run at the end of the gap.
	for lost := before.Add(time.Minute); lost.Before(now); lost = lost.Add(time.Minute) {
		if m.match(lost) {
			return true
		}
	}
	if !m.match(now) {
		return false
	}
	// A reading that came before, up to three hours ago, has run already.
	for back := u.Add(-time.Minute); u.Sub(back) <= 3*time.Hour; back = back.Add(-time.Minute) {
		if wallAt(back, loc).Equal(now) {
			return false
		}
	}
	return true
}

// changes are days around which offsets change in these zones.
var changes = map[string][]string{
	"UTC":                 {"2028-02-28", "2027-12-31"},
	"America/New_York":    {"2026-03-08", "2026-11-01", "2040-12-30", "2044-03-13"},
	"Europe/Berlin":       {"2027-03-28", "2027-10-31"},
	"Australia/Lord_Howe": {"2026-10-04", "2027-04-04"},
	"Asia/Kolkata":        {"2027-01-31"},
	"America/Sao_Paulo":   {"2018-11-04", "2019-02-17"},
	"Africa/Casablanca":   {"2026-02-15", "2026-03-22"},
	"America/St_Johns":    {"2011-03-13", "2011-11-06"}, // at one minute past midnight
	"Pacific/Apia":        {"2011-12-29"},
}

func zones() []string {
	names := make([]string, 0, len(changes))
	for z := range changes {
		names = append(names, z)
	}
	slices.Sort(names)
	return names
}

func drawStart(t *rapid.T, zone string) time.Time {
	day, err := time.Parse(time.DateOnly, rapid.SampledFrom(changes[zone]).Draw(t, "day"))
	if err != nil {
		t.Fatal(err)
	}
	return day.Add(time.Duration(rapid.IntRange(-36*60, 24*60).Draw(t, "minutes off")) * time.Minute)
}

// TestCronAgainstMinutes compares Next with a walk through every minute.
func TestCronAgainstMinutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		zone := rapid.SampledFrom(zones()).Draw(t, "zone")
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Spec{Name: "x", Select: "*", Cron: List{m.text}, TZ: zone}.Compile()
		if err != nil {
			t.Fatal(err)
		}
		from := drawStart(t, zone)
		until := from.Add(3 * 24 * time.Hour)
		after := fleet.At(from)
		for u := from.Add(time.Minute); !u.After(until); u = u.Add(time.Minute) {
			if !m.fires(u, loc) {
				continue
			}
			got, ok := s.Next(Task{}, after)
			if !ok || got != fleet.At(u) {
				t.Fatalf("%q in %s: Next(%v) = %v, %v, want %v", m.text, zone, after, got, ok, u.In(loc))
			}
			after = got
		}
		if got, ok := s.Next(Task{}, after); ok && got <= fleet.At(until) {
			t.Fatalf("%q in %s: Next(%v) = %v, want none until %v", m.text, zone, after, got, until.In(loc))
		}
	})
}

// TestSegments walks the offsets of each zone to the year 2300: always forward,
// each segment with one offset.
func TestSegments(t *testing.T) {
	for _, zone := range zones() {
		loc, _ := time.LoadLocation(zone)
		end := time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
		for u := int64(0); u < end; {
			s := segmentAt(loc, u)
			if s.from > u || s.until <= u {
				t.Fatalf("%s: the segment at %d is %+v", zone, u, s)
			}
			for _, p := range []int64{u, u + (s.until-u)/2, s.until - 1} {
				if _, offset := time.Unix(min(p, end), 0).In(loc).Zone(); int64(offset) != s.offset {
					t.Fatalf("%s: offset %d at %d, in segment %+v", zone, offset, p, s)
				}
			}
			u = s.until
		}
	}
}

// TestDaysAgainstModel compares every day of four years.
func TestDaysAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		c, err := parseCron(m.text)
		if err != nil {
			t.Fatal(err)
		}
		for d := (date{2025, 1, 1}); d.year < 2029; d = d.next() {
			w := time.Date(d.year, time.Month(d.month), d.day, 0, 0, 0, 0, time.UTC)
			if want := has(m.months, d.month) && m.matchDay(w); c.matchDay(d) != want {
				t.Fatalf("%q on %s: %v, want %v", m.text, w.Format(time.DateOnly), !want, want)
			}
		}
	})
}

// TestDates compares day arithmetic with the standard library's.
func TestDates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(-800_000, 2_900_000).Draw(t, "days")
		d, w := dateOf(n), time.Unix(int64(n)*86400, 0).UTC()
		if (d != date{w.Year(), int(w.Month()), w.Day()}) || d.days() != n || d.weekday() != int(w.Weekday()) || d.next() != dateOf(n+1) {
			t.Fatalf("day %d is %v, want %v", n, d, w)
		}
	})
}

// TestCronAgainstGronx compares with another implementation where both mean the
// same: UTC, five plain fields, only one of the two day fields restricted.
func TestCronAgainstGronx(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := func(name string, low, high int) string {
			if rapid.Bool().Draw(t, name+" free") {
				return "*"
			}
			return list(rapid.SliceOfNDistinct(rapid.IntRange(low, high), 1, 4, rapid.ID).Draw(t, name))
		}
		dom, dow := field("dom", 1, 28), "*"
		if dom == "*" {
			dow = field("dow", 0, 6)
		}
		text := strings.Join([]string{field("minute", 0, 59), field("hour", 0, 23), dom, field("month", 1, 12), dow}, " ")
		from := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(t, "from"), 0).UTC()
		want, err := gronx.NextTickAfter(text, from, false)
		if err != nil {
			t.Skip(err)
		}
		s, err := Spec{Name: "x", Select: "*", Cron: List{text}, TZ: "UTC"}.Compile()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := s.Next(Task{}, fleet.At(from)); !ok || got != fleet.At(want) {
			t.Fatalf("%q after %v: %v, %v, want %v", text, from, got, ok, want)
		}
	})
}

// clockStart is the first minute at which the clock shows date d at minute c
// or later: the rule for edges of windows, said naively.
func clockStart(d time.Time, c int, loc *time.Location) time.Time {
	want := d.Add(time.Duration(c) * time.Minute)
	for u := want.Add(-20 * time.Hour); ; u = u.Add(time.Minute) {
		if !wallAt(u, loc).Before(want) {
			return u
		}
	}
}

// TestNarrowedAgainstMinutes compares windows, exclusions, from and until with
// a walk through every minute.
func TestNarrowedAgainstMinutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones()).Draw(t, "zone")
		loc, _ := time.LoadLocation(zone)
		from := drawStart(t, zone)
		day := func(name string) time.Time {
			return from.Truncate(24*time.Hour).AddDate(0, 0, rapid.IntRange(-1, 4).Draw(t, name))
		}
		every := rapid.IntRange(1, 400).Draw(t, "every")
		spec := Spec{Name: "x", Select: "*", Every: Duration(every) * Duration(time.Minute), TZ: zone, AtPhase: new(Offset)}

		type span struct{ a, b int }
		type win struct {
			days        []int
			hours       []span
			first, last time.Time
		}
		var wins []win
		for range rapid.IntRange(0, 2).Draw(t, "windows") {
			w := win{first: day("first"), last: day("last")}
			if w.last.Before(w.first) {
				w.first, w.last = w.last, w.first
			}
			out := Window{From: w.first.Format(time.DateOnly), Until: w.last.Format(time.DateOnly)}
			if rapid.Bool().Draw(t, "by day") {
				w.days = rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 1, 5, rapid.ID).Draw(t, "days")
				for _, d := range w.days {
					out.Days = append(out.Days, dayNames[d])
				}
			}
			for range rapid.IntRange(0, 2).Draw(t, "hours") {
				a := rapid.IntRange(0, 1439).Draw(t, "a")
				b := rapid.IntRange(0, 1439).Filter(func(b int) bool { return b != a }).Draw(t, "b")
				w.hours = append(w.hours, span{a, b})
				out.Hours = append(out.Hours, fmt.Sprintf("%02d:%02d-%02d:%02d", a/60, a%60, b/60, b%60))
			}
			wins = append(wins, w)
			spec.Windows = append(spec.Windows, out)
		}
		var off []time.Time
		for range rapid.IntRange(0, 2).Draw(t, "exclusions") {
			d := day("excluded")
			off = append(off, d)
			spec.Exclude = append(spec.Exclude, d.Format(rapid.SampledFrom([]string{time.DateOnly, "01-02"}).Draw(t, "form")))
		}
		// Ranges of times, as calendars give them: with offsets, or by the clock.
		type times struct{ a, b time.Time }
		var busy []times
		for range rapid.IntRange(0, 3).Draw(t, "ranges of times") {
			start := from.Truncate(24 * time.Hour).Add(time.Duration(rapid.IntRange(-1440, 4*1440).Draw(t, "minute")) * time.Minute)
			end := start.Add(time.Duration(rapid.IntRange(1, 2*1440).Draw(t, "minutes")) * time.Minute)
			if rapid.Bool().Draw(t, "by the clock") {
				spec.Exclude = append(spec.Exclude, start.Format(localTime)+"/"+end.Format(localTime))
				busy = append(busy, times{clockStart(start, 0, loc), clockStart(end, 0, loc)})
			} else {
				spec.Exclude = append(spec.Exclude, start.In(loc).Format(time.RFC3339)+"/"+end.Format(time.RFC3339))
				busy = append(busy, times{start, end})
			}
		}
		if rapid.Bool().Draw(t, "bounded") {
			spec.From, spec.Until = day("from").Format(time.DateOnly), day("until").Format(time.DateOnly)
		}

		// The model: all spans of all windows, by the naive edges.
		var open []times
		for _, w := range wins {
			for d := w.first; !d.After(w.last); d = d.AddDate(0, 0, 1) {
				if w.days != nil && !slices.Contains(w.days, int(d.Weekday())) {
					continue
				}
				if w.hours == nil {
					open = append(open, times{clockStart(d, 0, loc), clockStart(d, 1440, loc)})
				}
				for _, h := range w.hours {
					x := times{clockStart(d, h.a, loc), clockStart(d, h.b, loc)}
					if !x.a.Before(x.b) {
						x.b = clockStart(d.AddDate(0, 0, 1), h.b, loc)
					}
					open = append(open, x)
				}
			}
		}
		allowed := func(u time.Time) bool {
			d := wallAt(u, loc).Truncate(24 * time.Hour)
			date := d.Format(time.DateOnly)
			if slices.ContainsFunc(off, func(o time.Time) bool { return o.Equal(d) }) ||
				spec.From != "" && (date < spec.From || date > spec.Until) {
				return false
			}
			within := func(x times) bool { return !u.Before(x.a) && u.Before(x.b) }
			return !slices.ContainsFunc(busy, within) && (len(wins) == 0 || slices.ContainsFunc(open, within))
		}

		s, err := spec.Compile()
		if err != nil {
			t.Fatal(err)
		}
		after, until := fleet.At(from), from.Add(4*24*time.Hour)
		for u := from.Add(time.Minute); !u.After(until); u = u.Add(time.Minute) {
			if u.Unix()/60%int64(every) != 0 || !allowed(u) {
				continue
			}
			got, ok := s.Next(Task{}, after)
			if !ok || got != fleet.At(u) {
				t.Fatalf("%s: Next(%v) = %v, %v, want %v", spec.JSON(), after, got, ok, u.In(loc))
			}
			after = got
		}
		if got, ok := s.Next(Task{}, after); ok && got <= fleet.At(until) {
			t.Fatalf("%s: Next(%v) = %v, want none until %v", spec.JSON(), after, got, until)
		}
	})
}

// TestNextProperties holds for every kind of schedule: strictly later, never
// before Enabled, the same from anywhere in between, the same from a schedule
// that has answered nothing before, and spread keeps the order.
func TestNextProperties(t *testing.T) {
	lat, lon := 43.70, 7.26
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{Name: rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "name"), Select: "*"}
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			spec.Every = Duration(rapid.Int64Range(100, 1e9).Draw(t, "every")) * Duration(time.Millisecond)
		case 1:
			spec.Cron = List{drawModel(t).text, "*/10 5 6 * * *"}
		case 2:
			spec.Sun = List{"sunrise+30m", "sunset", "noon-1h"}
		case 3:
			spec.Once = "2027-03-01T06:00:00Z"
		case 4:
			spec.Once = "approval"
		}
		if rapid.Bool().Draw(t, "windows") {
			spec.Windows = []Window{{Days: List{"mon-fri"}, Hours: List{"sunrise to 12:00", "13:00-02:00"}}}
			spec.Exclude = List{"12-24..01-02"}
		}
		if spec.Every == 0 && rapid.Bool().Draw(t, "spread") {
			spec.Spread = Duration(rapid.Int64Range(1, 1e6).Draw(t, "width")) * Duration(time.Millisecond)
		}
		enabled := at(&testing.T{}, "2027-01-01T00:00:00Z") + fleet.Instant(rapid.Int64Range(0, 1e10).Draw(t, "enabled"))
		task := Task{
			Camera: fleet.CameraID(rapid.Uint64().Draw(t, "camera")), Enabled: enabled,
			Place: Place{TZ: rapid.SampledFrom([]string{"", "UTC", "Europe/Paris", "No/Such"}).Draw(t, "tz"), Lat: &lat, Lon: &lon},
		}
		s, err := spec.Compile()
		if err != nil {
			t.Fatal(err)
		}
		after := enabled - fleet.Instant(rapid.Int64Range(0, 1000).Draw(t, "before"))
		for range 5 {
			n, ok := s.Next(task, after)
			fresh, _ := spec.Compile()
			between := after
			if ok {
				if n <= after || n < enabled {
					t.Fatalf("%s: Next(%v) = %v, enabled %v", spec.JSON(), after, n, enabled)
				}
				between = after + fleet.Instant(rapid.Int64Range(0, int64(n-after)-1).Draw(t, "between"))
			}
			if m, ok2 := fresh.Next(task, between); m != n || ok2 != ok {
				t.Fatalf("%s: Next(%v) = %v, %v but Next(%v) = %v, %v", spec.JSON(), after, n, ok, between, m, ok2)
			}
			if !ok {
				break
			}
			after = n
		}
	})
}
