package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

const (
	// maxScheduleFile and maxImageFile are the API's limits: a file above them
	// is refused before it travels.
	maxScheduleFile = 8 << 20
	maxImageFile    = 16 << 20
)

// list returns a verb that prints a list of one page.
func list[T any](d *door, short, path, none, header string, row func(T) []any) *cobra.Command {
	return &cobra.Command{
		Use: "ls", Short: short, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := d.client()
			if err != nil {
				return err
			}
			all, err := client.All[T](cmd.Context(), api, path)
			if err != nil {
				return err
			}
			return d.print(cmd, all, rows(cmd, all, none, header, row))
		},
	}
}

// remove returns a verb that deletes what is named.
func remove(d *door, short, path, done string) *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: short, Args: wantArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := d.client()
			if err != nil {
				return err
			}
			if err := api.Send(cmd.Context(), http.MethodDelete, path+"/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			return d.print(cmd, map[string]string{"revoked": args[0]}, func(w *bytes.Buffer) { fmt.Fprintln(w, done, plain(args[0])) })
		},
	}
}

// --- sites and schedules ---------------------------------------------------------

func sitesCommand() *cobra.Command {
	var d door
	return d.join(noun("sites", "List sites, and say where they are",
		list(&d, "List sites", "sites", "no sites: one exists from its first mention, for example by `shutterfleet keys create --site home`",
			siteHeader, siteRow),
		sitesSet(&d)))
}

const siteHeader = "SITE TZ LAT LON BURST CAMERAS PENDING AGENTS"

func siteRow(s admin.Site) []any {
	burst := ""
	if s.Burst > 0 {
		burst = strconv.FormatFloat(s.Burst, 'f', -1, 64) + "/s"
	}
	degrees := func(f *float64) string {
		if f == nil {
			return ""
		}
		return strconv.FormatFloat(*f, 'f', -1, 64)
	}
	return []any{s.ID, s.TZ, degrees(s.Lat), degrees(s.Lon), burst, s.Cameras, s.Pending, s.Agents}
}

func sitesSet(d *door) *cobra.Command {
	var tz string
	var lat, lon, burst float64
	var dryRun bool
	c := &cobra.Command{
		Use: "set SITE", Short: "Set a site's time zone, place and burst; it exists from then on", Args: wantArgs("SITE"),
		Example: "  shutterfleet sites set store-12 --tz Europe/Lisbon --lat 38.72 --lon -9.14 --burst 20",
		RunE: func(cmd *cobra.Command, args []string) error {
			body := map[string]any{}
			for k, v := range map[string]any{"tz": tz, "lat": lat, "lon": lon, "burst": burst} {
				if cmd.Flags().Changed(k) {
					body[k] = v
				}
			}
			if len(body) == 0 {
				return usage("sites set: what? Give --tz, --lat and --lon, --burst, or one of them")
			}
			if !(burst >= 0) { // nor NaN
				return usage("--burst %v: want captures per second, 0 for no bound", burst)
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var s admin.Site
			if err := api.SendWith(cmd.Context(), http.MethodPatch, "sites/"+url.PathEscape(args[0]), planning(dryRun), body, &s); err != nil {
				return err
			}
			sayDryRun(d, cmd, dryRun)
			return d.print(cmd, s, rows(cmd, []admin.Site{s}, "", siteHeader, siteRow))
		},
	}
	c.Flags().StringVar(&tz, "tz", "", "IANA time zone, for example Europe/Lisbon")
	c.Flags().Float64Var(&lat, "lat", 0, "degrees north")
	c.Flags().Float64Var(&lon, "lon", 0, "degrees east")
	c.Flags().Float64Var(&burst, "burst", 0, "most captures per second for the whole site; 0 takes the bound away")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what the site would be")
	return c
}

func schedulesCommand() *cobra.Command {
	var d door
	return d.join(noun("schedules", "List schedules, apply a file of them, say when they happen, pause them, see their load",
		list(&d, "List schedules", "schedules", "no schedules: write a file and `shutterfleet schedules apply -f FILE`",
			"NAME WHEN SELECT CAMERAS NEXT REVISION", func(s admin.Schedule) []any {
				return []any{s.Name, timing(s), s.Select, s.Cameras, when(s.Next), s.Revision}
			}),
		schedulesApply(&d), schedulesPreview(&d),
		schedulesPause(&d), schedulesResume(&d), schedulesPauses(&d),
		schedulesLoad(&d)))
}

func timing(s admin.Schedule) string {
	switch {
	case s.Every != 0:
		return "every " + s.Every.String()
	case len(s.Cron) > 0:
		return strings.Join(s.Cron, "; ")
	case len(s.Sun) > 0:
		return strings.Join(s.Sun, "; ")
	case s.Once != "":
		return "once " + s.Once
	}
	return ""
}

func readFile(cmd *cobra.Command, file string, limit int) ([]byte, error) {
	r := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("%s: larger than %d MB", file, limit>>20)
	}
	return b, err
}

