// Command shutterfleet-agent is the edge: it finds cameras on its LAN, takes
// pictures when the centre asks, and reports what it saw. It opens no port on
// the LAN.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// version is set by the build.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "shutterfleet-agent:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use: "shutterfleet-agent", Short: "Takes pictures at the edge, on time",
		SilenceUsage: true, SilenceErrors: true, CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	cmd.AddCommand(run(), &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: func(cmd *cobra.Command, _ []string) {
		fmt.Fprintln(cmd.OutOrStdout(), version)
	}})
	return cmd
}

func run() *cobra.Command {
	var o edge.Options
	var keyFile string
	var verbose bool
	cmd := &cobra.Command{
		Use: "run --data DIR --server HOST:7443 [--site-key-file FILE]", Short: "Run the agent", Args: cobra.NoArgs,
		Long: "Run the agent until it is told to end (SIGTERM). At its first start it enrols with a site key,\nwhich `shutterfleet keys create --site S` prints at the centre; later it needs none.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keyFile != "" {
				b, err := os.ReadFile(keyFile)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return fmt.Errorf("site key: %w", err)
				}
				o.SiteKey = fleet.Secret(b)
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			o.Log = slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
			o.Version = version
			e, err := edge.New(cmd.Context(), o)
			if err != nil {
				return err
			}
			o.Log.Info("agent started", "version", version, "server", o.Server)
			err = e.Run(cmd.Context())
			o.Log.Info("agent ended", "err", err)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.DataDir, "data", "", "directory for what the agent keeps")
	f.StringVar(&o.Server, "server", "", "the centre's address for agents, HOST:PORT")
	f.StringVar(&keyFile, "site-key-file", "", "file with the site key; needed at the first start only")
	f.StringVar(&o.MachineListen, "machine-listen", "127.0.0.1:7491", "address of /livez, /readyz and /metrics; empty for none")
	f.BoolVar(&o.NoDiscovery, "no-discovery", false, "look for no cameras; serve those that the centre names")
	f.IntVar(&o.Width, "width", 64, "cameras at a time")
	f.BoolVar(&verbose, "verbose", false, "log each capture")
	for _, name := range []string{"data", "server"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is defined just above
		}
	}
	return cmd
}
