package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

func camerasCommand() *cobra.Command {
	var d door
	return d.join(noun("cameras", "List, add, approve and name cameras",
		camerasLs(&d), camerasShow(&d), camerasAdd(&d), camerasSet(&d), camerasWhy(&d), camerasReboot(&d), camerasTrust(&d), camerasAccept(&d), camerasMask(&d),
		camerasEnrol(&d, "approve", fleet.Approved, "Approve cameras, so that schedules may select them"),
		camerasEnrol(&d, "ignore", fleet.Ignored, "Ignore cameras: they are neither photographed nor shown"),
		camerasConflicts(&d), camerasResolve(&d),
	))
}

const noCameras = "no cameras: once an agent runs, those it finds appear here; `shutterfleet cameras add` takes one by hand"

func printCameras(d *door, cmd *cobra.Command, all []admin.Camera) error {
	return d.print(cmd, all, rows(cmd, all, noCameras, "ID NAME SITE STATE STATUS LAST CAUSE ADDRESSES PROTOCOLS", func(c admin.Camera) []any {
		last, cause := "", ""
		if l := c.LastCapture; l != nil {
			last, cause = when(&l.At), string(l.Cause)
		}
		return []any{c.ID, c.Name, c.Site, c.State, c.Status, last, cause, strings.Join(c.Addresses, ","), joined(c.Protocols)}
	}))
}

func joined[T ~string](in []T) string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, string(s))
	}
	return strings.Join(out, ",")
}

func printCamera(d *door, cmd *cobra.Command, c admin.Camera) error {
	return d.print(cmd, c, func(w *bytes.Buffer) {
		line := func(k string, v any) { fmt.Fprintf(w, "%s\t%s\n", k, plain(v)) }
		line("id", c.ID)
		line("name", c.Name)
		line("site", c.Site)
		line("state", c.State)
		line("status", c.Status)
		if c.DeviceState != "" {
			line("device state", c.DeviceState)
		}
		if c.Reason != "" {
			line("reason", c.Reason)
		}
		if c.Fix != "" {
			line("fix", c.Fix)
		}
		line("device", strings.TrimSpace(c.Vendor+" "+c.Model+" "+c.Firmware))
		line("serial", c.Serial)
		line("addresses", strings.Join(c.Addresses, " "))
		line("found by", joined(c.FoundBy))
		for _, e := range c.Endpoints {
			line("endpoint", string(e.Protocol)+" "+e.URL)
		}
		for k, v := range c.Labels {
			line("label", k+"="+v)
		}
		if m := c.Mask; m != nil {
			line("privacy mask", fmt.Sprintf("shapes %d, since %s", m.Shapes, when(&m.Since)))
		}
		if l := c.LastCapture; l != nil {
			line("last capture", strings.TrimSpace(fmt.Sprintf("%s %s %s %s", when(&l.At), l.Outcome, l.Cause, l.Detail)))
			if pdq := hashed(l.Fingerprint); pdq != "" {
				line("pdq", fmt.Sprintf("%s quality %d", pdq, l.Fingerprint.PDQQuality))
			}
		}
	})
}

func camerasLs(d *door) *cobra.Command {
	var site, state, sel string
	c := &cobra.Command{
		Use: "ls", Short: "List cameras", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := d.client()
			if err != nil {
				return err
			}
			all, err := client.List[admin.Camera](cmd.Context(), api, "cameras", values("site", site, "state", state, "select", sel), 0)
			if err != nil {
				return err
			}
			return printCameras(d, cmd, all)
		},
	}
	c.Flags().StringVar(&site, "site", "", "of this site only")
	c.Flags().StringVar(&state, "state", "", "pending, approved, ignored, quarantined or retired")
	c.Flags().StringVar(&sel, "select", "", `by labels, for example "site=store-*,gate"`)
	return c
}

// values returns a query of the pairs whose value is not empty.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for p := range slices.Chunk(pairs, 2) {
		if p[1] != "" {
			q.Set(p[0], p[1])
		}
	}
	return q
}

func camerasShow(d *door) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one camera", Args: wantArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := d.client()
			if err != nil {
				return err
			}
			path, err := cameraPath(args[0])
			if err != nil {
				return err
			}
			var c admin.Camera
			if err := api.Get(cmd.Context(), path, nil, &c); err != nil {
				return err
			}
			return printCamera(d, cmd, c)
		},
	}
}

func cameraPath(id string) (string, error) {
	c, err := fleet.ParseCameraID(id)
	if err != nil {
		return "", usage("%w", err)
	}
	return "cameras/" + c.String(), nil
}

