package inventory

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

var epoch = time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC)

func claim(kind fleet.ClaimKind, value string) fleet.Claim {
	return fleet.Claim{Kind: kind, Value: value}
}

func seen(via fleet.Via, ip, model string, endpoint string, claims ...fleet.Claim) observation {
	s := fleet.Sighting{Via: via, Source: netip.MustParseAddr(ip), Interface: "eth0", At: epoch, Claims: claims, Model: model}
	if endpoint != "" {
		s.Endpoints = []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: endpoint}}
	}
	return observation{Sighting: clean(s), first: epoch}
}

const (
	uuidA = "0a000000-0000-4000-8000-000000000001"
	uuidB = "0b000000-0000-4000-8000-000000000002"
)

func TestMerge(t *testing.T) {
	eprA, eprB := claim(fleet.ClaimEPR, "urn:uuid:"+uuidA), claim(fleet.ClaimEPR, "urn:uuid:"+uuidB)
	udnA, udnB := claim(fleet.ClaimUDN, "uuid:"+uuidA), claim(fleet.ClaimUDN, "uuid:"+uuidB)
	mac, serial := claim(fleet.ClaimMAC, "ac:cc:8e:01:02:03"), claim(fleet.ClaimSerial, "4711-0815")
	host, mac2, tls := claim(fleet.ClaimHost, "cam.local"), claim(fleet.ClaimMAC, "ac:cc:8e:01:02:04"), claim(fleet.ClaimTLSKey, strings.Repeat("ab", 32))
	later := func(o observation, d time.Duration) observation {
		o.At, o.first = o.At.Add(d), o.first.Add(d)
		return o
	}
	for _, c := range []struct {
		name string
		in   []observation
		want int
	}{
		{"one EPR, two addresses", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA), seen(fleet.ViaWSDiscovery, "fe80::1", "", "", eprA)}, 1},
		{"EPR and UDN are one UUID", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA), seen(fleet.ViaUPnP, "10.0.0.9", "", "", udnA)}, 1},
		{"EPR and UDN differ at one address", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA), seen(fleet.ViaUPnP, "10.0.0.1", "", "", udnB)}, 1},
		{"two EPRs at one address", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA), seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprB)}, 2},
		{"two EPRs share a MAC", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA, mac), seen(fleet.ViaWSDiscovery, "10.0.0.2", "", "", eprB, mac)}, 2},
		{"two EPRs share serial and model", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "M", "", eprA, serial), seen(fleet.ViaWSDiscovery, "10.0.0.2", "M", "", eprB, serial)}, 2},
		{"a MAC joins", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA, mac), seen(fleet.ViaMDNS, "fe80::1", "", "", host, mac)}, 1},
		{"serial and model at two addresses", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "m", "", eprA, serial), seen(fleet.ViaUPnP, "10.0.0.2", "M", "", udnB, serial)}, 2},
		{"serial, model and host name over two families", []observation{seen(fleet.ViaUPnP, "10.0.0.1", "m", "", udnB, serial, host), seen(fleet.ViaMDNS, "fe80::2", "M", "", host, serial)}, 1},
		{"a MAC and two addresses", []observation{seen(fleet.ViaUPnP, "10.0.0.1", "", "", udnA, mac), seen(fleet.ViaMDNS, "10.0.0.2", "", "", host, mac)}, 2},
		{"a MAC at one address after the other", []observation{seen(fleet.ViaUPnP, "10.0.0.1", "", "", udnA, mac), later(seen(fleet.ViaMDNS, "10.0.0.2", "", "", host, mac), time.Minute)}, 1},
		{"one EPR, other hardware", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA, mac), seen(fleet.ViaWSDiscovery, "10.0.0.2", "", "", eprA, mac2)}, 2},
		{"one EPR, two MACs, one of them shared", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA, mac), seen(fleet.ViaWSDiscovery, "10.0.0.2", "", "", eprA, mac, mac2)}, 1},
		{"a new EPR with the old MAC", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA, mac), later(seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprB, mac), time.Hour)}, 1},
		{"a new EPR at the old address", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA), later(seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprB), time.Hour)}, 2},
		{"a TLS key alone", []observation{seen(fleet.ViaUPnP, "10.0.0.1", "", "", udnA, tls), seen(fleet.ViaMDNS, "fe80::1", "", "", host, tls)}, 2},
		{"a TLS key and a serial", []observation{seen(fleet.ViaUPnP, "10.0.0.1", "m", "", udnA, tls, serial), seen(fleet.ViaMDNS, "fe80::1", "m", "", host, tls, serial)}, 1},
		{"a serial without its model does not", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA, serial), seen(fleet.ViaUPnP, "10.0.0.2", "", "", udnB, serial)}, 2},
		{"serials of two models", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "a", "", eprA, serial), seen(fleet.ViaUPnP, "10.0.0.2", "b", "", udnB, serial)}, 2},
		{"mDNS at the address", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "http://10.0.0.1/x", eprA), seen(fleet.ViaMDNS, "10.0.0.1", "", "http://10.0.0.1:81/x", host)}, 1},
		{"a port decides between two at one address", []observation{
			seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "http://10.0.0.1:81/x", eprA), seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "http://10.0.0.1:82/x", eprB),
			seen(fleet.ViaMDNS, "10.0.0.1", "", "http://10.0.0.1:82/y", host)}, 2},
		{"one host name, two families", []observation{seen(fleet.ViaMDNS, "10.0.0.1", "", "", host), later(seen(fleet.ViaMDNS, "fe80::1", "", "", host), time.Second)}, 1},
		{"one host name, two IPv4 addresses", []observation{seen(fleet.ViaMDNS, "10.0.0.1", "", "", host), later(seen(fleet.ViaMDNS, "10.0.0.2", "", "", host), time.Second)}, 2},
		{"one mDNS answer, two IPv4 addresses", []observation{seen(fleet.ViaMDNS, "10.0.0.1", "", "", host), seen(fleet.ViaMDNS, "10.0.0.2", "", "", host)}, 1},
		{"it moved", []observation{seen(fleet.ViaMDNS, "10.0.0.1", "", "", host), later(seen(fleet.ViaMDNS, "10.0.0.2", "", "", host), time.Minute)}, 1},
		{"it moved and left", []observation{seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "", eprA), func() observation {
			o := later(seen(fleet.ViaWSDiscovery, "10.0.0.2", "", "", eprA), time.Hour)
			o.Gone = true
			return o
		}()}, 1},
		{"a junk MAC", []observation{seen(fleet.ViaMDNS, "10.0.0.1", "", "", host, claim(fleet.ClaimMAC, "00:00:00:00:00:00")), seen(fleet.ViaUPnP, "10.0.0.2", "", "", udnA, claim(fleet.ClaimMAC, "00:00:00:00:00:00"))}, 2},
		{"two keys of the centre at one address", []observation{
			knownObservation("url:rtsp://10.0.0.1/a", []fleet.Target{{Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://10.0.0.1/a"}}}}),
			knownObservation("url:rtsp://10.0.0.1/b", []fleet.Target{{Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://10.0.0.1/b"}}}})}, 2},
		{"typed by hand and found", []observation{
			knownObservation("url:rtsp://10.0.0.1/a", []fleet.Target{{Endpoints: []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://10.0.0.1/a"}}}}),
			seen(fleet.ViaWSDiscovery, "10.0.0.1", "", "http://10.0.0.1/x", eprA)}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := map[obsID]observation{}
			for _, o := range c.in {
				remember(set, o)
			}
			got := merge(set, nil).clusters
			if c.name == "it moved and left" && (len(got[0].obs) != 1 || !got[0].gone()) {
				t.Errorf("its old address is back: %v", got)
			}
			if len(got) != c.want {
				t.Errorf("merge(%v) = %d devices %v, want %d", c.in, len(got), got, c.want)
			}
		})
	}
}

// anyObservation draws from few values, so that evidence meets often.
func anyObservation(t *rapid.T) observation {
	n := rapid.IntRange(1, 6)
	o := observation{}
	o.Via = rapid.SampledFrom([]fleet.Via{fleet.ViaWSDiscovery, fleet.ViaMDNS, fleet.ViaUPnP}).Draw(t, "via")
	o.Interface = rapid.SampledFrom([]string{"eth0", "eth1"}).Draw(t, "interface")
	o.Source = netip.MustParseAddr(fmt.Sprintf(rapid.SampledFrom([]string{"10.0.0.%d", "fe80::%d"}).Draw(t, "family"), n.Draw(t, "source")))
	o.At = epoch.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "at")) * time.Second)
	o.Model = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "model")
	switch o.Via {
	case fleet.ViaWSDiscovery:
		o.Claims = append(o.Claims, claim(fleet.ClaimEPR, fmt.Sprintf("urn:uuid:0000000%d", n.Draw(t, "epr"))))
	case fleet.ViaUPnP:
		o.Claims = append(o.Claims, claim(fleet.ClaimUDN, fmt.Sprintf("uuid:0000000%d", n.Draw(t, "udn"))))
	case fleet.ViaMDNS:
		o.Claims = append(o.Claims, claim(fleet.ClaimHost, fmt.Sprintf("h%d.local", n.Draw(t, "host"))))
	}
	if rapid.Bool().Draw(t, "has mac") {
		o.Claims = append(o.Claims, claim(fleet.ClaimMAC, fmt.Sprintf("ac:cc:8e:00:00:0%d", n.Draw(t, "mac"))))
	}
	if rapid.Bool().Draw(t, "has serial") {
		o.Claims = append(o.Claims, claim(fleet.ClaimSerial, fmt.Sprintf("4711%d", n.Draw(t, "serial"))))
	}
	if rapid.Bool().Draw(t, "has endpoint") {
		o.Endpoints = []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://" + netip.AddrPortFrom(o.Source, uint16(550+n.Draw(t, "port"))).String() + "/"}}
	}
	if a := o.Source.As16(); a[15]%2 == 0 { // half of the addresses are in the neighbour table
		o.near = fmt.Sprintf("ac:cc:8e:00:00:%02x", a[15]%4)
	}
	o.Sighting = clean(o.Sighting)
	return o
}

// TestMergeKnowsNoOrder hears the same things in two orders and wants the same
// devices, down to their bytes.
func TestMergeKnowsNoOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		heard := rapid.SliceOfN(rapid.Custom(anyObservation), 0, 24).Draw(t, "heard")
		for _, key := range rapid.SliceOfDistinct(rapid.SampledFrom([]string{"host:h1.local", "epr:urn:uuid:00000002", "mac:ac:cc:8e:00:00:03"}), rapid.ID[string]).Draw(t, "known") {
			heard = append(heard, knownObservation(key, nil))
		}
		junk := map[value]bool{}
		for _, v := range rapid.SliceOfDistinct(rapid.SampledFrom([]value{{"epr", "00000001"}, {"mac", "ac:cc:8e:00:00:02"}, {"host", "h1.local"}}), rapid.ID[value]).Draw(t, "junk") {
			junk[v] = true
		}
		other := rapid.Permutation(heard).Draw(t, "other order")
		if a, b := picture(heard, junk), picture(other, junk); a != b {
			t.Fatalf("in one order\n%s\nin the other\n%s", a, b)
		}
	})
}

func picture(heard []observation, junk map[value]bool) string {
	set := map[obsID]observation{}
	for _, o := range heard {
		remember(set, o)
	}
	var out []string
	m := merge(set, junk)
	for _, c := range m.clusters {
		d := c.device()
		out = append(out, fmt.Sprintf("%+v", d))
	}
	for _, x := range m.conflicts {
		out = append(out, fmt.Sprintf("%+v %+v %v", m.clusters[x.a].device(), m.clusters[x.b].device(), x.evidence))
	}
	out = append(out, fmt.Sprint(m.junk))
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// TestMergeKeepsApart: no device has two endpoint references that were alive
// at the same time, and none has two keys of the centre.
func TestMergeKeepsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := map[obsID]observation{}
		n := 0
		for _, o := range rapid.SliceOfN(rapid.Custom(anyObservation), 0, 24).Draw(t, "heard") {
			remember(set, o)
		}
		for _, key := range []string{"host:h1.local", "host:h2.local"} {
			o := knownObservation(key, nil)
			set[o.id()] = o
		}
		for _, c := range merge(set, nil).clusters {
			n += len(c.obs)
			keys := map[string]bool{}
			for i, o := range c.obs {
				if o.key != "" {
					keys[o.key] = true
				}
				for _, p := range c.obs[:i] {
					a, b := eprOf(o), eprOf(p)
					// The model: both were heard, and no 30 s lie between them.
					if a != "" && b != "" && a != b && !o.At.Add(staleAfter).Before(p.first) && !p.At.Add(staleAfter).Before(o.first) {
						t.Fatalf("one device has %s and %s: %v", a, b, c.obs)
					}
				}
			}
			if len(keys) > 1 {
				t.Fatalf("one device has %v: %v", keys, c.obs)
			}
		}
		if n != len(fresh(set, nil)) {
			t.Fatalf("%d observations in devices, want %d", n, len(fresh(set, nil)))
		}
	})
}

