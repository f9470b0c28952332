package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// MaskKeeper sets what must not be seen of cameras, and tells who knows.
type MaskKeeper interface {
	SetMask(context.Context, scheduler.NewMask) (scheduler.MaskView, error)
	Mask(context.Context, fleet.CameraID) (scheduler.MaskView, error)
}

// Mask is what must not be seen of a camera.
type Mask struct {
	Camera     fleet.CameraID    `json:"camera"`
	Revision   uint64            `json:"revision" doc:"rises with each change; 0: there never was a mask"`
	Sum        fleet.MaskSum     `json:"sum" doc:"names what is hidden, as captures do: 16 hex digits; empty when nothing is"`
	Rectangles []fleet.Rectangle `json:"rectangles" doc:"in shares of the picture, 0 to 1, from the top left"`
	Polygons   [][]fleet.Point   `json:"polygons" doc:"closed, in shares of the picture, 0 to 1, from the top left"`
	Since      *fleet.Instant    `json:"since,omitempty" doc:"when it was set, or taken off" format:"date-time"`
	By         string            `json:"by,omitempty" doc:"who said so"`
	Agents     []MaskHolder      `json:"agents" doc:"approved agents of the camera's site"`
	DryRun     bool              `json:"dry_run,omitempty"`
}

// MaskHolder says how far an agent is with a camera's mask.
type MaskHolder struct {
	Agent fleet.AgentID `json:"agent"`
	State string        `json:"state" enum:"held,pending,away,outdated" doc:"held: durable there, and all that it tells of the camera is under it; pending: it was told and has not answered; away: it is told before anything else when it connects; outdated: it knows no masks and is given no masked camera"`
}

// MaskBrief is a mask in short.
type MaskBrief struct {
	Revision uint64        `json:"revision" doc:"rises with each change"`
	Sum      fleet.MaskSum `json:"sum" doc:"names what is hidden: 16 hex digits"`
	Shapes   int           `json:"shapes" doc:"rectangles and polygons"`
	Since    fleet.Instant `json:"since" format:"date-time"`
}

func maskBriefOf(b *scheduler.MaskBrief) *MaskBrief {
	if b == nil {
		return nil
	}
	return &MaskBrief{Revision: b.Revision, Sum: b.Sum, Shapes: b.Shapes, Since: b.Since}
}

func maskOf(v scheduler.MaskView) Mask {
	return Mask{
		Camera: v.Camera, Revision: v.Revision, Sum: v.Sum, Since: some(v.At), By: v.By,
		Rectangles: append([]fleet.Rectangle{}, v.Rectangles...), Polygons: append([][]fleet.Point{}, v.Polygons...),
		Agents: each(v.Agents, func(h scheduler.MaskHolder) MaskHolder { return MaskHolder(h) }),
	}
}

// MaskShapes is a mask's file.
type MaskShapes struct {
	Rectangles []fleet.Rectangle `json:"rectangles,omitempty" doc:"in shares of the picture, 0 to 1, from the top left"`
	Polygons   [][]fleet.Point   `json:"polygons,omitempty" doc:"closed, in shares of the picture, 0 to 1, from the top left"`
}

type maskOutput struct {
	ETag string `header:"ETag" doc:"the revision, for If-Match"`
	Body Mask
}

func maskAnswer(v scheduler.MaskView, err error) (*maskOutput, error) {
	if err != nil {
		return nil, err
	}
	return &maskOutput{etag(v.Revision), maskOf(v)}, nil
}

type setMaskInput struct {
	ID      string `path:"id" example:"cam-0r4k2m7q1x0ab"`
	IfMatch string `header:"If-Match" doc:"change it only if it is still this revision"`
	DryRun  bool   `query:"dry_run" doc:"only check it"`
	RawBody []byte `contentType:"application/json"`
}

