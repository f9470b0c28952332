package admin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
)

//go:embed templates assets
var files embed.FS

const (
	// tilesPerPage keeps the first page under 150 kB without pictures; a test
	// weighs it.
	tilesPerPage = 96

	// pendingShown is how many pending cameras a page lists; approving all is
	// one button.
	pendingShown = 24

	// scanned bounds how many cameras are counted and filtered by status for
	// one page. Beyond it the page says so.
	scanned = 5000

	// capturesShown is the length of a camera's list.
	capturesShown = 50

	// maxTiles bounds one request for changed tiles.
	maxTiles = 200
)

// pages holds the parsed templates and the assets with their digests.
type pages struct {
	byName map[string]*template.Template
	assets map[string]asset
}

type asset struct {
	body   []byte
	kind   string
	digest string
}

func newPages() *pages {
	p := &pages{byName: map[string]*template.Template{}, assets: map[string]asset{}}
	kinds := map[string]string{"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "why.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
	for name, kind := range kinds {
		body, err := fs.ReadFile(files, "assets/"+name)
		if err != nil {
			panic(err) // embedded: a test reads them all
		}
		sum := sha256.Sum256(body)
		p.assets[name] = asset{body, kind, hex.EncodeToString(sum[:6])}
	}
	funcs := template.FuncMap{
		"asset": func(name string) string { return "/assets/" + name + "?v=" + p.assets[name].digest },
		"ago":   ago, "clock": clock, "num": num, "ms": milliseconds,
		"eq": func(a any, bs ...any) bool {
			return slices.ContainsFunc(bs, func(b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) })
		},
	}
	base := template.Must(template.New("").Funcs(funcs).ParseFS(files, "templates/layout.html", "templates/tile.html", "templates/conflict.html"))
	for _, name := range []string{"gallery", "camera", "why", "schedules", "agents", "conflicts", "login", "error"} {
		p.byName[name] = template.Must(template.Must(base.Clone()).ParseFS(files, "templates/"+name+".html"))
	}
	p.byName["tiles"] = template.Must(base.Clone())
	return p
}

// page is what the layout needs; each page embeds it.
type page struct {
	Who, Role, Here, Version string
	May                      bool   // operator or more
	Live                     bool   // follows events
	Refresh                  string // where to go at once
	Now                      fleet.Instant
}

func (a *Server) page(r *http.Request, here string, live bool) page {
	v := visitorOf(r.Context())
	p := page{Here: here, Version: a.o.Version, Live: live, Now: fleet.At(a.o.Now())}
	if v.err == nil {
		p.Who, p.Role, p.May = cmp.Or(v.Name, "signed in"), v.Role, rank(v.Role) >= rank(scheduler.RoleOperator)
	}
	p.Live = live && p.Who != ""
	return p
}

// show renders a page wholly before the first byte goes out, so that a fault
// never cuts one.
func (a *Server) show(w http.ResponseWriter, r *http.Request, status int, name, part string, data any) {
	var b bytes.Buffer
	if err := a.pages.byName[name].ExecuteTemplate(&b, part, data); err != nil {
		a.log.ErrorContext(r.Context(), "page failed", "page", name, "err", err)
		http.Error(w, "this page could not be made; the scheduler's log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the reader went away
}

func (a *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, detail := problem(err)
	if status == http.StatusInternalServerError {
		a.log.ErrorContext(r.Context(), "page failed", "path", r.URL.Path, "err", err)
	}
	a.refuse(w, r, status, detail)
}

func (a *Server) refuse(w http.ResponseWriter, r *http.Request, status int, message string) {
	a.show(w, r, status, "error", "layout", struct {
		page
		Status, Message string
	}{a.page(r, "", false), cmp.Or(http.StatusText(status), "Given up"), message})
}

func (a *Server) registerPages() {
	view := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		a.mux.HandleFunc("GET "+pattern, a.forRole(scheduler.RoleViewer, h))
	}
	form := func(pattern, role string, h func(http.ResponseWriter, *http.Request) error) {
		a.mux.HandleFunc("POST "+pattern, a.forRole(role, func(w http.ResponseWriter, r *http.Request) error {
			r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
			if err := r.ParseForm(); err != nil {
				if big, ok := errors.AsType[*http.MaxBytesError](err); ok {
					return big
				}
				return invalid("form", "cannot be read: %v", err)
			}
			return h(w, r)
		}))
	}
	view("/{$}", a.galleryPage)
	view("/tiles", a.tilesPart)
	view("/cameras/{id}", a.cameraPage)
	view("/schedules", a.schedulesPage)
	view("/agents", a.agentsPage)
	view("/conflicts", a.conflictsPage)
	form("/enrol", scheduler.RoleOperator, a.enrolForm)
	form("/cameras/{id}", scheduler.RoleOperator, a.cameraForm)
	form("/cameras/{id}/resolve", scheduler.RoleOperator, a.resolveForm)
	form("/cameras/{id}/capture", scheduler.RoleOperator, a.captureForm)
	form("/cameras/{id}/accept", scheduler.RoleOperator, a.acceptForm)
	form("/cameras/{id}/why", scheduler.RoleOperator, a.whyPage)
	form("/pauses", scheduler.RoleOperator, a.pauseForm)
	form("/pauses/{id}/resume", scheduler.RoleOperator, a.resumeForm)
	form("/cameras/{id}/credentials", scheduler.RoleOperator, a.credentialsForm)
	if a.o.Faults != nil {
		form("/faults", scheduler.RoleOperator, a.faultsForm)
	}
	a.mux.HandleFunc("GET /login", a.loginPage)
	a.mux.HandleFunc("POST /login", a.loginForm)
	a.mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		a.doors.end(w, r)
		http.Redirect(w, r, "/login", http.StatusSeeOther)
	})
	a.mux.HandleFunc("GET /assets/{name}", a.assetFile)
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.refuse(w, r, http.StatusNotFound, "There is no page at this address.")
	})
}

