package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// IdentityKeeper shows devices whose evidence contradicts another's, and takes
// decisions.
type IdentityKeeper interface {
	Conflicts(context.Context, fleet.SiteID) ([]scheduler.ConflictView, error)
	Conflict(context.Context, fleet.CameraID) (scheduler.ConflictView, error)
	Resolve(context.Context, fleet.CameraID, scheduler.Resolution) (scheduler.CameraView, error)
}

// Conflict is a device whose evidence contradicts others': they stay apart
// until an operator decides.
type Conflict struct {
	Site   fleet.SiteID   `json:"site"`
	Device string         `json:"device"`
	Reason string         `json:"reason" doc:"what contradicts, and the fix"`
	Since  *fleet.Instant `json:"since,omitempty" doc:"absent: no rival is left, and its camera waits for a decision" format:"date-time"`
	Self   Side           `json:"self"`
	Rivals []Side         `json:"rivals"`
}

// Side is one side of a conflict.
type Side struct {
	Device    string           `json:"device" doc:"its key: what resolve calls the rival by"`
	Cameras   []fleet.CameraID `json:"cameras" doc:"enrolled for it, in whatever state"`
	Addresses []string         `json:"addresses"`
	Vendor    string           `json:"vendor"`
	Model     string           `json:"model"`
	Claims    []fleet.Claim    `json:"claims" doc:"what it says of who it is"`
	LastSeen  *fleet.Instant   `json:"last_seen,omitempty" doc:"when it was heard, to the minute; absent: never" format:"date-time"`
	Evidence  []fleet.Evidence `json:"evidence" doc:"for (weight above 0) and against (below) its being the other; junk: several live devices have it"`
}

func sideOf(r fleet.Rival, cameras []fleet.CameraID) Side {
	s := Side{
		Device: r.Key, Cameras: append([]fleet.CameraID{}, cameras...), Addresses: []string{}, Vendor: r.Vendor, Model: r.Model,
		Claims: append([]fleet.Claim{}, r.Claims...), Evidence: append([]fleet.Evidence{}, r.Evidence...),
	}
	for _, a := range r.Addresses {
		s.Addresses = append(s.Addresses, a.String())
	}
	if !r.LastSeen.IsZero() {
		s.LastSeen = some(fleet.At(r.LastSeen))
	}
	return s
}

func conflictOf(v scheduler.ConflictView) Conflict {
	c := Conflict{Site: v.Site, Device: v.Device, Reason: v.Reason, Since: some(v.Since), Self: sideOf(v.Self, v.Cameras), Rivals: []Side{}}
	for _, r := range v.Rivals {
		c.Rivals = append(c.Rivals, sideOf(r.Rival, r.Cameras))
	}
	return c
}

// fixes say what to do about each state of a device.
var fixes = map[fleet.DeviceState]string{
	fleet.DeviceNeedsCredentials: "Give its login with `creds put`, or on its page: it is tried at once.",
	fleet.DeviceLocked:           "Wait half an hour without trying, or restart it; then correct its login with `creds put`.",
	fleet.DeviceSkewed:           "Set an NTP server in its own settings.",
	fleet.DeviceUnreachable:      "Check its power, cable, VLAN and address. A changed address is found again by itself.",
	fleet.DeviceConflict:         "Compare the two sides and decide with `cameras resolve`, or on its page.",
}

type resolveInput struct {
	ID   string `path:"id"`
	Body struct {
		Decision string `json:"decision" enum:"same,different" doc:"same: one device, whose rival's cameras are retired; different: two devices that share some evidence"`
		Rival    string `json:"rival,omitempty" maxLength:"512" doc:"the rival's device; may be left out when there is one"`
	}
}

