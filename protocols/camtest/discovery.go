package camtest

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
	"golang.org/x/net/ipv4"

	"github.com/shutterfleet/shutterfleet/fleet"
)

var (
	wsdGroup  = netip.MustParseAddrPort("239.255.255.250:3702")
	ssdpGroup = netip.MustParseAddrPort("239.255.255.250:1900")
)

func loopback() (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Flags&net.FlagLoopback != 0 {
			return &all[i], nil
		}
	}
	return nil, errors.New("this machine has no loopback interface")
}

// announce makes the cameras known, on loopback alone, until ctx ends.
func (t *Town) announce(ctx context.Context) error {
	lo, err := loopback()
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range []struct {
		group  netip.AddrPort
		answer func(*virtual, []byte) [][]byte
		hello  func(*virtual) []byte
		bye    func(*virtual) []byte
		via    fleet.Via
	}{
		{wsdGroup, (*virtual).wsdAnswer, func(c *virtual) []byte { return c.wsdNotice("Hello") }, func(c *virtual) []byte { return c.wsdNotice("Bye") }, fleet.ViaWSDiscovery},
		{ssdpGroup, (*virtual).ssdpAnswer, func(c *virtual) []byte { return c.ssdpNotice("ssdp:alive") }, func(c *virtual) []byte { return c.ssdpNotice("ssdp:byebye") }, fleet.ViaUPnP},
	} {
		r, err := newResponder(ctx, t, lo, p.group, p.via)
		if err != nil {
			return fmt.Errorf("multicast on %s: %w", lo.Name, err)
		}
		wg.Go(func() { r.run(ctx, p.answer, p.hello, p.bye) })
	}
	srv, err := mdns.NewServer(&mdns.Config{Zone: zone{t}, Iface: lo, Logger: log.New(io.Discard, "", 0)})
	if err != nil {
		return fmt.Errorf("mDNS on %s: %w", lo.Name, err)
	}
	<-ctx.Done()
	return srv.Shutdown()
}

// responder answers one multicast protocol for all cameras that speak it. Each
// camera answers from its own address.
type responder struct {
	town  *Town
	group *net.UDPAddr
	in    net.PacketConn
	conn  *ipv4.PacketConn // over in; it knows the interface of each datagram
	via   fleet.Via
	lo    *net.Interface
}

func newResponder(ctx context.Context, t *Town, lo *net.Interface, group netip.AddrPort, via fleet.Via) (*responder, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var serr error
		err := c.Control(func(fd uintptr) {
			serr = errors.Join(syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1), reusePort(int(fd)))
		})
		return errors.Join(err, serr)
	}}
	in, err := lc.ListenPacket(ctx, "udp4", group.String())
	if err != nil {
		return nil, err
	}
	r := &responder{town: t, group: net.UDPAddrFromAddrPort(group), in: in, via: via, lo: lo}
	p := ipv4.NewPacketConn(in)
	r.conn = p
	if err := errors.Join(p.JoinGroup(lo, r.group), p.SetControlMessage(ipv4.FlagInterface, true)); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return r, nil
}

// send sends from the camera's address: to the group on loopback, or to one.
func (r *responder) send(c *virtual, to *net.UDPAddr, msgs ...[]byte) {
	c.mu.Lock()
	addr := c.addr
	c.mu.Unlock()
	conn, err := net.ListenPacket("udp4", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return
	}
	defer conn.Close() //nolint:errcheck // a datagram has left or it has not
	p := ipv4.NewPacketConn(conn)
	if errors.Join(p.SetMulticastInterface(r.lo), p.SetMulticastTTL(0), p.SetMulticastLoopback(true)) != nil {
		return
	}
	for _, m := range msgs {
		_, _ = conn.WriteTo(m, to) //nolint:errcheck // as on any network, it may be lost
	}
}

