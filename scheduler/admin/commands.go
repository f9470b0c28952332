package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// Commander has an agent do something now.
type Commander interface {
	Do(ctx context.Context, c scheduler.Command, progress func(json.RawMessage)) (json.RawMessage, fleet.AgentID, error)
}

const (
	// explainTime bounds an explanation: its rungs' bounds add up to 93 s, and few
	// cameras are slow at all of them.
	explainTime = 90 * time.Second
	rebootTime  = 30 * time.Second
)

// Rung is one step on the way to a camera's picture.
type Rung struct {
	Name   string           `json:"name" example:"login"`
	Result fleet.RungResult `json:"result" enum:"ok,failed,skipped,warning"`
	TookMS int64            `json:"took_ms"`
	Detail string           `json:"detail" doc:"what was seen"`
	Fix    string           `json:"fix,omitempty" doc:"what to do about it"`
}

// Explanation says where the way to a camera's picture breaks.
type Explanation struct {
	Subject string        `json:"subject" doc:"the camera's id, or the address"`
	Agent   fleet.AgentID `json:"agent" doc:"who looked"`
	OK      bool          `json:"ok" doc:"no rung failed"`
	Failed  string        `json:"failed,omitempty" doc:"the name of the first rung that failed: the one to mend"`
	Rungs   []Rung        `json:"rungs" doc:"in the order they were tried"`
}

// Explain asks for an explanation.
type Explain struct {
	Camera  string `json:"camera,omitempty" maxLength:"40" doc:"by id; or site and address" example:"cam-0r4k2m7q1x0ab"`
	Site    string `json:"site,omitempty" maxLength:"100" doc:"whose agent looks at the address"`
	Address string `json:"address,omitempty" maxLength:"50" doc:"of a host that may be no camera yet" example:"192.0.2.7"`
}

// Reboot is a camera's answer to a restart.
type Reboot struct {
	Camera  fleet.CameraID `json:"camera"`
	Agent   fleet.AgentID  `json:"agent" doc:"who asked it"`
	Message string         `json:"message" doc:"the camera's own words; may be empty"`
}

type rebootInput struct {
	OnceHeader
	ID string `path:"id" example:"cam-0r4k2m7q1x0ab"`
}

type rebootOutput struct {
	Replayed string `header:"Idempotent-Replayed" doc:"true when this answer was given before, for the same Idempotency-Key"`
	Body     Reboot
}

// Trust says which agent forgot a camera's TLS keys.
type Trust struct {
	Camera fleet.CameraID `json:"camera"`
	Agent  fleet.AgentID  `json:"agent" doc:"who forgot them"`
}

type trustOutput struct{ Body Trust }

func rungOf(r fleet.Rung) Rung {
	return Rung{Name: r.Name, Result: r.Result, TookMS: r.Took.Milliseconds(), Detail: r.Detail, Fix: r.Fix}
}

func explanationOf(e fleet.Explanation, agent fleet.AgentID) Explanation {
	out := Explanation{Subject: e.Subject, Agent: agent, OK: true, Rungs: each(e.Rungs, rungOf)}
	if r, ok := e.Failed(); ok {
		out.OK, out.Failed = false, r.Name
	}
	return out
}

