package runner

import (
	"cmp"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// claim is what decides who goes first and who can no longer go.
type claim struct {
	priority fleet.Priority
	since    fleet.Instant // it has waited since
	deadline fleet.Instant
	tie      uint64 // decides between equals, so that the order is always the same
}

// class returns the class that c has now: its own, and one more for each
// quarter of its time to the deadline that it has waited, up to the highest. A
// low order is among the urgent ones for its last quarter, and there the older
// goes first, so nothing newer can overtake it then.
func (c claim) class(now fleet.Instant) int {
	waited, span := int64(now-c.since), int64(c.deadline-c.since)
	if span <= 0 {
		return int(fleet.PriorityUrgent)
	}
	return min(int(fleet.PriorityUrgent), int(c.priority)+int(max(0, waited)*4/span))
}

// before reports whether c goes before d: the higher class, then who has waited
// longer, then who was of the higher class to begin with.
func (c claim) before(d claim, now fleet.Instant) bool {
	if a, b := c.class(now), d.class(now); a != b {
		return a > b
	}
	if c.since != d.since {
		return c.since < d.since
	}
	if c.priority != d.priority {
		return c.priority > d.priority
	}
	return c.tie < d.tie
}

// shedMargin is how much quicker than measured the box is taken to be, before a
// claim is given up: a measured rate is no promise.
const shedMargin = 1.25

// hopeless returns the indices of the claims that cannot get a turn before
// their deadline, when free turns are there now and perSecond come free from
// then on. Higher classes are counted first and lower ones only with what they
// leave, so it is the lowest that is shed; within a class the newest.
func hopeless(claims []claim, free int, perSecond float64, now fleet.Instant) []int {
	if perSecond <= 0 || len(claims) <= free {
		return nil
	}
	order := make([]int, len(claims))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := claims[i], claims[j]
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.since, b.since), cmp.Compare(a.tie, b.tie))
	})
	var out []int
	kept := 0
	for _, i := range order {
		wait := time.Duration(float64(max(0, kept+1-free)) / (perSecond * shedMargin) * float64(time.Second))
		if now.Add(wait) > claims[i].deadline {
			out = append(out, i)
			continue
		}
		kept++
	}
	return out
}
