package calendar

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Bounds and defaults of a schedule.
const (
	minEvery       = 100 * time.Millisecond
	maxEvery       = 366 * 24 * time.Hour
	defaultLead    = time.Minute
	maxLead        = 24 * time.Hour
	defaultLimit   = time.Minute      // deadline
	leastLimit     = 10 * time.Second // default deadline of a short interval
	maxLimit       = 24 * time.Hour
	defaultRetries = 2
	maxRetries     = 20
	maxNameBytes   = 64
	maxCrons       = 32
)

// Schedule is a checked Spec, ready to say when. It is immutable and may be
// used from many goroutines.
type Schedule struct {
	spec     Spec
	id       fleet.ScheduleID
	selector fleet.Selector
	loc      *time.Location // nil: the site's
	crons    []*cron
	once     fleet.Instant
	approval bool
	lead     time.Duration
	deadline time.Duration
	retries  uint8
}

// Compile checks s. Its error joins one line for each fault, each naming the
// key and the fix.
func (s Spec) Compile() (*Schedule, error) {
	c := &Schedule{spec: s, id: fleet.ScheduleIDOf(s.Name)}
	var faults []error
	fault := func(key, format string, args ...any) {
		faults = append(faults, fmt.Errorf("%s: "+format, append([]any{key}, args...)...))
	}
	if err := checkName(s.Name); err != nil {
		fault("name", "%w", err)
	}
	if strings.TrimSpace(s.Select) == "" {
		fault("select", `missing; write select: "*" for all cameras`)
	} else if sel, err := fleet.ParseSelector(s.Select); err != nil {
		fault("select", "%w", err)
	} else {
		c.selector = sel
	}
	switch kinds := s.kinds(); len(kinds) {
	case 0:
		fault("every", "missing; say when with one of every, cron or once")
	case 1:
	default:
		fault(kinds[1], "a schedule has one of every, cron and once; make a second schedule for %s", kinds[1])
	}
	if d := time.Duration(s.Every); s.Every != 0 && (d < minEvery || d > maxEvery) {
		fault("every", "%s: want between %s and %s", s.Every, Duration(minEvery), Duration(maxEvery))
	}
	if len(s.Cron) > maxCrons {
		fault("cron", "%d expressions, want at most %d", len(s.Cron), maxCrons)
	} else {
		for _, text := range s.Cron {
			e, err := parseCron(text)
			if err != nil {
				fault("cron", "%w", err)
				continue
			}
			c.crons = append(c.crons, e)
		}
	}
	if s.Once == "approval" {
		c.approval = true
	} else if s.Once != "" {
		t, err := time.Parse(time.RFC3339, s.Once)
		if err != nil {
			fault("once", "%q: want approval, or a time with its offset, for example 2027-03-01T06:00:00Z", s.Once)
		}
		c.once = fleet.At(t)
	}
	if s.TZ != "" {
		loc, err := loadZone(s.TZ)
		if err != nil {
			fault("tz", "%w", err)
		}
		c.loc = loc
	}
	c.lead = defaultLead
	if d := time.Duration(s.Lead); d != 0 {
		if c.lead = d; d > maxLead {
			fault("lead", "%s: want at most %s", s.Lead, Duration(maxLead))
		}
	}
	if c.deadline = time.Duration(s.Deadline); c.deadline == 0 {
		c.deadline = defaultLimit
		if s.Every != 0 {
			c.deadline = max(leastLimit, min(time.Duration(s.Every), defaultLimit))
		}
	} else if c.deadline > maxLimit {
		fault("deadline", "%s: want at most %s", s.Deadline, Duration(maxLimit))
	}
	c.retries = defaultRetries
	if s.Retry != nil {
		if c.retries = *s.Retry; c.retries > maxRetries {
			fault("retry", "%d: want at most %d tries after the first", c.retries, maxRetries)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("schedule %q: %w", s.Name, err)
	}
	return c, nil
}

func (s Spec) kinds() []string {
	var kinds []string
	if s.Every != 0 {
		kinds = append(kinds, "every")
	}
	if len(s.Cron) > 0 {
		kinds = append(kinds, "cron")
	}
	if s.Once != "" {
		kinds = append(kinds, "once")
	}
	return kinds
}

func checkName(name string) error {
	if name == "" {
		return errors.New("missing; give the schedule a name, for example name: shelf")
	}
	if len(name) > maxNameBytes {
		return fmt.Errorf("%d bytes long, want at most %d", len(name), maxNameBytes)
	}
	for i, r := range name {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("-_.", r)) {
			return fmt.Errorf("%q: want letters, digits, and - _ . after the first", name)
		}
	}
	return nil
}

