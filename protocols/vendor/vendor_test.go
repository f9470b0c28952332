package vendor_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/vendor"
)

// device is a web server that looks like a maker's: it shows its sign on its
// front page, and answers one call behind Basic or digest, or openly.
type device struct {
	server, realm, page string
	info                string // path of its call
	answer              []byte
	status              int // of the call; 0 = 200
	asked               []string
	logins              int
}

func (d *device) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.asked = append(d.asked, r.URL.Path)
	if d.server != "" {
		w.Header().Set("Server", d.server)
	}
	auth := r.Header.Get("Authorization")
	if auth != "" {
		d.logins++
	}
	switch {
	case d.realm != "" && !strings.HasPrefix(auth, `Digest username="viewer"`):
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="%s", nonce="abc%d", qop="auth"`, d.realm, d.logins))
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/":
		fmt.Fprint(w, d.page)
	case r.URL.Path == d.info && d.status == 0:
		_, _ = w.Write(d.answer)
	case d.status != 0:
		w.WriteHeader(d.status)
	default:
		http.NotFound(w, r)
	}
}

// describe has a device of its own described.
func describe(t *testing.T, d *device, key string, login ...fleet.Credentials) (fleet.Device, string, error) {
	t.Helper()
	s := httptest.NewServer(d)
	t.Cleanup(s.Close)
	g := guard.New(guard.Options{})
	t.Cleanup(g.Close)
	v := vendor.New(g, vendor.Options{})
	dev, err := v.Describe(t.Context(), fleet.Target{Device: key, Credentials: login, Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: s.URL + "/"}}})
	return dev, s.URL, err
}

var viewer = fleet.Credentials{User: "viewer", Password: "pa ss:w@rd/1", Version: 1}

func rebuilt(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "rebuilt", name, "info"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDescribe(t *testing.T) {
	for name, c := range map[string]struct {
		device   device
		key      string // "" = by its front page
		want     fleet.Device
		snapshot string
		stream   string // the first
	}{
		"axis-p3245": {
			device: device{realm: "AXIS_ACCC8E000417", info: "/axis-cgi/param.cgi"},
			want: fleet.Device{
				Vendor: "Axis", Model: "P3245-LVE", Serial: "ACCC8E000417", Firmware: "10.12.213",
				Claims: []fleet.Claim{{Kind: fleet.ClaimSerial, Value: "ACCC8E000417"}, {Kind: fleet.ClaimMAC, Value: "ac:cc:8e:00:04:17"}},
			},
			snapshot: "/axis-cgi/jpg/image.cgi?camera=1", stream: "/axis-media/media.amp?camera=1&resolution=640x360",
		},
		"hikvision-ds2cd2043": {
			device: device{server: "App-webs/", realm: "IP Camera", info: "/ISAPI/System/deviceInfo"},
			want: fleet.Device{
				Vendor: "Hikvision", Model: "DS-2CD2043G2-I", Serial: "DS-2CD2043G2-I20210101AAWRF00000417", Firmware: "V5.7.1",
				Claims: []fleet.Claim{{Kind: fleet.ClaimSerial, Value: "DS-2CD2043G2-I20210101AAWRF00000417"}, {Kind: fleet.ClaimMAC, Value: "c0:56:e3:00:04:17"}},
			},
			snapshot: "/ISAPI/Streaming/channels/101/picture", stream: "/Streaming/Channels/102",
		},
		"dahua-ipc-hdw": {
			device: device{realm: "Login to 4K03A3FPAG00417", info: "/cgi-bin/magicBox.cgi"},
			want: fleet.Device{
				Vendor: "Dahua", Model: "IPC-HDW4631C-A", Serial: "4K03A3FPAG00417",
				Claims: []fleet.Claim{{Kind: fleet.ClaimSerial, Value: "4K03A3FPAG00417"}},
			},
			snapshot: "/cgi-bin/snapshot.cgi?channel=1", stream: "/cam/realmonitor?channel=1&subtype=1",
		},
		"amcrest-ip4m": {
			device: device{realm: "Login to AMC000000000417", info: "/cgi-bin/magicBox.cgi"},
			want: fleet.Device{
				Vendor: "Dahua", Model: "IPC-AW46WN-S2", Serial: "AMC000000000417",
				Claims: []fleet.Claim{{Kind: fleet.ClaimSerial, Value: "AMC000000000417"}},
			},
			snapshot: "/cgi-bin/snapshot.cgi?channel=1", stream: "/cam/realmonitor?channel=1&subtype=1",
		},
		"vivotek-fe9380": {
			device: device{info: "/cgi-bin/viewer/getparam.cgi"}, key: "mac:00:02:d1:00:04:17",
			want: fleet.Device{
				Vendor: "Vivotek", Model: "FE9380-HV", Serial: "0002D1000417", Firmware: "FE9380-VVTK-0101a",
				Claims: []fleet.Claim{{Kind: fleet.ClaimSerial, Value: "0002D1000417"}, {Kind: fleet.ClaimMAC, Value: "00:02:d1:00:04:17"}},
			},
			snapshot: "/cgi-bin/viewer/video.jpg?channel=0", stream: "/live2.sdp",
		},
		"sony-snc-dh110": {
			device: device{server: "gen5th/1.82.01", info: "/command/inquiry.cgi"},
			want: fleet.Device{
				Vendor: "Sony", Model: "SNC-DH110", Serial: "00100417", Firmware: "1.82.01",
				Claims: []fleet.Claim{{Kind: fleet.ClaimSerial, Value: "00100417"}},
			},
			snapshot: "/oneshotimage1", stream: "/media/video2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.device.answer = rebuilt(t, name)
			got, base, err := describe(t, &c.device, c.key, viewer)
			if err != nil {
				t.Fatal(err)
			}
			if got.State != fleet.DeviceOK || got.Vendor != c.want.Vendor || got.Model != c.want.Model || got.Serial != c.want.Serial ||
				got.Firmware != c.want.Firmware || !slices.Equal(got.Claims, c.want.Claims) {
				t.Errorf("%+v\nwant %+v", got, c.want)
			}
			want := []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: base + c.snapshot}, {Protocol: fleet.RTSP, URL: "rtsp://127.0.0.1:554" + c.stream}}
			if len(got.Endpoints) < 2 || !slices.Equal(got.Endpoints[:2], want) {
				t.Errorf("addresses %v, want %v first", got.Endpoints, want)
			}
			if len(c.device.asked) > 5 {
				t.Errorf("asked for %v", c.device.asked)
			}
		})
	}
}

// TestStreamsAlone is of makers whose calls want a password in the address:
// nothing is asked of them, and no login is sent.
func TestStreamsAlone(t *testing.T) {
	d := &device{page: "<html><title>Reolink</title></html>"}
	got, _, err := describe(t, d, "", viewer)
	if err != nil {
		t.Fatal(err)
	}
	want := []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://127.0.0.1:554/h264Preview_01_sub"}, {Protocol: fleet.RTSP, URL: "rtsp://127.0.0.1:554/h264Preview_01_main"}}
	if got.Vendor != "Reolink" || !slices.Equal(got.Endpoints, want) || d.logins != 0 || !slices.Equal(d.asked, []string{"/"}) {
		t.Errorf("%+v, asked for %v, %d logins", got, d.asked, d.logins)
	}
}

// TestNobodys asks a device without a sign for its front page and nothing else.
func TestNobodys(t *testing.T) {
	d := &device{server: "CUPS/2.4", page: "<html><title>Printer</title></html>"}
	_, _, err := describe(t, d, "", viewer)
	if !errors.Is(err, vendor.ErrUnknown) || !slices.Equal(d.asked, []string{"/"}) || d.logins != 0 {
		t.Errorf("%v, asked for %v, %d logins", err, d.asked, d.logins)
	}
}

// TestNoLogin describes devices that let nobody in, as far as they are known.
func TestNoLogin(t *testing.T) {
	wrong := fleet.Credentials{User: "nobody", Password: "no", Version: 1}
	for name, login := range map[string][]fleet.Credentials{"none": nil, "wrong": {wrong}} {
		d := &device{realm: "AXIS_ACCC8E000417", info: "/axis-cgi/param.cgi"}
		got, _, err := describe(t, d, "", login...)
		if err != nil || got.State != fleet.DeviceNeedsCredentials || got.Reason == "" || len(got.Endpoints) == 0 || d.logins != len(login) {
			t.Errorf("%s: %+v, %v, %d logins", name, got, err, d.logins)
		}
	}
}

// TestOldFirmware lacks the call: its pictures are where they always were.
func TestOldFirmware(t *testing.T) {
	d := &device{server: "Hikvision-Webs", info: "/ISAPI/System/deviceInfo", status: http.StatusNotFound}
	got, _, err := describe(t, d, "", viewer)
	if err != nil || got.State != fleet.DeviceOK || got.Vendor != "Hikvision" || len(got.Endpoints) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestChannels gives each channel of a recorder a source.
func TestChannels(t *testing.T) {
	for told, want := range map[string]int{"4": 4, "0": 1, "-3": 1, "many": 1, "100000": 64} {
		d := &device{realm: "AXIS_00408C000417", info: "/axis-cgi/param.cgi", answer: []byte("root.ImageSource.NbrOfSources=" + told + "\n")}
		got, base, err := describe(t, d, "", viewer)
		if err != nil || len(got.Sources) != want {
			t.Fatalf("%q: %d sources, %v; want %d", told, len(got.Sources), err, want)
		}
		last := got.Sources[want-1]
		if want > 1 && (last.Token != fmt.Sprint(want) || last.Profiles[0].Endpoints[0].URL != fmt.Sprintf("%s/axis-cgi/jpg/image.cgi?camera=%d", base, want)) {
			t.Errorf("%q: the last source is %+v", told, last)
		}
	}
}

func TestGone(t *testing.T) {
	g := guard.New(guard.Options{})
	defer g.Close()
	s := httptest.NewServer(&device{})
	s.Close()
	_, err := vendor.New(g, vendor.Options{}).Describe(context.Background(), fleet.Target{Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: s.URL}}})
	if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseRefused {
		t.Errorf("%v", err)
	}
}

// TestTable holds each row to what the package promises of it.
func TestTable(t *testing.T) {
	for _, m := range vendor.Makers() {
		if len(m.Sources) == 0 || len(m.OUIs)+len(m.Server)+len(m.Realm)+len(m.Page) == 0 || m.Snapshot == "" && len(m.Streams) == 0 {
			t.Errorf("%s: no document, no sign, or nothing to take a picture from", m.Name)
		}
		for _, p := range append([]string{m.Info, m.Snapshot}, paths(m.Streams)...) {
			low := strings.ToLower(p)
			if p != "" && p[0] != '/' || strings.Contains(low, "pwd") || strings.Contains(low, "passw") || strings.Contains(low, "usr=") || strings.Contains(low, "user=") {
				t.Errorf("%s: path %q", m.Name, p)
			}
		}
	}
}

func paths(s []vendor.Stream) (out []string) {
	for _, p := range s {
		out = append(out, p.Path)
	}
	return out
}
