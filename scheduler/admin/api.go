package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

const apiBase = "/api/v1"

// bodyTime bounds how long a request's body may take to arrive.
const bodyTime = 30 * time.Second

// roleKey is where an operation's metadata says who may call it.
const roleKey = "role"

func (a *Server) registerAPI() {
	c := huma.DefaultConfig("Shutterfleet", a.o.Version)
	c.CreateHooks = nil // no $schema key in answers
	c.OpenAPIPath = ""  // served below, made once
	c.DocsPath = ""     // its page loads scripts from elsewhere
	c.SchemasPath = ""  // all are in the one document
	c.Transformers = append(c.Transformers, withoutValues)
	c.Info.Description = "A fleet of cameras: found, photographed on time, fingerprinted, accounted for."
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "A token with the role viewer, operator or admin. The first lies in admin.token of the scheduler's data directory."},
	}
	c.Security = []map[string][]string{{"bearer": {}}}
	a.api = humago.New(a.mux, c)
	a.api.UseMiddleware(a.guard)

	a.registerCameras()
	a.registerConflicts()
	a.registerSchedules()
	a.registerPauses()
	a.registerJobs()
	a.registerLoad()
	a.registerCaptures()
	a.registerAgents()
	a.registerEvents()
	a.registerCommands()
	a.registerVerdicts()
	a.registerMasks()

	spec, err := a.api.OpenAPI().MarshalJSON()
	if err != nil {
		// The document is built from the types above: a test reads it.
		panic(fmt.Sprintf("admin: OpenAPI document: %v", err))
	}
	a.spec = spec
	a.mux.HandleFunc("GET /api/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(a.spec) // the reader went away
	})
	a.mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusNotFound, "no such path: /api/openapi.json lists all there are")
	})
}

// withoutValues takes what the caller sent out of a problem: a misspelled body
// may hold a password, and an answer must not.
func withoutValues(_ huma.Context, _ string, v any) (any, error) {
	if p, ok := v.(*huma.ErrorModel); ok {
		for _, e := range p.Errors {
			e.Value = nil
		}
	}
	return v, nil
}

// guard lets in who has the operation's role.
func (a *Server) guard(ctx huma.Context, next func(huma.Context)) {
	role, _ := ctx.Operation().Metadata[roleKey].(string)
	status, detail, ok := visitorOf(ctx.Context()).may(role)
	if ok {
		next(ctx)
		return
	}
	if status == http.StatusUnauthorized {
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="shutterfleet"`)
	}
	_ = huma.WriteErr(a.api, ctx, status, detail) // it says so itself when nobody is left to tell
}

// operation describes one operation of the API. Its id is what generated
// clients call it.
func operation(role, id, method, path, tag, summary string) huma.Operation {
	return huma.Operation{
		OperationID: id, Method: method, Path: apiBase + path, Tags: []string{tag}, Summary: summary,
		Description:     "Needs the role " + role + ".",
		Metadata:        map[string]any{roleKey: role},
		BodyReadTimeout: bodyTime,
	}
}

// register adds an operation whose errors go through the one table.
func register[I, O any](a *Server, op huma.Operation, do func(context.Context, *I) (*O, error)) {
	op.Errors = append(op.Errors, http.StatusUnauthorized, http.StatusForbidden, http.StatusInternalServerError)
	huma.Register(a.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err == nil {
			return out, nil
		}
		return nil, a.problem(ctx, op.OperationID, err)
	})
}

func (a *Server) problem(ctx context.Context, operation string, err error) error {
	if se, ok := err.(huma.StatusError); ok { //nolint:errorlint // only one made here, not one wrapped
		return se
	}
	status, detail := problem(err)
	if status == http.StatusInternalServerError {
		a.log.ErrorContext(ctx, "operation failed", "operation", operation, "err", err)
	}
	if inv, ok := errors.AsType[*scheduler.InvalidError](err); ok {
		return huma.NewError(status, inv.Error(), &huma.ErrorDetail{Location: inv.Field, Message: inv.Problem})
	}
	return huma.NewError(status, detail)
}

// List is one page of a list.
type List[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page; absent on the last one"`
}

type listOutput[T any] struct {
	Link string `header:"Link" doc:"the next page, as RFC 8288 has it"`
	Body List[T]
}

func listOf[T any](items []T) *listOutput[T] { return &listOutput[T]{Body: List[T]{Items: items}} }

type output[T any] struct{ Body T }

func outputOf[T any](v T) *output[T] { return &output[T]{v} }

func invalid(field, format string, args ...any) error {
	return &scheduler.InvalidError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

func cameraID(field, s string) (fleet.CameraID, error) {
	id, err := fleet.ParseCameraID(s)
	if err != nil {
		return 0, invalid(field, "%v", err)
	}
	return id, nil
}

// instantOf reads an optional time.
func instantOf(field, s string) (i fleet.Instant, err error) {
	if s == "" {
		return 0, nil
	}
	if err := i.UnmarshalText([]byte(s)); err != nil {
		return 0, invalid(field, "%v", err)
	}
	return i, nil
}

// ifMatch reads an If-Match header: 0 stands for "whatever it is".
func ifMatch(h string) (uint64, error) {
	h = strings.TrimSpace(h)
	if h == "" || h == "*" {
		return 0, nil
	}
	v, err := strconv.ParseUint(strings.Trim(h, `"`), 10, 64)
	if err != nil || v == 0 || len(h) < 3 || h[0] != '"' || h[len(h)-1] != '"' {
		return 0, huma.Error400BadRequest(`If-Match: want the one ETag as it was read, for example "7"`)
	}
	return v, nil
}

func etag(version uint64) string { return `"` + strconv.FormatUint(version, 10) + `"` }
