package vendor

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// reolinkBox is a device after the maker's API guide: tokens, and few sessions.
type reolinkBox struct {
	mu       sync.Mutex
	channels int
	open     int // sessions
	asked    []string
	refused  int
}

func (b *reolinkBox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, r.Method+" "+r.RequestURI)
	var calls []struct {
		Cmd   string
		Param struct {
			User struct{ UserName, Password string }
		}
	}
	if r.URL.Path != "/cgi-bin/api.cgi" || json.NewDecoder(r.Body).Decode(&calls) != nil || len(calls) != 1 || calls[0].Cmd != r.URL.Query().Get("cmd") {
		http.NotFound(w, r)
		return
	}
	token := r.URL.Query().Get("token")
	switch c := calls[0]; {
	case c.Cmd == "Login" && c.Param.User.UserName == "admin" && c.Param.User.Password == admin.Password.Reveal():
		b.open++
		io.WriteString(w, `[{"cmd":"Login","code":0,"value":{"Token":{"leaseTime":3600,"name":"fef39ed8155f884"}}}]`)
	case c.Cmd == "Login":
		b.refused++
		io.WriteString(w, `[{"cmd":"Login","code":1,"error":{"detail":"login failed","rspCode":-7}}]`)
	case token != "fef39ed8155f884":
		io.WriteString(w, `[{"cmd":"Unknown","code":1,"error":{"detail":"please login first","rspCode":-6}}]`)
	case c.Cmd == "Logout":
		b.open--
		io.WriteString(w, `[{"cmd":"Logout","code":0,"value":{"rspCode":200}}]`)
	case b.channels == 0:
		w.WriteHeader(http.StatusSeeOther)
		io.WriteString(w, "not a list")
	default:
		fmt.Fprintf(w, `[{"cmd":"GetDevInfo","code":0,"value":{"DevInfo":{"channelNum":%d,"firmVer":"v3.1.0.2174","model":"RLC-410","name":"Yard","serial":"00000000000001"}}}]`, b.channels)
	}
}

func TestReolink(t *testing.T) {
	known := Options{Evidence: func(string) Evidence { return Evidence{Vendor: "Reolink"} }}
	wrong := fleet.Credentials{User: "admin", Password: "slate", Version: 2}
	for _, c := range []struct {
		name     string
		channels int
		with     []fleet.Credentials
		model    string
		sources  int
		state    fleet.DeviceState
		refused  int
	}{
		{"a camera", 1, []fleet.Credentials{admin}, "RLC-410", 1, fleet.DeviceOK, 0},
		{"a recorder", 12, []fleet.Credentials{admin}, "RLC-410", 12, fleet.DeviceOK, 0},
		{"no login", 1, nil, "", 1, fleet.DeviceOK, 0}, // the addresses are documented all the same
		{"wrong login", 1, []fleet.Credentials{wrong}, "", 0, fleet.DeviceNeedsCredentials, 1},
		{"an answer that is none", 0, []fleet.Credentials{admin}, "", 1, fleet.DeviceOK, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &reolinkBox{channels: c.channels}
			s := httptest.NewUnstartedServer(b)
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			s.StartTLS()
			defer s.Close()
			cl, g := newClient(t, known)
			d, err := cl.Describe(soon(t), fleet.Target{Device: "dev", Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: s.URL + "/x"}}, Credentials: c.with})
			if d.State != c.state || d.Model != c.model || len(d.Sources) != c.sources || (err != nil) != (c.state != fleet.DeviceOK) {
				t.Errorf("described as %+v, %v", d, err)
			}
			if b.refused != c.refused || g.Budget().Refusals("dev") != c.refused || b.open != 0 {
				t.Errorf("%d logins were refused, %d sessions are left open", b.refused, b.open)
			}
			said := d.Reason + fmt.Sprint(err) + strings.Join(b.asked, " ")
			if strings.Contains(said, "amber") || strings.Contains(said, "slate") || strings.Contains(d.Reason, "fef39") {
				t.Errorf("a secret shows in %s", said)
			}
			if c.sources == 12 {
				if u := d.Sources[9].Profiles[1].Endpoints[0].URL; !strings.HasSuffix(u, "/Preview_10_sub") {
					t.Errorf("channel 10 is at %s", u)
				}
			}
			// Nothing in clear, whoever is asked.
			plain := &reolinkBox{channels: 1}
			p := httptest.NewServer(plain)
			defer p.Close()
			_, err = cl.Describe(soon(t), fleet.Target{Device: "plain", Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: p.URL + "/x"}}, Credentials: c.with})
			if len(plain.asked) != 0 {
				t.Errorf("asked in clear: %v, %v", plain.asked, err)
			}
		})
	}
}

func FuzzReadReolink(f *testing.F) {
	f.Add([]byte(`[{"cmd":"Login","code":0,"value":{"Token":{"leaseTime":3600,"name":"a"}}}]`))
	f.Add([]byte(`[{"cmd":"Login","code":1,"error":{"detail":"login failed","rspCode":-7}}]`))
	f.Add([]byte(`[{"code":0,"value":{"DevInfo":{"channelNum":8,"model":"x"}}}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := readReolink(body)
		if ce, ok := errors.AsType[*fleet.CameraError](err); err != nil && (!ok || ce.Cause != fleet.CauseProtocol) {
			t.Error(err)
		}
	})
}
