package admin

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// badge is a state as a shape, a color (by the shape's name) and a word.
type badge struct{ Shape, Word, Cause string }

// moment is a time to show as an age.
type moment struct{ At, Now fleet.Instant }

// words are the states whose word is not their name.
var words = map[string]string{scheduler.StatusNeedsCredentials: "needs credentials"}

// statusOrder is the order of the filters: what needs a hand comes first.
var statusOrder = []string{
	scheduler.StatusQuarantined, scheduler.StatusFailed, scheduler.StatusMissed, scheduler.StatusNeedsCredentials, scheduler.StatusOffline,
	scheduler.StatusLate, scheduler.StatusOK, scheduler.StatusIdle, scheduler.StatusIgnored, scheduler.StatusRetired,
}

func statusBadge(status string) badge {
	b := badge{Shape: status, Word: status}
	if w, ok := words[status]; ok {
		b.Word = w
	}
	if status != scheduler.StatusPending && !slices.Contains(statusOrder, status) {
		b.Shape = scheduler.StatusIdle // a word this page has no shape for yet
	}
	return b
}

func cameraBadge(v scheduler.CameraView) badge {
	b := statusBadge(v.Status)
	if v.Last != nil && (v.Status == scheduler.StatusFailed || v.Status == scheduler.StatusMissed) {
		b.Cause = string(v.Last.Cause)
	}
	return b
}

func captureBadge(c fleet.Capture) badge {
	if c.Outcome == fleet.Captured {
		return badge{Shape: scheduler.StatusOK, Word: c.Outcome.String()}
	}
	return badge{Shape: c.Outcome.String(), Word: c.Outcome.String(), Cause: string(c.Cause)}
}

type tile struct {
	ID, Name, Site string
	Badge          badge
	Looks          fleet.Fault   // what is wrong with the last frame; "" when nothing is
	Frame          fleet.Instant // of the thumbnail; 0 = none
	Last           moment
	Stale          bool // the frame is not what the camera sees now
}

func tileOf(v scheduler.CameraView, now fleet.Instant) tile {
	t := tile{ID: v.ID.String(), Name: nameOf(v), Site: string(v.Site), Badge: cameraBadge(v), Frame: v.LastFrame, Last: moment{Now: now}}
	if v.Last != nil {
		t.Last.At = v.Last.At
		if f := v.Last.Reading.Verdict.Fault; v.Last.Outcome == fleet.Captured && remedy[f] != "" {
			t.Looks = f
		}
	}
	t.Stale = v.Status != scheduler.StatusOK && v.Status != scheduler.StatusLate && v.Status != scheduler.StatusIdle
	return t
}

// nameOf returns what a person calls the camera, as well as anybody knows.
func nameOf(v scheduler.CameraView) string {
	switch {
	case v.Name != "":
		return v.Name
	case v.Vendor != "" || v.Model != "":
		return strings.TrimSpace(v.Vendor + " " + v.Model)
	case len(v.Addresses) > 0:
		return v.Addresses[0].String()
	}
	return v.ID.String()
}

type pendingRow struct {
	ID, Name, Facts, Reason string
	Badge                   badge
}

func pendingOf(v scheduler.CameraView) pendingRow {
	facts := []string{string(v.Site)}
	if maker := strings.TrimSpace(v.Vendor + " " + v.Model); maker != "" && maker != nameOf(v) {
		facts = append(facts, maker)
	}
	for i, a := range v.Addresses {
		if i == 2 {
			break
		}
		facts = append(facts, a.String())
	}
	return pendingRow{ID: v.ID.String(), Name: nameOf(v), Facts: strings.Join(facts, " · "), Reason: v.Reason, Badge: statusBadge(v.Status)}
}

type count struct {
	Badge badge
	N     int
	URL   string
	On    bool
}

// summary is the row of filters with the books below it.
type summary struct {
	Status, AllURL string
	Total          int
	Counts         []count
	Books          fleet.Books
}

// view is what the address of the gallery asks for.
type view struct {
	site, status string
	after        fleet.CameraID
}

