package onvif_test

import (
	"context"
	"fmt"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/onvif"
)

func Example() {
	g := guard.New(guard.Options{})
	defer g.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()

	d, err := onvif.New(g, onvif.Options{}).Describe(ctx, fleet.Target{
		Device:    "urn:uuid:7f3a",
		Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "rtsp://192.0.2.7/onvif/device_service"}},
	})
	fmt.Println(d.State)
	fmt.Println(err)
	// Output:
	// unreachable
	// address rtsp://192.0.2.7/onvif/device_service: want http://HOST/onvif/device_service
}
