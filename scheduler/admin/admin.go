// Package admin is the operators' door to a scheduler: a REST API described by
// OpenAPI 3.1, events by server-sent events, and pages rendered on the server
// that work without JavaScript, all but their live parts.
//
//	browser ── session cookie ──┐                       ┌─► pages (/, /cameras/…, /schedules, /agents)
//	                            ├─► who? ─► may they? ──┤
//	program ── bearer token ────┘                       └─► /api/v1 ─► Scheduler
//
// A browser gets its session from a one-time link (OneTimeLogin) or by pasting
// a token at /login. No answer of this package ever holds a secret, but for the
// one that creates a site key.
package admin

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// Scheduler is what admin asks of the scheduler: the sum of what its pages and
// operations need, each declared by itself below.
type Scheduler interface {
	CameraKeeper
	MaskKeeper
	IdentityKeeper
	SiteKeeper
	ScheduleKeeper
	Pauser
	JobKeeper
	LoadReader
	CaptureReader
	AgentKeeper
	CredentialKeeper
	Watcher
	Commander
	Authenticator
}

// CameraKeeper lists and changes cameras.
type CameraKeeper interface {
	Cameras(context.Context, scheduler.CameraQuery) ([]scheduler.CameraView, error)
	Camera(context.Context, fleet.CameraID) (scheduler.CameraView, error)
	AddCamera(context.Context, scheduler.NewCamera) (scheduler.CameraView, error)
	SetCamera(context.Context, fleet.CameraID, scheduler.CameraChange) (scheduler.CameraView, error)
	Enrol(context.Context, []fleet.CameraID, fleet.Enrollment) ([]scheduler.CameraView, error)
	Thumbnail(context.Context, fleet.CameraID) (jpeg []byte, at fleet.Instant, err error)
}

// SiteKeeper lists and changes sites.
type SiteKeeper interface {
	Sites(context.Context) ([]scheduler.SiteView, error)
	SetSite(context.Context, fleet.SiteID, scheduler.SiteChange) (scheduler.SiteView, error)
	Rules(context.Context) (map[string]string, error)
	SetRules(context.Context, map[string]string) error
}

// ScheduleKeeper lists and applies schedules.
type ScheduleKeeper interface {
	Schedules(context.Context) ([]scheduler.ScheduleView, error)
	ApplySchedules(context.Context, []calendar.Spec, scheduler.ApplyOptions) (scheduler.Plan, error)
	ScheduleName(fleet.ScheduleID) string
}

// Pauser pauses and resumes.
type Pauser interface {
	Pause(context.Context, scheduler.NewPause) (scheduler.Pause, error)
	Resume(ctx context.Context, id string) error
	Pauses(context.Context) ([]scheduler.Pause, error)
}

// JobKeeper photographs beside the schedules, and keeps what came of it.
type JobKeeper interface {
	CaptureNow(context.Context, scheduler.NewJob) (scheduler.Job, error)
	Jobs(context.Context) ([]scheduler.Job, error)
	Job(ctx context.Context, id string, after fleet.CameraID, limit int) (scheduler.Job, []scheduler.JobCamera, error)
}

// LoadReader counts what is due when.
type LoadReader interface {
	Load(context.Context, scheduler.LoadQuery) (scheduler.LoadView, error)
}

// CaptureReader reads what came of occurrences.
type CaptureReader interface {
	Captures(context.Context, scheduler.CaptureQuery) (page []fleet.Capture, next string, err error)
	Match(context.Context, fleet.Fingerprint, scheduler.MatchOptions) ([]scheduler.Match, error)
	Books(context.Context) (scheduler.BooksReport, error)
	Audit(ctx context.Context, from, until fleet.Instant) (scheduler.AuditReport, error)
}

// AgentKeeper lists and revokes agents and the keys they join with.
type AgentKeeper interface {
	Agents(context.Context) ([]fleet.Agent, error)
	ApproveAgent(context.Context, fleet.AgentID) error
	RevokeAgent(context.Context, fleet.AgentID) error
	CreateKey(context.Context, scheduler.NewKey) (scheduler.KeyView, fleet.Secret, error)
	Keys(context.Context) ([]scheduler.KeyView, error)
	RevokeKey(ctx context.Context, id string) error
}

// CredentialKeeper stores logins of cameras and shows all but their passwords.
type CredentialKeeper interface {
	PutCredentials(context.Context, scheduler.NewCredentials) (scheduler.CredentialsView, error)
	Credentials(context.Context) ([]scheduler.CredentialsView, error)
}

