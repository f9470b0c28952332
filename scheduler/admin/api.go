package admin

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// --- what the API shows -----------------------------------------------------

type fingerprintJSON struct {
	PDQ        string `json:"pdq" doc:"PDQ-256, 64 hex digits"`
	PDQQuality int    `json:"pdq_quality" doc:"0 to 100; below 50 the frame is not searched"`
	PHash      string `json:"phash" doc:"64-bit DCT hash, 16 hex digits"`
}

type captureJSON struct {
	Occurrence  string           `json:"occurrence" doc:"camera/schedule/nominal: the idempotency key"`
	Camera      string           `json:"camera"`
	Schedule    string           `json:"schedule"`
	Nominal     fleet.Instant    `json:"nominal"`
	At          fleet.Instant    `json:"at" doc:"when the frame was complete, or the outcome decided"`
	Outcome     string           `json:"outcome" enum:"captured,failed,missed,skipped"`
	Cause       string           `json:"cause,omitempty"`
	Detail      string           `json:"detail,omitempty"`
	Agent       string           `json:"agent,omitempty"`
	DelayMS     float64          `json:"delay_ms"`
	TookMS      float64          `json:"took_ms"`
	BoundMS     float64          `json:"clock_bound_ms" doc:"how wrong the agent's clock may have been"`
	Attempts    int              `json:"attempts"`
	Protocol    string           `json:"protocol,omitempty"`
	Codec       string           `json:"codec,omitempty"`
	Width       int              `json:"width,omitempty"`
	Height      int              `json:"height,omitempty"`
	Bytes       int              `json:"bytes,omitempty"`
	SHA256      string           `json:"sha256,omitempty"`
	Fingerprint *fingerprintJSON `json:"fingerprint,omitempty"`
	Quality     *fleet.Quality   `json:"quality,omitempty"`
}

