package camtest

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// mdnsTTL is the lifetime of records (RFC 6762, section 10: 120 s for those
// that name a host, 75 minutes for others; one will do here).
const mdnsTTL = 120

// mdnsResponder answers multicast DNS questions about services.
func mdnsResponder() *responder {
	return &responder{
		name:    "mdns",
		group:   &net.UDPAddr{IP: net.IPv4(224, 0, 0, 251), Port: 5353},
		from:    5353, // RFC 6762, section 11: others are ignored
		answers: mdnsAnswers,
		announce: func(c *camera, gone bool) [][]byte {
			ttl := uint32(mdnsTTL)
			if gone {
				ttl = 0
			}
			z := c.zone(ttl)
			m := dns.Msg{Compress: true}
			m.Response, m.Authoritative = true, true
			m.Answer = append(append(append(m.Answer, z.pointers...), z.services...), z.addresses...)
			b, err := m.Pack()
			if err != nil {
				return nil
			}
			return [][]byte{b}
		},
	}
}

// zone is all the records of a camera.
type zone struct {
	pointers  []dns.RR
	services  []dns.RR // SRV and TXT
	addresses []dns.RR
}

const flush = dns.ClassINET | 1<<15 // RFC 6762, section 10.2

func (c *camera) zone(ttl uint32) zone {
	i := c.info()
	host := c.Name + "-" + strings.ToLower(i.Serial) + ".local."
	var z zone
	z.addresses = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: host, Rrtype: dns.TypeA, Class: flush, Ttl: ttl}, A: i.Addr.AsSlice()}}
	add := func(service, at string) {
		u, err := url.Parse(at)
		if err != nil || at == "" {
			return
		}
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil {
			return
		}
		name := c.Vendor + `\ ` + c.Name + `\ ` + i.Serial[:min(4, len(i.Serial))] + "." + service
		z.pointers = append(z.pointers, &dns.PTR{Hdr: dns.RR_Header{Name: service, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: ttl}, Ptr: name})
		z.services = append(z.services,
			&dns.SRV{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeSRV, Class: flush, Ttl: ttl}, Port: uint16(port), Target: host},
			&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: flush, Ttl: ttl}, Txt: []string{
				"path=" + u.Path, "vendor=" + c.Vendor, "model=" + c.Model, "macaddress=" + i.MAC, "serial=" + i.Serial,
			}})
	}
	add("_onvif._tcp.local.", i.ONVIF)
	add("_rtsp._tcp.local.", i.RTSP)
	// A name may stand once per service: the better way to a picture has it.
	if i.Snapshot != "" {
		add("_http._tcp.local.", i.Snapshot)
	} else {
		add("_http._tcp.local.", i.MJPEG)
	}
	return z
}

// mdnsAnswers answers by unicast those who ask so or do not ask from port
// 5353, with the question repeated (RFC 6762, section 6.7), others by the group.
func mdnsAnswers(c *camera, question []byte, from netip.AddrPort) []reply {
	var q dns.Msg
	if q.Unpack(question) != nil || q.Response || len(q.Question) == 0 {
		return nil
	}
	known := map[string]bool{}
	for _, rr := range q.Answer {
		if p, ok := rr.(*dns.PTR); ok && p.Hdr.Ttl >= mdnsTTL/2 {
			known[dns.CanonicalName(p.Ptr)] = true
		}
	}
	z := c.zone(mdnsTTL)
	legacy := from.Port() != 5353
	m := dns.Msg{Compress: true}
	m.Response, m.Authoritative = true, true
	unicast := true
	extra := map[dns.RR]bool{}
	for _, asked := range q.Question {
		unicast = unicast && asked.Qclass&(1<<15) != 0
		name := dns.CanonicalName(asked.Name)
		is := func(rr dns.RR) bool {
			h := rr.Header()
			return dns.CanonicalName(h.Name) == name && (asked.Qtype == h.Rrtype || asked.Qtype == dns.TypeANY)
		}
		if name == "_services._dns-sd._udp.local." {
			for _, p := range z.pointers {
				m.Answer = append(m.Answer, &dns.PTR{Hdr: dns.RR_Header{Name: "_services._dns-sd._udp.local.", Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: mdnsTTL}, Ptr: p.Header().Name})
			}
		}
		for _, rr := range z.pointers {
			p := rr.(*dns.PTR)
			if !is(rr) || known[dns.CanonicalName(p.Ptr)] {
				continue
			}
			m.Answer = append(m.Answer, rr)
			for _, s := range z.services {
				if s.Header().Name == p.Ptr {
					extra[s] = true
				}
			}
			extra[z.addresses[0]] = true
		}
		for _, rr := range append(z.services, z.addresses...) {
			if is(rr) {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	if len(m.Answer) == 0 {
		return nil
	}
	for _, rr := range append(z.services, z.addresses...) {
		if extra[rr] {
			m.Extra = append(m.Extra, rr)
		}
	}
	if legacy {
		m.Id, m.Question = q.Id, q.Question
		for _, rr := range append(m.Answer, m.Extra...) {
			rr.Header().Class = dns.ClassINET // a resolver that knows no multicast DNS asks
			rr.Header().Ttl = min(rr.Header().Ttl, 10)
		}
	}
	b, err := m.Pack()
	if err != nil {
		return nil
	}
	return []reply{{data: b, group: !legacy && !unicast}}
}
