package calendar

import (
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestSunGolden holds times published by timeanddate.com for London (51.47 N,
// 0.00 E), in whole minutes.
func TestSunGolden(t *testing.T) {
	london := &Coordinates{51.4733, -0.0008}
	for _, c := range []struct{ mark, date, clock string }{
		{"sunrise", "2015-01-01", "08:06"}, {"sunset", "2015-01-01", "16:02"},
		{"sunrise", "2015-12-01", "07:43"}, {"sunset", "2015-12-01", "15:55"},
		{"sunrise", "2015-12-12", "07:57"}, {"sunset", "2015-12-12", "15:51"},
		{"sunrise", "2015-12-25", "08:05"}, {"sunset", "2015-12-25", "15:56"},
		{"dawn", "2015-12-01", "07:04"}, {"dusk", "2015-12-01", "16:34"},
	} {
		s := compile(t, Spec{Sun: List{c.mark}, At: london})
		got, ok := s.Next(Task{}, at(t, c.date+"T00:00:00Z"))
		want := at(t, c.date+"T"+c.clock+":00Z")
		if d := got.Sub(want).Abs(); !ok || d > 90*time.Second {
			t.Errorf("%s on %s = %v, %v, want %v", c.mark, c.date, got, ok, want)
		}
	}
}

// TestPolar: at Longyearbyen (78.22 N, 15.65 E) the sun stays up from 19 April
// to 23 August and down from 26 October to 16 February.
func TestPolar(t *testing.T) {
	there := &Coordinates{78.2232, 15.6267}
	rise := compile(t, Spec{Sun: List{"sunrise"}, At: there, TZ: "Arctic/Longyearbyen"})
	for _, c := range []struct{ after, low, high string }{
		{"2027-04-25T00:00:00Z", "2027-08-20T00:00:00Z", "2027-08-27T00:00:00Z"},
		{"2027-11-01T00:00:00Z", "2028-02-12T00:00:00Z", "2028-02-19T00:00:00Z"},
	} {
		if got, ok := rise.Next(Task{}, at(t, c.after)); !ok || got < at(t, c.low) || got > at(t, c.high) {
			t.Errorf("sunrise after %s = %v, %v, want between %s and %s", c.after, got, ok, c.low, c.high)
		}
	}
	high := compile(t, Spec{Sun: List{"noon"}, At: there})
	if got, ok := high.Next(Task{}, at(t, "2027-12-21T00:00:00Z")); !ok || got.Sub(at(t, "2027-12-21T10:55:00Z")).Abs() > 10*time.Minute {
		t.Errorf("noon in the polar night = %v, %v", got, ok)
	}
	day := compile(t, Spec{Every: Duration(time.Hour), AtPhase: new(Offset), At: there, Windows: []Window{{Hours: List{"sunrise to sunset"}}}})
	midsummer := at(t, "2027-06-21T00:30:00Z")
	if got, _ := day.Next(Task{}, midsummer); got != midsummer.Add(30*time.Minute) {
		t.Errorf("a window of daylight on a polar day opens at %v", got)
	}
	if got, ok := day.Next(Task{}, at(t, "2027-12-01T00:00:00Z")); !ok || got < at(t, "2028-02-12T00:00:00Z") || got > at(t, "2028-02-19T00:00:00Z") {
		t.Errorf("a window of daylight in the polar night opens at %v, %v", got, ok)
	}
}

// altitude is the sun's height by the Astronomical Almanac's low-precision
// formula (0.01 degrees from 1950 to 2050): another way to the same sky.
func altitude(p position, unix float64) float64 {
	n := unix/86400 - 10957.5
	l, g := 280.460+0.9856474*n, 357.528+0.9856003*n
	lambda := l + 1.915*sin(g) + 0.020*sin(2*g)
	epsilon := 23.439 - 0.0000004*n
	ra := math.Atan2(cos(epsilon)*sin(lambda), cos(lambda)) * 180 / math.Pi
	decl := math.Asin(sin(epsilon)*sin(lambda)) * 180 / math.Pi
	sidereal := 280.46062 + 360.98564737*n
	h := sidereal + p.lon - ra
	return math.Asin(sin(p.lat)*sin(decl)+cos(p.lat)*cos(decl)*cos(h)) * 180 / math.Pi
}

func TestSunAgainstAlmanac(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := position{rapid.Float64Range(-89, 89).Draw(t, "lat"), rapid.Float64Range(-180, 180).Draw(t, "lon")}
		unix := rapid.Int64Range(0, 2_500_000_000).Draw(t, "unix")
		d := solarDayAt(p, unix)
		if off := math.Abs(d.noon - float64(unix)); off > 43260 {
			t.Fatalf("noon is %v s off", off)
		}
		top := altitude(p, d.noon)
		for _, side := range []float64{-900, 900} {
			if altitude(p, d.noon+side) > top+0.02 {
				t.Fatalf("the sun is higher %v s from noon", side)
			}
		}
		for mark, height := range map[sunEvent]float64{sunrise: -0.833, sunset: -0.833, dawn: -6, dusk: -6} {
			at, ok := d.at(sunMark{event: mark})
			if !ok {
				// It must stay on one side: not cross between noon and midnight.
				low := altitude(p, d.noon+43200)
				if top > height+0.5 && low < height-0.5 {
					t.Fatalf("no %s though the sun goes from %v to %v", sunNames[mark], top, low)
				}
				if d.up(height) != (top > height) && math.Abs(top-height) > 0.05 {
					t.Fatalf("up(%v) = %v at %v", height, d.up(height), top)
				}
				continue
			}
			if got := altitude(p, float64(at)); math.Abs(got-height) > 0.04 {
				t.Fatalf("%s at height %v, want %v", sunNames[mark], got, height)
			}
			if early := float64(at) < d.noon; early != (mark == sunrise || mark == dawn) {
				t.Fatalf("%s on the wrong side of noon", sunNames[mark])
			}
		}
	})
}

