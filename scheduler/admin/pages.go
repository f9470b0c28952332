package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

// pages are rendered here and work without scripts; live.js only replaces
// parts of them with what the same templates render.
func (a *Server) pages() {
	a.mux.HandleFunc("GET /{$}", a.gallery)
	a.mux.HandleFunc("GET /cameras/{id}", a.cameraPage)
	a.mux.HandleFunc("GET /schedules", a.schedulesPage)
	a.mux.HandleFunc("GET /agents", a.agentsPage)
	a.mux.HandleFunc("GET /parts/tile/{id}", a.tilePart)
	a.mux.HandleFunc("GET /parts/books", a.booksPart)
	a.mux.HandleFunc("GET /parts/gallery", a.galleryPart)
	a.mux.HandleFunc("GET /events", a.events)
	a.mux.HandleFunc("POST /approve", a.approve)
	a.mux.HandleFunc("POST /faults", a.setFault)
	a.mux.HandleFunc("GET /login", a.login)
	a.mux.HandleFunc("POST /login", a.login)
	a.mux.HandleFunc("POST /logout", a.logout)
	a.mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"clock":   func(i fleet.Instant) string { return i.Time().Local().Format("15:04:05") },
	"moment":  func(i fleet.Instant) string { return i.Time().Local().Format("2 Jan 15:04:05") },
	"iso":     func(i fleet.Instant) string { return i.String() },
	"shape":   shape,
	"percent": func(n, of uint64) string { return fmt.Sprintf("%.1f", 100*float64(n)/float64(max(of, 1))) },
	"join":    strings.Join,
	"ms":      func(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) },
}).ParseFS(files, "templates/*.html"))

// shape draws a state's mark: each state has its own form, so that colour is
// never the only sign.
func shape(status string) template.HTML {
	paths := map[string]string{
		"ok":                `<circle cx="8" cy="8" r="6"/>`,
		"late":              `<path d="M8 2a6 6 0 1 0 .01 0M8 5v3.5l2.5 1.5" fill="none" stroke="currentColor" stroke-width="2"/>`,
		"failed":            `<path d="M3.5 3.5l9 9m0-9l-9 9" fill="none" stroke="currentColor" stroke-width="3" stroke-linecap="round"/>`,
		"missed":            `<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="3 2.5"/>`,
		"pending":           `<path d="M8 1.5 14.5 8 8 14.5 1.5 8z"/>`,
		"needs-credentials": `<path d="M5 7V5a3 3 0 0 1 6 0v2" fill="none" stroke="currentColor" stroke-width="2"/><rect x="3" y="7" width="10" height="7" rx="1.5"/>`,
		"offline":           `<path d="M2 8h12" stroke="currentColor" stroke-width="3" stroke-linecap="round"/>`,
		"idle":              `<circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2"/>`,
	}
	p, ok := paths[status]
	if !ok {
		p = `<rect x="3" y="3" width="10" height="10" rx="2" fill="none" stroke="currentColor" stroke-width="2"/>`
	}
	return template.HTML(`<svg class="shape" viewBox="0 0 16 16" width="14" height="14" fill="currentColor" aria-hidden="true">` + p + `</svg>`) //nolint:gosec // constants of this file
}

// words is what a status is called on the page.
func words(v *scheduler.CameraView) string {
	switch v.Status {
	case scheduler.StatusFailed, scheduler.StatusMissed:
		if v.Last != nil && v.Last.Cause != "" {
			return v.Status + ": " + string(v.Last.Cause)
		}
	case scheduler.StatusNeedsCredentials:
		return "needs credentials"
	}
	return v.Status
}

type tile struct {
	ID, Name, Site, Status, Words, Why, Found string
	Frame                                     fleet.Instant // 0: none
	At                                        fleet.Instant // of the last outcome; 0: none
	Pending                                   bool
	Faults                                    []string // of a virtual camera
	CanFault                                  bool
}

func (a *Server) tile(v *scheduler.CameraView) tile {
	t := tile{ID: v.ID.String(), Name: v.Name, Site: string(v.Site), Status: v.Status, Words: words(v), Why: v.Reason, Frame: v.LastFrame, Pending: v.State == fleet.Pending}
	if v.Last != nil {
		t.At = v.Last.At
		if v.Last.Outcome != fleet.Captured {
			t.Why = v.Last.Detail
		}
	}
	var via []string
	for _, w := range v.Via {
		via = append(via, string(w))
	}
	t.Found = strings.Join(via, ", ")
	if a.opts.Faults != nil {
		t.Faults, t.CanFault = a.opts.Faults.Active()[v.Name], true
	}
	return t
}

