package guard

import (
	"maps"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

var challengeTable = []struct {
	name    string
	headers []string
	want    []Challenge
}{
	{"none", nil, nil},
	{"empty", []string{"", " , ,"}, nil},
	{"basic", []string{`Basic realm="cam"`}, []Challenge{{"basic", map[string]string{"realm": "cam"}}}},
	{"basic without realm", []string{`Basic`}, []Challenge{{"basic", map[string]string{}}}},
	{"two in one", []string{`Digest realm="a, b", nonce="n=1", qop="auth,auth-int", Basic realm="c"`}, []Challenge{
		{"digest", map[string]string{"realm": "a, b", "nonce": "n=1", "qop": "auth,auth-int"}},
		{"basic", map[string]string{"realm": "c"}}}},
	{"two headers", []string{`Digest nonce="1", algorithm=SHA-256`, `Digest nonce="2"`}, []Challenge{
		{"digest", map[string]string{"nonce": "1", "algorithm": "SHA-256"}}, {"digest", map[string]string{"nonce": "2"}}}},
	{"blanks round =", []string{`digest  REALM = "x" ,nonce= y`}, []Challenge{{"digest", map[string]string{"realm": "x", "nonce": "y"}}}},
	{"escapes", []string{`Digest realm="a\"b\\c"`}, []Challenge{{"digest", map[string]string{"realm": `a"b\c`}}}},
	{"open quote", []string{`Digest realm="never, nonce=1`, `Basic realm=x`}, []Challenge{
		{"digest", map[string]string{"realm": "never, nonce=1"}}, {"basic", map[string]string{"realm": "x"}}}},
	{"token68", []string{`Negotiate abcd==, Basic realm="x"`}, []Challenge{
		{"negotiate", map[string]string{"abcd": "="}}, {"basic", map[string]string{"realm": "x"}}}},
	{"stray parameter", []string{`realm="x", Basic realm="y"`}, []Challenge{{"basic", map[string]string{"realm": "y"}}}},
	{"the first of a name counts", []string{`Digest nonce=1, nonce=2`}, []Challenge{{"digest", map[string]string{"nonce": "1"}}}},
	{"junk", []string{"\x00\xff{Digest} nonce=1"}, []Challenge{{"digest", map[string]string{"nonce": "1"}}}},
}

func TestParseChallenges(t *testing.T) {
	for _, tc := range challengeTable {
		t.Run(tc.name, func(t *testing.T) {
			got := ParseChallenges(tc.headers)
			if len(got) != len(tc.want) {
				t.Fatalf("ParseChallenges(%q) = %v, want %v", tc.headers, got, tc.want)
			}
			for i := range got {
				if got[i].Scheme != tc.want[i].Scheme || !maps.Equal(got[i].Params, tc.want[i].Params) {
					t.Errorf("ParseChallenges(%q)[%d] = %v, want %v", tc.headers, i, got[i], tc.want[i])
				}
			}
		})
	}
}

func TestParseChallengesIsBounded(t *testing.T) {
	got := ParseChallenges([]string{strings.Repeat("Digest a=1,", 1000), "Digest " + strings.Repeat("a=1,", 10000)})
	if len(got) > maxChallenges {
		t.Errorf("%d challenges, want at most %d", len(got), maxChallenges)
	}
}

func FuzzParseChallenges(f *testing.F) {
	for _, tc := range challengeTable {
		f.Add(strings.Join(tc.headers, "\n"))
	}
	f.Fuzz(func(t *testing.T, s string) {
		cs := ParseChallenges(strings.Split(s, "\n"))
		if len(cs) > maxChallenges {
			t.Fatalf("%d challenges", len(cs))
		}
		for _, c := range cs {
			if len(c.Params) > maxParams || c.Scheme == "" {
				t.Fatalf("challenge %v", c)
			}
			d, err := NewDigest(c)
			if err != nil {
				continue
			}
			h := d.Authorize("GET", `/a"b`, nil, fleet.Credentials{User: `u"\`, Password: "p"})
			if hasControl(h) {
				t.Fatalf("header with control characters: %q", h)
			}
			// What we write has to be readable by the same rules.
			back := ParseChallenges([]string{h})
			if len(back) != 1 || back[0].Params["nonce"] != d.nonce || back[0].Params["realm"] != d.realm || back[0].Params["uri"] != `/a"b` {
				t.Fatalf("%q reads as %v", h, back)
			}
		}
	})
}

// TestDigestExamples holds the published examples: RFC 7616, 3.9.1; RFC 2617,
// 3.5; RFC 2069, 2.4, with the response of its erratum 749.
func TestDigestExamples(t *testing.T) {
	const (
		rfc7616 = `Digest realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS", algorithm=`
		rfc2617 = `Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`
	)
	for _, tc := range []struct {
		name, challenge, cnonce, uri, user, password, want string
	}{
		{"7616 MD5", rfc7616 + "MD5", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html", "Mufasa", "Circle of Life", "8ca523f5e9506fed4657c9700eebdbec"},
		{"7616 SHA-256", rfc7616 + "SHA-256", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "/dir/index.html", "Mufasa", "Circle of Life", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{"2617", rfc2617, "0a4f113b", "/dir/index.html", "Mufasa", "Circle Of Life", "6629fae49393a05397450978507c4ef1"},
		{"2069 with its erratum", `Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
			"", "/dir/index.html", "Mufasa", "CircleOfLife", "1949323746fe6a43ef61f9606e7febea"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := NewDigest(ParseChallenges([]string{tc.challenge})[0])
			if err != nil {
				t.Fatal(err)
			}
			d.count, d.cnonce = 1, tc.cnonce
			h := d.authorize("GET", tc.uri, nil, fleet.Credentials{User: tc.user, Password: fleet.Secret(tc.password)})
			if got := ParseChallenges([]string{h})[0].Params["response"]; got != tc.want {
				t.Errorf("response = %s, want %s, in %s", got, tc.want, h)
			}
		})
	}
}

// TestDigestUsers holds the ways a user name is written: hashed where that is
// offered (RFC 7616, 3.9.2, with the values of its erratum 4897), extended where
// a charset is, and as it is elsewhere.
func TestDigestUsers(t *testing.T) {
	const offer = `Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS"`
	for _, tc := range []struct{ name, more, key, user string }{
		{"hashed", `, charset=UTF-8, userhash=true`, "username", "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"},
		{"extended", `, charset=UTF-8`, "username*", "UTF-8''J%C3%A4s%C3%B8n%20Doe"},
		{"as it is", ``, "username", "Jäsøn Doe"},
	} {
		d, err := NewDigest(ParseChallenges([]string{offer + tc.more})[0])
		if err != nil {
			t.Fatal(err)
		}
		d.count, d.cnonce = 1, "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"
		p := ParseChallenges([]string{d.authorize("GET", "/doe.json", nil, fleet.Credentials{User: "Jäsøn Doe", Password: "Secret, or not?"})})[0].Params
		if want := "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"; p["response"] != want || p[tc.key] != tc.user {
			t.Errorf("%s: %v, want %s=%s and response %s", tc.name, p, tc.key, tc.user, want)
		}
	}
}

func TestNewDigestRefuses(t *testing.T) {
	for _, s := range []string{`Basic realm=x`, `Digest realm=x`, `Digest nonce=1, algorithm=MD4`, `Digest nonce=1, qop="other"`, "Digest nonce=\"a\x01\""} {
		if d, err := NewDigest(ParseChallenges([]string{s})[0]); err == nil {
			t.Errorf("NewDigest(%q) = %v, want an error", s, d)
		}
	}
}

func TestBestPrefersTheStrongest(t *testing.T) {
	cs := ParseChallenges([]string{`Digest nonce=1, algorithm=MD5`, `Basic realm=x`, `Digest nonce=2, algorithm=SHA-256, stale=TRUE`, `Digest nonce=3, algorithm=new`})
	d, stale, basic := best(cs)
	if d == nil || d.nonce != "2" || !stale || !basic {
		t.Errorf("best = %+v, %v, %v: want SHA-256, stale, basic", d, stale, basic)
	}
}

func TestDigestCounts(t *testing.T) {
	d, err := NewDigest(ParseChallenges([]string{`Digest realm=r, nonce=n, qop=auth, algorithm=MD5-sess`})[0])
	if err != nil {
		t.Fatal(err)
	}
	c := fleet.Credentials{User: "u", Password: "p"}
	one := ParseChallenges([]string{d.Authorize("GET", "/", nil, c)})[0].Params
	two := ParseChallenges([]string{d.Authorize("GET", "/", nil, c)})[0].Params
	if one["nc"] != "00000001" || two["nc"] != "00000002" || one["cnonce"] != two["cnonce"] {
		t.Errorf("two requests of one session: %v then %v", one, two)
	}
	d.renew(`nextnonce="m", qop=auth`)
	three := ParseChallenges([]string{d.Authorize("GET", "/", nil, c)})[0].Params
	if three["nonce"] != "m" || three["nc"] != "00000001" {
		t.Errorf("after nextnonce: %v", three)
	}
}
