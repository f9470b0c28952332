package ics

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a database of zones
)

// zone says how far a clock is from UTC.
type zone interface {
	offset(unix int64) int64 // seconds, east positive
}

// unix returns when a clock of z reads wall: at the first pass, and in a gap by
// the offset before it (RFC 5545, 3.3.5).
func unix(z zone, wall int64) int64 {
	before := wall - z.offset(wall-86400)
	if z.offset(before) == wall-before {
		return before
	}
	if after := wall - z.offset(wall+86400); z.offset(after) == wall-after {
		return after
	}
	return before
}

// fixed is an offset that never changes.
type fixed int64

func (f fixed) offset(int64) int64 { return int64(f) }

// iana is a zone of the IANA database.
type iana struct{ *time.Location }

func (z iana) offset(unix int64) int64 {
	_, offset := time.Unix(unix, 0).In(z.Location).Zone()
	return int64(offset)
}

// listed is a zone that the file itself defines: its changes in order.
type listed struct {
	before  int64
	changes []change
}

type change struct{ unix, offset int64 }

func (z *listed) offset(unix int64) int64 {
	i, _ := slices.BinarySearchFunc(z.changes, unix, func(c change, unix int64) int {
		if c.unix <= unix {
			return -1
		}
		return 1
	})
	if i == 0 {
		return z.before
	}
	return z.changes[i-1].offset
}

// maxZones bounds the TZIDs of one file.
const maxZones = 100

// zones finds what the TZIDs of one calendar mean.
type zones struct {
	calendar *component
	r        *reader
	known    map[string]zone
}

// moment reads one value of a property.
func (zs *zones) moment(p *property, text string) (moment, error) {
	var z zone
	if id := p.params["TZID"]; id != "" {
		var err error
		if z, err = zs.find(id); err != nil {
			return moment{}, p.fault("TZID %.80q: %w", id, err)
		}
	}
	m, err := parseMoment(text, z)
	if err != nil {
		return m, p.fault("%w", err)
	}
	return m, nil
}

// find returns the IANA zone of that name, for its rules are the newest; else
// the file's own VTIMEZONE, as Outlook writes for "W. Europe Standard Time".
func (zs *zones) find(id string) (zone, error) {
	if z := zs.known[id]; z != nil {
		return z, nil
	}
	if len(zs.known) == maxZones {
		return nil, fmt.Errorf("the file names more than %d zones", maxZones)
	}
	z, err := zs.load(id)
	if err == nil {
		zs.known[id] = z
	}
	return z, err
}

func (zs *zones) load(id string) (zone, error) {
	// Some programs put their own name before it:
	// /freeassociation.sourceforge.net/Europe/Paris.
	for name := id; ; {
		if name != "" && name != "Local" && len(name) < 64 {
			if loc, err := time.LoadLocation(name); err == nil {
				return iana{loc}, nil
			}
		}
		_, after, ok := strings.Cut(name, "/")
		if !ok || !strings.HasPrefix(id, "/") {
			break
		}
		name = after
	}
	for _, c := range zs.calendar.children {
		if p := c.get("TZID"); c.name == "VTIMEZONE" && p != nil && p.value == id {
			return zs.r.define(c)
		}
	}
	return nil, fmt.Errorf("neither a name of the IANA database nor a VTIMEZONE of this file: want a name such as Europe/Paris")
}

// define reads a VTIMEZONE (RFC 5545, 3.6.5).
func (r *reader) define(c *component) (zone, error) {
	z := &listed{}
	first := int64(1 << 60)
	for _, o := range c.children {
		if o.name != "STANDARD" && o.name != "DAYLIGHT" {
			continue
		}
		start, from, to := o.get("DTSTART"), o.get("TZOFFSETFROM"), o.get("TZOFFSETTO")
		if start == nil || from == nil || to == nil {
			return nil, fmt.Errorf("line %d: %s wants DTSTART, TZOFFSETFROM and TZOFFSETTO", o.line, o.name)
		}
		begin, err := parseMoment(start.value, nil)
		if err != nil || begin.kind != floating {
			return nil, start.fault("%q: want a time without a zone, 19701025T030000", start.value)
		}
		old, err := parseOffset(from)
		if err != nil {
			return nil, err
		}
		now, err := parseOffset(to)
		if err != nil {
			return nil, err
		}
		if at := begin.wall - old; at < first {
			first, z.before = at, old
		}
		begin.kind, begin.zone = absolute, fixed(old)
		take := func(m moment) error {
			if r.instances++; r.instances > maxInstances {
				return errTooMany
			}
			z.changes = append(z.changes, change{m.at(), now})
			return nil
		}
		starts := []moment{begin}
		for i := range o.props {
			p := &o.props[i]
			switch p.name {
			case "RRULE":
				// Nothing that is listed reaches back further, but for the last
				// change before it.
				if err := r.repeat(p, begin, (1900-1970)*365, take); err != nil {
					return nil, p.fault("%w", err)
				}
			case "RDATE":
				for text := range strings.SplitSeq(p.value, ",") {
					m, err := parseMoment(text, fixed(old))
					if err != nil || m.kind != absolute {
						return nil, p.fault("%q: want a time, 20271031T030000", text)
					}
					starts = append(starts, m)
				}
			}
		}
		for _, m := range starts {
			if err := take(m); err != nil {
				return nil, err
			}
		}
	}
	if len(z.changes) == 0 {
		return nil, fmt.Errorf("line %d: VTIMEZONE has neither STANDARD nor DAYLIGHT", c.line)
	}
	slices.SortStableFunc(z.changes, func(a, b change) int { return cmp.Compare(a.unix, b.unix) })
	return z, nil
}

// parseOffset reads +0100 and -053000 as seconds.
func parseOffset(p *property) (int64, error) {
	text := strings.TrimSpace(p.value)
	n, err := strconv.ParseUint(strings.TrimLeft(text, "+-"), 10, 24)
	if len(text) == 5 {
		n *= 100
	}
	s := int64(n/10000*3600 + n/100%100*60 + n%100)
	if err != nil || len(text) != 5 && len(text) != 7 || text[0] != '+' && text[0] != '-' || s >= 86400 {
		return 0, p.fault("%q: want an offset such as +0100", p.value)
	}
	if text[0] == '-' {
		s = -s
	}
	return s, nil
}