type galleryData struct {
	Title   string
	Books   booksData
	Tiles   []tile
	Pending []tile
	Empty   bool // nothing at all: the page says what to do next
	NoAgent bool
	Site    string
	State   string
	Sites   []string
	States  []string
	Who     scheduler.Principal
	CanEdit bool
	Dev     bool
}

type booksData struct {
	fleet.Books
	Cameras, Agents, Connected int
}

// maxTiles bounds one page of the gallery.
const maxTiles = 500

func (a *Server) galleryData(r *http.Request) (galleryData, error) {
	ctx := r.Context()
	p := who(ctx)
	d := galleryData{Title: "Cameras", Site: r.URL.Query().Get("site"), State: r.URL.Query().Get("state"), Who: p, CanEdit: may(p.Role, scheduler.RoleOperator), Dev: a.opts.Faults != nil}
	vs, err := a.sched.Cameras(ctx, scheduler.CameraQuery{})
	if err != nil {
		return d, err
	}
	for i := range vs {
		v := &vs[i]
		if !slices.Contains(d.Sites, string(v.Site)) {
			d.Sites = append(d.Sites, string(v.Site))
		}
		if !slices.Contains(d.States, v.Status) {
			d.States = append(d.States, v.Status)
		}
		hidden := v.State == fleet.Ignored || v.State == fleet.Retired
		switch {
		case d.Site != "" && string(v.Site) != d.Site, d.State != "" && v.Status != d.State, d.State == "" && hidden:
		case v.State == fleet.Pending:
			d.Pending = append(d.Pending, a.tile(v))
		case len(d.Tiles) < maxTiles:
			d.Tiles = append(d.Tiles, a.tile(v))
		}
	}
	slices.Sort(d.Sites)
	slices.Sort(d.States)
	slices.SortStableFunc(d.Tiles, func(x, y tile) int { return strings.Compare(x.Site+"\x00"+x.Name, y.Site+"\x00"+y.Name) })
	if d.Books, err = a.booksData(r); err != nil {
		return d, err
	}
	d.Books.Cameras = len(vs)
	d.Empty, d.NoAgent = len(vs) == 0, d.Books.Agents == 0
	return d, nil
}

func (a *Server) booksData(r *http.Request) (d booksData, err error) {
	b, err := a.sched.Books(r.Context())
	if err != nil {
		return d, err
	}
	d.Books = b.Total
	agents, err := a.sched.Agents(r.Context())
	for _, g := range agents {
		if g.State != fleet.Retired {
			d.Agents++
			if g.Connected {
				d.Connected++
			}
		}
	}
	return d, err
}

