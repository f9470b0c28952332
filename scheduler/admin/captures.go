package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

const (
	// maxImageBytes is the limit of one frame on its way from a camera.
	maxImageBytes = 16 << 20

	// auditTime bounds an audit: it reads every row of its span.
	auditTime = 2 * time.Minute
)

type listCapturesInput struct {
	Camera   string `query:"camera"`
	Site     string `query:"site"`
	Schedule string `query:"schedule" doc:"by name"`
	Outcome  string `query:"outcome" enum:"captured,failed,missed,skipped"`
	From     string `query:"from" doc:"nominal time, included; RFC 3339" format:"date-time"`
	Until    string `query:"until" doc:"nominal time, excluded; RFC 3339" format:"date-time"`
	After    string `query:"after" doc:"cursor: the next of the page before"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}

type matchInput struct {
	Radius      int    `query:"radius" minimum:"0" maximum:"128" doc:"PDQ bits that may differ; default 31"`
	Limit       int    `query:"limit" minimum:"0" maximum:"1000" doc:"default 100"`
	ContentType string `header:"Content-Type" hidden:"true"`
	RawBody     []byte `contentType:"image/jpeg"`
}

type auditInput struct {
	From  string `query:"from" required:"true" format:"date-time" doc:"nominal time, included"`
	Until string `query:"until" format:"date-time" doc:"nominal time, excluded; default now"`
}

func (a *Server) registerCaptures() {
	register(a, operation(scheduler.RoleViewer, "list-captures", http.MethodGet, "/captures", "captures", "List captures, newest first"), a.listCaptures)

	register(a, operation(scheduler.RoleViewer, "show-books", http.MethodGet, "/books", "books", "Show the books"),
		func(ctx context.Context, _ *struct{}) (*output[AllBooks], error) {
			b, err := a.s.Books(ctx)
			if b.Sites == nil {
				b.Sites = map[fleet.SiteID]fleet.Books{}
			}
			return outputOf(AllBooks{Books: b.Total, Balanced: b.Total.Balanced(), Sites: b.Sites}), err
		})

	op := operation(scheduler.RoleViewer, "match", http.MethodPost, "/match", "captures", "Find stored frames that look like a picture")
	op.Description += " The body is a picture (JPEG, PNG or PGM), or JSON with its pdq."
	op.MaxBodyBytes = maxImageBytes
	op.SkipValidateBody = true // a picture, or less of a fingerprint than captures have
	binary := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"image/jpeg": binary, "image/png": binary, "image/x-portable-graymap": binary,
		"application/json": {Schema: a.api.OpenAPI().Components.Schemas.Schema(typeOf[Fingerprint](), true, "Fingerprint")},
	}}
	op.Errors = []int{http.StatusNotImplemented}
	register(a, op, a.match)

	register(a, operation(scheduler.RoleViewer, "audit", http.MethodGet, "/audit", "books", "Compare the calendar with the stored outcomes"), a.audit)
}

func (a *Server) listCaptures(ctx context.Context, in *listCapturesInput) (*listOutput[Capture], error) {
	q := scheduler.CaptureQuery{Site: fleet.SiteID(in.Site), Schedule: in.Schedule, After: in.After, Limit: in.Limit}
	var err error
	if in.Camera != "" {
		if q.Camera, err = cameraID("camera", in.Camera); err != nil {
			return nil, err
		}
		// An unknown camera is a mistake, not a camera without captures.
		if _, err := a.camera(ctx, q.Camera); err != nil {
			return nil, err
		}
	}
	if in.Outcome != "" {
		if err := q.Outcome.UnmarshalText([]byte(in.Outcome)); err != nil {
			return nil, invalid("outcome", "%v", err)
		}
	}
	if q.From, err = instantOf("from", in.From); err != nil {
		return nil, err
	}
	if q.Until, err = instantOf("until", in.Until); err != nil {
		return nil, err
	}
	page, next, err := a.s.Captures(ctx, q)
	if err != nil {
		return nil, err
	}
	out := listOf(each(page, a.capture))
	out.Body.Next = next
	if next != "" {
		out.Link = nextLink("/captures", "camera", in.Camera, "site", in.Site, "schedule", in.Schedule, "outcome", in.Outcome,
			"from", in.From, "until", in.Until, "limit", fmt.Sprint(in.Limit), "after", next)
	}
	return out, nil
}

func (a *Server) capture(c fleet.Capture) Capture { return captureOf(c, a.scheduleName(c.Schedule)) }

// scheduleName returns a schedule's name, or its id when it is gone.
func (a *Server) scheduleName(id fleet.ScheduleID) string {
	if n := a.s.ScheduleName(id); n != "" {
		return n
	}
	return id.String()
}

func (a *Server) match(ctx context.Context, in *matchInput) (*listOutput[Match], error) {
	f, err := a.fingerprint(ctx, in)
	if err != nil {
		return nil, err
	}
	found, err := a.s.Match(ctx, f, scheduler.MatchOptions{Radius: in.Radius, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	return listOf(each(found, func(m scheduler.Match) Match {
		return Match{Occurrence: m.Occurrence.String(), Camera: m.Camera, At: m.At, Distance: m.Distance}
	})), nil
}

// fingerprint reads a request's fingerprint, or makes it from its picture.
func (a *Server) fingerprint(ctx context.Context, in *matchInput) (f fleet.Fingerprint, err error) {
	if strings.HasPrefix(in.ContentType, "application/json") {
		if err := json.Unmarshal(in.RawBody, &f); err != nil {
			return f, invalid("pdq", "%v", err)
		}
		if f.PDQ == (fleet.PDQ{}) {
			return f, invalid("pdq", "is missing: want 64 hex digits, or send the picture itself")
		}
		return f, nil
	}
	codec, ok := codecOf(in.RawBody)
	if !ok {
		return f, invalid("body", "no picture that can be matched: want JPEG, PNG or PGM")
	}
	if a.o.Reader == nil {
		return f, huma.Error501NotImplemented("this scheduler reads no pictures: send the fingerprint that `shutterfleet fingerprint` prints")
	}
	r, err := a.o.Reader.Read(ctx, fleet.Frame{Data: in.RawBody, Codec: codec, At: a.o.Now()})
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return f, invalid("body", "%s: %v", ce.Cause, ce)
	}
	return r.Fingerprint, err
}

// codecOf tells a picture's codec by its first bytes; a name can be wrong.
func codecOf(b []byte) (fleet.Codec, bool) {
	switch {
	case bytes.HasPrefix(b, []byte{0xff, 0xd8, 0xff}):
		return fleet.JPEG, true
	case bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")):
		return fleet.PNG, true
	case bytes.HasPrefix(b, []byte("P5")):
		return fleet.PGM, true
	}
	return "", false
}

func (a *Server) audit(ctx context.Context, in *auditInput) (*output[Audit], error) {
	from, err := instantOf("from", in.From)
	if err != nil {
		return nil, err
	}
	until, err := instantOf("until", in.Until)
	if err != nil {
		return nil, err
	}
	if until == 0 {
		until = fleet.At(a.o.Now())
	}
	ctx, cancel := context.WithTimeout(ctx, auditTime)
	defer cancel()
	r, err := a.s.Audit(ctx, from, until)
	return outputOf(Audit{
		From: from, Until: until, Expected: r.Expected, Stored: r.Stored, InFlight: r.InFlight,
		MissingOutcome: r.MissingOutcome, Unexpected: r.Unexpected, Unaccounted: r.Unaccounted(),
		Examples: each(r.Examples, func(s string) string { return s }),
	}), err
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }
