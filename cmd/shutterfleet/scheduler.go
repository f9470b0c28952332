package main

import (
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/centre"
)

func schedulerCommand() *cobra.Command {
	o := centre.Options{}
	verbose := false
	cmd := &cobra.Command{
		Use: "scheduler --data DIR", Short: "Run the centre: scheduler, agents' door, API and pages", Args: noArgs,
		Long: "Run the centre until it is told to end (SIGTERM). At its first start it makes its keys and writes\nDIR/admin.token, with which the verbs and the page let you in.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.DataDir == "" {
				return usage("scheduler wants --data DIR: the directory for all that the centre keeps")
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			o.Log = slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			o.Version = version
			c, err := centre.New(cmd.Context(), o)
			if err != nil {
				return err
			}
			o.Log.Info("scheduler started", "version", version, "agents", c.AgentsAddr(), "page", "http://"+c.AdminAddr()+"/", "token_file", filepath.Join(o.DataDir, "admin.token"))
			err = c.Run(cmd.Context())
			o.Log.Info("scheduler ended", "err", err)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.DataDir, "data", "", "directory for all that the centre keeps")
	f.StringVar(&o.AgentsListen, "agents-listen", ":7443", "address of the agents' door (gRPC, mutual TLS)")
	f.StringVar(&o.AdminListen, "admin-listen", "127.0.0.1:7080", "address of the API and the pages")
	f.StringVar(&o.MachineListen, "machine-listen", "127.0.0.1:7091", "address of /livez, /readyz and /metrics; empty for none")
	f.BoolVar(&verbose, "verbose", false, "log more")
	return cmd
}