func eprOf(o observation) string {
	for _, c := range o.Claims {
		if c.Kind == fleet.ClaimEPR {
			return c.Value
		}
	}
	return ""
}

// TestWeakClaimNeverSplits: whatever weak claim is added to one observation,
// those that were one device stay one, unless others have that claim too.
func TestWeakClaimNeverSplits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		heard := rapid.SliceOfN(rapid.Custom(anyObservation), 1, 24).Draw(t, "heard")
		set := map[obsID]observation{}
		for _, o := range heard {
			remember(set, o)
		}
		before := merge(set, nil).clusters
		all := fresh(set, nil)
		o := rapid.SampledFrom(all).Draw(t, "to")
		o.Claims = append(slices.Clone(o.Claims), rapid.SampledFrom([]fleet.Claim{
			claim(fleet.ClaimScene, "00000000000000ff"), claim(fleet.ClaimTLSKey, strings.Repeat("0", 64)), claim(fleet.ClaimSerial, "new one"),
		}).Draw(t, "claim"))
		if o.primary() != "" {
			o.Claims = append(o.Claims, claim(fleet.ClaimHost, "zz.local")) // behind its name, which comes first
		}
		id := o.id()
		if _, ok := set[id]; !ok {
			t.Fatalf("the claim changed whose observation it is: %v", o)
		}
		set[id] = o
		place := map[obsID]int{}
		for i, c := range merge(set, nil).clusters {
			for _, o := range c.obs {
				place[o.id()] = i
			}
		}
		for _, c := range before {
			for _, o := range c.obs[1:] {
				if place[o.id()] != place[c.obs[0].id()] {
					t.Fatalf("%v left %v", o, c.obs[0])
				}
			}
		}
	})
}

