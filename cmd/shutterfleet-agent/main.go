// Command shutterfleet-agent is the edge box's program: it finds cameras,
// photographs them when the centre ordered it, and delivers every outcome.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/edge"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/sweep"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := root(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "shutterfleet-agent:", err)
		os.Exit(1)
	}
}

func root(out, logs io.Writer) *cobra.Command {
	c := &cobra.Command{
		Use:           "shutterfleet-agent",
		Short:         "Photographs a site's cameras on time and accounts for every picture",
		SilenceUsage:  true,
		SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{
			DisableDefaultCmd: true,
		},
	}
	c.SetOut(out)
	c.AddCommand(run(logs), doctor(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), version)
			return err
		},
	})
	return c
}

func run(logs io.Writer) *cobra.Command {
	var o edge.Options
	var keyFile, level string
	var subnets []string
	c := &cobra.Command{
		Use:   "run --data DIR --server HOST:7443 --site-key-file F",
		Short: "Enrol at the first start, then work until stopped",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var lv slog.Level
			if err := lv.UnmarshalText([]byte(level)); err != nil {
				return fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
			}
			o.Log = slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: lv}))
			o.Version = version
			listed, err := readSubnets(c, subnets, o)
			if err != nil {
				return err
			}
			o.Subnets = listed
			key, err := readKey(keyFile)
			if err != nil {
				return err
			}
			o.SiteKey = key
			return work(c.Context(), o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.DataDir, "data", "", "folder for what must survive a restart (made when missing)")
	f.StringVar(&o.Server, "server", "", "the centre's agents' door, HOST:PORT; the port is 7443 unless it was changed there")
	f.StringVar(&keyFile, "site-key-file", "", "file with a site key from `shutterfleet keys create`; needed until it has enrolled")
	f.StringVar(&o.MachineListen, "machine-listen", "127.0.0.1:7491", "address for /livez, /readyz and /metrics; empty for none")
	f.StringVar(&o.FFmpeg, "ffmpeg", "", "the program that decodes H.265 and rare kinds of H.264 (default: ffmpeg on PATH)")
	f.BoolVar(&o.NoDiscovery, "no-discovery", false, "do not look for cameras; serve those the centre names")
	f.StringArrayVar(&subnets, "subnet", nil, "ask the addresses of this subnet one by one, for cameras behind a router: 10.2.0.0/24 or an address; may be given several times")
	f.IntVar(&o.SweepRate, "sweep-rate", 20, "addresses of --subnet per second, 1 to 1000; a /16 takes 55 minutes at 20")
	f.BoolVar(&o.SweepPorts, "sweep-ports", false, "connect to ports 80, 554, 8080, 443 and 8000 of addresses of --subnet that answer no probe")
	f.IntVar(&o.Width, "width", 0, "grabs at a time (default: as many as the site bears, 32 at first)")
	f.StringArrayVar(&o.Tags, "tag", nil, "a word for the centre about this box, for example gpu; may be given several times")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	for _, name := range []string{"data", "server"} {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is two lines above
		}
	}
	return c
}

// readSubnets reads what --subnet lists.
func readSubnets(c *cobra.Command, texts []string, o edge.Options) ([]netip.Prefix, error) {
	switch {
	case len(texts) == 0 && (c.Flags().Changed("sweep-rate") || o.SweepPorts):
		return nil, errors.New("--sweep-rate and --sweep-ports are about the subnets of --subnet: list one, for example --subnet 10.2.0.0/24")
	case len(texts) > 0 && o.NoDiscovery:
		return nil, errors.New("--subnet looks for cameras and --no-discovery does not: give one of them")
	}
	var out []netip.Prefix
	for _, s := range texts {
		p, err := sweep.ParseSubnet(s)
		if err != nil {
			return nil, fmt.Errorf("--subnet: %w", err)
		}
		out = append(out, p)
	}
	return out, nil
}

// readKey reads a site key file. A missing name is fine for an agent that has
// enrolled; the uplink tells when it is not.
func readKey(path string) (fleet.Secret, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("--site-key-file %s does not exist: write the text of `shutterfleet keys create --site S` into it", path)
	}
	if err != nil {
		return "", fmt.Errorf("--site-key-file: %w", err)
	}
	return fleet.Secret(b), nil
}

// work runs an agent until a signal comes. What is not delivered by then is
// delivered after the next start.
func work(ctx context.Context, o edge.Options) error {
	e, err := edge.New(o)
	if err != nil {
		return err
	}
	o.Log.Info("started", "version", o.Version, "server", o.Server, "machine_listen", e.MachineAddr())
	err = errors.Join(e.Run(ctx), e.Close())
	o.Log.Info("stopped", "err", err)
	return err
}