// --- captures --------------------------------------------------------------------

func capturesCommand() *cobra.Command {
	var d door
	return d.join(noun("captures", "List what came of occurrences", capturesLs(&d)))
}

func capturesLs(d *door) *cobra.Command {
	var camera, site, schedule, outcome, from, until string
	var limit int
	c := &cobra.Command{
		Use: "ls", Short: "List captures, newest first", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return usage("--limit %d: want at least 1", limit)
			}
			if camera != "" {
				if _, err := cameraPath(camera); err != nil {
					return err
				}
			}
			now := time.Now()
			since, err := instant("from", from, now)
			if err != nil {
				return err
			}
			before, err := instant("until", until, now)
			if err != nil {
				return err
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			q := values("camera", camera, "site", site, "schedule", schedule, "outcome", outcome, "from", since, "until", before)
			all, err := client.List[admin.Capture](cmd.Context(), api, "captures", q, limit)
			if err != nil {
				return err
			}
			return d.print(cmd, all, rows(cmd, all, "no captures yet", "NOMINAL CAMERA SCHEDULE OUTCOME CAUSE DELAY FRAME VERDICT PDQ DETAIL", func(c admin.Capture) []any {
				frame, pdq := "", ""
				if c.Fingerprint != nil {
					frame, pdq = fmt.Sprintf("%dx%d %s", c.Width, c.Height, c.Codec), hashed(c.Fingerprint)
				}
				return []any{when(&c.Nominal), c.Camera, c.Schedule, c.Outcome, c.Cause, fmt.Sprintf("%dms", c.DelayMS), frame, verdict(c.Verdict), pdq, c.Detail}
			}))
		},
	}
	f := c.Flags()
	f.StringVar(&camera, "camera", "", "of this camera only")
	f.StringVar(&site, "site", "", "of this site only")
	f.StringVar(&schedule, "schedule", "", "of this schedule only, by name")
	f.StringVar(&outcome, "outcome", "", "captured, failed, missed or skipped")
	f.StringVar(&from, "from", "", "from this nominal time on: RFC 3339, or an age such as 2h")
	f.StringVar(&until, "until", "", "before this nominal time")
	f.IntVar(&limit, "limit", 100, "how many at most")
	return c
}

// hashed is a picture's PDQ; "" where it has none, as one has of which a part is
// missing.
func hashed(f *admin.Fingerprint) string {
	if f == nil || strings.Trim(f.PDQ, "0") == "" {
		return ""
	}
	return f.PDQ
}

