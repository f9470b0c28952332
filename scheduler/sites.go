package scheduler

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// site is one place, its books, and who is there.
type site struct {
	fleet.Site
	index    uint32 // in Scheduler.sites, from 1
	known    bool   // durable
	books    fleet.Books
	first    uint32 // camera slot; the others follow
	cameras  int
	pending  int
	toldFull fleet.Instant // when it was last said that it has as many cameras as it may
	agents   []*agent      // all that are approved
	enrolled int           // agents that are not revoked
	links    []*Link       // those that are connected
	orphans  flightList
	bucket   shaper
	devices  *deviceIndex // nil until an agent tells of devices
	place    uint32       // in Scheduler.places
}

// agent is one edge box and what it holds.
type agent struct {
	fleet.Agent
	index  uint32 // in Scheduler.boxes, from 1
	site   *site
	hash   fleet.ScheduleID // of its id, for rendezvous hashing
	link   *Link            // nil while it is not connected
	lost   int64            // Unix ns; when its stream ended
	dead   bool             // its undue orders have been handed on
	held   flightList
	weight float64 // share of its site's cameras; 0 = 1
	video  bool    // it decodes video
	tags   map[string]bool
}

// siteNamed returns the site, making a place for it in memory when it is new.
func (s *Scheduler) siteNamed(id fleet.SiteID) *site {
	if v := s.siteIDs[id]; v != nil {
		return v
	}
	v := &site{Site: fleet.Site{ID: id}, index: uint32(len(s.sites) + 1)}
	s.sites = append(s.sites, v)
	s.siteIDs[id] = v
	v.place = s.placeNumber(placeText(placeOf(v.Site)))
	return v
}

func (s *Scheduler) setSite(v fleet.Site) *site {
	at := s.siteNamed(v.ID)
	at.Site, at.known = v, true
	at.place = s.placeNumber(placeText(placeOf(v)))
	if at.bucket.rate != v.Burst {
		s.rebucket(at, v.Burst)
	}
	return at
}

// rebucket gives the site another bound: its slots are of another width then.
func (s *Scheduler) rebucket(at *site, rate float64) {
	at.bucket = shaper{rate: rate}
	for n := uint32(1); n <= s.slots.used && rate > 0; n++ {
		if f := s.slots.at(n); f.camera != 0 && s.siteAt(f.camera) == at {
			at.bucket.take(f.nominal + fleet.Instant(f.start))
		}
	}
}

func (s *Scheduler) siteAt(camera uint32) *site { return s.sites[s.cams.slots.at(camera).site-1] }

// addAgent keeps an agent in memory.
func (s *Scheduler) addAgent(a fleet.Agent) *agent {
	box := &agent{Agent: a, index: uint32(len(s.boxes) + 1), site: s.siteNamed(a.Site), hash: fleet.ScheduleIDOf(string(a.ID))}
	box.can(a.Able)
	s.boxes = append(s.boxes, box)
	s.agents[a.ID] = box
	if a.State != fleet.Retired {
		box.site.enrolled++
	}
	s.listAgent(box)
	return box
}

// can takes what the agent is able to do. One that names no codecs was built
// before agents did, and is given video.
func (a *agent) can(able fleet.Able) {
	a.Able = able
	a.video = len(able.Codecs) == 0 || slices.Contains(able.Codecs, fleet.H264) || slices.Contains(able.Codecs, fleet.H265)
	a.tags = map[string]bool{}
	for _, tag := range able.Tags {
		a.tags[tag] = true
	}
}

// listAgent keeps the site's list of approved agents.
func (s *Scheduler) listAgent(a *agent) {
	a.site.agents = slices.DeleteFunc(a.site.agents, func(b *agent) bool { return a == b })
	if a.State == fleet.Approved {
		a.site.agents = append(a.site.agents, a)
	}
}

func (s *Scheduler) agentID(index uint32) fleet.AgentID {
	if index == 0 {
		return ""
	}
	return s.boxes[index-1].ID
}

func placeOf(s fleet.Site) calendar.Place { return calendar.Place{TZ: s.TZ, Lat: s.Lat, Lon: s.Lon} }

func placeText(p calendar.Place) string {
	b, err := json.Marshal(p)
	if err != nil {
		return "{}" // a Place holds a string and two numbers; NaN was refused at SetSite
	}
	return string(b)
}

func parsePlace(text string) (p calendar.Place) {
	if json.Unmarshal([]byte(text), &p) != nil {
		return calendar.Place{}
	}
	return p
}

// place is what a span was computed with, shared by all with the same.
type place struct {
	calendar.Place
	text string
}

func (s *Scheduler) placeNumber(text string) uint32 {
	if n, ok := s.placeNumbers[text]; ok {
		return n
	}
	n := uint32(len(s.places))
	s.places = append(s.places, place{parsePlace(text), text})
	s.placeNumbers[text] = n
	return n
}

// booksBySite returns the books as they are. s.mu is held.
func (s *Scheduler) booksBySite() map[fleet.SiteID]fleet.Books {
	out := make(map[fleet.SiteID]fleet.Books, len(s.sites))
	for _, v := range s.sites {
		if b := v.books; v.known || b != (fleet.Books{}) {
			b.Issued = b.Captured + b.Failed + b.Missed + b.Skipped + b.InFlight
			out[v.ID] = b
		}
	}
	return out
}

// enter moves one occurrence in the books to its outcome.
func enter(b *fleet.Books, o fleet.Outcome) {
	switch o {
	case fleet.Captured:
		b.Captured++
	case fleet.Failed:
		b.Failed++
	case fleet.Missed:
		b.Missed++
	case fleet.Skipped:
		b.Skipped++
	}
}

// Shards is how many slices the sites are cut into: the unit of ownership when
// several schedulers share a fleet.
const Shards = 1024

// ShardOf returns the slice that a site belongs to, by a hash of its id.
func ShardOf(id fleet.SiteID) int { return int(uint64(fleet.ScheduleIDOf(string(id))) % Shards) }

// byShard sums books of sites up by shard.
func byShard(sites map[fleet.SiteID]fleet.Books) map[int]fleet.Books {
	out := map[int]fleet.Books{}
	for _, id := range slices.Sorted(maps.Keys(sites)) {
		sum := out[ShardOf(id)]
		addBooks(&sum, sites[id])
		out[ShardOf(id)] = sum
	}
	return out
}

func addBooks(sum *fleet.Books, b fleet.Books) {
	sum.Issued += b.Issued
	sum.Captured += b.Captured
	sum.Failed += b.Failed
	sum.Missed += b.Missed
	sum.Skipped += b.Skipped
	sum.InFlight += b.InFlight
	sum.Duplicates += b.Duplicates
}
