// Package calendar is the schedule language: which occurrences a task has. It
// is pure, and the same on the scheduler, on agents and in the audit.
//
//	Spec ──Compile──► Schedule ──Next(task, after)──► the next nominal time
//
// A change of a zone's offset is handled by one rule. A time of day that is
// lost in a gap happens once, at the end of the gap; one that comes twice
// happens at its first pass; a cron expression that fires in every hour of the
// day goes by elapsed time and does not notice.
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

// Spec is one schedule as people write it. Exactly one of Every, Cron and Once
// is set.
type Spec struct {
	Name     string   `json:"name" yaml:"name"`
	Select   string   `json:"select" yaml:"select"`
	Every    Duration `json:"every,omitempty" yaml:"every,omitempty"`
	Cron     Crons    `json:"cron,omitempty" yaml:"cron,omitempty"`
	Once     string   `json:"once,omitempty" yaml:"once,omitempty"` // RFC 3339, or "approval"
	TZ       string   `json:"tz,omitempty" yaml:"tz,omitempty"`     // IANA name; else the site's; else UTC
	Lead     Duration `json:"lead,omitempty" yaml:"lead,omitempty"`
	Deadline Duration `json:"deadline,omitempty" yaml:"deadline,omitempty"`
	Retries  *int     `json:"retries,omitempty" yaml:"retries,omitempty"`
}

// The defaults, and the bounds of what can be asked for.
const (
	DefaultLead    = time.Minute // covers a short cut of the agent's uplink
	DefaultRetries = 2

	minEvery    = time.Second
	maxEvery    = 366 * 24 * time.Hour
	maxLead     = 24 * time.Hour
	minDeadline = time.Second
	maxDeadline = 24 * time.Hour
	maxRetries  = 10

	// The default deadline is the interval within these bounds: a camera needs
	// seconds to answer, and a picture a minute late is another picture.
	deadlineAtLeast = 10 * time.Second
	deadlineAtMost  = time.Minute
)

// onceApproval is the Once of a schedule that fires as a camera is approved.
const onceApproval = "approval"

// Place is where a camera is: its site's zone and coordinates.
type Place struct {
	TZ  string   `json:"tz,omitempty"`
	Lat *float64 `json:"lat,omitempty"`
	Lon *float64 `json:"lon,omitempty"`
}

// Task is what a schedule needs to know of one camera.
type Task struct {
	Camera  fleet.CameraID
	Enabled fleet.Instant // the camera's approval
	Place   Place
	Aligned bool // no camera: `every` is aligned to the Unix epoch
}

// Schedule is a compiled Spec. It is safe for concurrent use.
type Schedule struct {
	spec     Spec
	id       fleet.ScheduleID
	selector fleet.Selector
	crons    []cron
	once     fleet.Instant
	zones    zones
}

// Compile checks the spec and makes it ready to be asked. Its errors name the
// key and say what to write.
func (s Spec) Compile() (*Schedule, error) {
	c := &Schedule{spec: s, id: fleet.ScheduleIDOf(s.Name)}
	if err := c.compile(); err != nil {
		if s.Name == "" {
			return nil, err
		}
		return nil, fmt.Errorf("schedule %s: %w", s.Name, err)
	}
	return c, nil
}

func (c *Schedule) compile() (err error) {
	s := &c.spec
	if s.Name == "" {
		return errors.New("name: every schedule needs one")
	}
	if len(s.Name) > 64 || strings.ContainsFunc(s.Name, func(r rune) bool { return r <= ' ' || r == '/' || r == 0x7f }) {
		return fmt.Errorf("name %q: at most 64 characters without spaces and slashes", s.Name)
	}
	if c.selector, err = fleet.ParseSelector(s.Select); err != nil {
		return fmt.Errorf("select: %w", err)
	}
	kinds := 0
	for _, set := range []bool{s.Every != 0, len(s.Cron) > 0, s.Once != ""} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return errors.New("want exactly one of every, cron, once")
	}
	if s.Every != 0 && (s.Every.D() < minEvery || s.Every.D() > maxEvery) {
		return fmt.Errorf("every: %s is not between %v and 366 days", s.Every, minEvery)
	}
	for _, text := range s.Cron {
		x, err := parseCron(text)
		if err != nil {
			return fmt.Errorf("cron: %w", err)
		}
		c.crons = append(c.crons, x)
	}
	if s.Once != "" && s.Once != onceApproval {
		if err := c.once.UnmarshalText([]byte(s.Once)); err != nil {
			return fmt.Errorf(`once: %w, or "approval"`, err)
		}
	}
	if s.TZ != "" {
		if _, err := c.zones.get(s.TZ); err != nil {
			return fmt.Errorf("tz: %w", err)
		}
	}
	if s.Lead < 0 || s.Lead.D() > maxLead {
		return fmt.Errorf("lead: %s is not between 0 and %v", s.Lead, maxLead)
	}
	if s.Deadline != 0 && (s.Deadline.D() < minDeadline || s.Deadline.D() > maxDeadline) {
		return fmt.Errorf("deadline: %s is not between %v and %v", s.Deadline, minDeadline, maxDeadline)
	}
	if s.Retries != nil && (*s.Retries < 0 || *s.Retries > maxRetries) {
		return fmt.Errorf("retries: %d is not between 0 and %d", *s.Retries, maxRetries)
	}
	return nil
}

