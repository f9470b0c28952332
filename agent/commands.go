package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"

	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Explainer climbs the ladder to a camera; *protocols.Ladder is one.
type Explainer interface {
	Explain(ctx context.Context, t fleet.Target, each func(fleet.Rung)) fleet.Explanation
}

// Rebooter restarts cameras; *protocols.Mux is one.
type Rebooter interface {
	Reboot(ctx context.Context, t fleet.Target) (message string, err error)
}

// Relearner learns anew how a camera looks; *Looks is one.
type Relearner interface {
	Relearn(ctx context.Context, c fleet.CameraID) (fleet.RelearnResult, error)
}

// Commands do what operators ask of an agent.
type Commands struct {
	Store   *store.Store
	Devices func() []fleet.Device // what is on the LAN
	Explain Explainer
	Reboot  Rebooter
	Forget  func(device string) // its TLS keys
	Relearn Relearner           // nil: the command is unknown
}

// Do implements uplink.Doer: the kinds are fleet's, and so are their arguments
// and results.
func (c *Commands) Do(ctx context.Context, kind string, argument []byte, progress func([]byte)) ([]byte, error) {
	switch kind {
	case fleet.CommandExplain:
		return do(argument, func(r fleet.ExplainRequest) (fleet.Explanation, error) {
			return c.explain(ctx, r, func(v fleet.Rung) {
				if b, err := json.Marshal(v); err == nil { // texts and numbers always are
					progress(b)
				}
			})
		})
	case fleet.CommandReboot:
		return do(argument, func(r fleet.RebootRequest) (fleet.RebootResult, error) {
			t, err := c.camera(r.Camera)
			if err != nil {
				return fleet.RebootResult{}, err
			}
			text, err := c.Reboot.Reboot(ctx, t)
			return fleet.RebootResult{Message: text}, err
		})
	case fleet.CommandTrust:
		return do(argument, func(r fleet.TrustRequest) (struct{}, error) {
			t, err := c.camera(r.Camera)
			if err == nil {
				c.Forget(t.Device)
			}
			return struct{}{}, err
		})
	case fleet.CommandRelearn:
		if c.Relearn == nil {
			break
		}
		return do(argument, func(r fleet.RelearnRequest) (fleet.RelearnResult, error) {
			if _, err := c.camera(r.Camera); err != nil {
				return fleet.RelearnResult{}, err
			}
			return c.Relearn.Relearn(ctx, r.Camera)
		})
	}
	return nil, fmt.Errorf("%q: %w", kind, uplink.ErrUnknownCommand)
}

// do reads the argument and writes the result.
func do[A, R any](argument []byte, f func(A) (R, error)) ([]byte, error) {
	var a A
	if err := json.Unmarshal(argument, &a); err != nil {
		return nil, fmt.Errorf("the command's argument cannot be read: %w", err)
	}
	r, err := f(a)
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

func (c *Commands) camera(id fleet.CameraID) (fleet.Target, error) {
	t, ok := c.Store.Camera(id)
	if !ok {
		return t, fmt.Errorf("this agent does not serve camera %s (yet): approve it, or ask again in a moment", id)
	}
	return t, nil
}

func (c *Commands) explain(ctx context.Context, r fleet.ExplainRequest, each func(fleet.Rung)) (fleet.Explanation, error) {
	var t fleet.Target
	var err error
	subject := r.Address.String()
	if r.Camera != 0 {
		subject = r.Camera.String()
		t, err = c.camera(r.Camera)
	} else {
		t, err = c.address(r.Address)
	}
	if err != nil {
		return fleet.Explanation{}, err
	}
	e := c.Explain.Explain(ctx, t, each)
	e.Subject = subject
	return e, nil
}

// address is the target at an address: a camera that is enrolled, a device that
// was heard, or whatever is there, to be tried with the site's logins.
func (c *Commands) address(a netip.Addr) (fleet.Target, error) {
	if a = a.Unmap(); !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
		return fleet.Target{}, fmt.Errorf("address %q: want the IP address of one host, without a zone", a)
	}
	has := func(e fleet.Endpoint) bool {
		u, err := url.Parse(e.URL)
		if err != nil {
			return false
		}
		at, err := netip.ParseAddr(u.Hostname())
		return err == nil && at.Unmap() == a
	}
	list := c.Store.Cameras()
	for _, t := range list.Put {
		if slices.ContainsFunc(t.Endpoints, has) {
			return t, nil
		}
	}
	for _, d := range c.Devices() {
		if slices.Contains(d.Addresses, a) && len(d.Endpoints) > 0 {
			return fleet.Target{Device: d.Key, Endpoints: d.Endpoints, Credentials: list.Site}, nil
		}
	}
	return fleet.Target{Endpoints: []fleet.Endpoint{{URL: "//" + netip.AddrPortFrom(a, 0).String()}}, Credentials: list.Site}, nil
}

// TakeCommand remembers a command's id.
func (m Memory) TakeCommand(ctx context.Context, id string, deadline, now fleet.Instant, nonce, fence uint64) error {
	err := m.Store.TakeCommand(ctx, id, deadline, now, nonce, fence)
	if errors.Is(err, store.ErrTaken) {
		return uplink.ErrTaken
	}
	return err
}
