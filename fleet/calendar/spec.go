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
package calendar

import (
	"encoding/json"
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
	Name     string   `json:"name" yaml:"name"`
	Select   string   `json:"select" yaml:"select"`                         // which cameras, see fleet.Selector
	Every    Duration `json:"every,omitempty" yaml:"every,omitempty"`       // interval, phase by hash
	Cron     Crons    `json:"cron,omitempty" yaml:"cron,omitempty"`         // one expression or several
	Once     string   `json:"once,omitempty" yaml:"once,omitempty"`         // "approval" or RFC 3339
	TZ       string   `json:"tz,omitempty" yaml:"tz,omitempty"`             // IANA name; else the site's, else UTC
	Lead     Duration `json:"lead,omitempty" yaml:"lead,omitempty"`         // issue orders this much ahead; default 60s
	Deadline Duration `json:"deadline,omitempty" yaml:"deadline,omitempty"` // after the nominal time; default min(every, 60s), at least 10s
	Retry    *uint8   `json:"retry,omitempty" yaml:"retry,omitempty"`       // tries after the first; default 2
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

// Crons is a list of cron expressions; a single string is read as a list of
// one. It is written as a list.
type Crons []string

// UnmarshalJSON reads a string or a list of strings.
func (c *Crons) UnmarshalJSON(b []byte) error {
	return c.read(func(v any) error { return json.Unmarshal(b, v) })
}

// UnmarshalYAML reads a string or a list of strings; decode is the YAML
// library's.
func (c *Crons) UnmarshalYAML(decode func(any) error) error { return c.read(decode) }

func (c *Crons) read(decode func(any) error) error {
	var one string
	if decode(&one) == nil {
		*c = Crons{one}
		return nil
	}
	var list []string
	if err := decode(&list); err != nil {
		return fmt.Errorf("cron: want one expression or a list of them, each in quotes: %w", err)
	}
	*c = list
	return nil
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
