package main

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// Limits of a table: it is read whole, and sent camera by camera.
const (
	maxSheetBytes  = 16 << 20
	maxSheetLines  = 20000
	maxSheetErrors = 20 // shown at a time
)

const csvHelp = `Takes one camera by --site and --url, or many by --file.

The file is CSV with a header. Columns, in any order:

  url            needed: an ONVIF device service, a stream or a snapshot, without a login
  site           needed, unless --site says it for all
  name           what to call it
  label:KEY      one label; an empty cell gives none
  user           to log in as
  password-file  file with that user's password

All lines are checked before the first camera is taken. A camera that is there already only changes, so the same file may be given again.`

// sheet is what flags say for all lines of a table.
type sheet struct {
	site, user, passwordFile string
	label                    []string
}

// row is one camera of a table.
type row struct {
	line         int
	camera       scheduler.NewCamera
	passwordFile string
}

// addFile takes the cameras of a table: none if a line is wrong.
func addFile(d *door, cmd *cobra.Command, file string, all sheet, dryRun bool) error {
	if (all.user == "") != (all.passwordFile == "") {
		return usage("cameras add: --user and --password-file go together")
	}
	if file == "-" && all.passwordFile == "-" {
		return usage("cameras add: --file and --password-file cannot both be stdin")
	}
	set, err := labels(all.label, false)
	if err != nil {
		return err
	}
	text, err := readFile(cmd, file, maxSheetBytes)
	if err != nil {
		return err
	}
	rows, err := readSheet(text, all, set)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := readPasswords(cmd, rows); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if dryRun {
		sayDryRun(d, cmd, dryRun)
		return d.checked(cmd, rows)
	}
	api, err := d.client()
	if err != nil {
		return err
	}
	added := []admin.Camera{}
	for _, r := range rows {
		c := r.camera
		body := map[string]any{"site": c.Site, "url": c.URL}
		if c.Name != "" {
			body["name"] = c.Name
		}
		if len(c.Labels) > 0 {
			body["labels"] = c.Labels
		}
		if c.User != "" {
			body["user"], body["password"] = c.User, c.Password.Reveal()
		}
		var cam admin.Camera
		if err := api.Send(cmd.Context(), http.MethodPost, "cameras", body, &cam); err != nil {
			return errors.Join(printCameras(d, cmd, added), fmt.Errorf("%s:%d: %w (%d of %d cameras were taken; give the file again to go on, those only change)", file, r.line, err, len(added), len(rows)))
		}
		added = append(added, cam)
	}
	return printCameras(d, cmd, added)
}

// checked prints what a table would add.
func (d *door) checked(cmd *cobra.Command, found []row) error {
	if err := d.checkOutput(); err != nil {
		return err
	}
	type camera struct {
		Line   int               `json:"line"`
		Site   fleet.SiteID      `json:"site"`
		Name   string            `json:"name"`
		URL    string            `json:"url"`
		User   string            `json:"user"`
		Labels map[string]string `json:"labels"`
	}
	out := make([]camera, 0, len(found))
	for _, r := range found {
		out = append(out, camera{r.line, r.camera.Site, r.camera.Name, r.camera.URL, r.camera.User, r.camera.Labels})
	}
	return d.print(cmd, out, rows(cmd, out, "", "LINE SITE NAME URL USER", func(c camera) []any {
		return []any{c.Line, c.Site, c.Name, c.URL, c.User}
	}))
}

