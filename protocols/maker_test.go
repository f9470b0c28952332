package protocols_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols"
)

// TestByMaker: an address that somebody typed leads to a camera's page alone, or
// ONVIF is switched off. Its maker's calls tell what it is, and a picture comes.
func TestByMaker(t *testing.T) {
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		t.Fatal(err)
	}
	camera := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/onvif"):
			http.NotFound(w, r)
		case !strings.HasPrefix(r.Header.Get("Authorization"), `Digest username="viewer"`):
			w.Header().Set("WWW-Authenticate", `Digest realm="AXIS_ACCC8E000417", nonce="1", qop="auth"`)
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/axis-cgi/param.cgi":
			fmt.Fprint(w, "root.Brand.ProdNbr=P3245-LVE\nroot.Properties.System.SerialNumber=ACCC8E000417\n")
		case r.URL.Path == "/axis-cgi/jpg/image.cgi":
			w.Header().Set("Content-Type", "image/jpeg")
			_, _ = w.Write(picture.Bytes())
		default:
			fmt.Fprint(w, "<html>")
		}
	}))
	defer camera.Close()
	m := protocols.New(protocols.Options{})
	defer m.Guard().Close()
	for name, e := range map[string]fleet.Endpoint{
		"its page":           {Protocol: fleet.Snapshot, URL: camera.URL + "/"},
		"ONVIF switched off": {Protocol: fleet.ONVIF, URL: camera.URL + "/onvif/device_service"},
	} {
		login := []fleet.Credentials{{User: "viewer", Password: "secret", Version: 1}}
		d, err := m.Describe(t.Context(), fleet.Target{Device: name, Endpoints: []fleet.Endpoint{e}, Credentials: login})
		if err != nil || d.State != fleet.DeviceOK || d.Vendor != "Axis" || d.Model != "P3245-LVE" {
			t.Fatalf("%s: %+v, %v", name, d, err)
		}
		f, err := m.Grab(t.Context(), fleet.Target{Device: name, Endpoints: d.Endpoints, Credentials: login})
		if err != nil || f.Codec != fleet.JPEG || !bytes.Equal(f.Data, picture.Bytes()) {
			t.Errorf("%s: %v, %v", name, f.Codec, err)
		}
	}
}
