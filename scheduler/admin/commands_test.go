package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

// climbing is an agent whose explanations break at the login.
func climbing(asked *[]scheduler.Command) func(context.Context, scheduler.Command, func(json.RawMessage)) (json.RawMessage, error) {
	return func(_ context.Context, c scheduler.Command, progress func(json.RawMessage)) (json.RawMessage, error) {
		*asked = append(*asked, c)
		e := fleet.Explanation{Subject: "it", Rungs: []fleet.Rung{
			{Name: "route", Result: fleet.RungOK, Took: 2 * time.Millisecond, Detail: "via <eth0>"},
			{Name: "login", Result: fleet.RungFailed, Took: time.Second, Detail: "refused", Fix: "store the right one"},
			{Name: "decode", Result: fleet.RungSkipped, Detail: "no picture came"},
		}}
		for _, r := range e.Rungs {
			b, err := json.Marshal(r)
			if err != nil {
				return nil, err
			}
			progress(b)
		}
		return json.Marshal(e)
	}
}

func TestExplain(t *testing.T) {
	var asked []scheduler.Command
	f := admintest.New().Street()
	f.Agent = climbing(&asked)
	d := newDoor(t, f, Options{})
	id := fleet.CameraID(1).String()
	w := d.as("operator", http.MethodPost, "/api/v1/explain", `{"camera":"`+id+`"}`)
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	events := strings.Split(strings.TrimSpace(w.Body.String()), "\n\n")
	if len(events) != 4 {
		t.Fatalf("%d events: %q", len(events), events)
	}
	if want := `event: rung` + "\n" + `data: {"name":"login","result":"failed","took_ms":1000,"detail":"refused","fix":"store the right one"}`; events[1] != want {
		t.Errorf("got %q, want %q", events[1], want)
	}
	var e Explanation
	data, ok := strings.CutPrefix(events[3], "event: explanation\ndata: ")
	if err := json.Unmarshal([]byte(data), &e); err != nil || !ok || e.OK || e.Failed != "login" || e.Agent != "agent-1" || len(e.Rungs) != 3 {
		t.Errorf("%v: %q is %+v", err, events[3], e)
	}

	d.as("operator", http.MethodPost, "/api/v1/explain", `{"site":"home","address":"192.0.2.7"}`)
	// A pending camera is not told to agents: its address is looked at.
	d.as("operator", http.MethodPost, "/api/v1/explain", `{"camera":"`+fleet.CameraID(100).String()+`"}`)
	want := fmt.Sprintf("[{0 %s} {192.0.2.7 home} {192.0.2.7 home}]", fleet.CameraID(1))
	var got []string
	for _, c := range asked {
		r := c.Argument.(fleet.ExplainRequest)
		if r.Camera != 0 {
			got = append(got, fmt.Sprintf("{0 %s}", r.Camera))
		} else {
			got = append(got, fmt.Sprintf("{%s %s}", r.Address, c.Site))
		}
		if c.Kind != fleet.CommandExplain || c.Within != explainTime {
			t.Errorf("asked %+v", c)
		}
	}
	if fmt.Sprint(got) != want {
		t.Errorf("asked %v, want %s", got, want)
	}

	w = d.do(request{http.MethodPost, "/cameras/" + id + "/why", "", d.signIn("operator")})
	for _, part := range []string{"It breaks at: login", "via &lt;eth0&gt;", "store the right one"} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("the page has no %q: %d %s", part, w.Code, w.Body)
		}
	}
	if w := d.do(request{path: "/cameras/" + id, header: d.signIn("operator")}); !strings.Contains(w.Body.String(), "Why?") {
		t.Error("the camera's page does not ask why")
	}
	if w := d.do(request{path: "/cameras/" + id, header: d.signIn("viewer")}); strings.Contains(w.Body.String(), "Why?") {
		t.Error("a viewer may ask why")
	}
}

