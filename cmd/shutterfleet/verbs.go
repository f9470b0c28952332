package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
)

// verbs share where to ask and how to print.
type verbs struct{ server, tokenFile, format string }

func addVerbs(root *cobra.Command) {
	v := &verbs{}
	for _, noun := range []*cobra.Command{v.cameras(), v.sites(), v.schedules(), v.captures(), v.agents(), v.keys(), v.creds(), v.rules(), v.match(), v.books()} {
		f := noun.PersistentFlags()
		f.StringVar(&v.server, "server", os.Getenv("SHUTTERFLEET_SERVER"), "address of the scheduler's API (SHUTTERFLEET_SERVER)")
		f.StringVar(&v.tokenFile, "token-file", os.Getenv("SHUTTERFLEET_TOKEN_FILE"), "file with a token (SHUTTERFLEET_TOKEN_FILE)")
		f.StringVarP(&v.format, "output", "o", "table", "table, json or yaml")
		if noun.RunE == nil {
			noun.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usageError{fmt.Errorf("unknown verb %q: see `%s --help`", args[0], cmd.CommandPath())}
				}
				return cmd.Help()
			}
		}
		root.AddCommand(noun)
	}
}

func (v *verbs) client() (*client.Client, error) { return client.New(v.server, v.tokenFile) }

func outputFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "output", "o", "table", "table, json or yaml")
}

// table prints columns.
type table struct{ w *tabwriter.Writer }

func (t *table) row(cells ...string) { fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

// show prints data as asked for.
func show(cmd *cobra.Command, format string, data any, rows func(*table)) error {
	out := cmd.OutOrStdout()
	switch format {
	case "json":
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(data)
	case "yaml":
		b, err := json.Marshal(data)
		if err == nil {
			b, err = yaml.JSONToYAML(b)
		}
		if err != nil {
			return err
		}
		_, err = out.Write(b)
		return err
	case "table":
		t := &table{tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)}
		rows(t)
		return t.w.Flush()
	}
	return usageError{fmt.Errorf("output %q: want table, json or yaml", format)}
}

type object = map[string]any

// text reads a field of an answer for a table.
func text(o object, path ...string) string {
	var v any = o
	for _, k := range path {
		m, ok := v.(object)
		if !ok {
			return ""
		}
		v = m[k]
	}
	switch x := v.(type) {
	case nil:
		return ""
	case []any:
		var parts []string
		for _, p := range x {
			parts = append(parts, fmt.Sprint(p))
		}
		return strings.Join(parts, ",")
	case float64:
		return fmt.Sprintf("%.10g", x)
	}
	return fmt.Sprint(v)
}

// list reads all pages and prints them.
func (v *verbs) list(cmd *cobra.Command, path string, q url.Values, most int, head []string, row func(object) []string) error {
	c, err := v.client()
	if err != nil {
		return err
	}
	items, err := client.All[object](cmd.Context(), c, path, q, most)
	if err != nil {
		return err
	}
	return v.print(cmd, items, head, row)
}

func (v *verbs) print(cmd *cobra.Command, items []object, head []string, row func(object) []string) error {
	return show(cmd, v.format, items, func(t *table) {
		t.row(head...)
		for _, o := range items {
			t.row(row(o)...)
		}
	})
}

// call sends one request and prints the object that comes back.
func (v *verbs) call(cmd *cobra.Command, method, path string, in any, head []string, row func(object) []string) error {
	c, err := v.client()
	if err != nil {
		return err
	}
	var o object
	if err := c.Do(cmd.Context(), method, path, in, &o); err != nil {
		return err
	}
	if head == nil {
		return nil
	}
	return show(cmd, v.format, o, func(t *table) {
		t.row(head...)
		t.row(row(o)...)
	})
}

