package admin

import (
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
	ID   string `path:"id" minLength:"1" maxLength:"100"`
	Body struct {
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

	register(a, operation(scheduler.RoleOperator, "change-site", http.MethodPatch, "/sites/{id}", "sites", "Set a site's time zone and place; a site exists from its first mention"),
		func(ctx context.Context, in *setSiteInput) (*output[Site], error) {
			v, err := a.s.SetSite(ctx, fleet.SiteID(in.ID), scheduler.SiteChange(in.Body))
			return outputOf(siteOf(v)), err
		})

	register(a, operation(scheduler.RoleViewer, "list-schedules", http.MethodGet, "/schedules", "schedules", "List schedules"),
		func(ctx context.Context, _ *struct{}) (*listOutput[Schedule], error) {
			v, err := a.s.Schedules(ctx)
			return listOf(each(v, scheduleOf)), err
		})

	op := operation(scheduler.RoleOperator, "apply-schedules", http.MethodPost, "/schedules/apply", "schedules", "Apply a schedules file")
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
	register(a, op, a.applySchedules)
}

func (a *Server) applySchedules(ctx context.Context, in *applyInput) (*output[Plan], error) {
	file := in.RawBody
	if strings.HasPrefix(in.ContentType, "application/json") {
		var wrapped struct{ YAML *string }
		if json.Unmarshal(file, &wrapped) == nil && wrapped.YAML != nil {
			file = []byte(*wrapped.YAML)
		}
	}
	specs, err := scheduler.ParseSchedules(file)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	plan, err := a.s.ApplySchedules(ctx, specs, scheduler.ApplyOptions{Prune: in.Prune, DryRun: in.DryRun})
	return outputOf(planOf(plan, in.DryRun)), err
}
