package onvif

import (
	"cmp"
	"slices"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// merge joins what the two Media services say of one device. What came first
// stands.
type merge struct{ sources []fleet.Source }

// profile returns the one of that token, or nil.
func (m *merge) profile(token string) *fleet.Profile {
	for i := range m.sources {
		for j := range m.sources[i].Profiles {
			if p := &m.sources[i].Profiles[j]; p.Token == token {
				return p
			}
		}
	}
	return nil
}

// has reports whether the profile of that token has an address of the protocol.
func (m *merge) has(token string, by fleet.Protocol) bool {
	p := m.profile(token)
	return p != nil && slices.ContainsFunc(p.Endpoints, func(e fleet.Endpoint) bool { return e.Protocol == by })
}

// add takes a profile of a source. Of a known profile it takes what was left
// out; a new one without an address, or one that is known under another token,
// it leaves.
func (m *merge) add(source, name string, p fleet.Profile) {
	if old := m.profile(p.Token); old != nil {
		old.Name, old.Codec = cmp.Or(old.Name, p.Name), cmp.Or(old.Codec, p.Codec)
		if old.Width == 0 || old.Height == 0 {
			old.Width, old.Height = p.Width, p.Height
		}
		for _, e := range p.Endpoints {
			if !slices.Contains(old.Endpoints, e) {
				old.Endpoints = append(old.Endpoints, e)
			}
		}
		return
	}
	i := slices.IndexFunc(m.sources, func(s fleet.Source) bool { return s.Token == source })
	if len(p.Endpoints) == 0 || i >= 0 && slices.ContainsFunc(m.sources[i].Profiles, func(q fleet.Profile) bool {
		return !slices.ContainsFunc(p.Endpoints, func(e fleet.Endpoint) bool { return !slices.Contains(q.Endpoints, e) })
	}) {
		return
	}
	if i < 0 {
		i = len(m.sources)
		m.sources = append(m.sources, fleet.Source{Token: source, Name: name})
	}
	m.sources[i].Profiles = append(m.sources[i].Profiles, p)
}
