package edge

import (
	"encoding/json"
	"fmt"

	"github.com/shutterfleet/shutterfleet/agent/inventory"
	"github.com/shutterfleet/shutterfleet/agent/store"
)

// macs is inventory.HardwareMemory over the agent's store.
type macs struct{ store *store.Store }

func (m macs) Load(device string) (h inventory.Hardware, ok bool, err error) {
	b, err := m.store.Note(store.MACs, device)
	if b == nil || err != nil {
		return h, false, err //nolint:wrapcheck // it names the note
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, false, fmt.Errorf("hardware of %s: %w", device, err)
	}
	return h, true, nil
}

func (m macs) Save(device string, h inventory.Hardware) error {
	b, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("hardware of %s: %w", device, err)
	}
	m.store.SetNote(store.MACs, device, b)
	return nil
}