type cameraJSON struct {
	ID          string            `json:"id"`
	Site        string            `json:"site"`
	State       string            `json:"state" doc:"enrolment: pending, approved, ignored, retired"`
	Status      string            `json:"status" doc:"ok, late, failed, missed, pending, needs-credentials, offline, idle, ignored, retired"`
	Reason      string            `json:"reason,omitempty" doc:"why it is not well, and the fix"`
	Name        string            `json:"name"`
	Addresses   []string          `json:"addresses"`
	Protocols   []string          `json:"protocols"`
	Endpoints   []fleet.Endpoint  `json:"endpoints"`
	Via         []fleet.Via       `json:"via" doc:"how it was found"`
	Vendor      string            `json:"vendor"`
	Model       string            `json:"model"`
	Firmware    string            `json:"firmware"`
	Serial      string            `json:"serial"`
	Labels      map[string]string `json:"labels"`
	Version     uint64            `json:"version"`
	LastCapture *captureJSON      `json:"last_capture"`
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (a *Server) capture(c *fleet.Capture) *captureJSON {
	if c == nil {
		return nil
	}
	out := &captureJSON{
		Occurrence: c.String(), Camera: c.Camera.String(), Schedule: a.sched.ScheduleName(c.Schedule), Nominal: c.Nominal, At: c.At,
		Outcome: c.Outcome.String(), Cause: string(c.Cause), Detail: c.Detail, Agent: string(c.Agent),
		DelayMS: ms(c.Delay), TookMS: ms(c.Took), BoundMS: ms(c.Bound), Attempts: int(c.Attempts), Protocol: string(c.Protocol),
	}
	if c.Outcome == fleet.Captured {
		r := &c.Reading
		q := r.Quality
		out.Codec, out.Width, out.Height, out.Bytes = string(r.Codec), int(r.Width), int(r.Height), int(r.Bytes)
		out.SHA256, out.Quality = hexOf(r.SHA256[:]), &q
		out.Fingerprint = &fingerprintJSON{PDQ: r.Fingerprint.PDQ.String(), PDQQuality: int(r.Fingerprint.PDQQuality), PHash: r.Fingerprint.PHash.String()}
	}
	return out
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	var s strings.Builder
	for _, v := range b {
		s.WriteByte(digits[v>>4])
		s.WriteByte(digits[v&15])
	}
	return s.String()
}

func (a *Server) camera(v *scheduler.CameraView) cameraJSON {
	out := cameraJSON{
		ID: v.ID.String(), Site: string(v.Site), State: string(v.State), Status: v.Status, Reason: v.Reason, Name: v.Name,
		Addresses: []string{}, Protocols: []string{}, Endpoints: v.Endpoints, Via: v.Via, Vendor: v.Vendor, Model: v.Model,
		Firmware: v.Firmware, Serial: v.Serial, Labels: v.Labels, Version: v.Version, LastCapture: a.capture(v.Last),
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	for _, ad := range v.Addresses {
		out.Addresses = append(out.Addresses, ad.String())
	}
	for _, e := range v.Endpoints {
		if !slices.Contains(out.Protocols, string(e.Protocol)) {
			out.Protocols = append(out.Protocols, string(e.Protocol))
		}
	}
	slices.Sort(out.Protocols)
	return out
}

func (a *Server) cameras(vs []scheduler.CameraView) []cameraJSON {
	out := make([]cameraJSON, 0, len(vs))
	for i := range vs {
		out = append(out, a.camera(&vs[i]))
	}
	return out
}

type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"cursor of the next page; absent on the last"`
}

type body[T any] struct{ Body T }

type etagged[T any] struct {
	ETag string `header:"ETag"`
	Body T
}

// --- routes -----------------------------------------------------------------

const v1 = "/api/v1"

func op(id, method, path, summary, tag string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: v1 + path, Summary: summary, Tags: []string{tag}, Errors: []int{401, 403, 404, 422}}
}

func (a *Server) routes(api huma.API) {
	a.cameraRoutes(api)
	a.siteRoutes(api)
	a.scheduleRoutes(api)
	a.accessRoutes(api)
	a.captureRoutes(api)
}

func parseCamera(text string) (fleet.CameraID, error) {
	id, err := fleet.ParseCameraID(text)
	if err != nil {
		return 0, &scheduler.InvalidError{Field: "id", Problem: err.Error()}
	}
	return id, nil
}

func (a *Server) cameraRoutes(api huma.API) {
	type query struct {
		Site   string `query:"site"`
		State  string `query:"state" enum:"pending,approved,ignored,retired,"`
		Select string `query:"select" doc:"label selector, for example role=gate,!retired"`
		After  string `query:"after" doc:"cursor"`
		Limit  int    `query:"limit" minimum:"0" maximum:"10000" default:"1000"`
	}
	huma.Register(api, op("list-cameras", http.MethodGet, "/cameras", "List cameras", "cameras"), func(ctx context.Context, in *query) (*body[page[cameraJSON]], error) {
		q := scheduler.CameraQuery{Site: fleet.SiteID(in.Site), State: fleet.Enrollment(in.State), Limit: in.Limit}
		var err error
		if in.Select != "" {
			if q.Selector, err = fleet.ParseSelector(in.Select); err != nil {
				return nil, a.problem(&scheduler.InvalidError{Field: "select", Problem: err.Error()})
			}
		}
		if in.After != "" {
			if q.After, err = parseCamera(in.After); err != nil {
				return nil, a.problem(err)
			}
		}
		vs, err := a.sched.Cameras(ctx, q)
		if err != nil {
			return nil, a.problem(err)
		}
		out := &body[page[cameraJSON]]{Body: page[cameraJSON]{Items: a.cameras(vs)}}
		if in.Limit > 0 && len(vs) == in.Limit {
			out.Body.Next = vs[len(vs)-1].ID.String()
		}
		return out, nil
	})
	type newCamera struct {
		Body struct {
			Site     string            `json:"site" minLength:"1"`
			URL      string            `json:"url" minLength:"1" doc:"http(s) or rtsp(s), without a login"`
			Name     string            `json:"name,omitempty"`
			Labels   map[string]string `json:"labels,omitempty"`
			User     string            `json:"user,omitempty"`
			Password string            `json:"password,omitempty"`
		}
	}
	huma.Register(api, op("add-camera", http.MethodPost, "/cameras", "Take a camera by hand; it is approved at once", "cameras"), func(ctx context.Context, in *newCamera) (*etagged[cameraJSON], error) {
		b := &in.Body
		v, err := a.sched.AddCamera(ctx, scheduler.NewCamera{Site: fleet.SiteID(b.Site), URL: b.URL, Name: b.Name, Labels: b.Labels, User: b.User, Password: fleet.Secret(b.Password)})
		return a.tagged(&v, err)
	})
	type one struct {
		ID string `path:"id"`
	}
	huma.Register(api, op("get-camera", http.MethodGet, "/cameras/{id}", "Show a camera", "cameras"), func(ctx context.Context, in *one) (*etagged[cameraJSON], error) {
		id, err := parseCamera(in.ID)
		if err != nil {
			return nil, a.problem(err)
		}
		v, err := a.sched.Camera(ctx, id)
		return a.tagged(&v, err)
	})
	type cameraChange struct {
		ID      string `path:"id"`
		IfMatch string `header:"If-Match"`
		Body    struct {
			Name   *string            `json:"name,omitempty"`
			Labels map[string]*string `json:"labels,omitempty" doc:"null removes a label"`
		}
	}
	huma.Register(api, op("set-camera", http.MethodPatch, "/cameras/{id}", "Change a camera's name and labels", "cameras"), func(ctx context.Context, in *cameraChange) (*etagged[cameraJSON], error) {
		id, err := parseCamera(in.ID)
		if err != nil {
			return nil, a.problem(err)
		}
		c := scheduler.CameraChange{Name: in.Body.Name, Labels: in.Body.Labels}
		if in.IfMatch != "" && in.IfMatch != "*" {
			if c.IfVersion, err = strconv.ParseUint(strings.Trim(in.IfMatch, `"`), 10, 64); err != nil {
				return nil, a.problem(scheduler.ErrConflict)
			}
		}
		v, err := a.sched.SetCamera(ctx, id, c)
		return a.tagged(&v, err)
	})
	type enrol struct {
		Body struct {
			IDs   []string `json:"ids,omitempty"`
			All   bool     `json:"all,omitempty" doc:"every pending camera"`
			State string   `json:"state" enum:"approved,ignored,pending,retired"`
		}
	}
	huma.Register(api, op("enrol-cameras", http.MethodPost, "/cameras/enrol", "Approve, ignore or retire cameras", "cameras"), func(ctx context.Context, in *enrol) (*body[page[cameraJSON]], error) {
		vs, err := a.enrol(ctx, in.Body.IDs, in.Body.All, fleet.Enrollment(in.Body.State))
		if err != nil {
			return nil, a.problem(err)
		}
		return &body[page[cameraJSON]]{Body: page[cameraJSON]{Items: a.cameras(vs)}}, nil
	})
	type picture struct {
		ContentType string `header:"Content-Type"`
		Modified    string `header:"Last-Modified"`
		Cache       string `header:"Cache-Control"`
		Body        []byte
	}
	o := op("get-thumbnail", http.MethodGet, "/cameras/{id}/thumbnail.jpg", "The latest frame, 320 pixels wide", "cameras")
	o.Responses = map[string]*huma.Response{"200": {Description: "JPEG", Content: map[string]*huma.MediaType{"image/jpeg": {}}}}
	huma.Register(api, o, func(ctx context.Context, in *one) (*picture, error) {
		id, err := parseCamera(in.ID)
		if err != nil {
			return nil, a.problem(err)
		}
		b, at, err := a.sched.Thumbnail(ctx, id)
		if err != nil {
			return nil, a.problem(err)
		}
		return &picture{"image/jpeg", at.Time().Format(http.TimeFormat), "private, max-age=31536000, immutable", b}, nil
	})
}