// ID returns the schedule's identity, which is its name's.
func (c *Schedule) ID() fleet.ScheduleID { return c.id }

// Name returns the schedule's name.
func (c *Schedule) Name() string { return c.spec.Name }

// Spec returns what it was compiled from.
func (c *Schedule) Spec() Spec { return c.spec }

// Selector returns which cameras it is for.
func (c *Schedule) Selector() fleet.Selector { return c.selector }

// Lead returns how long before its nominal time an order goes out.
func (c *Schedule) Lead() time.Duration {
	if c.spec.Lead != 0 {
		return c.spec.Lead.D()
	}
	return DefaultLead
}

// Deadline returns how long after its nominal time a picture is still wanted:
// the spec's; else the interval, at least 10 s and at most a minute.
func (c *Schedule) Deadline() time.Duration {
	switch {
	case c.spec.Deadline != 0:
		return c.spec.Deadline.D()
	case c.spec.Every != 0:
		return min(max(c.spec.Every.D(), deadlineAtLeast), deadlineAtMost)
	}
	return deadlineAtMost
}

// Retries returns how often a failed capture is tried again.
func (c *Schedule) Retries() uint8 {
	if c.spec.Retries != nil {
		return uint8(*c.spec.Retries)
	}
	return DefaultRetries
}

// Next returns the task's first nominal time after the instant `after`; false
// when there is none.
func (c *Schedule) Next(t Task, after fleet.Instant) (fleet.Instant, bool) {
	switch {
	case c.spec.Every != 0:
		return c.nextEvery(t, after), true
	case c.spec.Once == onceApproval:
		return t.Enabled, t.Enabled > after && t.Enabled != 0
	case c.spec.Once != "":
		return c.once, c.once > after
	}
	loc, err := c.zones.get(firstOf(c.spec.TZ, t.Place.TZ, "UTC"))
	if err != nil {
		loc = time.UTC // a site's zone is checked when it is set
	}
	var best fleet.Instant
	found := false
	for i := range c.crons {
		if n, ok := c.crons[i].next(after, loc); ok && (!found || n < best) {
			best, found = n, true
		}
	}
	return best, found
}

func (c *Schedule) nextEvery(t Task, after fleet.Instant) fleet.Instant {
	interval := fleet.Instant(c.spec.Every.D().Milliseconds())
	var phase fleet.Instant
	if !t.Aligned {
		phase = fleet.Instant(fleet.Phase(t.Camera, c.id, c.spec.Every.D()).Milliseconds())
	}
	k := (after - phase) / interval
	if (after-phase)%interval < 0 {
		k-- // Go's division rounds towards zero
	}
	return (k+1)*interval + phase
}

func firstOf(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// Duration is a time.Duration that reads "90s", "5m", "1h30m" or "2d".
type Duration time.Duration

// D returns it as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String returns what UnmarshalText reads.
func (d Duration) String() string {
	const day = 24 * time.Hour
	t := time.Duration(d)
	if t != 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a duration. It is at least a millisecond exact.
func (d *Duration) UnmarshalText(b []byte) error {
	s := strings.TrimSpace(string(b))
	var days int64
	if head, rest, ok := strings.Cut(s, "d"); ok {
		n, err := strconv.ParseInt(head, 10, 32)
		if err != nil {
			return badDuration(s)
		}
		days, s = n, rest
		if s == "" {
			s = "0s"
		}
	}
	t, err := time.ParseDuration(s)
	if err != nil {
		return badDuration(string(b))
	}
	if t%time.Millisecond != 0 {
		return fmt.Errorf("duration %q: whole milliseconds only", b)
	}
	*d = Duration(t + time.Duration(days)*24*time.Hour)
	return nil
}

func badDuration(s string) error {
	return fmt.Errorf("duration %q: write for example 30s, 5m, 1h30m or 2d", s)
}

// Crons is one cron expression or several: a text or a list.
type Crons []string

// UnmarshalJSON reads a text or a list of them.
func (c *Crons) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*c = Crons{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil {
		return errors.New("cron: want an expression or a list of them")
	}
	*c = many
	return nil
}