// forRole runs a page for who may see it; others are sent to the login, or told.
func (a *Server) forRole(role string, h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch status, detail, ok := visitorOf(r.Context()).may(role); {
		case ok:
			if err := h(w, r); err != nil {
				a.fail(w, r, err)
			}
		case status == http.StatusUnauthorized && r.Method == http.MethodGet:
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			a.refuse(w, r, status, detail)
		}
	}
}

func (a *Server) assetFile(w http.ResponseWriter, r *http.Request) {
	f, ok := a.pages.assets[r.PathValue("name")]
	if !ok {
		a.refuse(w, r, http.StatusNotFound, "There is no file at this address.")
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == f.digest {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Header().Set("ETag", `"`+f.digest+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}

// --- login ---------------------------------------------------------------------

type loginData struct {
	page
	Message, Next string
}

func (a *Server) loginPage(w http.ResponseWriter, r *http.Request) {
	d := loginData{page: a.page(r, "login", false), Next: localPath(r.URL.Query().Get("next"))}
	code := r.URL.Query().Get("code")
	switch {
	case d.Who != "":
		http.Redirect(w, r, d.Next, http.StatusSeeOther) //nolint:gosec // a localPath
	case code == "":
		a.show(w, r, http.StatusOK, "login", "layout", d)
	case strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch") || r.Method == http.MethodHead:
		// A browser that looks ahead must not use the link up.
		w.WriteHeader(http.StatusServiceUnavailable)
	case !a.doors.redeem(code):
		d.Message = "This link was used before, or it is older than ten minutes. Paste a token, or ask for a new link."
		a.show(w, r, http.StatusUnauthorized, "login", "layout", d)
	default:
		if err := a.doors.begin(w, r, scheduler.Principal{Name: "one-time login", Role: scheduler.RoleAdmin}, ""); err != nil {
			a.fail(w, r, err)
			return
		}
		a.log.InfoContext(r.Context(), "signed in", "name", "one-time login", "role", scheduler.RoleAdmin)
		// A page that goes on by itself, not a redirect: a link that is clicked
		// in another site's page would carry no SameSite=Strict cookie along one.
		d.Refresh = d.Next
		a.show(w, r, http.StatusOK, "login", "layout", d)
	}
}

func (a *Server) loginForm(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
	token := fleet.Secret(strings.TrimSpace(r.PostFormValue("token")))
	p, err := a.s.Authenticate(r.Context(), token)
	if token == "" || err != nil {
		status, detail := http.StatusUnauthorized, "This token is not known here, or it was revoked."
		if err != nil && !errors.Is(err, scheduler.ErrUnauthorized) {
			status, detail = problem(err)
			a.log.ErrorContext(r.Context(), "sign in failed", "err", err)
		} else {
			a.log.WarnContext(r.Context(), "sign in refused", "from", r.RemoteAddr)
		}
		a.show(w, r, status, "login", "layout", loginData{page: a.page(r, "login", false), Message: detail, Next: localPath(r.PostFormValue("next"))})
		return
	}
	if err := a.doors.begin(w, r, p, token); err != nil {
		a.fail(w, r, err)
		return
	}
	a.log.InfoContext(r.Context(), "signed in", "name", p.Name, "role", p.Role)
	http.Redirect(w, r, localPath(r.PostFormValue("next")), http.StatusSeeOther) //nolint:gosec // a localPath
}

// localPath returns p when it is a path of this server, else "/": a login must
// not lead to somebody else's page.
func localPath(p string) string {
	u, err := url.Parse(p)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n") {
		return "/"
	}
	return p
}

// --- forms ---------------------------------------------------------------------

func (a *Server) enrolForm(w http.ResponseWriter, r *http.Request) error {
	site := r.PostForm.Get("site")
	to := fleet.Enrollment(cmp.Or(r.PostForm.Get("state"), string(fleet.Approved)))
	if to != fleet.Approved && to != fleet.Ignored {
		return invalid("state", "%q: want approved or ignored", to)
	}
	texts, all := r.PostForm["ids"], r.PostForm.Get("all") != ""
	if one := r.PostForm.Get("one"); one != "" {
		texts = []string{one}
	}
	if all {
		texts = nil
	}
	back := "/"
	if site != "" {
		back = "/?site=" + url.QueryEscape(site)
	}
	if p := r.PostForm.Get("back"); p != "" {
		back = localPath(p)
	}
	ids, err := a.toEnrol(r.Context(), texts, all, fleet.SiteID(site))
	if err != nil {
		return err
	}
	if len(ids) > 0 {
		if _, err := a.s.Enrol(r.Context(), ids, to); err != nil {
			return err
		}
	}
	http.Redirect(w, r, back, http.StatusSeeOther) //nolint:gosec // a localPath, or the gallery
	return nil
}

func (a *Server) cameraForm(w http.ResponseWriter, r *http.Request) error {
	id, err := cameraID("id", r.PathValue("id"))
	if err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostForm.Get("name"))
	change := scheduler.CameraChange{Name: &name}
	if change.IfVersion, err = strconv.ParseUint(cmp.Or(r.PostForm.Get("version"), "0"), 10, 64); err != nil {
		return invalid("version", "%v", err)
	}
	if text := strings.TrimSpace(r.PostForm.Get("label")); text != "" {
		k, v, ok := strings.Cut(text, "=")
		if !ok || strings.TrimSpace(k) == "" {
			return invalid("label", "%q: want key=value, or key= to remove it", text)
		}
		v = strings.TrimSpace(v)
		change.Labels = map[string]*string{strings.TrimSpace(k): &v}
		if v == "" {
			change.Labels[strings.TrimSpace(k)] = nil
		}
	}
	if _, err := a.s.SetCamera(r.Context(), id, change); err != nil {
		return err
	}
	http.Redirect(w, r, "/cameras/"+id.String(), http.StatusSeeOther) //nolint:gosec // an id has no slash
	return nil
}

func (a *Server) credentialsForm(w http.ResponseWriter, r *http.Request) error {
	id, err := cameraID("id", r.PathValue("id"))
	if err != nil {
		return err
	}
	v, err := a.camera(r.Context(), id)
	if err != nil {
		return err
	}
	c := scheduler.NewCredentials{Site: v.Site, Camera: id, User: strings.TrimSpace(r.PostForm.Get("user")), Password: fleet.Secret(r.PostForm.Get("password"))}
	if r.PostForm.Get("all") != "" {
		c.Camera = 0
	}
	if _, err := a.s.PutCredentials(r.Context(), c); err != nil {
		return err
	}
	http.Redirect(w, r, "/cameras/"+id.String(), http.StatusSeeOther) //nolint:gosec // an id has no slash
	return nil
}

func (a *Server) faultsForm(w http.ResponseWriter, r *http.Request) error {
	if err := a.o.Faults.Set(r.PostForm.Get("camera"), r.PostForm.Get("fault"), r.PostForm.Get("on") != ""); err != nil {
		return invalid("fault", "%v", err)
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// agentHost is the host that agents reach this scheduler at, as far as the
// browser's request tells.
func agentHost(r *http.Request) string {
	host := r.Host
	if h, _, err := net.SplitHostPort(r.Host); err == nil {
		host = h
	}
	if ip := net.ParseIP(strings.Trim(host, "[]")); host == "" || host == "localhost" || ip != nil && ip.IsLoopback() {
		return "HOST"
	}
	if strings.Contains(host, ":") {
		return "[" + strings.Trim(host, "[]") + "]"
	}
	return host
}

// --- texts ---------------------------------------------------------------------

func ago(at, now fleet.Instant) string {
	switch s := max(0, now.Sub(at)).Round(time.Second); {
	case s < time.Minute:
		return fmt.Sprintf("%d s ago", s/time.Second)
	case s < time.Hour:
		return fmt.Sprintf("%d min ago", s/time.Minute)
	case s < 24*time.Hour:
		return fmt.Sprintf("%d h ago", s/time.Hour)
	default:
		return fmt.Sprintf("%d d ago", s/(24*time.Hour))
	}
}

func clock(at fleet.Instant) string { return at.Time().Format("2006-01-02 15:04:05") }

func milliseconds(ms int64) string { return strconv.FormatInt(ms, 10) + " ms" }

// num writes a count with thin spaces between thousands.
func num(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func contextSites(ctx context.Context, s SiteKeeper) ([]string, error) {
	v, err := s.Sites(ctx)
	return each(v, func(s scheduler.SiteView) string { return string(s.ID) }), err
}
