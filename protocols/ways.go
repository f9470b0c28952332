package protocols

import (
	"cmp"
	"net/url"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// way is one address to take a frame from, with what is known of its price.
type way struct {
	endpoint fleet.Endpoint
	codec    fleet.Codec // "" when nobody said
	pixels   int         // 0 when nobody said
	profile  string      // its token; "" when nobody said
}

// price orders ways: a snapshot is one request, M-JPEG one frame of a stream,
// RTSP a wait for the next key frame, and a codec that nothing here decodes is
// worth a try only for the verdict it brings.
func (w way) price(codecs []fleet.Codec) int {
	switch {
	case w.endpoint.Protocol == fleet.Snapshot:
		return 0
	case w.endpoint.Protocol == fleet.MJPEG:
		return 1
	case w.codec == "":
		return 3
	case slices.Contains(codecs, w.codec):
		return 2
	}
	return 4
}

// cheapest sorts ways by price, then small pictures before large ones: the
// sub-stream shows the same scene. Ways of equal price keep their order, and
// one that comes twice stays once.
func cheapest(ways []way, codecs []fleet.Codec) []way {
	var once []way
	for _, w := range ways {
		if !slices.ContainsFunc(once, func(o way) bool { return o.endpoint == w.endpoint }) {
			once = append(once, w)
		}
	}
	slices.SortStableFunc(once, func(a, b way) int {
		return cmp.Or(
			cmp.Compare(a.price(codecs), b.price(codecs)),
			cmp.Compare(uint(a.pixels-1), uint(b.pixels-1)), // unknown size last
		)
	})
	return once
}

// plain are the ways that the target names itself.
func plain(t fleet.Target) []way {
	var ways []way
	for _, e := range t.Endpoints {
		if grabbable(e.Protocol) {
			ways = append(ways, way{endpoint: e})
		}
	}
	return ways
}

func grabbable(p fleet.Protocol) bool {
	return p == fleet.Snapshot || p == fleet.MJPEG || p == fleet.RTSP
}

func services(t fleet.Target) []fleet.Endpoint {
	var out []fleet.Endpoint
	for _, e := range t.Endpoints {
		if e.Protocol == fleet.ONVIF {
			out = append(out, e)
		}
	}
	return out
}

// described are the ways to the target's source that a description names, and
// those of the target's own that do not belong to another source. Host is the one
// that gave the description: addresses elsewhere that the guard does not permit
// are left out and returned apart.
func described(g *guard.Guard, d fleet.Device, host string, t fleet.Target) (ways []way, refused []string, err error) {
	source, ok := sourceOf(d, t.Source)
	if !ok {
		return nil, nil, fleet.Errorf(fleet.CauseNotFound, "the device has no source %q any more: describe it again, or retire this camera", t.Source)
	}
	others := map[fleet.Endpoint]bool{}
	for _, s := range d.Sources {
		for _, p := range s.Profiles {
			for _, e := range p.Endpoints {
				others[e] = s.Token != source.Token
			}
		}
	}
	for _, p := range source.Profiles {
		for _, e := range p.Endpoints {
			switch {
			case !grabbable(e.Protocol):
			case !g.Permits(host, hostOf(e.URL)):
				refused = append(refused, hostOf(e.URL))
			default:
				w := way{endpoint: e, codec: p.Codec, pixels: p.Width * p.Height, profile: p.Token}
				if e.Protocol != fleet.RTSP {
					w.codec = "" // the profile's codec is that of its stream
				}
				ways = append(ways, w)
			}
		}
	}
	for _, w := range plain(t) {
		if !others[w.endpoint] {
			ways = append(ways, w)
		}
	}
	return ways, refused, nil
}

// sourceOf finds a source by its token; a device with one source has no other
// to mistake it for.
func sourceOf(d fleet.Device, token string) (fleet.Source, bool) {
	for _, s := range d.Sources {
		if s.Token == token {
			return s, true
		}
	}
	if len(d.Sources) == 1 {
		return d.Sources[0], true
	}
	if token == "" && len(d.Sources) > 1 {
		return d.Sources[0], true
	}
	return fleet.Source{}, false
}

func hostOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// addressOf returns an address's host, and port if it names one.
func addressOf(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	return u.Host
}