func (a *Server) tagged(v *scheduler.CameraView, err error) (*etagged[cameraJSON], error) {
	if err != nil {
		return nil, a.problem(err)
	}
	return &etagged[cameraJSON]{ETag: strconv.Quote(strconv.FormatUint(v.Version, 10)), Body: a.camera(v)}, nil
}

func (a *Server) enrol(ctx context.Context, texts []string, all bool, to fleet.Enrollment) ([]scheduler.CameraView, error) {
	var ids []fleet.CameraID
	for _, t := range texts {
		id, err := parseCamera(t)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if all {
		vs, err := a.sched.Cameras(ctx, scheduler.CameraQuery{State: fleet.Pending})
		if err != nil {
			return nil, err
		}
		for i := range vs {
			ids = append(ids, vs[i].ID)
		}
	} else if len(ids) == 0 {
		return nil, &scheduler.InvalidError{Field: "ids", Problem: "name cameras, or say all"}
	}
	return a.sched.EnrolCameras(ctx, ids, to)
}

type siteJSON struct {
	ID      string   `json:"id"`
	TZ      string   `json:"tz"`
	Lat     *float64 `json:"lat"`
	Lon     *float64 `json:"lon"`
	Cameras int      `json:"cameras"`
	Pending int      `json:"pending"`
	Agents  int      `json:"agents"`
}

func site(v *scheduler.SiteView) siteJSON {
	return siteJSON{string(v.ID), v.TZ, v.Lat, v.Lon, v.Cameras, v.Pending, v.Agents}
}

func (a *Server) siteRoutes(api huma.API) {
	huma.Register(api, op("list-sites", http.MethodGet, "/sites", "List sites", "sites"), func(ctx context.Context, _ *struct{}) (*body[page[siteJSON]], error) {
		vs, err := a.sched.Sites(ctx)
		out := &body[page[siteJSON]]{Body: page[siteJSON]{Items: []siteJSON{}}}
		for i := range vs {
			out.Body.Items = append(out.Body.Items, site(&vs[i]))
		}
		return out, a.problem(err)
	})
	type siteChange struct {
		ID   string `path:"id"`
		Body struct {
			TZ  *string  `json:"tz,omitempty" doc:"IANA zone"`
			Lat *float64 `json:"lat,omitempty"`
			Lon *float64 `json:"lon,omitempty"`
		}
	}
	huma.Register(api, op("set-site", http.MethodPatch, "/sites/{id}", "Change a site; it exists from its first mention", "sites"), func(ctx context.Context, in *siteChange) (*body[siteJSON], error) {
		v, err := a.sched.SetSite(ctx, fleet.SiteID(in.ID), scheduler.SiteChange{TZ: in.Body.TZ, Lat: in.Body.Lat, Lon: in.Body.Lon})
		return &body[siteJSON]{site(&v)}, a.problem(err)
	})
	huma.Register(api, op("list-rules", http.MethodGet, "/rules", "Rules that approve found cameras, by name", "sites"), func(ctx context.Context, _ *struct{}) (*body[map[string]string], error) {
		m, err := a.sched.Rules(ctx)
		return &body[map[string]string]{m}, a.problem(err)
	})
	huma.Register(api, op("set-rules", http.MethodPut, "/rules", "Replace the rules: name to label selector", "sites"), func(ctx context.Context, in *body[map[string]string]) (*body[map[string]string], error) {
		return in, a.problem(a.sched.SetRules(ctx, in.Body))
	})
}

type scheduleJSON struct {
	Name     string         `json:"name"`
	Select   string         `json:"select"`
	Every    string         `json:"every,omitempty"`
	Cron     []string       `json:"cron,omitempty"`
	Once     string         `json:"once,omitempty"`
	TZ       string         `json:"tz,omitempty"`
	Revision uint64         `json:"revision"`
	Cameras  int            `json:"cameras"`
	Next     *fleet.Instant `json:"next"`
}

func schedule(v *scheduler.ScheduleView) scheduleJSON {
	out := scheduleJSON{Name: v.Name, Select: v.Select, Cron: v.Cron, Once: v.Once, TZ: v.TZ, Revision: v.Revision, Cameras: v.Cameras}
	if v.Every != 0 {
		out.Every = v.Every.String()
	}
	if v.Next != 0 {
		out.Next = &v.Next
	}
	return out
}

type changeJSON struct {
	Name    string `json:"name"`
	Action  string `json:"action" enum:"create,change,keep,remove"`
	Diff    string `json:"diff,omitempty"`
	Cameras int    `json:"cameras"`
}

func (a *Server) scheduleRoutes(api huma.API) {
	huma.Register(api, op("list-schedules", http.MethodGet, "/schedules", "List schedules", "schedules"), func(ctx context.Context, _ *struct{}) (*body[page[scheduleJSON]], error) {
		vs, err := a.sched.Schedules(ctx)
		out := &body[page[scheduleJSON]]{Body: page[scheduleJSON]{Items: []scheduleJSON{}}}
		for i := range vs {
			out.Body.Items = append(out.Body.Items, schedule(&vs[i]))
		}
		return out, a.problem(err)
	})
	type apply struct {
		Body struct {
			YAML   string `json:"yaml" minLength:"1" doc:"schedules: [{name, select, every | cron | once, tz}]"`
			Prune  bool   `json:"prune,omitempty" doc:"remove schedules that are not listed"`
			DryRun bool   `json:"dry_run,omitempty"`
		}
	}
	huma.Register(api, op("apply-schedules", http.MethodPost, "/schedules/apply", "Make the schedules be as the YAML says", "schedules"), func(ctx context.Context, in *apply) (*body[page[changeJSON]], error) {
		specs, err := scheduler.ParseSchedules([]byte(in.Body.YAML))
		if err != nil {
			return nil, a.problem(err)
		}
		plan, err := a.sched.ApplySchedules(ctx, specs, scheduler.ApplyOptions{Prune: in.Body.Prune, DryRun: in.Body.DryRun})
		out := &body[page[changeJSON]]{Body: page[changeJSON]{Items: []changeJSON{}}}
		for _, c := range plan.Changes {
			out.Body.Items = append(out.Body.Items, changeJSON(c))
		}
		return out, a.problem(err)
	})
}

type agentJSON struct {
	ID        string        `json:"id"`
	Site      string        `json:"site"`
	Hostname  string        `json:"hostname"`
	Version   string        `json:"version"`
	State     string        `json:"state"`
	Connected bool          `json:"connected"`
	Enrolled  fleet.Instant `json:"enrolled"`
	Seen      fleet.Instant `json:"seen"`
	Held      uint64        `json:"orders_held"`
	Pending   uint64        `json:"outcomes_pending"`
}

type keyJSON struct {
	ID      string        `json:"id"`
	Key     string        `json:"key,omitempty" doc:"the key itself: shown once"`
	Site    string        `json:"site"`
	Count   int           `json:"count"`
	Used    int           `json:"used"`
	Approve bool          `json:"approve"`
	Revoked bool          `json:"revoked"`
	Created fleet.Instant `json:"created"`
	Expires fleet.Instant `json:"expires"`
}

func key(k *scheduler.KeyView) keyJSON {
	return keyJSON{ID: k.ID, Site: string(k.Site), Count: k.Count, Used: k.Used, Approve: k.Approve, Revoked: k.Revoked, Created: k.Created, Expires: k.Expires}
}

type credentialsJSON struct {
	ID      string        `json:"id"`
	Site    string        `json:"site"`
	Camera  string        `json:"camera,omitempty"`
	User    string        `json:"user"`
	Version uint64        `json:"version"`
	Created fleet.Instant `json:"created"`
}

func creds(c *scheduler.CredentialsView) credentialsJSON {
	out := credentialsJSON{ID: c.ID, Site: string(c.Site), User: c.User, Version: c.Version, Created: c.Created}
	if c.Camera != 0 {
		out.Camera = c.Camera.String()
	}
	return out
}

func (a *Server) accessRoutes(api huma.API) {
	huma.Register(api, op("list-agents", http.MethodGet, "/agents", "List agents", "agents"), func(ctx context.Context, _ *struct{}) (*body[page[agentJSON]], error) {
		vs, err := a.sched.Agents(ctx)
		out := &body[page[agentJSON]]{Body: page[agentJSON]{Items: []agentJSON{}}}
		for _, v := range vs {
			out.Body.Items = append(out.Body.Items, agentJSON{string(v.ID), string(v.Site), v.Hostname, v.Version, string(v.State), v.Connected, v.Enrolled, v.Seen, v.Held, v.Pending})
		}
		return out, a.problem(err)
	})
	type one struct {
		ID string `path:"id"`
	}
	huma.Register(api, op("approve-agent", http.MethodPost, "/agents/{id}/approve", "Let an agent in", "agents"), func(ctx context.Context, in *one) (*struct{}, error) {
		return nil, a.problem(a.sched.ApproveAgent(ctx, fleet.AgentID(in.ID)))
	})
	huma.Register(api, op("revoke-agent", http.MethodDelete, "/agents/{id}", "Shut an agent out for good", "agents"), func(ctx context.Context, in *one) (*struct{}, error) {
		return nil, a.problem(a.sched.RevokeAgent(ctx, fleet.AgentID(in.ID)))
	})
	huma.Register(api, op("list-keys", http.MethodGet, "/keys", "List site keys, without their secrets", "agents"), func(ctx context.Context, _ *struct{}) (*body[page[keyJSON]], error) {
		vs, err := a.sched.Keys(ctx)
		out := &body[page[keyJSON]]{Body: page[keyJSON]{Items: []keyJSON{}}}
		for i := range vs {
			out.Body.Items = append(out.Body.Items, key(&vs[i]))
		}
		return out, a.problem(err)
	})
	type newKey struct {
		Body struct {
			Site    string `json:"site" minLength:"1"`
			Count   int    `json:"count,omitempty" minimum:"0" doc:"agents that may enrol; default 1"`
			Approve *bool  `json:"approve,omitempty" doc:"default true"`
			Hours   int    `json:"expires_hours,omitempty" minimum:"0" doc:"default 720"`
		}
	}
	huma.Register(api, op("create-key", http.MethodPost, "/keys", "Make a site key", "agents"), func(ctx context.Context, in *newKey) (*body[keyJSON], error) {
		b := &in.Body
		v, text, err := a.sched.CreateKey(ctx, scheduler.NewKey{Site: fleet.SiteID(b.Site), Count: b.Count, Approve: b.Approve == nil || *b.Approve, Expires: time.Duration(b.Hours) * time.Hour})
		if err != nil {
			return nil, a.problem(err)
		}
		out := key(&v)
		out.Key = text.Reveal()
		return &body[keyJSON]{out}, nil
	})
	huma.Register(api, op("revoke-key", http.MethodDelete, "/keys/{id}", "Stop a key from enrolling further agents", "agents"), func(ctx context.Context, in *one) (*struct{}, error) {
		return nil, a.problem(a.sched.RevokeKey(ctx, in.ID))
	})
	huma.Register(api, op("list-credentials", http.MethodGet, "/credentials", "List camera logins, without passwords", "cameras"), func(ctx context.Context, _ *struct{}) (*body[page[credentialsJSON]], error) {
		vs, err := a.sched.Credentials(ctx)
		out := &body[page[credentialsJSON]]{Body: page[credentialsJSON]{Items: []credentialsJSON{}}}
		for i := range vs {
			out.Body.Items = append(out.Body.Items, creds(&vs[i]))
		}
		return out, a.problem(err)
	})
	type newCreds struct {
		Body struct {
			Site     string `json:"site,omitempty"`
			Camera   string `json:"camera,omitempty" doc:"one camera; else all of the site"`
			User     string `json:"user"`
			Password string `json:"password"`
		}
	}
	huma.Register(api, op("put-credentials", http.MethodPost, "/credentials", "Set the login of a site's cameras, or of one", "cameras"), func(ctx context.Context, in *newCreds) (*body[credentialsJSON], error) {
		n := scheduler.NewCredentials{Site: fleet.SiteID(in.Body.Site), User: in.Body.User, Password: fleet.Secret(in.Body.Password)}
		var err error
		if in.Body.Camera != "" {
			if n.Camera, err = parseCamera(in.Body.Camera); err != nil {
				return nil, a.problem(err)
			}
		}
		v, err := a.sched.PutCredentials(ctx, n)
		return &body[credentialsJSON]{creds(&v)}, a.problem(err)
	})
}

type matchJSON struct {
	Occurrence string        `json:"occurrence"`
	Camera     string        `json:"camera"`
	At         fleet.Instant `json:"at"`
	Distance   int           `json:"distance" doc:"PDQ bits that differ"`
}

func (a *Server) captureRoutes(api huma.API) {
	type query struct {
		Camera   string `query:"camera"`
		Site     string `query:"site"`
		Schedule string `query:"schedule"`
		Outcome  string `query:"outcome" enum:"captured,failed,missed,skipped,"`
		From     string `query:"from" doc:"RFC 3339, nominal"`
		Until    string `query:"until" doc:"RFC 3339, nominal, exclusive"`
		After    string `query:"after" doc:"cursor"`
		Limit    int    `query:"limit" minimum:"0" maximum:"1000" default:"100"`
	}
	huma.Register(api, op("list-captures", http.MethodGet, "/captures", "List outcomes, newest first", "captures"), func(ctx context.Context, in *query) (*body[page[*captureJSON]], error) {
		q := scheduler.CaptureQuery{Site: fleet.SiteID(in.Site), Schedule: in.Schedule, After: in.After, Limit: in.Limit}
		var err error
		if in.Camera != "" {
			if q.Camera, err = parseCamera(in.Camera); err != nil {
				return nil, a.problem(err)
			}
		}
		if in.Outcome != "" {
			if err := q.Outcome.UnmarshalText([]byte(in.Outcome)); err != nil {
				return nil, a.problem(&scheduler.InvalidError{Field: "outcome", Problem: err.Error()})
			}
		}
		if q.From, q.Until, err = span(in.From, in.Until); err != nil {
			return nil, a.problem(err)
		}
		cs, next, err := a.sched.Captures(ctx, q)
		if err != nil {
			return nil, a.problem(err)
		}
		out := &body[page[*captureJSON]]{Body: page[*captureJSON]{Items: []*captureJSON{}, Next: next}}
		for i := range cs {
			out.Body.Items = append(out.Body.Items, a.capture(&cs[i]))
		}
		return out, nil
	})
	type booksAnswer struct {
		fleet.Books
		Balanced bool                   `json:"balanced"`
		Sites    map[string]fleet.Books `json:"sites"`
	}
	huma.Register(api, op("get-books", http.MethodGet, "/books", "The books: issued = captured + failed + missed + skipped + in flight", "captures"), func(ctx context.Context, _ *struct{}) (*body[booksAnswer], error) {
		r, err := a.sched.Books(ctx)
		out := booksAnswer{Books: r.Total, Balanced: r.Total.Balanced(), Sites: map[string]fleet.Books{}}
		for k, v := range r.Sites {
			out.Sites[string(k)] = v
		}
		return &body[booksAnswer]{out}, a.problem(err)
	})
	type auditQuery struct {
		From  string `query:"from" required:"true"`
		Until string `query:"until"`
	}
	type auditAnswer struct {
		Expected    int      `json:"expected" doc:"occurrences that the schedules yield"`
		Stored      int      `json:"stored"`
		InFlight    int      `json:"in_flight"`
		Missing     int      `json:"missing_outcome"`
		Unexpected  int      `json:"unexpected"`
		Unaccounted int      `json:"unaccounted" doc:"0 once nothing is in flight"`
		Examples    []string `json:"examples"`
	}
	huma.Register(api, op("audit", http.MethodGet, "/audit", "Check the books from outside: schedules against rows", "captures"), func(ctx context.Context, in *auditQuery) (*body[auditAnswer], error) {
		from, until, err := span(in.From, in.Until)
		if err != nil {
			return nil, a.problem(err)
		}
		if until == 0 {
			until = fleet.At(time.Now())
		}
		r, err := a.sched.Audit(ctx, from, until)
		return &body[auditAnswer]{auditAnswer{r.Expected, r.Stored, r.InFlight, r.MissingOutcome, r.Unexpected, r.Unaccounted(), r.Examples}}, a.problem(err)
	})
	type matchQuery struct {
		Radius  int    `query:"radius" minimum:"0" maximum:"128" default:"31"`
		Limit   int    `query:"limit" minimum:"0" maximum:"1000" default:"100"`
		RawBody []byte `contentType:"application/octet-stream"`
	}
	o := op("match", http.MethodPost, "/match", "Search stored frames by a picture (JPEG or PNG)", "captures")
	o.MaxBodyBytes = maxBody
	huma.Register(api, o, func(ctx context.Context, in *matchQuery) (*body[page[matchJSON]], error) {
		if a.opts.Reader == nil {
			return nil, huma.Error501NotImplemented("this scheduler reads no pictures")
		}
		f := fleet.Frame{Data: in.RawBody, Codec: fleet.JPEG}
		if strings.HasPrefix(string(in.RawBody), "\x89PNG") {
			f.Codec = fleet.PNG
		}
		r, err := a.opts.Reader.Read(ctx, f)
		if err != nil {
			return nil, a.problem(err)
		}
		ms, err := a.sched.Match(ctx, r.Fingerprint, scheduler.MatchOptions{Radius: in.Radius, Limit: in.Limit})
		out := &body[page[matchJSON]]{Body: page[matchJSON]{Items: []matchJSON{}}}
		for _, m := range ms {
			out.Body.Items = append(out.Body.Items, matchJSON{m.Occurrence.String(), m.Camera.String(), m.At, m.Distance})
		}
		return out, a.problem(err)
	})
}

func span(from, until string) (f, u fleet.Instant, err error) {
	for _, x := range []struct {
		name, text string
		to         *fleet.Instant
	}{{"from", from, &f}, {"until", until, &u}} {
		if x.text != "" {
			if err := x.to.UnmarshalText([]byte(x.text)); err != nil {
				return 0, 0, &scheduler.InvalidError{Field: x.name, Problem: err.Error()}
			}
		}
	}
	return f, u, nil
}
