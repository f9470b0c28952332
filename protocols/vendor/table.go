package vendor

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// Maker is a row of the table.
type Maker struct {
	Name    string
	Sources []string // public documents that say what follows

	// Signs of its devices. One is enough: the first bytes of a MAC, or a part of
	// the Server header, of an authentication realm, or of the front page's text.
	OUIs   []string
	Server []string
	Realm  []string
	Page   []string

	Info     string // the call that tells who it is; "" when every one wants a password in its address
	Format   Format // of its answer
	Keys     Keys   // where in it
	First    int    // number of the first channel in paths
	Snapshot string // path of a JPEG; {channel} is the channel's number
	Streams  []Stream
}

// Stream is a stream's path, the smallest first.
type Stream struct{ Name, Path string }

// Keys names the values of an answer; "" is what it does not tell.
type Keys struct{ Model, Serial, Firmware, MAC, Channels string }

// Makers returns the table. Names of products are those of their makers.
func Makers() []Maker {
	return []Maker{
		{
			Name: "Axis",
			Sources: []string{
				"https://developer.axis.com/vapix/network-video/video-streaming",
				"https://developer.axis.com/vapix/network-video/parameter-management",
			},
			OUIs:   []string{"00:40:8c:", "ac:cc:8e:", "b8:a4:4f:", "e8:27:25:"},
			Realm:  []string{"AXIS_"},
			Page:   []string{"/camera/index.html", "axis-cgi"},
			Info:   "/axis-cgi/param.cgi?action=list&group=Brand,Properties.Firmware,Properties.System,ImageSource.NbrOfSources",
			Format: Lines,
			Keys: Keys{
				Model: "root.Brand.ProdNbr", Serial: "root.Properties.System.SerialNumber",
				Firmware: "root.Properties.Firmware.Version", MAC: "root.Properties.System.SerialNumber", Channels: "root.ImageSource.NbrOfSources",
			},
			First:    1,
			Snapshot: "/axis-cgi/jpg/image.cgi?camera={channel}",
			Streams:  []Stream{{"small", "/axis-media/media.amp?camera={channel}&resolution=640x360"}, {"main", "/axis-media/media.amp?camera={channel}"}},
		},
		{
			Name: "Hikvision",
			Sources: []string{
				"https://supportusa.hikvision.com/support/solutions/articles/17000129022-do-you-have-an-example-showing-the-format-for-getting-a-rtsp-stream-from-a-camera-",
				"https://www.scribd.com/document/512990854/Hikvision-ISAPI-Core-Protocol",
			},
			Server:   []string{"DNVRS-Webs", "Hikvision-Webs", "App-webs"},
			Realm:    []string{"Hikvision", "DS-2CD"},
			Page:     []string{"/doc/page/login.asp"},
			Info:     "/ISAPI/System/deviceInfo",
			Format:   XML,
			Keys:     Keys{Model: "model", Serial: "serialNumber", Firmware: "firmwareVersion", MAC: "macAddress"},
			First:    1,
			Snapshot: "/ISAPI/Streaming/channels/{channel}01/picture",
			Streams:  []Stream{{"sub", "/Streaming/Channels/{channel}02"}, {"main", "/Streaming/Channels/{channel}01"}},
		},
		{
			Name: "Dahua",
			Sources: []string{
				"https://github.com/JYOuyang/python-amcrest",
				"https://socket.dev/npm/package/@scrypted/amcrest/diff/0.0.114",
				"https://github.com/rroller/dahua/issues/603",
			},
			Realm:    []string{"Login to "},
			Page:     []string{"/jsBase/lib", "/baseProj/"},
			Info:     "/cgi-bin/magicBox.cgi?action=getSystemInfo",
			Format:   Lines,
			Keys:     Keys{Model: "updateSerial", Serial: "serialNumber"},
			First:    1,
			Snapshot: "/cgi-bin/snapshot.cgi?channel={channel}",
			Streams:  []Stream{{"sub", "/cam/realmonitor?channel={channel}&subtype=1"}, {"main", "/cam/realmonitor?channel={channel}&subtype=0"}},
		},
		{
			Name: "Vivotek",
			Sources: []string{
				"https://www.manualsdir.com/manuals/864969/vivotek-fe9380-hv-5mp-outdoor-network-fisheye-dome-camera-with-night-vision.html?page=313",
			},
			OUIs:     []string{"00:02:d1:"},
			Server:   []string{"Vivotek"},
			Realm:    []string{"streaming_server", "VIVOTEK"},
			Info:     "/cgi-bin/viewer/getparam.cgi?system_info_modelname&system_info_serialnumber&system_info_firmwareversion",
			Format:   Lines,
			Keys:     Keys{Model: "system_info_modelname", Serial: "system_info_serialnumber", Firmware: "system_info_firmwareversion", MAC: "system_info_serialnumber"},
			Snapshot: "/cgi-bin/viewer/video.jpg?channel={channel}",
			Streams:  []Stream{{"second", "/live2.sdp"}, {"first", "/live.sdp"}},
		},
		{
			Name:     "Sony",
			Sources:  []string{"http://somanuals.com/html/15/Sony-Security-Camera-SNCDH110W-User-Manual.html"},
			Server:   []string{"gen5th", "gen6th", "NetEVI"},
			Realm:    []string{"Sony Network Camera"},
			Info:     "/command/inquiry.cgi?inq=system",
			Format:   Pairs,
			Keys:     Keys{Model: "ModelName", Serial: "Serial", Firmware: "SoftVersion"},
			Snapshot: "/oneshotimage1",
			Streams:  []Stream{{"second", "/media/video2"}, {"first", "/media/video1"}},
		},
		{
			// Its snapshot wants the password in its address.
			Name:    "Reolink",
			Sources: []string{"https://support.reolink.com/hc/en-us/articles/900000630706-Introduction-to-RTSP/"},
			OUIs:    []string{"ec:71:db:"},
			Page:    []string{"<title>Reolink"},
			First:   1,
			Streams: []Stream{{"sub", "/h264Preview_0{channel}_sub"}, {"main", "/h264Preview_0{channel}_main"}},
		},
		{
			Name:    "Tapo",
			Sources: []string{"https://actutana.com/video-streaming-what-is-rtsp-streaming/", "https://smartcamalerts.com/blog/rtsp-camera-setup.html"},
			Page:    []string{"<title>Tapo"},
			Streams: []Stream{{"sub", "/stream2"}, {"main", "/stream1"}},
		},
	}
}