func (a *Server) registerConflicts() {
	register(a, operation(scheduler.RoleViewer, "list-conflicts", http.MethodGet, "/conflicts", "conflicts", "List devices whose evidence contradicts another's"),
		func(ctx context.Context, in *struct {
			Site string `query:"site"`
		},
		) (*listOutput[Conflict], error) {
			v, err := a.s.Conflicts(ctx, fleet.SiteID(in.Site))
			return listOf(each(v, conflictOf)), err
		})

	op := operation(scheduler.RoleViewer, "show-conflict", http.MethodGet, "/cameras/{id}/conflict", "conflicts", "Show both sides of a camera's conflict")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, func(ctx context.Context, in *cameraInput) (*output[Conflict], error) {
		id, err := cameraID("id", in.ID)
		if err != nil {
			return nil, err
		}
		v, err := a.s.Conflict(ctx, id)
		if err != nil {
			return nil, err
		}
		return outputOf(conflictOf(v)), nil
	})

	op = operation(scheduler.RoleOperator, "resolve-conflict", http.MethodPost, "/cameras/{id}/resolve", "conflicts", "Decide whether a camera's device and its rival are one")
	op.Errors = []int{http.StatusNotFound}
	register(a, op, func(ctx context.Context, in *resolveInput) (*cameraOutput, error) {
		id, err := cameraID("id", in.ID)
		if err != nil {
			return nil, err
		}
		return cameraAnswer(a.s.Resolve(ctx, id, scheduler.Resolution{Same: in.Body.Decision == "same", Rival: in.Body.Rival, By: visitorOf(ctx).Name}))
	})
}

// conflictPart is the side-by-side on a page.
type conflictPart struct {
	Conflict
	Now    fleet.Instant
	May    bool
	Camera fleet.CameraID // whose form it is; 0 = nobody's
}

func (a *Server) conflictPart(v scheduler.ConflictView, p page) conflictPart {
	c := conflictPart{Conflict: conflictOf(v), Now: p.Now, May: p.May}
	if len(v.Cameras) > 0 {
		c.Camera = v.Cameras[0]
	}
	return c
}

// Sides returns this side and its rivals, for columns.
func (c conflictPart) Sides() []shownSide {
	out := []shownSide{{Side: c.Self, Seen: seen(c.Self, c.Now)}}
	for _, r := range c.Rivals {
		out = append(out, shownSide{Side: r, Seen: seen(r, c.Now), Rival: true})
	}
	return out
}

// shownSide is one column.
type shownSide struct {
	Side
	Rival bool
	Seen  moment
}

func seen(s Side, now fleet.Instant) moment {
	if s.LastSeen == nil {
		return moment{Now: now}
	}
	return moment{*s.LastSeen, now}
}

func (a *Server) conflictsPage(w http.ResponseWriter, r *http.Request) error {
	all, err := a.s.Conflicts(r.Context(), fleet.SiteID(r.URL.Query().Get("site")))
	if err != nil {
		return err
	}
	p := a.page(r, "conflicts", false)
	// Both sides of one conflict are two entries: one of them is enough to see.
	var shown []conflictPart
	there := map[[2]string]bool{}
	for _, v := range all {
		again := len(v.Rivals) > 0
		for _, o := range v.Rivals {
			again = again && there[[2]string{string(v.Site) + "\n" + o.Key, v.Device}]
			there[[2]string{string(v.Site) + "\n" + v.Device, o.Key}] = true
		}
		if !again {
			shown = append(shown, a.conflictPart(v, p))
		}
	}
	a.show(w, r, http.StatusOK, "conflicts", "layout", struct {
		page
		Conflicts []conflictPart
	}{p, shown})
	return nil
}

// cameraConflict returns the side-by-side of a camera's page, or nil.
func (a *Server) cameraConflict(ctx context.Context, id fleet.CameraID, p page) (*conflictPart, error) {
	v, err := a.s.Conflict(ctx, id)
	if errors.Is(err, scheduler.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c := a.conflictPart(v, p)
	c.Camera = id
	return &c, nil
}

func (a *Server) resolveForm(w http.ResponseWriter, r *http.Request) error {
	id, err := cameraID("id", r.PathValue("id"))
	if err != nil {
		return fmt.Errorf("camera %q: %w", r.PathValue("id"), scheduler.ErrNotFound)
	}
	// A button's value is the decision and the rival that it is about.
	decision, rival, _ := strings.Cut(r.PostForm.Get("decision"), " ")
	if decision != "same" && decision != "different" {
		return invalid("decision", "%q: want same or different", decision)
	}
	v, err := a.s.Resolve(r.Context(), id, scheduler.Resolution{Same: decision == "same", Rival: rival, By: visitorOf(r.Context()).Name})
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/cameras/"+url.PathEscape(v.ID.String()), http.StatusSeeOther)
	return nil
}
