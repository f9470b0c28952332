package protocols_test

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

func ExampleMux_Grab() {
	camera := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/snapshot.jpg" {
			http.NotFound(w, r)
			return
		}
		var b bytes.Buffer
		if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err == nil {
			w.Write(b.Bytes())
		}
	}))
	defer camera.Close()
	g := guard.New(guard.Options{})
	defer g.Close()
	m := protocols.New(protocols.Options{Guard: g, Codecs: []fleet.Codec{fleet.JPEG}})

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f, err := m.Grab(ctx, fleet.Target{Device: "urn:uuid:1", Endpoints: []fleet.Endpoint{
		{Protocol: fleet.MJPEG, URL: camera.URL + "/video"},
		{Protocol: fleet.Snapshot, URL: camera.URL + "/old.jpg"},
		{Protocol: fleet.Snapshot, URL: camera.URL + "/snapshot.jpg"},
	}})
	fmt.Println(f.Codec, f.Origin.Protocol, err)
	// Output: jpeg snapshot <nil>
}
