package protocols

import (
	"bytes"
	"image"
	"image/jpeg"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/vendor"
)

// TestDescribeByMaker: an address that gives no picture any more, on a device
// whose maker documents another.
func TestDescribeByMaker(t *testing.T) {
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/axis-cgi/basicdeviceinfo.cgi":
			io.WriteString(w, `{"data":{"propertyList":{"Brand":"AXIS","ProdNbr":"Q1615","SerialNumber":"ACCC8E010203","Version":"8.40.1"}}}`)
		case "/axis-cgi/jpg/image.cgi", "/mine.jpg":
			w.Write(picture.Bytes())
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	m := newMux(Options{Evidence: func(string) vendor.Evidence { return vendor.Evidence{MAC: "ac:cc:8e:01:02:03"} }}, nil, nil, nil)
	defer m.guard.Close()
	for path, first := range map[string]string{"/mine.jpg": "/mine.jpg", "/gone.jpg": "/axis-cgi/jpg/image.cgi"} {
		d, err := m.Describe(t.Context(), fleet.Target{Device: "d" + path, Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: s.URL + path}}})
		if err != nil || d.State != fleet.DeviceOK || d.Model != "Q1615" || d.Firmware != "8.40.1" || len(d.Sources) != 1 {
			t.Fatalf("%s: %+v, %v", path, d, err)
		}
		if got := d.Sources[0].Profiles[0].Endpoints[0].URL; got != s.URL+first {
			t.Errorf("%s: first address %s, want %s", path, got, first)
		}
		if !slices.Contains(d.Claims, fleet.Claim{Kind: fleet.ClaimMAC, Value: "ac:cc:8e:01:02:03"}) || !slices.Contains(d.Claims, fleet.Claim{Kind: fleet.ClaimURL, Value: s.URL + path}) {
			t.Errorf("%s: claims %v", path, d.Claims)
		}
	}
}

// TestMakerIsGentle: after a refused login no other way sends it again.
func TestMakerIsGentle(t *testing.T) {
	refused := fleet.Errorf(fleet.CauseUnauthorized, "the camera refused the login")
	known := device(fleet.DeviceOK, source("", profile("", 0, 0, stream)))
	for _, c := range []struct {
		name  string
		onvif error
		maker error
		asks  int    // of the maker
		grabs string // * with a login
		state fleet.DeviceState
		es    []fleet.Endpoint
	}{
		{"ONVIF refused", refused, nil, 0, snap.URL + "*", fleet.DeviceNeedsCredentials, []fleet.Endpoint{service, snap}},
		{"nobody there", fleet.Errorf(fleet.CauseUnreachable, "no route"), nil, 0, snap.URL + "*", fleet.DeviceNeedsCredentials, []fleet.Endpoint{service, snap}},
		{"no ONVIF, maker refused", fleet.Errorf(fleet.CauseNotFound, "404"), refused, 1, snap.URL, fleet.DeviceNeedsCredentials, []fleet.Endpoint{service, snap}},
		{"no ONVIF, maker unknown", fleet.Errorf(fleet.CauseNotFound, "404"), fleet.Errorf(fleet.CauseNotFound, "who"), 1, snap.URL + "*", fleet.DeviceNeedsCredentials, []fleet.Endpoint{service, snap}},
		{"no ONVIF, maker knows", fleet.Errorf(fleet.CauseNotFound, "404"), nil, 1, stream.URL + "*", fleet.DeviceOK, []fleet.Endpoint{service}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cam := &camera{failing: c.onvif, answers: map[string]answer{
				snap.URL:   {err: fleet.Errorf(fleet.CauseUnauthorized, "it wants a login")},
				stream.URL: {codec: fleet.JPEG},
			}}
			maker := &camera{failing: c.maker, devices: []fleet.Device{known}}
			m := muxOver(t, cam)
			m.maker = maker
			d, err := m.Describe(t.Context(), fleet.Target{Device: "d", Endpoints: c.es, Credentials: secret})
			if err != nil || d.State != c.state || maker.asks != c.asks {
				t.Errorf("state %s: %s, %v; the maker was asked %d times, want %s and %d", d.State, d.Reason, err, maker.asks, c.state, c.asks)
			}
			if got := cam.take(); got != c.grabs {
				t.Errorf("grabs %s, want %s", got, c.grabs)
			}
		})
	}
}
