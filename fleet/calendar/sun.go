package calendar

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet/portable"
)

// sunEvent is a moment of the solar day.
type sunEvent uint8

const (
	sunrise sunEvent = iota // upper edge at the horizon, refraction included
	sunset
	noon // highest
	dawn // civil: centre 6° below the horizon
	dusk
)

var sunNames = []string{"sunrise", "sunset", "noon", "dawn", "dusk"}

// sunMark is an event and how much later (or earlier) is meant.
type sunMark struct {
	event  sunEvent
	offset int64 // seconds
}

// maxSunOffset keeps a mark on its own side of the day.
const maxSunOffset = 12 * time.Hour

// parseSun reads "sunrise", "sunset-15m" and the like.
func parseSun(text string) (sunMark, error) {
	compact := strings.ToLower(strings.Join(strings.Fields(text), ""))
	for e, name := range sunNames {
		rest, ok := strings.CutPrefix(compact, name)
		switch {
		case !ok:
			continue
		case rest == "":
			return sunMark{event: sunEvent(e)}, nil
		case rest[0] != '+' && rest[0] != '-':
			return sunMark{}, fmt.Errorf("%q: want + or - and a duration after %s, for example %s+30m", text, name, name)
		}
		d, err := ParseDuration(rest[1:])
		if err != nil {
			return sunMark{}, fmt.Errorf("%q: %w", text, err)
		}
		if time.Duration(d) > maxSunOffset || time.Duration(d)%time.Second != 0 {
			return sunMark{}, fmt.Errorf("%q: want whole seconds, at most 12h from the sun", text)
		}
		s := int64(time.Duration(d) / time.Second)
		if rest[0] == '-' {
			s = -s
		}
		return sunMark{event: sunEvent(e), offset: s}, nil
	}
	return sunMark{}, fmt.Errorf("%q: want sunrise, sunset, noon, dawn or dusk, with an offset if you like: sunrise+30m", text)
}

// position is a place on Earth in degrees, north and east positive.
type position struct{ lat, lon float64 }

func (p position) check() error {
	if !(math.Abs(p.lat) <= 90 && math.Abs(p.lon) <= 180) {
		return fmt.Errorf("lat %v, lon %v: want -90 to 90 and -180 to 180 degrees, east positive", p.lat, p.lon)
	}
	return nil
}

// solarDay is the course of the sun around one noon, in Unix seconds.
type solarDay struct {
	mean        float64 // noon of the mean sun
	noon        float64 // of the true one
	declination float64 // at noon, degrees
	p           position
}

// solarDayAt returns the solar day whose noon is nearest to unix. The same
// solar day has the same noon to the last bit, wherever in it unix lies.
func solarDayAt(p position, unix int64) solarDay {
	_, eq := sunAt(float64(unix))
	number := math.Floor((float64(unix) + float64(240*p.lon) + float64(60*eq)) / 86400)
	mean := float64(number*86400) + 43200 - float64(240*p.lon)
	// The equation of time moves by less than half a minute a day: three
	// rounds settle it below a millisecond.
	n := mean
	for range 3 {
		_, eq = sunAt(n)
		n = mean - float64(60*eq)
	}
	decl, _ := sunAt(n)
	return solarDay{mean: mean, noon: n, p: p, declination: decl}
}

// at returns when the mark happens, in whole Unix seconds; false when the sun
// does not cross that height on this day.
func (d solarDay) at(m sunMark) (int64, bool) {
	height, side := -0.833, -1.0 // 34' refraction and 16' semi-diameter
	switch m.event {
	case noon:
		return int64(math.Round(d.noon)) + m.offset, true
	case sunset:
		side = 1
	case dawn:
		height = -6
	case dusk:
		height, side = -6, 1
	}
	t := d.noon
	for range 6 {
		decl, eq := sunAt(t)
		h, ok := hourAngle(d.p.lat, decl, height)
		if !ok {
			return 0, false
		}
		next := d.mean - float64(60*eq) + float64(side*240*h)
		if math.Abs(next-t) < 0.01 {
			t = next
			break
		}
		t = next
	}
	return int64(math.Round(t)) + m.offset, true
}

