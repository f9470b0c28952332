// Package calendar says when each camera is due. A Spec is one schedule as
// people write it; Compile checks it and turns it into a Schedule, whose Next
// is a pure function: the same task, zone data and moment give the same answer
// on every scheduler and every agent, so nobody has to store or send due times.
//
//	YAML ─► Spec ─ Compile ─► Schedule ─ Next(task, after) ─► nominal time
//
// # Time zones
//
// Cron expressions, windows and excluded dates are read in the schedule's tz,
// else the site's, else UTC. When the offset changes, one rule serves all: a
// time lost in a gap runs once, at the end of the gap; a time that comes twice
// runs once, at its first pass. Cron expressions that may fire in every hour
// of a day (their hour field is * or lists all 24) follow elapsed time instead:
// they fire whenever the wall clock shows a matching time, in both passes of a
// repeated hour and not at all inside a gap.
//
// # The sun
//
// Sun marks and sun-relative windows use the schedule's coordinates, else the
// site's; without either they never happen. A date's solar day is the one whose
// noon is nearest to twelve o'clock. Where the sun neither rises nor sets that
// day, sunrise, sunset, dawn and dusk do not happen and noon does; a window
// between two of them is open all day while the sun stays up, and shut while it
// stays down.
//
// # What narrows a schedule
//
// An occurrence needs from and until, one open window if any are given, and a
// date and time that are not excluded. An excluded range of times without
// offsets goes by the same clock as cron; it begins at the first pass of its
// first reading and ends at the first pass of its last. Spread comes after that: it moves each camera
// later by its own constant part of the width, so order and distance stay.
package calendar

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Spec is one schedule in its YAML and JSON form. Exactly one of Every, Cron,
// Sun and Once says when. Its JSON is canonical: two specs with equal JSON are
// the same schedule.
type Spec struct {
	Name   string `json:"name" yaml:"name"`
	Select string `json:"select" yaml:"select"` // which cameras, see fleet.Selector

	Every   Duration `json:"every,omitempty" yaml:"every,omitempty"`       // interval, phase by hash
	AtPhase *Offset  `json:"at_phase,omitempty" yaml:"at_phase,omitempty"` // with every: this phase for all, from the Unix epoch
	Cron    List     `json:"cron,omitempty" yaml:"cron,omitempty"`         // one expression or several
	Sun     List     `json:"sun,omitempty" yaml:"sun,omitempty"`           // sunrise+30m, sunset-15m, noon, dawn, dusk
	Once    string   `json:"once,omitempty" yaml:"once,omitempty"`         // "approval" or RFC 3339

	TZ      string       `json:"tz,omitempty" yaml:"tz,omitempty"`           // IANA name; else the site's, else UTC
	At      *Coordinates `json:"at,omitempty" yaml:"at,omitempty"`           // for the sun; else the site's
	From    string       `json:"from,omitempty" yaml:"from,omitempty"`       // first date or RFC 3339, inclusive
	Until   string       `json:"until,omitempty" yaml:"until,omitempty"`     // last date, inclusive, or RFC 3339, exclusive
	Windows []Window     `json:"windows,omitempty" yaml:"windows,omitempty"` // runs while at least one is open
	Exclude List         `json:"exclude,omitempty" yaml:"exclude,omitempty"` // dates: 2027-12-25, 12-24..01-02
	Spread  Duration     `json:"spread,omitempty" yaml:"spread,omitempty"`   // each camera up to this much later, by hash

	Lead     Duration `json:"lead,omitempty" yaml:"lead,omitempty"`         // issue orders this much ahead; default 60s
	Deadline Duration `json:"deadline,omitempty" yaml:"deadline,omitempty"` // after the nominal time; default min(every, 60s), at least 10s
	Retry    *Retry   `json:"retry,omitempty" yaml:"retry,omitempty"`       // tries after the first; default 2
	Misfire  string   `json:"misfire,omitempty" yaml:"misfire,omitempty"`   // skip (default), latest, all(max 10, within 6h)
	Overlap  string   `json:"overlap,omitempty" yaml:"overlap,omitempty"`   // queue-one (default), skip, replace
	Priority string   `json:"priority,omitempty" yaml:"priority,omitempty"` // low, normal (default), high, urgent
	Retake   *Retake  `json:"retake,omitempty" yaml:"retake,omitempty"`     // another frame when the first is bad
}

