// Package census measures discovery: how many of the devices that are there a
// finder finds, how soon, and what else it takes for a camera.
//
//	devices that are there ─┐
//	Finder ────Sighting─────┴─► Count ──► Report
package census

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// maxStrangers bounds how many unknown devices are told apart.
const maxStrangers = 4096

// Device is one that is there, by any of its names.
type Device struct {
	Name   string
	Claims []fleet.Claim
}

// Report is what one finder found.
type Report struct {
	Present   int
	Found     int
	First     time.Duration // until the first device; 0 when none was found
	Half      time.Duration // until half of those present, rounded up
	Last      time.Duration // until the last that was found
	Missed    []string      // names, sorted
	Strangers int           // devices taken for cameras that are not among those present
	Sightings int           // answers heard, hints and repeats included
}

// String returns the report as one line for people.
func (r Report) String() string {
	s := fmt.Sprintf("%d of %d found", r.Found, r.Present)
	if r.Found > 0 {
		s += fmt.Sprintf(", the first after %v, the last after %v", r.First.Round(time.Millisecond), r.Last.Round(time.Millisecond))
	}
	if r.Strangers > 0 {
		s += fmt.Sprintf(", %d strangers taken for cameras", r.Strangers)
	}
	if len(r.Missed) > 0 {
		s += "; missed: " + strings.Join(r.Missed, ", ")
	}
	return s
}

// Count runs f until every device is found and, after that, for as long as
// linger says, to hear what else comes; or until ctx is done. A device counts
// once something that is no hint and bears one of its names was heard of it.
func Count(ctx context.Context, f protocols.Finder, present []Device, linger time.Duration) (Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := counter{names: map[fleet.Claim]int{}, found: make([]bool, len(present)), strangers: map[string]bool{}}
	for i, d := range present {
		for _, claim := range d.Claims {
			c.names[claim] = i
		}
	}
	c.report.Present = len(present)
	start := time.Now()
	var end *time.Timer
	err := f.Find(ctx, func(s fleet.Sighting) {
		if c.hear(s, time.Since(start)) && end == nil {
			end = time.AfterFunc(linger, cancel)
		}
	})
	if end != nil {
		end.Stop()
	}
	for i, found := range c.found {
		if !found {
			c.report.Missed = append(c.report.Missed, present[i].Name)
		}
	}
	slices.Sort(c.report.Missed)
	c.report.Strangers = len(c.strangers)
	return c.report, err
}

// counter is a census under way. It is pure: time comes in.
type counter struct {
	names     map[fleet.Claim]int
	found     []bool
	strangers map[string]bool
	report    Report
}

// hear takes one sighting and reports whether all devices are found.
func (c *counter) hear(s fleet.Sighting, after time.Duration) (all bool) {
	r := &c.report
	r.Sightings++
	if !s.Hint && !s.Gone {
		known := false
		for _, claim := range s.Claims {
			i, ok := c.names[claim]
			if known = known || ok; !ok || c.found[i] {
				continue
			}
			c.found[i] = true
			if r.Found++; r.Found == 1 {
				r.First = after
			}
			if r.Found == (r.Present+1)/2 {
				r.Half = after
			}
			r.Last = after
		}
		if !known && len(c.strangers) < maxStrangers {
			c.strangers[stranger(s)] = true
		}
	}
	return r.Found == r.Present
}

// stranger is what tells unknown devices apart.
func stranger(s fleet.Sighting) string {
	if len(s.Claims) > 0 {
		return string(s.Claims[0].Kind) + ":" + s.Claims[0].Value
	}
	return s.Source.String()
}
