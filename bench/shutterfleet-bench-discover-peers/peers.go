package main

import (
	"context"
	"io"
	"log"
	"net/netip"
	"net/url"
	"time"

	go2rtcmdns "github.com/AlexxIT/go2rtc/pkg/mdns"
	go2rtconvif "github.com/AlexxIT/go2rtc/pkg/onvif"
	"github.com/hashicorp/mdns"
	"github.com/huin/goupnp/httpu"
	"github.com/huin/goupnp/ssdp"
	"github.com/use-go/onvif"
)

// services are what cameras announce by mDNS.
var services = []string{"_onvif._tcp", "_rtsp._tcp", "_http._tcp", "_axis-video._tcp", "_psia._tcp"}

func peers() []Peer {
	return []Peer{
		{Name: "use-go/onvif", Via: "wsdiscovery", search: useGo},
		{Name: "go2rtc/onvif", Via: "wsdiscovery", search: go2rtcONVIF},
		{Name: "hashicorp/mdns", Via: "mdns", search: hashicorp},
		{Name: "go2rtc/mdns", Via: "mdns", search: go2rtcMDNS},
		{Name: "huin/goupnp", Via: "upnp", search: goupnp},
	}
}

func useGo(_ context.Context, found func(netip.Addr)) error {
	devices, err := onvif.GetAvailableDevicesAtSpecificEthernetInterface("lo")
	for _, d := range devices {
		host(d.GetEndpoint("device"), found)
	}
	return err
}

func go2rtcONVIF(_ context.Context, found func(netip.Addr)) error {
	urls, err := go2rtconvif.DiscoveryStreamingURLs()
	for _, u := range urls {
		host(u, found)
	}
	return err
}

func hashicorp(ctx context.Context, found func(netip.Addr)) error {
	for _, s := range services {
		entries := make(chan *mdns.ServiceEntry, 256)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for e := range entries {
				if a, ok := netip.AddrFromSlice(e.AddrV4.To4()); ok {
					found(a)
				}
			}
		}()
		// With Interface set to the loopback one it finds nothing.
		err := mdns.QueryContext(ctx, &mdns.QueryParam{
			Service: s, Domain: "local", Timeout: time.Second, Entries: entries, DisableIPv6: true, Logger: log.New(io.Discard, "", 0),
		})
		close(entries)
		<-done
		if err != nil {
			return err
		}
	}
	return nil
}

func go2rtcMDNS(ctx context.Context, found func(netip.Addr)) error {
	for _, s := range services {
		err := go2rtcmdns.BasicDiscovery(s+".local.", func(e *go2rtcmdns.ServiceEntry) bool {
			if a, ok := netip.AddrFromSlice(e.IP.To4()); ok {
				found(a)
			}
			return ctx.Err() != nil
		})
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
	return nil
}

func goupnp(ctx context.Context, found func(netip.Addr)) error {
	c, err := httpu.NewHTTPUClientAddr("127.0.0.1")
	if err != nil {
		return err
	}
	defer c.Close()
	if left, ok := ctx.Deadline(); ok && time.Until(left) < 2*time.Second {
		<-ctx.Done() // it refuses to search for less
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answers, err := ssdp.RawSearch(ctx, c, ssdp.SSDPAll, 3)
	for _, a := range answers {
		host(a.Header.Get("Location"), found)
	}
	return err
}

func host(text string, found func(netip.Addr)) {
	u, err := url.Parse(text)
	if err != nil {
		return
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil {
		found(a.Unmap())
	}
}