// up reports whether the sun is above height degrees at noon: it tells the
// polar day from the polar night.
func (d solarDay) up(height float64) bool {
	return 90-math.Abs(d.p.lat-d.declination) > height
}

// hourAngle returns how far from noon, in degrees, the sun has the height.
func hourAngle(lat, decl, height float64) (float64, bool) {
	c := (sin(height) - float64(sin(lat)*sin(decl))) / (cos(lat) * cos(decl))
	if !(c >= -1 && c <= 1) {
		return 0, false
	}
	return portable.Acos(c) * 180 / math.Pi, true
}

func sin(deg float64) float64 { return portable.Sin(deg * math.Pi / 180) }
func cos(deg float64) float64 { return portable.Cos(deg * math.Pi / 180) }

// sunAt returns the declination in degrees and the equation of time in minutes,
// by the formulas of NOAA's solar calculator, which are those of Meeus,
// Astronomical Algorithms, chapters 25 and 28, at low precision. Each product is
// rounded by itself: a sunrise is the same second at the agent and at the centre,
// whatever their processors are.
func sunAt(unix float64) (declination, equation float64) {
	t := (unix/86400 + 2440587.5 - 2451545) / 36525 // Julian centuries since J2000
	meanLong := math.Mod(portable.Poly(t, 0.0003032, 36000.76983, 280.46646), 360)
	anomaly := portable.Poly(t, -0.0001537, 35999.05029, 357.52911)
	eccentricity := portable.Poly(t, -0.0000001267, -0.000042037, 0.016708634)
	centre := float64(sin(anomaly)*portable.Poly(t, -0.000014, -0.004817, 1.914602)) +
		float64(sin(2*anomaly)*portable.Poly(t, -0.000101, 0.019993)) +
		float64(sin(3*anomaly)*0.000289)
	node := portable.Poly(t, -1934.136, 125.04)
	long := meanLong + centre - 0.00569 - float64(0.00478*sin(node))
	seconds := portable.Poly(t, 0.001813, -0.00059, -46.815, 21.448)
	obliquity := 23 + (26+seconds/60)/60 + float64(0.00256*cos(node))
	declination = portable.Asin(sin(obliquity)*sin(long)) * 180 / math.Pi
	y := sin(obliquity/2) / cos(obliquity/2)
	y *= y
	equation = 4 * 180 / math.Pi * (float64(y*sin(2*meanLong)) - float64(2*eccentricity*sin(anomaly)) +
		float64(4*eccentricity*y*sin(anomaly)*cos(2*meanLong)) -
		float64(0.5*y*y*sin(4*meanLong)) - float64(1.25*eccentricity*eccentricity*sin(2*anomaly)))
	return declination, equation
}

// solarDate returns the solar day of a date of loc: the one whose noon is
// nearest to twelve o'clock there. False when loc skipped the date.
func solarDate(p position, loc *time.Location, d date) (solarDay, bool) {
	t := instant(loc, wallOf(d, 43200))
	if got, _ := wall(t + segmentAt(loc, t).offset).split(); got != d {
		return solarDay{}, false
	}
	return solarDayAt(p, t), true
}

// nextSun returns the first of marks after unix.
func nextSun(marks []sunMark, p position, loc *time.Location, unix int64) (int64, bool) {
	today, _ := wall(unix + segmentAt(loc, unix).offset).split()
	d := dateOf(today.days() - 2) // noon may be far from twelve, and offsets reach 12 h
	// The longest time without sunrise is half a year, at the poles.
	best, found := int64(0), false
	for n := range 400 {
		if s, ok := solarDate(p, loc, d); ok {
			for _, m := range marks {
				if t, ok := s.at(m); ok && t > unix && (!found || t < best) {
					best, found = t, true
				}
			}
		}
		// A later date may still come earlier by its offset, but not by more
		// than two days.
		if found && n >= 4 && d.days() > today.days()+2 {
			break
		}
		if found && d.days()-dateOfUnix(best).days() > 2 {
			break
		}
		d = d.next()
	}
	return best, found
}

func dateOfUnix(unix int64) date { return dateOf(int(floorDiv64(unix, 86400))) }
