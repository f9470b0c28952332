package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

const noConflicts = "no conflicts: no device contradicts another"

func camerasConflicts(d *door) *cobra.Command {
	var site string
	c := &cobra.Command{
		Use: "conflicts [ID]", Short: "List devices whose evidence contradicts another's, or show one camera's, side by side", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			api, err := d.client()
			if err != nil {
				return err
			}
			if len(args) > 0 {
				path, err := cameraPath(args[0])
				if err != nil {
					return err
				}
				var one admin.Conflict
				if err := api.Get(cmd.Context(), path+"/conflict", nil, &one); err != nil {
					return err
				}
				return d.print(cmd, one, func(w *bytes.Buffer) { writeConflict(w, one) })
			}
			all, err := client.List[admin.Conflict](cmd.Context(), api, "conflicts", values("site", site), 0)
			if err != nil {
				return err
			}
			return d.print(cmd, all, rows(cmd, all, noConflicts, "SITE DEVICE CAMERAS ADDRESSES RIVALS RIVALS-AT REASON", func(c admin.Conflict) []any {
				var keys, at []string
				for _, r := range c.Rivals {
					keys, at = append(keys, r.Device), append(at, r.Addresses...)
				}
				return []any{c.Site, c.Device, ids(c.Self.Cameras, ","), strings.Join(c.Self.Addresses, ","), strings.Join(keys, ","), strings.Join(at, ","), c.Reason}
			}))
		},
	}
	c.Flags().StringVar(&site, "site", "", "of this site only")
	return c
}

func ids(all []fleet.CameraID, between string) string {
	out := make([]string, len(all))
	for i, id := range all {
		out[i] = id.String()
	}
	return strings.Join(out, between)
}

// writeConflict writes one line for each thing, one column for each side.
func writeConflict(w *bytes.Buffer, c admin.Conflict) {
	sides := append([]admin.Side{c.Self}, c.Rivals...)
	line := func(name string, of func(admin.Side) string) {
		fmt.Fprint(w, name)
		for _, s := range sides {
			fmt.Fprintf(w, "\t%s", plain(of(s)))
		}
		fmt.Fprintln(w)
	}
	most := 0
	for _, s := range sides {
		most = max(most, len(s.Claims), len(s.Evidence))
	}
	line("device", func(s admin.Side) string { return s.Device })
	line("cameras", func(s admin.Side) string { return ids(s.Cameras, " ") })
	line("addresses", func(s admin.Side) string { return strings.Join(s.Addresses, " ") })
	line("made by", func(s admin.Side) string { return strings.TrimSpace(s.Vendor + " " + s.Model) })
	line("heard", func(s admin.Side) string {
		if s.LastSeen == nil {
			return "never"
		}
		return when(s.LastSeen)
	})
	nth := func(name string, of func(admin.Side) (string, bool)) {
		any := false
		for _, s := range sides {
			_, ok := of(s)
			any = any || ok
		}
		if any {
			line(name, func(s admin.Side) string { t, _ := of(s); return t })
		}
	}
	for i := range most {
		nth("says", func(s admin.Side) (string, bool) {
			if i >= len(s.Claims) {
				return "", false
			}
			return string(s.Claims[i].Kind) + " " + s.Claims[i].Value, true
		})
	}
	for i := range most {
		nth("evidence", func(s admin.Side) (string, bool) {
			if i >= len(s.Evidence) {
				return "", false
			}
			e := s.Evidence[i]
			if e.Junk {
				return strings.TrimSpace("junk " + e.Kind + " " + e.Value), true
			}
			return strings.TrimSpace(fmt.Sprintf("%+d %s %s", e.Weight, e.Kind, e.Value)), true
		})
	}
	fmt.Fprintf(w, "reason\t%s\n", plain(c.Reason))
}

func camerasResolve(d *door) *cobra.Command {
	var same, different bool
	var rival string
	c := &cobra.Command{
		Use: "resolve ID --same | --different", Short: "Decide whether a camera's device and its rival are one", Args: wantArgs("ID"),
		Example: "  shutterfleet cameras conflicts cam-0r4k2m7q1x0ab\n  shutterfleet cameras resolve cam-0r4k2m7q1x0ab --different",
		Long: "Decide whether a camera's device and its rival are one. The decision is kept, and the site's agents follow it.\n\n" +
			"--same       one device: the rival's cameras are retired, and its address is this camera's\n" +
			"--different  two devices that share some evidence: both go on as what they were",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := cameraPath(args[0])
			if err != nil {
				return err
			}
			if same == different {
				return usage("cameras resolve wants --same or --different: `shutterfleet cameras conflicts %s` shows both sides", args[0])
			}
			body := map[string]any{"decision": map[bool]string{true: "same", false: "different"}[same]}
			if rival != "" {
				body["rival"] = rival
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var cam admin.Camera
			if err := api.Send(cmd.Context(), http.MethodPost, path+"/resolve", body, &cam); err != nil {
				return err
			}
			return printCamera(d, cmd, cam)
		},
	}
	c.Flags().BoolVar(&same, "same", false, "the two are one device")
	c.Flags().BoolVar(&different, "different", false, "the two are different devices")
	c.Flags().StringVar(&rival, "rival", "", "the rival's device, when there are several")
	return c
}
