package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

const (
	maxName   = 120
	maxLabels = 64

	// maxSiteCameras bounds what agents may report for one site: what is on a
	// LAN is not ours to trust.
	maxSiteCameras = 20_000
)

func checkSite(id fleet.SiteID) error {
	if id == "" || len(id) > 64 || strings.ContainsFunc(string(id), func(r rune) bool { return r <= ' ' || r == '/' || r == ',' || r == 0x7f }) {
		return invalid("site", "want 1 to 64 characters without spaces, commas and slashes, for example store-12")
	}
	return nil
}

// mention makes the site exist.
func (s *Scheduler) mention(ch *change, id fleet.SiteID) {
	if v := s.siteIDs[id]; v != nil && v.known || slices.ContainsFunc(ch.Sites, func(v fleet.Site) bool { return v.ID == id }) {
		return
	}
	v := fleet.Site{ID: id, Created: fleet.At(time.Now())}
	ch.Sites = append(ch.Sites, v)
	ch.then(func() { s.setSite(v) })
}

// put makes a camera's new version durable and visible, with its tasks. A
// commit changes a camera once: its tasks are compared with what is in memory,
// and would be closed and opened twice.
func (s *Scheduler) put(ch *change, c fleet.Camera, now fleet.Instant) {
	if ch.put[c.ID] {
		return
	}
	if ch.put == nil {
		ch.put = map[fleet.CameraID]bool{}
	}
	ch.put[c.ID] = true
	c.Version++
	ch.Cameras = append(ch.Cameras, c)
	n := s.cams.byID[c.ID]
	s.retask(ch, n, &c, now)
	if n == 0 || s.cams.slots.at(n).approved || c.State == fleet.Approved {
		ch.then(func() { s.camerasChanged(c.Site) })
	}
	ch.tell(Event{Kind: "camera", Camera: c.ID, Site: c.Site})
}

// Check returns what AddCamera would refuse n for whatever the fleet is, so that
// a list can be looked over before its first camera is taken.
func (n NewCamera) Check() error {
	if err := checkSite(n.Site); err != nil {
		return err
	}
	if _, _, err := endpointOf(n.URL); err != nil {
		return err
	}
	return checkLabels(n.Labels)
}