// TestMergeModel compares with a model: where each observation has its unique
// name alone, devices are the names.
func TestMergeModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := map[obsID]observation{}
		want := map[string]bool{}
		for i := range rapid.IntRange(0, 40).Draw(t, "n") {
			name := fmt.Sprintf("0000000%d", rapid.IntRange(1, 8).Draw(t, "name"))
			kind, via, prefix := fleet.ClaimEPR, fleet.ViaWSDiscovery, "urn:uuid:"
			if rapid.Bool().Draw(t, "udn") {
				kind, via, prefix = fleet.ClaimUDN, fleet.ViaUPnP, "uuid:"
			}
			ip := fmt.Sprintf("fe80::%x", 100+i)
			if rapid.Bool().Draw(t, "v4") {
				ip = fmt.Sprintf("10.0.0.%d", 100+i)
			}
			remember(set, seen(via, ip, "", "", claim(kind, prefix+name)))
			want[name] = true
		}
		if got := merge(set, nil).clusters; len(got) != len(want) {
			t.Fatalf("%d devices, want %d: %v", len(got), len(want), got)
		}
	})
}

// TestKeysStay: whatever is heard, a key that was shown is not given to a
// device that shares nothing with its first bearer, no key is shown twice, and
// a device that only gains evidence keeps its own.
func TestKeysStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := newBook(Options{})
		now := epoch
		bearer := map[string]uint64{}
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for _, o := range rapid.SliceOfN(rapid.Custom(anyObservation), 0, 4).Draw(t, "heard") {
				o.At = now
				if len(o.Endpoints) == 0 {
					o.Endpoints = []fleet.Endpoint{{Protocol: fleet.RTSP, URL: "rtsp://" + o.Source.String() + "/"}}
				}
				b.hear(o.Sighting)
			}
			b.merge(now)
			now = now.Add(settle)
			shown := map[string]bool{}
			for _, d := range b.devices(now) {
				if shown[d.Key] || d.Key == "" {
					t.Fatalf("key %q is shown twice", d.Key)
				}
				shown[d.Key] = true
			}
			for _, r := range b.records {
				if !r.shown {
					continue
				}
				if seq, ok := bearer[r.key]; ok && seq != r.seq && slices.ContainsFunc(b.records, func(o *record) bool { return o.seq == seq && o.key != r.key }) {
					t.Fatalf("key %q went from record %d to %d", r.key, seq, r.seq)
				}
				bearer[r.key] = r.seq
			}
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "pause")) * time.Second)
		}
	})
}

