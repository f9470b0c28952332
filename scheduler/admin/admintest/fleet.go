// Package admintest holds a fleet in memory for tests of the operators' door
// and of what speaks to it: no clock, no store, no agents.
//
//	f := admintest.New().Street()
//	a := admin.New(f, admin.Options{})
package admintest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// Epoch is the moment that the fake fleet stands still at.
const Epoch = fleet.Instant(1_803_880_800_000) // 2027-03-01T06:00:00Z

// Fleet is a fleet in memory that keeps the rules of scheduler's API as far as
// the door can see them. Its fields may be set before it is asked; later, Put
// and Tell change it.
type Fleet struct {
	ByID     map[fleet.CameraID]scheduler.CameraView
	Taken    []fleet.Capture // newest first
	Planned  []scheduler.ScheduleView
	RuleSet  map[string]string
	Boxes    []fleet.Agent
	SiteKeys []scheduler.KeyView
	Logins   []scheduler.NewCredentials
	Places   map[fleet.SiteID]scheduler.SiteView
	Matched  []fleet.Fingerprint
	Paused   []scheduler.Pause     // in force, oldest first
	Asked    []scheduler.NewJob    // what CaptureNow was asked, oldest first
	Loads    []scheduler.LoadQuery // what Load was asked, oldest first
	Counts   fleet.Books
	Disputed []scheduler.ConflictView              // open conflicts
	Resolved []scheduler.Resolution                // what was decided, oldest first
	Masks    map[fleet.CameraID]scheduler.MaskView // what SetMask took
	Frame    []byte
	Fails    error  // of every reading call, when set
	Revoked  string // a token that is worth nothing any more

	// Agent does commands; nil: no agent is connected.
	Agent func(ctx context.Context, c scheduler.Command, progress func(json.RawMessage)) (json.RawMessage, error)

	mu       sync.Mutex // guards all of it
	pauses   int        // ever made
	jobs     []job      // oldest first
	watchers map[chan scheduler.Event]bool
}

// New returns an empty fleet.
func New() *Fleet {
	return &Fleet{
		ByID: map[fleet.CameraID]scheduler.CameraView{}, Places: map[fleet.SiteID]scheduler.SiteView{},
		Masks:    map[fleet.CameraID]scheduler.MaskView{},
		watchers: map[chan scheduler.Event]bool{}, Frame: Picture(),
	}
}

// Picture returns a small JPEG with something on it.
func Picture() []byte {
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

// Street adds one camera for each status, and a few pending ones.
func (f *Fleet) Street() *Fleet {
	for i, st := range []string{
		scheduler.StatusOK, scheduler.StatusLate, scheduler.StatusFailed, scheduler.StatusMissed, scheduler.StatusNeedsCredentials,
		scheduler.StatusOffline, scheduler.StatusIdle, scheduler.StatusIgnored, scheduler.StatusOK, scheduler.StatusOK,
	} {
		f.Add(fleet.CameraID(i+1), st)
	}
	f.Add(100, scheduler.StatusPending)
	f.Add(101, scheduler.StatusPending)
	f.Planned = []scheduler.ScheduleView{{
		Spec: calendar.Spec{Name: "demo", Select: "*", Every: calendar.Duration(2 * time.Second)},
		ID:   fleet.ScheduleIDOf("demo"), Revision: 3, Cameras: 10, Next: Epoch.Add(time.Second),
	}}
	f.Boxes = []fleet.Agent{{ID: "agent-1", Site: "home", Hostname: "box", Version: "v1", State: fleet.Approved, Enrolled: Epoch, Seen: Epoch, Connected: true, Held: 4}}
	f.Places["home"] = scheduler.SiteView{Site: fleet.Site{ID: "home", Created: Epoch}, Cameras: 10, Pending: 2, Agents: 1}
	f.Counts = fleet.Books{Issued: 1204, Captured: 1190, Failed: 3, InFlight: 11}
	return f
}

// Add puts in a camera with a status and what belongs to it, and returns it.
func (f *Fleet) Add(id fleet.CameraID, status string) scheduler.CameraView {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add(id, status)
}

func (f *Fleet) add(id fleet.CameraID, status string) scheduler.CameraView {
	v := scheduler.CameraView{Status: status, Camera: fleet.Camera{
		ID: id, Site: "home", Name: fmt.Sprintf("camera %d", id), State: fleet.Approved, DeviceState: fleet.DeviceOK,
		Device: "urn:uuid:1", Vendor: "Acme", Model: "Eye 3", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.7")},
		Via: []fleet.Via{fleet.ViaMDNS}, Labels: map[string]string{"floor": "2"}, Version: 7, Created: Epoch, Enabled: Epoch,
		Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://192.0.2.7/s"}, {Protocol: fleet.Snapshot, URL: "http://192.0.2.7/s.jpg"}, {Protocol: fleet.RTSP, URL: "rtsp://192.0.2.7/t"}},
	}}
	c := fleet.Capture{
		Occurrence: fleet.Occurrence{Camera: id, Schedule: fleet.ScheduleIDOf("demo"), Nominal: Epoch.Add(-3 * time.Second)},
		At:         Epoch.Add(-2 * time.Second), Delay: 12 * time.Millisecond, Took: 80 * time.Millisecond, Attempts: 1, Agent: "agent-1",
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
		f.Taken = append(f.Taken, c)
	}
	f.ByID[id] = v
	return v
}

// Put replaces a camera.
func (f *Fleet) Put(v scheduler.CameraView) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ByID[v.ID] = v
}

