package rtsp_test

import (
	"context"
	"fmt"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/rtsp"
)

func Example() {
	g := guard.New(guard.Options{})
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	_, err := rtsp.New(g, rtsp.Options{}).Grab(ctx, fleet.Target{
		Device:    "urn:uuid:7f3a",
		Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://viewer:secret@192.0.2.7/live"}},
	})
	fmt.Println(err)
	// Output: address rtsp://viewer:xxxxx@192.0.2.7/live holds credentials: store them apart
}
