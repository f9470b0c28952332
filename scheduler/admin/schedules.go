package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// maxSchedulesBytes is what ParseSchedules takes, and some for JSON's escapes.
const maxSchedulesBytes = 8 << 20

type setSiteInput struct {
	ID     string `path:"id" minLength:"1" maxLength:"100"`
	DryRun bool   `query:"dry_run" doc:"only say what the site would be"`
	Body   struct {
		TZ    *string  `json:"tz,omitempty" doc:"IANA name" example:"Europe/Lisbon"`
		Lat   *float64 `json:"lat,omitempty" minimum:"-90" maximum:"90"`
		Lon   *float64 `json:"lon,omitempty" minimum:"-180" maximum:"180"`
		Burst *float64 `json:"burst,omitempty" minimum:"0" doc:"most captures per second for the whole site; 0 takes the bound away"`
	}
}

type applyInput struct {
	DryRun      bool   `query:"dry_run" doc:"plan only"`
	Prune       bool   `query:"prune" doc:"remove schedules that the file does not name"`
	ContentType string `header:"Content-Type" hidden:"true"`
	RawBody     []byte `contentType:"application/yaml"`
}

func (a *Server) registerSchedules() {
	register(a, operation(scheduler.RoleViewer, "list-sites", http.MethodGet, "/sites", "sites", "List sites"),
		func(ctx context.Context, _ *struct{}) (*listOutput[Site], error) {
			v, err := a.s.Sites(ctx)
			return listOf(each(v, siteOf)), err
		})

	register(a, operation(scheduler.RoleOperator, "change-site", http.MethodPatch, "/sites/{id}", "sites", "Set a site's time zone, place and burst; a site exists from its first mention"),
		func(ctx context.Context, in *setSiteInput) (*output[Site], error) {
			set := a.s.SetSite
			if in.DryRun {
				set = a.sitePlan
			}
			v, err := set(ctx, fleet.SiteID(in.ID), scheduler.SiteChange(in.Body))
			return outputOf(siteOf(v)), err
		})

	register(a, operation(scheduler.RoleViewer, "list-schedules", http.MethodGet, "/schedules", "schedules", "List schedules"),
		func(ctx context.Context, _ *struct{}) (*listOutput[Schedule], error) {
			v, err := a.s.Schedules(ctx)
			return listOf(each(v, scheduleOf)), err
		})

	op := operation(scheduler.RoleOperator, "apply-schedules", http.MethodPost, "/schedules/apply", "schedules", "Apply a schedules file")
	a.takesSchedules(&op)
	register(a, op, a.applySchedules)
}

// takesSchedules describes a body that is a schedules file.
func (a *Server) takesSchedules(op *huma.Operation) {
	op.Description += " The body is the file itself, YAML or JSON; as application/json it may also be {\"yaml\": \"…\"}."
	op.MaxBodyBytes = maxSchedulesBytes
	op.SkipValidateBody = true // ParseSchedules names lines and columns
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/yaml": {Schema: &huma.Schema{Type: huma.TypeString}},
		"application/json": {Schema: &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
			"yaml":      {Type: huma.TypeString, Description: "the file as text"},
			"schedules": {Type: huma.TypeArray, Items: a.api.OpenAPI().Components.Schemas.Schema(typeOf[calendar.Spec](), true, "Spec")},
		}}},
	}}
}

// readSchedules reads the body that takesSchedules describes.
func readSchedules(kind string, file []byte) ([]calendar.Spec, error) {
	if strings.HasPrefix(kind, "application/json") {
		var wrapped struct{ YAML *string }
		if json.Unmarshal(file, &wrapped) == nil && wrapped.YAML != nil {
			file = []byte(*wrapped.YAML)
		}
	}
	specs, err := scheduler.ParseSchedules(file)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	return specs, nil
}

func (a *Server) applySchedules(ctx context.Context, in *applyInput) (*output[Plan], error) {
	specs, err := readSchedules(in.ContentType, in.RawBody)
	if err != nil {
		return nil, err
	}
	plan, err := a.s.ApplySchedules(ctx, specs, scheduler.ApplyOptions{Prune: in.Prune, DryRun: in.DryRun})
	return outputOf(planOf(plan, in.DryRun)), err
}

// sitePlan says what SetSite would make of a site.
func (a *Server) sitePlan(ctx context.Context, id fleet.SiteID, c scheduler.SiteChange) (v scheduler.SiteView, err error) {
	if c.TZ != nil && *c.TZ != "" {
		if err := calendar.CheckZone(*c.TZ); err != nil {
			return v, invalid("tz", "%v", err)
		}
	}
	all, err := a.s.Sites(ctx)
	if err != nil {
		return v, err
	}
	v = scheduler.SiteView{Site: fleet.Site{ID: id, Created: fleet.At(a.o.Now())}}
	for _, s := range all {
		if s.ID == id {
			v = s
		}
	}
	v.Lat, v.Lon = cmp.Or(c.Lat, v.Lat), cmp.Or(c.Lon, v.Lon)
	if c.TZ != nil {
		v.TZ = *c.TZ
	}
	if c.Burst != nil {
		v.Burst = *c.Burst
	}
	return v, nil
}
