//go:build !race

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// why asks over the API, and returns the rungs as they came and the whole.
func (h *house) why(q admin.Explain) (told []admin.Rung, whole admin.Explanation, err error) {
	h.t.Helper()
	err = h.api.Stream(h.t.Context(), "explain", q, func(name string, data []byte) error {
		switch name {
		case "rung":
			told = append(told, admin.Rung{})
			return json.Unmarshal(data, &told[len(told)-1])
		case "explanation":
			return json.Unmarshal(data, &whole)
		}
		return errors.New(string(data))
	})
	return told, whole, err
}

// TestWhy: a question goes from the API to the agent and the camera, and each
// rung comes back as it ends; it breaks off with its asker and with the line.
func TestWhy(t *testing.T) {
	t.Parallel()
	cams := small("gate", "wall")
	cams[0].Open, cams[0].Faults = false, []camtest.Fault{camtest.WrongPassword}
	h := newHouse(t, cams)
	gate, wall := h.byName["gate"], h.byName["wall"]
	refusal := &client.Error{}
	if _, _, err := h.why(admin.Explain{Camera: gate.String()}); !errors.As(err, &refusal) || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("without an agent: %v", err)
	}
	h.startAgent(edge.Options{})

	told, e, err := h.why(admin.Explain{Camera: wall.String()})
	check(t, err)
	if !e.OK || len(e.Rungs) != 11 || len(told) != 11 || e.Agent == "" || e.Subject != wall.String() {
		t.Errorf("a well camera: %+v, %d rungs came before", e, len(told))
	}
	_, e, err = h.why(admin.Explain{Camera: gate.String()})
	check(t, err)
	if e.OK || e.Failed != protocols.RungKeyFrame {
		t.Errorf("a wrong password: %+v", e)
	}
	if n := h.town.Stats("gate").Refused; n > 2 {
		t.Errorf("%d logins were refused", n)
	}
	info, _ := h.town.Camera("wall")
	block := info.Addr.As4()
	block[3] = 254 // nobody lives there
	_, e, err = h.why(admin.Explain{Site: "lab", Address: netip.AddrFrom4(block).String()})
	check(t, err)
	if e.Failed != protocols.RungPorts {
		t.Errorf("an empty address: %+v", e)
	}
	refusal = &client.Error{}
	if err := h.api.Create(t.Context(), "cameras/"+wall.String()+"/reboot", url.Values{}, struct{}{}, nil); !errors.As(err, &refusal) || refusal.Status != http.StatusBadGateway {
		t.Errorf("a camera without ONVIF restarts: %v", err)
	}

	// A camera that says nothing keeps the agent at it.
	check(t, h.town.SetFault("wall", camtest.Silent, true))
	ask := func(ctx context.Context) error {
		_, _, err := h.cen.Scheduler.Do(ctx, scheduler.Command{Kind: fleet.CommandExplain, Camera: wall, Argument: fleet.ExplainRequest{Camera: wall}, Within: time.Minute}, nil)
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := ask(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the asker left: %v", err)
	}
	answers := make(chan error, 5)
	for range 5 { // one more than an agent does
		go func() { answers <- ask(t.Context()) }()
	}
	if err := <-answers; !errors.Is(err, scheduler.ErrTooMany) {
		t.Errorf("the fifth question: %v", err)
	}
	h.line.setCut(true)
	for range 4 {
		if err := <-answers; !errors.Is(err, scheduler.ErrLineLost) {
			t.Errorf("the line was cut: %v", err)
		}
	}
}
