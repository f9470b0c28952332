package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/cmd/internal/swarm"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// swarmSays is one line of a swarm's standard output.
type swarmSays struct {
	Stats *swarm.Stats `json:"stats,omitempty"`
	Sent  *swarm.Sent  `json:"sent,omitempty"`
}

// statsEvery is how often a swarm tells its counts.
const statsEvery = 200 * time.Millisecond

// benchSwarmCommand is the agents' process of `bench fleet`. It reads the
// roster, then its standard input: the first line is the agents' door, the end
// of it tells the agents to close. It says what happens in lines of JSON.
func benchSwarmCommand() *cobra.Command {
	var o swarm.Options
	var roster string
	var from, until int64
	cmd := &cobra.Command{
		Use: "swarm", Hidden: true, Args: noArgs, Short: "Run the agents of bench fleet",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := swarm.ReadRoster(roster)
			if err != nil {
				return err
			}
			o.From, o.Until = fleet.Instant(from), fleet.Instant(until)
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			return runSwarm(cmd.Context(), r, o, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&roster, "roster", "", "file with the agents' identities")
	f.BoolVar(&o.Trusting, "trusting", false, "do not verify instructions")
	f.Int64Var(&from, "from", 0, "first nominal time that is measured, Unix ms")
	f.Int64Var(&until, "until", 0, "end of the nominal times that are measured, Unix ms")
	f.DurationVar(&o.Sample, "sample", 200*time.Millisecond, "least time between two reports that are told")
	return cmd
}

func runSwarm(ctx context.Context, r swarm.Roster, o swarm.Options, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	server, err := lines.ReadString('\n')
	if err != nil {
		return errors.New("bench swarm is started by bench fleet: its first line of input is the agents' door")
	}
	o.Server = strings.TrimSpace(server)
	var mu sync.Mutex // of enc
	enc := json.NewEncoder(out)
	say := func(m swarmSays) {
		mu.Lock()
		defer mu.Unlock()
		_ = enc.Encode(m) // who reads it is gone: the end of the input follows
	}
	o.Sent = func(s swarm.Sent) { say(swarmSays{Sent: &s}) }
	s, err := swarm.New(r, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // it ends with the input, which is this process's
		_, _ = io.Copy(io.Discard, lines)
		cancel()
	}()
	var wg sync.WaitGroup
	tell := func() {
		st := s.Stats()
		say(swarmSays{Stats: &st})
	}
	wg.Go(func() {
		tick := time.NewTicker(statsEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				tell()
			}
		}
	})
	err = s.Run(ctx)
	wg.Wait()
	tell()
	return err
}