// Tell sends an event to every subscriber and waits until all have it.
func (f *Fleet) Tell(e scheduler.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.watchers {
		c <- e
	}
}

func (f *Fleet) Cameras(_ context.Context, q scheduler.CameraQuery) (out []scheduler.CameraView, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(f.ByID)) {
		v := f.ByID[id]
		if id <= q.After || q.Site != "" && v.Site != q.Site || q.State != "" && v.State != q.State || !q.Selector.Match(v.LabelSet()) {
			continue
		}
		if q.Limit > 0 && len(out) == q.Limit {
			break
		}
		out = append(out, v)
	}
	return out, f.Fails
}

func (f *Fleet) Camera(_ context.Context, id fleet.CameraID) (scheduler.CameraView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.ByID[id]
	if !ok {
		return v, scheduler.ErrNotFound
	}
	return v, f.Fails
}

func (f *Fleet) AddCamera(ctx context.Context, n scheduler.NewCamera) (scheduler.CameraView, error) {
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
	v := f.add(fleet.CameraID(1000+len(f.ByID)), scheduler.StatusIdle)
	v.Site, v.Name, v.Endpoints = n.Site, n.Name, []fleet.Endpoint{{Protocol: fleet.RTSP, URL: n.URL}}
	f.ByID[v.ID] = v
	return v, nil
}

func (f *Fleet) SetCamera(_ context.Context, id fleet.CameraID, c scheduler.CameraChange) (scheduler.CameraView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v, ok := f.ByID[id]
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
	f.ByID[id] = v
	return v, nil
}

func (f *Fleet) Enrol(_ context.Context, ids []fleet.CameraID, to fleet.Enrollment) (out []scheduler.CameraView, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		v, ok := f.ByID[id]
		if !ok {
			return nil, fmt.Errorf("camera %s: %w", id, scheduler.ErrNotFound)
		}
		v.State, v.Status = to, map[fleet.Enrollment]string{fleet.Approved: scheduler.StatusIdle, fleet.Ignored: scheduler.StatusIgnored}[to]
		f.ByID[id] = v
		out = append(out, v)
	}
	return out, nil
}

func (f *Fleet) Thumbnail(ctx context.Context, id fleet.CameraID) ([]byte, fleet.Instant, error) {
	v, err := f.Camera(ctx, id)
	if err == nil && v.LastFrame == 0 {
		err = scheduler.ErrNotFound
	}
	return f.Frame, v.LastFrame, err
}

func (f *Fleet) Sites(context.Context) ([]scheduler.SiteView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.Places)), f.Fails
}

func (f *Fleet) SetSite(_ context.Context, id fleet.SiteID, c scheduler.SiteChange) (scheduler.SiteView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.Places[id]
	v.ID, v.Lat, v.Lon = id, cmp.Or(c.Lat, v.Lat), cmp.Or(c.Lon, v.Lon)
	if c.TZ != nil {
		v.TZ = *c.TZ
	}
	if c.Burst != nil {
		v.Burst = *c.Burst
	}
	f.Places[id] = v
	return v, nil
}

func (f *Fleet) Schedules(context.Context) ([]scheduler.ScheduleView, error) {
	return f.Planned, f.Fails
}

func (f *Fleet) ApplySchedules(_ context.Context, specs []calendar.Spec, o scheduler.ApplyOptions) (p scheduler.Plan, _ error) {
	for _, s := range specs {
		p.Changes = append(p.Changes, scheduler.Change{Name: s.Name, Action: "create", Cameras: 2})
		if !o.DryRun {
			f.Planned = append(f.Planned, scheduler.ScheduleView{Spec: s, ID: fleet.ScheduleIDOf(s.Name), Revision: 1})
		}
	}
	if o.Prune {
		p.Changes = append(p.Changes, scheduler.Change{Name: "old", Action: "remove"})
	}
	return p, nil
}

func (f *Fleet) ScheduleName(id fleet.ScheduleID) string {
	if id == fleet.ScheduleIDOf("demo") {
		return "demo"
	}
	return ""
}

