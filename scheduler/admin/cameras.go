package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// maxEnrol bounds the ids of one enrolment by list; `all` has no bound.
const maxEnrol = 10_000

type cameraOutput struct {
	ETag string `header:"ETag" doc:"the version, for If-Match"`
	Body Camera
}

func cameraAnswer(v scheduler.CameraView, err error) (*cameraOutput, error) {
	if err != nil {
		return nil, err
	}
	return &cameraOutput{ETag: etag(v.Version), Body: cameraOf(v)}, nil
}

type cameraInput struct {
	ID string `path:"id" example:"cam-0r4k2m7q1x0ab"`
}

type listCamerasInput struct {
	Site     string `query:"site"`
	State    string `query:"state" enum:"candidate,pending,approved,ignored,quarantined,retired"`
	Selector string `query:"select" doc:"a selector over labels, for example site=store-*,gate"`
	After    string `query:"after" doc:"cursor: the next of the page before"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
}

type addCameraInput struct {
	Body struct {
		Site     string            `json:"site" minLength:"1" maxLength:"100"`
		URL      string            `json:"url" minLength:"1" maxLength:"2000" doc:"rtsp, rtsps, http or https; an ONVIF device service, a stream or a snapshot" example:"rtsp://192.0.2.7/stream1"`
		Name     string            `json:"name,omitempty" maxLength:"200"`
		Labels   map[string]string `json:"labels,omitempty"`
		User     string            `json:"user,omitempty" maxLength:"200"`
		Password fleet.Secret      `json:"password,omitempty" maxLength:"1000" writeOnly:"true"`
	}
}

type setCameraInput struct {
	ID      string `path:"id"`
	IfMatch string `header:"If-Match" doc:"change it only if it is still this version"`
	Body    struct {
		Name   *string            `json:"name,omitempty" maxLength:"200"`
		Labels map[string]*string `json:"labels,omitempty" doc:"merged into the camera's labels; null removes one"`
	}
}

type enrolInput struct {
	Body struct {
		IDs   []string `json:"ids,omitempty" maxItems:"10000"`
		All   bool     `json:"all,omitempty" doc:"every camera that is pending; instead of ids"`
		Site  string   `json:"site,omitempty" doc:"with all: of this site only"`
		State string   `json:"state" enum:"approved,ignored,retired"`
	}
}

type thumbnailOutput struct {
	Status       int
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	ETag         string `header:"ETag"`
	LastModified string `header:"Last-Modified"`
	Body         []byte
}

func (a *Server) registerCameras() {
	register(a, operation(scheduler.RoleViewer, "list-cameras", http.MethodGet, "/cameras", "cameras", "List cameras by id"), a.listCameras)

	op := operation(scheduler.RoleOperator, "add-camera", http.MethodPost, "/cameras", "cameras", "Take a camera by hand and approve it")
	op.DefaultStatus = http.StatusCreated
	register(a, op, func(ctx context.Context, in *addCameraInput) (*cameraOutput, error) {
		b := in.Body
		if u, err := url.Parse(b.URL); err == nil && u.User != nil {
			return nil, invalid("url", "holds a login: send it as user and password, so that it is kept as a secret")
		}
		return cameraAnswer(a.s.AddCamera(ctx, scheduler.NewCamera{
			Site: fleet.SiteID(b.Site), URL: b.URL, Name: b.Name, Labels: b.Labels, User: b.User, Password: b.Password,
		}))
	})

	op = operation(scheduler.RoleViewer, "show-camera", http.MethodGet, "/cameras/{id}", "cameras", "Show one camera")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, func(ctx context.Context, in *cameraInput) (*cameraOutput, error) {
		id, err := cameraID("id", in.ID)
		if err != nil {
			return nil, err
		}
		return cameraAnswer(a.camera(ctx, id))
	})

	op = operation(scheduler.RoleOperator, "change-camera", http.MethodPatch, "/cameras/{id}", "cameras", "Change a camera's name and labels")
	op.Errors = []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed}
	register(a, op, a.changeCamera)

	op = operation(scheduler.RoleOperator, "enrol-cameras", http.MethodPost, "/cameras/enrol", "cameras", "Approve, ignore or retire cameras")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, a.enrolCameras)

	op = operation(scheduler.RoleViewer, "show-thumbnail", http.MethodGet, "/cameras/{id}/thumbnail.jpg", "cameras", "Show a camera's latest frame, at most 320 pixels wide")
	op.Errors = []int{http.StatusNotFound}
	op.Responses = map[string]*huma.Response{
		"200": {Description: "The frame", Content: map[string]*huma.MediaType{"image/jpeg": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}},
		"304": {Description: "If-None-Match names the latest one"},
	}
	register(a, op, a.thumbnail)
}

// camera reads one camera; its error says where ids come from.
func (a *Server) camera(ctx context.Context, id fleet.CameraID) (scheduler.CameraView, error) {
	v, err := a.s.Camera(ctx, id)
	if errors.Is(err, scheduler.ErrNotFound) {
		err = fmt.Errorf("camera %s: %w: `shutterfleet cameras ls` lists all there are", id, scheduler.ErrNotFound)
	}
	return v, err
}

func (a *Server) listCameras(ctx context.Context, in *listCamerasInput) (*listOutput[Camera], error) {
	q := scheduler.CameraQuery{Site: fleet.SiteID(in.Site), State: fleet.Enrollment(in.State), Limit: in.Limit + 1}
	var err error
	if in.Selector != "" {
		if q.Selector, err = fleet.ParseSelector(in.Selector); err != nil {
			return nil, invalid("select", "%v", err)
		}
	}
	if in.After != "" {
		if q.After, err = cameraID("after", in.After); err != nil {
			return nil, err
		}
	}
	views, err := a.s.Cameras(ctx, q)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(views) > in.Limit {
		views = views[:in.Limit]
		next = views[in.Limit-1].ID.String()
	}
	out := listOf(each(views, cameraOf))
	out.Body.Next = next
	if next != "" {
		out.Link = nextLink("/cameras", "site", in.Site, "state", in.State, "select", in.Selector, "limit", fmt.Sprint(in.Limit), "after", next)
	}
	return out, nil
}

// nextLink returns a Link header to the next page; empty values are left out.
func nextLink(path string, pairs ...string) string {
	q := url.Values{}
	for p := range slices.Chunk(pairs, 2) {
		if p[1] != "" {
			q.Set(p[0], p[1])
		}
	}
	return "<" + apiBase + path + "?" + q.Encode() + `>; rel="next"`
}

func (a *Server) changeCamera(ctx context.Context, in *setCameraInput) (*cameraOutput, error) {
	id, err := cameraID("id", in.ID)
	if err != nil {
		return nil, err
	}
	version, err := ifMatch(in.IfMatch)
	if err != nil {
		return nil, err
	}
	v, err := a.s.SetCamera(ctx, id, scheduler.CameraChange{Name: in.Body.Name, Labels: in.Body.Labels, IfVersion: version})
	if version != 0 && errors.Is(err, scheduler.ErrConflict) {
		return nil, huma.Error412PreconditionFailed(fmt.Sprintf("camera %s was %v", id, scheduler.ErrConflict))
	}
	return cameraAnswer(v, err)
}

func (a *Server) enrolCameras(ctx context.Context, in *enrolInput) (*listOutput[Camera], error) {
	ids, err := a.toEnrol(ctx, in.Body.IDs, in.Body.All, fleet.SiteID(in.Body.Site))
	if err != nil {
		return nil, err
	}
	views, err := a.s.Enrol(ctx, ids, fleet.Enrollment(in.Body.State))
	if err != nil {
		return nil, err
	}
	return listOf(each(views, cameraOf)), nil
}

// toEnrol resolves a list of ids, or all that is pending.
func (a *Server) toEnrol(ctx context.Context, texts []string, all bool, site fleet.SiteID) ([]fleet.CameraID, error) {
	switch {
	case all && len(texts) > 0:
		return nil, invalid("ids", "give ids or all, not both")
	case all:
		views, err := a.s.Cameras(ctx, scheduler.CameraQuery{Site: site, State: fleet.Pending})
		return each(views, func(v scheduler.CameraView) fleet.CameraID { return v.ID }), err
	case len(texts) == 0:
		return nil, invalid("ids", "name at least one camera, or set all")
	case len(texts) > maxEnrol:
		return nil, invalid("ids", "at most %d at a time", maxEnrol)
	}
	ids := make([]fleet.CameraID, 0, len(texts))
	for _, t := range texts {
		id, err := cameraID("ids", t)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (a *Server) thumbnail(ctx context.Context, in *struct {
	ID          string `path:"id"`
	Version     string `query:"v" doc:"last_frame of the camera: the answer may then be cached"`
	IfNoneMatch string `header:"If-None-Match"`
},
) (*thumbnailOutput, error) {
	id, err := cameraID("id", in.ID)
	if err != nil {
		return nil, err
	}
	jpeg, at, err := a.s.Thumbnail(ctx, id)
	if errors.Is(err, scheduler.ErrNotFound) {
		return nil, fmt.Errorf("camera %s has no frame yet: %w", id, scheduler.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	// The time names the frame, so what carries it never changes.
	out := &thumbnailOutput{
		Status: http.StatusOK, ContentType: "image/jpeg", CacheControl: "private, no-cache",
		ETag: etag(uint64(at)), LastModified: at.Time().Format(http.TimeFormat), Body: jpeg,
	}
	if in.Version == at.String() {
		out.CacheControl = "private, max-age=86400, immutable"
	}
	if slices.ContainsFunc(strings.Split(in.IfNoneMatch, ","), func(t string) bool { return strings.TrimSpace(t) == out.ETag }) {
		out.Status, out.Body, out.ContentType = http.StatusNotModified, nil, ""
	}
	return out, nil
}
