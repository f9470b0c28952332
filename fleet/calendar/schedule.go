package calendar

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	maxSpread      = 24 * time.Hour
)

// Schedule is a checked Spec, ready to say when. It never changes and may be
// used from many goroutines.
type Schedule struct {
	spec     Spec
	id       fleet.ScheduleID
	selector fleet.Selector
	loc      *time.Location // nil: the site's
	at       *position      // nil: the site's
	crons    []*cron
	marks    []sunMark
	once     fleet.Instant
	approval bool
	from     bound
	until    bound
	windows  []window
	exclude  exclusions
	solar    bool // the answer depends on coordinates
	lead     time.Duration
	deadline time.Duration
	retry    Retry
	misfire  Misfire
	overlap  Overlap
	priority fleet.Priority
	retake   Retake

	places sync.Map // placeKey to *place: derived, so that Next stays pure
}

// bound is an end of a schedule's life: an instant, or a date in its zone.
type bound struct {
	set     bool
	instant fleet.Instant
	date    *date
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
		fault("every", "missing; say when with one of every, cron, sun or once")
	case 1:
	default:
		fault(kinds[1], "a schedule has one of every, cron, sun and once; make a second schedule for %s", kinds[1])
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
	if s.AtPhase != nil {
		switch phase := Duration(*s.AtPhase); {
		case s.Every == 0:
			fault("at_phase", "only goes with every")
		case phase >= s.Every:
			fault("at_phase", "%s: want less than every, %s", phase, s.Every)
		}
	}
	if len(s.Sun) > maxCrons {
		fault("sun", "%d marks, want at most %d", len(s.Sun), maxCrons)
	} else {
		for _, text := range s.Sun {
			m, err := parseSun(text)
			if err != nil {
				fault("sun", "%w", err)
			}
			c.marks = append(c.marks, m)
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
	if s.At != nil {
		p := position{s.At.Lat, s.At.Lon}
		if err := p.check(); err != nil {
			fault("at", "%w", err)
		}
		c.at = &p
	}
	var err error
	if c.from, err = parseBound(s.From); err != nil {
		fault("from", "%w", err)
	}
	if c.until, err = parseBound(s.Until); err != nil {
		fault("until", "%w", err)
	}
	if len(s.Windows) > maxWindows {
		fault("windows", "%d, want at most %d", len(s.Windows), maxWindows)
	} else {
		for i, w := range s.Windows {
			out, err := parseWindow(w)
			if err != nil {
				fault("windows", "item %d: %w", i+1, err)
			}
			c.windows = append(c.windows, out)
		}
	}
	if len(s.Exclude) > maxExclude {
		fault("exclude", "%d dates and times, want at most %d: name ranges, or a calendar with fewer events", len(s.Exclude), maxExclude)
	} else {
		for _, text := range s.Exclude {
			if err := c.exclude.parse(text); err != nil {
				fault("exclude", "%w", err)
			}
		}
		c.exclude.sort()
	}
	if d := time.Duration(s.Spread); d > maxSpread || s.Every != 0 && s.Spread > s.Every {
		fault("spread", "%s: want at most %s and at most every", s.Spread, Duration(maxSpread))
	}
	c.solar = len(c.marks) > 0 || slices.ContainsFunc(c.windows, func(w window) bool {
		return slices.ContainsFunc(w.hours, func(h hours) bool { return h.from.solar || h.until.solar })
	})
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
	if c.retry, err = s.Retry.check(); err != nil {
		fault("retry", "%w", err)
	}
	if c.misfire, err = parseMisfire(s.Misfire); err != nil {
		fault("misfire", "%w", err)
	}
	if c.overlap, err = parseOverlap(s.Overlap); err != nil {
		fault("overlap", "%w", err)
	}
	if c.priority, err = fleet.ParsePriority(s.Priority); err != nil {
		fault("priority", "%w", err)
	}
	if c.retake, err = s.Retake.check(); err != nil {
		fault("retake", "%w", err)
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
	if len(s.Sun) > 0 {
		kinds = append(kinds, "sun")
	}
	if s.Once != "" {
		kinds = append(kinds, "once")
	}
	return kinds
}

func parseBound(text string) (bound, error) {
	if text == "" {
		return bound{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return bound{set: true, instant: fleet.At(t)}, nil
	}
	d, err := parseDate(text)
	if err != nil {
		return bound{}, fmt.Errorf("%q: want a date, for example 2027-03-01, or a time with its offset, 2027-03-01T06:00:00Z", text)
	}
	return bound{set: true, date: &d}, nil
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

// NeedsCoordinates reports whether the sun decides and the schedule has no
// coordinates of its own: then sites without any get no occurrences.
func (s *Schedule) NeedsCoordinates() bool { return s.solar && s.at == nil }

// Lacks reports whether the sun decides and neither the schedule nor p says
// where: then cameras at p have fewer occurrences than was meant, mostly none.
func (s *Schedule) Lacks(p Place) bool {
	return s.NeedsCoordinates() && s.place(p).at == nil
}

// Unplaced returns the sites, in order, that Lacks holds for.
func (s *Schedule) Unplaced(sites map[fleet.SiteID]Place) []fleet.SiteID {
	if !s.NeedsCoordinates() {
		return nil
	}
	var out []fleet.SiteID
	for id, p := range sites {
		if s.Lacks(p) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// UnplacedWarning says what Unplaced found and what to do about it; "" when
// that is nothing.
func (s *Schedule) UnplacedWarning(sites map[fleet.SiteID]Place) string {
	const named = 3
	ids := s.Unplaced(sites)
	if len(ids) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "schedule %s goes by the sun, and nothing says where ", s.Name())
	for i, id := range ids[:min(named, len(ids))] {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(id))
	}
	if more := len(ids) - named; more > 0 {
		fmt.Fprintf(&b, " and %d more", more)
	}
	verb := " is"
	if len(ids) > 1 {
		verb = " are"
	}
	fmt.Fprintf(&b, "%s: run `shutterfleet sites set %s --lat … --lon …`, or say at: {lat: …, lon: …} in the schedule", verb, ids[0])
	return b.String()
}

// Location returns the zone that the schedule's times are read in for cameras
// at p: its own, else p's, else UTC.
func (s *Schedule) Location(p Place) *time.Location { return s.place(p).loc }