func password(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("password file: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

var cameraHead = []string{"ID", "SITE", "NAME", "STATUS", "ADDRESSES", "PROTOCOLS", "MODEL", "LAST"}

func cameraRow(o object) []string {
	last := text(o, "last_capture", "outcome")
	if c := text(o, "last_capture", "cause"); c != "" {
		last += ": " + c
	}
	return []string{text(o, "id"), text(o, "site"), text(o, "name"), text(o, "status"), text(o, "addresses"), text(o, "protocols"), strings.TrimSpace(text(o, "vendor") + " " + text(o, "model")), last}
}

func (v *verbs) cameras() *cobra.Command {
	cmd := &cobra.Command{Use: "cameras", Short: "List, take, approve and change cameras"}
	var site, state, sel string
	ls := &cobra.Command{Use: "ls", Short: "List cameras", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return v.list(cmd, "/cameras", url.Values{"site": {site}, "state": {state}, "select": {sel}}, 0, cameraHead, cameraRow)
	}}
	ls.Flags().StringVar(&site, "site", "", "only this site's")
	ls.Flags().StringVar(&state, "state", "", "only pending, approved, ignored or retired ones")
	ls.Flags().StringVar(&sel, "select", "", "only those that a label selector matches")

	one := &cobra.Command{Use: "show ID", Short: "Show a camera", Args: exactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return v.call(cmd, http.MethodGet, "/cameras/"+url.PathEscape(args[0]), nil, cameraHead, cameraRow)
	}}

	var add struct{ site, url, name, user, passwordFile string }
	var addLabels []string
	take := &cobra.Command{Use: "add --site S --url URL", Short: "Take a camera by hand; it is approved at once", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		p, err := password(add.passwordFile)
		if err != nil {
			return err
		}
		labels, err := parseLabels(addLabels)
		if err != nil {
			return err
		}
		return v.call(cmd, http.MethodPost, "/cameras", object{"site": add.site, "url": add.url, "name": add.name, "user": add.user, "password": p, "labels": labels}, cameraHead, cameraRow)
	}}
	f := take.Flags()
	f.StringVar(&add.site, "site", "", "the site whose agents reach it")
	f.StringVar(&add.url, "url", "", "its address: rtsp://…, http://…/snapshot.jpg, or http://HOST for ONVIF; without a login")
	f.StringVar(&add.name, "name", "", "what people call it")
	f.StringVar(&add.user, "user", "", "user to log in with")
	f.StringVar(&add.passwordFile, "password-file", "", "file that holds the password")
	f.StringArrayVar(&addLabels, "label", nil, "key=value; may be repeated")
	required(take, "site", "url")

	enrol := func(use, short, to string) *cobra.Command {
		all := false
		c := &cobra.Command{Use: use + " ID...", Short: short, RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usageError{fmt.Errorf("name cameras, or say --all: %s", cmd.UseLine())}
			}
			c, err := v.client()
			if err != nil {
				return err
			}
			var page struct{ Items []object }
			if err := c.Do(cmd.Context(), http.MethodPost, "/cameras/enrol", object{"ids": args, "all": all, "state": to}, &page); err != nil {
				return err
			}
			if page.Items == nil {
				page.Items = []object{}
			}
			return v.print(cmd, page.Items, cameraHead, cameraRow)
		}}
		if use == "approve" || use == "ignore" {
			c.Flags().BoolVar(&all, "all", false, "every pending camera")
		}
		return c
	}

	var name string
	var labels []string
	set := &cobra.Command{Use: "set ID [--name N] [--label k=v]", Short: "Change a camera's name and labels; --label k- removes one", Args: exactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		change := object{}
		if cmd.Flags().Changed("name") {
			change["name"] = name
		}
		if len(labels) > 0 {
			m := object{}
			for _, l := range labels {
				if k, ok := strings.CutSuffix(l, "-"); ok && !strings.Contains(l, "=") {
					m[k] = nil
					continue
				}
				one, err := parseLabels([]string{l})
				if err != nil {
					return err
				}
				for k, val := range one {
					m[k] = val
				}
			}
			change["labels"] = m
		}
		if len(change) == 0 {
			return usageError{errors.New("nothing to change: give --name or --label")}
		}
		return v.call(cmd, http.MethodPatch, "/cameras/"+url.PathEscape(args[0]), change, cameraHead, cameraRow)
	}}
	set.Flags().StringVar(&name, "name", "", "what people call it")
	set.Flags().StringArrayVar(&labels, "label", nil, "key=value, or key- to remove; may be repeated")
	cmd.AddCommand(ls, one, take, set,
		enrol("approve", "Approve found cameras: pictures are taken from then on", "approved"),
		enrol("ignore", "Ignore found cameras", "ignored"),
		enrol("retire", "Retire cameras: no more pictures are taken", "retired"))
	return cmd
}