// UnmarshalJSON wants both numbers: a forgotten one would be a place at sea.
func (c *Coordinates) UnmarshalJSON(b []byte) error {
	var p struct{ Lat, Lon *float64 }
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	if p.Lat == nil || p.Lon == nil {
		return errors.New("at: want both lat and lon in degrees, east positive")
	}
	*c = Coordinates{*p.Lat, *p.Lon}
	return nil
}

// JSON returns the canonical text by which revisions are compared.
func (s Spec) JSON() string {
	b, err := json.Marshal(s)
	if err != nil { // strings, integers and lists of them always marshal
		return ""
	}
	return string(b)
}

// Equal reports whether both specs are the same schedule.
func (s Spec) Equal(o Spec) bool { return s.JSON() == o.JSON() }

// Duration is a time.Duration that reads and writes "90s", "5m", "1h30m" and,
// as people write calendars, "2d". Zero means absent.
type Duration time.Duration

// ParseDuration reads what Duration.String writes: more than zero, at most
// 3660 days, in whole milliseconds.
func ParseDuration(s string) (Duration, error) {
	bad := func(fix string) (Duration, error) {
		return 0, fmt.Errorf("duration %q: %s", s, fix)
	}
	days := time.Duration(0)
	rest := s
	if n, after, ok := strings.Cut(s, "d"); ok {
		d, err := strconv.ParseUint(n, 10, 16)
		if err != nil || d > maxDays {
			return bad("want at most 3660 whole days before d, for example 2d or 1d12h")
		}
		days, rest = time.Duration(d)*24*time.Hour, after
	}
	d := time.Duration(0)
	if rest != "" || s == "" {
		var err error
		if d, err = time.ParseDuration(rest); err != nil {
			if _, plain := strconv.ParseFloat(s, 64); plain == nil {
				return bad("the unit is missing: write " + s + "s for seconds")
			}
			return bad("want a number and a unit: ms, s, m, h or d, for example 90s, 5m, 1h30m")
		}
	}
	switch {
	case d < 0 || d > maxDays*24*time.Hour || d+days > maxDays*24*time.Hour:
		return bad("want between 1ms and 3660d")
	case d+days == 0:
		return bad("want more than zero, or leave the key out")
	case d%time.Millisecond != 0:
		return bad("want whole milliseconds")
	}
	return Duration(d + days), nil
}

const maxDays = 3660

// String returns the shortest usual form, for example "5m" and "1h30m".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads with ParseDuration.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// Offset is where in an interval it fires: as a Duration, but may be zero.
type Offset time.Duration

// MarshalText writes "0s" or what Duration.String writes.
func (o Offset) MarshalText() ([]byte, error) { return []byte(Duration(o).String()), nil }

// UnmarshalText reads zero or what ParseDuration reads.
func (o *Offset) UnmarshalText(b []byte) error {
	if d, err := time.ParseDuration(string(b)); err == nil && d == 0 {
		*o = 0
		return nil
	}
	d, err := ParseDuration(string(b))
	*o = Offset(d)
	return err
}

// Coordinates are degrees, north and east positive.
type Coordinates struct {
	Lat float64 `json:"lat" yaml:"lat"`
	Lon float64 `json:"lon" yaml:"lon"`
}

// Place is what a site knows about where it is.
type Place struct {
	TZ  string   `json:"tz,omitempty"`
	Lat *float64 `json:"lat,omitempty"` // degrees, north positive
	Lon *float64 `json:"lon,omitempty"` // degrees, east positive
}

// Task is one camera under one schedule.
type Task struct {
	Camera  fleet.CameraID
	Enabled fleet.Instant // no occurrence is before it
	Place   Place
	Aligned bool // preview without a camera: every is aligned to the epoch, no phase and no spread
}
