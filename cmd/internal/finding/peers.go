package finding

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// Peer is the discovery of a library that others wrote.
type Peer struct {
	Name string `json:"name"`
	Via  string `json:"via"`
}

// Peers lists those that the program at path has.
func Peers(ctx context.Context, path string) (list []Peer, err error) {
	out, err := exec.CommandContext(ctx, path).Output() //nolint:gosec // the operator names it
	if err == nil {
		err = json.Unmarshal(out, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return list, nil
}

// Search has a peer search for the town's cameras for d. A peer that crashes or
// hangs is no error: what it found until then counts, and Error says what
// happened.
func (p Peer) Search(ctx context.Context, path string, town *camtest.Town, d time.Duration) (Way, error) {
	ctx, cancel := context.WithTimeout(ctx, d+5*time.Second) // most end a search of their own before
	defer cancel()
	cmd := exec.CommandContext(ctx, path, p.Name, d.String()) //nolint:gosec // the operator names it
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return Way{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	if err := cmd.Start(); err != nil {
		return Way{}, fmt.Errorf("%s: %w", p.Name, err)
	}
	heard := map[netip.Addr]time.Duration{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var f struct {
			Address netip.Addr
			MS      float64
		}
		if json.Unmarshal(lines.Bytes(), &f) == nil && f.MS <= d.Seconds()*1000 {
			heard[f.Address] = time.Duration(f.MS * float64(time.Millisecond))
		}
	}
	ended := cmd.Wait()
	w := WayOf(Present(town)[p.Via], heard)
	switch {
	case ctx.Err() != nil:
		w.Error = "it did not end in time"
	case ended != nil:
		w.Error, _, _ = strings.Cut(strings.TrimSpace(stderr.String()), "\n")
	}
	return w, nil
}
