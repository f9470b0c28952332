package store

import (
	"encoding/json"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Flight is an order that has no outcome yet.
type Flight struct {
	fleet.Order
	Agent fleet.AgentID // who may hold it; empty while it has not left
}

// Span is a time during which a task was enabled. The books are checked
// against spans: calendar.Next over each says which occurrences should exist.
type Span struct {
	Camera   fleet.CameraID
	Schedule fleet.ScheduleID
	Revision uint64
	From     fleet.Instant // first nominal time that counts
	Until    fleet.Instant // last nominal time that counts; 0 = still enabled
	Enabled  fleet.Instant // the camera's approval: what `once: approval` means
	Place    string        // JSON of the calendar.Place it was computed with
}

// Schedule is one revision of a schedule.
type Schedule struct {
	ID       fleet.ScheduleID
	Name     string
	Revision uint64
	Spec     json.RawMessage
	Applied  fleet.Instant
	Removed  fleet.Instant // 0 = in force; older revisions are removed too
}

// Key is a site key. Hash is the SHA-256 of its secret.
type Key struct {
	ID      string
	Site    fleet.SiteID
	Hash    []byte
	Count   int
	Used    int
	Approve bool
	Revoked bool
	Created fleet.Instant
	Expires fleet.Instant
}

// Token is an operator's bearer token. Hash is the SHA-256 of it.
type Token struct {
	Name, Role string
	Hash       []byte
	Created    fleet.Instant
}

// Credentials log in to a camera or to all of a site. The password is sealed.
type Credentials struct {
	ID      string
	Site    fleet.SiteID
	Camera  fleet.CameraID
	User    string
	Sealed  []byte
	Version uint64
	Created fleet.Instant
}

// Rule approves the cameras that its selector matches.
type Rule struct {
	Name   string
	Select string
}

// Pause is a stored pause. Body is the scheduler's.
type Pause struct {
	ID   string
	Body json.RawMessage
}

// Dispute is what is known of one device's conflict, and decided about it. Body
// is the scheduler's; nil forgets it.
type Dispute struct {
	ID   string
	Body json.RawMessage
}

// Job is a stored job. Body is the scheduler's; Cameras are eight bytes each.
type Job struct {
	ID      string
	Asked   fleet.Instant
	Body    json.RawMessage
	Cameras []byte // nil in State
}

// Mark says what becomes of a mark that outlives a restart.
type Mark int8

// The values of a Mark.
const (
	Unchanged Mark = iota
	Wanted
	Done
)

// Batch is a set of changes that become durable together.
type Batch struct {
	Captures []fleet.Capture    // outcomes; their orders are in flight no more
	Issue    []Flight           // new orders
	Drop     []fleet.Occurrence // orders taken back
	Assign   []Flight           // orders that now belong to another agent
	Through  fleet.Instant      // the issue clock; 0 = unchanged
	Repeats  map[fleet.SiteID]uint64

	OpenSpans   []Span
	CloseSpans  []Span // with Until set
	Cameras     []fleet.Camera
	Sites       []fleet.Site
	Agents      []fleet.Agent
	Schedules   []Schedule
	Keys        []Key
	Tokens      []Token
	Credentials []Credentials
	Rules       *[]Rule // replaces all rules
	Pauses      []Pause
	Resume      []string // ids of pauses that are over
	Disputes    []Dispute
	Jobs        []Job
	Masks       []Mask
	Reconcile   Mark // tasks may differ from what schedules say
}

// rest reports whether there is anything beside captures.
func (b *Batch) rest() bool {
	return b.Through != 0 || len(b.Issue)+len(b.Drop)+len(b.Assign)+len(b.Repeats)+len(b.OpenSpans)+len(b.CloseSpans)+len(b.Cameras)+len(b.Sites)+
		len(b.Agents)+len(b.Schedules)+len(b.Keys)+len(b.Tokens)+len(b.Credentials)+len(b.Pauses)+len(b.Resume)+len(b.Disputes)+len(b.Jobs)+len(b.Masks) > 0 || b.Rules != nil || b.Reconcile != Unchanged
}

// State is what Open found, but for what is large: EachCamera, EachSpan and
// Replay read that.
type State struct {
	Through     fleet.Instant
	Epoch       uint64 // grows by one with each Open: the fence of a lone scheduler
	Sites       []fleet.Site
	Agents      []fleet.Agent
	Schedules   []Schedule // all revisions
	Keys        []Key
	Tokens      []Token
	Credentials []Credentials
	Rules       []Rule
	Pauses      []Pause
	Disputes    []Dispute
	Jobs        []Job // newest first, at most a thousand
	Masks       []Mask
	Reconcile   bool
}
