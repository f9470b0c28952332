package mdns

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/lan"
)

var epoch = time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC)

func packed(t testing.TB, response bool, rrs ...string) []byte {
	t.Helper()
	m := dns.Msg{MsgHdr: dns.MsgHdr{Response: response}, Compress: true}
	for _, s := range rrs {
		rr, err := dns.NewRR(s)
		if err != nil {
			t.Fatal(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answers are datagrams as rows of records: tests, and seeds of the fuzz target.
var answers = []struct {
	name string
	rrs  []string
	want int // records
}{
	{"a whole service", []string{
		`_rtsp._tcp.local. 120 IN PTR Gate\ \.1._rtsp._tcp.local.`, `Gate\ \.1._rtsp._tcp.local. 120 IN SRV 0 0 554 Cam-1.local.`,
		`Gate\ \.1._rtsp._tcp.local. 120 IN TXT "path=/a" "PATH=/b" "flag" "=x" "model=M\195\169"`, `cam-1.local. 120 IN A 10.0.0.7`, `cam-1.local. 120 IN AAAA fe80::7`}, 5},
	{"an empty TXT", []string{`x._rtsp._tcp.local. 120 IN TXT ""`}, 1},
	{"a goodbye", []string{`_rtsp._tcp.local. 0 IN PTR x._rtsp._tcp.local.`}, 1},
	{"other types", []string{`cam-1.local. 120 IN HINFO "a" "b"`, `cam-1.local. 120 IN NSEC a.local. A`}, 0},
	{"nothing", nil, 0},
}

func TestParse(t *testing.T) {
	for _, a := range answers {
		rs, err := Parse(packed(t, true, a.rrs...))
		if err != nil || len(rs) != a.want {
			t.Errorf("%s: Parse = %+v, %v; want %d records", a.name, rs, err, a.want)
		}
	}
	if rs, err := Parse(packed(t, false, answers[0].rrs...)); err != nil || rs != nil {
		t.Errorf("a query gives %v, %v", rs, err)
	}
	var many []string
	for i := range maxRecords + 1 {
		many = append(many, fmt.Sprintf("a.local. 1 IN A 10.0.%d.%d", i>>8, i&255))
	}
	for name, in := range map[string][]byte{
		"empty": nil, "text": []byte("hello"), "too large": make([]byte, maxMessageBytes+1), "too many": packed(t, true, many...),
	} {
		if rs, err := Parse(in); !errors.Is(err, ErrMessage) {
			t.Errorf("%s: Parse = %v, %v; want ErrMessage", name, rs, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, a := range answers {
		f.Add(packed(f, true, a.rrs...))
	}
	for _, th := range things {
		f.Add(packed(f, true, th.rrs...))
	}
	for _, unicast := range []bool{false, true} {
		b, err := browse(unicast, nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	l := &lan.Link{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}
	from := netip.MustParseAddr("10.0.0.9")
	f.Fuzz(func(t *testing.T, in []byte) {
		rs, err := Parse(in)
		if err != nil {
			return
		}
		c := newCache(time.Minute)
		for _, now := range []time.Time{epoch, epoch.Add(time.Minute)} {
			touched := c.add(rs, from, now)
			gone := c.expire(now)
			checkIndex(t, c)
			c.followUp(touched, now)
			for _, s := range append(c.sightings(touched, l, now), c.goodbyes(gone, l, now)...) {
				if !l.Near(s.Source) {
					t.Fatalf("source %v is no neighbour", s.Source)
				}
				for _, e := range s.Endpoints {
					if _, rest, ok := strings.Cut(e.URL, "://"); !ok || !strings.HasPrefix(rest, s.Source.String()) {
						t.Fatalf("endpoint %q leads away from %v", e.URL, s.Source)
					}
				}
			}
		}
		if b, err := browse(false, c.known(epoch)); err == nil && len(b) > 64<<10 {
			t.Fatalf("a query of %d bytes", len(b))
		}
	})
}

func feed(t *testing.T, c *cache, at time.Duration, rrs ...string) []string {
	t.Helper()
	rs, err := Parse(packed(t, true, rrs...))
	if err != nil {
		t.Fatal(err)
	}
	return c.add(rs, netip.MustParseAddr("10.0.0.7"), epoch.Add(at))
}

// checkIndex holds the index of instances by host to the instances.
func checkIndex(t testing.TB, c *cache) {
	t.Helper()
	n := 0
	for h, on := range c.byHost {
		if len(on) == 0 || len(on) > maxPerHost {
			t.Fatalf("%d instances on %s", len(on), h)
		}
		for name, i := range on {
			if n++; i != c.instances[name] || i.host != h || !i.srv {
				t.Fatalf("%s stands under %s: %+v", name, h, i)
			}
		}
	}
	for _, i := range c.instances {
		if i.srv {
			n--
		}
	}
	if n != 0 {
		t.Fatalf("%d instances too many stand under hosts", n)
	}
}

func TestCacheJoinsRecords(t *testing.T) {
	c := newCache(time.Minute)
	l := &lan.Link{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}
	touched := feed(t, c, 0, `_rtsp._tcp.local. 120 IN PTR Gate\ \.1._rtsp._tcp.local.`)
	if q := c.followUp(touched, epoch); q == nil {
		t.Error("the missing SRV is not asked for")
	}
	if q := c.followUp(touched, epoch.Add(time.Second)); q != nil {
		t.Error("it is asked for again within a second")
	}
	if s := c.sightings(touched, l, epoch); len(s) != 0 {
		t.Errorf("sightings of half a service: %+v", s)
	}
	feed(t, c, 0, answers[0].rrs[1], answers[0].rrs[2])
	touched = feed(t, c, 0, answers[0].rrs[3])
	s := c.sightings(touched, l, epoch)
	if len(s) != 1 || s[0].Name != "Gate .1" || s[0].Model != "Mé" || s[0].Endpoints[0].URL != "rtsp://10.0.0.7/a" || s[0].Claims[0].Value != "cam-1.local" {
		t.Errorf("sightings = %+v", s)
	}
}

func TestCacheLifetimes(t *testing.T) {
	c := newCache(150 * time.Second)
	feed(t, c, 0, answers[0].rrs...)
	if gone := c.expire(epoch.Add(149 * time.Second)); len(gone) != 0 {
		t.Errorf("gone before two repeats of the query: %v", gone)
	}
	if gone := c.expire(epoch.Add(150 * time.Second)); len(gone) != 1 {
		t.Errorf("gone after its life: %v, want it", gone)
	}
	if len(c.instances)+len(c.hosts)+len(c.byHost) != 0 {
		t.Errorf("left behind: %v %v %v", c.instances, c.hosts, c.byHost)
	}
	feed(t, c, 200*time.Second, answers[0].rrs...)
	feed(t, c, 201*time.Second, answers[2].rrs...) // another's goodbye
	feed(t, c, 201*time.Second, `_rtsp._tcp.local. 0 IN PTR Gate\ \.1._rtsp._tcp.local.`)
	if gone := c.expire(epoch.Add(201500 * time.Millisecond)); len(gone) != 0 {
		t.Error("a goodbye takes effect at once; it may be taken back within a second")
	}
	if gone := c.expire(epoch.Add(202 * time.Second)); len(gone) != 1 {
		t.Errorf("gone after its goodbye: %v, want it", gone)
	}
}

func TestAddressIsFlushed(t *testing.T) {
	c := newCache(time.Minute)
	feed(t, c, 0, answers[0].rrs...)
	rs, err := Parse(packed(t, true, `cam-1.local. 120 CLASS32769 A 10.0.0.8`))
	if err != nil || len(rs) != 1 || !rs[0].Flush {
		// The text form cannot spell the flush bit everywhere: set it by hand.
		rs = []Record{{Type: dns.TypeA, Name: "cam-1.local.", Addr: netip.MustParseAddr("10.0.0.8"), TTL: 120 * time.Second, Flush: true}}
	}
	c.add(rs, netip.MustParseAddr("10.0.0.8"), epoch.Add(10*time.Second))
	c.expire(epoch.Add(11 * time.Second))
	if got := c.addresses("cam-1.local."); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("10.0.0.8"), netip.MustParseAddr("fe80::7")}) {
		t.Errorf("addresses = %v, want the new one and the other family's", got)
	}
}

func TestCaps(t *testing.T) {
	c := newCache(time.Minute)
	for i := range maxInstances + 100 {
		feed(t, c, 0, fmt.Sprintf(`_rtsp._tcp.local. 120 IN PTR i%d._rtsp._tcp.local.`, i))
	}
	if len(c.instances) != maxInstances {
		t.Errorf("%d instances, want %d", len(c.instances), maxInstances)
	}
	c = newCache(time.Minute)
	for i := range 2 * maxPerHost {
		feed(t, c, 0, fmt.Sprintf(`i%d._rtsp._tcp.local. 120 IN SRV 0 0 554 h.local.`, i), fmt.Sprintf(`h.local. 120 IN A 10.0.0.%d`, i))
	}
	if n := len(c.on("h.local.")); n != maxPerHost {
		t.Errorf("%d instances on one host, want %d", n, maxPerHost)
	}
	if n := len(c.hosts["h.local."]); n != maxHostAddrs {
		t.Errorf("%d addresses of one host, want %d", n, maxHostAddrs)
	}
}

func TestEndpoints(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.7")
	for _, c := range []struct {
		s    service
		port uint16
		path string
		want []fleet.Endpoint
	}{
		{onvifService, 80, "", []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://10.0.0.7/onvif/device_service"}}},
		{onvifService, 8000, "onvif/services", []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://10.0.0.7:8000/onvif/services"}}},
		{rtspService, 554, "", []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://10.0.0.7/"}}},
		{rtspService, 8554, "/live?ch=1&x=%20", []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://10.0.0.7:8554/live?ch=1&x=%20"}}},
		{rtspService, 8554, "//evil/x", []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://10.0.0.7:8554/"}}},
		{rtspService, 8554, "http://evil/x", []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://10.0.0.7:8554/http://evil/x"}}},
		{rtspService, 0, "/", nil},
		{httpService, 80, "/", nil},
		{httpService, 80, "/snapshot.jpg", []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: "http://10.0.0.7/snapshot.jpg"}}},
		{httpService, 80, "/video.mjpg", []fleet.Endpoint{{Protocol: fleet.MJPEG, URL: "http://10.0.0.7/video.mjpg"}}},
		{psiaService, 80, "", []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: "http://10.0.0.7/PSIA/Streaming/channels/1/picture"}}},
	} {
		i := &instance{service: c.s, port: c.port}
		if got := i.endpoints(a, c.path); !slices.Equal(got, c.want) {
			t.Errorf("%s port %d path %q = %v, want %v", c.s, c.port, c.path, got, c.want)
		}
	}
	if got := urlOf("http", netip.MustParseAddr("fe80::7%eth0"), 8080, "/x"); got != "http://[fe80::7%25eth0]:8080/x" {
		t.Errorf("urlOf a link-local address = %q", got)
	}
}

// things are what hosts announce, in the shapes that the named public texts
// show: tests of what is a camera, and seeds of the fuzz target.
var things = []struct {
	name, source string
	rrs          []string
	hint         bool
	claims       []fleet.Claim // besides the host
}{
	{"a printer's page", "Apple, Bonjour Printing Specification 1.2.1: _http._tcp beside _ipp._tcp", []string{
		`_http._tcp.local. 120 IN PTR HP\ LaserJet._http._tcp.local.`, `HP\ LaserJet._http._tcp.local. 120 IN SRV 0 0 80 npi0a0b0c.local.`, `HP\ LaserJet._http._tcp.local. 120 IN TXT ""`}, true, nil},
	{"a NAS", "home-assistant/core components/synology_dsm/manifest.json and config_flow.py", []string{
		`_http._tcp.local. 120 IN PTR nas._http._tcp.local.`, `nas._http._tcp.local. 120 IN SRV 0 0 5000 nas.local.`,
		`nas._http._tcp.local. 120 IN TXT "vendor=Synology" "model=DS920+" "serial=2060ABC001" "secure_admin_port=5001" "mac_address=00:11:32:aa:bb:cc|00:11:32:aa:bb:cd"`}, true,
		[]fleet.Claim{{Kind: fleet.ClaimMAC, Value: "00:11:32:aa:bb:cc"}, {Kind: fleet.ClaimMAC, Value: "00:11:32:aa:bb:cd"}, {Kind: fleet.ClaimSerial, Value: "2060ABC001"}}},
	{"a relay", "home-assistant/core components/shelly/manifest.json: _http._tcp, name shelly*", []string{
		`_http._tcp.local. 120 IN PTR shelly1-AABBCC._http._tcp.local.`, `shelly1-AABBCC._http._tcp.local. 120 IN SRV 0 0 80 shelly1-AABBCC.local.`, `shelly1-AABBCC._http._tcp.local. 120 IN TXT "id=shelly1-AABBCC" "arch=esp8266"`}, true, nil},
	{"a router's page", "shape of OpenWrt umdns services: a daemon key in TXT", []string{
		`_http._tcp.local. 120 IN PTR OpenWrt._http._tcp.local.`, `OpenWrt._http._tcp.local. 120 IN SRV 0 0 80 openwrt.local.`, `OpenWrt._http._tcp.local. 120 IN TXT "daemon=uhttpd" "path=/cgi-bin/luci"`}, true, nil},
	{"a service that is not here", "RFC 6763, section 6: port 0", []string{
		`_rtsp._tcp.local. 120 IN PTR x._rtsp._tcp.local.`, `x._rtsp._tcp.local. 120 IN SRV 0 0 0 x.local.`, `x._rtsp._tcp.local. 120 IN TXT ""`}, true, nil},
	{"an Axis camera", "home-assistant/core components/axis/manifest.json: _axis-video._tcp with macaddress", []string{
		`_axis-video._tcp.local. 120 IN PTR AXIS\ M1065-L\ -\ ACCC8E010203._axis-video._tcp.local.`, `AXIS\ M1065-L\ -\ ACCC8E010203._axis-video._tcp.local. 120 IN SRV 0 0 80 axis-accc8e010203.local.`,
		`AXIS\ M1065-L\ -\ ACCC8E010203._axis-video._tcp.local. 120 IN TXT "macaddress=ACCC8E010203"`}, false, []fleet.Claim{{Kind: fleet.ClaimMAC, Value: "ac:cc:8e:01:02:03"}}},
	{"a stream", "avahi.service(5), example of _rtsp._tcp with path", []string{
		`_rtsp._tcp.local. 120 IN PTR Yard._rtsp._tcp.local.`, `Yard._rtsp._tcp.local. 120 IN SRV 0 0 554 yard.local.`, `Yard._rtsp._tcp.local. 120 IN TXT "path=/live"`}, false, nil},
	{"a picture on the web", "RFC 6763, section 6.4 and the path key of _http._tcp in the IANA service registry", []string{
		`_http._tcp.local. 120 IN PTR Cam._http._tcp.local.`, `Cam._http._tcp.local. 120 IN SRV 0 0 8080 cam.local.`, `Cam._http._tcp.local. 120 IN TXT "path=/snapshot.jpg"`}, false, nil},
}

// TestThings: hosts with nothing but a web page are hints.
func TestThings(t *testing.T) {
	l := &lan.Link{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}
	for _, th := range things {
		c := newCache(time.Minute)
		feed(t, c, 0, th.rrs...)
		now := epoch.Add(2 * addressWait)
		got := c.sightings(c.overdue(now), l, now)
		if len(got) != 1 || got[0].Hint != th.hint || (len(got[0].Endpoints) == 0) != th.hint || !slices.Equal(got[0].Claims[1:], th.claims) {
			t.Errorf("%s (%s): sightings = %+v, want one with Hint %v and %v", th.name, th.source, got, th.hint, th.claims)
		}
	}
}

func TestSources(t *testing.T) {
	list := func(s string) (out []netip.Addr) {
		for a := range strings.FieldsSeq(s) {
			out = append(out, netip.MustParseAddr(a))
		}
		return out
	}
	four := &lan.Link{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}
	six := &lan.Link{Name: "eth0", V6: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("fe80::2/64"), netip.MustParsePrefix("2001:db8::2/64")}}
	for _, c := range []struct {
		name, announced, from, want string
		l                           *lan.Link
	}{
		{"its own", "10.0.0.7", "10.0.0.7", "10.0.0.7", four},
		{"of another prefix on the same link", "10.9.0.7", "10.9.0.7", "10.9.0.7", four},
		{"of neighbours", "10.0.0.8 10.0.0.9", "10.0.0.7", "10.0.0.8 10.0.0.9", four},
		{"none", "", "10.0.0.7", "10.0.0.7", four},
		{"unusable ones", "127.0.0.1 169.254.3.4 224.0.0.1 fe80::1", "10.0.0.7", "10.0.0.7", four},
		{"reflected by a router", "10.2.0.7", "10.0.0.1", "", four},
		{"a public one", "8.8.8.8", "10.0.0.7", "", four},
		{"its own and another", "192.168.1.4 10.0.0.7", "10.0.0.7", "10.0.0.7", four},
		{"link-local", "fe80::7 2001:db8:5::7 10.0.0.7", "fe80::7%eth0", "fe80::7%eth0", six},
		{"a neighbour's global one", "2001:db8::7", "fe80::7%eth0", "2001:db8::7", six},
		{"a global one of another prefix", "2001:db8:5::7", "fe80::7%eth0", "fe80::7%eth0", six},
		{"reflected over IPv6", "fe80::99 2001:db8:5::7", "fe80::1%eth0", "", six},
		{"IPv4 alone over IPv6", "10.0.0.7", "fe80::7%eth0", "fe80::7%eth0", six},
	} {
		if got := sources(list(c.announced), netip.MustParseAddr(c.from), c.l); !slices.Equal(got, list(c.want)) {
			t.Errorf("%s: sources(%s, %s) = %v, want %s", c.name, c.announced, c.from, got, c.want)
		}
	}
}

// TestAddressNeverComes: the sender's own address is the next best, later.
func TestAddressNeverComes(t *testing.T) {
	c := newCache(time.Minute)
	l := &lan.Link{Name: "eth0", Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/24")}}
	touched := feed(t, c, 0, answers[0].rrs[:3]...)
	if s := c.sightings(touched, l, epoch); len(s) != 0 {
		t.Errorf("told at once, at %v", s[0].Source)
	}
	now := epoch.Add(2 * time.Second)
	if s := c.sightings(c.overdue(now), l, now); len(s) != 1 || s[0].Source != netip.MustParseAddr("10.0.0.7") {
		t.Errorf("sightings = %+v, want one at the sender's address", s)
	}
	if names := c.overdue(now); len(names) != 0 {
		t.Errorf("overdue twice: %v", names)
	}
}
