// Package protocols reaches cameras: three verbs, and a Mux that speaks them
// over every protocol there is.
//
//	Finder     listens and asks on the LAN          ──► sightings
//	Describer  asks one device what it is           ──► fleet.Device
//	Grabber    takes one frame from one camera      ──► fleet.Frame
//
// Vendor discovery protocols are Finders to come.
package protocols

import (
	"context"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Finder hears devices. Find blocks until ctx is done; it calls heard for each
// answer, from one goroutine at a time.
type Finder interface {
	Find(ctx context.Context, heard func(fleet.Sighting)) error
}

// Describer asks a device what it is. Errors are *fleet.CameraError.
type Describer interface {
	Describe(ctx context.Context, t fleet.Target) (fleet.Device, error)
}

// Grabber takes one frame. Errors are *fleet.CameraError.
type Grabber interface {
	Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error)
}