func matchCommand() *cobra.Command {
	var d door
	var radius, limit int
	var mask string
	c := &cobra.Command{
		Use: "match IMAGE", Short: "Find stored frames that look like a picture", Args: wantArgs("IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			image, err := readFile(cmd, args[0], maxImageFile)
			if err != nil {
				return err
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			q := url.Values{}
			for k, n := range map[string]int{"radius": radius, "limit": limit} {
				if cmd.Flags().Changed(k) {
					q.Set(k, strconv.Itoa(n))
				}
			}
			page, kind := admin.List[admin.Match]{Items: []admin.Match{}}, "application/octet-stream"
			if mask != "" {
				if image, err = fingerprintUnder(cmd, mask, image); err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				kind = "application/json"
			}
			if err := api.Post(cmd.Context(), "match", q, kind, image, &page); err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return d.print(cmd, page.Items, rows(cmd, page.Items, "no stored frame looks like it", "DISTANCE CAMERA AT OCCURRENCE", func(m admin.Match) []any {
				return []any{m.Distance, m.Camera, when(&m.At), m.Occurrence}
			}))
		},
	}
	c.Flags().IntVar(&radius, "radius", 31, "PDQ bits of 256 that may differ")
	c.Flags().IntVar(&limit, "limit", 100, "how many at most")
	c.Flags().StringVar(&mask, "mask", "", "among frames that were taken under this privacy mask (JSON, as for cameras mask); without it, among those taken under none")
	return d.join(c)
}

func booksCommand() *cobra.Command {
	var d door
	return d.join(&cobra.Command{
		Use: "books", Short: "Show the books: every occurrence issued, and what came of it", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := d.client()
			if err != nil {
				return err
			}
			var b admin.AllBooks
			if err := api.Get(cmd.Context(), "books", nil, &b); err != nil {
				return err
			}
			if err := d.print(cmd, b, func(w *bytes.Buffer) {
				fmt.Fprintln(w, "ISSUED\tCAPTURED\tFAILED\tMISSED\tSKIPPED\tIN FLIGHT\tDUPLICATES")
				fmt.Fprintf(w, "%d\t%d\t%d\t%d\t%d\t%d\t%d\n", b.Issued, b.Captured, b.Failed, b.Missed, b.Skipped, b.InFlight, b.Duplicates)
			}); err != nil {
				return err
			}
			if !b.Balanced {
				return errors.New("the books do not balance: please report it")
			}
			return nil
		},
	})
}

// --- agents, keys, credentials -----------------------------------------------------

func agentsCommand() *cobra.Command {
	var d door
	return d.join(noun("agents", "List and revoke agents",
		list(&d, "List agents", "agents", "no agents: `shutterfleet keys create --site S` makes a key, `shutterfleet-agent run` joins with it",
			"ID HOSTNAME SITE STATE CONNECTED VERSION SEEN HELD PENDING", func(a admin.Agent) []any {
				return []any{a.ID, a.Hostname, a.Site, a.State, yesNo(a.Connected), a.Version, when(a.Seen), a.Held, a.Pending}
			}),
		agentsApprove(&d),
		remove(&d, "Revoke an agent: its certificate no longer opens anything", "agents", "revoked agent")))
}

func agentsApprove(d *door) *cobra.Command {
	return &cobra.Command{
		Use: "approve ID", Short: "Let in an agent whose key does not approve", Args: wantArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := d.client()
			if err != nil {
				return err
			}
			if err := api.Send(cmd.Context(), http.MethodPost, "agents/"+url.PathEscape(args[0])+"/approve", nil, nil); err != nil {
				return err
			}
			return d.print(cmd, map[string]string{"approved": args[0]}, func(w *bytes.Buffer) { fmt.Fprintln(w, "approved agent", plain(args[0])) })
		},
	}
}

// rulesCommand shows and replaces the rules that approve found cameras.
func rulesCommand() *cobra.Command {
	var d door
	show := func(cmd *cobra.Command, rules map[string]string) error {
		return d.print(cmd, rules, func(w *bytes.Buffer) {
			fmt.Fprintln(w, "RULE\tAPPROVES")
			for _, name := range slices.Sorted(maps.Keys(rules)) {
				fmt.Fprintf(w, "%s\t%s\n", plain(name), plain(rules[name]))
			}
		})
	}
	ls := &cobra.Command{Use: "ls", Short: "List the rules", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		api, err := d.client()
		if err != nil {
			return err
		}
		rules := map[string]string{}
		if err := api.Get(cmd.Context(), "rules", nil, &rules); err != nil {
			return err
		}
		return show(cmd, rules)
	}}
	set := &cobra.Command{
		Use: "set NAME=SELECTOR...", Short: "Replace all rules; none approves nothing by itself",
		Example: "  shutterfleet rules set lab='site=lab' shops='site=store-*,vendor=Axis'",
		RunE: func(cmd *cobra.Command, args []string) error {
			rules := map[string]string{}
			for _, a := range args {
				name, sel, ok := strings.Cut(a, "=")
				if !ok || name == "" {
					return usage("rule %q: want NAME=SELECTOR", a)
				}
				rules[name] = sel
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			if err := api.Send(cmd.Context(), http.MethodPut, "rules", rules, nil); err != nil {
				return err
			}
			return show(cmd, rules)
		},
	}
	return d.join(noun("rules", "Rules that approve found cameras", ls, set))
}