func camerasAdd(d *door) *cobra.Command {
	var site, address, name, user, passwordFile, file string
	var label []string
	var dryRun bool
	c := &cobra.Command{
		Use: "add --site S --url URL | --file CSV", Short: "Take cameras by hand and approve them", Args: noArgs,
		Long: csvHelp,
		Example: "  shutterfleet cameras add --site home --url rtsp://192.0.2.7/stream1 --user viewer --password-file pw\n" +
			"  shutterfleet cameras add --file cameras.csv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				if address != "" || name != "" {
					return usage("cameras add: --url and --name are columns of --file")
				}
				return addFile(d, cmd, file, sheet{site: site, label: label, user: user, passwordFile: passwordFile}, dryRun)
			}
			if dryRun {
				return usage("cameras add --dry-run is for --file")
			}
			if site == "" || address == "" {
				return usage("cameras add wants --site and --url, or --file: see `shutterfleet cameras add --help`")
			}
			if u, err := url.Parse(address); err == nil && u.User != nil {
				return usage("--url holds a login, which other users of this machine can see: give --user and --password-file")
			}
			set, err := labels(label, false)
			if err != nil {
				return err
			}
			body := map[string]any{"site": site, "url": address}
			if name != "" {
				body["name"] = name
			}
			if set != nil {
				body["labels"] = set
			}
			if err := login(cmd, body, user, passwordFile); err != nil {
				return err
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var cam admin.Camera
			if err := api.Send(cmd.Context(), http.MethodPost, "cameras", body, &cam); err != nil {
				return err
			}
			return printCamera(d, cmd, cam)
		},
	}
	f := c.Flags()
	f.StringVar(&site, "site", "", "the site whose agents reach it")
	f.StringVar(&address, "url", "", "rtsp, rtsps, http or https: an ONVIF device service, a stream or a snapshot")
	f.StringVar(&name, "name", "", "what to call it")
	f.StringArrayVar(&label, "label", nil, "key=value; may be given several times")
	f.StringVar(&user, "user", "", "user to log in as")
	f.StringVar(&passwordFile, "password-file", "", "file with the password, - for stdin")
	f.StringVar(&file, "file", "", "a table of cameras (CSV, - for stdin); the other flags fill empty cells")
	f.BoolVar(&dryRun, "dry-run", false, "with --file: check all lines and take nothing")
	return c
}

// login adds a login to a request's body.
func login(cmd *cobra.Command, body map[string]any, user, passwordFile string) error {
	switch {
	case user == "" && passwordFile == "":
		return nil
	case user == "":
		return usage("--password-file needs --user")
	case passwordFile == "":
		return usage("--user needs --password-file (- reads stdin): a password on the command line is seen by other users of this machine")
	}
	p, err := readSecret(cmd, passwordFile)
	if err != nil {
		return err
	}
	body["user"], body["password"] = user, p.Reveal()
	return nil
}

func camerasSet(d *door) *cobra.Command {
	var name string
	var label []string
	c := &cobra.Command{
		Use: "set ID", Short: "Change a camera's name and labels", Args: wantArgs("ID"),
		Example: "  shutterfleet cameras set cam-0r4k2m7q1x0ab --name gate --label floor=2 --label old=",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := cameraPath(args[0])
			if err != nil {
				return err
			}
			set, err := labels(label, true)
			if err != nil {
				return err
			}
			body := map[string]any{}
			if cmd.Flags().Changed("name") {
				body["name"] = name
			}
			if set != nil {
				body["labels"] = set
			}
			if len(body) == 0 {
				return usage("cameras set: what? Give --name, --label or both")
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var cam admin.Camera
			if err := api.Send(cmd.Context(), http.MethodPatch, path, body, &cam); err != nil {
				return err
			}
			return printCamera(d, cmd, cam)
		},
	}
	c.Flags().StringVar(&name, "name", "", "what to call it")
	c.Flags().StringArrayVar(&label, "label", nil, "key=value sets a label, key= removes it; may be given several times")
	return c
}

func camerasEnrol(d *door, verb string, to fleet.Enrollment, short string) *cobra.Command {
	var all bool
	var site string
	c := &cobra.Command{
		Use: verb + " ID... | --all", Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usage("cameras %s wants ids, or --all for every pending camera", verb)
			}
			for _, id := range args {
				if _, err := cameraPath(id); err != nil {
					return err
				}
			}
			body := map[string]any{"state": to}
			if all {
				body["all"] = true
				if site != "" {
					body["site"] = site
				}
			} else {
				body["ids"] = args
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			page := admin.List[admin.Camera]{Items: []admin.Camera{}}
			if err := api.Send(cmd.Context(), http.MethodPost, "cameras/enrol", body, &page); err != nil {
				return err
			}
			if len(page.Items) == 0 && d.output == "table" {
				cmd.PrintErrln("no camera is pending")
				return nil
			}
			return printCameras(d, cmd, page.Items)
		},
	}
	c.Flags().BoolVar(&all, "all", false, "every pending camera")
	c.Flags().StringVar(&site, "site", "", "with --all: of this site only")
	return c
}