func (a *Server) registerCommands() {
	commandErrors := []int{http.StatusNotFound, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

	op := operation(scheduler.RoleOperator, "explain", http.MethodPost, "/explain", "cameras", "Explain why a camera, or an address, gives no picture")
	op.Description += " The agent that serves the camera climbs from the route to a decoded frame, and each rung comes as it ends: as server-sent events named `rung`, at last one named `explanation` with the whole, or one named `problem` if it broke off. It costs the camera at most two refused logins."
	op.Errors = commandErrors
	schema := a.api.OpenAPI().Components.Schemas
	schema.Schema(typeOf[Rung](), true, "Rung")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "The rungs as they end, then the whole",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema.Schema(typeOf[Explanation](), true, "Explanation")}},
	}}
	register(a, op, func(ctx context.Context, in *struct{ Body Explain }) (*huma.StreamResponse, error) {
		c, err := a.explainCommand(ctx, in.Body)
		if err != nil {
			return nil, err
		}
		//nolint:contextcheck // huma hands the request over with its context
		return &huma.StreamResponse{Body: func(ctx huma.Context) { a.streamExplanation(ctx, op.OperationID, c) }}, nil
	})

	op = operation(scheduler.RoleOperator, "reboot-camera", http.MethodPost, "/cameras/{id}/reboot", "cameras", "Restart a camera, by ONVIF")
	op.Errors = commandErrors
	register(a, op, func(ctx context.Context, in *rebootInput) (*rebootOutput, error) {
		id, err := cameraID("id", in.ID)
		if err != nil {
			return nil, err
		}
		v, replayed, err := asOnce(ctx, a, op.OperationID, in.OnceHeader, in.ID, func(ctx context.Context) (Reboot, error) { return a.reboot(ctx, id) })
		return &rebootOutput{Replayed: replayed, Body: v}, err
	})

	op = operation(scheduler.RoleOperator, "trust-camera", http.MethodPost, "/cameras/{id}/trust", "cameras", "Take the TLS key that a camera shows from now on")
	op.Description += " A camera whose key is another than before is sent no login: it may be somebody else. After it was replaced, reset or given a new certificate, this has the agent that serves it forget the old key."
	op.Errors = commandErrors
	register(a, op, func(ctx context.Context, in *struct {
		ID string `path:"id" example:"cam-0r4k2m7q1x0ab"`
	}) (*trustOutput, error) {
		id, err := cameraID("id", in.ID)
		if err != nil {
			return nil, err
		}
		v, err := a.trust(ctx, id)
		return &trustOutput{Body: v}, err
	})
}

// trust has the agent that serves the camera forget its TLS keys.
func (a *Server) trust(ctx context.Context, id fleet.CameraID) (Trust, error) {
	if _, err := a.camera(ctx, id); err != nil {
		return Trust{}, err
	}
	_, agent, err := a.s.Do(ctx, scheduler.Command{Kind: fleet.CommandTrust, Camera: id, Argument: fleet.TrustRequest{Camera: id}, Within: rebootTime}, nil)
	if err != nil {
		return Trust{}, err
	}
	a.log.InfoContext(ctx, "the TLS keys of a camera are forgotten", "camera_id", id, "agent_id", agent, "by", visitorOf(ctx).Name)
	return Trust{Camera: id, Agent: agent}, nil
}

// explainCommand checks what is asked.
func (a *Server) explainCommand(ctx context.Context, in Explain) (scheduler.Command, error) {
	c := scheduler.Command{Kind: fleet.CommandExplain, Within: explainTime}
	switch {
	case in.Camera != "" && in.Address != "":
		return c, invalid("address", "give a camera, or a site and an address")
	case in.Camera != "":
		id, err := cameraID("camera", in.Camera)
		if err != nil {
			return c, err
		}
		v, err := a.camera(ctx, id)
		if err != nil {
			return c, err
		}
		c.Camera, c.Argument = id, fleet.ExplainRequest{Camera: id}
		if v.State == fleet.Approved || len(v.Addresses) == 0 {
			return c, nil
		}
		// Agents are told of approved cameras only: others are looked at by address.
		c.Camera, c.Site, c.Argument = 0, v.Site, fleet.ExplainRequest{Address: v.Addresses[0]}
		return c, nil
	case in.Site == "":
		return c, invalid("site", "which site's agent is to look at the address? `shutterfleet sites ls` lists all")
	}
	at, err := netip.ParseAddr(in.Address)
	if err != nil || at.Zone() != "" || at.IsMulticast() || at.IsUnspecified() {
		return c, invalid("address", "%q: want the IP address of one host, for example 192.0.2.7", in.Address)
	}
	c.Site, c.Argument = fleet.SiteID(in.Site), fleet.ExplainRequest{Address: at}
	return c, nil
}

