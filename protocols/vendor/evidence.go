package vendor

import (
	"bytes"
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// Evidence is what is known of a device before it is asked. Every field may be
// empty, and all of it is as true as whoever said it: it decides which documented
// calls are worth a try, nothing else.
type Evidence struct {
	Vendor string // as discovery heard it
	Model  string
	MAC    string // lower case, colons
	Server string // of an HTTP answer
	Realm  string // of its login
	Title  string // of its start page
	Path   string // of an address that is known
}

// suspect is a row that evidence points to.
type suspect struct {
	row
	score int
	sure  bool // by more than a path, which others use too
}

// match returns the rows that the evidence points to, strongest first: what the
// device says of itself before who sold its network chip. A path points only to
// makers whose calls can confirm it.
func match(rows []row, e Evidence) []suspect {
	said := strings.ToLower(strings.Join([]string{e.Vendor, e.Model, e.Server, e.Realm, e.Title}, "\n"))
	path := strings.ToLower(e.Path)
	oui := ""
	if len(e.MAC) >= 8 {
		oui = strings.ToLower(e.MAC[:8])
	}
	var found []suspect
	for _, r := range rows {
		f := suspect{row: r}
		if slices.ContainsFunc(r.words, func(w string) bool { return strings.Contains(said, w) }) {
			f.score, f.sure = f.score+4, true
		}
		if path != "" && len(r.calls) > 0 && slices.ContainsFunc(r.paths, func(p string) bool { return strings.HasPrefix(path, p) }) {
			f.score += 2
		}
		if slices.Contains(r.ouis, oui) {
			f.score, f.sure = f.score+1, true
		}
		if f.score > 0 {
			found = append(found, f)
		}
	}
	slices.SortStableFunc(found, func(a, b suspect) int { return cmp.Compare(b.score, a.score) })
	return found
}

// readPage reads what an answer tells of who made the device.
func readPage(res *guard.Response) Evidence {
	e := Evidence{Server: guard.CleanText(res.Header.Get("Server")), Title: guard.CleanText(title(res.Body))}
	for _, c := range guard.ParseChallenges(res.Header.Values("WWW-Authenticate")) {
		e.Realm = cmp.Or(e.Realm, guard.CleanText(c.Params["realm"]))
	}
	return e
}

// title returns the text of the first title element, or nothing.
func title(page []byte) string {
	low := bytes.ToLower(page)
	i := bytes.Index(low, []byte("<title"))
	if i < 0 || len(low) != len(page) {
		return ""
	}
	j := bytes.IndexByte(page[i:], '>')
	if j < 0 {
		return ""
	}
	rest := page[i+j+1:]
	if k := bytes.IndexByte(rest, '<'); k >= 0 {
		rest = rest[:k]
	}
	return string(rest[:min(len(rest), 512)])
}

// paths adds the path of the first address of a picture or a stream.
func (e Evidence) paths(t fleet.Target) Evidence {
	for _, x := range t.Endpoints {
		if u, err := url.Parse(x.URL); err == nil && x.Protocol != fleet.ONVIF && len(u.Path) > 1 {
			e.Path = u.Path
			break
		}
	}
	return e
}
