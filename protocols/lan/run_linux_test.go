package lan

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/protocols/lan/lantest"
)

// TestInterfacesComeAndGo runs in a network of its own, where interfaces come,
// change their addresses, go down and go: each is probed in both families from
// the address it has, within a scan, and closed once it is no more.
func TestInterfacesComeAndGo(t *testing.T) {
	if !lantest.InNamespace(t) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	events := make(chan string, 256)
	tell := func(what string, l *Link) {
		for _, p := range l.Prefixes {
			if p.Addr().Is4() || p.Addr().IsLinkLocalUnicast() {
				events <- fmt.Sprintf("%s %s %s", what, l.Name, p.Addr())
			}
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		err := Run(ctx, Options{
			Group4: netip.MustParseAddrPort("239.255.77.8:37078"), Group6: netip.MustParseAddrPort("[ff02::7708]:37078"), Hops: 1, MaxBytes: 100,
			Probe: func(l *Link, round int) {
				if round == 0 {
					l.Send([]byte("probe"))
					tell("probed", l)
				}
			},
			Heard:  func(Packet) {},
			Closed: func(l *Link) { tell("closed", l) },
		})
		if err != nil {
			t.Error(err)
		}
	})
	for _, step := range []struct {
		do   []string
		want []string
	}{
		{[]string{"link set lo up"}, []string{"probed lo 127.0.0.1"}},
		{[]string{"link add cam0 type veth peer name far0", "link set far0 addrgenmode none", "link set cam0 addrgenmode none", "link set far0 up", "link set cam0 up", "addr add 10.9.0.1/24 dev cam0", "addr add fe80::5/64 dev cam0 nodad"},
			[]string{"probed cam0 10.9.0.1", "probed cam0 fe80::5"}},
		{[]string{"addr del 10.9.0.1/24 dev cam0", "addr add 10.9.7.1/24 dev cam0"}, []string{"closed cam0 10.9.0.1", "probed cam0 10.9.7.1"}},
		{[]string{"addr add 10.8.0.1/24 dev far0"}, []string{"probed far0 10.8.0.1"}},
		{[]string{"link set cam0 down"}, []string{"closed cam0 10.9.7.1", "closed cam0 fe80::5"}},
		{[]string{"link set cam0 up", "addr add fe80::6/64 dev cam0 nodad"}, []string{"probed cam0 10.9.7.1", "probed cam0 fe80::6"}},
		{[]string{"link del cam0"}, []string{"closed cam0 10.9.7.1", "closed cam0 fe80::6", "closed far0 10.8.0.1"}},
	} {
		for _, args := range step.do {
			lantest.IP(t, args)
		}
		missing := map[string]bool{}
		for _, w := range step.want {
			missing[w] = true
		}
		for late := time.After(time.Minute); len(missing) > 0; {
			select {
			case e := <-events:
				delete(missing, e) // a scan between two commands sees what is half done
			case <-late:
				t.Fatalf("after %s: %v did not happen", strings.Join(step.do, "; "), missing)
			}
		}
	}
}
