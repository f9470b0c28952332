package camtest

import (
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// placed returns a camera that has its address and serves nothing.
func placed(t testing.TB) *camera {
	c, err := newCamera(Camera{Name: "gate", Scene: Gate, Protocols: []fleet.Protocol{fleet.ONVIF, fleet.RTSP, fleet.Snapshot}}, Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	c.settle(&block{first: netip.MustParseAddr("127.0.9.1")}, 3)
	c.addr = c.block.address(3, false)
	return c
}

func probe(types, scopes string) string {
	return `<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"><e:Header><w:MessageID>urn:uuid:1</w:MessageID></e:Header><e:Body><d:Probe><d:Types>` +
		types + `</d:Types><d:Scopes>` + scopes + `</d:Scopes></d:Probe></e:Body></e:Envelope>`
}

var wsQuestions = []struct {
	name, in string
	want     int
}{
	{"anything", probe("", ""), 1},
	{"transmitter", probe("dn:NetworkVideoTransmitter", ""), 1},
	{"device", probe("tds:Device", ""), 1},
	{"printer", probe("p:Printer", ""), 0},
	{"scope", probe("", "onvif://www.onvif.org/Profile"), 1},
	{"exact scope", probe("", "onvif://www.onvif.org/name/gate"), 1},
	{"another's scope", probe("", "onvif://www.onvif.org/name/gat"), 0},
	{"empty", "", 0},
	{"junk", "hello", 0},
	{"no id", `<Envelope><Body><Probe/></Body></Envelope>`, 0},
}

func TestWSAnswers(t *testing.T) {
	c := placed(t)
	for _, tc := range wsQuestions {
		got := wsAnswers(c, []byte(tc.in), netip.AddrPort{})
		if len(got) != tc.want {
			t.Errorf("%s: %d answers, want %d", tc.name, len(got), tc.want)
		}
		for _, r := range got {
			if s := string(r.data); !strings.Contains(s, "<w:RelatesTo>urn:uuid:1</w:RelatesTo>") || !strings.Contains(s, c.epr()) {
				t.Errorf("%s: %s", tc.name, s)
			}
		}
	}
	resolve := `<Envelope><Header><MessageID>urn:uuid:1</MessageID></Header><Body><Resolve><EndpointReference><Address>` + c.epr() + `</Address></EndpointReference></Resolve></Body></Envelope>`
	if got := wsAnswers(c, []byte(resolve), netip.AddrPort{}); len(got) != 1 || !strings.Contains(string(got[0].data), "ResolveMatches") {
		t.Errorf("Resolve: %v", got)
	}
}

func search(st string) string {
	return "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: " + st + "\r\n\r\n"
}

var ssdpQuestions = []struct {
	in   string
	want int
}{
	{search("ssdp:all"), 3}, {search("upnp:rootdevice"), 1}, {search(upnpCamera), 1}, {search("urn:schemas-upnp-org:device:Printer:1"), 0},
	{"", 0}, {"M-SEARCH * ", 0}, {"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\n\r\n", 0}, {"NOTIFY * HTTP/1.1\r\n\r\n", 0},
}

func TestSSDPAnswers(t *testing.T) {
	c := placed(t)
	for _, tc := range ssdpQuestions {
		if got := ssdpAnswers(c, []byte(tc.in), netip.AddrPort{}); len(got) != tc.want {
			t.Errorf("%.60q: %d answers, want %d", tc.in, len(got), tc.want)
		}
	}
}

func ask(t testing.TB, class uint16, known []dns.RR, names ...string) []byte {
	m := dns.Msg{Answer: known}
	m.Id = 77
	for _, n := range names {
		m.Question = append(m.Question, dns.Question{Name: n, Qtype: dns.TypePTR, Qclass: class})
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMDNSAnswers(t *testing.T) {
	c, err := newCamera(Camera{Name: "gate", Scene: Gate, Protocols: []fleet.Protocol{fleet.RTSP, fleet.Snapshot}}, Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	b := &block{first: netip.MustParseAddr("127.0.211.1")}
	c.settle(b, 0)
	if err := c.start(); err != nil {
		t.Fatal(err)
	}
	defer c.stop()
	legacy, member := netip.MustParseAddrPort("127.0.0.1:40000"), netip.MustParseAddrPort("127.0.0.1:5353")
	for _, tc := range []struct {
		name    string
		q       []byte
		from    netip.AddrPort
		answers int
		group   bool
	}{
		{"one service", ask(t, 1, nil, "_rtsp._tcp.local."), legacy, 1, false},
		{"two services", ask(t, 1, nil, "_rtsp._tcp.local.", "_http._tcp.local."), member, 2, true},
		{"asked for unicast", ask(t, 1|1<<15, nil, "_rtsp._tcp.local."), member, 1, false},
		{"types", ask(t, 1, nil, "_services._dns-sd._udp.local."), legacy, 2, false},
		{"known", ask(t, 1, c.zone(120).pointers, "_rtsp._tcp.local."), member, 0, false},
		{"other", ask(t, 1, nil, "_ipp._tcp.local."), legacy, 0, false},
		{"junk", []byte("hello"), legacy, 0, false},
		{"empty", nil, legacy, 0, false},
	} {
		got := mdnsAnswers(c, tc.q, tc.from)
		if len(got) == 0 && tc.answers == 0 {
			continue
		}
		var m dns.Msg
		if len(got) != 1 || m.Unpack(got[0].data) != nil || len(m.Answer) != tc.answers || got[0].group != tc.group {
			t.Errorf("%s: %v, want %d answers, to the group %v", tc.name, m.String(), tc.answers, tc.group)
			continue
		}
		if tc.from == legacy {
			if m.Id != 77 || len(m.Question) == 0 {
				t.Errorf("%s: an answer to a plain resolver repeats id and question: %v", tc.name, m.String())
			}
			for _, rr := range slices.Concat(m.Answer, m.Extra) {
				if rr.Header().Class != dns.ClassINET || rr.Header().Ttl > 10 {
					t.Errorf("%s: %v", tc.name, rr)
				}
			}
		}
	}
}

func FuzzAnswers(f *testing.F) {
	for _, q := range wsQuestions {
		f.Add([]byte(q.in))
	}
	for _, q := range ssdpQuestions {
		f.Add([]byte(q.in))
	}
	f.Add(ask(f, 1, nil, "_rtsp._tcp.local.", "_http._tcp.local."))
	c := placed(f)
	from := netip.MustParseAddrPort("127.0.0.1:40000")
	f.Fuzz(func(t *testing.T, q []byte) {
		for _, answers := range []func(*camera, []byte, netip.AddrPort) []reply{wsAnswers, ssdpAnswers, mdnsAnswers} {
			for _, r := range answers(c, q, from) {
				if len(r.data) > maxDatagram {
					t.Errorf("%d bytes answer %d", len(r.data), len(q))
				}
			}
		}
	})
}

func TestDigestNonces(t *testing.T) {
	now := time.Now()
	d, other := newDigest("r", false, func() time.Time { return now }), newDigest("r", false, func() time.Time { return now })
	n := d.nonce()
	if ours, good := d.fresh(n); !ours || !good {
		t.Error("a new nonce is not good")
	}
	if ours, _ := other.fresh(n); ours {
		t.Error("another camera's nonce counts as ours")
	}
	now = now.Add(nonceLife)
	if ours, good := d.fresh(n); !ours || good {
		t.Error("an old nonce is not stale")
	}
}

func FuzzDigest(f *testing.F) {
	d := newDigest("r", false, time.Now)
	for _, s := range []string{"", "Digest ", `Digest username="viewer", realm="r", nonce="a.b", uri="/", qop=auth, nc=1, cnonce="c", response="d"`, `Digest a="\"`, `Digest a=,b="`, "Basic dmlld2Vy"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := &http.Request{Method: http.MethodGet, RequestURI: "/", Header: http.Header{"Authorization": {s}}}
		if d.check(r, "viewer", "secret") == rightLogin {
			t.Errorf("%q was let in", s)
		}
	})
}
