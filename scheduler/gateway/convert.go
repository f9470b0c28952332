package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

func standing(v *scheduler.Standing) *wire.Standing {
	m := &wire.Standing{Version: v.Version, UntilMs: int64(v.Until), Places: v.Places, Masks: masks(v.Masks)}
	for _, c := range v.Schedules {
		m.Schedules = append(m.Schedules, &wire.StandingSchedule{Id: uint64(c.ID), Revision: c.Revision, Spec: c.Spec})
	}
	for _, t := range v.Tasks {
		m.Tasks = wire.AppendTask(m.Tasks, wire.Task(t))
	}
	for _, p := range v.Pauses {
		m.Pauses = append(m.Pauses, &wire.StandingPause{Camera: uint64(p.Camera), Schedule: uint64(p.Schedule), FromMs: int64(p.From), UntilMs: int64(p.Until)})
	}
	return m
}

// able reads what an agent says it can do, within limits.
func able(h *wire.Hello) fleet.Able {
	a := fleet.Able{Cores: int(h.GetCores()), Analyzers: few(h.GetAnalyzers()), Tags: few(h.GetTags()), Masks: h.GetMasks()}
	for _, c := range few(h.GetCodecs()) {
		a.Codecs = append(a.Codecs, fleet.Codec(c))
	}
	return a
}

// few bounds a list of words that an agent sent.
func few(words []string) (out []string) {
	for _, w := range words[:min(len(words), 64)] {
		if len(w) <= 64 {
			out = append(out, w)
		}
	}
	return out
}

func load(l *wire.Load) fleet.Load {
	return fleet.Load{
		CPU: share(l.GetCpu()), Pressure: share(l.GetPressure()), RSS: l.GetRssBytes(), Available: l.GetAvailableBytes(),
		Capturing: int(l.GetCapturing()), Queue: int(l.GetQueue()), Decoding: int(l.GetDecoding()), Capacity: positive(l.GetCapacity()),
	}
}

// share and positive keep NaN and nonsense out of what is computed with them.
func share(v float64) float64 { return min(positive(v), 1) }

func positive(v float64) float64 {
	if v > 0 && v < 1e9 {
		return v
	}
	return 0
}

func cameras(l *scheduler.CameraList) *wire.Cameras {
	m := &wire.Cameras{Version: l.Version, Full: true, SiteCredentials: creds(l.Site)}
	for _, t := range l.Cameras {
		c := &wire.CameraConfig{Id: uint64(t.Camera), Device: t.Device, Source: t.Source, Credentials: creds(t.Credentials), Same: t.Same, Apart: t.Apart, Mask: mask(&t.Mask)}
		for _, e := range t.Endpoints {
			c.Endpoints = append(c.Endpoints, &wire.Endpoint{Protocol: string(e.Protocol), Url: e.URL})
		}
		m.Put = append(m.Put, c)
	}
	return m
}

func creds(cs []fleet.Credentials) (out []*wire.Credential) {
	for _, c := range cs {
		out = append(out, &wire.Credential{User: c.User, Password: c.Password.Reveal(), Version: c.Version})
	}
	return out
}

func parseDevices(raw [][]byte) ([]fleet.Device, error) {
	if len(raw) > maxDevices {
		return nil, fmt.Errorf("%d devices, at most %d", len(raw), maxDevices)
	}
	out := make([]fleet.Device, 0, len(raw))
	for _, b := range raw {
		if len(b) > maxDeviceLen {
			return nil, fmt.Errorf("a device of %d bytes", len(b))
		}
		var d fleet.Device
		if err := json.Unmarshal(b, &d); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// toStatus is the one table from errors to codes; uplink reads it back.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := status.FromError(err); ok {
		return err
	}
	code := codes.Unavailable
	switch {
	case errors.Is(err, scheduler.ErrUnauthorized):
		code = codes.PermissionDenied
	case errors.Is(err, scheduler.ErrNotFound):
		code = codes.NotFound
	case errors.Is(err, scheduler.ErrSuperseded):
		code = codes.Aborted
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	}
	return status.Error(code, err.Error())
}
