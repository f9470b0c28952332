package calendar

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// vixieField draws a list of values, ranges and steps, as crontab(5) has them,
// and the set of what it means.
func vixieField(t *rapid.T, name string, low, high int) (text string, set map[int]bool, star bool) {
	set = map[int]bool{}
	var items []string
	for range rapid.IntRange(1, 3).Draw(t, name+" items") {
		a, b, step := low, high, 1
		item := "*"
		switch rapid.IntRange(0, 2).Draw(t, name+" kind") {
		case 0:
			a = rapid.IntRange(low, high).Draw(t, name)
			b, item = a, fmt.Sprint(a)
		case 1:
			a = rapid.IntRange(low, high).Draw(t, name+" from")
			b = rapid.IntRange(a, high).Draw(t, name+" to")
			item = fmt.Sprintf("%d-%d", a, b)
		}
		if a != b && rapid.Bool().Draw(t, name+" stepped") {
			step = rapid.IntRange(1, high).Draw(t, name+" step")
			item += fmt.Sprintf("/%d", step)
		}
		for v := a; v <= b; v += step {
			set[v] = true
		}
		items = append(items, item)
	}
	text = strings.Join(items, ",")
	return text, set, text[0] == '*'
}

// TestVixie compares with the rule of Vixie cron 4.1, cron.c, find_jobs, for a
// minute of UTC:
//
//	bit_test(e->minute, minute) && bit_test(e->hour, hour) && bit_test(e->month, month) &&
//	  ( ((e->flags & DOM_STAR) || (e->flags & DOW_STAR))
//	    ? (bit_test(e->dow,dow) && bit_test(e->dom,dom))
//	    : (bit_test(e->dow,dow) || bit_test(e->dom,dom)) )
//
// where a flag is set when its field begins with a star (entry.c), and weekdays 0
// and 7 are the same.
func TestVixie(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		minuteText, minutes, _ := vixieField(t, "minute", 0, 59)
		hourText, hours, _ := vixieField(t, "hour", 0, 23)
		domText, doms, domStar := vixieField(t, "dom", 1, 31)
		monthText, months, _ := vixieField(t, "month", 1, 12)
		dowText, dows, dowStar := vixieField(t, "dow", 0, 7)
		dows[0] = dows[0] || dows[7]
		text := strings.Join([]string{minuteText, hourText, domText, monthText, dowText}, " ")
		runs := func(u time.Time) bool {
			dom, dow := doms[u.Day()], dows[int(u.Weekday())]
			day := dom || dow
			if domStar || dowStar {
				day = dom && dow
			}
			return minutes[u.Minute()] && hours[u.Hour()] && months[int(u.Month())] && day
		}
		s, err := Spec{Name: "x", Select: "*", Cron: List{text}, TZ: "UTC"}.Compile()
		if err != nil {
			// Vixie's takes days that never come, 30 February; here they are refused.
			if !strings.Contains(err.Error(), "no such day ever comes") {
				t.Fatalf("%q: %v", text, err)
			}
			for u := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC); u.Year() < 2028; u = u.AddDate(0, 0, 1) {
				for h := range hours {
					for m := range minutes {
						if runs(u.Add(time.Duration(h*60+m) * time.Minute)) {
							t.Fatalf("%q is refused, and runs on %v", text, u)
						}
						break
					}
					break
				}
			}
			return
		}
		from := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 700*1440).Draw(t, "minute of start")) * time.Minute)
		after := fleet.At(from)
		for u := from.Add(time.Minute); u.Sub(from) < 10*24*time.Hour; u = u.Add(time.Minute) {
			if !runs(u) {
				continue
			}
			got, ok := s.Next(Task{}, after)
			if !ok || got != fleet.At(u) {
				t.Fatalf("%q after %v: %v, %v, want %v", text, after, got, ok, u)
			}
			after = got
		}
		if got, ok := s.Next(Task{}, after); ok && got < fleet.At(from.Add(10*24*time.Hour)) {
			t.Fatalf("%q after %v: %v, want none for ten days", text, after, got)
		}
	})
}