// AddCamera takes a camera by hand: it is approved at once. Taking the same
// URL again changes what was given with it.
func (s *Scheduler) AddCamera(ctx context.Context, n NewCamera) (CameraView, error) {
	if err := checkSite(n.Site); err != nil {
		return CameraView{}, err
	}
	e, addr, err := endpointOf(n.URL)
	if err != nil {
		return CameraView{}, err
	}
	if err := checkLabels(n.Labels); err != nil {
		return CameraView{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return CameraView{}, err
	}
	var ch change
	s.mention(&ch, n.Site)
	device := string(fleet.ClaimURL) + ":" + e.URL
	c := fleet.Camera{ID: newCameraID(), Site: n.Site, Device: device, Created: now, Via: []fleet.Via{fleet.ViaManual}, Endpoints: []fleet.Endpoint{e}}
	if known := s.sources(n.Site, device); len(known) > 0 {
		c = *s.camera(known[slices.Min(slices.Collect(maps.Keys(known)))])
	}
	c.Name = clip(cmp.Or(n.Name, c.Name, hostOf(e.URL)), maxName)
	c.Labels = maps.Clone(c.Labels)
	for k, v := range n.Labels {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[k] = v
	}
	if addr.IsValid() {
		c.Addresses = []netip.Addr{addr}
	}
	if c.State != fleet.Approved {
		c.State, c.Enabled = fleet.Approved, now
	}
	if n.User != "" || n.Password != "" {
		s.putCredentials(&ch, NewCredentials{Site: n.Site, Camera: c.ID, User: n.User, Password: n.Password})
	}
	s.put(&ch, c, now)
	if err := s.apply(ctx, &ch); err != nil {
		return CameraView{}, err
	}
	return s.view(ctx, s.camera(c.ID))
}

// endpointOf reads a camera's URL as people write it.
func endpointOf(text string) (fleet.Endpoint, netip.Addr, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Host == "" {
		return fleet.Endpoint{}, netip.Addr{}, invalid("url", "want a whole URL, for example rtsp://192.0.2.7/stream1 or http://192.0.2.7/snapshot.jpg")
	}
	if u.User != nil {
		return fleet.Endpoint{}, netip.Addr{}, invalid("url", "holds a login: give the user and the password apart, so that they stay secret")
	}
	u.Fragment = ""
	p := fleet.Snapshot
	path := strings.ToLower(u.Path)
	switch u.Scheme {
	case "rtsp", "rtsps":
		p = fleet.RTSP
	case "http", "https":
		switch {
		case strings.Trim(path, "/") == "" && u.RawQuery == "":
			p, u.Path = fleet.ONVIF, "/onvif/device_service"
		case strings.Contains(path, "onvif/") && strings.Contains(path, "service"):
			p = fleet.ONVIF
		case strings.Contains(path, "mjpg"), strings.Contains(path, "mjpeg"), strings.Contains(path, "video.cgi"), strings.Contains(u.RawQuery, "action=stream"):
			p = fleet.MJPEG
		}
	default:
		return fleet.Endpoint{}, netip.Addr{}, invalid("url", "%s is no camera's scheme: want http, https, rtsp or rtsps", u.Scheme)
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err != nil {
		addr = netip.Addr{} // a host name
	}
	return fleet.Endpoint{Protocol: p, URL: u.String()}, addr.Unmap(), nil
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.Host
}

func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return invalid("labels", "at most %d", maxLabels)
	}
	for k, v := range labels {
		if k == "" || len(k) > 64 || strings.ContainsAny(k, " \t\r\n,=!()*") || len(v) > 256 || strings.ContainsAny(v, ",\r\n") {
			return invalid("labels", "%q=%q: a key has 1 to 64 characters without space , = ! ( ) *, a value at most 256 without commas", k, v)
		}
		if slices.Contains([]string{"id", "site", "name", "vendor", "model", "address"}, k) {
			return invalid("labels", "%s is a camera's own field and cannot be a label", k)
		}
	}
	return nil
}

// SetCamera changes a camera's name and labels.
func (s *Scheduler) SetCamera(ctx context.Context, id fleet.CameraID, n CameraChange) (CameraView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return CameraView{}, err
	}
	old := s.camera(id)
	if old == nil {
		return CameraView{}, fmt.Errorf("camera %s: %w", id, ErrNotFound)
	}
	if n.IfVersion != 0 && n.IfVersion != old.Version {
		return CameraView{}, fmt.Errorf("camera %s: %w", id, ErrConflict)
	}
	c := *old
	if n.Name != nil {
		c.Name = clip(*n.Name, maxName)
	}
	c.Labels = maps.Clone(c.Labels)
	for k, v := range n.Labels {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		if v == nil {
			delete(c.Labels, k)
		} else {
			c.Labels[k] = *v
		}
	}
	if err := checkLabels(c.Labels); err != nil {
		return CameraView{}, err
	}
	var ch change
	s.put(&ch, c, now)
	if err := s.apply(ctx, &ch); err != nil {
		return CameraView{}, err
	}
	return s.view(ctx, s.camera(id))
}