// signed reports whether an answer of a device's front page bears a sign of the
// maker.
func (m *Maker) signed(h http.Header, page []byte) bool {
	for _, s := range m.Server {
		if strings.Contains(h.Get("Server"), s) {
			return true
		}
	}
	for _, challenge := range h.Values("Www-Authenticate") {
		for _, s := range m.Realm {
			if strings.Contains(challenge, `realm="`+s) {
				return true
			}
		}
	}
	for _, s := range m.Page {
		if bytes.Contains(page, []byte(s)) {
			return true
		}
	}
	return false
}

// facts is what a maker's call tells.
type facts struct {
	model, serial, firmware, mac string
	channels                     int
}

func (m *Maker) facts(values map[string]string) facts {
	get := func(key string) string {
		if key == "" {
			return ""
		}
		return values[key]
	}
	f := facts{model: get(m.Keys.Model), serial: get(m.Keys.Serial), firmware: get(m.Keys.Firmware), mac: mac(get(m.Keys.MAC))}
	f.channels, _ = strconv.Atoi(get(m.Keys.Channels)) // none told: one
	return f
}

// mac returns a hardware address in lower case with colons, also when it came
// without them as serials have it, or "".
func mac(s string) string {
	if len(s) == 12 && !strings.ContainsAny(s, ":-.") {
		s = s[:2] + ":" + s[2:4] + ":" + s[4:6] + ":" + s[6:8] + ":" + s[8:10] + ":" + s[10:]
	}
	a, err := net.ParseMAC(s)
	if err != nil || len(a) != 6 || a[0]&1 != 0 || bytes.Equal(a, make([]byte, 6)) {
		return ""
	}
	return a.String()
}

func itoa(n int) string { return strconv.Itoa(n) }