func parseLabels(in []string) (map[string]string, error) {
	m := map[string]string{}
	for _, l := range in {
		k, val, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, usageError{fmt.Errorf("label %q: want key=value", l)}
		}
		m[k] = val
	}
	return m, nil
}

func (v *verbs) sites() *cobra.Command {
	cmd := &cobra.Command{Use: "sites", Short: "List and change sites"}
	head := []string{"SITE", "ZONE", "LAT", "LON", "CAMERAS", "PENDING", "AGENTS"}
	row := func(o object) []string {
		return []string{text(o, "id"), cmp.Or(text(o, "tz"), "UTC"), text(o, "lat"), text(o, "lon"), text(o, "cameras"), text(o, "pending"), text(o, "agents")}
	}
	var tz string
	var lat, lon float64
	set := &cobra.Command{Use: "set SITE", Short: "Set a site's zone and coordinates", Args: exactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		change := object{}
		for name, val := range map[string]any{"tz": tz, "lat": lat, "lon": lon} {
			if cmd.Flags().Changed(name) {
				change[name] = val
			}
		}
		return v.call(cmd, http.MethodPatch, "/sites/"+url.PathEscape(args[0]), change, head, row)
	}}
	set.Flags().StringVar(&tz, "tz", "", "IANA zone, for example Europe/Paris")
	set.Flags().Float64Var(&lat, "lat", 0, "degrees north")
	set.Flags().Float64Var(&lon, "lon", 0, "degrees east")
	cmd.AddCommand(&cobra.Command{Use: "ls", Short: "List sites", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return v.list(cmd, "/sites", url.Values{}, 0, head, row)
	}}, set)
	return cmd
}

func (v *verbs) schedules() *cobra.Command {
	cmd := &cobra.Command{Use: "schedules", Short: "List and apply schedules"}
	ls := &cobra.Command{Use: "ls", Short: "List schedules", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return v.list(cmd, "/schedules", url.Values{}, 0, []string{"NAME", "SELECT", "WHEN", "ZONE", "CAMERAS", "NEXT"}, func(o object) []string {
			when := text(o, "cron")
			if e := text(o, "every"); e != "" {
				when = "every " + e
			}
			if e := text(o, "once"); e != "" {
				when = "once " + e
			}
			return []string{text(o, "name"), text(o, "select"), when, text(o, "tz"), text(o, "cameras"), text(o, "next")}
		})
	}}
	var file string
	var prune, dry bool
	apply := &cobra.Command{Use: "apply -f FILE", Short: "Make the schedules be as a YAML file says", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		data, err := readFile(cmd, file)
		if err != nil {
			return err
		}
		c, err := v.client()
		if err != nil {
			return err
		}
		var plan struct{ Items []object }
		if err := c.Do(cmd.Context(), http.MethodPost, "/schedules/apply", object{"yaml": string(data), "prune": prune, "dry_run": dry}, &plan); err != nil {
			return err
		}
		return v.print(cmd, plan.Items, []string{"SCHEDULE", "ACTION", "CAMERAS", "CHANGES"}, func(o object) []string {
			return []string{text(o, "name"), text(o, "action"), text(o, "cameras"), strings.ReplaceAll(text(o, "diff"), "\n", "; ")}
		})
	}}
	apply.Flags().StringVarP(&file, "file", "f", "", "YAML file; - for standard input")
	apply.Flags().BoolVar(&prune, "prune", false, "remove schedules that the file does not list")
	apply.Flags().BoolVar(&dry, "dry-run", false, "only say what would change")
	required(apply, "file")
	cmd.AddCommand(ls, apply)
	return cmd
}

func readFile(cmd *cobra.Command, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(cmd.InOrStdin())
	}
	return os.ReadFile(name)
}