// Enrol moves cameras to approved, ignored, pending or retired. All of them, or
// none when one is unknown.
func (s *Scheduler) EnrolCameras(ctx context.Context, ids []fleet.CameraID, to fleet.Enrollment) ([]CameraView, error) {
	if !slices.Contains([]fleet.Enrollment{fleet.Approved, fleet.Ignored, fleet.Pending, fleet.Retired}, to) {
		return nil, invalid("state", "want approved, ignored, pending or retired")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if s.cams.byID[id] == 0 {
			return nil, fmt.Errorf("camera %s: %w", id, ErrNotFound)
		}
	}
	var ch change
	for _, id := range ids {
		if c := s.camera(id); c.State != to {
			s.put(&ch, enrolled(*c, to, now), now)
		}
	}
	if err := s.apply(ctx, &ch); err != nil {
		return nil, err
	}
	var out []CameraView
	for _, id := range ids {
		v, err := s.view(ctx, s.camera(id))
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func enrolled(c fleet.Camera, to fleet.Enrollment, now fleet.Instant) fleet.Camera {
	c.State, c.Enabled = to, 0
	if to == fleet.Approved {
		c.Enabled = now
	}
	return c
}

// SetRules replaces the rules by which found cameras are approved, and applies
// them to those that are pending, but for those that may show what is hidden of
// another camera.
func (s *Scheduler) SetRules(ctx context.Context, rules map[string]string) error {
	parsed := make([]rule, 0, len(rules))
	rows := make([]store.Rule, 0, len(rules))
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		sel, err := fleet.ParseSelector(rules[name])
		if err != nil {
			return invalid("rules."+name, "%v", err)
		}
		r := store.Rule{Name: name, Select: rules[name]}
		parsed = append(parsed, rule{Rule: r, selector: sel})
		rows = append(rows, r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return err
	}
	before := s.rules
	s.rules = parsed
	ch := change{Batch: store.Batch{Rules: &rows}}
	for n := uint32(1); n <= s.cams.slots.used; n++ {
		if !s.cams.slots.at(n).pending {
			continue
		}
		if c := s.cams.get(n); s.ruled(&c) {
			s.put(&ch, enrolled(c, fleet.Approved, now), now)
		}
	}
	if err := s.apply(ctx, &ch); err != nil {
		s.rules = before
		return err
	}
	return nil
}

// Rules returns the rules by name.
func (s *Scheduler) Rules(context.Context) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for _, r := range s.rules {
		out[r.Name] = r.Select
	}
	return out, nil
}

// ruled says whether a rule approves the camera.
func (s *Scheduler) ruled(c *fleet.Camera) bool {
	return !s.besideMask(c) && slices.ContainsFunc(s.rules, func(r rule) bool { return r.selector.Match(c.LabelSet()) })
}

// SetSite changes a site's zone and coordinates; the site exists from then on.
func (s *Scheduler) SetSite(ctx context.Context, id fleet.SiteID, n SiteChange) (SiteView, error) {
	if err := checkSite(id); err != nil {
		return SiteView{}, err
	}
	if n.TZ != nil && *n.TZ != "" {
		if err := calendar.CheckZone(*n.TZ); err != nil {
			return SiteView{}, invalid("tz", "%v", err)
		}
	}
	if n.Lat != nil && !(*n.Lat >= -90 && *n.Lat <= 90) {
		return SiteView{}, invalid("lat", "want degrees north, -90 to 90")
	}
	if n.Burst != nil && !(*n.Burst >= 0 && *n.Burst <= 1e6) {
		return SiteView{}, invalid("burst", "want captures per second, or 0 for no bound")
	}
	if n.Lon != nil && !(*n.Lon >= -180 && *n.Lon <= 180) {
		return SiteView{}, invalid("lon", "want degrees east, -180 to 180")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now, err := s.tick(ctx)
	if err != nil {
		return SiteView{}, err
	}
	at := s.siteNamed(id)
	old := at.Site
	v := old
	if !at.known {
		v.Created = now
	}
	if n.TZ != nil {
		v.TZ = *n.TZ
	}
	v.Lat, v.Lon = cmp.Or(n.Lat, v.Lat), cmp.Or(n.Lon, v.Lon)
	if n.Burst != nil {
		v.Burst = *n.Burst
	}
	ch := change{Batch: store.Batch{Sites: []fleet.Site{v}}}
	known := at.known
	s.setSite(v) // retask looks there
	for k := at.first; k != 0; k = s.cams.slots.at(k).next {
		if s.cams.slots.at(k).approved {
			c := s.cams.get(k)
			s.retask(&ch, k, &c, now)
		}
	}
	if err := s.apply(ctx, &ch); err != nil {
		s.setSite(old)
		at.known = known
		return SiteView{}, err
	}
	return at.view(), nil
}

// Sites lists the sites with their counts.
func (s *Scheduler) Sites(context.Context) ([]SiteView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []SiteView
	for _, id := range slices.Sorted(maps.Keys(s.siteIDs)) {
		if v := s.siteIDs[id]; v.known || v.cameras > 0 {
			out = append(out, v.view())
		}
	}
	return out, nil
}

func (v *site) view() SiteView {
	return SiteView{Site: v.Site, Cameras: v.cameras, Pending: v.pending, Agents: v.enrolled}
}
