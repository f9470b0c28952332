package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// advice says what to do about each cause; docs/causes.md says more.
var advice = map[fleet.Cause]string{
	fleet.CauseUnreachable:      "Check its power, cable, VLAN and address. A changed address is found again by itself.",
	fleet.CauseRefused:          "Is its service on? Another client may hold its only session.",
	fleet.CauseTimeout:          "It went silent. A slow camera needs a longer deadline in its schedule, a silent one a restart.",
	fleet.CauseUnauthorized:     "No login is known, or the known one is refused: store the right one below.",
	fleet.CauseLocked:           "Logins are blocked for now, by the camera or by our own budget. Correct the login; the block lifts by itself.",
	fleet.CauseNotFound:         "The address works, the picture's path does not: correct the URL, or let ONVIF tell it.",
	fleet.CauseProtocol:         "Its answer breaks the protocol; the detail says where. Please report the model.",
	fleet.CauseTooLarge:         "Lower its resolution, or use its sub-stream.",
	fleet.CauseCorrupt:          "The frame could not be decoded: a cut one points to the network, repeated ones to the camera.",
	fleet.CauseNoKeyframe:       "Shorten its key frame interval, or lengthen the deadline in its schedule.",
	fleet.CauseUnsupportedCodec: "Nothing on the agent decodes its stream: the detail says what to install. A JPEG snapshot works everywhere.",
	fleet.CauseGuarded:          "It pointed to another host, and the agent did not follow: correct the address it announces.",
	fleet.CauseStorage:          "The agent's disk is full or broken: free it, and captures resume by themselves.",
	fleet.CauseDeadline:         "It was not its turn in time: ask for fewer captures per second of this agent, or lengthen the deadline.",
	fleet.CauseAgentLost:        "No agent of the site was there in time: start it, or add a second one.",
	fleet.CauseSchedulerDown:    "The scheduler was not running: a longer lead bridges longer stops.",
	fleet.CausePaused:           "An operator paused it: the schedules page shows who, why and until when, and resumes it.",
	fleet.CauseBackoff:          "It failed so often that it is left alone for a while: the failures below say why.",
	fleet.CauseOverlap:          "The picture before took too long: ask for fewer, or let its schedule say `overlap: replace`.",
	fleet.CauseReplaced:         "The next picture was due before this one had ended: ask for fewer, or shorten the deadline in its schedule.",
	fleet.CauseOverload:         "The agent had more to do than it can: ask for fewer captures per second, bound the site's burst, or add an agent.",
	fleet.CauseMask:             "It has a privacy mask that its agent does not have, or cannot read: update the agent, or restart it.",
	fleet.CauseInternal:         "A fault of our own; the detail says which. Please report it.",
}

type captureRow struct {
	Capture
	Badge      badge
	FrameFacts string
	Evidence   string // what decided the verdict
}

type cameraData struct {
	page
	Camera   Camera
	Tile     tile
	Frame    moment
	Mask     string // what is hidden of it; "" when nothing is
	Maker    string
	Says     []string // what is wrong, and what to do
	Job      *jobPart // the picture that was asked for by the button
	AskLogin bool
	Accept   bool          // a fault lasts that an operator may say is none
	Conflict *conflictPart // both sides, when its device contradicts another
	Captures []captureRow
	Older    string
}

func (a *Server) cameraPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	id, err := cameraID("id", r.PathValue("id"))
	if err != nil {
		return fmt.Errorf("camera %q: %w", r.PathValue("id"), scheduler.ErrNotFound)
	}
	v, err := a.camera(ctx, id)
	if err != nil {
		return err
	}
	after := r.URL.Query().Get("after")
	captures, next, err := a.s.Captures(ctx, scheduler.CaptureQuery{Camera: id, After: after, Limit: capturesShown})
	if err != nil {
		return err
	}
	d := cameraData{page: a.page(r, "cameras", after == ""), Camera: cameraOf(v), Says: says(v), AskLogin: asksLogin(v), Accept: lasting(v) != ""}
	if d.Job, err = a.jobPart(ctx, r.URL.Query().Get("job"), id); err != nil {
		return err
	}
	if d.Conflict, err = a.cameraConflict(ctx, id, d.page); err != nil {
		return err
	}
	pauses, err := a.s.Pauses(ctx)
	if err != nil {
		return err
	}
	d.Says = append(pausesOf(v, pauses), d.Says...)
	d.Tile = tileOf(v, d.Now)
	d.Mask = maskText(d.Camera.Mask)
	d.Frame = moment{v.LastFrame, d.Now}
	d.Maker = strings.TrimSpace(v.Vendor + " " + v.Model)
	for _, c := range captures {
		d.Captures = append(d.Captures, a.captureRow(c))
	}
	if next != "" {
		d.Older = "/cameras/" + id.String() + "?after=" + next
	}
	a.show(w, r, http.StatusOK, "camera", "layout", d)
	return nil
}