func TestClean(t *testing.T) {
	long := strings.Repeat("é", 500)
	s := clean(fleet.Sighting{Name: " a\x00\u009b\u202eb\xff ", Vendor: long, Claims: []fleet.Claim{
		claim(fleet.ClaimSerial, "123456"), claim(fleet.ClaimSerial, "0000"), claim(fleet.ClaimMAC, "FF:FF:FF:FF:FF:FF"),
		claim(fleet.ClaimHost, "Cam.Local"), claim(fleet.ClaimHost, "cam.local"), claim("odd", "x"), claim(fleet.ClaimEPR, ""),
	}})
	if s.Name != "ab" || len(s.Vendor) > maxTextBytes || !strings.HasPrefix(long, s.Vendor) {
		t.Errorf("texts = %q, %q", s.Name, s.Vendor)
	}
	if len(s.Claims) != 1 || s.Claims[0].Value != "cam.local" {
		t.Errorf("claims = %v, want the host alone", s.Claims)
	}
}

func BenchmarkMerge(b *testing.B) {
	set := map[obsID]observation{}
	for i := range 4096 {
		ip := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()
		remember(set, seen(fleet.ViaWSDiscovery, ip, "m", "http://"+ip+"/onvif/device_service", claim(fleet.ClaimEPR, fmt.Sprint("urn:uuid:", i))))
		remember(set, seen(fleet.ViaMDNS, ip, "", "http://"+ip+"/a.jpg", claim(fleet.ClaimHost, fmt.Sprint("h", i))))
	}
	for b.Loop() {
		if n := len(merge(set, nil).clusters); n != 4096 {
			b.Fatal(n)
		}
	}
	b.ReportMetric(4096, "devices")
}

// BenchmarkMergeHostile has as many observations as the caps allow, each with
// as many claims, shared as widely as costs most.
func BenchmarkMergeHostile(b *testing.B) {
	set := map[obsID]observation{}
	for i := range maxObservations {
		ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(i / maxPerSource)}).String()
		claims := []fleet.Claim{claim(fleet.ClaimEPR, fmt.Sprint("urn:uuid:", i))}
		for n := range maxClaims/2 - 1 {
			claims = append(claims, claim(fleet.ClaimMAC, fmt.Sprintf("ac:cc:8e:%02x:%04x", n, (i*(2*n+1))%(maxObservations/maxBearers))))
		}
		remember(set, seen(fleet.ViaWSDiscovery, ip, "m", "http://"+ip+"/onvif/device_service", claims...))
	}
	b.ReportAllocs()
	for b.Loop() {
		merge(set, nil)
	}
}
