package camtest

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"
)

const (
	addressingNS = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
	discoveryNS  = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
)

// wsResponder answers WS-Discovery: Probe and Resolve, by the group and by
// unicast to a camera's own address.
func wsResponder() *responder {
	return &responder{
		name:    "wsdiscovery",
		group:   &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 3702},
		from:    3702,
		unicast: true,
		answers: wsAnswers,
		announce: func(c *camera, gone bool) [][]byte {
			kind := "Hello"
			if gone {
				kind = "Bye"
			}
			return [][]byte{wsMessage(kind, "urn:schemas-xmlsoap-org:ws:2005:04:discovery", "", "<d:"+kind+">"+c.wsEndpoint(!gone)+"</d:"+kind+">")}
		},
	}
}

type wsQuestion struct {
	XMLName xml.Name `xml:"Envelope"`
	Header  struct {
		MessageID string `xml:"MessageID"`
		Action    string `xml:"Action"`
	} `xml:"Header"`
	Body struct {
		Probe *struct {
			Types  string `xml:"Types"`
			Scopes string `xml:"Scopes"`
		} `xml:"Probe"`
		Resolve *struct {
			Address string `xml:"EndpointReference>Address"`
		} `xml:"Resolve"`
	} `xml:"Body"`
}

// wsAnswers answers what asks for an ONVIF device: by its type, by tds:Device
// or for anything, with scopes that it has.
func wsAnswers(c *camera, question []byte, _ netip.AddrPort) []reply {
	var q wsQuestion
	if xml.Unmarshal(question, &q) != nil || q.Header.MessageID == "" {
		return nil
	}
	const anonymous = "http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous"
	id := strings.TrimSpace(q.Header.MessageID)
	switch {
	case q.Body.Probe != nil:
		for t := range strings.FieldsSeq(q.Body.Probe.Types) {
			_, local, ok := strings.Cut(t, ":")
			if !ok {
				local = t
			}
			if local != "NetworkVideoTransmitter" && local != "Device" {
				return nil
			}
		}
		own := c.scopes()
		for s := range strings.FieldsSeq(q.Body.Probe.Scopes) {
			if !slices.ContainsFunc(own, func(o string) bool { return o == s || strings.HasPrefix(o, strings.TrimSuffix(s, "/")+"/") }) {
				return nil
			}
		}
		return []reply{{data: wsMessage("ProbeMatches", anonymous, id, "<d:ProbeMatches><d:ProbeMatch>"+c.wsEndpoint(true)+"</d:ProbeMatch></d:ProbeMatches>")}}
	case q.Body.Resolve != nil && strings.TrimSpace(q.Body.Resolve.Address) == c.epr():
		return []reply{{data: wsMessage("ResolveMatches", anonymous, id, "<d:ResolveMatches><d:ResolveMatch>"+c.wsEndpoint(true)+"</d:ResolveMatch></d:ResolveMatches>")}}
	}
	return nil
}

func (c *camera) wsEndpoint(whole bool) string {
	s := "<w:EndpointReference><w:Address>" + c.epr() + "</w:Address></w:EndpointReference>"
	if !whole {
		return s
	}
	return s + "<d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types><d:Scopes>" + escape(strings.Join(c.scopes(), " ")) +
		"</d:Scopes><d:XAddrs>" + c.info().ONVIF + "</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
}

func wsMessage(kind, to, relatesTo, body string) []byte {
	if relatesTo != "" {
		relatesTo = "<w:RelatesTo>" + escape(relatesTo) + "</w:RelatesTo>"
	}
	return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:w="%s" xmlns:d="%s" xmlns:dn="http://www.onvif.org/ver10/network/wsdl" xmlns:tds="http://www.onvif.org/ver10/device/wsdl"><e:Header><w:MessageID>urn:uuid:%s</w:MessageID>%s<w:To>%s</w:To><w:Action>%s/%s</w:Action></e:Header><e:Body>%s</e:Body></e:Envelope>`,
		addressingNS, discoveryNS, uuid.NewString(), relatesTo, to, discoveryNS, kind, body)
}
