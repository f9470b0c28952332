package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/centre"
)

func schedulerCommand() *cobra.Command {
	o := centre.Options{}
	verbose, profile := false, ""
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
			if profile != "" {
				stop, err := profileCPU(profile)
				if err != nil {
					return err
				}
				defer stop()
			}
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
	f.Float64Var(&o.Burst, "burst", 0, "most captures that start in a second, over all sites; 0 for no bound")
	f.BoolVar(&verbose, "verbose", false, "log more")
	f.StringVar(&profile, "cpu-profile", "", "write a CPU profile of the whole run to this file")
	f.Lookup("cpu-profile").Hidden = true // for `bench fleet`
	return cmd
}

// profileCPU profiles this process until stop is called.
func profileCPU(file string) (stop func(), err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		f.Close()
	}, nil
}
