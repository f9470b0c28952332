package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// fingerprintCommand reads pictures from files, without a server.
func fingerprintCommand() *cobra.Command {
	var d door
	cmd := &cobra.Command{
		Use: "fingerprint FILE...", Short: "Print the fingerprints and quality of pictures (JPEG, PNG, PGM)",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("fingerprint wants one file or more")
			}
			type result struct {
				File       string        `json:"file"`
				Width      int           `json:"width"`
				Height     int           `json:"height"`
				PDQ        fleet.PDQ     `json:"pdq"`
				PDQQuality int           `json:"pdq_quality"`
				PHash      fleet.PHash   `json:"phash"`
				Quality    fleet.Quality `json:"quality"`
			}
			r, err := capture.New(capture.Options{NoThumbnail: true})
			if err != nil {
				return err
			}
			var out []result
			for _, file := range args {
				data, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				f := fleet.Frame{Data: data, Codec: fleet.JPEG}
				switch {
				case bytes.HasPrefix(data, []byte("\x89PNG")):
					f.Codec = fleet.PNG
				case bytes.HasPrefix(data, []byte("P5")):
					f.Codec = fleet.PGM
				case bytes.HasPrefix(data, []byte{0, 0, 0, 1}), bytes.HasPrefix(data, []byte{0, 0, 1}):
					f.Codec = fleet.H264
				}
				res, err := r.Read(cmd.Context(), f)
				if err != nil {
					return fmt.Errorf("%s: %w", file, err)
				}
				fp := res.Fingerprint
				out = append(out, result{file, int(res.Width), int(res.Height), fp.PDQ, int(fp.PDQQuality), fp.PHash, res.Quality})
			}
			return d.print(cmd, out, rows(cmd, out, "no pictures", "FILE SIZE PDQ QUALITY PHASH", func(x result) []any {
				return []any{x.File, fmt.Sprintf("%dx%d", x.Width, x.Height), x.PDQ, x.PDQQuality, x.PHash}
			}))
		},
	}
	cmd.Flags().StringVarP(&d.output, "output", "o", "table", "table, json or yaml")
	return cmd
}
