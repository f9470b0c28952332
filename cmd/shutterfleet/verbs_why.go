package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

func camerasWhy(d *door) *cobra.Command {
	var site string
	c := &cobra.Command{
		Use: "why ID | ADDRESS --site S", Short: "Explain, step by step, why a camera or an address gives no picture", Args: wantArgs("ID or ADDRESS"),
		Long: "The agent that serves the camera climbs from the route to a decoded frame, and each step is printed as it ends. " +
			"It costs the camera at most two refused logins. Exits with 1 when a step failed.",
		Example: "  shutterfleet cameras why cam-0r4k2m7q1x0ab\n  shutterfleet cameras why 192.0.2.7 --site store-1",
		RunE: func(cmd *cobra.Command, args []string) error {
			q := admin.Explain{Camera: args[0]}
			if _, err := netip.ParseAddr(args[0]); err == nil {
				if site == "" {
					return usage("cameras why %s: which site's agent is to look? Give --site", args[0])
				}
				q = admin.Explain{Site: site, Address: args[0]}
			} else if _, err := cameraPath(args[0]); err != nil {
				return err
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			var whole *admin.Explanation
			err = api.Stream(cmd.Context(), "explain", q, func(name string, data []byte) error {
				switch name {
				case "rung":
					var r admin.Rung
					if err := json.Unmarshal(data, &r); err != nil {
						return fmt.Errorf("a step that cannot be read: %w", err)
					}
					if d.output == "table" {
						return printRung(cmd.OutOrStdout(), r)
					}
				case "explanation":
					whole = &admin.Explanation{}
					return json.Unmarshal(data, whole)
				case "problem":
					var p struct{ Detail string }
					if err := json.Unmarshal(data, &p); err != nil {
						return err
					}
					return errors.New(p.Detail)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if whole == nil {
				return errors.New("the scheduler ended before the explanation did: ask again")
			}
			if d.output != "table" {
				if err := d.print(cmd, whole, nil); err != nil {
					return err
				}
			}
			for _, r := range whole.Rungs {
				if r.Result == fleet.RungFailed {
					return fmt.Errorf("%s: it breaks at %q: %s", whole.Subject, r.Name, plain(r.Fix))
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&site, "site", "", "with an address: whose agent looks")
	return c
}

// printRung writes one step, and its fix below it.
func printRung(w io.Writer, r admin.Rung) error {
	took := time.Duration(r.TookMS) * time.Millisecond
	text := fmt.Sprintf("%-14s %-8s %7s  %s\n", plain(r.Name), r.Result, took, plain(r.Detail))
	if r.Fix != "" {
		text += fmt.Sprintf("%33s%s\n", "=> ", plain(r.Fix))
	}
	_, err := io.WriteString(w, text)
	return err
}

func camerasReboot(d *door) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "reboot ID", Short: "Restart a camera, by ONVIF", Args: wantArgs("ID"),
		Long: "Asks the camera to restart. It gives no picture for a minute or two; what was due meanwhile ends as failed or missed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := cameraPath(args[0])
			if err != nil {
				return err
			}
			api, err := d.client()
			if err != nil {
				return err
			}
			if !yes {
				var cam admin.Camera
				if err := api.Get(cmd.Context(), path, nil, &cam); err != nil {
					return err
				}
				if err := confirm(cmd, fmt.Sprintf("Restart %s (%s)?", plain(cam.Name), cam.ID)); err != nil {
					return err
				}
			}
			var v admin.Reboot
			if err := api.Create(cmd.Context(), path+"/reboot", nil, struct{}{}, &v); err != nil {
				return err
			}
			return d.print(cmd, v, func(w *bytes.Buffer) {
				fmt.Fprintf(w, "%s restarts, asked by %s; it says: %s\n", v.Camera, v.Agent, plain(v.Message))
			})
		},
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func camerasTrust(d *door) *cobra.Command {
	return &cobra.Command{
		Use: "trust ID", Short: "Take the TLS key that a camera shows from now on", Args: wantArgs("ID"),
		Long: "A camera whose TLS key is another than before is sent no login: it may be somebody else. After it was replaced, reset or given a new certificate, this has the agent that serves it forget the old key.",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := tellCamera[admin.Trust](cmd, d, args[0], "trust")
			if err != nil {
				return err
			}
			return d.print(cmd, v, func(w *bytes.Buffer) {
				fmt.Fprintf(w, "%s takes the key that %s shows next\n", v.Agent, v.Camera)
			})
		},
	}
}

// tellCamera tells a camera's agent to do something at once, and returns what came of it.
func tellCamera[T any](cmd *cobra.Command, d *door, id, verb string) (v T, err error) {
	path, err := cameraPath(id)
	if err != nil {
		return v, err
	}
	api, err := d.client()
	if err != nil {
		return v, err
	}
	err = api.Create(cmd.Context(), path+"/"+verb, nil, struct{}{}, &v)
	return v, err
}

// confirm asks a person, and fails unless the answer is yes.
func confirm(cmd *cobra.Command, question string) error {
	cmd.PrintErr(question + " [y/N] ")
	b := make([]byte, 64)
	n, err := cmd.InOrStdin().Read(b)
	switch answer := strings.ToLower(strings.TrimSpace(string(b[:n]))); {
	case answer == "y" || answer == "yes":
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("read the answer: %w", err)
	}
	return errors.New("nothing was done: answer y, or give --yes")
}