// CheckZone says whether tz is a time zone that Next understands.
func CheckZone(tz string) error {
	_, err := loadZone(tz)
	return err
}

func loadZone(tz string) (*time.Location, error) {
	// "Local" would make the answer depend on the machine.
	if tz == "" || tz == "Local" {
		return nil, fmt.Errorf("%q: want a name of the IANA database, for example Europe/Paris or UTC", tz)
	}
	loc, err := time.LoadLocation(tz)
	if err != nil {
		return nil, fmt.Errorf("%q: not in the IANA database; want a name such as Europe/Paris or UTC", tz)
	}
	return loc, nil
}

// ID returns the identity, derived from the name.
func (s *Schedule) ID() fleet.ScheduleID { return s.id }

// Name returns the name.
func (s *Schedule) Name() string { return s.spec.Name }

// Selector returns which cameras it is for.
func (s *Schedule) Selector() fleet.Selector { return s.selector }

// Spec returns what it was compiled from.
func (s *Schedule) Spec() Spec { return s.spec }

// Lead returns how long before the nominal time an order is issued.
func (s *Schedule) Lead() time.Duration { return s.lead }

// Deadline returns how long after the nominal time an outcome counts.
func (s *Schedule) Deadline() time.Duration { return s.deadline }

// Retries returns how many tries may follow the first.
func (s *Schedule) Retries() uint8 { return s.retries }

// Next returns t's first nominal time strictly after after and not before
// t.Enabled; false when there is none. It is pure and increases with after.
func (s *Schedule) Next(t Task, after fleet.Instant) (fleet.Instant, bool) {
	after = max(after, t.Enabled-1)
	n, ok := s.next(t, after)
	return n, ok && n <= horizon
}

func (s *Schedule) next(t Task, after fleet.Instant) (fleet.Instant, bool) {
	switch {
	case s.spec.Every != 0:
		every := time.Duration(s.spec.Every)
		var phase time.Duration
		if !t.Aligned {
			phase = fleet.Phase(t.Camera, s.id, every)
		}
		step, first := every.Milliseconds(), phase.Milliseconds()
		return fleet.Instant(first + (floorDiv64(int64(after)-first, step)+1)*step), true
	case s.approval:
		return t.Enabled, t.Enabled > after
	case s.spec.Once != "":
		return s.once, s.once > after
	}
	loc := s.zone(t.Place)
	found := fleet.Instant(0)
	ok := false
	for _, c := range s.crons {
		u, has := nextCron(c, loc, floorDiv64(int64(after), 1000))
		if at := fleet.Instant(u * 1000); has && (!ok || at < found) {
			found, ok = at, true
		}
	}
	return found, ok
}

// zone is the schedule's, else the site's, else UTC. A site's zone that is not
// in the database counts as absent: sites are checked where they are set.
func (s *Schedule) zone(p Place) *time.Location {
	if s.loc != nil {
		return s.loc
	}
	if p.TZ != "" && p.TZ != "UTC" {
		if loc, err := loadZone(p.TZ); err == nil {
			return loc
		}
	}
	return time.UTC
}

func floorDiv64(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
