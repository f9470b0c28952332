package admin

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// epoch is the moment that the fake fleet stands still at.
var epoch = fleet.At(time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC))

// fakeScheduler is a fleet in memory that keeps the rules of scheduler's API as
// far as this door can see them.
type fakeScheduler struct {
	mu          sync.Mutex
	cameras     map[fleet.CameraID]scheduler.CameraView
	captures    []fleet.Capture // newest first
	schedules   []scheduler.ScheduleView
	agents      []fleet.Agent
	keys        []scheduler.KeyView
	credentials []scheduler.NewCredentials
	sites       map[fleet.SiteID]scheduler.SiteView
	matched     []fleet.Fingerprint
	books       fleet.Books
	watchers    map[chan scheduler.Event]bool
	thumbnail   []byte
	fails       error // of every call, when set
}

func newFake() *fakeScheduler {
	return &fakeScheduler{
		cameras: map[fleet.CameraID]scheduler.CameraView{}, sites: map[fleet.SiteID]scheduler.SiteView{},
		watchers: map[chan scheduler.Event]bool{}, thumbnail: picture(),
	}
}

// picture returns a small JPEG with something on it.
func picture() []byte {
	img := image.NewGray(image.Rect(0, 0, 320, 180))
	for y := range 180 {
		for x := range 320 {
			img.SetGray(x, y, color.Gray{Y: uint8(60 + x/3 + y/4)})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// street adds one camera for each status, and a few pending ones.
func (f *fakeScheduler) street() *fakeScheduler {
	for i, st := range []string{
		scheduler.StatusOK, scheduler.StatusLate, scheduler.StatusFailed, scheduler.StatusMissed, scheduler.StatusNeedsCredentials,
		scheduler.StatusOffline, scheduler.StatusIdle, scheduler.StatusIgnored, scheduler.StatusOK, scheduler.StatusOK,
	} {
		f.add(fleet.CameraID(i+1), st)
	}
	f.add(100, scheduler.StatusPending)
	f.add(101, scheduler.StatusPending)
	f.schedules = []scheduler.ScheduleView{{
		Spec: calendar.Spec{Name: "demo", Select: "*", Every: calendar.Duration(2 * time.Second)},
		ID:   fleet.ScheduleIDOf("demo"), Revision: 3, Cameras: 10, Next: epoch.Add(time.Second),
	}}
	f.agents = []fleet.Agent{{ID: "agent-1", Site: "home", Hostname: "box", Version: "v1", State: fleet.Approved, Enrolled: epoch, Seen: epoch, Connected: true, Held: 4}}
	f.books = fleet.Books{Issued: 1204, Captured: 1190, Failed: 3, InFlight: 11}
	return f
}

func (f *fakeScheduler) add(id fleet.CameraID, status string) scheduler.CameraView {
	v := scheduler.CameraView{Status: status, Camera: fleet.Camera{
		ID: id, Site: "home", Name: fmt.Sprintf("camera %d", id), State: fleet.Approved, DeviceState: fleet.DeviceOK,
		Device: "urn:uuid:1", Vendor: "Acme", Model: "Eye 3", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")},
		Via: []fleet.Via{fleet.ViaMDNS}, Labels: map[string]string{"floor": "2"}, Version: 7, Created: epoch, Enabled: epoch,
		Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://192.0.2.7/s"}, {Protocol: fleet.Snapshot, URL: "http://192.0.2.7/s.jpg"}, {Protocol: fleet.RTSP, URL: "rtsp://192.0.2.7/t"}},
	}}
	c := fleet.Capture{
		Occurrence: fleet.Occurrence{Camera: id, Schedule: fleet.ScheduleIDOf("demo"), Nominal: epoch.Add(-3 * time.Second)},
		At:         epoch.Add(-2 * time.Second), Delay: 12 * time.Millisecond, Took: 80 * time.Millisecond, Attempts: 1, Agent: "agent-1",
	}
	switch status {
	case scheduler.StatusFailed:
		c.Outcome, c.Cause, c.Detail = fleet.Failed, fleet.CauseTimeout, "read: went silent"
	case scheduler.StatusNeedsCredentials:
		c.Outcome, c.Cause, c.Detail = fleet.Failed, fleet.CauseUnauthorized, "401"
	case scheduler.StatusMissed:
		c.Outcome, c.Cause = fleet.Missed, fleet.CauseAgentLost
	case scheduler.StatusPending:
		v.State, v.Enabled = fleet.Pending, 0
	case scheduler.StatusIgnored:
		v.State = fleet.Ignored
	case scheduler.StatusIdle:
	default:
		c.Outcome, c.Protocol = fleet.Captured, fleet.RTSP
		c.Reading = fleet.Reading{Width: 1280, Height: 720, Codec: fleet.H264, Bytes: 51_000, Fingerprint: fleet.Fingerprint{PDQ: fleet.PDQ{1, 2, 3}, PDQQuality: 90, PHash: 0xabc}}
		v.LastFrame = c.At
	}
	if c.Outcome != 0 {
		v.Last = &c
		f.captures = append(f.captures, c)
	}
	f.cameras[id] = v
	return v
}

func (f *fakeScheduler) tell(e scheduler.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.watchers {
		c <- e
	}
}

func (f *fakeScheduler) Cameras(_ context.Context, q scheduler.CameraQuery) (out []scheduler.CameraView, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.cameras)) {
		v := f.cameras[id]
		if id <= q.After || q.Site != "" && v.Site != q.Site || q.State != "" && v.State != q.State || !q.Selector.Match(v.LabelSet()) {
			continue
		}
		if q.Limit > 0 && len(out) == q.Limit {
			break
		}
		out = append(out, v)
	}
	return out, f.fails
}

func (f *fakeScheduler) Camera(_ context.Context, id fleet.CameraID) (scheduler.CameraView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.cameras[id]
	if !ok {
		return v, scheduler.ErrNotFound
	}
	return v, f.fails
}

func (f *fakeScheduler) AddCamera(ctx context.Context, n scheduler.NewCamera) (scheduler.CameraView, error) {
	if strings.HasPrefix(n.URL, "ftp:") {
		return scheduler.CameraView{}, &scheduler.InvalidError{Field: "url", Problem: "want rtsp, rtsps, http or https"}
	}
	if n.User != "" {
		if _, err := f.PutCredentials(ctx, scheduler.NewCredentials{Site: n.Site, User: n.User, Password: n.Password}); err != nil {
			return scheduler.CameraView{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.add(fleet.CameraID(1000+len(f.cameras)), scheduler.StatusIdle)
	v.Site, v.Name, v.Endpoints = n.Site, n.Name, []fleet.Endpoint{{Protocol: fleet.RTSP, URL: n.URL}}
	f.cameras[v.ID] = v
	return v, nil
}

func (f *fakeScheduler) SetCamera(_ context.Context, id fleet.CameraID, c scheduler.CameraChange) (scheduler.CameraView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.cameras[id]
	switch {
	case !ok:
		return v, scheduler.ErrNotFound
	case c.IfVersion != 0 && c.IfVersion != v.Version:
		return v, scheduler.ErrConflict
	}
	if c.Name != nil {
		v.Name = *c.Name
	}
	v.Labels = maps.Clone(v.Labels)
	for k, l := range c.Labels {
		if l == nil {
			delete(v.Labels, k)
		} else {
			v.Labels[k] = *l
		}
	}
	v.Version++
	f.cameras[id] = v
	return v, nil
}

func (f *fakeScheduler) Enrol(_ context.Context, ids []fleet.CameraID, to fleet.Enrollment) (out []scheduler.CameraView, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		v, ok := f.cameras[id]
		if !ok {
			return nil, fmt.Errorf("camera %s: %w", id, scheduler.ErrNotFound)
		}
		v.State, v.Status = to, map[fleet.Enrollment]string{fleet.Approved: scheduler.StatusIdle, fleet.Ignored: scheduler.StatusIgnored}[to]
		f.cameras[id] = v
		out = append(out, v)
	}
	return out, nil
}

func (f *fakeScheduler) Thumbnail(ctx context.Context, id fleet.CameraID) ([]byte, fleet.Instant, error) {
	v, err := f.Camera(ctx, id)
	if err == nil && v.LastFrame == 0 {
		err = scheduler.ErrNotFound
	}
	return f.thumbnail, v.LastFrame, err
}

func (f *fakeScheduler) Sites(context.Context) ([]scheduler.SiteView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.sites)), f.fails
}

func (f *fakeScheduler) SetSite(_ context.Context, id fleet.SiteID, c scheduler.SiteChange) (scheduler.SiteView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.sites[id]
	v.ID, v.Lat, v.Lon = id, cmp.Or(c.Lat, v.Lat), cmp.Or(c.Lon, v.Lon)
	if c.TZ != nil {
		v.TZ = *c.TZ
	}
	f.sites[id] = v
	return v, nil
}

func (f *fakeScheduler) Schedules(context.Context) ([]scheduler.ScheduleView, error) {
	return f.schedules, f.fails
}

func (f *fakeScheduler) ApplySchedules(_ context.Context, specs []calendar.Spec, o scheduler.ApplyOptions) (p scheduler.Plan, _ error) {
	for _, s := range specs {
		p.Changes = append(p.Changes, scheduler.Change{Name: s.Name, Action: "create", Cameras: 2})
		if !o.DryRun {
			f.schedules = append(f.schedules, scheduler.ScheduleView{Spec: s, ID: fleet.ScheduleIDOf(s.Name), Revision: 1})
		}
	}
	if o.Prune {
		p.Changes = append(p.Changes, scheduler.Change{Name: "old", Action: "remove"})
	}
	return p, nil
}

func (f *fakeScheduler) ScheduleName(id fleet.ScheduleID) string {
	if id == fleet.ScheduleIDOf("demo") {
		return "demo"
	}
	return ""
}

func (f *fakeScheduler) Captures(_ context.Context, q scheduler.CaptureQuery) (out []fleet.Capture, next string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	skip := 0
	if q.After != "" {
		if _, err := fmt.Sscanf(q.After, "c%d", &skip); err != nil {
			return nil, "", &scheduler.InvalidError{Field: "after", Problem: "no cursor"}
		}
	}
	for i, c := range f.captures {
		if i < skip || q.Camera != 0 && c.Camera != q.Camera || q.Outcome != 0 && c.Outcome != q.Outcome {
			continue
		}
		if len(out) == q.Limit {
			return out, fmt.Sprintf("c%d", i), nil
		}
		out = append(out, c)
	}
	return out, "", f.fails
}

func (f *fakeScheduler) Match(_ context.Context, fp fleet.Fingerprint, _ scheduler.MatchOptions) ([]scheduler.Match, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.matched = append(f.matched, fp)
	return []scheduler.Match{{Occurrence: fleet.Occurrence{Camera: 1, Schedule: 2, Nominal: epoch}, Camera: 1, At: epoch, Distance: 4}}, nil
}

func (f *fakeScheduler) Books(context.Context) (scheduler.BooksReport, error) {
	return scheduler.BooksReport{Total: f.books, Sites: map[fleet.SiteID]fleet.Books{"home": f.books}}, f.fails
}

func (f *fakeScheduler) Audit(_ context.Context, from, until fleet.Instant) (scheduler.AuditReport, error) {
	return scheduler.AuditReport{Expected: int(until.Sub(from) / time.Second), Stored: 8, MissingOutcome: 1, InFlight: 2}, nil
}

func (f *fakeScheduler) Agents(context.Context) ([]fleet.Agent, error) { return f.agents, f.fails }

func (f *fakeScheduler) RevokeAgent(_ context.Context, id fleet.AgentID) error {
	for i := range f.agents {
		if f.agents[i].ID == id {
			f.agents[i].State = fleet.Retired
			return nil
		}
	}
	return fmt.Errorf("agent %s: %w", id, scheduler.ErrNotFound)
}

func (f *fakeScheduler) CreateKey(_ context.Context, n scheduler.NewKey) (scheduler.KeyView, fleet.Secret, error) {
	v := scheduler.KeyView{ID: "key-1", Site: n.Site, Count: n.Count, Approve: n.Approve, Created: epoch, Expires: epoch.Add(cmp.Or(n.Expires, time.Hour))}
	f.keys = append(f.keys, v)
	return v, "sfk1.home.secret.ca", nil
}

func (f *fakeScheduler) Keys(context.Context) ([]scheduler.KeyView, error) { return f.keys, nil }

func (f *fakeScheduler) RevokeKey(_ context.Context, id string) error {
	if id != "key-1" {
		return fmt.Errorf("key %s: %w", id, scheduler.ErrNotFound)
	}
	return nil
}

func (f *fakeScheduler) PutCredentials(_ context.Context, n scheduler.NewCredentials) (scheduler.CredentialsView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.credentials = append(f.credentials, n)
	return scheduler.CredentialsView{ID: "cred-1", Site: n.Site, Camera: n.Camera, User: n.User, Version: 1, Created: epoch}, nil
}

func (f *fakeScheduler) Credentials(context.Context) ([]scheduler.CredentialsView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return each(f.credentials, func(n scheduler.NewCredentials) scheduler.CredentialsView {
		return scheduler.CredentialsView{ID: "cred-1", Site: n.Site, Camera: n.Camera, User: n.User}
	}), nil
}

func (f *fakeScheduler) Subscribe(ctx context.Context) <-chan scheduler.Event {
	in, out := make(chan scheduler.Event), make(chan scheduler.Event)
	f.mu.Lock()
	f.watchers[in] = true
	f.mu.Unlock()
	go func() {
		defer close(out)
		defer func() {
			for { // a teller may be waiting
				select {
				case <-in:
				default:
					if f.mu.TryLock() {
						delete(f.watchers, in)
						f.mu.Unlock()
						return
					}
				}
			}
		}()
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-in:
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return out
}

func (f *fakeScheduler) Authenticate(_ context.Context, token fleet.Secret) (scheduler.Principal, error) {
	switch role := token.Reveal(); role {
	case scheduler.RoleViewer, scheduler.RoleOperator, scheduler.RoleAdmin:
		return scheduler.Principal{Name: "the " + role, Role: role}, nil
	}
	return scheduler.Principal{}, scheduler.ErrUnauthorized
}

// door is a Server over a fake fleet, without a network.
type door struct {
	t   *testing.T
	f   *fakeScheduler
	a   *Server
	log *bytes.Buffer
}

func newDoor(t *testing.T, f *fakeScheduler, o Options) *door {
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