func (v *verbs) captures() *cobra.Command {
	cmd := &cobra.Command{Use: "captures", Short: "List outcomes"}
	var q struct{ camera, site, schedule, outcome, from, until string }
	limit := 0
	ls := &cobra.Command{Use: "ls", Short: "List outcomes, newest first", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return v.list(cmd, "/captures", url.Values{"camera": {q.camera}, "site": {q.site}, "schedule": {q.schedule}, "outcome": {q.outcome}, "from": {q.from}, "until": {q.until}, "limit": {fmt.Sprint(min(limit, 1000))}}, limit,
			[]string{"NOMINAL", "CAMERA", "SCHEDULE", "OUTCOME", "DELAY MS", "SIZE", "PDQ"}, func(o object) []string {
				outcome := text(o, "outcome")
				if c := text(o, "cause"); c != "" {
					outcome += ": " + c + " (" + text(o, "detail") + ")"
				}
				size := ""
				if text(o, "width") != "" {
					size = text(o, "width") + "x" + text(o, "height")
				}
				pdq := text(o, "fingerprint", "pdq")
				return []string{text(o, "nominal"), text(o, "camera"), text(o, "schedule"), outcome, text(o, "delay_ms"), size, pdq[:min(16, len(pdq))]}
			})
	}}
	f := ls.Flags()
	f.StringVar(&q.camera, "camera", "", "only this camera's")
	f.StringVar(&q.site, "site", "", "only this site's")
	f.StringVar(&q.schedule, "schedule", "", "only of this schedule")
	f.StringVar(&q.outcome, "outcome", "", "captured, failed, missed or skipped")
	f.StringVar(&q.from, "from", "", "nominal time, RFC 3339")
	f.StringVar(&q.until, "until", "", "nominal time, RFC 3339, exclusive")
	f.IntVar(&limit, "limit", 100, "at most so many")
	cmd.AddCommand(ls)
	return cmd
}

func (v *verbs) agents() *cobra.Command {
	cmd := &cobra.Command{Use: "agents", Short: "List, approve and revoke agents"}
	act := func(use, short, method, suffix string) *cobra.Command {
		return &cobra.Command{Use: use + " ID", Short: short, Args: exactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
			return v.call(cmd, method, "/agents/"+url.PathEscape(args[0])+suffix, nil, nil, nil)
		}}
	}
	cmd.AddCommand(&cobra.Command{Use: "ls", Short: "List agents", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return v.list(cmd, "/agents", url.Values{}, 0, []string{"ID", "SITE", "HOST", "STATE", "CONNECTED", "SEEN", "HELD", "PENDING", "VERSION"}, func(o object) []string {
			return []string{text(o, "id"), text(o, "site"), text(o, "hostname"), text(o, "state"), text(o, "connected"), text(o, "seen"), text(o, "orders_held"), text(o, "outcomes_pending"), text(o, "version")}
		})
	}}, act("approve", "Let in an agent that is pending", http.MethodPost, "/approve"), act("revoke", "Shut an agent out for good", http.MethodDelete, ""))
	return cmd
}

func (v *verbs) keys() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "Make, list and revoke site keys"}
	head := []string{"ID", "SITE", "USED", "COUNT", "APPROVE", "EXPIRES", "REVOKED"}
	row := func(o object) []string {
		return []string{text(o, "id"), text(o, "site"), text(o, "used"), text(o, "count"), text(o, "approve"), text(o, "expires"), text(o, "revoked")}
	}
	var site string
	count, hours := 1, 0
	approve := true
	create := &cobra.Command{Use: "create --site S", Short: "Make a key that agents enrol with; it is shown once", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		c, err := v.client()
		if err != nil {
			return err
		}
		var o object
		if err := c.Do(cmd.Context(), http.MethodPost, "/keys", object{"site": site, "count": count, "approve": approve, "expires_hours": hours}, &o); err != nil {
			return err
		}
		// The table form is the key alone, so that it can go into a file.
		return show(cmd, v.format, o, func(t *table) { t.row(text(o, "key")) })
	}}
	create.Flags().StringVar(&site, "site", "", "the site that agents enrol at")
	create.Flags().IntVar(&count, "count", 1, "agents that may enrol with it")
	create.Flags().IntVar(&hours, "expires-hours", 0, "it ends after so many hours (default 720)")
	create.Flags().BoolVar(&approve, "approve", true, "agents that hold it are approved")
	required(create, "site")
	cmd.AddCommand(create, &cobra.Command{Use: "ls", Short: "List site keys", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return v.list(cmd, "/keys", url.Values{}, 0, head, row)
	}}, &cobra.Command{Use: "revoke ID", Short: "Stop a key from enrolling further agents", Args: exactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		return v.call(cmd, http.MethodDelete, "/keys/"+url.PathEscape(args[0]), nil, nil, nil)
	}})
	return cmd
}

