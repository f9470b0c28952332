package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/finding"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// discoverReport is what `bench discover` prints: the median round.
type discoverReport struct {
	ForS   float64 `json:"for_s"`
	Rounds int     `json:"rounds"`
	finding.Figures
	Peers map[string]peerWay `json:"peers"`
}

type peerWay struct {
	Via string `json:"via"`
	finding.Way
}

type benchDiscover struct {
	d       door
	cameras int
	length  time.Duration
	rounds  int
}

func benchDiscoverCommand() *cobra.Command {
	var b benchDiscover
	cmd := &cobra.Command{
		Use: "discover", Short: "Count the cameras that are found, and how soon, beside others' discovery", Args: noArgs,
		Long: `Start virtual cameras that answer WS-Discovery, mDNS and UPnP, and search for
them: how many are found by each way and how soon, whether they are merged into
as many devices as there are cameras, and how long it takes until they are
described and until each has given its first picture. The discovery of other
libraries then searches for the same cameras, one after the other, over and over
for as long; they are a program of their own: make bench-peers.

All of it runs in a network namespace with nothing but a loopback interface, so
that nothing is sent anywhere. It needs Linux, iproute2, and unprivileged user
namespaces or root. A figure is the median of the rounds.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := b.check(); err != nil {
				return err
			}
			return b.enter(cmd)
		},
	}
	f := cmd.PersistentFlags()
	f.IntVar(&b.cameras, "cameras", 36, "how many cameras, 1 to 99")
	f.DurationVar(&b.length, "for", 15*time.Second, "how long each searches at most")
	f.IntVar(&b.rounds, "rounds", 3, "how often everything is measured")
	f.StringVarP(&b.d.output, "output", "o", "table", "table, json or yaml")
	cmd.AddCommand(&cobra.Command{
		Use: "inside", Short: "Measure in this namespace; `bench discover` starts it", Hidden: true, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return b.inside(cmd) },
	})
	return cmd
}

func (b *benchDiscover) check() error {
	switch {
	case !slices.Contains([]string{"table", "json", "yaml"}, b.d.output):
		return usage("-o %s: want table, json or yaml", b.d.output)
	case b.cameras < 1 || b.cameras > 99:
		return usage("--cameras %d: want 1 to 99", b.cameras)
	case b.length < time.Second || b.rounds < 1:
		return usage("--for wants a second at least, --rounds one")
	}
	return nil
}

// enter runs this program again in a network of its own.
func (b *benchDiscover) enter(cmd *cobra.Command) error {
	if runtime.GOOS != "linux" {
		return errors.New("bench discover needs Linux: elsewhere what is sent by multicast would leave this machine")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := finding.Command(cmd.Context(), self, "bench", "discover", "inside",
		"--cameras", fmt.Sprint(b.cameras), "--for", b.length.String(), "--rounds", fmt.Sprint(b.rounds))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, cmd.ErrOrStderr()
	if err := c.Run(); err != nil {
		if c.ProcessState == nil {
			return fmt.Errorf("no network namespace here: %w: run it as root, or allow unprivileged user namespaces", err)
		}
		return fmt.Errorf("bench discover: %w (see above)", err)
	}
	var r discoverReport
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return fmt.Errorf("bench discover: %w", err)
	}
	return b.d.print(cmd, r, r.table)
}

// inside measures, and prints a report in JSON.
func (b *benchDiscover) inside(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := b.check(); err != nil {
		return err
	}
	if err := finding.Settle(ctx); err != nil {
		return err
	}
	var peers []finding.Peer
	path, ok := benchPeers("discover")
	if !ok {
		cmd.PrintErrf("no peers to compare with: there is no %s; build it with `make bench-peers`\n", path)
	} else {
		var err error
		if peers, err = finding.Peers(ctx, path); err != nil {
			return fmt.Errorf("%w; build it anew with `make bench-peers`", err)
		}
	}
	var own []finding.Figures
	ways := make([][]finding.Way, len(peers))
	began := time.Now()
	for round := range b.rounds {
		say := func(what string) {
			cmd.PrintErrf("%6s round %d of %d: %s\n", time.Since(began).Round(time.Second), round+1, b.rounds, what)
		}
		err := b.town(ctx, func(town *camtest.Town) error {
			say("shutterfleet")
			f, err := finding.Own(ctx, town, b.length)
			own = append(own, f)
			return err
		})
		if err != nil {
			return err
		}
		for i, p := range peers {
			err := b.town(ctx, func(town *camtest.Town) error {
				say(p.Name)
				w, err := p.Search(ctx, path, town, b.length)
				ways[i] = append(ways[i], w)
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	slices.SortFunc(own, func(a, b finding.Figures) int {
		return cmp.Or(cmp.Compare(a.Frames, b.Frames), cmp.Compare(b.FrameMS.Max, a.FrameMS.Max))
	})
	r := discoverReport{ForS: b.length.Seconds(), Rounds: b.rounds, Figures: own[(len(own)-1)/2], Peers: map[string]peerWay{}}
	for i, p := range peers {
		slices.SortFunc(ways[i], func(a, b finding.Way) int {
			return cmp.Or(cmp.Compare(a.Found, b.Found), cmp.Compare(b.LastMS, a.LastMS))
		})
		r.Peers[p.Name] = peerWay{Via: p.Via, Way: ways[i][(len(ways[i])-1)/2]}
	}
	return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
}

// town has f search cameras that nobody has met yet.
func (b *benchDiscover) town(ctx context.Context, f func(*camtest.Town) error) error {
	town, err := camtest.New(camtest.Options{Cameras: camtest.Many(b.cameras)})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- town.Run(ctx) }()
	select {
	case <-town.Ready():
		err = f(town)
	case err := <-ended:
		cancel()
		return err
	}
	cancel()
	return errors.Join(err, <-ended)
}

func (r *discoverReport) table(w *bytes.Buffer) {
	fmt.Fprintf(w, "%d cameras: %d found, %d devices, %d described, %d gave a picture\n\n", r.Cameras, r.Found, r.Devices, r.Described, r.Frames)
	fmt.Fprintf(w, "UNTIL\tMEDIAN\tLAST\n")
	for _, s := range []struct {
		name string
		finding.Spread
	}{{"found", r.FoundMS}, {"described", r.DescribedMS}, {"first picture", r.FrameMS}} {
		fmt.Fprintf(w, "%s\t%.0f ms\t%.0f ms\n", s.name, s.P50, s.Max)
	}
	fmt.Fprintf(w, "\nBY\tWAY\tFOUND\tFIRST\tLAST\t\n")
	line := func(by, via string, v finding.Way) {
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%.0f ms\t%.0f ms\t%s\n", by, via, v.Found, v.Present, v.FirstMS, v.LastMS, v.Error)
	}
	for _, via := range slices.Sorted(maps.Keys(r.Ways)) {
		line("shutterfleet", via, r.Ways[via])
	}
	for _, name := range slices.Sorted(maps.Keys(r.Peers)) {
		line(name, r.Peers[name].Via, r.Peers[name].Way)
	}
}