func (a *Server) captureRow(c fleet.Capture) captureRow {
	row := captureRow{Capture: a.capture(c), Badge: captureBadge(c)}
	if c.Outcome == fleet.Captured {
		row.FrameFacts = fmt.Sprintf("%d×%d %s over %s, %d kB", row.Width, row.Height, row.Codec, row.Protocol, (row.Bytes+999)/1000)
		row.Evidence = verdictText(row.Verdict)
	}
	return row
}

// pausesOf says which pauses keep all schedules from a camera.
func pausesOf(v scheduler.CameraView, pauses []scheduler.Pause) (out []string) {
	for _, p := range pauses {
		if p.Schedule != "" || p.Camera != 0 && p.Camera != v.ID || p.Site != "" && p.Site != v.Site {
			continue
		}
		text := "Paused by " + cmp.Or(p.By, "an operator") + " until it is resumed"
		if p.Until != 0 {
			text = "Paused by " + cmp.Or(p.By, "an operator") + " until " + clock(p.Until)
		}
		if p.Reason != "" {
			text += ": " + p.Reason
		}
		out = append(out, text)
	}
	return out
}

// asksLogin reports whether a login is what the camera waits for.
func asksLogin(v scheduler.CameraView) bool {
	return v.Status == scheduler.StatusNeedsCredentials || v.DeviceState == fleet.DeviceNeedsCredentials || v.DeviceState == fleet.DeviceLocked ||
		v.Last != nil && (v.Last.Cause == fleet.CauseUnauthorized || v.Last.Cause == fleet.CauseLocked)
}

func says(v scheduler.CameraView) (out []string) {
	if v.Reason != "" && v.DeviceState != fleet.DeviceOK {
		out = append(out, v.Reason)
	}
	if fix, ok := fixes[v.DeviceState]; ok {
		out = append(out, fix)
	}
	switch v.Status {
	case scheduler.StatusFailed, scheduler.StatusMissed, scheduler.StatusNeedsCredentials:
		if v.Last != nil && v.Last.Outcome != fleet.Captured {
			if v.Last.Detail != "" {
				out = append(out, v.Last.Detail)
			}
			if text, ok := advice[v.Last.Cause]; ok {
				out = append(out, text)
			}
		}
	case scheduler.StatusOffline:
		out = append(out, "No agent of site "+string(v.Site)+" is connected: start it, and what it holds is delivered by itself.")
	case scheduler.StatusIdle:
		out = append(out, "No occurrence of it has ended yet.")
	}
	if text := remedy[lasting(v)]; text != "" {
		out = append(out, text)
	}
	return out
}

// --- agents ----------------------------------------------------------------------

type agentRow struct {
	Agent
	Badge badge
	Last  moment
}

func (a *Server) agentsPage(w http.ResponseWriter, r *http.Request) error {
	agents, err := a.s.Agents(r.Context())
	if err != nil {
		return err
	}
	p := a.page(r, "agents", true)
	a.show(w, r, http.StatusOK, "agents", "layout", struct {
		page
		AgentHost string
		Agents    []agentRow
	}{p, agentHost(r), each(agents, func(v fleet.Agent) agentRow {
		return agentRow{agentOf(v), agentBadge(v), moment{v.Seen, p.Now}}
	})})
	return nil
}

func agentBadge(v fleet.Agent) badge {
	switch {
	case v.State == fleet.Retired:
		return badge{Shape: scheduler.StatusRetired, Word: "revoked"}
	case v.State != fleet.Approved:
		return statusBadge(scheduler.StatusPending)
	case v.Connected:
		return badge{Shape: scheduler.StatusOK, Word: "connected"}
	}
	return statusBadge(scheduler.StatusOffline)
}