func (a *Server) render(w http.ResponseWriter, name string, data any, err error) {
	var b bytes.Buffer
	if err == nil {
		err = templates.ExecuteTemplate(&b, name, data)
	}
	if err != nil {
		a.log.Error("page failed", "err", err)
		http.Error(w, "The page could not be made: the scheduler's log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = b.WriteTo(w) //nolint:errcheck // the client has gone
}

func (a *Server) gallery(w http.ResponseWriter, r *http.Request) {
	d, err := a.galleryData(r)
	a.render(w, "gallery.html", d, err)
}

func (a *Server) galleryPart(w http.ResponseWriter, r *http.Request) {
	d, err := a.galleryData(r)
	a.render(w, "cameras", d, err)
}

func (a *Server) booksPart(w http.ResponseWriter, r *http.Request) {
	d, err := a.booksData(r)
	a.render(w, "books", d, err)
}

func (a *Server) view(w http.ResponseWriter, r *http.Request) (scheduler.CameraView, bool) {
	id, err := fleet.ParseCameraID(r.PathValue("id"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return scheduler.CameraView{}, false
	}
	v, err := a.sched.Camera(r.Context(), id)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return v, false
	}
	return v, true
}

func (a *Server) tilePart(w http.ResponseWriter, r *http.Request) {
	if v, ok := a.view(w, r); ok {
		a.render(w, "tile", a.tile(&v), nil)
	}
}

func (a *Server) cameraPage(w http.ResponseWriter, r *http.Request) {
	v, ok := a.view(w, r)
	if !ok {
		return
	}
	cs, _, err := a.sched.Captures(r.Context(), scheduler.CaptureQuery{Camera: v.ID, Limit: 50})
	type row struct {
		fleet.Capture
		Schedule string
	}
	var rows []row
	for _, c := range cs {
		rows = append(rows, row{c, a.sched.ScheduleName(c.Schedule)})
	}
	var kinds []string
	if a.opts.Faults != nil {
		kinds = a.opts.Faults.Kinds()
	}
	a.render(w, "camera.html", map[string]any{"Title": v.Name, "Camera": a.camera(&v), "Tile": a.tile(&v), "Rows": rows, "Who": who(r.Context()), "Kinds": kinds}, err)
}

func (a *Server) schedulesPage(w http.ResponseWriter, r *http.Request) {
	vs, err := a.sched.Schedules(r.Context())
	a.render(w, "schedules.html", map[string]any{"Title": "Schedules", "Schedules": vs, "Who": who(r.Context())}, err)
}

func (a *Server) agentsPage(w http.ResponseWriter, r *http.Request) {
	vs, err := a.sched.Agents(r.Context())
	a.render(w, "agents.html", map[string]any{"Title": "Agents", "Agents": vs, "Who": who(r.Context())}, err)
}

// events streams what changes: the ids of cameras, at most one message in 200
// ms, each id once in it.
func (a *Server) events(w http.ResponseWriter, r *http.Request) {
	flush, ok := w.(http.Flusher)
	if !ok {
		http.Error(w, "no streaming here", http.StatusNotImplemented)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprint(w, "retry: 2000\n\n")
	flush.Flush()
	events := a.sched.Subscribe(r.Context())
	const pace = 200 * time.Millisecond
	tick := time.NewTicker(pace)
	defer tick.Stop()
	idle := time.Now()
	var msg struct {
		Cameras []string `json:"cameras,omitempty"` // whose tile changed
		Books   bool     `json:"books,omitempty"`
		List    bool     `json:"list,omitempty"` // cameras came or went
	}
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			switch e.Kind {
			case "capture", "thumbnail":
				if id := e.Camera.String(); !slices.Contains(msg.Cameras, id) && len(msg.Cameras) < maxTiles {
					msg.Cameras = append(msg.Cameras, id)
				}
			case "camera", "agent", "resync":
				msg.List = true
			}
			msg.Books = true
		case <-tick.C:
			if len(msg.Cameras) == 0 && !msg.Books && !msg.List {
				if time.Since(idle) > 15*time.Second {
					idle = time.Now()
					fmt.Fprint(w, ": still here\n\n")
					flush.Flush()
				}
				continue
			}
			b, err := json.Marshal(msg)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
				return
			}
			flush.Flush()
			msg.Cameras, msg.Books, msg.List, idle = nil, false, false, time.Now()
		}
	}
}

func back(w http.ResponseWriter, r *http.Request) {
	to := "/"
	if p := r.FormValue("back"); strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "//") && !strings.Contains(p, "\\") {
		to = p
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

func (a *Server) approve(w http.ResponseWriter, r *http.Request) {
	to := fleet.Approved
	if r.FormValue("state") == string(fleet.Ignored) {
		to = fleet.Ignored
	}
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := a.enrol(r.Context(), r.Form["id"], r.FormValue("all") != "", to); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	back(w, r)
}

func (a *Server) setFault(w http.ResponseWriter, r *http.Request) {
	if a.opts.Faults == nil {
		http.NotFound(w, r)
		return
	}
	if err := a.opts.Faults.Set(r.FormValue("camera"), r.FormValue("fault"), r.FormValue("on") != ""); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	back(w, r)
}

func (a *Server) login(w http.ResponseWriter, r *http.Request) {
	if code := r.URL.Query().Get("code"); code != "" && r.Method == http.MethodGet {
		if a.sessions.useCode(code) {
			a.sessions.begin(w, r, scheduler.Principal{Name: "local", Role: scheduler.RoleAdmin})
			// A page, not a redirect: a strict cookie is not sent along a
			// redirect that began on another site.
			a.render(w, "welcome.html", map[string]any{"Title": "Welcome"}, nil)
			return
		}
		a.render(w, "login.html", map[string]any{"Title": "Log in", "Problem": "This link has been used or is too old. Use the token in admin.token, or start again."}, nil)
		return
	}
	problem := ""
	if r.Method == http.MethodPost {
		p, err := a.sched.Authenticate(r.Context(), fleet.Secret(strings.TrimSpace(r.FormValue("token"))))
		if err == nil {
			a.sessions.begin(w, r, p)
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		problem = "This token is not known here."
	}
	a.render(w, "login.html", map[string]any{"Title": "Log in", "Problem": problem}, nil)
}

func (a *Server) logout(w http.ResponseWriter, r *http.Request) {
	a.sessions.end(r)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}
