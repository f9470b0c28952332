package mdns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Limits of what one link's LAN may make us remember.
const (
	maxMessageBytes = 9000 // RFC 6762, section 17
	maxRecords      = 512  // in one message
	maxInstances    = 4096 // on one link
	maxHosts        = 4096
	maxHostAddrs    = 8
	maxPerHost      = 64 // instances announced for one host
	maxTTL          = 24 * time.Hour
	goodbyeAfter    = time.Second // RFC 6762, section 10.1
)

// Of a message's header (RFC 1035, section 4.1.1): its size, and the bit of its
// third byte that tells answers from questions.
const (
	headerBytes   = 12
	queryResponse = 0x80
)

// Record is one resource record as far as a browser needs it. Names are lower
// case with a final dot, as DNS compares them; Label keeps the instance's own
// spelling.
type Record struct {
	Type   uint16 // dns.TypePTR, TypeSRV, TypeTXT, TypeA or TypeAAAA
	Name   string
	Label  string // SRV, TXT and PTR: the instance name for people, unescaped
	Target string // PTR: the instance; SRV: the host
	Port   uint16
	Text   []string
	Addr   netip.Addr
	TTL    time.Duration // 0 is a goodbye
	Flush  bool          // the sender's whole set: older ones of its kind are over
}

// ErrMessage is wrapped by every error of Parse.
var ErrMessage = errors.New("not a multicast DNS response")

// Parse reads one datagram and returns the records that browsing is about.
// Queries are no error and give none.
func Parse(datagram []byte) ([]Record, error) {
	if len(datagram) > maxMessageBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", ErrMessage, len(datagram), maxMessageBytes)
	}
	if len(datagram) >= headerBytes && datagram[2]&queryResponse == 0 {
		return nil, nil // most of what is heard are questions: they cost nothing
	}
	var m dns.Msg
	if err := m.Unpack(datagram); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("%w: opcode %d, code %d", ErrMessage, m.Opcode, m.Rcode) // RFC 6762, sections 18.3 and 18.11
	}
	if n := len(m.Answer) + len(m.Ns) + len(m.Extra); n > maxRecords {
		return nil, fmt.Errorf("%w: %d records, at most %d are read", ErrMessage, n, maxRecords)
	}
	var out []Record
	for _, rr := range slices.Concat(m.Answer, m.Extra) {
		h := rr.Header()
		if h.Class&^(1<<15) != dns.ClassINET { // the top bit says "flush"
			continue
		}
		r := Record{Type: h.Rrtype, Name: canonical(h.Name), TTL: min(time.Duration(h.Ttl)*time.Second, maxTTL), Flush: h.Class&(1<<15) != 0}
		switch v := rr.(type) {
		case *dns.PTR:
			r.Target, r.Label = canonical(v.Ptr), label(v.Ptr)
		case *dns.SRV:
			r.Target, r.Port, r.Label = canonical(v.Target), v.Port, label(h.Name)
		case *dns.TXT:
			r.Text, r.Label = v.Txt, label(h.Name)
		case *dns.A:
			r.Addr, _ = netip.AddrFromSlice(v.A.To4())
		case *dns.AAAA:
			r.Addr, _ = netip.AddrFromSlice(v.AAAA.To16())
		default:
			continue
		}
		out = append(out, r)
	}
	return out, nil
}

func canonical(name string) string { return dns.CanonicalName(name) }

// label returns the first label of a name as people read it: the DNS text form
// escapes spaces and dots with backslashes and bytes as \DDD.
func label(name string) string {
	var b strings.Builder
	for i := 0; i < len(name) && name[i] != '.'; i++ {
		c := name[i]
		if c == '\\' && i+1 < len(name) {
			if i+3 < len(name) && isDigit(name[i+1]) && isDigit(name[i+2]) && isDigit(name[i+3]) {
				n := int(name[i+1]-'0')*100 + int(name[i+2]-'0')*10 + int(name[i+3]-'0')
				b.WriteByte(byte(n))
				i += 3
				continue
			}
			i++
			c = name[i]
		}
		b.WriteByte(c)
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, b.String()))
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// service is a type of service that cameras announce.
type service string

