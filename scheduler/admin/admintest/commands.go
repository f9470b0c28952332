package admintest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// Do has Fleet.Agent do a command, as agent-1.
func (f *Fleet) Do(ctx context.Context, c scheduler.Command, progress func(json.RawMessage)) (json.RawMessage, fleet.AgentID, error) {
	if f.Agent == nil {
		return nil, "", fmt.Errorf("site home: %w", scheduler.ErrNoAgent)
	}
	out, err := f.Agent(ctx, c, progress)
	return out, "agent-1", err
}
