package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/cmd/internal/client"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

const maskHelp = `Show what is hidden of a camera, set it, or show all again.

A mask is a JSON file. Its places are shares of the picture's width and height,
0 to 1, from the top left, so that it fits every size and profile of the camera:

  {"rectangles": [{"x": 0.7, "y": 0, "width": 0.3, "height": 0.4}],
   "polygons": [[{"x": 0, "y": 1}, {"x": 0.2, "y": 0.6}, {"x": 0.4, "y": 1}]]}

It is set when the agents of the site have it, and what they tell of the camera
from then on shows nothing of what is hidden, neither thumbnails nor hashes.

--preview writes the camera's newest thumbnail as the mask would show it, and
sets nothing.`

type maskVerb struct {
	d             *door
	file, preview string
	clear, dryRun bool
}

func camerasMask(d *door) *cobra.Command {
	v := &maskVerb{d: d}
	c := &cobra.Command{
		Use: "mask ID [--file F | --clear]", Short: "Hide parts of a camera's picture", Args: wantArgs("ID"), Long: maskHelp,
		Example: "  shutterfleet cameras mask cam-0r4k2m7q1x0ab --file mask.json --preview look.jpg\n" +
			"  shutterfleet cameras mask cam-0r4k2m7q1x0ab --file mask.json\n" +
			"  shutterfleet cameras mask cam-0r4k2m7q1x0ab",
		RunE: v.run,
	}
	f := c.Flags()
	f.StringVar(&v.file, "file", "", "what to hide (JSON, - for stdin)")
	f.BoolVar(&v.clear, "clear", false, "show all of the picture again")
	f.BoolVar(&v.dryRun, "dry-run", false, "with --file: only check it")
	f.StringVar(&v.preview, "preview", "", "with --file: write the newest thumbnail as the mask would show it to this JPEG file, and set nothing")
	return c
}

func (v *maskVerb) run(cmd *cobra.Command, args []string) error {
	switch {
	case v.clear && v.file != "":
		return usage("cameras mask: give --file or --clear, not both")
	case v.file == "" && (v.dryRun || v.preview != ""):
		return usage("cameras mask: --dry-run and --preview want the --file that they are about")
	}
	path, err := cameraPath(args[0])
	if err != nil {
		return err
	}
	var mask *fleet.Mask
	if v.file != "" {
		if mask, err = readMask(cmd, v.file); err != nil {
			return err
		}
	}
	api, err := v.d.client()
	if err != nil {
		return err
	}
	if v.preview != "" {
		return v.draw(cmd, api, path, mask)
	}
	var m admin.Mask
	switch ctx := cmd.Context(); {
	case v.clear:
		err = api.Send(ctx, http.MethodDelete, path+"/mask", nil, &m)
	case mask == nil:
		err = api.Get(ctx, path+"/mask", nil, &m)
	default:
		query := values()
		if v.dryRun {
			query.Set("dry_run", "true")
		}
		err = api.SendWith(ctx, http.MethodPut, path+"/mask", query, mask, &m)
	}
	if err != nil {
		return err
	}
	return v.print(cmd, m)
}

// readMask reads a mask's file.
func readMask(cmd *cobra.Command, file string) (*fleet.Mask, error) {
	text, err := readFile(cmd, file, 1<<20)
	if err != nil {
		return nil, err
	}
	m, err := fleet.ParseMask(bytes.TrimPrefix(text, []byte("\xEF\xBB\xBF"))) // which editors on Windows put first
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return m, nil
}