const (
	onvifService service = "_onvif._tcp.local."
	rtspService  service = "_rtsp._tcp.local."
	httpService  service = "_http._tcp.local."
	axisService  service = "_axis-video._tcp.local."
	psiaService  service = "_psia._tcp.local."
)

// services are what is browsed for.
var services = []service{onvifService, rtspService, axisService, psiaService, httpService}

// serviceOf returns the service that an instance name ends in.
func serviceOf(instance string) (service, bool) {
	for _, s := range services {
		if strings.HasSuffix(instance, "."+string(s)) && len(instance) > len(s)+1 {
			return s, true
		}
	}
	return "", false
}

// instance is one announced service, as complete as records made it.
type instance struct {
	name    string
	label   string
	service service
	host    string
	port    uint16
	text    []string
	expires time.Time
	srv     bool
	since   time.Time // when the SRV was first heard
	asked   time.Time // when the missing parts were last asked for
	told    bool      // a sighting went out
	ptrAt   time.Time // when its PTR was last heard, for ptrTTL
	ptrTTL  time.Duration
	from    netip.Addr
}

type address struct {
	addr    netip.Addr
	at      time.Time
	expires time.Time
}

// cache is what one link has told. It is pure: time comes in.
type cache struct {
	keep      time.Duration // nothing expires sooner after its last record
	instances map[string]*instance
	byHost    map[string]map[string]*instance // those with an SRV
	hosts     map[string][]address
}

func newCache(keep time.Duration) *cache {
	return &cache{keep: keep, instances: map[string]*instance{}, byHost: map[string]map[string]*instance{}, hosts: map[string][]address{}}
}

// add takes the records of one datagram and returns the names of the instances
// that they bear on, in order. What it takes does not grow with the cache, but
// for the instances of the hosts that are named, once each.
func (c *cache) add(rs []Record, from netip.Addr, now time.Time) (touched []string) {
	var moved []string // hosts with an address record
	until := func(r Record) time.Time { return now.Add(max(r.TTL, c.keep)) }
	for _, r := range rs {
		switch r.Type {
		case dns.TypePTR:
			if s, ok := serviceOf(r.Target); !ok || r.Name != string(s) {
				continue
			}
			if r.TTL == 0 {
				if i, ok := c.instances[r.Target]; ok {
					i.expires = now.Add(goodbyeAfter)
				}
				continue
			}
			if i := c.instance(r.Target, r.Label, from, now); i != nil {
				i.expires, i.ptrAt, i.ptrTTL = until(r), now, r.TTL
				touched = append(touched, i.name)
			}
		case dns.TypeSRV:
			if r.TTL == 0 {
				if i, ok := c.instances[r.Name]; ok {
					i.expires = now.Add(goodbyeAfter)
				}
				continue
			}
			if i := c.instance(r.Name, r.Label, from, now); i != nil && c.room(i, r.Target) {
				if !i.srv {
					i.since, i.asked = now, time.Time{} // its address is another question
				}
				c.place(i, r.Target)
				i.srv, i.port, i.expires = true, r.Port, until(r)
				touched = append(touched, i.name)
			}
		case dns.TypeTXT:
			if r.TTL == 0 {
				continue
			}
			if i := c.instance(r.Name, r.Label, from, now); i != nil {
				i.text, i.expires = r.Text, until(r)
				touched = append(touched, i.name)
			}
		case dns.TypeA, dns.TypeAAAA:
			if r.Addr.IsValid() && c.address(r, until(r), now) && (len(moved) == 0 || moved[len(moved)-1] != r.Name) {
				moved = append(moved, r.Name)
			}
		}
	}
	slices.Sort(moved)
	for _, h := range slices.Compact(moved) {
		for name := range c.byHost[h] {
			touched = append(touched, name)
		}
	}
	slices.Sort(touched)
	return slices.Compact(touched)
}

