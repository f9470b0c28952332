package vendor

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strconv"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// identity is what a device said of itself.
type identity struct {
	vendor, model, name, serial, firmware, mac string

	channels []channel
}

// channel is a video source of a recorder. Its number is the device's own.
type channel struct {
	number  int
	name    string
	streams []stream // main first; none when the device does not list them
}

type stream struct {
	codec         fleet.Codec
	width, height int
}

func itoa(n int) string { return strconv.Itoa(n) }

// reader takes one answer into an identity. Its errors have cause protocol.
type reader func(body []byte, id *identity) error

func unreadable(what string) error {
	return fleet.Errorf(fleet.CauseProtocol, "the answer is not the maker's %s", what)
}

// pairs reads lines of key=value, values bare or in single or double quotes, as
// most CGI answers are; ampersands separate too where a whole line has them.
// Keys are in lower case; the first of a key stands.
func pairs(body []byte) map[string]string {
	const most = 4096
	out := make(map[string]string)
	text := strings.ToValidUTF8(string(body), "")
	if !strings.ContainsAny(strings.TrimSpace(text), "\r\n") {
		text = strings.ReplaceAll(text, "&", "\n")
	}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if !ok || key == "" || strings.ContainsAny(key, " <>{}") || len(out) >= most {
			continue
		}
		value = strings.TrimSpace(value)
		if n := len(value); n >= 2 && (value[0] == '\'' || value[0] == '"') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		if _, again := out[key]; !again {
			out[key] = value
		}
	}
	return out
}

// fields returns a reader of key=value lines: which key is which part. One of
// them must be there.
func fields(what string, parts map[string]func(*identity) *string) reader {
	return func(body []byte, id *identity) error {
		got, any := pairs(body), false
		for key, part := range parts {
			if v := got[key]; v != "" {
				any = true
				if p := part(id); *p == "" {
					*p = v
				}
			}
		}
		if !any {
			return unreadable(what)
		}
		return nil
	}
}

func modelOf(id *identity) *string    { return &id.model }
func nameOf(id *identity) *string     { return &id.name }
func serialOf(id *identity) *string   { return &id.serial }
func firmwareOf(id *identity) *string { return &id.firmware }
func macOf(id *identity) *string      { return &id.mac }

// readChannelTitles reads Dahua's table.ChannelTitle[0].Name=…: one line a
// channel, counted from 0 there and from 1 in addresses.
func readChannelTitles(body []byte, id *identity) error {
	got := pairs(body)
	for i := range maxChannels {
		name, ok := got["table.channeltitle["+itoa(i)+"].name"]
		if !ok {
			break
		}
		id.channels = append(id.channels, channel{number: i + 1, name: name})
	}
	if len(id.channels) == 0 {
		return unreadable("list of channels")
	}
	return nil
}

// readDahuaVersion reads version=2.800.0000016.0.R,build:2020-06-05.
func readDahuaVersion(body []byte, id *identity) error {
	v := pairs(body)["version"]
	if v == "" {
		return unreadable("software version")
	}
	version, build, _ := strings.Cut(v, ",build:")
	id.firmware = strings.TrimSpace(version + " " + build)
	return nil
}

// decodeXML reads a document without regard to namespaces: makers change theirs
// with every version.
func decodeXML(body []byte, into any) error {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = false
	d.Entity = map[string]string{}
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	return d.Decode(into)
}

// readISAPIDevice reads /ISAPI/System/deviceInfo.
func readISAPIDevice(body []byte, id *identity) error {
	var a struct {
		XMLName              xml.Name
		DeviceName           string `xml:"deviceName"`
		Model                string `xml:"model"`
		SerialNumber         string `xml:"serialNumber"`
		MACAddress           string `xml:"macAddress"`
		FirmwareVersion      string `xml:"firmwareVersion"`
		FirmwareReleasedDate string `xml:"firmwareReleasedDate"`
		Manufacturer         string `xml:"manufacturer"`
	}
	if err := decodeXML(body, &a); err != nil || a.XMLName.Local != "DeviceInfo" || a.Model == "" {
		return unreadable("DeviceInfo")
	}
	id.model, id.name, id.serial, id.mac = a.Model, a.DeviceName, a.SerialNumber, a.MACAddress
	id.firmware = strings.TrimSpace(a.FirmwareVersion + " " + a.FirmwareReleasedDate)
	id.vendor = a.Manufacturer
	return nil
}