func viewOf(q url.Values) (v view, err error) {
	v = view{site: q.Get("site"), status: q.Get("status")}
	if s := q.Get("after"); s != "" {
		v.after, err = cameraID("after", s)
	}
	return v, err
}

func (v view) url(status string, after string) string {
	q := url.Values{}
	for k, s := range map[string]string{"site": v.site, "status": status, "after": after} {
		if s != "" {
			q.Set(k, s)
		}
	}
	if len(q) == 0 {
		return "/"
	}
	return "/?" + q.Encode()
}

// scan is one look at the fleet, for one page.
type scan struct {
	cameras []scheduler.CameraView // all but pending ones, as people count
	pending []scheduler.CameraView
	partial bool // there are more than were looked at
}

func (a *Server) scan(ctx context.Context, v view) (s scan, err error) {
	all, err := a.s.Cameras(ctx, scheduler.CameraQuery{Site: fleet.SiteID(v.site), Limit: scanned + 1})
	if err != nil {
		return s, err
	}
	if s.partial = len(all) > scanned; s.partial {
		all = all[:scanned]
	}
	for _, c := range all {
		switch c.State {
		case fleet.Pending, fleet.Quarantined:
			s.pending = append(s.pending, c)
		case fleet.Candidate:
		default:
			s.cameras = append(s.cameras, c)
		}
	}
	for _, list := range [][]scheduler.CameraView{s.cameras, s.pending} {
		slices.SortFunc(list, func(a, b scheduler.CameraView) int {
			return cmp.Or(compareNatural(string(a.Site), string(b.Site)), compareNatural(nameOf(a), nameOf(b)), cmp.Compare(a.ID, b.ID))
		})
	}
	return s, nil
}

// compareNatural orders texts as people count: "gate 2" comes before "gate 10".
func compareNatural(a, b string) int {
	for x, y := a, b; ; {
		i, j := digits(x), digits(y)
		switch {
		case x == "" || y == "":
			return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(a, b))
		case i > 0 && j > 0:
			m, n := strings.TrimLeft(x[:i], "0"), strings.TrimLeft(y[:j], "0")
			if c := cmp.Or(cmp.Compare(len(m), len(n)), cmp.Compare(m, n)); c != 0 {
				return c
			}
			x, y = x[i:], y[j:]
		case x[0] != y[0]:
			return cmp.Compare(x[0], y[0])
		default:
			x, y = x[1:], y[1:]
		}
	}
}

// digits returns how many decimal digits s begins with.
func digits(s string) (n int) {
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}

// hidden cameras are shown only to who asks for their state.
func hidden(status string) bool {
	return status == scheduler.StatusIgnored || status == scheduler.StatusRetired
}

func (v view) shows(c scheduler.CameraView) bool {
	if v.status == "" {
		return !hidden(c.Status)
	}
	return c.Status == v.status
}

func (a *Server) summary(ctx context.Context, v view, s scan) (summary, error) {
	books, err := a.s.Books(ctx)
	if err != nil {
		return summary{}, err
	}
	out := summary{Status: v.status, AllURL: v.url("", ""), Books: books.Total}
	if v.site != "" {
		out.Books = books.Sites[fleet.SiteID(v.site)]
	}
	n := map[string]int{}
	for _, c := range s.cameras {
		n[c.Status]++
		if !hidden(c.Status) {
			out.Total++
		}
	}
	for _, st := range statusOrder {
		if n[st] > 0 || v.status == st {
			out.Counts = append(out.Counts, count{Badge: statusBadge(st), N: n[st], URL: v.url(st, ""), On: v.status == st})
		}
	}
	return out, nil
}

type galleryData struct {
	page
	Empty                     bool
	Agents                    int
	AgentHost                 string
	Summary                   summary
	Site                      string
	Sites                     []string
	NoSchedule                bool
	Partial                   int
	Conflicts                 int
	Pending                   []pendingRow
	PendingTotal, PendingMore int
	Tiles                     []tile
	Next                      string
	Virtual                   *virtual
}