func (c *cache) instance(name, text string, from netip.Addr, now time.Time) *instance {
	if i, ok := c.instances[name]; ok {
		i.from = from
		return i
	}
	s, ok := serviceOf(name)
	if !ok || len(c.instances) >= maxInstances {
		return nil
	}
	i := &instance{name: name, label: text, service: s, from: from, expires: now.Add(c.keep)}
	c.instances[name] = i
	return i
}

// room reports whether host may have one instance more.
func (c *cache) room(i *instance, host string) bool {
	return i.host == host || len(c.byHost[host]) < maxPerHost
}

// place puts i on host.
func (c *cache) place(i *instance, host string) {
	if i.host == host {
		return
	}
	c.displace(i)
	if c.byHost[host] == nil {
		c.byHost[host] = map[string]*instance{}
	}
	c.byHost[host][i.name] = i
	i.host = host
}

func (c *cache) displace(i *instance) {
	if on := c.byHost[i.host]; on != nil {
		if delete(on, i.name); len(on) == 0 {
			delete(c.byHost, i.host)
		}
	}
}

// address notes where a host is and reports whether it is there.
func (c *cache) address(r Record, until, now time.Time) bool {
	list := c.hosts[r.Name]
	if r.Flush && r.TTL > 0 {
		for k, a := range list {
			if a.addr != r.Addr && a.addr.Is4() == r.Addr.Is4() && now.Sub(a.at) > goodbyeAfter && a.expires.After(now.Add(goodbyeAfter)) {
				list[k].expires = now.Add(goodbyeAfter) // RFC 6762, section 10.2
			}
		}
	}
	at := slices.IndexFunc(list, func(a address) bool { return a.addr == r.Addr })
	switch {
	case r.TTL == 0:
		if at >= 0 {
			list[at].expires = now.Add(goodbyeAfter)
		}
		return false
	case at >= 0:
		list[at].at, list[at].expires = now, until
	case len(list) >= maxHostAddrs, len(list) == 0 && len(c.hosts) >= maxHosts:
		return false
	default:
		c.hosts[r.Name] = append(list, address{r.Addr, now, until})
	}
	return true
}

// expire forgets what is over and returns the instances among it. It looks at
// everything: once a second, not with each datagram.
func (c *cache) expire(now time.Time) (gone []*instance) {
	for name, i := range c.instances {
		if !now.Before(i.expires) {
			delete(c.instances, name)
			c.displace(i)
			gone = append(gone, i)
		}
	}
	for host, list := range c.hosts {
		list = slices.DeleteFunc(list, func(a address) bool { return !now.Before(a.expires) })
		if len(list) == 0 {
			delete(c.hosts, host)
		} else {
			c.hosts[host] = list
		}
	}
	slices.SortFunc(gone, func(a, b *instance) int { return strings.Compare(a.name, b.name) })
	return gone
}

// addresses returns where host is, in order.
func (c *cache) addresses(host string) []netip.Addr {
	var out []netip.Addr
	for _, a := range c.hosts[host] {
		out = append(out, a.addr)
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// missing returns the questions that would complete i.
func (c *cache) missing(i *instance) []dns.Question {
	switch {
	case !i.srv:
		return []dns.Question{{Name: i.name, Qtype: dns.TypeSRV, Qclass: dns.ClassINET}, {Name: i.name, Qtype: dns.TypeTXT, Qclass: dns.ClassINET}}
	case len(c.hosts[i.host]) == 0:
		return []dns.Question{{Name: i.host, Qtype: dns.TypeA, Qclass: dns.ClassINET}, {Name: i.host, Qtype: dns.TypeAAAA, Qclass: dns.ClassINET}}
	}
	return nil
}
