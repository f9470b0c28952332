package edge

import (
	"log/slog"

	"github.com/shutterfleet/shutterfleet/agent/store"
)

// pins keeps the TLS keys that cameras showed first in the agent's store: a
// restart must not trust whoever answers then.
type pins struct {
	store *store.Store
	log   *slog.Logger
}

// Pin implements guard.Pins. A store that cannot be read knows no key and says
// so: a camera is better photographed than lost.
func (p pins) Pin(device string) ([]byte, bool) {
	b, err := p.store.Note(store.Pins, device)
	if err != nil {
		p.log.Error("the TLS key of a camera could not be read: the one that it shows is taken", "device_id", device, "err", err)
	}
	return b, b != nil
}

// SetPin implements guard.Pins.
func (p pins) SetPin(device string, spki []byte) { p.store.SetNote(store.Pins, device, spki) }
