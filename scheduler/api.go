package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
)

// Errors that callers branch on; doors turn them into status codes.
var (
	ErrNotFound     = errors.New("not found")
	ErrConflict     = errors.New("changed by somebody else meanwhile: read it again and repeat")
	ErrUnauthorized = errors.New("unknown or revoked token")
)

// InvalidError says that an argument cannot be, which one, and what to do.
type InvalidError struct {
	Field   string // as the API names it
	Problem string
}

// Error returns "field: problem".
func (e *InvalidError) Error() string { return e.Field + ": " + e.Problem }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// The words of CameraView.Status, worst news first.
const (
	StatusRetired          = "retired"
	StatusIgnored          = "ignored"
	StatusQuarantined      = "quarantined"       // its evidence contradicts another device's: an operator decides
	StatusPending          = "pending"           // waits for an operator's approval
	StatusNeedsCredentials = "needs-credentials" // approved, and no login is known
	StatusOffline          = "offline"           // no agent of its site is connected
	StatusMissed           = "missed"
	StatusFailed           = "failed"
	StatusLate             = "late" // captured, but later than lateAfter
	StatusOK               = "ok"
	StatusIdle             = "idle" // approved, and nothing was asked of it yet
)

// lateAfter is the delay from which a capture is shown as late: a person does
// not notice less.
const lateAfter = time.Second

// CameraView is a camera with what operators ask about first.
type CameraView struct {
	fleet.Camera
	Last      *fleet.Capture // nil before the first outcome
	Mask      *MaskBrief     // nil when nothing of it is hidden
	Status    string
	LastFrame fleet.Instant // when its thumbnail was taken; 0 = none
}

// CameraQuery selects cameras; its zero value means all. Answers are ordered
// by id.
type CameraQuery struct {
	Site     fleet.SiteID
	Selector fleet.Selector
	State    fleet.Enrollment
	After    fleet.CameraID // only ids above it: paging
	Limit    int            // 0 = all
}

// NewCamera is a camera taken by hand.
type NewCamera struct {
	Site     fleet.SiteID
	URL      string // http(s), rtsp(s); may hold no credentials
	Name     string
	Labels   map[string]string
	User     string
	Password fleet.Secret
}

// CameraChange changes the fields that are not nil. A nil label removes it.
type CameraChange struct {
	Name      *string
	Labels    map[string]*string
	IfVersion uint64 // 0 = whatever it is
}

// NewMask says what must not be seen of a camera.
type NewMask struct {
	Camera     fleet.CameraID
	Mask       *fleet.Mask // nil or empty: all may be seen
	By         string      // who says so
	IfRevision *uint64     // nil: whatever it is; 0 is that of a camera that never had a mask
}

// MaskView is a camera's mask. The zero Revision is a camera that never had one;
// an empty Mask with a Revision was taken off.
type MaskView struct {
	fleet.Mask
	Camera   fleet.CameraID
	Revision uint64 // rises with each change
	Sum      fleet.MaskSum
	By       string
	At       fleet.Instant
	Agents   []MaskHolder // approved agents of its site, by id; none before the first mask
}

// MaskBrief is what is told of a mask beside its camera.
type MaskBrief struct {
	Revision uint64
	Shapes   int
	Since    fleet.Instant
	Sum      fleet.MaskSum
}

// MaskHolder says how far an agent is with a camera's mask.
type MaskHolder struct {
	Agent fleet.AgentID
	State string
}

// The words of MaskHolder.State.
const (
	MaskHeld     = "held"     // it is on its disk, and all that comes from it is under it
	MaskPending  = "pending"  // it was told, and has not answered yet
	MaskAway     = "away"     // not connected: told before anything else when it comes, and before it shows anything
	MaskOutdated = "outdated" // its build knows no masks: it gets no masked camera
)

// MaskNeeded says which revision of a camera's mask an agent needs for what it
// is ordered.
type MaskNeeded struct {
	Camera   fleet.CameraID
	Revision uint64
}

// SiteView is a site with its counts.
type SiteView struct {
	fleet.Site
	Cameras, Pending, Agents int
}

// SiteChange changes the fields that are not nil.
type SiteChange struct {
	TZ       *string
	Lat, Lon *float64
	Burst    *float64 // captures per second; 0 takes the bound away
}

// ScheduleView is a schedule as it is applied now.
type ScheduleView struct {
	calendar.Spec
	ID       fleet.ScheduleID
	Revision uint64
	Cameras  int           // that it selects
	Next     fleet.Instant // earliest coming occurrence; 0 = none
}

// ApplyOptions say how far ApplySchedules goes.
type ApplyOptions struct {
	Prune  bool // remove schedules that are not listed
	DryRun bool // only plan
}

// Change is one line of a Plan.
type Change struct {
	Name    string
	Action  string // create, change, keep, remove
	Diff    string // for people; empty unless Action is change
	Cameras int    // selected by it
}

// Plan is what an apply did, or would do. Warnings tell what was applied and
// will not do what was wanted.
type Plan struct {
	Changes  []Change
	Warnings []string
}