func (f *Fleet) Captures(_ context.Context, q scheduler.CaptureQuery) (out []fleet.Capture, next string, _ error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	skip := 0
	if q.After != "" {
		if _, err := fmt.Sscanf(q.After, "c%d", &skip); err != nil {
			return nil, "", &scheduler.InvalidError{Field: "after", Problem: "no cursor"}
		}
	}
	for i, c := range f.Taken {
		if i < skip || q.Camera != 0 && c.Camera != q.Camera || q.Outcome != 0 && c.Outcome != q.Outcome {
			continue
		}
		if len(out) == q.Limit {
			return out, fmt.Sprintf("c%d", i), nil
		}
		out = append(out, c)
	}
	return out, "", f.Fails
}

func (f *Fleet) Match(_ context.Context, fp fleet.Fingerprint, _ scheduler.MatchOptions) ([]scheduler.Match, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Matched = append(f.Matched, fp)
	return []scheduler.Match{{Occurrence: fleet.Occurrence{Camera: 1, Schedule: 2, Nominal: Epoch}, Camera: 1, At: Epoch, Distance: 4}}, nil
}

func (f *Fleet) Books(context.Context) (scheduler.BooksReport, error) {
	return scheduler.BooksReport{Total: f.Counts, Sites: map[fleet.SiteID]fleet.Books{"home": f.Counts}}, f.Fails
}

func (f *Fleet) Audit(_ context.Context, from, until fleet.Instant) (scheduler.AuditReport, error) {
	return scheduler.AuditReport{Expected: int(until.Sub(from) / time.Second), Stored: 8, MissingOutcome: 1, InFlight: 2}, nil
}

func (f *Fleet) Agents(context.Context) ([]fleet.Agent, error) { return f.Boxes, f.Fails }

// ApproveAgent lets a box in.
func (f *Fleet) ApproveAgent(_ context.Context, id fleet.AgentID) error {
	for i := range f.Boxes {
		if f.Boxes[i].ID == id {
			f.Boxes[i].State = fleet.Approved
			return nil
		}
	}
	return fmt.Errorf("agent %s: %w", id, scheduler.ErrNotFound)
}

// Rules returns what SetRules took.
func (f *Fleet) Rules(context.Context) (map[string]string, error) { return f.RuleSet, f.Fails }

// SetRules replaces the rules.
func (f *Fleet) SetRules(_ context.Context, rules map[string]string) error {
	f.RuleSet = rules
	return f.Fails
}

func (f *Fleet) RevokeAgent(_ context.Context, id fleet.AgentID) error {
	for i := range f.Boxes {
		if f.Boxes[i].ID == id {
			f.Boxes[i].State = fleet.Retired
			return nil
		}
	}
	return fmt.Errorf("agent %s: %w", id, scheduler.ErrNotFound)
}

func (f *Fleet) CreateKey(_ context.Context, n scheduler.NewKey) (scheduler.KeyView, fleet.Secret, error) {
	v := scheduler.KeyView{ID: "key-1", Site: n.Site, Count: n.Count, Approve: n.Approve, Created: Epoch, Expires: Epoch.Add(cmp.Or(n.Expires, time.Hour))}
	f.SiteKeys = append(f.SiteKeys, v)
	return v, "sfk1.home.secret.ca", nil
}

func (f *Fleet) Keys(context.Context) ([]scheduler.KeyView, error) { return f.SiteKeys, nil }

func (f *Fleet) RevokeKey(_ context.Context, id string) error {
	if id != "key-1" {
		return fmt.Errorf("key %s: %w", id, scheduler.ErrNotFound)
	}
	return nil
}

func (f *Fleet) PutCredentials(_ context.Context, n scheduler.NewCredentials) (scheduler.CredentialsView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Logins = append(f.Logins, n)
	return scheduler.CredentialsView{ID: "cred-1", Site: n.Site, Camera: n.Camera, User: n.User, Version: 1, Created: Epoch}, nil
}

func (f *Fleet) Credentials(context.Context) ([]scheduler.CredentialsView, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []scheduler.CredentialsView
	for _, n := range f.Logins {
		out = append(out, scheduler.CredentialsView{ID: "cred-1", Site: n.Site, Camera: n.Camera, User: n.User})
	}
	return out, nil
}

func (f *Fleet) Subscribe(ctx context.Context) <-chan scheduler.Event {
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

// Revoke makes a token worthless.
func (f *Fleet) Revoke(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Revoked = token
}

func (f *Fleet) Authenticate(_ context.Context, token fleet.Secret) (scheduler.Principal, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token.Reveal() == f.Revoked {
		return scheduler.Principal{}, scheduler.ErrUnauthorized
	}
	switch role := token.Reveal(); role {
	case scheduler.RoleViewer, scheduler.RoleOperator, scheduler.RoleAdmin:
		return scheduler.Principal{Name: "the " + role, Role: role}, nil
	}
	return scheduler.Principal{}, scheduler.ErrUnauthorized
}