func keysCommand() *cobra.Command {
	var d door
	return d.join(noun("keys", "Create, list and revoke the keys that agents enrol with",
		list(&d, "List keys, without their secrets", "keys", "no keys: `shutterfleet keys create --site S` makes one",
			"ID SITE USED APPROVE REVOKED CREATED EXPIRES", func(k admin.Key) []any {
				return []any{k.ID, k.Site, fmt.Sprintf("%d/%d", k.Used, k.Count), yesNo(k.Approve), yesNo(k.Revoked), when(&k.Created), when(&k.Expires)}
			}),
		keysCreate(&d),
		remove(&d, "Revoke a key; agents that enrolled with it stay", "keys", "revoked key")))
}

func keysCreate(d *door) *cobra.Command {
	var site string
	var count int
	var approve bool
	var expires time.Duration
	c := &cobra.Command{
		Use: "create --site S", Short: "Create a key for agents of a site; it is printed once", Args: noArgs,
		Example: "  shutterfleet keys create --site home > home.key",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if site == "" {
				return usage("keys create wants --site")
			}
			if count < 1 {
				return usage("--count %d: want at least 1", count)
			}
			body := map[string]any{"site": site, "count": count, "approve": approve}
			if expires != 0 {
				body["expires"] = expires.String()
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var k admin.Key
			if err := api.Send(cmd.Context(), http.MethodPost, "keys", body, &k); err != nil {
				return err
			}
			// The key alone goes to stdout, so that it can be sent to a file.
			if d.output == "table" {
				cmd.PrintErrf("for %d agent(s) of site %s, until %s; give it to `shutterfleet-agent run --site-key-file`\n", k.Count, plain(k.Site), when(&k.Expires))
			}
			return d.print(cmd, map[string]string{"key": k.Key}, func(w *bytes.Buffer) { fmt.Fprintln(w, k.Key) })
		},
	}
	c.Flags().StringVar(&site, "site", "", "the site; it exists from its first mention")
	c.Flags().IntVar(&count, "count", 1, "how many agents may enrol with it")
	c.Flags().BoolVar(&approve, "approve", true, "approve agents that hold it; --approve=false leaves them pending")
	c.Flags().DurationVar(&expires, "expires", 0, "how long it may be used, for example 72h (default 30 days)")
	return c
}

func credsCommand() *cobra.Command {
	var d door
	return d.join(noun("creds", "Store and list the logins of cameras",
		list(&d, "List logins, without their passwords", "credentials", "no logins: `shutterfleet creds put --site S --user U --password-file F` stores one",
			"ID SITE CAMERA USER VERSION CREATED", func(c admin.Credentials) []any {
				camera := "all"
				if c.Camera != nil {
					camera = c.Camera.String()
				}
				return []any{c.ID, c.Site, camera, c.User, c.Version, when(&c.Created)}
			}),
		credsPut(&d)))
}

func credsPut(d *door) *cobra.Command {
	var site, camera, user, passwordFile string
	c := &cobra.Command{
		Use: "put --site S --user U --password-file F", Short: "Store a login for all cameras of a site, or for one", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if site == "" || user == "" {
				return usage("creds put wants --site, --user and --password-file")
			}
			body := map[string]any{"site": site}
			if camera != "" {
				if _, err := cameraPath(camera); err != nil {
					return err
				}
				body["camera"] = camera
			}
			if err := login(cmd, body, user, passwordFile); err != nil {
				return err
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var cred admin.Credentials
			if err := api.Send(cmd.Context(), http.MethodPost, "credentials", body, &cred); err != nil {
				return err
			}
			return d.print(cmd, cred, func(w *bytes.Buffer) {
				fmt.Fprintf(w, "stored version %d of the login of %s at site %s\n", cred.Version, plain(cred.User), plain(cred.Site))
			})
		},
	}
	c.Flags().StringVar(&site, "site", "", "the site")
	c.Flags().StringVar(&camera, "camera", "", "of this camera only")
	c.Flags().StringVar(&user, "user", "", "user to log in as")
	c.Flags().StringVar(&passwordFile, "password-file", "", "file with the password, - for stdin")
	return c
}
