package admin

import (
	"encoding/hex"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// The types below are the API's JSON. They change by addition only.

// Fingerprint is what is remembered of a frame's looks.
type Fingerprint struct {
	PDQ        string `json:"pdq" doc:"256-bit PDQ hash, 64 hex digits" pattern:"^[0-9a-f]{64}$"`
	PDQQuality int    `json:"pdq_quality" doc:"below 50 the hash is not searched" minimum:"0" maximum:"100"`
	PHash      string `json:"phash" doc:"64-bit DCT hash, 16 hex digits" pattern:"^[0-9a-f]{16}$"`
	Mask       string `json:"mask,omitempty" doc:"what was hidden of the frame, as a mask's sum; hashes under different masks do not compare; absent: nothing"`
}

// Shot is a camera's last outcome in short.
type Shot struct {
	At          fleet.Instant `json:"at" format:"date-time"`
	Outcome     fleet.Outcome `json:"outcome" enum:"captured,failed,missed,skipped"`
	Cause       fleet.Cause   `json:"cause" doc:"why there is no picture; empty when captured"`
	Detail      string        `json:"detail,omitempty" doc:"the error, for a person"`
	Fingerprint *Fingerprint  `json:"fingerprint,omitempty" doc:"present when captured"`
}

// Camera is one schedulable video source.
type Camera struct {
	ID          fleet.CameraID    `json:"id" example:"cam-0r4k2m7q1x0ab"`
	Site        fleet.SiteID      `json:"site"`
	State       fleet.Enrollment  `json:"state" enum:"candidate,pending,approved,ignored,quarantined,retired"`
	Status      string            `json:"status" doc:"the one word that an operator reads first" enum:"ok,late,failed,missed,quarantined,pending,needs-credentials,offline,ignored,retired,idle"`
	Name        string            `json:"name"`
	Addresses   []string          `json:"addresses"`
	Protocols   []fleet.Protocol  `json:"protocols"`
	Endpoints   []fleet.Endpoint  `json:"endpoints"`
	FoundBy     []fleet.Via       `json:"found_by"`
	Vendor      string            `json:"vendor"`
	Model       string            `json:"model"`
	Firmware    string            `json:"firmware"`
	Serial      string            `json:"serial"`
	Device      string            `json:"device" doc:"the device that this is a source of"`
	Source      string            `json:"source"`
	DeviceState fleet.DeviceState `json:"device_state" doc:"how far the agent gets with the device"`
	Reason      string            `json:"reason" doc:"why the device is not ok, and the fix"`
	Fix         string            `json:"fix,omitempty" doc:"what to do about device_state; absent when it is ok"`
	Labels      map[string]string `json:"labels"`
	Version     uint64            `json:"version" doc:"grows with each change; the ETag"`
	Created     fleet.Instant     `json:"created" format:"date-time"`
	Enabled     *fleet.Instant    `json:"enabled,omitempty" doc:"when it was approved" format:"date-time"`
	LastFrame   *fleet.Instant    `json:"last_frame,omitempty" doc:"when its thumbnail was taken" format:"date-time"`
	Mask        *MaskBrief        `json:"mask,omitempty" doc:"present when parts of it are hidden"`
	LastCapture *Shot             `json:"last_capture,omitempty" doc:"absent before the first outcome"`
}

// Capture is the final outcome of one occurrence.
type Capture struct {
	Occurrence  string         `json:"occurrence" doc:"camera/schedule id/nominal time"`
	Camera      fleet.CameraID `json:"camera"`
	Schedule    string         `json:"schedule" doc:"its name, or its id once it is gone"`
	Nominal     fleet.Instant  `json:"nominal" format:"date-time"`
	At          fleet.Instant  `json:"at" doc:"when the frame was complete, or the outcome decided" format:"date-time"`
	BoundMS     int64          `json:"bound_ms" doc:"the clock of at may be wrong by this much"`
	Outcome     fleet.Outcome  `json:"outcome" enum:"captured,failed,missed,skipped"`
	Cause       fleet.Cause    `json:"cause"`
	Detail      string         `json:"detail"`
	Agent       fleet.AgentID  `json:"agent" doc:"empty when the centre itself decided"`
	Width       int            `json:"width"`
	Height      int            `json:"height"`
	Bytes       int64          `json:"bytes"`
	Protocol    fleet.Protocol `json:"protocol"`
	Codec       fleet.Codec    `json:"codec"`
	SHA256      string         `json:"sha256,omitempty" doc:"of the frame as it came"`
	DelayMS     int64          `json:"delay_ms" doc:"from the nominal time to the first try"`
	TookMS      int64          `json:"took_ms" doc:"from the first try to the outcome"`
	Attempts    int            `json:"attempts"`
	Retakes     int            `json:"retakes" doc:"frames beyond the first that the schedule's retake asked for"`
	Fingerprint *Fingerprint   `json:"fingerprint,omitempty" doc:"present when captured"`
	Quality     *fleet.Quality `json:"quality,omitempty" doc:"present when captured"`
	Verdict     *Verdict       `json:"verdict,omitempty" doc:"what is wrong with the picture; present when an agent that judges captured it"`
}

// Site is one place with one or more agents.
type Site struct {
	ID      fleet.SiteID  `json:"id"`
	TZ      string        `json:"tz" doc:"IANA name; empty means UTC"`
	Lat     *float64      `json:"lat,omitempty" doc:"degrees north"`
	Lon     *float64      `json:"lon,omitempty" doc:"degrees east"`
	Burst   float64       `json:"burst,omitempty" doc:"most captures per second for the whole site; absent: no bound"`
	Cameras int           `json:"cameras"`
	Pending int           `json:"pending" doc:"cameras that wait for approval"`
	Agents  int           `json:"agents"`
	Created fleet.Instant `json:"created" format:"date-time"`
}

// Schedule is a schedule as it is applied now.
type Schedule struct {
	calendar.Spec
	ID       string         `json:"id" doc:"16 hex digits, derived from the name"`
	Revision uint64         `json:"revision"`
	Cameras  int            `json:"cameras" doc:"that it selects"`
	Next     *fleet.Instant `json:"next,omitempty" doc:"its earliest coming occurrence" format:"date-time"`
}

// Change is one line of a plan.
type Change struct {
	Name    string `json:"name"`
	Action  string `json:"action" enum:"create,change,keep,remove"`
	Diff    string `json:"diff,omitempty"`
	Cameras int    `json:"cameras"`
}

// Plan is what an apply did, or with dry_run would do.
type Plan struct {
	Changes  []Change `json:"changes"`
	Warnings []string `json:"warnings" doc:"what will not do what was wanted"`
	DryRun   bool     `json:"dry_run"`
}

// Pause is a time during which occurrences are skipped: those that schedule,
// camera and site name together, or all.
type Pause struct {
	ID       string          `json:"id,omitempty"`
	Schedule string          `json:"schedule,omitempty" doc:"by name; absent: of every schedule"`
	Camera   *fleet.CameraID `json:"camera,omitempty" doc:"absent: of every camera"`
	Site     fleet.SiteID    `json:"site,omitempty" doc:"absent: at every site"`
	From     fleet.Instant   `json:"from" format:"date-time"`
	Until    *fleet.Instant  `json:"until,omitempty" doc:"absent: until it is resumed" format:"date-time"`
	By       string          `json:"by" doc:"who asked"`
	Reason   string          `json:"reason"`
	Cameras  *int            `json:"cameras,omitempty" doc:"with dry_run: approved cameras that it would concern"`
	DryRun   bool            `json:"dry_run,omitempty"`
}

// Job is one request for pictures now.
type Job struct {
	ID       string        `json:"id,omitempty"`
	By       string        `json:"by" doc:"who asked"`
	Select   string        `json:"select,omitempty" doc:"the selector; absent when cameras were named"`
	Asked    fleet.Instant `json:"asked" doc:"the nominal time of its occurrences" format:"date-time"`
	Deadline fleet.Instant `json:"deadline" format:"date-time"`
	Books    fleet.Books   `json:"books" doc:"issued = captured + failed + missed + skipped + in_flight"`
	Done     bool          `json:"done" doc:"nothing is in flight any more"`
	DryRun   bool          `json:"dry_run,omitempty"`
}

// JobDetail is a job with one page of its cameras.
type JobDetail struct {
	Job
	Cameras []JobCamera `json:"cameras"`
	Next    string      `json:"next,omitempty" doc:"cursor of the next page; absent on the last one"`
}

// JobCamera is what came of one camera's part of a job.
type JobCamera struct {
	Camera  fleet.CameraID `json:"camera"`
	Outcome *fleet.Outcome `json:"outcome,omitempty" enum:"captured,failed,missed,skipped" doc:"absent while it is in flight"`
	Cause   fleet.Cause    `json:"cause,omitempty" doc:"why there is no picture"`
	Detail  string         `json:"detail,omitempty" doc:"the error, for a person"`
	Capture *Capture       `json:"capture,omitempty" doc:"all about it; absent while it is in flight"`
}

// Load is a histogram of captures.
type Load struct {
	From       fleet.Instant  `json:"from" doc:"where the first bucket begins" format:"date-time"`
	StepMS     int64          `json:"step_ms" doc:"width of one bucket"`
	Due        []uint32       `json:"due" doc:"captures in each bucket by their nominal time"`
	Shaped     []uint32       `json:"shaped" doc:"captures in each bucket as they start once bursts are shaped"`
	Total      uint64         `json:"total" doc:"the sum of due"`
	MeanPerS   float64        `json:"mean_per_s" doc:"captures per second over the whole window"`
	Peak       uint32         `json:"peak" doc:"the highest of due"`
	PeakAt     *fleet.Instant `json:"peak_at,omitempty" doc:"its bucket; absent when nothing is due" format:"date-time"`
	ShapedPeak uint32         `json:"shaped_peak" doc:"the highest of shaped"`
	Delayed    int            `json:"delayed" doc:"captures that shaping starts after their nominal time"`
	LongestMS  int64          `json:"longest_ms" doc:"the longest such delay"`
}

// Agent is one enrolled edge box.
type Agent struct {
	ID        fleet.AgentID    `json:"id"`
	Site      fleet.SiteID     `json:"site"`
	Hostname  string           `json:"hostname"`
	Version   string           `json:"version"`
	State     fleet.Enrollment `json:"state" enum:"pending,approved,retired"`
	Connected bool             `json:"connected"`
	Enrolled  fleet.Instant    `json:"enrolled" format:"date-time"`
	Seen      *fleet.Instant   `json:"seen,omitempty" doc:"its last message" format:"date-time"`
	Held      uint64           `json:"held" doc:"orders in its store"`
	Pending   uint64           `json:"pending" doc:"outcomes it has not delivered"`
	Standing  bool             `json:"standing" doc:"it holds standing orders, and goes on without the centre"`
	Able      AgentAble        `json:"able" doc:"what it can do, as it said when it connected"`
	Load      AgentLoad        `json:"load" doc:"what its box bears, as it last said"`
}

// AgentAble is what an agent can do.
type AgentAble struct {
	Codecs    []fleet.Codec `json:"codecs"`
	Analyzers []string      `json:"analyzers"`
	Cores     int           `json:"cores"`
	Tags      []string      `json:"tags" doc:"the operator's"`
	Masks     bool          `json:"masks" doc:"it hides what a camera's mask says; others are given no masked camera"`
}

// AgentLoad is what an agent's box bears.
type AgentLoad struct {
	CPU            float64 `json:"cpu" doc:"share of all its processors, 0 to 1"`
	Pressure       float64 `json:"pressure" doc:"share of the last 10 s in which something waited for a processor, 0 to 1"`
	RSSBytes       uint64  `json:"rss_bytes" doc:"memory of the agent"`
	AvailableBytes uint64  `json:"available_bytes" doc:"memory left; 0: not known"`
	Capturing      int     `json:"capturing" doc:"cameras being spoken to"`
	Queue          int     `json:"queue" doc:"due, and waiting for their turn"`
	Decoding       int     `json:"decoding" doc:"frames waiting to be decoded"`
	Capacity       float64 `json:"capacity" doc:"captures per second that it could do, as measured; 0: not known yet"`
}

// Key lets agents enrol at one site.
type Key struct {
	ID      string        `json:"id"`
	Site    fleet.SiteID  `json:"site"`
	Count   int           `json:"count" doc:"agents that may enrol with it"`
	Used    int           `json:"used"`
	Approve bool          `json:"approve" doc:"agents that hold it are approved"`
	Revoked bool          `json:"revoked"`
	Created fleet.Instant `json:"created" format:"date-time"`
	Expires fleet.Instant `json:"expires" format:"date-time"`
	Key     string        `json:"key,omitempty" doc:"the text for --site-key-file: shown once, when it is created"`
}

// Credentials are a login of cameras; the password never comes back.
type Credentials struct {
	ID      string          `json:"id"`
	Site    fleet.SiteID    `json:"site"`
	Camera  *fleet.CameraID `json:"camera,omitempty" doc:"absent: the whole site"`
	User    string          `json:"user"`
	Version uint64          `json:"version"`
	Created fleet.Instant   `json:"created" format:"date-time"`
}

// AllBooks are the counts in total and by site: issued = captured + failed + missed + skipped + in_flight.
type AllBooks struct {
	fleet.Books
	Balanced bool                         `json:"balanced"`
	Sites    map[fleet.SiteID]fleet.Books `json:"sites"`
}

// Match is a stored frame that looks like the one asked for.
type Match struct {
	Occurrence string         `json:"occurrence"`
	Camera     fleet.CameraID `json:"camera"`
	At         fleet.Instant  `json:"at" format:"date-time"`
	Distance   int            `json:"distance" doc:"PDQ bits that differ"`
}

// Audit compares what the calendar says should exist with the rows that do.
type Audit struct {
	From           fleet.Instant `json:"from" format:"date-time"`
	Until          fleet.Instant `json:"until" format:"date-time"`
	Expected       int           `json:"expected"`
	Stored         int           `json:"stored"`
	InFlight       int           `json:"in_flight"`
	MissingOutcome int           `json:"missing_outcome"`
	Unexpected     int           `json:"unexpected"`
	Unaccounted    int           `json:"unaccounted" doc:"0 once nothing is in flight"`
	Examples       []string      `json:"examples"`
}

// Event tells that something changed; ask for what it is about.
type Event struct {
	Kind   string          `json:"kind" enum:"camera,capture,thumbnail,agent,schedule,books,resync"`
	Camera *fleet.CameraID `json:"camera,omitempty"`
	Agent  fleet.AgentID   `json:"agent,omitempty"`
	Site   fleet.SiteID    `json:"site,omitempty"`
}

func fingerprintOf(f fleet.Fingerprint) *Fingerprint {
	return &Fingerprint{PDQ: f.PDQ.String(), PDQQuality: int(f.PDQQuality), PHash: f.PHash.String(), Mask: f.Mask.String()}
}

// some returns nil for 0: an instant that never was is absent.
func some(i fleet.Instant) *fleet.Instant {
	if i == 0 {
		return nil
	}
	return &i
}

func cameraOf(v scheduler.CameraView) Camera {
	c := Camera{
		ID: v.ID, Site: v.Site, State: v.State, Status: v.Status, Name: v.Name,
		Addresses: []string{}, Protocols: []fleet.Protocol{}, Endpoints: append([]fleet.Endpoint{}, v.Endpoints...),
		FoundBy: append([]fleet.Via{}, v.Via...), Vendor: v.Vendor, Model: v.Model, Firmware: v.Firmware, Serial: v.Serial,
		Device: v.Device, Source: v.Source, DeviceState: v.DeviceState, Reason: v.Reason, Fix: fixes[v.DeviceState], Labels: v.Labels,
		Version: v.Version, Created: v.Created, Enabled: some(v.Enabled), LastFrame: some(v.LastFrame), Mask: maskBriefOf(v.Mask),
	}
	for _, a := range v.Addresses {
		c.Addresses = append(c.Addresses, a.String())
	}
	for _, e := range v.Endpoints {
		if !slices.Contains(c.Protocols, e.Protocol) {
			c.Protocols = append(c.Protocols, e.Protocol)
		}
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	if l := v.Last; l != nil {
		c.LastCapture = &Shot{At: l.At, Outcome: l.Outcome, Cause: l.Cause, Detail: l.Detail}
		if l.Outcome == fleet.Captured {
			c.LastCapture.Fingerprint = fingerprintOf(l.Reading.Fingerprint)
		}
	}
	return c
}

func captureOf(c fleet.Capture, schedule string) Capture {
	out := Capture{
		Occurrence: c.String(), Camera: c.Camera, Schedule: schedule, Nominal: c.Nominal,
		At: c.At, BoundMS: c.Bound.Milliseconds(), Outcome: c.Outcome, Cause: c.Cause, Detail: c.Detail, Agent: c.Agent,
		Protocol: c.Protocol, DelayMS: c.Delay.Milliseconds(), TookMS: c.Took.Milliseconds(), Attempts: int(c.Attempts), Retakes: int(c.Retakes),
	}
	if c.Outcome == fleet.Captured {
		r, q := c.Reading, c.Reading.Quality
		out.Width, out.Height, out.Bytes, out.Codec = int(r.Width), int(r.Height), int64(r.Bytes), r.Codec
		out.SHA256, out.Fingerprint, out.Quality = hex.EncodeToString(r.SHA256[:]), fingerprintOf(r.Fingerprint), &q
		out.Verdict = verdictOf(r.Verdict)
	}
	return out
}

func siteOf(v scheduler.SiteView) Site {
	return Site{ID: v.ID, TZ: v.TZ, Lat: v.Lat, Lon: v.Lon, Burst: v.Burst, Cameras: v.Cameras, Pending: v.Pending, Agents: v.Agents, Created: v.Created}
}

func scheduleOf(v scheduler.ScheduleView) Schedule {
	return Schedule{Spec: v.Spec, ID: v.ID.String(), Revision: v.Revision, Cameras: v.Cameras, Next: some(v.Next)}
}

func pauseOf(v scheduler.Pause) Pause {
	p := Pause{ID: v.ID, Schedule: v.Schedule, Site: v.Site, From: v.From, Until: some(v.Until), By: v.By, Reason: v.Reason}
	if v.Camera != 0 {
		p.Camera = &v.Camera
	}
	return p
}

func jobOf(v scheduler.Job) Job {
	return Job{ID: v.ID, By: v.By, Select: v.Selector, Asked: v.Asked, Deadline: v.Deadline, Books: v.Books, Done: v.Books.InFlight == 0}
}

func loadOf(v scheduler.LoadView) Load {
	l := Load{
		From: v.From, StepMS: v.Step.Milliseconds(), Due: append([]uint32{}, v.Due...), Shaped: append([]uint32{}, v.Shaped...),
		Peak: v.Peak, Delayed: v.Delayed, LongestMS: v.Longest.Milliseconds(),
	}
	for _, n := range v.Due {
		l.Total += uint64(n)
	}
	for _, n := range v.Shaped {
		l.ShapedPeak = max(l.ShapedPeak, n)
	}
	if l.Peak > 0 {
		l.PeakAt = &v.PeakAt
	}
	if s := v.Step.Seconds() * float64(len(v.Due)); s > 0 {
		l.MeanPerS = float64(l.Total) / s
	}
	return l
}

func planOf(p scheduler.Plan, dryRun bool) Plan {
	out := Plan{Changes: []Change{}, Warnings: append([]string{}, p.Warnings...), DryRun: dryRun}
	for _, c := range p.Changes {
		out.Changes = append(out.Changes, Change(c))
	}
	return out
}

func agentOf(v fleet.Agent) Agent {
	return Agent{
		ID: v.ID, Site: v.Site, Hostname: v.Hostname, Version: v.Version, State: v.State, Connected: v.Connected,
		Enrolled: v.Enrolled, Seen: some(v.Seen), Held: v.Held, Pending: v.Pending, Standing: v.Standing,
		Able: AgentAble{
			Codecs: append([]fleet.Codec{}, v.Able.Codecs...), Analyzers: append([]string{}, v.Able.Analyzers...),
			Cores: v.Able.Cores, Tags: append([]string{}, v.Able.Tags...),
			Masks: v.Able.Masks,
		},
		Load: AgentLoad{
			CPU: v.Load.CPU, Pressure: v.Load.Pressure, RSSBytes: v.Load.RSS, AvailableBytes: v.Load.Available,
			Capturing: v.Load.Capturing, Queue: v.Load.Queue, Decoding: v.Load.Decoding, Capacity: v.Load.Capacity,
		},
	}
}

func keyOf(v scheduler.KeyView) Key {
	return Key{
		ID: v.ID, Site: v.Site, Count: v.Count, Used: v.Used, Approve: v.Approve, Revoked: v.Revoked,
		Created: v.Created, Expires: v.Expires,
	}
}

func credentialsOf(v scheduler.CredentialsView) Credentials {
	c := Credentials{ID: v.ID, Site: v.Site, User: v.User, Version: v.Version, Created: v.Created}
	if v.Camera != 0 {
		c.Camera = &v.Camera
	}
	return c
}

func eventOf(e scheduler.Event) Event {
	out := Event{Kind: e.Kind, Agent: e.Agent, Site: e.Site}
	if e.Camera != 0 {
		out.Camera = &e.Camera
	}
	return out
}

// each turns a list from the scheduler into one of the API, never null.
func each[A, B any](in []A, to func(A) B) []B {
	out := make([]B, 0, len(in))
	for _, a := range in {
		out = append(out, to(a))
	}
	return out
}
