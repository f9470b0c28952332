package calendar

import (
	"math"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestSunTables holds published times of sunrise, noon and sunset, in seconds:
//
//   - Golden: I. Reda and A. Andreas, "Solar Position Algorithm for Solar
//     Radiation Applications", NREL/TP-560-34302, the example of its appendix. Its
//     sunset, 17:20:19, is of the day before: sunset there is after midnight UTC.
//   - Tromso's county (69 N) and Jakarta (6 S): the program AccurateTimes of the
//     International Astronomical Center, at sea level, as published for 2010 in the
//     test data of github.com/hablullah/go-sampa.
//
// NOAA states its formulas for a minute between 72 degrees north and south, and
// ten beyond; in the days around the polar night, where the sun grazes the
// horizon, a hundredth of a degree is a minute.
func TestSunTables(t *testing.T) {
	golden := &Coordinates{39.742476, -105.1786}
	tromso := &Coordinates{69.1044, 18.0594}
	jakarta := &Coordinates{-6.21138888888889, 106.845277777778}
	const polar = 5 * time.Minute
	for _, c := range []struct {
		at                 *Coordinates
		zone, day          string
		rise, noon, sunset string // "": none; "-": not published
		within             time.Duration
	}{
		{golden, "-07:00", "2003-10-17", "06:12:43", "11:46:05", "-", time.Minute},
		{golden, "-07:00", "2003-10-16", "-", "-", "17:20:19", time.Minute},
		{tromso, "+01:00", "2010-01-11", "", "", "", polar},
		{tromso, "+01:00", "2010-01-13", "11:17:41", "11:56:24", "12:35:48", polar},
		{tromso, "+01:00", "2010-01-20", "10:23:46", "11:58:45", "13:34:35", time.Minute},
		{tromso, "+01:00", "2010-02-12", "08:28:25", "12:01:58", "15:36:53", time.Minute},
		{tromso, "+01:00", "2010-03-20", "05:48:14", "11:55:16", "18:04:26", time.Minute},
		{tromso, "+01:00", "2010-04-21", "03:22:34", "11:46:30", "20:13:41", time.Minute},
		{tromso, "+01:00", "2010-05-10", "01:42:05", "11:44:09", "21:51:30", time.Minute},
		{tromso, "+01:00", "2010-05-19", "00:29:32", "11:44:13", "23:13:29", polar},
		{tromso, "+01:00", "2010-06-21", "", "11:49:31", "", time.Minute},
		{tromso, "+01:00", "2010-08-01", "01:38:32", "11:54:06", "22:04:08", time.Minute},
		{tromso, "+01:00", "2010-09-23", "05:31:12", "11:40:11", "17:47:04", time.Minute},
		{tromso, "+01:00", "2010-11-03", "08:17:14", "11:31:19", "14:44:10", time.Minute},
		{tromso, "+01:00", "2010-11-29", "10:59:34", "11:36:00", "12:11:47", polar},
		{tromso, "+01:00", "2010-12-21", "", "", "", time.Minute},
		{jakarta, "+07:00", "2010-10-02", "05:37:20", "11:42:05", "17:46:55", time.Minute},
		{jakarta, "+07:00", "2010-11-03", "05:26:04", "11:36:11", "17:46:23", time.Minute},
		{jakarta, "+07:00", "2010-12-21", "05:35:54", "11:50:30", "18:05:06", time.Minute},
		{jakarta, "+07:00", "2010-12-31", "05:41:00", "11:55:25", "18:09:50", time.Minute},
	} {
		midnight := at(t, c.day+"T00:00:00"+c.zone)
		for mark, clock := range map[string]string{"sunrise": c.rise, "noon": c.noon, "sunset": c.sunset} {
			if clock == "-" || mark == "noon" && clock == "" {
				continue // that table has no noon in the polar night
			}
			s := compile(t, Spec{Sun: List{mark}, At: c.at, TZ: "Etc/GMT" + map[string]string{"-07:00": "+7", "+01:00": "-1", "+07:00": "-7"}[c.zone]})
			got, ok := s.Next(Task{}, midnight-1)
			if clock == "" {
				if ok && got < midnight.Add(24*time.Hour) {
					t.Errorf("%v on %s: %s at %v, want none", *c.at, c.day, mark, got)
				}
				continue
			}
			if want := at(t, c.day+"T"+clock+c.zone); !ok || got.Sub(want).Abs() > c.within {
				t.Errorf("%v on %s: %s at %v, want %v within %v", *c.at, c.day, mark, got, want, c.within)
			}
		}
	}
}

// TestSunPosition holds the examples of the formulas' sources.
func TestSunPosition(t *testing.T) {
	// Meeus, Astronomical Algorithms, examples 25.a and 28.a: 1992 October 13, 0 h
	// dynamical time, which was 59 s ahead of UTC.
	decl, eq := sunAt(float64(time.Date(1992, 10, 12, 23, 59, 1, 0, time.UTC).Unix()))
	if math.Abs(decl+7.78507) > 0.0005 || math.Abs(eq-(13+42.6/60)) > 0.02 {
		t.Errorf("Meeus: declination %v, equation of time %v min", decl, eq)
	}
	// NOAA_Solar_Calculations_day.xls as it is distributed, for 2010-06-21 at 00:06,
	// UTC-6: the apparent longitude and the corrected obliquity of its first row.
	decl, _ = sunAt((0.10468868*36525 + 2451545 - 2440587.5) * 86400)
	if want := math.Asin(sin(23.4384863293544)*sin(89.7854391814863)) * 180 / math.Pi; math.Abs(decl-want) > 1e-6 {
		t.Errorf("NOAA: declination %v, want %v", decl, want)
	}
}

// TestEquator: there the day is longer than twelve hours by what refraction and
// the sun's radius give at both ends, 2·50′/(15′ per minute) = 6m40s, and up to a
// twelfth more when the sun is far north or south.
func TestEquator(t *testing.T) {
	there := &Coordinates{0, 0}
	rise, set := compile(t, Spec{Sun: List{"sunrise"}, At: there}), compile(t, Spec{Sun: List{"sunset"}, At: there})
	after := at(t, "2027-01-01T00:00:00Z")
	for range 365 {
		up, ok1 := rise.Next(Task{}, after)
		down, ok2 := set.Next(Task{}, up)
		day := down.Sub(up)
		// The equation of time moves by up to half a minute a day.
		if !ok1 || !ok2 || day < 12*time.Hour+6*time.Minute+20*time.Second || day > 12*time.Hour+7*time.Minute+40*time.Second {
			t.Fatalf("the day of %v is %v long", up, day)
		}
		after = down
	}
}

// TestPoles: each pole has one day and one night a year, around the equinoxes;
// dates there have no sunrise, but each has its noon.
func TestPoles(t *testing.T) {
	for _, lat := range []float64{90, -90, 89.99, 78.22} {
		s := compile(t, Spec{Sun: List{"noon"}, At: &Coordinates{lat, 15.6}, TZ: "UTC"})
		first := at(t, "2027-01-01T00:00:00Z")
		after := first - 1
		for n := range 365 {
			noon, ok := s.Next(Task{}, after)
			if day := int((noon - first) / 86_400_000); !ok || day != n {
				t.Fatalf("noon %d at %v is %v, %v", n, lat, noon, ok)
			}
			after = noon
		}
	}
	// Svalbard: the Norwegian Meteorological Institute's almanac gives the
	// midnight sun at Longyearbyen from about 19 April to 23 August, the polar night
	// from about 26 October to 16 February.
	there := &Coordinates{78.2232, 15.6267}
	rises := func(from, until string) (n int) {
		s := compile(t, Spec{Sun: List{"sunrise"}, At: there, TZ: "Arctic/Longyearbyen"})
		for after := at(t, from+"T00:00:00Z"); ; n++ {
			next, ok := s.Next(Task{}, after)
			if !ok || next >= at(t, until+"T00:00:00Z") {
				return n
			}
			after = next
		}
	}
	for _, c := range []struct {
		from, until string
		want        int
	}{{"2027-04-21", "2027-08-21", 0}, {"2027-10-29", "2028-02-13", 0}, {"2027-03-01", "2027-04-01", 31}, {"2027-09-01", "2027-10-01", 30}} {
		if got := rises(c.from, c.until); got != c.want {
			t.Errorf("Longyearbyen from %s until %s: %d sunrises, want %d", c.from, c.until, got, c.want)
		}
	}
	// A window of daylight is open all through the midnight sun, shut in the night.
	day := compile(t, Spec{Every: Duration(6 * time.Hour), AtPhase: new(Offset), At: &Coordinates{69.6492, 18.9553}, TZ: "Europe/Oslo", Windows: []Window{{Hours: List{"sunrise to sunset"}}}})
	count := func(from, until fleet.Instant) (n int) {
		for after := from - 1; ; n++ {
			next, ok := day.Next(Task{}, after)
			if !ok || next >= until {
				return n
			}
			after = next
		}
	}
	if got := count(at(t, "2027-06-01T00:00:00Z"), at(t, "2027-07-01T00:00:00Z")); got != 120 {
		t.Errorf("Tromso in June: %d of 120", got)
	}
	if got := count(at(t, "2027-12-05T00:00:00Z"), at(t, "2028-01-05T00:00:00Z")); got != 0 {
		t.Errorf("Tromso in the polar night: %d, want none", got)
	}
}
