package camtest

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

const upnpCamera = "urn:schemas-upnp-org:device:DigitalSecurityCamera:1"

// ssdpResponder answers M-SEARCH with where the description is. Answers are
// not spread over MX: there is no air to share on lo.
func ssdpResponder() *responder {
	return &responder{
		name:    "ssdp",
		group:   &net.UDPAddr{IP: net.IPv4(239, 255, 255, 250), Port: 1900},
		answers: ssdpAnswers,
		announce: func(c *camera, gone bool) [][]byte {
			nts := "ssdp:alive"
			if gone {
				nts = "ssdp:byebye"
			}
			var out [][]byte
			for _, nt := range c.targets() {
				out = append(out, fmt.Appendf(nil, "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\nLOCATION: %s\r\nNT: %s\r\nNTS: %s\r\nSERVER: %s\r\nUSN: %s\r\n\r\n",
					c.location(), nt, nts, ssdpServer, c.usn(nt)))
			}
			return out
		},
	}
}

const ssdpServer = "Linux UPnP/1.1 camtest/1.0"

func ssdpAnswers(c *camera, question []byte, _ netip.AddrPort) []reply {
	if !bytes.HasPrefix(question, []byte("M-SEARCH * ")) {
		return nil
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(question)))
	if err != nil || strings.Trim(r.Header.Get("Man"), `"`) != "ssdp:discover" {
		return nil
	}
	st := r.Header.Get("St")
	var out []reply
	for _, t := range c.targets() {
		if st == "ssdp:all" || st == t {
			out = append(out, reply{data: fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nEXT:\r\nLOCATION: %s\r\nSERVER: %s\r\nST: %s\r\nUSN: %s\r\n\r\n",
				c.location(), ssdpServer, t, c.usn(t))})
		}
	}
	return out
}

// targets are what a camera answers to.
func (c *camera) targets() []string {
	return []string{"upnp:rootdevice", "uuid:" + c.id.String(), upnpCamera}
}

func (c *camera) usn(target string) string {
	udn := "uuid:" + c.id.String()
	if target == udn {
		return udn
	}
	return udn + "::" + target
}

func (c *camera) location() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.web == nil {
		return ""
	}
	return c.web.url(descriptionPath)
}
