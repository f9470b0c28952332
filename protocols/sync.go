package protocols

import (
	"context"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// synchronizer asks a device for a key frame now (ONVIF Media,
// SetSynchronizationPoint); profile is a Profile's token.
type synchronizer interface {
	Synchronize(ctx context.Context, t fleet.Target, profile string) error
}

// syncAfter is how long a stream is waited for before its device is asked for a
// key frame: most begin with one, and the question is one more connection.
const syncAfter = time.Second

// hasten asks for a key frame when the grab under way takes long. The function
// it returns ends that, and waits for a question under way. A device that does
// not understand it is not asked again. The camera is the caller's.
func (g *grabbing) hasten(ctx context.Context, w way) (end func()) {
	by, ok := g.mux.onvif.(synchronizer)
	rec, _ := g.mux.records.get(g.key)
	at := services(g.target)
	if !ok || rec.noSync || w.profile == "" || w.endpoint.Protocol != fleet.RTSP || len(at) == 0 || g.bare {
		return func() {}
	}
	t := g.target
	t.Endpoints = at[:1]
	ctx, cancel := context.WithCancel(ctx)
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		timer := time.NewTimer(syncAfter)
		defer timer.Stop()
		select {
		case <-timer.C:
			err = by.Synchronize(ctx, t, w.profile)
			if ctx.Err() != nil {
				err = nil // the frame came first
			}
		case <-ctx.Done():
		}
	}()
	return func() {
		cancel()
		<-done
		if err != nil {
			g.mux.opts.Log.DebugContext(ctx, "the device gives no key frame when asked", "device_id", t.Device, "err", err)
			rec, _ := g.mux.records.get(g.key)
			rec.noSync = true
			g.mux.records.put(g.key, rec)
		}
	}
}