// readISAPIStreams reads /ISAPI/Streaming/channels. An id is the channel times
// 100 plus the stream, main first.
func readISAPIStreams(body []byte, id *identity) error {
	var a struct {
		XMLName  xml.Name
		Channels []struct {
			ID      int    `xml:"id"`
			Name    string `xml:"channelName"`
			Enabled string `xml:"enabled"`
			Video   struct {
				Codec  string `xml:"videoCodecType"`
				Width  int    `xml:"videoResolutionWidth"`
				Height int    `xml:"videoResolutionHeight"`
			} `xml:"Video"`
		} `xml:"StreamingChannel"`
	}
	if err := decodeXML(body, &a); err != nil || a.XMLName.Local != "StreamingChannelList" {
		return unreadable("StreamingChannelList")
	}
	index := map[int]int{}
	for _, s := range a.Channels {
		n, k := s.ID/100, s.ID%100
		if n < 1 || n > maxChannels || k < 1 || k > 2 || len(id.channels) >= maxChannels {
			continue // third streams and transcoded ones are for phones
		}
		i, ok := index[n]
		if !ok {
			i = len(id.channels)
			index[n] = i
			id.channels = append(id.channels, channel{number: n, name: s.Name})
		}
		ch := &id.channels[i]
		if k != len(ch.streams)+1 {
			continue
		}
		ch.streams = append(ch.streams, stream{codec(s.Video.Codec), dimension(s.Video.Width), dimension(s.Video.Height)})
	}
	if len(id.channels) == 0 {
		return unreadable("list of channels")
	}
	return nil
}

// codec is the encoding's name in this house, or "" for one that is not read.
func codec(name string) fleet.Codec {
	switch strings.ToUpper(strings.NewReplacer(".", "", "-", "", "+", "").Replace(strings.TrimSpace(name))) {
	case "MJPEG", "JPEG":
		return fleet.JPEG
	case "H264":
		return fleet.H264
	case "H265", "HEVC":
		return fleet.H265
	}
	return ""
}

// dimension keeps a size that a picture can have.
func dimension(n int) int {
	if n < 0 || n > 1<<16 {
		return 0
	}
	return n
}

// readAxisProperties reads basicdeviceinfo.cgi.
func readAxisProperties(body []byte, id *identity) error {
	var a struct {
		Data struct {
			PropertyList struct {
				Brand, ProdNbr, ProdFullName, SerialNumber, Version string
			} `json:"propertyList"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Data.PropertyList.ProdNbr == "" {
		return unreadable("property list")
	}
	p := a.Data.PropertyList
	id.vendor, id.model, id.name, id.serial, id.firmware = p.Brand, p.ProdNbr, p.ProdFullName, p.SerialNumber, p.Version
	id.mac = p.SerialNumber // Axis numbers its devices by their MAC
	return nil
}

// readLAPIDevice reads /LAPI/V1.0/System/DeviceInfo.
func readLAPIDevice(body []byte, id *identity) error {
	var a struct {
		Response struct {
			Data struct {
				DeviceName, DeviceModel, SerialNumber, FirmwareVersion string
			}
		}
	}
	if err := json.Unmarshal(body, &a); err != nil || a.Response.Data.DeviceModel == "" {
		return unreadable("DeviceInfo")
	}
	d := a.Response.Data
	id.model, id.name, id.serial, id.firmware = d.DeviceModel, d.DeviceName, d.SerialNumber, d.FirmwareVersion
	return nil
}