// readSheet reads a table and checks every line. It is pure; its error names
// each wrong line, up to a number that still helps.
func readSheet(text []byte, all sheet, set map[string]*string) ([]row, error) {
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))) // as spreadsheets begin a file
	in.TrimLeadingSpace = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("it is empty: the first line names the columns, for example name,site,url,label:floor")
	}
	if err != nil {
		return nil, err
	}
	if err := checkHeader(header, all.site != ""); err != nil {
		return nil, err
	}
	var rows []row
	var wrong []error
	first := map[string]int{} // line of a camera
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, csv.ErrFieldCount) {
			line, _ := in.FieldPos(0)
			wrong = append(wrong, fmt.Errorf("line %d: %d cells under %d columns: a cell that holds a comma needs quotes", line, len(cells), len(header)))
			continue
		}
		if err != nil { // csv names the line; what follows cannot be told apart
			wrong = append(wrong, err)
			break
		}
		line, _ := in.FieldPos(0)
		if len(rows) == maxSheetLines {
			wrong = append(wrong, fmt.Errorf("line %d: more than %d cameras: split the file", line, maxSheetLines))
			break
		}
		r := readRow(header, cells, all, set)
		r.line = line
		key := string(r.camera.Site) + "\x00" + r.camera.URL
		bad := r.check()
		if other, twice := first[key]; bad == nil && twice {
			bad = fmt.Errorf("url: the same camera as in line %d", other)
		}
		first[key] = line
		if bad != nil {
			wrong = append(wrong, fmt.Errorf("line %d: %w", line, bad))
		}
		rows = append(rows, r)
	}
	switch n := len(wrong); {
	case n > maxSheetErrors:
		return nil, errors.Join(append(wrong[:maxSheetErrors], fmt.Errorf("and %d lines more; nothing was taken", n-maxSheetErrors))...)
	case n > 0:
		return nil, errors.Join(append(wrong, errors.New("nothing was taken"))...)
	case len(rows) == 0:
		return nil, errors.New("it names no camera below its header")
	}
	return rows, nil
}

// checkHeader refuses columns that it does not know: a typing error must not
// become a label, nor a column nothing.
func checkHeader(header []string, haveSite bool) error {
	seen := map[string]bool{}
	for i, h := range header {
		h = strings.TrimSpace(h)
		if !strings.HasPrefix(strings.ToLower(h), "label:") {
			h = strings.ToLower(h)
		}
		header[i] = h
		key, isLabel := strings.CutPrefix(h, "label:")
		switch {
		case seen[h]:
			return fmt.Errorf("line 1: column %s stands there twice", h)
		case isLabel && key == "":
			return errors.New("line 1: a column label: without a key: write label:floor")
		case h == "password":
			return errors.New("line 1: passwords do not belong in a table: write the name of a file into a column password-file")
		case !isLabel && !slices.Contains([]string{"name", "site", "url", "user", "password-file"}, h):
			return fmt.Errorf("line 1: column %q is not known: there are url, site, name, user, password-file, and label:%s for a label", h, cmp.Or(h, "floor"))
		}
		seen[h] = true
	}
	switch {
	case !seen["url"]:
		return errors.New("line 1: no column url: the first line names the columns, for example name,site,url,label:floor")
	case !seen["site"] && !haveSite:
		return errors.New("line 1: no column site: add one, or give --site for all")
	}
	return nil
}

func readRow(header, cells []string, all sheet, set map[string]*string) row {
	r := row{camera: scheduler.NewCamera{Labels: map[string]string{}}}
	for k, v := range set {
		if v != nil {
			r.camera.Labels[k] = *v
		}
	}
	for i, cell := range cells {
		cell = strings.TrimSpace(cell)
		if cell == "" {
			continue
		}
		switch h := header[i]; h {
		case "name":
			r.camera.Name = cell
		case "site":
			r.camera.Site = fleet.SiteID(cell)
		case "url":
			r.camera.URL = cell
		case "user":
			r.camera.User = cell
		case "password-file":
			if r.passwordFile = cell; cell == "-" {
				r.passwordFile = "./-" // stdin is not one line's
			}
		default:
			r.camera.Labels[strings.TrimPrefix(h, "label:")] = cell
		}
	}
	r.camera.Site = cmp.Or(r.camera.Site, fleet.SiteID(all.site))
	if r.camera.User == "" && r.passwordFile == "" {
		r.camera.User, r.passwordFile = all.user, all.passwordFile
	}
	return r
}

func (r row) check() error {
	switch {
	case len(r.camera.Name) > 200: // as the API takes it
		return errors.New("name: longer than 200 bytes")
	case r.camera.User == "" && r.passwordFile != "":
		return errors.New("user: there is a password-file and nobody to log in as")
	case r.camera.User != "" && r.passwordFile == "":
		return errors.New("password-file: there is a user without a password")
	}
	return r.camera.Check()
}

// readPasswords reads each password file once.
func readPasswords(cmd *cobra.Command, rows []row) error {
	known := map[string]fleet.Secret{}
	for i, r := range rows {
		if r.passwordFile == "" {
			continue
		}
		if _, ok := known[r.passwordFile]; !ok {
			p, err := readSecret(cmd, r.passwordFile)
			if err != nil {
				return fmt.Errorf("line %d: %w; nothing was taken", r.line, err)
			}
			known[r.passwordFile] = p
		}
		rows[i].camera.Password = known[r.passwordFile]
	}
	return nil
}
