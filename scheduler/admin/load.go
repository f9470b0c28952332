package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

const (
	// maxLoadWindow and minLoadStep are the scheduler's bounds.
	maxLoadWindow = 24 * time.Hour
	minLoadStep   = time.Second

	// loadTime bounds one computation: a day of a million cameras on a minute's
	// interval is 1.4 thousand million occurrences.
	loadTime = 2 * time.Minute
)

// LoadRange says of when and where the load is. (It is exported for huma, which
// reads no other embedded fields.)
type LoadRange struct {
	Window string `query:"window" maxLength:"40" doc:"how far to look, for example 1h (default) or 12h; at most 24h" example:"1h"`
	Step   string `query:"step" maxLength:"40" doc:"width of one bucket, for example 1s (default) or 1m" example:"1s"`
	Site   string `query:"site" maxLength:"100" doc:"of this site only"`
	From   string `query:"from" format:"date-time" doc:"where to begin; default now"`
}

type loadFileInput struct {
	LoadRange
	ContentType string `header:"Content-Type" hidden:"true"`
	RawBody     []byte `contentType:"application/yaml"`
}

func (a *Server) registerLoad() {
	register(a, operation(scheduler.RoleViewer, "show-load", http.MethodGet, "/load", "schedules", "Show how many captures are due when"),
		func(ctx context.Context, in *LoadRange) (*output[Load], error) { return a.load(ctx, *in, nil) })

	op := operation(scheduler.RoleViewer, "preview-load", http.MethodPost, "/load", "schedules", "Show the load as if a schedules file were applied")
	op.Description += " Schedules of the file stand instead of those of the same name, beside all others. Nothing is changed."
	a.takesSchedules(&op)
	register(a, op, func(ctx context.Context, in *loadFileInput) (*output[Load], error) {
		specs, err := readSchedules(in.ContentType, in.RawBody)
		if err != nil {
			return nil, err
		}
		return a.load(ctx, in.LoadRange, specs)
	})
}

func (a *Server) load(ctx context.Context, in LoadRange, specs []calendar.Spec) (*output[Load], error) {
	q, err := in.query(specs)
	if err != nil {
		return nil, err
	}
	if q.Site != "" {
		if err := a.siteExists(ctx, q.Site); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, loadTime)
	defer cancel()
	v, err := a.countLoad(ctx, q)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, huma.Error504GatewayTimeout("counting took too long: ask for a shorter window, or for one site")
	}
	return outputOf(loadOf(v)), err
}

// countLoad asks for loads one at a time: counting a large fleet takes a core for
// seconds, and readers must not take them all from what fires orders.
func (a *Server) countLoad(ctx context.Context, q scheduler.LoadQuery) (scheduler.LoadView, error) {
	select {
	case a.counting <- struct{}{}:
		defer func() { <-a.counting }()
		return a.s.Load(ctx, q)
	case <-ctx.Done():
		return scheduler.LoadView{}, ctx.Err()
	}
}

func (in LoadRange) query(specs []calendar.Spec) (q scheduler.LoadQuery, err error) {
	q = scheduler.LoadQuery{Window: time.Hour, Step: time.Second, Site: fleet.SiteID(in.Site), Specs: specs}
	for _, f := range []struct {
		name, text  string
		into        *time.Duration
		least, most time.Duration
	}{
		{"window", in.Window, &q.Window, minLoadStep, maxLoadWindow},
		{"step", in.Step, &q.Step, minLoadStep, maxLoadWindow},
	} {
		if f.text == "" {
			continue
		}
		d, err := calendar.ParseDuration(f.text)
		if err != nil {
			return q, invalid(f.name, "%v", err)
		}
		if *f.into = time.Duration(d); *f.into < f.least || *f.into > f.most {
			return q, invalid(f.name, "%s: want %s to %s", f.text, calendar.Duration(f.least), calendar.Duration(f.most))
		}
	}
	if q.Step > q.Window {
		return q, invalid("step", "%s is longer than the window of %s", calendar.Duration(q.Step), calendar.Duration(q.Window))
	}
	q.From, err = instantOf("from", in.From)
	return q, err
}
