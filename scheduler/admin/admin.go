// Package admin is the operators' door: a REST API with its OpenAPI 3.1
// description, events, and the web pages.
//
//	/api/v1/…            REST; bearer token, or the page's session
//	/api/openapi.json    what it offers
//	/events              what changes, as server-sent events
//	/                    the pages: gallery, camera, schedules, agents
//
// Errors are RFC 9457 problems. What a role may do is in one table, at the
// routes.
package admin

import (
	"context"
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// Scheduler is what the door leads to.
type Scheduler interface {
	Cameras(context.Context, scheduler.CameraQuery) ([]scheduler.CameraView, error)
	Camera(context.Context, fleet.CameraID) (scheduler.CameraView, error)
	AddCamera(context.Context, scheduler.NewCamera) (scheduler.CameraView, error)
	SetCamera(context.Context, fleet.CameraID, scheduler.CameraChange) (scheduler.CameraView, error)
	EnrolCameras(context.Context, []fleet.CameraID, fleet.Enrollment) ([]scheduler.CameraView, error)
	Rules(context.Context) (map[string]string, error)
	SetRules(context.Context, map[string]string) error
	Sites(context.Context) ([]scheduler.SiteView, error)
	SetSite(context.Context, fleet.SiteID, scheduler.SiteChange) (scheduler.SiteView, error)
	Schedules(context.Context) ([]scheduler.ScheduleView, error)
	ApplySchedules(context.Context, []calendar.Spec, scheduler.ApplyOptions) (scheduler.Plan, error)
	ScheduleName(fleet.ScheduleID) string
	Captures(context.Context, scheduler.CaptureQuery) ([]fleet.Capture, string, error)
	Agents(context.Context) ([]fleet.Agent, error)
	ApproveAgent(context.Context, fleet.AgentID) error
	RevokeAgent(context.Context, fleet.AgentID) error
	CreateKey(context.Context, scheduler.NewKey) (scheduler.KeyView, fleet.Secret, error)
	Keys(context.Context) ([]scheduler.KeyView, error)
	RevokeKey(context.Context, string) error
	PutCredentials(context.Context, scheduler.NewCredentials) (scheduler.CredentialsView, error)
	Credentials(context.Context) ([]scheduler.CredentialsView, error)
	Books(context.Context) (scheduler.BooksReport, error)
	Audit(ctx context.Context, from, until fleet.Instant) (scheduler.AuditReport, error)
	Thumbnail(context.Context, fleet.CameraID) ([]byte, fleet.Instant, error)
	Match(context.Context, fleet.Fingerprint, scheduler.MatchOptions) ([]scheduler.Match, error)
	Subscribe(context.Context) <-chan scheduler.Event
	Authenticate(context.Context, fleet.Secret) (scheduler.Principal, error)
}

// Reader computes the fingerprint of an image that is searched for.
type Reader interface {
	Read(context.Context, fleet.Frame) (fleet.Reading, error)
}

// Faults are switches of virtual cameras; only `dev` has them.
type Faults interface {
	Kinds() []string
	Set(camera, kind string, on bool) error
	Active() map[string][]string // by camera name
}

// Options configure a Server.
type Options struct {
	Reader  Reader // nil: images cannot be searched for
	Faults  Faults // nil: there are none
	Version string
	Log     *slog.Logger // default: none
}

// Server is the operators' door.
type Server struct {
	sched    Scheduler
	opts     Options
	log      *slog.Logger
	sessions sessions
	mux      *http.ServeMux
}

//go:embed assets templates
var files embed.FS

// New returns a server.
func New(s Scheduler, o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &Server{sched: s, opts: o, log: o.Log, mux: http.NewServeMux()}
	conf := huma.DefaultConfig("Shutterfleet", o.Version)
	conf.OpenAPIPath, conf.DocsPath, conf.SchemasPath = "/api/openapi", "", "/api/schemas"
	conf.Info.Description = "Cameras, schedules, captures and the books of one centre. Times are RFC 3339; lists are pages with a cursor `next`."
	conf.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	conf.Security = []map[string][]string{{"token": {}}}
	conf.CreateHooks = nil // answers carry no $schema field
	api := humago.New(a.mux, conf)
	a.routes(api)
	a.pages()
	assets, err := fs.Sub(files, "assets")
	if err != nil {
		panic(err) // the folder is embedded above
	}
	a.mux.Handle("GET /assets/", http.StripPrefix("/assets/", cached(http.FileServerFS(assets))))
	return a
}

// Handler returns the whole door.
func (a *Server) Handler() http.Handler { return a.guard(a.mux) }

func cached(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=300")
		h.ServeHTTP(w, r)
	})
}

// problem turns an error into an RFC 9457 answer: the one table of this door.
func (a *Server) problem(err error) error {
	if err == nil {
		return nil
	}
	if inv, ok := errors.AsType[*scheduler.InvalidError](err); ok {
		return huma.Error422UnprocessableEntity(inv.Error(), &huma.ErrorDetail{Location: inv.Field, Message: inv.Problem})
	}
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return huma.Error422UnprocessableEntity(ce.Error())
	}
	switch {
	case errors.Is(err, scheduler.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, scheduler.ErrConflict):
		return huma.Error412PreconditionFailed(err.Error())
	case errors.Is(err, scheduler.ErrUnauthorized):
		return huma.Error401Unauthorized(err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return huma.Error503ServiceUnavailable("the request ended before it was done")
	}
	a.log.Error("request failed", "err", err)
	return huma.Error500InternalServerError("the scheduler could not do it: its log says why")
}