func (v *maskVerb) print(cmd *cobra.Command, m admin.Mask) error {
	if v.d.output == "table" {
		for _, h := range m.Agents {
			text := maskTrouble[h.State]
			if m.Sum == 0 && h.State == scheduler.MaskAway {
				text = "is not connected: it goes on under the mask that it has until it comes"
			}
			if text != "" && m.Revision > 0 && !m.DryRun {
				cmd.PrintErrf("%s %s\n", plain(h.Agent), text)
			}
		}
	}
	return v.d.print(cmd, m, func(w *bytes.Buffer) {
		shapes := len(m.Rectangles) + len(m.Polygons)
		said := ""
		if m.Since != nil {
			said = fmt.Sprintf(" (revision %d, by %s at %s)", m.Revision, plain(m.By), when(m.Since))
		}
		switch {
		case m.DryRun:
			fmt.Fprintf(w, "%s: the mask is right, and nothing was set: rectangles %d, polygons %d\n", m.Camera, len(m.Rectangles), len(m.Polygons))
			return
		case shapes == 0:
			fmt.Fprintf(w, "nothing of %s is hidden%s\n", m.Camera, said)
			return
		}
		fmt.Fprintf(w, "hidden of %s: rectangles %d, polygons %d%s\n", m.Camera, len(m.Rectangles), len(m.Polygons), said)
		for _, r := range m.Rectangles {
			fmt.Fprintf(w, "rectangle\t%g, %g\t%g x %g\n", r.X, r.Y, r.Width, r.Height)
		}
		for _, p := range m.Polygons {
			fmt.Fprint(w, "polygon")
			for _, q := range p {
				fmt.Fprintf(w, "\t%g, %g", q.X, q.Y)
			}
			fmt.Fprintln(w)
		}
		for _, h := range m.Agents {
			fmt.Fprintf(w, "agent\t%s\t%s\n", plain(h.Agent), plain(h.State))
		}
	})
}

// maskTrouble says what an agent's state means where it has not the mask.
var maskTrouble = map[string]string{
	scheduler.MaskPending:  "has not taken the mask yet: what it shows until then is dropped by the scheduler; ask again in a moment",
	scheduler.MaskAway:     "is not connected: it gets the mask when it comes, before it shows anything",
	scheduler.MaskOutdated: "knows no masks and is given no masked camera: update it",
}

// draw writes the newest thumbnail as the mask would show it.
func (v *maskVerb) draw(cmd *cobra.Command, api *client.Client, path string, m *fleet.Mask) error {
	thumb, err := api.Bytes(cmd.Context(), path+"/thumbnail.jpg", "image/jpeg")
	if e, ok := errors.AsType[*client.Error](err); ok && e.Status == http.StatusNotFound {
		return fmt.Errorf("--preview: %w: have one taken with `shutterfleet capture now ID`", err)
	}
	if err != nil {
		return err
	}
	shown, err := masked(cmd.Context(), thumb, m)
	if err != nil {
		return fmt.Errorf("--preview: the thumbnail: %w", err)
	}
	if err := os.WriteFile(v.preview, shown, 0o600); err != nil {
		return fmt.Errorf("--preview: %w", err)
	}
	cmd.PrintErrf("%s shows the newest thumbnail under the mask; nothing was set\n", v.preview)
	return nil
}

// fingerprintUnder returns the JSON of a picture's fingerprint under the mask in
// a file.
func fingerprintUnder(cmd *cobra.Command, file string, picture []byte) ([]byte, error) {
	m, err := readMask(cmd, file)
	if err != nil {
		return nil, fmt.Errorf("--mask: %w", err)
	}
	f, err := frameOf(picture)
	if err != nil {
		return nil, err
	}
	r, err := capture.New(capture.Options{Width: 1, NoThumbnail: true})
	if err != nil {
		return nil, err
	}
	in, err := r.Inspect(cmd.Context(), f, capture.Probe{Mask: m})
	if err != nil {
		return nil, err
	}
	return json.Marshal(in.Fingerprint)
}

// masked returns a thumbnail with black where the mask hides. Agents hide blocks
// of the camera's picture, which is larger: no more is shown as hidden here than
// will be.
func masked(ctx context.Context, jpeg []byte, m *fleet.Mask) ([]byte, error) {
	r, err := capture.New(capture.Options{Width: 1, MaskExactly: true})
	if err != nil {
		return nil, err
	}
	return r.Thumbnail(ctx, fleet.Frame{Codec: fleet.JPEG, Data: jpeg}, m)
}
