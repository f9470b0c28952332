package wsdiscovery

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
)

// Limits of one message. A datagram cannot be larger than 64 KiB; the largest
// honest answers (an NVR with all its scopes) are around 4 KiB.
const (
	maxMessageBytes = 64 << 10
	maxDepth        = 24
	maxElements     = 4096
	maxAttributes   = 64 // per element
	maxMatches      = 64
	maxList         = 128  // types, scopes or addresses of one match
	maxWordBytes    = 1024 // one of them
)

// Kind is what a message says.
type Kind string

// The kinds of message that a client hears. Others parse as KindOther.
const (
	KindHello   Kind = "Hello"
	KindBye     Kind = "Bye"
	KindMatches Kind = "ProbeMatches"
	KindResolve Kind = "ResolveMatches"
	KindProbe   Kind = "Probe"
	KindOther   Kind = ""
)

// Message is one WS-Discovery message, as far as a client needs it.
type Message struct {
	Kind      Kind
	ID        string
	RelatesTo string
	Matches   []Match // Hello and Bye have one
}

// Match is one device in a message. Nothing in it has been checked against
// the sender; Sighting does that.
type Match struct {
	EPR    string
	Types  []Type
	Scopes []string
	XAddrs []string
}

// Type is a qualified name from the Types list. Space is empty where the
// sender did not declare the prefix.
type Type struct{ Space, Local string }

// ErrMessage is wrapped by every error of Parse.
var ErrMessage = errors.New("not a WS-Discovery message")

// Parse reads one datagram. It goes by local names, because cameras mix the
// 2005 and 2009 versions of the namespaces, and it never returns more than the
// limits above allow.
func Parse(datagram []byte) (Message, error) {
	if len(datagram) > maxMessageBytes {
		return Message{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrMessage, len(datagram), maxMessageBytes)
	}
	p := parser{dec: xml.NewDecoder(bytes.NewReader(bytes.TrimRight(datagram, "\x00 \r\n\t")))}
	p.dec.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		// The decoder checks that all text is UTF-8; other labels are mostly wrong.
		return in, nil
	}
	if err := p.run(); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return p.m, nil
}

type binding struct {
	depth       int
	prefix, uri string
}

// parser walks the token stream once and keeps nothing but the path to where
// it is and the namespace prefixes in scope there.
type parser struct {
	dec      *xml.Decoder
	path     []string
	scope    []binding
	elements int
	text     strings.Builder
	m        Message
	match    *Match
}

func (p *parser) run() error {
	for {
		tok, err := p.dec.RawToken()
		switch {
		case errors.Is(err, io.EOF) && len(p.path) == 0 && p.elements > 0:
			return nil
		case errors.Is(err, io.EOF):
			return errors.New("it ends in the middle")
		case err != nil:
			return err
		}
		switch t := tok.(type) {
		case xml.Directive:
			return errors.New("it has a document type") // no honest SOAP message has (SOAP 1.2, section 5)
		case xml.StartElement:
			if err := p.start(t); err != nil {
				return err
			}
		case xml.EndElement:
			if err := p.end(t.Name.Local); err != nil {
				return err
			}
		case xml.CharData:
			p.text.Write(t)
		}
	}
}

func (p *parser) start(t xml.StartElement) error {
	p.elements++
	switch {
	case len(p.path) >= maxDepth:
		return fmt.Errorf("it nests deeper than %d", maxDepth)
	case p.elements > maxElements:
		return fmt.Errorf("it has more than %d elements", maxElements)
	case len(t.Attr) > maxAttributes:
		return fmt.Errorf("an element has more than %d attributes", maxAttributes)
	case len(p.path) == 0 && (p.elements > 1 || t.Name.Local != "Envelope"):
		return errors.New("its root is no SOAP envelope")
	}
	p.path = append(p.path, t.Name.Local)
	for _, a := range t.Attr {
		switch {
		case a.Name.Space == "xmlns":
			p.scope = append(p.scope, binding{len(p.path), a.Name.Local, a.Value})
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			p.scope = append(p.scope, binding{len(p.path), "", a.Value})
		}
	}
	p.text.Reset()
	if len(p.path) == 3 && p.path[1] == "Body" {
		switch k := Kind(t.Name.Local); k {
		case KindHello, KindBye:
			p.m.Kind = k
			return p.begin()
		case KindMatches, KindResolve, KindProbe:
			p.m.Kind = k
		}
	}
	if len(p.path) == 4 && p.path[1] == "Body" && (t.Name.Local == "ProbeMatch" || t.Name.Local == "ResolveMatch") {
		return p.begin()
	}
	return nil
}

func (p *parser) begin() error {
	if len(p.m.Matches) >= maxMatches {
		return fmt.Errorf("it has more than %d matches", maxMatches)
	}
	p.m.Matches = append(p.m.Matches, Match{})
	p.match = &p.m.Matches[len(p.m.Matches)-1]
	return nil
}

