package rtsp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// FuzzAssemble feeds the three assemblers any packets: each is a length of two
// bytes, a byte of flags and the payload.
func FuzzAssemble(f *testing.F) {
	seed := func(payloads ...[]byte) {
		var b []byte
		for i, p := range payloads {
			b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
			flags := byte(1)
			if i == len(payloads)-1 {
				flags = 3
			}
			b = append(append(b, flags), p...)
		}
		f.Add(byte(0), b)
		f.Add(byte(1), b)
		f.Add(byte(2), b)
	}
	seed([]byte{0x67, 1, 2}, []byte{0x68, 1, 2}, []byte{0x65, 0x88, 1})
	seed([]byte{0x7c, 0x85, 0x88, 1}, []byte{0x7c, 0x05, 1}, []byte{0x7c, 0x45, 2})
	seed([]byte{0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 1})
	seed([]byte{0x40, 1, 1}, []byte{0x42, 1, 1}, []byte{0x44, 1, 1}, []byte{0x26, 1, 0x80})
	seed([]byte{0x62, 1, 0x93, 0x80}, []byte{0x62, 1, 0x13, 1}, []byte{0x62, 1, 0x53, 1})
	seed(append([]byte{0, 0, 0, 0, 1, 255, 20, 12, 0, 0, 0, 128}, make([]byte, 140)...))
	seed([]byte{0, 0, 0, 0, 1, 127, 20, 12, 1}, []byte{0, 0, 0, 1, 1, 127, 20, 12, 1})

	f.Fuzz(func(t *testing.T, kind byte, in []byte) {
		_, a, err := newAssembler([]format.Format{
			&format.MJPEG{}, &format.H264{PayloadTyp: 96, PacketizationMode: 1}, &format.H265{PayloadTyp: 96},
		}[kind%3])
		if err != nil {
			t.Fatal(err)
		}
		var seq uint16
		var stamp uint32
		for len(in) >= 3 {
			n, flags := int(binary.BigEndian.Uint16(in)), in[2]
			in = in[3:]
			n = min(n, len(in))
			seq += uint16(flags & 1)
			stamp += uint32(flags >> 4)
			p := &rtp.Packet{Header: rtp.Header{SequenceNumber: seq, Timestamp: stamp, Marker: flags&2 != 0}, Payload: in[:n]}
			in = in[n:]
			out, err := a.push(p)
			if v := a.verdict(); v == nil || v.Error() == "" {
				t.Fatal("no verdict")
			}
			if err != nil {
				return
			}
			if out == nil {
				continue
			}
			if kind%3 == 0 && (!bytes.HasPrefix(out, []byte{0xff, 0xd8}) || !bytes.HasSuffix(out, []byte{0xff, 0xd9})) {
				t.Fatalf("no JPEG: %x", out)
			}
			if kind%3 != 0 && !bytes.HasPrefix(out, []byte{0, 0, 0, 1}) {
				t.Fatalf("no Annex B: %x", out)
			}
		}
	})
}

// descriptions are those of TestChoose, and what FuzzDescription begins with.
var descriptions = []struct {
	name, media string
	codec       fleet.Codec
	says        string
}{
	{"H.264", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z2QADKw7ULBLQgAAAwACAAADAD0I,aO48gA==\r\n", fleet.H264, ""},
	{"H.264, mode 0, no sets", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=0\r\n", fleet.H264, ""},
	{"H.264 without fmtp", "m=video 0 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\n", fleet.H264, ""},
	{"H.264 with broken sets", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 sprop-parameter-sets=%%%,\r\n", fleet.H264, ""},
	{"audio without its configuration", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/8000\r\na=fmtp:97 mode=AAC-hbr; config=zz\r\n", fleet.H264, ""},
	{"a media of nonsense first", "m=audio x\r\nm=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\n", fleet.H265, ""},
	{"interleaved mode", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=2\r\n", "", "not usable"},
	{"H.265", "m=video 0 RTP/AVP 98\r\na=rtpmap:98 H265/90000\r\n", fleet.H265, ""},
	{"M-JPEG", "m=video 0 RTP/AVP 26\r\n", fleet.JPEG, ""},
	{"M-JPEG beside H.264", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=video 0 RTP/AVP 26\r\n", fleet.JPEG, ""},
	{"audio and metadata alone", "m=audio 0 RTP/AVP 0\r\nm=application 0 RTP/AVP 107\r\na=rtpmap:107 vnd.onvif.metadata/90000\r\n", "", "no video"},
	{"another codec", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n", "", "VP8"},
	{"a back channel", "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=sendonly\r\n", "", "no video"},
}

const sessionLines = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"

func TestChoose(t *testing.T) {
	for _, c := range descriptions {
		d, err := parseSDP(mend([]byte(sessionLines + c.media)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		_, _, codec, _, err := choose(d)
		if codec != c.codec || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, codec, err, c.codec, c.says)
		}
	}
}

// FuzzDescription reads any description, and makes an assembler for what it
// chooses.
func FuzzDescription(f *testing.F) {
	for _, c := range descriptions {
		f.Add(sessionLines + c.media)
	}
	f.Fuzz(func(t *testing.T, text string) {
		mended := mend([]byte(text))
		d, err := parseSDP(mended)
		if again := mend(mended); !bytes.Equal(again, mended) {
			t.Fatalf("mended twice %q is not %q", again, mended)
		}
		if err != nil {
			return
		}
		m, chosen, codec, a, err := choose(d)
		if err != nil {
			if _, ok := errors.AsType[*fleet.CameraError](err); !ok {
				t.Fatalf("error %v has no cause", err)
			}
			return
		}
		if m == nil || chosen == nil || codec == "" || a == nil || len(m.Formats) != 1 {
			t.Fatalf("chosen: %v %v %q", m, chosen, codec)
		}
		if _, err := a.push(&rtp.Packet{Payload: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	})
}