func (r *responder) run(ctx context.Context, answer func(*virtual, []byte) [][]byte, hello, bye func(*virtual) []byte) {
	defer r.in.Close() //nolint:errcheck // the end
	stop := context.AfterFunc(ctx, func() { _ = r.in.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	each := func(f func(*virtual)) {
		for _, c := range r.town.cameras {
			if c.foundBy(r.via) && !c.has(Silent) {
				f(c)
			}
		}
	}
	each(func(c *virtual) { r.send(c, r.group, hello(c)) })
	defer each(func(c *virtual) { r.send(c, r.group, bye(c)) })
	buf := make([]byte, 64<<10)
	for {
		n, cm, from, err := r.conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return
		}
		if err != nil || cm == nil || cm.IfIndex != r.lo.Index {
			continue // what came over another interface is not ours
		}
		to, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		each(func(c *virtual) {
			if msgs := answer(c, buf[:n]); len(msgs) > 0 {
				r.send(c, to, msgs...)
			}
		})
	}
}

// --- WS-Discovery -------------------------------------------------------------

const wsdHead = `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">`

func (c *virtual) wsdBody() string {
	x := "http://" + c.info().Addr.String() + "/"
	if u, ok := c.info().URLs[OfferONVIF]; ok {
		x = u
	}
	return `<a:EndpointReference><a:Address>urn:uuid:` + c.uuid + `</a:Address></a:EndpointReference><d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types><d:Scopes>` + strings.Join(c.scopes(), " ") + `</d:Scopes><d:XAddrs>` + x + `</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>`
}

func (c *virtual) wsdNotice(kind string) []byte {
	return []byte(wsdHead + `<s:Header><a:MessageID>urn:uuid:` + c.uuid + `</a:MessageID><a:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</a:To><a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/` + kind + `</a:Action></s:Header><s:Body><d:` + kind + `>` + c.wsdBody() + `</d:` + kind + `></s:Body></s:Envelope>`)
}

func (c *virtual) wsdAnswer(probe []byte) [][]byte {
	var m struct {
		ID    string `xml:"Header>MessageID"`
		Probe *struct {
			Types string `xml:"Types"`
		} `xml:"Body>Probe"`
	}
	if xml.Unmarshal(probe, &m) != nil || m.Probe == nil {
		return nil
	}
	if t := m.Probe.Types; t != "" && !strings.Contains(t, "NetworkVideoTransmitter") && !strings.Contains(t, "Device") {
		return nil
	}
	var id bytes.Buffer
	if xml.EscapeText(&id, []byte(m.ID)) != nil {
		return nil
	}
	return [][]byte{[]byte(wsdHead + `<s:Header><a:MessageID>urn:uuid:` + c.uuid + `</a:MessageID><a:RelatesTo>` + id.String() + `</a:RelatesTo><a:To>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</a:To><a:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</a:Action></s:Header><s:Body><d:ProbeMatches><d:ProbeMatch>` + c.wsdBody() + `</d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>`)}
}

// --- SSDP ---------------------------------------------------------------------

const cameraType = "urn:schemas-upnp-org:device:DigitalSecurityCamera:1"

func (c *virtual) location() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return "http://" + c.http + "/device.xml"
}

func (c *virtual) ssdpAnswer(msg []byte) [][]byte {
	text := string(msg)
	if !strings.HasPrefix(text, "M-SEARCH ") {
		return nil
	}
	st := ""
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(k, "ST") {
			st = strings.TrimSpace(v)
		}
	}
	switch st {
	case "ssdp:all", "upnp:rootdevice", cameraType:
	default:
		if !strings.Contains(st, "DigitalSecurityCamera") && !strings.Contains(st, "Basic") {
			return nil
		}
	}
	if st == "ssdp:all" {
		st = "upnp:rootdevice"
	}
	return [][]byte{fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLOCATION: %s\r\nSERVER: Linux/5 UPnP/1.0 Camtest/1\r\nST: %s\r\nUSN: uuid:%s::%s\r\n\r\n", c.location(), st, c.uuid, st)}
}

func (c *virtual) ssdpNotice(nts string) []byte {
	return fmt.Appendf(nil, "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\nLOCATION: %s\r\nNT: upnp:rootdevice\r\nNTS: %s\r\nSERVER: Linux/5 UPnP/1.0 Camtest/1\r\nUSN: uuid:%s::upnp:rootdevice\r\n\r\n", c.location(), nts, c.uuid)
}

// --- mDNS ---------------------------------------------------------------------

// zone answers for all cameras that are announced by mDNS.
type zone struct{ t *Town }

type service struct {
	kind, path string
	port       uint16
}

func (c *virtual) services() (out []service) {
	i := c.info()
	for _, o := range []struct {
		offer Offer
		kind  string
	}{{OfferONVIF, "_onvif._tcp.local."}, {OfferRTSPJPEG, "_rtsp._tcp.local."}, {OfferRTSPH264, "_rtsp._tcp.local."}, {OfferSnapshot, "_http._tcp.local."}, {OfferMJPEG, "_http._tcp.local."}} {
		if text, ok := i.URLs[o.offer]; ok {
			u, err := url.Parse(text)
			if err != nil {
				continue
			}
			ap, err := netip.ParseAddrPort(u.Host)
			if err != nil {
				continue
			}
			out = append(out, service{o.kind, u.Path, ap.Port()})
		}
	}
	return out
}

// Records implements mdns.Zone.
func (z zone) Records(q dns.Question) (rrs []dns.RR) {
	const ttl = 120
	for _, c := range z.t.cameras {
		if !c.foundBy(fleet.ViaMDNS) || c.has(Silent) {
			continue
		}
		host := c.Name + ".local."
		a := &dns.A{Hdr: dns.RR_Header{Name: host, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: net.IP(c.info().Addr.AsSlice())}
		if strings.EqualFold(q.Name, host) && (q.Qtype == dns.TypeA || q.Qtype == dns.TypeANY) {
			rrs = append(rrs, a)
		}
		for _, s := range c.services() {
			name := c.Name + "." + s.kind
			ptr := &dns.PTR{Hdr: dns.RR_Header{Name: s.kind, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}, Ptr: name}
			srv := &dns.SRV{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: ttl}, Port: s.port, Target: host}
			txt := &dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: ttl}, Txt: []string{"path=" + s.path, "vendor=" + Vendor, "model=" + c.Model, "macaddress=" + c.mac.String()}}
			switch {
			case strings.EqualFold(q.Name, s.kind) && (q.Qtype == dns.TypePTR || q.Qtype == dns.TypeANY):
				rrs = append(rrs, ptr, srv, txt, a)
			case strings.EqualFold(q.Name, name):
				rrs = append(rrs, srv, txt, a)
			}
		}
	}
	return rrs
}