func TestCommandsFail(t *testing.T) {
	f := admintest.New().Street()
	d := newDoor(t, f, Options{})
	id := fleet.CameraID(1).String()
	explain := func(role, body string) (int, string) {
		w := d.as(role, http.MethodPost, "/api/v1/explain", body)
		return w.Code, w.Body.String()
	}
	for body, want := range map[string]int{
		`{"camera":"` + id + `"}`:                            http.StatusServiceUnavailable,
		`{"camera":"` + fleet.CameraID(9999).String() + `"}`: http.StatusNotFound,
		`{"camera":"gate"}`:                                  http.StatusUnprocessableEntity,
		`{"address":"192.0.2.7"}`:                            http.StatusUnprocessableEntity,
		`{"site":"home","address":"camera.local"}`:           http.StatusUnprocessableEntity,
		`{"site":"home","address":"239.255.255.250"}`:        http.StatusUnprocessableEntity,
		`{}`: http.StatusUnprocessableEntity,
	} {
		if code, text := explain("operator", body); code != want {
			t.Errorf("%s: %d %s, want %d", body, code, text, want)
		}
	}
	if code, _ := explain("viewer", `{"camera":"`+id+`"}`); code != http.StatusForbidden {
		t.Errorf("a viewer explains: %d", code)
	}
	for err, want := range map[error]int{
		scheduler.ErrTooMany: http.StatusTooManyRequests, scheduler.ErrLineLost: http.StatusBadGateway, scheduler.ErrNoAnswer: http.StatusGatewayTimeout,
		&scheduler.CommandError{Detail: "the disk refuses"}: http.StatusBadGateway, errors.New("x"): http.StatusInternalServerError,
	} {
		f.Agent = func(context.Context, scheduler.Command, func(json.RawMessage)) (json.RawMessage, error) {
			return nil, err
		}
		if code, text := explain("operator", `{"camera":"`+id+`"}`); code != want || want != 500 && !strings.Contains(text, err.Error()) {
			t.Errorf("%v: %d %s, want %d", err, code, text, want)
		}
		f.Agent = func(_ context.Context, _ scheduler.Command, progress func(json.RawMessage)) (json.RawMessage, error) {
			progress(json.RawMessage(`{"name":"route","result":"ok"}`))
			return nil, err
		}
		if code, text := explain("operator", `{"camera":"`+id+`"}`); code != http.StatusOK || !strings.Contains(text, "event: problem") || !strings.Contains(text, fmt.Sprint(want)) {
			t.Errorf("%v after a rung: %d %s", err, code, text)
		}
	}
}

func TestReboot(t *testing.T) {
	f := admintest.New().Street()
	n := 0
	f.Agent = func(_ context.Context, c scheduler.Command, _ func(json.RawMessage)) (json.RawMessage, error) {
		n++
		if c.Kind != fleet.CommandReboot || c.Camera != 1 || c.Argument != (fleet.RebootRequest{Camera: 1}) {
			t.Errorf("asked %+v", c)
		}
		return json.RawMessage(`{"message":"Rebooting in 30 s"}`), nil
	}
	d := newDoor(t, f, Options{})
	path := "/api/v1/cameras/" + fleet.CameraID(1).String() + "/reboot"
	again := request{http.MethodPost, path, "", map[string]string{"Authorization": "Bearer operator", "Idempotency-Key": "k"}}
	for range 2 {
		w := d.do(again)
		var v Reboot
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil || w.Code != http.StatusOK || v != (Reboot{Camera: 1, Agent: "agent-1", Message: "Rebooting in 30 s"}) {
			t.Errorf("%v: %d %s", err, w.Code, w.Body)
		}
	}
	if n != 1 {
		t.Errorf("the camera was restarted %d times for one Idempotency-Key", n)
	}
	if w := d.as("viewer", http.MethodPost, path, ""); w.Code != http.StatusForbidden {
		t.Errorf("a viewer restarts: %d", w.Code)
	}
	if w := d.as("operator", http.MethodPost, "/api/v1/cameras/"+fleet.CameraID(100).String()+"/reboot", ""); w.Code != http.StatusUnprocessableEntity {
		t.Errorf("a pending camera restarts: %d", w.Code)
	}
}