// explain runs an explanation and calls each as a rung comes.
func (a *Server) explain(ctx context.Context, c scheduler.Command, each func(Rung)) (Explanation, error) {
	raw, agent, err := a.s.Do(ctx, c, func(b json.RawMessage) {
		var r fleet.Rung
		if json.Unmarshal(b, &r) == nil && r.Name != "" && each != nil {
			each(rungOf(r))
		}
	})
	if err != nil {
		return Explanation{}, err
	}
	var e fleet.Explanation
	if err := json.Unmarshal(raw, &e); err != nil {
		return Explanation{}, &scheduler.CommandError{Agent: agent, Detail: "agent " + string(agent) + " does not answer as agents do: update it"}
	}
	return explanationOf(e, agent), nil
}

// streamExplanation sends rungs as they come. What fails before the first one
// is a problem like any other.
func (a *Server) streamExplanation(hc huma.Context, operation string, c scheduler.Command) {
	r, w := humago.Unwrap(hc)
	out := &eventWriter{w: w, c: http.NewResponseController(w)}
	_ = out.c.SetReadDeadline(time.Time{}) // as with events: it outlives the server's patience
	begun := false
	say := func(name string, v any) {
		if !begun {
			begun = true
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("X-Accel-Buffering", "no") // nginx would hold rungs back
		}
		if b, err := json.Marshal(v); err == nil { // texts and numbers always are
			out.text(fmt.Sprintf("event: %s\ndata: %s\n\n", name, b))
		}
		_ = out.flush() // who went away ends the request's context
	}
	e, err := a.explain(r.Context(), c, func(v Rung) { say("rung", v) })
	switch {
	case err == nil:
		say("explanation", e)
	case r.Context().Err() != nil: // nobody is left to tell
	case begun:
		status, detail := problem(err)
		say("problem", &huma.ErrorModel{Title: http.StatusText(status), Status: status, Detail: detail})
	default:
		p := a.problem(r.Context(), operation, err)
		status, detail := problem(p)
		if se, ok := errors.AsType[huma.StatusError](p); ok {
			status, detail = se.GetStatus(), se.Error()
		}
		_ = huma.WriteErr(a.api, hc, status, detail)
	}
}

func (a *Server) reboot(ctx context.Context, id fleet.CameraID) (Reboot, error) {
	v, err := a.camera(ctx, id)
	if err != nil {
		return Reboot{}, err
	}
	if v.State != fleet.Approved {
		return Reboot{}, invalid("id", "camera %s is %s: approve it first", id, v.State)
	}
	raw, agent, err := a.s.Do(ctx, scheduler.Command{Kind: fleet.CommandReboot, Camera: id, Argument: fleet.RebootRequest{Camera: id}, Within: rebootTime}, nil)
	if err != nil {
		return Reboot{}, err
	}
	var answer fleet.RebootResult
	if err := json.Unmarshal(raw, &answer); err != nil {
		return Reboot{}, &scheduler.CommandError{Agent: agent, Detail: "agent " + string(agent) + " does not answer as agents do: update it"}
	}
	a.log.InfoContext(ctx, "camera restarted", "camera_id", id, "agent_id", agent, "by", visitorOf(ctx).Name)
	return Reboot{Camera: id, Agent: agent, Message: answer.Message}, nil
}

// whyPage is the explanation for browsers without scripts: it comes as a whole.
func (a *Server) whyPage(w http.ResponseWriter, r *http.Request) error {
	id, err := cameraID("id", r.PathValue("id"))
	if err != nil {
		return fmt.Errorf("camera %q: %w", r.PathValue("id"), scheduler.ErrNotFound)
	}
	v, err := a.camera(r.Context(), id)
	if err != nil {
		return err
	}
	c, err := a.explainCommand(r.Context(), Explain{Camera: id.String()})
	if err != nil {
		return err
	}
	// The server's write timeout counts from the request. Recorders in tests know
	// no deadline.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(explainTime + writeTime))
	e, err := a.explain(r.Context(), c, nil)
	if err != nil {
		return err
	}
	p := a.page(r, "cameras", false)
	a.show(w, r, http.StatusOK, "why", "layout", struct {
		page
		Camera Camera
		Name   string
		Why    Explanation
	}{p, cameraOf(v), tileOf(v, p.Now).Name, e})
	return nil
}