// Pause is a time during which occurrences are skipped: those of one schedule,
// one camera, one site, what several of them name together, or, with none of
// them, all. Occurrences whose nominal time lies in it and that have not begun
// end as skipped(paused).
type Pause struct {
	ID       string
	Site     fleet.SiteID
	Camera   fleet.CameraID
	Schedule string        // name
	From     fleet.Instant // when it was asked for
	Until    fleet.Instant // 0 = until it is resumed
	By       string        // who asked
	Reason   string
}

// NewPause asks for a pause from now on. For and Until exclude each other; with
// neither it lasts until Resume.
type NewPause struct {
	Site     fleet.SiteID
	Camera   fleet.CameraID
	Schedule string
	Until    fleet.Instant
	By       string
	Reason   string
}

// NewJob asks for a picture of each selected camera now.
type NewJob struct {
	Cameras  []fleet.CameraID // these, or
	Selector string           // those that it matches; "*" = all approved cameras
	Deadline time.Duration    // default 60 s
	Priority fleet.Priority
	By       string
}

// Job is one `capture now`: one occurrence for each camera, in the books like
// any other.
type Job struct {
	ID       string
	By       string
	Selector string
	Asked    fleet.Instant // the nominal time of its occurrences
	Deadline fleet.Instant
	Books    fleet.Books // its own; done when InFlight is 0
}

// JobCamera is what came of one camera's part of a job.
type JobCamera struct {
	Camera  fleet.CameraID
	Capture *fleet.Capture // nil while it is in flight
}

// LoadQuery asks how many captures are due per second.
type LoadQuery struct {
	From   fleet.Instant   // 0 = now
	Window time.Duration   // default 1 h, at most 24 h
	Step   time.Duration   // a bucket's width; default 1 s, at least 1 s, at most 86,400 buckets
	Site   fleet.SiteID    // "" = all
	Specs  []calendar.Spec // as if these were applied beside or instead of those of the same name
}

// LoadView is a histogram of captures per bucket.
type LoadView struct {
	From   fleet.Instant
	Step   time.Duration
	Due    []uint32 // by nominal time
	Shaped []uint32 // as bursts are shaped: when orders would start
	// Delayed and Longest tell what shaping costs: how many start later than
	// their nominal time, and by how much at most.
	Delayed int
	Longest time.Duration
	Peak    uint32        // highest of Due
	PeakAt  fleet.Instant // its bucket
}

// CaptureQuery selects captures, newest first; its zero value means all that
// the hot window holds.
type CaptureQuery struct {
	Camera   fleet.CameraID
	Site     fleet.SiteID
	Schedule string // name
	Outcome  fleet.Outcome
	From     fleet.Instant // nominal times, [From, Until)
	Until    fleet.Instant // 0 = no end
	After    string        // cursor of the page before
	Limit    int           // default 100, at most 1000
}

// NewKey asks for a site key.
type NewKey struct {
	Site    fleet.SiteID
	Count   int // agents that may enrol with it; default 1
	Approve bool
	Expires time.Duration // 0 = 30 days
}

// KeyView is a site key without its secret.
type KeyView struct {
	ID               string
	Site             fleet.SiteID
	Count, Used      int
	Approve, Revoked bool
	Created, Expires fleet.Instant
}

// NewCredentials log in to one camera, or to all of a site.
type NewCredentials struct {
	Site     fleet.SiteID
	Camera   fleet.CameraID // 0 = the whole site
	User     string
	Password fleet.Secret
}

// CredentialsView is credentials without their password.
type CredentialsView struct {
	ID      string
	Site    fleet.SiteID
	Camera  fleet.CameraID
	User    string
	Version uint64
	Created fleet.Instant
}

// BooksReport holds the books in total, by site and by shard.
type BooksReport struct {
	Total  fleet.Books
	Sites  map[fleet.SiteID]fleet.Books
	Shards map[int]fleet.Books // by ShardOf the site; those without sites are left out
}

// MatchOptions bound a search.
type MatchOptions struct {
	Radius int // PDQ bits that may differ; default 31, at most 128
	Limit  int // default 100
}

// Match is a stored frame that looks like the one asked for.
type Match struct {
	Occurrence fleet.Occurrence
	Camera     fleet.CameraID
	At         fleet.Instant
	Distance   int
}

// AuditReport compares what the calendar says should exist with the rows that
// do. All is well when MissingOutcome and Unexpected are 0.
type AuditReport struct {
	Expected       int // occurrences that the spans and calendar.Next yield
	Stored         int // outcome rows found
	InFlight       int // expected, with an order and no outcome yet
	MissingOutcome int // expected, and neither an outcome nor an order
	Unexpected     int // outcomes nobody asked for
	Examples       []string
}

// Unaccounted is the number that must be 0 once nothing is in flight.
func (r AuditReport) Unaccounted() int { return r.MissingOutcome + r.InFlight + r.Unexpected }

// Event tells that something changed; who wants to know more asks.
type Event struct {
	Kind   string // camera, capture, thumbnail, agent, schedule, job, books, resync
	Camera fleet.CameraID
	Agent  fleet.AgentID
	Site   fleet.SiteID
}

// Roles, weakest first. Each may do what those before it may.
const (
	RoleViewer   = "viewer"
	RoleOperator = "operator"
	RoleAdmin    = "admin"
)

// Principal is who a token belongs to.
type Principal struct {
	Name string
	Role string
}
