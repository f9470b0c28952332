package onvif

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WS-UsernameToken is built on it
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// The limits of an answer. GetProfiles of a recorder with 64 channels is about
// 400 KiB and 10,000 elements, ten levels deep.
const (
	maxAnswerBytes    = 2 << 20
	maxAnswerElements = 1 << 16
	maxAnswerDepth    = 64
)

// The namespaces of the two versions of SOAP. ONVIF is 1.2.
const (
	soap12NS = "http://www.w3.org/2003/05/soap-envelope"
	soap11NS = "http://schemas.xmlsoap.org/soap/envelope/"
)

// envelope writes a request. The header is empty or one of wsse.
func envelope(request any, header []byte, soap11 bool) ([]byte, error) {
	body, err := xml.Marshal(request)
	if err != nil {
		return nil, err
	}
	ns := soap12NS
	if soap11 {
		ns = soap11NS
	}
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` +
		`<s:Envelope xmlns:s="` + ns + `"` +
		` xmlns:tds="` + deviceNS + `" xmlns:trt="` + mediaNS + `" xmlns:tr2="` + media2NS + `" xmlns:onvif="` + schemaNS + `">`)
	if len(header) > 0 {
		b.WriteString(`<s:Header>`)
		b.Write(header)
		b.WriteString(`</s:Header>`)
	}
	b.WriteString(`<s:Body>`)
	b.Write(body)
	b.WriteString(`</s:Body></s:Envelope>`)
	return b.Bytes(), nil
}

// wsse returns a WS-UsernameToken with a password digest, made at the camera's
// own time (WS-Security UsernameToken Profile 1.0, 3.1). It is not marked
// mustUnderstand: a camera that does not know it then says so by its own fault.
func wsse(c fleet.Credentials, created time.Time) []byte {
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce) // never fails
	return wsseWith(c, created, nonce)
}

func wsseWith(c fleet.Credentials, created time.Time, nonce []byte) []byte {
	at := created.UTC().Format("2006-01-02T15:04:05.000Z")
	const ns = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
	var b bytes.Buffer
	b.WriteString(`<wsse:Security xmlns:wsse="` + ns + `wssecurity-secext-1.0.xsd" xmlns:wsu="` + ns + `wssecurity-utility-1.0.xsd">` +
		`<wsse:UsernameToken><wsse:Username>`)
	_ = xml.EscapeText(&b, []byte(c.User)) // a buffer takes all
	b.WriteString(`</wsse:Username><wsse:Password Type="` + ns + `username-token-profile-1.0#PasswordDigest">` +
		passwordDigest(nonce, at, c.Password) + `</wsse:Password>` +
		`<wsse:Nonce EncodingType="` + ns + `soap-message-security-1.0#Base64Binary">` +
		base64.StdEncoding.EncodeToString(nonce) + `</wsse:Nonce>` +
		`<wsu:Created>` + at + `</wsu:Created></wsse:UsernameToken></wsse:Security>`)
	return b.Bytes()
}

// passwordDigest is Base64(SHA-1(nonce + created + password)).
func passwordDigest(nonce []byte, created string, password fleet.Secret) string {
	sum := sha1.Sum(slices.Concat(nonce, []byte(created), []byte(password.Reveal()))) //nolint:gosec // the profile knows no other
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Fault is what a camera says when it refuses an operation.
type Fault struct {
	Codes  []string // from the outermost inwards, without prefixes: Sender, NotAuthorized
	Reason string
}

// Error returns the camera's words with its codes.
func (f *Fault) Error() string {
	reason := f.Reason
	if len(reason) > 160 {
		reason = strings.ToValidUTF8(reason[:160], "") + "…"
	}
	switch codes := strings.Join(f.Codes, "/"); {
	case reason == "" && codes == "":
		return "the camera answered with an empty fault"
	case reason == "":
		return "the camera answered " + codes
	case codes == "":
		return "the camera answered: " + reason
	default:
		return "the camera answered " + codes + ": " + reason
	}
}

// NotAuthorized reports whether the fault asks for a login, or refuses one.
// Cameras say so by the code of ONVIF Core, 5.11.2.2, by that of WS-Security,
// or in words alone.
func (f *Fault) NotAuthorized() bool {
	for _, c := range f.Codes {
		switch c {
		case "NotAuthorized", "FailedAuthentication", "InvalidSecurity", "InvalidSecurityToken", "SecurityTokenUnavailable", "Unauthorized":
			return true
		}
	}
	r := strings.ToLower(f.Reason)
	return strings.Contains(r, "not authorized") || strings.Contains(r, "unauthorized") || strings.Contains(r, "authority failure")
}

// login reads what the fault says of further logins.
func (f *Fault) login() guard.LoginState { return guard.ReadLoginState([]byte(f.Reason)) }

// Locked reports whether the fault says that further logins are futile for now.
func (f *Fault) Locked() bool {
	for _, c := range f.Codes {
		if c == "AccountLocked" || c == "UserLocked" {
			return true
		}
	}
	if state := f.login(); state.Told || state.Lock {
		return state.Lock // "3 attempts until it is locked" is not locked
	}
	r := strings.ToLower(f.Reason)
	return strings.Contains(r, "locked") || strings.Contains(r, "too many")
}

// MustUnderstand reports whether the camera stumbled over a header it does not
// know (SOAP 1.2, 5.4.6).
func (f *Fault) MustUnderstand() bool {
	return len(f.Codes) > 0 && f.Codes[0] == "MustUnderstand"
}

// Missing reports whether the camera does not have the operation at all.
func (f *Fault) Missing() bool {
	for _, c := range f.Codes {
		switch c {
		case "ActionNotSupported", "OptionalActionNotImplemented", "NoSuchService", "UnknownAction", "NotImplemented":
			return true
		}
	}
	return false
}

// faultXML is a fault of SOAP 1.2, or of 1.1, which some cameras answer with.
type faultXML struct {
	Code   codeXML
	Reason struct{ Text []string }
	Detail struct {
		Text string
	}
	FaultCode   string `xml:"faultcode"`
	FaultString string `xml:"faultstring"`
}

type codeXML struct {
	Value   string
	Subcode *codeXML
}

func (x *faultXML) fault() *Fault {
	f := &Fault{Reason: x.FaultString}
	if x.FaultCode != "" {
		f.Codes = append(f.Codes, localPart(x.FaultCode))
	}
	for c := &x.Code; c != nil && len(f.Codes) < 8; c = c.Subcode {
		if v := localPart(c.Value); v != "" {
			f.Codes = append(f.Codes, v)
		}
	}
	for _, t := range append(x.Reason.Text, x.Detail.Text) {
		if t = strings.Join(strings.Fields(t), " "); t != "" && f.Reason == "" {
			f.Reason = t
		}
	}
	return f
}

// localPart drops the prefix of a qualified name.
func localPart(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, ':')+1:]
}

// parse reads one answer into what answer points to, or returns its *Fault.
// Elements are matched by their local names: cameras differ in prefixes, and
// some in namespaces. Depth, elements and bytes are bounded.
func parse(body []byte, answer any) error {
	if len(body) > maxAnswerBytes {
		return fleet.Errorf(fleet.CauseTooLarge, "an ONVIF answer of %d bytes: at most %d are read", len(body), maxAnswerBytes)
	}
	inner := xml.NewDecoder(bytes.NewReader(body))
	inner.Strict = false // unescaped ampersands in addresses are common
	inner.Entity = map[string]string{}
	inner.CharsetReader = func(charset string, r io.Reader) (io.Reader, error) {
		if strings.EqualFold(charset, "utf8") {
			return r, nil
		}
		return &latin1{r: r}, nil // right for Latin 1; others lose only names
	}
	type content struct {
		Fault  *faultXML
		Answer elementOf `xml:",any"`
	}
	var e struct{ Body content }
	e.Body.Answer.into = answer
	if err := xml.NewTokenDecoder(&bounded{inner: inner}).Decode(&e); err != nil {
		if ce, ok := err.(*fleet.CameraError); ok { //nolint:errorlint // bounded's own value comes through as it is
			return ce
		}
		return fleet.Errorf(fleet.CauseProtocol, "an ONVIF answer that is no XML: %w", err)
	}
	switch {
	case e.Body.Fault != nil:
		return e.Body.Fault.fault()
	case !e.Body.Answer.came:
		return fleet.Errorf(fleet.CauseProtocol, "an answer that is not ONVIF")
	}
	return nil
}

// elementOf decodes the first element it meets into a value given beforehand.
type elementOf struct {
	into any
	came bool
}

// UnmarshalXML implements xml.Unmarshaler.
func (x *elementOf) UnmarshalXML(d *xml.Decoder, start xml.StartElement) error {
	if x.came {
		return d.Skip()
	}
	x.came = true
	return d.DecodeElement(x.into, &start)
}

// bounded is a token reader with limits, and without namespaces.
type bounded struct {
	inner    *xml.Decoder
	depth    int
	elements int
}

// Token implements xml.TokenReader.
func (b *bounded) Token() (xml.Token, error) {
	t, err := b.inner.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case xml.StartElement:
		b.depth++
		b.elements++
		if b.depth > maxAnswerDepth || b.elements > maxAnswerElements {
			return nil, fleet.Errorf(fleet.CauseTooLarge, "an ONVIF answer with more than %d elements, or %d levels", maxAnswerElements, maxAnswerDepth)
		}
		t.Name.Space = ""
		attrs := make([]xml.Attr, 0, len(t.Attr))
		for _, a := range t.Attr {
			if a.Name.Space != "xmlns" && a.Name.Local != "xmlns" {
				attrs = append(attrs, xml.Attr{Name: xml.Name{Local: a.Name.Local}, Value: a.Value})
			}
		}
		t.Attr = attrs
		return t, nil
	case xml.EndElement:
		b.depth--
		t.Name.Space = ""
		return t, nil
	}
	return t, nil
}

// latin1 reads ISO 8859-1 as UTF-8.
type latin1 struct {
	r    io.Reader
	rest []byte
}

// Read implements io.Reader.
func (l *latin1) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		var in [512]byte
		n, err := l.r.Read(in[:])
		for _, c := range in[:n] {
			l.rest = append(l.rest, string(rune(c))...)
		}
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

// ReadByte implements io.ByteReader, which the XML decoder asks for.
func (l *latin1) ReadByte() (byte, error) {
	var one [1]byte
	if _, err := io.ReadFull(l, one[:]); err != nil {
		return 0, err
	}
	return one[0], nil
}

// time returns the moment, or an error when it is none.
func (d *dateTime) time() (time.Time, error) {
	if d == nil {
		return time.Time{}, fmt.Errorf("no date")
	}
	t := time.Date(d.Date.Year, time.Month(d.Date.Month), d.Date.Day, d.Time.Hour, d.Time.Minute, d.Time.Second, 0, time.UTC)
	if d.Date.Year < 1970 || d.Date.Year > 2200 || d.Date.Month < 1 || d.Date.Month > 12 || t.Day() != d.Date.Day || t.Hour() != d.Time.Hour {
		return time.Time{}, fmt.Errorf("%04d-%02d-%02d %02d:%02d:%02d is no date", d.Date.Year, d.Date.Month, d.Date.Day, d.Time.Hour, d.Time.Minute, d.Time.Second)
	}
	return t, nil
}