// Watcher tells what changes until ctx ends.
type Watcher interface {
	Subscribe(context.Context) <-chan scheduler.Event
}

// Authenticator knows whose a token is.
type Authenticator interface {
	Authenticate(context.Context, fleet.Secret) (scheduler.Principal, error)
}

// Reader computes the fingerprint of an uploaded picture.
type Reader interface {
	Read(context.Context, fleet.Frame) (fleet.Reading, error)
}

// Faults switches faults of virtual cameras. It exists in `shutterfleet dev`.
type Faults interface {
	List() []VirtualCamera
	Set(camera, fault string, on bool) error
}

// VirtualCamera is one camera whose faults can be switched.
type VirtualCamera struct {
	Name   string
	Faults []string // that it knows, in the order to show
	On     []string // that are on now
}

// Options configure a Server.
type Options struct {
	Log           *slog.Logger  // default slog.Default()
	Version       string        // of the program, shown on pages and in the API; default "unknown"
	SecureCookies bool          // the browser speaks TLS: cookies are sent over TLS only
	Reader        Reader        // fingerprints of uploaded pictures; nil refuses them, saying so
	Faults        Faults        // nil hides the panel of virtual cameras
	SessionFor    time.Duration // life of a browser's session; default 12h
	Heartbeat     time.Duration // between comments on an idle event stream; default 15s
	Now           func() time.Time
}

// Server answers operators. It has no goroutines of its own: an event stream
// lives as long as its request.
type Server struct {
	s     Scheduler
	o     Options
	log   *slog.Logger
	doors *doors
	once  *once
	pages *pages
	spec  []byte // OpenAPI document
	api   huma.API
	mux   *http.ServeMux

	counting chan struct{} // holds one: who counts a load
}

// New returns a Server for s.
func New(s Scheduler, o Options) *Server {
	o.Version = cmp.Or(o.Version, "unknown")
	o.SessionFor = cmp.Or(o.SessionFor, 12*time.Hour)
	o.Heartbeat = cmp.Or(o.Heartbeat, 15*time.Second)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &Server{s: s, o: o, log: o.Log, mux: http.NewServeMux(), counting: make(chan struct{}, 1)}
	a.doors = newDoors(s, o)
	a.once = newOnce(o.Now)
	a.pages = newPages()
	a.registerAPI()
	a.registerPages()
	return a
}

// Handler returns the whole door: pages, API, event stream and login.
func (a *Server) Handler() http.Handler {
	return secured(a.doors.identified(a.mux))
}

// OneTimeLogin returns a path such as /login?code=… that logs one browser in
// as admin, once, within ten minutes.
func (a *Server) OneTimeLogin() string { return a.doors.oneTimeLogin() }

// problem is the one table from errors to status codes.
func problem(err error) (status int, detail string) {
	if inv, ok := errors.AsType[*scheduler.InvalidError](err); ok {
		return http.StatusUnprocessableEntity, inv.Error()
	}
	if ce, ok := errors.AsType[*scheduler.CommandError](err); ok {
		return http.StatusBadGateway, ce.Error()
	}
	if p, ok := errors.AsType[*huma.ErrorModel](err); ok {
		return p.Status, p.Detail
	}
	if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return http.StatusRequestEntityTooLarge, big.Error()
	}
	switch {
	case errors.Is(err, scheduler.ErrNotFound):
		return http.StatusNotFound, err.Error()
	case errors.Is(err, scheduler.ErrConflict):
		return http.StatusConflict, err.Error()
	case errors.Is(err, scheduler.ErrUnauthorized):
		return http.StatusUnauthorized, err.Error()
	case errors.Is(err, scheduler.ErrNoAgent):
		return http.StatusServiceUnavailable, err.Error()
	case errors.Is(err, scheduler.ErrTooMany):
		return http.StatusTooManyRequests, err.Error()
	case errors.Is(err, scheduler.ErrLineLost):
		return http.StatusBadGateway, err.Error()
	case errors.Is(err, scheduler.ErrNoAnswer):
		return http.StatusGatewayTimeout, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return http.StatusGatewayTimeout, "the scheduler did not answer in time: try again"
	case errors.Is(err, context.Canceled):
		return 499, "the request was given up" // nginx's word for it; nobody reads it
	}
	return http.StatusInternalServerError, "the scheduler failed; its log says why"
}
