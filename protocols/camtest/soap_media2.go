package camtest

import (
	"encoding/xml"
	"fmt"
	"net"
	"net/http"
	"net/url"
)

const (
	media2NS   = "http://www.onvif.org/ver20/media/wsdl"
	media2Path = "/onvif/media2_service"

	// profile2Token is the profile that Media 2 alone lists.
	profile2Token = "profile_2"
)

// media2 answers the Media 2 service of a camera that has one: the first profile
// again, and one of H.265, whose encoding Media 1 cannot name (Media Service
// Specification 5.2.3). It reports whether it has answered.
func (s *soapService) media2(rw http.ResponseWriter, call xml.Name, token string) bool {
	if !s.c.Media2 || call.Space != media2NS {
		return false
	}
	profile := func(token, encoding string, width, height int) string {
		return fmt.Sprintf(`<tr2:Profiles token="%[1]s" fixed="true"><tr2:Name>%[1]s</tr2:Name><tr2:Configurations>`+
			`<tr2:VideoSource token="vsc_1"><tt:Name>vsc_1</tt:Name><tt:UseCount>2</tt:UseCount><tt:SourceToken>%[2]s</tt:SourceToken><tt:Bounds x="0" y="0" width="%[4]d" height="%[5]d"/></tr2:VideoSource>`+
			`<tr2:VideoEncoder token="vec_%[1]s"><tt:Name>vec</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>%[3]s</tt:Encoding><tt:Resolution><tt:Width>%[4]d</tt:Width><tt:Height>%[5]d</tt:Height></tt:Resolution><tt:Quality>4</tt:Quality></tr2:VideoEncoder>`+
			`</tr2:Configurations></tr2:Profiles>`, token, sourceToken, encoding, width, height)
	}
	answer := ""
	switch i := s.c.info(); call.Local {
	case "GetProfiles":
		first, width, height := s.encoding()
		answer = `<tr2:GetProfilesResponse>` + profile(profile2Token, "H265", 3840, 2160) + profile(profileToken, first, width, height) + `</tr2:GetProfilesResponse>`
	case "GetStreamUri":
		uri := i.RTSP
		if token == profile2Token && uri != "" {
			uri += "/h265"
		}
		if uri = s.renamed(uri); uri != "" {
			answer = `<tr2:GetStreamUriResponse><tr2:Uri>` + uri + `</tr2:Uri></tr2:GetStreamUriResponse>`
		}
	case "SetSynchronizationPoint":
		s.c.counted(func(n *Stats) { n.Synchronized++ })
		answer = `<tr2:SetSynchronizationPointResponse/>`
	}
	// GetSnapshotUri is left to Media 1, as by some cameras.
	if answer == "" {
		return false
	}
	if call.Local != "GetProfiles" && token != profileToken && token != profile2Token {
		s.noProfile(rw)
		return true
	}
	s.write(rw, http.StatusOK, answer)
	return true
}

// named is the address of a service as the camera names it.
func (s *soapService) named(path string) string {
	if s.web.media != nil && path != onvifPath {
		return s.renamed(s.web.scheme() + "://" + s.web.media.String() + path)
	}
	return s.renamed(s.web.url(path))
}

// renamed is an address with the host that the camera believes to have.
func (s *soapService) renamed(address string) string {
	u, err := url.Parse(address)
	if err != nil || address == "" || s.c.NAT == "" {
		return address
	}
	if _, _, err := net.SplitHostPort(s.c.NAT); err == nil {
		u.Host = s.c.NAT
	} else {
		u.Host = net.JoinHostPort(s.c.NAT, u.Port())
	}
	return u.String()
}
