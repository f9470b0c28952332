package agent

import (
	"context"

	"github.com/shutterfleet/shutterfleet/agent/standing"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Memory is agent/store as the uplink sees it.
type Memory struct{ *store.Store }

// Identity returns who this agent is.
func (m Memory) Identity() (uplink.Identity, bool, error) {
	id, ok, err := m.Store.Identity()
	return uplink.Identity(id), ok, err
}

// SetIdentity keeps who this agent is.
func (m Memory) SetIdentity(ctx context.Context, id uplink.Identity) error {
	return m.Store.SetIdentity(ctx, store.Identity(id))
}

// CamerasVersion returns the version of the camera list.
func (m Memory) CamerasVersion() uint64 { return m.Store.Cameras().Version }

// SetCameras changes the camera list.
func (m Memory) SetCameras(ctx context.Context, c uplink.Cameras, nonce, fence uint64) error {
	return m.Store.SetCameras(ctx, store.Cameras(c), nonce, fence)
}

// SetStanding keeps standing orders, when they can be read.
func (m Memory) SetStanding(ctx context.Context, version uint64, raw []byte, now fleet.Instant, nonce, fence uint64) error {
	if _, err := standing.Parse(raw); err != nil {
		return err
	}
	return m.Store.SetStanding(ctx, version, raw, now, nonce, fence)
}

// Take gives out undelivered outcomes.
func (m Memory) Take(ctx context.Context, limit int) ([]uplink.Row, error) {
	rows, err := m.Store.Take(ctx, limit)
	out := make([]uplink.Row, len(rows))
	for i, r := range rows {
		out[i] = uplink.Row(r)
	}
	return out, err
}