func (a *Server) registerMasks() {
	op := operation(scheduler.RoleViewer, "show-mask", http.MethodGet, "/cameras/{id}/mask", "cameras", "Show what is hidden of a camera, and which agents know")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, func(ctx context.Context, in *cameraInput) (*maskOutput, error) {
		id, err := cameraID("id", in.ID)
		if err != nil {
			return nil, err
		}
		return maskAnswer(a.mask(ctx, id))
	})

	op = operation(scheduler.RoleOperator, "set-mask", http.MethodPut, "/cameras/{id}/mask", "cameras", "Hide parts of a camera's picture")
	op.Description += " It is answered once the agents that are connected have it, or after 10 s: `agents` says which have. From then on nothing that those tell of the camera shows what is hidden, neither thumbnails nor hashes. Its present thumbnail is dropped."
	op.Errors = []int{http.StatusNotFound, http.StatusPreconditionFailed, http.StatusUnprocessableEntity}
	op.MaxBodyBytes = fleet.MaxMaskBytes + 1
	op.SkipValidateBody = true // ParseMask names what it wants
	op.RequestBody = &huma.RequestBody{Required: true}
	register(a, op, a.setMask)
	// A raw body is described as bytes; it is told here what they are.
	op.RequestBody.Content["application/json"].Schema = a.api.OpenAPI().Components.Schemas.Schema(typeOf[MaskShapes](), true, "MaskShapes")

	op = operation(scheduler.RoleOperator, "clear-mask", http.MethodDelete, "/cameras/{id}/mask", "cameras", "Show all of a camera's picture again")
	op.Errors = []int{http.StatusNotFound, http.StatusPreconditionFailed}
	register(a, op, func(ctx context.Context, in *struct {
		ID      string `path:"id"`
		IfMatch string `header:"If-Match" doc:"take it off only if it is still this revision"`
	},
	) (*maskOutput, error) {
		return a.putMask(ctx, in.ID, in.IfMatch, nil)
	})
}

func (a *Server) mask(ctx context.Context, id fleet.CameraID) (scheduler.MaskView, error) {
	if _, err := a.camera(ctx, id); err != nil { // its error says where ids come from
		return scheduler.MaskView{}, err
	}
	return a.s.Mask(ctx, id)
}

func (a *Server) setMask(ctx context.Context, in *setMaskInput) (*maskOutput, error) {
	m, err := fleet.ParseMask(in.RawBody)
	if err != nil {
		return nil, invalid("body", "%v", err)
	}
	if !in.DryRun {
		return a.putMask(ctx, in.ID, in.IfMatch, m)
	}
	id, err := cameraID("id", in.ID)
	if err != nil {
		return nil, err
	}
	out, err := maskAnswer(a.mask(ctx, id))
	if err != nil {
		return nil, err
	}
	out.Body.Rectangles, out.Body.Polygons = append([]fleet.Rectangle{}, m.Rectangles...), append([][]fleet.Point{}, m.Polygons...)
	out.Body.Sum, out.Body.DryRun = m.Sum(), true
	return out, nil
}

func (a *Server) putMask(ctx context.Context, text, match string, m *fleet.Mask) (*maskOutput, error) {
	id, err := cameraID("id", text)
	if err != nil {
		return nil, err
	}
	revision, err := ifRevision(match)
	if err != nil {
		return nil, err
	}
	before, err := a.mask(ctx, id)
	if err != nil {
		return nil, err
	}
	by := visitorOf(ctx).Name
	v, err := a.s.SetMask(ctx, scheduler.NewMask{Camera: id, Mask: m, By: by, IfRevision: revision})
	if revision != nil && errors.Is(err, scheduler.ErrConflict) {
		return nil, huma.Error412PreconditionFailed(fmt.Sprintf("the mask of camera %s was %v", id, scheduler.ErrConflict))
	}
	if err == nil && v.Revision != before.Revision {
		a.log.InfoContext(ctx, "privacy mask changed", "camera_id", id, "revision", v.Revision, "shapes", v.Shapes(), "sum", v.Sum, "by", by)
	}
	return maskAnswer(v, err)
}

// ifRevision reads If-Match, of which "0" is a camera that never had a mask: who
// saw none does not overwrite the one that somebody else has set since.
func ifRevision(h string) (*uint64, error) {
	if strings.TrimSpace(h) == etag(0) {
		return new(uint64(0)), nil
	}
	v, err := ifMatch(h)
	if err != nil || v == 0 {
		return nil, err
	}
	return &v, nil
}

// maskText says a mask in a line of the camera's page; "" for none.
func maskText(b *MaskBrief) string {
	switch {
	case b == nil:
		return ""
	case b.Shapes == 1:
		return "1 shape hides a part of the picture"
	}
	return strconv.Itoa(b.Shapes) + " shapes hide parts of the picture"
}
