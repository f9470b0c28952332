package onvif

import (
	"net/url"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func TestRehost(t *testing.T) {
	for _, c := range []struct{ in, host, want string }{
		{"http://10.0.0.1/x", "10.0.0.2", "http://10.0.0.2/x"},
		{"http://10.0.0.1:81/x?y=z", "10.0.0.2", "http://10.0.0.2:81/x?y=z"},
		{"rtsp://a:b@10.0.0.1:554/x#f", "10.0.0.1", "rtsp://10.0.0.1:554/x"},
		{"http://[fe80::1]:81/x", "10.0.0.2", "http://10.0.0.2:81/x"},
		{"http://10.0.0.1/x", "fe80::1", "http://[fe80::1]/x"},
		{"http://10.0.0.1:81/x", "fe80::1", "http://[fe80::1]:81/x"},
		{"rtsp://0.0.0.0:554/x", "fe80::1%eth0", "rtsp://[fe80::1%25eth0]:554/x"},
		{"http://127.0.0.1/x", "10.0.0.2", "http://10.0.0.2/x"},
		{"rtsp://camera.local/x", "10.0.0.2", "rtsp://10.0.0.2/x"},
	} {
		u, err := url.Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := rehost(u, c.host).String(); got != c.want {
			t.Errorf("rehost(%s, %s) = %s, want %s", c.in, c.host, got, c.want)
		}
	}
}

// What was asked over https stays there, unless the address has a port of its
// own.
func TestUpgrade(t *testing.T) {
	for _, c := range []struct{ at, in, want string }{
		{"https://10.0.0.2/onvif", "http://10.0.0.1/media", "https://10.0.0.2/media"},
		{"https://10.0.0.2:8443/onvif", "http://10.0.0.1:80/media", "https://10.0.0.2:8443/media"},
		{"https://10.0.0.2:8443/onvif", "http://10.0.0.1:8000/media", "http://10.0.0.2:8000/media"},
		{"https://10.0.0.2/onvif", "http://10.0.0.1:443/media", "https://10.0.0.2/media"},
		{"https://10.0.0.2/onvif", "https://10.0.0.1:444/media", "https://10.0.0.2:444/media"},
		{"http://10.0.0.2:8080/onvif", "http://10.0.0.1/media", "http://10.0.0.2/media"},
	} {
		at, err := url.Parse(c.at)
		if err != nil {
			t.Fatal(err)
		}
		s := &session{device: at}
		if got := s.repair(c.in).String(); got != c.want {
			t.Errorf("repair(%s) at %s = %s, want %s", c.in, c.at, got, c.want)
		}
		if got := endpoint(c.in, at, fleet.Snapshot); got != c.want {
			t.Errorf("endpoint(%s) at %s = %s, want %s", c.in, c.at, got, c.want)
		}
	}
}