func (p *parser) end(name string) error {
	if len(p.path) == 0 || p.path[len(p.path)-1] != name {
		return fmt.Errorf("</%.40s> closes nothing", name)
	}
	depth := len(p.path)
	text := strings.TrimSpace(p.text.String())
	p.text.Reset()
	switch {
	case depth == 3 && p.path[1] == "Header" && name == "MessageID":
		p.m.ID = word(text)
	case depth == 3 && p.path[1] == "Header" && name == "RelatesTo":
		p.m.RelatesTo = word(text)
	case p.match == nil:
	case name == "Address" && depth >= 4 && p.path[depth-2] == "EndpointReference":
		p.match.EPR = word(text)
	case name == "Types":
		for _, w := range words(text) {
			p.match.Types = append(p.match.Types, p.qualify(w))
		}
	case name == "Scopes":
		p.match.Scopes = words(text)
	case name == "XAddrs":
		p.match.XAddrs = words(text)
	case depth == 4 && (name == "ProbeMatch" || name == "ResolveMatch"), depth == 3:
		p.match = nil
	}
	p.path = p.path[:depth-1]
	for len(p.scope) > 0 && p.scope[len(p.scope)-1].depth == depth {
		p.scope = p.scope[:len(p.scope)-1]
	}
	return nil
}

// qualify resolves the prefix of a QName in text, by the innermost declaration.
func (p *parser) qualify(w string) Type {
	prefix, local, ok := strings.Cut(w, ":")
	if !ok {
		prefix, local = "", w
	}
	for i := len(p.scope) - 1; i >= 0; i-- {
		if p.scope[i].prefix == prefix {
			return Type{Space: word(p.scope[i].uri), Local: local}
		}
	}
	return Type{Local: local}
}

// words splits an XML list and drops what is beyond the limits.
func words(text string) []string {
	var out []string
	for w := range strings.FieldsSeq(text) {
		if len(out) == maxList {
			break
		}
		if w = word(w); w != "" {
			out = append(out, w)
		}
	}
	return out
}

// word returns w without control characters, or nothing when it is too long
// to be honest.
func word(w string) string {
	if len(w) > maxWordBytes || strings.ContainsFunc(w, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return ""
	}
	return w
}

// onvifScope is what every scope of an ONVIF device begins with (ONVIF Core,
// section 7.3.2).
const onvifScope = "onvif://www.onvif.org/"

// camera reports whether the match is an ONVIF device with pictures: a camera,
// an encoder or a recorder. Printers, media servers and Windows computers speak
// WS-Discovery too, and ONVIF itself has displays and door controllers.
func (m Match) camera() bool {
	onvif := false
	for _, t := range m.Types {
		switch {
		case t.Local == "NetworkVideoDisplay": // receives pictures (ONVIF Core, section 5.1)
		case strings.HasPrefix(t.Local, "NetworkVideo"):
			return true
		case strings.HasPrefix(t.Space, "http://www.onvif.org/"):
			onvif = true
		}
	}
	doors := false
	for _, p := range m.scopeValues("Profile") {
		switch strings.ToUpper(p) {
		case "A", "C", "D": // access control, doors and their peripherals
			doors = true
		default:
			return true
		}
	}
	if doors {
		return false
	}
	for _, s := range m.Scopes {
		if len(s) >= len(onvifScope) && strings.EqualFold(s[:len(onvifScope)], onvifScope) {
			onvif = true
		}
	}
	for _, x := range m.XAddrs {
		if u, err := url.Parse(x); err == nil && strings.HasPrefix(strings.ToLower(u.Path), "/onvif/") {
			onvif = true
		}
	}
	display := slices.ContainsFunc(m.Types, func(t Type) bool { return t.Local == "NetworkVideoDisplay" })
	return onvif && !display
}

// scopeValues returns the values of the scopes named kind, unescaped: name,
// hardware, location, MAC and others.
func (m Match) scopeValues(kind string) []string {
	var out []string
	for _, s := range m.Scopes {
		if len(s) < len(onvifScope) || !strings.EqualFold(s[:len(onvifScope)], onvifScope) {
			continue
		}
		k, v, ok := strings.Cut(s[len(onvifScope):], "/")
		if !ok || !strings.EqualFold(k, kind) {
			continue
		}
		if plain, err := url.PathUnescape(v); err == nil {
			v = plain
		}
		if v = strings.TrimSpace(strings.ReplaceAll(word(v), "_", " ")); v != "" {
			out = append(out, v)
		}
	}
	return out
}

// scope returns the first value of the scopes named kind.
func (m Match) scope(kind string) string {
	for _, v := range m.scopeValues(kind) {
		return v
	}
	return ""
}
