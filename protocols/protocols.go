// Package protocols is how an agent meets cameras: it finds them on the LAN,
// asks each what it offers, and takes single frames from it.
//
//	Finder ──Sighting──► (inventory merges) ──Target──► Describer ──► Device
//	                                             └────► Grabber   ──► Frame
//
// The folders below speak one protocol each; this package holds the three
// interfaces they meet behind, and the Mux that is all of them at once.
package protocols

import (
	"context"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// A Finder listens for cameras on the LAN.
type Finder interface {
	// Find blocks until ctx is done and calls heard for each answer, from one
	// goroutine at a time. The same device is heard again and again; whoever
	// listens merges. A network that is not there yet is no error: Find waits
	// for it. Heard must return soon, or datagrams are lost.
	Find(ctx context.Context, heard func(fleet.Sighting)) error
}

// A Describer asks a device who it is and which sources it has.
type Describer interface {
	// Describe tries the target's endpoints in their order. A device that does
	// not let us in is still returned, as far as it is known, with its State
	// and Reason; every error is a *fleet.CameraError.
	Describe(ctx context.Context, t fleet.Target) (fleet.Device, error)
}

// A Grabber takes one frame.
type Grabber interface {
	// Grab takes one frame from the target before ctx's deadline. Every error
	// is a *fleet.CameraError whose cause becomes the capture's.
	Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error)
}
