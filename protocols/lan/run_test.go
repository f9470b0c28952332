package lan

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// TestHeldPort: while another program holds the group's port and does not share
// it, announcements are not heard; once it is free they are.
func TestHeldPort(t *testing.T) {
	group := netip.MustParseAddrPort("239.255.77.7:37077")
	lo, err := Loopback()
	if err != nil || len(lo) == 0 {
		t.Skipf("no loopback interface (err %v)", err)
	}
	holder, err := net.ListenUDP("udp4", &net.UDPAddr{IP: group.Addr().AsSlice(), Port: int(group.Port())})
	if err != nil {
		t.Skipf("the port of the test is taken: %v", err)
	}
	speaker, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 1, 241)})
	if err != nil {
		t.Fatal(err)
	}
	defer speaker.Close()
	p := ipv4.NewPacketConn(speaker)
	if err := p.SetMulticastInterface(&lo[0]); err != nil {
		t.Fatal(err)
	}
	if err := p.SetMulticastLoopback(true); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // an announcement every tenth of a second, and the port is freed after five
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			_, _ = speaker.WriteToUDPAddrPort([]byte("here"), group)
			if n == 5 {
				holder.Close()
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	heard := false
	err = Run(ctx, Options{
		Interfaces: Loopback, Group4: group, Hops: 1, MaxBytes: 100, Probe: func(*Link, int) {},
		Heard: func(p Packet) {
			if p.Multicast && string(p.Data) == "here" {
				heard = true
				cancel()
			}
		},
	})
	if err != nil || !heard {
		t.Errorf("announcements are heard: %v, %v", heard, err)
	}
}
