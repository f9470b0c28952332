// Command shutterfleet-bench-discover-peers searches for cameras with the
// discovery that others wrote, as their users call it, over and over.
// `shutterfleet bench discover` starts it in a network namespace of its own:
//
//	shutterfleet-bench-discover-peers             its peers, as a JSON array
//	shutterfleet-bench-discover-peers NAME 10s    a JSON line for each camera that it finds
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
)

// Peer is one library's discovery.
type Peer struct {
	Name string `json:"name"`
	Via  string `json:"via"`

	// search searches once, on the only interface there is, for as long as it
	// does by itself, and calls found as soon as the library tells.
	search func(ctx context.Context, found func(netip.Addr)) error
}

// Found is one line: a camera that was not found before.
type Found struct {
	Address netip.Addr `json:"address"`
	MS      float64    `json:"ms"` // since the start
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "shutterfleet-bench-discover-peers:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	out := json.NewEncoder(os.Stdout)
	switch len(args) {
	case 0:
		return out.Encode(peers())
	case 2:
	default:
		return errors.New("want NAME and a duration")
	}
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	for _, p := range peers() {
		if p.Name != args[0] {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), d)
		defer cancel()
		began := time.Now()
		seen := map[netip.Addr]bool{}
		found := func(a netip.Addr) {
			if seen[a] {
				return
			}
			seen[a] = true
			_ = out.Encode(Found{Address: a, MS: time.Since(began).Seconds() * 1000}) // who reads it has gone: so do we, soon
		}
		for ctx.Err() == nil {
			if err := p.search(ctx, found); err != nil && ctx.Err() == nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("no peer is called %q", args[0])
}