// TestNextSunAgainstList compares nextSun with all events of half a year.
func TestNextSunAgainstList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones()).Draw(t, "zone")
		loc, _ := time.LoadLocation(zone)
		p := position{rapid.Float64Range(-70, 70).Draw(t, "lat"), rapid.Float64Range(-180, 180).Draw(t, "lon")}
		var marks []sunMark
		for range rapid.IntRange(1, 3).Draw(t, "marks") {
			marks = append(marks, sunMark{sunEvent(rapid.IntRange(0, 4).Draw(t, "event")), rapid.Int64Range(-43200, 43200).Draw(t, "offset")})
		}
		from := drawStart(t, zone).Unix()
		end := from + 10*86400
		first, _ := wall(from).split()
		var all []int64
		for d := dateOf(first.days() - 5); d.days() < first.days()+20; d = d.next() {
			if s, ok := solarDate(p, loc, d); ok {
				for _, m := range marks {
					if at, ok := s.at(m); ok {
						all = append(all, at)
					}
				}
			}
		}
		slices.Sort(all)
		for _, want := range all {
			if want <= from || want > end {
				continue
			}
			got, ok := nextSun(marks, p, loc, from)
			if !ok || got != want {
				t.Fatalf("%v in %s at %v: after %d came %d, %v, want %d", marks, zone, p, from, got, ok, want)
			}
			from = want
		}
	})
}

func TestSunNeedsAPlace(t *testing.T) {
	s := compile(t, Spec{Sun: List{"sunrise"}})
	if got, ok := s.Next(Task{}, 0); ok || !s.NeedsCoordinates() {
		t.Errorf("sunrise nowhere = %v", got)
	}
	lat, lon := 43.70, 7.26
	here := Task{Place: Place{TZ: "Europe/Paris", Lat: &lat, Lon: &lon}}
	if got, ok := s.Next(here, at(t, "2027-06-21T00:00:00Z")); !ok || got.Sub(at(t, "2027-06-21T03:48:00Z")).Abs() > 3*time.Minute {
		t.Errorf("sunrise at Nice in midsummer = %v, %v", got, ok)
	}
}

// TestUnplaced: only schedules that go by the sun need a place, and only where
// neither they nor the site have one.
func TestUnplaced(t *testing.T) {
	lat, lon, far := 43.70, 7.26, 91.0
	sites := map[fleet.SiteID]Place{
		"nice":  {Lat: &lat, Lon: &lon},
		"half":  {Lat: &lat},
		"wrong": {Lat: &far, Lon: &lon},
		"a":     {}, "b": {TZ: "Europe/Paris"},
	}
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{Sun: List{"sunrise"}}, "a b half wrong"},
		{Spec{Every: Duration(time.Hour), Windows: []Window{{Hours: List{"sunrise to 22:00"}}}}, "a b half wrong"},
		{Spec{Sun: List{"sunrise"}, At: &Coordinates{1, 2}}, ""},
		{Spec{Every: Duration(time.Hour)}, ""},
	} {
		s := compile(t, c.spec)
		var names []string
		for _, id := range s.Unplaced(sites) {
			names = append(names, string(id))
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: unplaced %q, want %q", c.spec.JSON(), got, c.want)
		}
		if got := s.UnplacedWarning(sites); (got == "") != (c.want == "") {
			t.Errorf("%s: %q", c.spec.JSON(), got)
		}
	}
	s := compile(t, Spec{Name: "dawn", Sun: List{"sunrise"}})
	want := "schedule dawn goes by the sun, and nothing says where a, b, half and 1 more are: run `shutterfleet sites set a --lat … --lon …`, or say at: {lat: …, lon: …} in the schedule"
	if got := s.UnplacedWarning(sites); got != want {
		t.Errorf("warning %q, want %q", got, want)
	}
	delete(sites, "a")
	delete(sites, "half")
	delete(sites, "wrong")
	if got, want := s.UnplacedWarning(sites), "nothing says where b is: run `shutterfleet sites set b"; !strings.Contains(got, want) {
		t.Errorf("warning %q, want one with %q", got, want)
	}
}

// TestSunSameEverywhere: sunrises have the seconds that they had on amd64, and
// noons the bits, so that an agent and its centre mean the same occurrence
// whatever their processors are.
func TestSunSameEverywhere(t *testing.T) {
	h := sha256.New()
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		d := solarDayAt(position{float64(r.Float64()*180) - 90, float64(r.Float64()*360) - 180}, 1_600_000_000+r.Int64N(700_000_000))
		fmt.Fprintln(h, math.Float64bits(d.noon), math.Float64bits(d.declination))
		for e := sunrise; e <= dusk; e++ {
			at, ok := d.at(sunMark{event: e})
			fmt.Fprintln(h, at, ok)
		}
	}
	if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != "f2a3d9e57c85a3ae" {
		t.Errorf("the digest is %s: this build computes other moments", got)
	}
}
