package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/shutterfleet/shutterfleet/scheduler"
)

// maxCoalesced bounds the events held back for one reader; beyond it the
// reader is told to read everything again.
const maxCoalesced = 10_000

// kindResync tells a reader that it missed events.
const kindResync = "resync"

// writeTime bounds one write to a reader that takes nothing.
const writeTime = 10 * time.Second

type eventsInput struct {
	Coalesce int `query:"coalesce" minimum:"0" maximum:"10000" doc:"milliseconds in which equal events are sent once"`
}

func (a *Server) registerEvents() {
	op := operation(scheduler.RoleViewer, "watch-events", http.MethodGet, "/events", "events", "Watch what changes, as server-sent events")
	op.Description += " An event says what changed; what it is now, the other operations say. After `resync` events were lost: read everything again."
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Events until the reader goes away; each has its kind as name and this as data",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: a.api.OpenAPI().Components.Schemas.Schema(typeOf[Event](), true, "Event")}},
	}}
	register(a, op, func(_ context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(ctx huma.Context) {
			r, w := humago.Unwrap(ctx)
			w.Header().Set("Content-Type", "text/event-stream")
			w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
			a.stream(r, w, time.Duration(in.Coalesce)*time.Millisecond)
		}}, nil
	})
}

// stream sends events until the reader goes, its session ends, or the
// scheduler stops.
func (a *Server) stream(r *http.Request, w http.ResponseWriter, coalesce time.Duration) {
	// The subscription ends with the stream, not only with the request.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	out := &eventWriter{w: w, c: http.NewResponseController(w)}
	// A server's read timeout counts from the request's start, and a stream has
	// no end. Recorders in tests know no deadline.
	_ = out.c.SetReadDeadline(time.Time{})
	events := a.s.Subscribe(ctx)
	beat := time.NewTicker(a.o.Heartbeat)
	defer beat.Stop()
	who := visitorOf(ctx)

	// The first of a burst goes at once, the rest once the window has passed.
	held := map[scheduler.Event]bool{}
	var order []scheduler.Event
	var window <-chan time.Time
	flush := func() error {
		for _, e := range order {
			out.event(e)
		}
		order = order[:0]
		clear(held)
		if coalesce > 0 {
			window = time.After(coalesce)
		}
		return out.flush()
	}
	out.text(": watching\nretry: 2000\n\n")
	for err := out.flush(); err == nil; {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			if len(order) >= maxCoalesced {
				order = order[:0]
				clear(held)
				e = scheduler.Event{Kind: kindResync}
			}
			if !held[e] {
				held[e] = true
				order = append(order, e)
			}
			if window == nil {
				err = flush()
			}
		case <-window:
			window = nil
			if len(order) > 0 {
				err = flush()
			}
		case <-beat.C:
			if !a.doors.still(ctx, who) {
				return
			}
			out.text(": still here\n\n")
			err = out.flush()
		}
	}
}

type eventWriter struct {
	w http.ResponseWriter
	c *http.ResponseController
	b []byte
}

func (o *eventWriter) text(s string) { o.b = append(o.b, s...) }

func (o *eventWriter) event(e scheduler.Event) {
	data, err := json.Marshal(eventOf(e))
	if err != nil { // plain strings always marshal
		return
	}
	o.b = fmt.Appendf(o.b, "event: %s\ndata: %s\n\n", e.Kind, data)
}

func (o *eventWriter) flush() error {
	// Recorders in tests know no deadline.
	_ = o.c.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := o.w.Write(o.b); err != nil {
		return err
	}
	o.b = o.b[:0]
	return o.c.Flush()
}
