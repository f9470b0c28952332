package onvif

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WS-UsernameToken 1.0 knows no other
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

const (
	maxAnswer   = 1 << 20 // an NVR with 64 channels answers with about 300 kB
	maxDepth    = 64
	maxElements = 50_000
)

const envelopeHead = `<?xml version="1.0" encoding="UTF-8"?>` +
	`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl" xmlns:onvif="http://www.onvif.org/ver10/schema">`

// envelope wraps a request; a nil login leaves the security header out.
func envelope(request any, login *fleet.Credentials, created time.Time) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(envelopeHead)
	if login != nil {
		b.WriteString(usernameToken(*login, created))
	}
	b.WriteString(`<s:Body>`)
	if err := xml.NewEncoder(&b).Encode(request); err != nil {
		return nil, err
	}
	b.WriteString(`</s:Body></s:Envelope>`)
	return b.Bytes(), nil
}

// usernameToken is a WS-Security header with a password digest: the SHA-1 of
// nonce, time and password (OASIS UsernameToken Profile 1.0). The time is on
// the camera's clock, which is why that is asked for first.
func usernameToken(c fleet.Credentials, created time.Time) string {
	var nonce [16]byte
	rand.Read(nonce[:]) //nolint:errcheck // crypto/rand.Read never fails
	at := created.UTC().Format("2006-01-02T15:04:05.000Z")
	h := sha1.New() //nolint:gosec // see above
	h.Write(nonce[:])
	h.Write([]byte(at))
	h.Write([]byte(c.Password.Reveal()))
	var user bytes.Buffer
	_ = xml.EscapeText(&user, []byte(c.User)) //nolint:errcheck // a bytes.Buffer does not fail
	return `<s:Header><wsse:Security s:mustUnderstand="1" xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd">` +
		`<wsse:UsernameToken><wsse:Username>` + user.String() + `</wsse:Username>` +
		`<wsse:Password Type="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest">` + base64.StdEncoding.EncodeToString(h.Sum(nil)) + `</wsse:Password>` +
		`<wsse:Nonce EncodingType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-soap-message-security-1.0#Base64Binary">` + base64.StdEncoding.EncodeToString(nonce[:]) + `</wsse:Nonce>` +
		`<wsu:Created>` + at + `</wsu:Created></wsse:UsernameToken></wsse:Security></s:Header>`
}

// fault is a SOAP 1.2 fault.
type fault struct {
	codes  []string // code and subcodes, without prefixes
	reason string
}

func (f *fault) is(code string) bool {
	for _, c := range f.codes {
		if strings.EqualFold(c, code) {
			return true
		}
	}
	return false
}

// notAuthorized reports whether the fault asks for a login, or refuses one.
// Cameras spell it in many ways.
func (f *fault) notAuthorized() bool {
	if f.is("NotAuthorized") || f.is("FailedAuthentication") || f.is("InvalidSecurity") || f.is("FailedCheck") || f.is("OperationProhibited") {
		return true
	}
	r := strings.ToLower(f.reason)
	return strings.Contains(r, "not authorized") || strings.Contains(r, "unauthorized") || strings.Contains(r, "authority failure")
}

// parse reads an envelope: into `into` what the body holds, or a fault. Names
// are matched without their namespaces, which cameras get wrong.
func parse(data []byte, into any) (*fault, error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	depth := 0
	for n := 0; ; n++ {
		t, err := d.Token()
		if err != nil {
			return nil, errors.New("no SOAP body")
		}
		switch e := t.(type) {
		case xml.StartElement:
			if depth++; depth > maxDepth || n > maxElements {
				return nil, errors.New("XML is nested too deep")
			}
			if e.Name.Local != "Body" {
				continue
			}
			return body(d, into)
		case xml.EndElement:
			depth--
		}
	}
}

func body(d *xml.Decoder, into any) (*fault, error) {
	for {
		t, err := d.Token()
		if err != nil {
			return nil, errors.New("the SOAP body is cut off")
		}
		switch e := t.(type) {
		case xml.EndElement:
			return nil, errors.New("the SOAP body is empty")
		case xml.StartElement:
			if e.Name.Local != "Fault" {
				if err := d.DecodeElement(into, &e); err != nil {
					return nil, err
				}
				return nil, nil
			}
			var f struct {
				Value   []string `xml:"Code>Value"`
				Sub     []string `xml:"Code>Subcode>Value"`
				SubSub  []string `xml:"Code>Subcode>Subcode>Value"`
				Text    []string `xml:"Reason>Text"`
				Code11  string   `xml:"faultcode"`
				Text11  string   `xml:"faultstring"`
				Details string   `xml:"Detail>Text"`
			}
			if err := d.DecodeElement(&f, &e); err != nil {
				return nil, err
			}
			out := &fault{reason: strings.TrimSpace(strings.Join(append(f.Text, f.Text11, f.Details), " "))}
			for _, c := range append(append(append(f.Value, f.Sub...), f.SubSub...), f.Code11) {
				if i := strings.LastIndexByte(c, ':'); i >= 0 {
					c = c[i+1:]
				}
				out.codes = append(out.codes, strings.TrimSpace(c))
			}
			if len(out.reason) > 200 {
				out.reason = out.reason[:200]
			}
			return out, nil
		}
	}
}

// post sends an envelope. HTTP digest is the guard's matter: it answers a 401
// with what login holds.
func (c *Client) post(ctx context.Context, login guard.Login, xaddr string, msg []byte) (*guard.Response, error) {
	return c.guard.Do(ctx, login, guard.Request{
		Method: http.MethodPost, URL: xaddr, Body: msg, MaxBytes: maxAnswer,
		Header: http.Header{"Content-Type": {"application/soap+xml; charset=utf-8"}},
	})
}