func (v *verbs) creds() *cobra.Command {
	cmd := &cobra.Command{Use: "creds", Short: "Set and list camera logins"}
	head := []string{"FOR", "SITE", "USER", "VERSION", "CREATED"}
	row := func(o object) []string {
		return []string{text(o, "id"), text(o, "site"), text(o, "user"), text(o, "version"), text(o, "created")}
	}
	var site, camera, user, file string
	put := &cobra.Command{Use: "put --site S --user U --password-file F", Short: "Set the login of a site's cameras, or of one", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		p, err := password(file)
		if err != nil {
			return err
		}
		return v.call(cmd, http.MethodPost, "/credentials", object{"site": site, "camera": camera, "user": user, "password": p}, head, row)
	}}
	put.Flags().StringVar(&site, "site", "", "all cameras of this site")
	put.Flags().StringVar(&camera, "camera", "", "one camera, by id")
	put.Flags().StringVar(&user, "user", "", "user")
	put.Flags().StringVar(&file, "password-file", "", "file that holds the password")
	required(put, "user", "password-file")
	cmd.AddCommand(put, &cobra.Command{Use: "ls", Short: "List logins, without passwords", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return v.list(cmd, "/credentials", url.Values{}, 0, head, row)
	}})
	return cmd
}

func (v *verbs) rules() *cobra.Command {
	cmd := &cobra.Command{Use: "rules", Short: "Rules that approve found cameras"}
	run := func(cmd *cobra.Command, method string, in any) error {
		c, err := v.client()
		if err != nil {
			return err
		}
		rules := map[string]string{}
		if err := c.Do(cmd.Context(), method, "/rules", in, &rules); err != nil {
			return err
		}
		return show(cmd, v.format, rules, func(t *table) {
			t.row("RULE", "APPROVES")
			for k, s := range rules {
				t.row(k, s)
			}
		})
	}
	cmd.AddCommand(&cobra.Command{Use: "ls", Short: "List rules", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return run(cmd, http.MethodGet, nil)
	}}, &cobra.Command{Use: "set NAME=SELECTOR...", Short: "Replace all rules, for example lab='site=lab'; none approves nothing", RunE: func(cmd *cobra.Command, args []string) error {
		m := map[string]string{}
		for _, a := range args {
			k, s, ok := strings.Cut(a, "=")
			if !ok {
				return usageError{fmt.Errorf("rule %q: want NAME=SELECTOR", a)}
			}
			m[k] = s
		}
		return run(cmd, http.MethodPut, m)
	}})
	return cmd
}

func (v *verbs) match() *cobra.Command {
	radius, limit := 31, 100
	cmd := &cobra.Command{Use: "match IMAGE", Short: "Search stored frames by a picture (JPEG or PNG)", Args: exactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		data, err := readFile(cmd, args[0])
		if err != nil {
			return err
		}
		c, err := v.client()
		if err != nil {
			return err
		}
		var page struct{ Items []object }
		if err := c.Do(cmd.Context(), http.MethodPost, fmt.Sprintf("/match?radius=%d&limit=%d", radius, limit), data, &page); err != nil {
			return err
		}
		return v.print(cmd, page.Items, []string{"DISTANCE", "AT", "CAMERA", "OCCURRENCE"}, func(o object) []string {
			return []string{text(o, "distance"), text(o, "at"), text(o, "camera"), text(o, "occurrence")}
		})
	}}
	cmd.Flags().IntVar(&radius, "radius", 31, "PDQ bits that may differ")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many")
	return cmd
}

func (v *verbs) books() *cobra.Command {
	return &cobra.Command{Use: "books", Short: "Show the books: what was asked for, and what came of it", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		head := []string{"ISSUED", "CAPTURED", "FAILED", "MISSED", "SKIPPED", "IN FLIGHT", "DUPLICATES", "BALANCED"}
		return v.call(cmd, http.MethodGet, "/books", nil, head, func(o object) []string {
			return []string{text(o, "issued"), text(o, "captured"), text(o, "failed"), text(o, "missed"), text(o, "skipped"), text(o, "in_flight"), text(o, "duplicates"), text(o, "balanced")}
		})
	}}
}
