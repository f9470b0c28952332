package gateway

import (
	"encoding/json"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/wire"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

func mask(m *fleet.CameraMask) *wire.CameraMask {
	if m.Revision == 0 {
		return nil
	}
	// Numbers always are JSON. Were they not, the agent could not read the mask,
	// and would not look at the camera.
	shapes, _ := json.Marshal(m.Mask)
	return &wire.CameraMask{Revision: m.Revision, Shapes: shapes}
}

func masks(all []scheduler.MaskNeeded) (out []*wire.MaskNeeded) {
	for _, m := range all {
		out = append(out, &wire.MaskNeeded{Camera: uint64(m.Camera), Revision: m.Revision})
	}
	return out
}