// virtual is the panel of the demo's cameras.
type virtual struct {
	Cameras []VirtualCamera
	Faults  []string
	Any     bool
}

func (a *Server) galleryPage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v, err := viewOf(r.URL.Query())
	if err != nil {
		return err
	}
	d := galleryData{page: a.page(r, "cameras", true), Site: v.site, AgentHost: agentHost(r), Virtual: a.virtual()}
	s, err := a.scan(ctx, v)
	if err != nil {
		return err
	}
	if d.Sites, err = contextSites(ctx, a.s); err != nil {
		return err
	}
	if v.site == "" && len(s.cameras)+len(s.pending) == 0 {
		agents, err := a.s.Agents(ctx)
		if err != nil {
			return err
		}
		d.Empty, d.Agents = true, len(agents)
		a.show(w, r, http.StatusOK, "gallery", "layout", d)
		return nil
	}
	if d.Summary, err = a.summary(ctx, v, s); err != nil {
		return err
	}
	schedules, err := a.s.Schedules(ctx)
	if err != nil {
		return err
	}
	d.NoSchedule = len(s.cameras) > 0 && !slices.ContainsFunc(schedules, func(s scheduler.ScheduleView) bool { return s.Cameras > 0 })
	if s.partial {
		d.Partial = scanned
	}
	conflicts, err := a.s.Conflicts(ctx, fleet.SiteID(v.site))
	if err != nil {
		return err
	}
	d.Conflicts = len(conflicts)
	d.PendingTotal = len(s.pending)
	d.Pending = each(s.pending[:min(len(s.pending), pendingShown)], pendingOf)
	d.PendingMore = len(s.pending) - len(d.Pending)
	shown := s.cameras[1+slices.IndexFunc(s.cameras, func(c scheduler.CameraView) bool { return c.ID == v.after }):]
	for _, c := range shown {
		if !v.shows(c) {
			continue
		}
		if len(d.Tiles) == tilesPerPage {
			d.Next = v.url(v.status, d.Tiles[tilesPerPage-1].ID)
			break
		}
		d.Tiles = append(d.Tiles, tileOf(c, d.Now))
	}
	a.show(w, r, http.StatusOK, "gallery", "layout", d)
	return nil
}

func (a *Server) virtual() *virtual {
	if a.o.Faults == nil {
		return nil
	}
	v := &virtual{Cameras: a.o.Faults.List()}
	for _, c := range v.Cameras {
		v.Any = v.Any || len(c.On) > 0
		for _, f := range c.Faults {
			if !slices.Contains(v.Faults, f) {
				v.Faults = append(v.Faults, f)
			}
		}
	}
	return v
}

// tilesPart answers with the tiles that a page asks to renew, and the summary.
func (a *Server) tilesPart(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	v, err := viewOf(r.URL.Query())
	if err != nil {
		return err
	}
	ids := strings.Split(r.URL.Query().Get("ids"), ",")
	if len(ids) > maxTiles {
		return invalid("ids", "at most %d at a time", maxTiles)
	}
	s, err := a.scan(ctx, v)
	if err != nil {
		return err
	}
	sum, err := a.summary(ctx, v, s)
	if err != nil {
		return err
	}
	a.show(w, r, http.StatusOK, "tiles", "tiles", struct {
		Tiles   []tile
		Summary summary
	}{a.tiles(ctx, ids), sum})
	return nil
}

// tiles reads the named cameras. One that is gone is left out: the page hears
// of that by another event.
func (a *Server) tiles(ctx context.Context, ids []string) (out []tile) {
	now := fleet.At(a.o.Now())
	for _, text := range ids {
		id, err := fleet.ParseCameraID(text)
		if err != nil {
			continue
		}
		c, err := a.s.Camera(ctx, id)
		if errors.Is(err, scheduler.ErrNotFound) {
			continue
		}
		if err != nil {
			a.log.ErrorContext(ctx, "tile failed", "camera_id", id, "err", err)
			continue
		}
		out = append(out, tileOf(c, now))
	}
	return out
}
