package admin

import (
	"bytes"
	"cmp"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const epoch = admintest.Epoch

// door is a Server over a fake fleet, without a network.
type door struct {
	t   *testing.T
	f   *admintest.Fleet
	a   *Server
	log *bytes.Buffer
}

func newDoor(t *testing.T, f *admintest.Fleet, o Options) *door {
	d := &door{t: t, f: f, log: &bytes.Buffer{}}
	o.Log = slog.New(slog.NewTextHandler(d.log, nil))
	if o.Now == nil {
		o.Now = func() time.Time { return epoch.Time() }
	}
	d.a = New(f, o)
	return d
}

type request struct {
	method, path, body string
	header             map[string]string
}

func (d *door) do(q request) *httptest.ResponseRecorder {
	d.t.Helper()
	r := httptest.NewRequestWithContext(d.t.Context(), cmp.Or(q.method, http.MethodGet), q.path, strings.NewReader(q.body))
	r.Host = "127.0.0.1:7080"
	for k, v := range q.header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	d.a.Handler().ServeHTTP(w, r)
	return w
}

// as asks with a bearer token of a role.
func (d *door) as(role, method, path, body string) *httptest.ResponseRecorder {
	d.t.Helper()
	h := map[string]string{"Authorization": "Bearer " + role}
	if body != "" {
		h["Content-Type"] = "application/json"
	}
	return d.do(request{method, path, body, h})
}

// signIn returns a browser's headers after it used a token.
func (d *door) signIn(role string) map[string]string {
	d.t.Helper()
	w := d.do(request{http.MethodPost, "/login", "token=" + role, map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin",
	}})
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		d.t.Fatalf("signing in as %s: %d %s", role, w.Code, w.Body)
	}
	c := w.Result().Cookies()[0]
	return map[string]string{"Cookie": c.Name + "=" + c.Value, "Sec-Fetch-Site": "same-origin", "Content-Type": "application/x-www-form-urlencoded"}
}
