package rtsp

import (
	"context"
	"fmt"
	"strings"

	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// DescribeStream asks what the stream at t.Endpoints[0] is, and says it in a few
// words, such as "1 video track: H264". It logs in as Grab does, plays nothing,
// and closes its connection. Errors are *fleet.CameraError; a redirect is one.
func (g *Grabber) DescribeStream(ctx context.Context, t fleet.Target) (string, error) {
	if len(t.Endpoints) == 0 {
		return "", fleet.Errorf(fleet.CauseInternal, "no RTSP address to describe")
	}
	u, err := parseURL(t.Endpoints[0].URL)
	if err != nil {
		return "", err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, grabWait)
		defer cancel()
	}
	s := newStream(ctx, g, t, u)
	defer s.close()
	desc, err := s.describe(ctx)
	if to := s.movedTo(); err != nil && to != "" {
		err = fleet.Errorf(fleet.CauseProtocol, "the camera sends us to another address")
	}
	if err != nil {
		return "", guard.CameraError(s.cause(ctx, err), "describe "+u.String())
	}
	var video []string
	other := 0
	for _, m := range desc.Medias {
		if m.Type != description.MediaTypeVideo || m.IsBackChannel {
			other++
			continue
		}
		for _, f := range m.Formats {
			video = append(video, f.Codec())
		}
	}
	text := fmt.Sprintf("%d video tracks: %s", len(video), strings.Join(video, ", "))
	if len(video) == 1 {
		text = "1 video track: " + video[0]
	}
	if other > 0 {
		text += fmt.Sprintf("; %d others", other)
	}
	// What cannot be photographed says so here, before anything is waited for.
	if _, _, _, _, err := choose(desc); err != nil {
		return text, err
	}
	return text, nil
}

// describe connects and asks for the stream's description.
func (s *stream) describe(ctx context.Context) (desc *description.Session, err error) {
	if err := s.client.Start2(); err != nil {
		return nil, err
	}
	s.started = true
	err = s.ask(ctx, func() (err error) {
		desc, _, err = s.client.Describe(s.url)
		return err
	})
	return desc, err
}
