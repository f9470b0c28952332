package wsdiscovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	probePort = 3702 // WS-Discovery (April 2005), section 2.4
	// probeWait is how long Probe waits in all. A device holds its answer back for
	// up to APP_MAX_DELAY, 500 ms (section 2.4); the second round leaves in the
	// middle, and a routed network takes its part.
	probeWait = 1200 * time.Millisecond
	// probeLinger is how long Probe waits for more once it has an answer: the
	// three kinds of probe left together.
	probeLinger = 150 * time.Millisecond
	// probeAnswers bounds the datagrams that one probed address is heard for.
	probeAnswers = 32
)

// ProbeOptions configure a Probe. The zero value is what the standard says.
type ProbeOptions struct {
	Port uint16        // default 3702
	Wait time.Duration // for answers, in all; default 1.2s
}

// Probe asks one address whether it is an ONVIF device, by unicast: for hosts
// behind a router, where multicast does not reach, and for looking at one host.
// It sends the three kinds of probe, again after half of the wait if nothing
// came, and returns what the address itself answered, the same only once;
// answers of other hosts do not count. What is no camera comes with Hint
// set. Silence is no error and gives nothing: a device need not answer unicast.
// An error means that nothing could be asked, or that ctx ended the wait.
func Probe(ctx context.Context, addr netip.Addr, o ProbeOptions) ([]fleet.Sighting, error) {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.IsUnspecified() || addr.IsMulticast() {
		return nil, fmt.Errorf("probe %v: not the address of a host", addr)
	}
	o.Port = cmp.Or(o.Port, probePort)
	o.Wait = cmp.Or(o.Wait, probeWait)
	network := "udp4"
	if addr.Is6() {
		network = "udp6"
	}
	// Not connected: some devices answer from another port than they were asked on.
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(ctx, network, ":0")
	if err != nil {
		return nil, fmt.Errorf("probe %v: %w", addr, err)
	}
	c := pc.(*net.UDPConn) // of a udp network
	defer func() { _ = c.Close() }()
	start := time.Now()
	deadline := start.Add(o.Wait)
	to := netip.AddrPortFrom(addr, o.Port)
	ask := func() (err error) {
		for _, k := range probeKinds {
			if _, sent := c.WriteToUDPAddrPort(k.message(uuid.NewString()), to); sent != nil {
				err = sent
			}
		}
		return err
	}
	if err := ask(); err != nil {
		return nil, fmt.Errorf("probe %v: %w", addr, err)
	}
	again := start.Add(o.Wait / 2)
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var (
		found []fleet.Sighting
		buf   = make([]byte, 16<<10) // four times the largest honest answer
	)
	for heard := 0; heard < probeAnswers; {
		until := deadline
		if again.Before(until) {
			until = again
		}
		_ = c.SetReadDeadline(until)
		if ctx.Err() != nil { // it may have ended before the deadline was set anew
			break
		}
		n, from, err := c.ReadFromUDPAddrPort(buf)
		now := time.Now()
		switch {
		case err == nil:
		case !now.Before(deadline), ctx.Err() != nil:
			return found, ended(ctx, addr, found)
		case errors.Is(err, os.ErrDeadlineExceeded) && len(found) == 0:
			again = deadline
			_ = ask() // the first round went out: a full queue now costs the second
			continue
		default:
			heard++ // an ICMP error of what was sent; no end of them is waited for
			continue
		}
		if a := from.Addr().Unmap(); a.WithZone("") != addr.WithZone("") {
			continue
		}
		heard++
		m, err := Parse(buf[:n])
		if err != nil || m.Kind != KindMatches {
			continue
		}
		for _, s := range sightings(m, addr, "", now) {
			if !slices.ContainsFunc(found, func(f fleet.Sighting) bool { return sameMatch(f, s) }) && len(found) < maxMatches {
				found = append(found, s)
			}
		}
		if len(found) > 0 {
			if linger := now.Add(probeLinger); linger.Before(deadline) {
				deadline = linger
			}
			again = deadline
		}
	}
	return found, ended(ctx, addr, found)
}

// ended returns why a probe without an answer ended too soon.
func ended(ctx context.Context, addr netip.Addr, found []fleet.Sighting) error {
	if err := context.Cause(ctx); err != nil && len(found) == 0 {
		return fmt.Errorf("probe %v: %w", addr, err)
	}
	return nil
}

// sameMatch reports whether two answers of one address say the same of the
// same device: firmware answers each kind of probe alike.
func sameMatch(a, b fleet.Sighting) bool {
	return a.Hint == b.Hint && slices.Equal(a.Claims, b.Claims) && slices.Equal(a.Endpoints, b.Endpoints)
}
