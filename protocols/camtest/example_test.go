package camtest_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// A town with one open camera, asked for its picture.
func Example() {
	town, err := camtest.New(camtest.Options{NoDiscovery: true, Cameras: []camtest.Camera{{
		Name: "gate", Scene: camtest.Gate, Open: true, Protocols: []fleet.Protocol{fleet.Snapshot},
	}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- town.Run(ctx) }()
	<-town.Ready()

	res, err := http.Get(town.Cameras()[0].Snapshot)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = res.Body.Close()
	fmt.Println(res.StatusCode, res.Header.Get("Content-Type"))

	http.DefaultClient.CloseIdleConnections()
	cancel()
	fmt.Println(<-done)
	// Output:
	// 200 image/jpeg
	// <nil>
}

func ExampleParseFaults() {
	faults, err := camtest.ParseFaults("gate-north=blurred, *=slow")
	fmt.Println(faults, err)
	// Output: [{gate-north blurred} {* slow}] <nil>
}
