package vendor

import (
	"context"
	"net/http"
)

// row is one maker.
type row struct {
	vendor string
	source string // the public document that the calls and paths are from

	// Evidence. Words are looked for in what the device says of itself, in lower
	// case; OUIs are the maker's own in the IEEE's registry.
	words, paths, ouis []string

	// calls are made in their order; one that fails ends the row, unless it is
	// optional.
	calls []ask
	talk  func(context.Context, *session) (identity, error) // where calls follow from each other; optional

	// Addresses; {channel} is the channel's number, {channel2} with two digits, and
	// first that of the only one.
	first           int
	snapshot, mjpeg string
	streams         []string // RTSP at port 554, main first
}

// ask is one call that tells who the device is.
type ask struct {
	method, path, body string
	open               bool // no login is needed for it, and none is sent
	optional           bool
	read               reader
}

func get(path string, r reader) ask { return ask{method: http.MethodGet, path: path, read: r} }

func (a ask) maybe() ask { a.optional = true; return a }

// table returns the makers whose calls are known. A new row needs a document that
// anybody can read, and answers rebuilt from it in testdata.
func table() []row {
	dahuaCalls := []ask{
		get("/cgi-bin/magicBox.cgi?action=getSystemInfo", fields("getSystemInfo", map[string]func(*identity) *string{
			"devicetype": modelOf, "serialnumber": serialOf,
		})),
		get("/cgi-bin/magicBox.cgi?action=getSoftwareVersion", readDahuaVersion).maybe(),
		get("/cgi-bin/configManager.cgi?action=getConfig&name=ChannelTitle", readChannelTitles).maybe(),
	}
	dahua := row{
		vendor: "Dahua", source: "https://www.scribd.com/document/874814748/dahua-http-api-all-cgis",
		// The realm of RTSP and CGI is "Login to SERIAL" (scottlamb/retina 62), or
		// "Device_CGI" on old firmware (rroller/dahua 583).
		words: []string{"dahua", "login to ", "device_cgi"},
		paths: []string{"/cam/realmonitor", "/cgi-bin/snapshot.cgi", "/cgi-bin/mjpg/video.cgi"},
		ouis:  []string{"3c:ef:8c", "4c:11:bf", "90:02:a9", "e0:50:8b", "38:af:29", "14:a7:8b"},
		calls: dahuaCalls,
		first: 1, snapshot: "/cgi-bin/snapshot.cgi?channel={channel}",
		streams: []string{"/cam/realmonitor?channel={channel}&subtype=0", "/cam/realmonitor?channel={channel}&subtype=1"},
	}
	amcrest := dahua
	amcrest.vendor, amcrest.source = "Amcrest", "https://s3.amazonaws.com/amcrest-files/Amcrest+HTTP+API+3.2017.pdf"
	amcrest.words, amcrest.paths, amcrest.ouis = []string{"amcrest"}, nil, []string{"9c:8e:cd"}
	return []row{
		{
			vendor: "Axis", source: "https://developer.axis.com/vapix/network-video/basic-device-information",
			words: []string{"axis_", "axis network", "axis communications", "axis video"},
			paths: []string{"/axis-media/", "/axis-cgi/"},
			ouis:  []string{"00:40:8c", "ac:cc:8e", "b8:a4:4f", "e8:27:25"},
			calls: []ask{
				{method: http.MethodPost, path: "/axis-cgi/basicdeviceinfo.cgi", open: true, read: readAxisProperties, optional: true,
					body: `{"apiVersion":"1.0","method":"getAllUnrestrictedProperties"}`},
			},
			// Sources but the first take camera=N ("Video streaming", 2.7).
			first: 1, snapshot: "/axis-cgi/jpg/image.cgi", mjpeg: "/axis-cgi/mjpg/video.cgi", streams: []string{"/axis-media/media.amp"},
		},
		{
			vendor: "Hikvision", source: "https://www.scribd.com/document/512990854/Hikvision-ISAPI-Core-Protocol",
			words: []string{"hikvision", "app-webs", "dnvrs-webs", "dvrdvs-webs"},
			paths: []string{"/streaming/channels/", "/isapi/", "/h264/ch"},
			ouis:  []string{"c0:56:e3", "44:19:b6", "bc:ad:28", "4c:bd:8f", "28:57:be", "a4:14:37", "54:c4:15", "bc:5e:33", "24:28:fd"},
			calls: []ask{
				get("/ISAPI/System/deviceInfo", readISAPIDevice),
				get("/ISAPI/Streaming/channels", readISAPIStreams).maybe(),
			},
			first: 1, snapshot: "/ISAPI/Streaming/channels/{channel}01/picture",
			streams: []string{"/Streaming/Channels/{channel}01", "/Streaming/Channels/{channel}02"},
		},
		amcrest,
		dahua,
		{
			vendor: "Hanwha", source: "https://support.hanwhasecurity.com/hc/en-us/articles/236372028-Camera-RTSP-URL",
			// The realm is "iPOLiS" (Ullaakut/cameradar 199).
			words: []string{"hanwha", "wisenet", "ipolis", "samsung techwin"},
			paths: []string{"/stw-cgi/"},
			ouis:  []string{"00:09:18", "00:16:6c", "e4:30:22"},
			calls: []ask{
				get("/stw-cgi/system.cgi?msubmenu=deviceinfo&action=view", fields("deviceinfo", map[string]func(*identity) *string{
					"model": modelOf, "serialnumber": serialOf, "firmwareversion": firmwareOf, "connectedmacaddress": macOf, "devicename": nameOf,
				})),
			},
			snapshot: "/stw-cgi/video.cgi?msubmenu=snapshot&action=view&Channel={channel}",
			streams:  []string{"/profile2/media.smp"},
		},
		{
			// Snapshots take the password in the address, or a session's token,
			// neither of which an address here may hold; its streams do not.
			vendor: "Reolink", source: "https://support.reolink.com/hc/en-us/articles/900000630706-Introduction-to-RTSP/",
			words: []string{"reolink"},
			paths: []string{"/h264preview_", "/h265preview_", "/preview_"},
			ouis:  []string{"ec:71:db"},
			talk:  reolink,
			first: 1, streams: []string{"/Preview_{channel2}_main", "/Preview_{channel2}_sub"},
		},
		{
			vendor: "Vivotek", source: "https://www.manualshelf.com/manual/vivotek/fd8133/specifications-english/page-136.html",
			words: []string{"vivotek"},
			paths: []string{"/cgi-bin/viewer/video.jpg", "/live.sdp"},
			ouis:  []string{"00:02:d1"},
			calls: []ask{
				get("/cgi-bin/viewer/getparam.cgi?system_info", fields("system_info", map[string]func(*identity) *string{
					"system_info_modelname": modelOf, "system_info_serialnumber": serialOf, "system_info_firmwareversion": firmwareOf, "system_hostname": nameOf,
				})).maybe(),
			},
			snapshot: "/cgi-bin/viewer/video.jpg?channel={channel}", streams: []string{"/live.sdp"},
		},
		{
			vendor: "Bosch", source: "https://resources-boschsecurity-cdn.azureedge.net/public/documents/RTSP_VIP_Configuration_Note_enUS_9007200806939915.pdf",
			words: []string{"bosch", "please log in with a valid username"},
			paths: []string{"/rtsp_tunnel", "/snap.jpg"},
			ouis:  []string{"00:07:5f", "00:04:63"},
			first: 1, snapshot: "/snap.jpg", streams: []string{"/?h26x=4&line={channel}&inst=1", "/?h26x=4&line={channel}&inst=2"},
		},
		{
			vendor: "Uniview", source: "https://wiki.zohead.com/技术/音视频/监控/宇视RTSP取流URL格式.md",
			words: []string{"uniview", "zhejiang uniview"},
			paths: []string{"/lapi/", "/media/video", "/unicast/c"},
			ouis:  []string{"48:ea:63", "6c:f1:7e"},
			calls: []ask{get("/LAPI/V1.0/System/DeviceInfo", readLAPIDevice)},
			first: 1, streams: []string{"/media/video1", "/media/video2"},
		},
		{
			vendor: "Mobotix", source: "https://developer.mobotix.com/paks/help_cgi-image.html",
			words: []string{"mobotix"},
			paths: []string{"/control/faststream.jpg", "/cgi-bin/faststream.jpg", "/record/current.jpg"},
			ouis:  []string{"00:03:c5"},
			first: 1, snapshot: "/cgi-bin/image.jpg", mjpeg: "/control/faststream.jpg?stream=full",
		},
		{
			vendor: "Sony", source: "https://manualmachine.com/sony/sncdh110w/544166-user-manual-2",
			words: []string{"sony network camera", "snc-"},
			paths: []string{"/oneshotimage"},
			calls: []ask{
				get("/command/inquiry.cgi?inq=system", fields("inquiry", map[string]func(*identity) *string{
					"modelname": modelOf, "serial": serialOf, "softversion": firmwareOf,
				})),
			},
			first: 1, snapshot: "/oneshotimage", mjpeg: "/mjpeg",
		},
		{
			// The BB- and BL-series and their like.
			vendor: "Panasonic", source: "https://fdocuments.us/document/camera-cgi-interface-v351.html",
			words: []string{"panasonic network", "panasonic communications"},
			paths: []string{"/snapshotjpeg", "/nphmotionjpeg"},
			ouis:  []string{"08:00:23", "00:80:f0"},
			first: 1, snapshot: "/SnapshotJPEG?Resolution=640x480", mjpeg: "/nphMotionJpeg?Resolution=640x480",
		},
		{
			// No HTTP at all; the user is the camera account of its app.
			vendor: "TP-Link", source: "https://www.tp-link.com/us/support/faq/2680/",
			words: []string{"tapo", "tp-link ipc"},
			paths: []string{"/stream1", "/stream2"},
			first: 1, streams: []string{"/stream1", "/stream2"},
		},
		{
			// Its CGI takes user and password in the address alone ("General
			// description" of the document), so only streams are here.
			vendor: "Foscam", source: "https://www.easymanua.ls/foscam/ip-camera/manual?p=6",
			words: []string{"foscam"},
			paths: []string{"/videomain", "/videosub"},
			first: 1, streams: []string{"/videoMain", "/videoSub"},
		},
	}
}
