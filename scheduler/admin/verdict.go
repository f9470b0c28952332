package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// Verdict is what is said of one frame, by how its camera's pictures usually are.
type Verdict struct {
	Fault    fleet.Fault      `json:"fault" enum:"ok,black,over-exposed,under-exposed,flat,blurred,covered,moved,frozen,noisy,corrupt" doc:"ok when nothing is wrong"`
	Lasting  fleet.Fault      `json:"lasting,omitempty" doc:"the fault that has been there for long enough to hold for the camera"`
	Learning bool             `json:"learning" doc:"the camera is not known yet by this light: only what is wrong for any camera is said"`
	Score    float32          `json:"score,omitempty" doc:"how far beyond the limit: 0.5 at it, at most 1"`
	Evidence *VerdictEvidence `json:"evidence,omitempty" doc:"the number that decided; present with a fault"`
	Shift    *Shift           `json:"shift,omitempty" doc:"present with moved"`
}

// VerdictEvidence is the number that decided.
type VerdictEvidence struct {
	Metric string  `json:"metric" example:"correlation"`
	Value  float32 `json:"value" doc:"of this frame"`
	Usual  float32 `json:"usual" doc:"of this camera at this hour or by this light; 0 when it is not known"`
	Limit  float32 `json:"limit" doc:"what the value passed"`
}

// Shift is how far a picture moved.
type Shift struct {
	X float32 `json:"x" doc:"to the right, as a share of the width"`
	Y float32 `json:"y" doc:"downwards, as a share of the height"`
}

func verdictOf(v fleet.Verdict) *Verdict {
	if v.Fault == fleet.NotJudged {
		return nil
	}
	out := &Verdict{Fault: v.Fault, Lasting: v.Lasting, Learning: v.Learning, Score: v.Score}
	if v.Bad() {
		out.Evidence = &VerdictEvidence{v.Metric, v.Value, v.Usual, v.Limit}
	}
	if v.Fault == fleet.FaultMoved {
		out.Shift = &Shift{v.ShiftX, v.ShiftY}
	}
	return out
}

// verdictText says a verdict in a line, with what decided; "" for none.
func verdictText(v *Verdict) string {
	switch {
	case v == nil:
		return ""
	case v.Fault == fleet.FaultNone && v.Learning:
		return "learning how it looks"
	case v.Evidence == nil:
		return ""
	}
	e := v.Evidence
	text := fmt.Sprintf("%s %.3g, limit %.3g", e.Metric, e.Value, e.Limit)
	if e.Usual != 0 {
		text = fmt.Sprintf("%s %.3g, usual %.3g, limit %.3g", e.Metric, e.Value, e.Usual, e.Limit)
	}
	if s := v.Shift; s != nil {
		text += "; " + s.text()
	}
	return text
}

// text says where to.
func (s Shift) text() string {
	part := func(by float32, of, on, back string) string {
		if by < 0 {
			on = back
		}
		return fmt.Sprintf("%.0f %% of its %s %s", math.Abs(float64(100*by)), of, on)
	}
	return "the picture moved " + part(s.X, "width", "to the right", "to the left") + ", " + part(s.Y, "height", "down", "up")
}

// remedy says what to do about a fault that lasts.
var remedy = map[fleet.Fault]string{
	fleet.FaultBlack:        "Its pictures are black: is the lens cap on, the light off, the infrared lamp dead?",
	fleet.FaultOverExposed:  "Its pictures are blown out: look at its exposure, and at what shines into it.",
	fleet.FaultUnderExposed: "Its pictures are far darker than usual: look at its exposure and at the light.",
	fleet.FaultFlat:         "Its pictures show nothing but one shade: look at the lens and at the sensor.",
	fleet.FaultBlurred:      "Its pictures are less sharp than usual: clean the lens, then focus it.",
	fleet.FaultCovered:      "Something hides most of what it usually shows: look at what is before the lens.",
	fleet.FaultMoved:        "It looks elsewhere than usual. Turn it back, or accept how it looks now.",
	fleet.FaultFrozen:       "Its picture stands still: restart it.",
	fleet.FaultNoisy:        "Its pictures are noisier than usual: look at the light, its gain and its supply.",
	fleet.FaultCorrupt:      "Parts of its pictures are missing: a network that loses packets, or a camera that needs a restart.",
}

// lasting is what is wrong with a camera's pictures for long enough; "" when
// nothing is, or when its last occurrence gave none.
func lasting(v scheduler.CameraView) fleet.Fault {
	if v.Last == nil || v.Last.Outcome != fleet.Captured {
		return ""
	}
	return v.Last.Reading.Verdict.Lasting
}

// relearnTime bounds an acceptance: the agent writes one note.
const relearnTime = 15 * time.Second

// Accepted tells that a camera's looks are learned anew.
type Accepted struct {
	Camera  fleet.CameraID `json:"camera"`
	Agent   fleet.AgentID  `json:"agent" doc:"who learns them"`
	Lasting fleet.Fault    `json:"lasting,omitempty" doc:"the fault that had lasted; absent when none had"`
	Since   *time.Time     `json:"since,omitempty" doc:"since when its pictures had it" format:"date-time"`
}

type acceptInput struct {
	ID string `path:"id" example:"cam-0r4k2m7q1x0ab"`
}

func (a *Server) registerVerdicts() {
	op := operation(scheduler.RoleOperator, "accept-camera", http.MethodPost, "/cameras/{id}/accept", "cameras", "Accept how a camera looks now")
	op.Description += " For a camera that was moved, or whose surroundings changed, on purpose: its agent forgets how it looked and learns it anew from its next ordinary frames."
	op.Errors = []int{http.StatusNotFound, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}
	register(a, op, func(ctx context.Context, in *acceptInput) (*output[Accepted], error) {
		id, err := cameraID("id", in.ID)
		if err != nil {
			return nil, err
		}
		v, err := a.accept(ctx, id)
		return outputOf(v), err
	})
}

func (a *Server) accept(ctx context.Context, id fleet.CameraID) (Accepted, error) {
	v, err := a.camera(ctx, id)
	if err != nil {
		return Accepted{}, err
	}
	if v.State != fleet.Approved {
		return Accepted{}, invalid("id", "camera %s is %s: approve it first", id, v.State)
	}
	raw, agent, err := a.s.Do(ctx, scheduler.Command{Kind: fleet.CommandRelearn, Camera: id, Argument: fleet.RelearnRequest{Camera: id}, Within: relearnTime}, nil)
	if err != nil {
		return Accepted{}, err
	}
	var answer fleet.RelearnResult
	if err := json.Unmarshal(raw, &answer); err != nil {
		return Accepted{}, &scheduler.CommandError{Agent: agent, Detail: "agent " + string(agent) + " does not answer as agents do: update it"}
	}
	a.log.InfoContext(ctx, "camera accepted as it looks now", "camera_id", id, "agent_id", agent, "lasting", answer.Lasting, "by", visitorOf(ctx).Name)
	out := Accepted{Camera: id, Agent: agent, Lasting: answer.Lasting}
	if !answer.Since.IsZero() {
		out.Since = &answer.Since
	}
	return out, nil
}

func (a *Server) acceptForm(w http.ResponseWriter, r *http.Request) error {
	id, err := cameraID("id", r.PathValue("id"))
	if err != nil {
		return err
	}
	if _, err := a.accept(r.Context(), id); err != nil {
		return err
	}
	http.Redirect(w, r, "/cameras/"+id.String(), http.StatusSeeOther) //nolint:gosec // an id has no slash
	return nil
}
